//! Messages that claim to come from a guest.

use crate::campaign::judge;
use crate::kernel::convert::{from_wire, Views};
use crate::kernel::Smaps;
use oracle::geometry::Geometry;
use oracle::profile::Profile;
use oracle::program::generate::generate;

/// A message that claims to come from a guest: whatever it says of a program is converted and judged, or refused.
pub fn wire(bytes: &[u8]) {
    let Some((choice, message)) = bytes.split_first() else {
        return;
    };
    let Ok(wire::Response::Execution(execution)) = wire::decode(message) else {
        return;
    };
    let program = generate(u64::from(choice >> 3));
    let bit = |n: u8| choice >> n & 1 == 1;
    let views = Views {
        scan: bit(0),
        scan_guard: bit(0) && bit(1),
        pagemap_guard: bit(1),
        huge_zero_as_file: bit(2),
        exact_counters: !bit(2),
        smaps_skips_protnone_huge: bit(2),
    };
    let execution = from_wire(execution, &program, Smaps::Every, Geometry::K4, views);
    judge(&program, &execution, &Profile::newest(), Geometry::K4);
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_a_guest_sends_is_judged_or_refused() {
        let execution = wire::Execution {
            id: 1,
            free_pages: 7,
            end: wire::End::Done,
            steps: Vec::new(),
        };
        let message = wire::encode(&wire::Response::Execution(execution)).unwrap();
        for choice in 0..=255 {
            let mut bytes = vec![choice];
            bytes.extend(&message);
            super::wire(&bytes);
            bytes.pop();
            super::wire(&bytes);
        }
        super::wire(&[]);
    }
}
