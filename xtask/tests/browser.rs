//! report.html in headless Chromium: what its script does when somebody uses it. `cargo xtask test` installs the browser.

use std::path::Path;
use std::process::Command;

/// What a person would do, one thing after the other; what came of it stands in the document's title.
const HAND: &str = r#"<script>
const visible = () => [...document.querySelectorAll("article")].filter((a) => !a.hidden).length;
const report = [["loaded", visible()]];
const choose = (name, value) => {
  const select = document.querySelector(`select[name=${name}]`);
  select.value = value;
  select.dispatchEvent(new Event("change"));
};
const first = document.querySelector("article[data-kind=new]");
choose("kind", "known");
report.push(["known", visible()]);
choose("kind", "new");
choose("op", first.dataset.op);
report.push(["one op", visible()], ["counted", document.getElementById("shown").textContent]);
first.querySelector("summary").click();
report.push(["open", first.querySelector("details").open]);
const steps = [...first.querySelectorAll(".steps > li")];
const shown = () => steps.findIndex((li) => !li.hidden);
report.push(["steps", steps.length], ["at", shown()]);
first.querySelector(".earlier").click();
report.push(["earlier", shown()], ["address", location.hash]);
const slider = first.querySelector("input");
slider.value = 0;
slider.dispatchEvent(new Event("input"));
report.push(["slider", shown()], ["marked", first.querySelectorAll(".marked").length]);
document.documentElement.style.width = "390px";
const wide = [...document.querySelectorAll("body *")].filter((e) => !e.closest(".scroll, .strip, script, style") && e.getBoundingClientRect().right > 391);
report.push(["too wide for a phone", wide.map((e) => e.outerHTML.slice(0, 80)).join()]);
document.title = JSON.stringify(Object.fromEntries(report));
</script>"#;

fn run_with_divergences(out: &Path) {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args([
            "vm-matrix",
            "--simulated",
            "guard/install-skipped",
            "--programs",
            "300",
            "--out",
        ])
        .arg(out)
        .output()
        .unwrap();
    assert_eq!(
        output.status.code(),
        Some(1),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn dom(page: &Path, profile: &Path) -> String {
    let output = Command::new("chromium")
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(["--window-size=1280,1000", "--dump-dom"])
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "chromium ended with {}:\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_report_is_filtered_opened_and_stepped_through() {
    xtask::setup::look_for_chromium("chromium").unwrap_or_else(|missing| panic!("{missing}"));
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    run_with_divergences(&out);
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    let used = dir.path().join("used.html");
    std::fs::write(&used, page.replace("</body>", &format!("{HAND}</body>"))).unwrap();
    let dom = dom(&used, &dir.path().join("profile"));
    let title = dom
        .split("<title>")
        .nth(1)
        .and_then(|rest| rest.split("</title>").next());
    let said = title.unwrap_or_else(|| panic!("no title:\n{dom}"));
    let value = |name: &str| {
        let (_, rest) = said
            .split_once(&format!("\"{name}\":"))
            .unwrap_or_else(|| panic!("{name} is missing: {said}"));
        let end = rest.find(",\"").unwrap_or(rest.len() - 1);
        rest[..end].trim_matches('"').to_string()
    };
    let number = |name: &str| {
        value(name)
            .parse::<i64>()
            .unwrap_or_else(|_| panic!("{name}: {said}"))
    };
    assert!(number("loaded") >= 2, "{said}");
    assert_eq!(number("known"), 0, "{said}");
    assert!((1..number("loaded")).contains(&number("one op")), "{said}");
    assert!(value("counted").starts_with(&value("one op")), "{said}");
    assert_eq!(value("open"), "true", "{said}");
    assert!(number("steps") >= 2, "{said}");
    assert_eq!(
        number("at"),
        number("steps") - 1,
        "the op that diverged: {said}"
    );
    assert_eq!(number("earlier"), number("steps") - 2, "{said}");
    assert!(
        value("address").contains(&format!("step={}", number("earlier"))),
        "{said}"
    );
    assert_eq!(number("slider"), 0, "{said}");
    assert!(number("marked") > 0, "{said}");
    assert_eq!(value("too wide for a phone"), "", "{said}");
}
