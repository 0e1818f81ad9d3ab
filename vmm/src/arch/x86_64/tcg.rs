//! What a kernel on QEMU's TCG must be told that it cannot find out: how fast its clock runs.
//!
//! TCG's time-stamp counter is the host's, and the machine has no PIT to measure it by: a kernel that
//! is told nothing hangs in its calibration. So the host measures it here.

use super::sys::time_stamp;
use std::time::{Duration, Instant};

/// Two clock readings that far apart, each good to some 50 ns, give the frequency to 10 ppm.
const MEASURED: Duration = Duration::from_millis(10);

/// Words for the kernel's command line, measured now: takes 10 ms.
pub fn clock_words() -> String {
    format!("tsc=reliable no_timer_check tsc_early_khz={}", time_stamp_khz())
}

fn time_stamp_khz() -> u64 {
    let (began, first) = reading();
    std::thread::sleep(MEASURED);
    let (ended, last) = reading();
    let nanoseconds = ended.duration_since(began).as_nanos().max(1);
    let khz = u128::from(last.saturating_sub(first)) * 1_000_000 / nanoseconds;
    u64::try_from(khz).unwrap_or(u64::MAX)
}

/// Both clocks at one moment: of a few tries the one that was interrupted least.
fn reading() -> (Instant, u64) {
    let tries = (0..8).map(|_| {
        let before = time_stamp();
        let now = Instant::now();
        let after = time_stamp();
        (after.wrapping_sub(before), now, before.midpoint(after))
    });
    let best = tries.min_by_key(|(gap, ..)| *gap);
    best.map_or_else(|| (Instant::now(), time_stamp()), |(_, now, stamp)| (now, stamp))
}
