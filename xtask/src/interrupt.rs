//! Ctrl-C: the first ends a campaign in order, the second at once.

use std::sync::atomic::{AtomicBool, Ordering};

static STOP: AtomicBool = AtomicBool::new(false);

/// The flag that a campaign looks at. Set by SIGINT, SIGTERM and SIGHUP from now on; the second signal ends the process.
pub fn stop_flag() -> &'static AtomicBool {
    let handler = || {
        if STOP.swap(true, Ordering::SeqCst) {
            // QEMU dies with us, whatever way we go.
            std::process::exit(130);
        }
        eprintln!("stopping: writing what there is (once more to stop at once)");
    };
    // Fails only if a handler is there already: then it is this one.
    let _ = ctrlc::set_handler(handler);
    &STOP
}
