//! The questions of `convert`: PAGEMAP_SCAN asked with other masks must find what it found when it was asked for everything.

use super::super::Disagreement;
use super::{Bad, Views};
use oracle::geometry::Geometry;
use wire::scan::{ScanQuery, ScanRegion, ScanSeen, QUERIES};

/// Contradictions between the answers and the pages; nothing to compare where nothing was asked.
pub fn compare(
    scans: &[ScanSeen],
    pages: &[wire::PageRun],
    actor: u8,
    g: Geometry,
    views: Views,
) -> Result<(), Bad> {
    if scans.is_empty() {
        return Ok(());
    }
    let asked = QUERIES.iter().filter(|q| q.can_be_asked(views.scan_guard));
    let asked: Vec<&ScanQuery> = asked.filter(|_| views.scan).collect();
    if asked.len() != scans.len() {
        let answers = scans.len();
        return Err(format!("{answers} answers to {} questions", asked.len()).into());
    }
    for (query, seen) in asked.iter().zip(scans) {
        let mut answer = Answer::default();
        for &region in &seen.regions {
            if region.end <= region.start || region.end > g.arena_pages() {
                return Err(format!("region {region:?} of PAGEMAP_SCAN").into());
            }
            answer.push(region);
        }
        let expected = expected(query, pages);
        if answer.0 != expected {
            let odd = answer.0.iter().find(|r| !expected.contains(r));
            let odd = odd.or_else(|| expected.iter().find(|r| !answer.0.contains(r)));
            let pages = odd.map_or((0, g.arena_pages()), |r| (r.start, r.end - r.start));
            return Err(Bad::Disagree(Disagreement {
                actor,
                pages,
                views: "scan/scan",
                left: format!("answer to {query:?}"),
                right: "all pages".into(),
                note: Some(format!("{:?}, from all pages {:?}", answer.0, expected)),
            }));
        }
    }
    Ok(())
}

/// What the pages that are known say to a question.
pub fn expected(query: &ScanQuery, pages: &[wire::PageRun]) -> Vec<ScanRegion> {
    let mut answer = Answer::default();
    let mut left = match query.most {
        0 => u32::MAX,
        most => most.into(),
    };
    for run in pages {
        let categories = run.scan.unwrap_or(0);
        if left == 0 || !query.matches(categories) {
            continue;
        }
        let len = run.len.min(left);
        left -= len;
        answer.push(ScanRegion {
            start: run.start,
            end: run.start.saturating_add(len),
            categories: categories & query.returned,
        });
    }
    answer.0
}

/// Regions, joined where they touch and are alike.
#[derive(Default)]
struct Answer(Vec<ScanRegion>);

impl Answer {
    fn push(&mut self, region: ScanRegion) {
        match self.0.last_mut() {
            Some(last) if last.end == region.start && last.categories == region.categories => {
                last.end = region.end;
            }
            _ => self.0.push(region),
        }
    }
}
