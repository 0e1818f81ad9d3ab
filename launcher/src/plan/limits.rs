//! Limits of the container: `--memory`, `--cpus`, `--pids-limit` and `--ulimit`, and the times after
//! which it is stopped.

use super::size::{self, SIZE_HINT, SizeError};
use crate::cli::RunArgs;
use crate::error::Explain;
use protocol::{Resources, Rlimit};
use std::time::Duration;

/// Docker's own floor: below it, not even a shell starts.
const MIN_MEMORY_BYTES: u64 = 6 * size::MIB;
/// As many CPUs as any VM of ours has.
const MAX_CPUS: u64 = 32;
/// Docker's own: 0.01 CPU.
const MIN_CPU_MICROS: u64 = 10_000;
/// The kernel's own: PID_MAX_LIMIT on 64 bits.
const MAX_PIDS: u64 = 1 << 22;
/// The longest wait that is taken for one: a year.
const MAX_SECONDS: u64 = 365 * 24 * 3600;
/// Docker's.
const DEFAULT_STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// What `--ulimit` may name: what Docker's may.
const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Why a limit cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// `--memory` is no size.
    #[error("--memory")]
    Memory(#[source] SizeError),
    /// `--memory` is too small.
    #[error("--memory {0:?} is less than 6m, in which no container starts")]
    MemoryTooSmall(String),
    /// `--cpus` is no number in its range.
    #[error("--cpus {0:?} is no number from 0.01 to {MAX_CPUS}")]
    Cpus(String),
    /// `--pids-limit` is no number in its range.
    #[error("--pids-limit {0:?} is neither -1 nor a number from 0 to {MAX_PIDS}")]
    Pids(String),
    /// `--ulimit` does not have the form.
    #[error("--ulimit {0:?} is not NAME=SOFT[:HARD]")]
    UlimitForm(String),
    /// `--ulimit` names no limit.
    #[error("--ulimit {0:?}: there is no such limit")]
    UlimitName(String),
    /// Its soft limit exceeds its hard one.
    #[error("--ulimit {name}: the soft limit {soft} is greater than the hard limit {hard}")]
    UlimitOrder {
        /// The limit's name.
        name: String,
        /// The soft limit, as typed.
        soft: String,
        /// The hard limit, as typed.
        hard: String,
    },
    /// A time that is none.
    #[error("{flag} {value:?} is no number of seconds")]
    Seconds {
        /// The flag.
        flag: &'static str,
        /// What was typed.
        value: String,
    },
}

impl Explain for LimitError {
    fn hint(&self) -> Option<String> {
        match self {
            LimitError::Memory(_) => Some(SIZE_HINT.into()),
            LimitError::MemoryTooSmall(_) => {
                Some("a number without a unit is bytes: write 64m".into())
            }
            LimitError::Cpus(_) => Some("--cpus 0.5 is half of one CPU".into()),
            LimitError::Pids(_) => Some("-1 and 0 are no limit".into()),
            LimitError::UlimitForm(_) => {
                Some("for example --ulimit nofile=1024:4096; -1 is unlimited".into())
            }
            LimitError::UlimitName(_) => Some(format!("known limits are {}", ULIMITS.join(", "))),
            LimitError::UlimitOrder { name, soft, .. } => {
                Some(format!("write --ulimit {name}={soft} for both"))
            }
            LimitError::Seconds { flag: "--stop-timeout", .. } => Some("-1 waits for ever".into()),
            LimitError::Seconds { flag, .. } => Some(format!("leave {flag} out for its default")),
        }
    }
}

/// The container's cgroup limits.
///
/// # Errors
/// [`LimitError`].
pub fn resources(args: &RunArgs) -> Result<Resources, LimitError> {
    Ok(Resources {
        memory_bytes: args.memory.as_deref().map(memory).transpose()?.flatten(),
        cpu_micros: args.cpus.as_deref().map(cpus).transpose()?.flatten(),
        pids: args.pids_limit.as_deref().map(pids).transpose()?.flatten(),
    })
}

/// `--memory`, in bytes; `0` is no limit, as in Docker.
///
/// # Errors
/// [`LimitError`].
pub fn memory(text: &str) -> Result<Option<u64>, LimitError> {
    match size::parse(text).map_err(LimitError::Memory)? {
        0 => Ok(None),
        bytes if bytes < MIN_MEMORY_BYTES => Err(LimitError::MemoryTooSmall(text.to_owned())),
        bytes => Ok(Some(bytes)),
    }
}

/// `--cpus`, in millionths; `0` is no limit, as in Docker.
///
/// # Errors
/// [`LimitError`].
pub fn cpus(text: &str) -> Result<Option<u64>, LimitError> {
    let wrong = || LimitError::Cpus(text.to_owned());
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 6 {
        return Err(wrong());
    }
    let whole: u64 = whole.parse().ok().filter(|&n| n <= MAX_CPUS).ok_or_else(wrong)?;
    let fraction: u64 = format!("{fraction:0<6}").parse().map_err(|_| wrong())?;
    match whole * 1_000_000 + fraction {
        0 => Ok(None),
        micros if (MIN_CPU_MICROS..=MAX_CPUS * 1_000_000).contains(&micros) => Ok(Some(micros)),
        _ => Err(wrong()),
    }
}

/// `--pids-limit`; `0` is no limit, as in Docker.
///
/// # Errors
/// [`LimitError`].
pub fn pids(text: &str) -> Result<Option<u64>, LimitError> {
    match text.parse::<i64>() {
        Ok(-1 | 0) => Ok(None),
        Ok(count) if (1..=MAX_PIDS.cast_signed()).contains(&count) => {
            Ok(Some(count.unsigned_abs()))
        }
        _ => Err(LimitError::Pids(text.to_owned())),
    }
}

/// The resource limits; the last of one name counts.
///
/// # Errors
/// [`LimitError`].
pub fn rlimits(typed: &[String]) -> Result<Vec<Rlimit>, LimitError> {
    let mut limits: Vec<Rlimit> = Vec::new();
    for entry in typed {
        let limit = rlimit(entry)?;
        limits.retain(|earlier| earlier.name != limit.name);
        limits.push(limit);
    }
    Ok(limits)
}

fn rlimit(typed: &str) -> Result<Rlimit, LimitError> {
    let malformed = || LimitError::UlimitForm(typed.to_owned());
    let (name, value) = typed.split_once('=').ok_or_else(malformed)?;
    if !ULIMITS.contains(&name) {
        return Err(LimitError::UlimitName(name.to_owned()));
    }
    let (soft_text, hard_text) = value.split_once(':').unwrap_or((value, value));
    let number = |text: &str| match text {
        "-1" | "unlimited" => Some(u64::MAX),
        _ => text.parse().ok(),
    };
    let soft = number(soft_text).ok_or_else(malformed)?;
    let hard = number(hard_text).ok_or_else(malformed)?;
    if soft > hard {
        let (name, soft, hard) = (name.to_owned(), soft_text.to_owned(), hard_text.to_owned());
        return Err(LimitError::UlimitOrder { name, soft, hard });
    }
    Ok(Rlimit { name: name.to_owned(), soft, hard })
}

/// `--timeout` and `--boot-timeout`: after how long something is ended.
///
/// # Errors
/// [`LimitError::Seconds`].
pub fn timeout(flag: &'static str, typed: Option<&str>) -> Result<Option<Duration>, LimitError> {
    let wrong = |value: &str| LimitError::Seconds { flag, value: value.to_owned() };
    typed
        .map(|value| match seconds(value) {
            Some(time) if !time.is_zero() => Ok(time),
            _ => Err(wrong(value)),
        })
        .transpose()
}

/// `--stop-timeout`: how long after the stop signal SIGKILL follows; `None` is never.
///
/// # Errors
/// [`LimitError::Seconds`].
pub fn stop_timeout(typed: Option<&str>) -> Result<Option<Duration>, LimitError> {
    let Some(value) = typed else { return Ok(Some(DEFAULT_STOP_TIMEOUT)) };
    if value == "-1" {
        return Ok(None);
    }
    let wrong = || LimitError::Seconds { flag: "--stop-timeout", value: value.to_owned() };
    seconds(value).map(Some).ok_or_else(wrong)
}

/// A decimal number of seconds, to the millisecond.
fn seconds(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 3 {
        return None;
    }
    let whole: u64 = whole.parse().ok().filter(|&n| n <= MAX_SECONDS)?;
    let millis: u64 = format!("{fraction:0<3}").parse().ok()?;
    Some(Duration::from_millis(whole * 1000 + millis))
}
