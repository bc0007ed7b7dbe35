use super::html_report;
use crate::report::picture::{Cell, Picture, Step, View, Window};

const BUCKET: &str =
    r#"{"op":"fork","rule":"fork/copies-guards","expected":"guard","observed":"<b>"}"#;

/// A run with one bucket whose text a hostile guest has chosen, and a known finding.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write(
        "run.json",
        r#"{"command":["vm-matrix"],"end":"finished","kernels":{},"started":"now","accel":"tcg","versions":{"qemu x86_64":"QEMU 7"},
           "host":{"cpu":"c","cores":2,"memory_mib":1,"os":"o","kernel":"k"}}"#,
    );
    let suspect = format!(
        r#"{{"what":"block","kernel":"7.3","arch":"x86_64","suspects":[{{"id":"d-1","release":"7.3.4","bucket":{BUCKET}}}]}}"#
    );
    let row = format!(
        r#"{{"what":"row","kernel":"7.3","arch":"x86_64","programs":9,"buckets":[[{BUCKET},2]],"rules":["fork/copies-guards"],"known_met":{{"some-finding":3}}}}"#
    );
    write(
        "results.jsonl",
        &format!("{suspect}\n{row}\n{}", &row[..40]),
    );
    write(
        "matrix.csv",
        "kernel,release,programs,divergences\n7.3,7.3.4,9,2\n",
    );
    std::fs::create_dir(dir.path().join("divergences")).unwrap();
    let cell = |sign: char, marked| Cell {
        sign,
        label: sign.to_string(),
        marked,
    };
    let view = |cells: Vec<Cell>| View {
        outcome: "ok".into(),
        actors: vec![(
            0,
            vec![Window {
                place: "0+0".into(),
                cells,
            }],
        )],
    };
    let picture = Picture {
        id: "d-1".into(),
        bucket: serde_json::from_str(BUCKET).unwrap(),
        program: "1/0/3".into(),
        kernel: "7.3.4 x86_64".into(),
        text: "</pre><script>alert(1)</script>".into(),
        rule: "rule".into(),
        at: 1,
        steps: vec![
            Step {
                op: "guard-install 0+0..0+1".into(),
                expected: None,
                seen: Some(view(vec![cell('G', false)])),
            },
            Step {
                op: "fork 1".into(),
                expected: Some(view(vec![cell('G', true)])),
                seen: Some(view(vec![cell('.', true)])),
            },
        ],
        console: String::new(),
    };
    write(
        "divergences/d-1.json",
        &serde_json::to_string(&picture).unwrap(),
    );
    dir
}

#[test]
fn a_run_becomes_one_page_and_a_guest_writes_none_of_it() {
    let dir = folder();
    let page = html_report(dir.path()).unwrap();
    for wanted in [
        "fork: fork/copies-guards: guard -&gt; &lt;b&gt;",
        "x86_64 7.3.4: 2 of 9 programs",
        "c guard marked",
        "c empty marked",
        "data-kind=\"known\"",
        "1 new buckets, 1 known findings",
        "line 3 is cut off",
        "1 of",
        "&lt;script&gt;alert(1)",
    ] {
        assert!(page.contains(wanted), "{wanted} is missing:\n{page}");
    }
    assert_eq!(page.matches("<script").count(), 1, "ours alone");
    for outside in ["http:", "https:", "src=", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn a_known_finding_is_drawn_with_what_it_is() {
    let dir = folder();
    let page = html_report(dir.path()).unwrap();
    assert!(
        page.contains("known/some-finding.json is not there"),
        "{page}"
    );
    let drawn = std::fs::read_to_string(dir.path().join("divergences/d-1.json")).unwrap();
    let known = format!(
        r#"{{"id":"some-finding","status":"oracle-gap","link":"commit 0123","same_as":null,"reasoning":"Because <i>so</i>.",
            "source":"a run","picture":{drawn}}}"#
    );
    std::fs::create_dir(dir.path().join("known")).unwrap();
    let path = dir.path().join("known/some-finding.json");
    std::fs::write(&path, known).unwrap();
    let page = html_report(dir.path()).unwrap();
    let article = page.split("id=\"known-some-finding\"").nth(1).unwrap();
    for wanted in [
        "some-finding (oracle-gap)",
        "See: commit 0123",
        "Because &lt;i&gt;so&lt;/i&gt;.",
        "c guard marked",
        "data-op=\"fork\"",
    ] {
        assert!(article.contains(wanted), "{wanted} is missing:\n{article}");
    }
    std::fs::write(path, "{").unwrap();
    let error = html_report(dir.path()).unwrap_err().to_string();
    assert!(error.contains("some-finding.json"), "{error}");
}

#[test]
fn what_is_fixed_is_listed() {
    let dir = folder();
    let path = dir.path().join("run.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let rows = r#""rows":[{"arch":"x86_64","release":"7.3.4","fixed":["old-finding"]}],"end""#;
    std::fs::write(&path, text.replacen("\"end\"", rows, 1)).unwrap();
    let page = html_report(dir.path()).unwrap();
    assert!(
        page.contains("old-finding") && page.contains("fixed on x86_64 7.3.4?"),
        "{page}"
    );
}

#[test]
fn a_bucket_without_its_picture_is_still_listed() {
    let dir = folder();
    std::fs::remove_file(dir.path().join("divergences/d-1.json")).unwrap();
    let page = html_report(dir.path()).unwrap();
    assert!(page.contains("d-1.json is not there"));
    std::fs::write(dir.path().join("divergences/d-1.json"), "{").unwrap();
    let error = html_report(dir.path()).unwrap_err().to_string();
    assert!(
        error.contains("d-1.json") && error.contains("another version"),
        "{error}"
    );
}
