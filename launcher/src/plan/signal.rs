//! Signals by name or number, as `--stop-signal` and an image's StopSignal write them.

/// A text that names no signal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no signal")]
pub struct SignalError(pub String);

/// What helps.
pub const SIGNAL_HINT: &str =
    "a signal is a name or a number from 1 to 64: TERM, SIGINT, 15, RTMIN+3";

/// Linux on x86-64 and arm64, as signal(7) numbers them; the C library's first and last real-time ones.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
const RTMIN: u8 = 34;
const RTMAX: u8 = 64;

/// SIGTERM: what stops a container that names no other.
pub const TERM: u8 = 15;
/// SIGKILL: what no process outlives.
pub const KILL: u8 = 9;

/// The number of a signal.
///
/// # Errors
/// [`SignalError`] for what is neither.
pub fn parse(text: &str) -> Result<u8, SignalError> {
    let unknown = || SignalError(text.to_owned());
    if let Ok(number) = text.parse::<u8>() {
        return if (1..=RTMAX).contains(&number) { Ok(number) } else { Err(unknown()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(offset) = name.strip_prefix("RTMIN") {
        return real_time(offset, '+').map(|n| RTMIN + n).ok_or_else(unknown);
    }
    if let Some(offset) = name.strip_prefix("RTMAX") {
        return real_time(offset, '-').map(|n| RTMAX - n).ok_or_else(unknown);
    }
    let name = match name {
        "IOT" => "ABRT",
        "CLD" => "CHLD",
        "POLL" => "IO",
        other => other,
    };
    let index = NAMES.iter().position(|&known| known == name).ok_or_else(unknown)?;
    u8::try_from(index + 1).map_err(|_| unknown())
}

fn real_time(offset: &str, sign: char) -> Option<u8> {
    if offset.is_empty() {
        return Some(0);
    }
    let number: u8 = offset.strip_prefix(sign)?.parse().ok()?;
    (number <= RTMAX - RTMIN).then_some(number)
}
