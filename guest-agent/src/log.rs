//! What the agent says to the kernel's log, and so to the early console: only what went wrong for
//! good, and more where the kernel's command line has the word `cofferdam.debug`.

use crate::error::one_line;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// The kernel's levels.
const EMERGENCY: u8 = 0;
const ERROR: u8 = 3;

static DEBUG: AtomicBool = AtomicBool::new(false);
static LOG: OnceLock<File> = OnceLock::new();

/// Opens the log, before a container that has every device could put something else in its place,
/// and looks at the kernel's command line for the word.
pub fn open() {
    if let Ok(log) = OpenOptions::new().write(true).open("/dev/kmsg") {
        let _ = LOG.set(log);
    }
    let line = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
    DEBUG.store(line.split_whitespace().any(|word| word == "cofferdam.debug"), Ordering::Relaxed);
}

/// Something that whoever looks for a cause may want to know.
pub fn debug(error: &dyn std::error::Error) {
    if DEBUG.load(Ordering::Relaxed) {
        write(ERROR, error);
    }
}

/// Something that ends the machine: the one thing that is heard where nobody asked for a log.
pub fn fatal(error: &dyn std::error::Error) {
    write(EMERGENCY, error);
}

/// Nobody is left to be told where even this fails.
fn write(level: u8, error: &dyn std::error::Error) {
    if let Some(mut log) = LOG.get() {
        let _ =
            log.write_all(format!("<{level}>cofferdam-agent: {}\n", one_line(error)).as_bytes());
    }
}
