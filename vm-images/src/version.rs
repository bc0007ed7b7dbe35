//! Kernel versions (`6.18.5`) and Debian versions (`6.12.117-1~deb12u1`), compared.

use std::cmp::Ordering;

/// Sort key of an upstream version: its numbers. `6.9` sorts before `6.18`.
pub fn key(point: &str) -> Vec<u64> {
    point
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|part| part.parse().ok())
        .collect()
}

/// The series of an upstream version: its first two numbers. None if it does not start with two numbers.
pub fn series(point: &str) -> Option<String> {
    let mut parts = point.split('.');
    let major: u32 = parts.next()?.parse().ok()?;
    let rest = parts.next()?;
    let digits = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let minor: u32 = rest[..digits].parse().ok()?;
    Some(format!("{major}.{minor}"))
}

/// The upstream part of a Debian version: `6.1.192` of `6.1.192-2`, `7.3~rc7` of `7.3~rc7-1~exp1`.
pub fn upstream(debian: &str) -> &str {
    let without_epoch = debian.split_once(':').map_or(debian, |(_, rest)| rest);
    without_epoch
        .rsplit_once('-')
        .map_or(without_epoch, |(upstream, _)| upstream)
}

/// Compares two Debian versions as dpkg does (Debian Policy, section 5.6.12).
pub fn compare_debian(a: &str, b: &str) -> Ordering {
    let (epoch_a, a) = a.split_once(':').unwrap_or(("0", a));
    let (epoch_b, b) = b.split_once(':').unwrap_or(("0", b));
    let (upstream_a, revision_a) = a.rsplit_once('-').unwrap_or((a, ""));
    let (upstream_b, revision_b) = b.rsplit_once('-').unwrap_or((b, ""));
    compare_part(epoch_a, epoch_b)
        .then_with(|| compare_part(upstream_a, upstream_b))
        .then_with(|| compare_part(revision_a, revision_b))
}

/// Alternating runs of non-digits (letters before the rest, `~` before everything, even the end) and numbers.
fn compare_part(mut a: &str, mut b: &str) -> Ordering {
    let weight = |c: Option<u8>| match c {
        Some(b'~') => -1,
        None => 0,
        Some(c) if c.is_ascii_alphabetic() => i32::from(c),
        Some(c) => i32::from(c) + 256,
    };
    while !a.is_empty() || !b.is_empty() {
        let (text_a, rest_a) = split(a, |c| !c.is_ascii_digit());
        let (text_b, rest_b) = split(b, |c| !c.is_ascii_digit());
        for i in 0..text_a.len().max(text_b.len()) {
            let order = weight(text_a.as_bytes().get(i).copied())
                .cmp(&weight(text_b.as_bytes().get(i).copied()));
            if order.is_ne() {
                return order;
            }
        }
        let (number_a, rest_a) = split(rest_a, |c| c.is_ascii_digit());
        let (number_b, rest_b) = split(rest_b, |c| c.is_ascii_digit());
        let number_a = number_a.trim_start_matches('0');
        let number_b = number_b.trim_start_matches('0');
        let order = number_a
            .len()
            .cmp(&number_b.len())
            .then_with(|| number_a.cmp(number_b));
        if order.is_ne() {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
    Ordering::Equal
}

fn split(s: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    s.split_at(s.find(|c| !belongs(c)).unwrap_or(s.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_versions_sort_as_dpkg_sorts_them() {
        // Each is older than the next; checked with `dpkg --compare-versions`.
        let ascending = [
            "6.1.192-1",
            "6.1.192-2",
            "6.12.117-1~bpo12+1",
            "6.12.117-1~deb12u1",
            "6.12.117-1",
            "6.19.6-2~bpo13+1",
            "6.19.14-1~bpo13+1",
            "7.3~rc7-1~exp1",
            "7.3-1",
            "7.3.4-1~bpo13+1",
            "1:2.0-1",
        ];
        for (i, a) in ascending.iter().enumerate() {
            for (j, b) in ascending.iter().enumerate() {
                assert_eq!(compare_debian(a, b), i.cmp(&j), "{a} and {b}");
            }
        }
    }

    #[test]
    fn series_and_upstream() {
        assert_eq!(upstream("6.1.192-2"), "6.1.192");
        assert_eq!(upstream("7.3~rc7-1~exp1"), "7.3~rc7");
        assert_eq!(series("6.1.192").as_deref(), Some("6.1"));
        assert_eq!(series("7.3~rc7").as_deref(), Some("7.3"));
        assert_eq!(series("linux"), None);
        assert!(key("6.9") < key("6.18") && key("6.18") < key("6.18.5"));
    }
}
