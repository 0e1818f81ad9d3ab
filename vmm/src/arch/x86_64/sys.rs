//! The unsafe half of what only this architecture has.

/// The host's time-stamp counter.
pub fn time_stamp() -> u64 {
    // SAFETY: reads a register; user space may on every host Linux boots with default settings.
    unsafe { std::arch::x86_64::_rdtsc() }
}
