//! The signals that this program was started with ignored: a shell does that to what it starts in the
//! background. The product keeps them so, which cases that send one cannot use.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// SIGHUP, SIGINT and SIGQUIT, as bits of a mask.
const WANTED: u64 = 1 | 1 << 1 | 1 << 2;

/// Executes this program again without them ignored, where one is.
pub fn back_to_default() {
    if ignored() & WANTED == 0 {
        return;
    }
    let program = std::env::current_exe().expect("this program has a path");
    let mut again = Command::new("env");
    again.arg("--default-signal=HUP,INT,QUIT").arg(program).args(std::env::args_os().skip(1));
    panic!("env does not start: {}", again.exec());
}

fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is there");
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    u64::from_str_radix(mask.expect("the kernel says it").trim(), 16).expect("it is a mask")
}
