//! What machine this is, for the record.

use crate::accelerator::{Choice, choose};
use crate::cli::BenchArgs;
use crate::error::{Failure, clean, shortened};
use ::bench::Machine;
use std::time::SystemTime;

/// What a name of this machine's may be long.
const MAX_NAME_BYTES: usize = 100;

/// This machine, and who would run a guest here. Which kernel that boots is not known yet.
///
/// # Errors
/// Where nobody would.
pub fn machine(args: &BenchArgs) -> Result<Machine, Failure> {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let (processors, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
    let name = field(&processors, "model name").unwrap_or_else(|| "unknown processor".to_owned());
    let choice = choose(args.accel, &std::env::var("PATH").unwrap_or_default())?;
    let is_tcg = matches!(choice, Choice::Tcg { .. });
    let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let kib: u64 =
        field(&memory, "MemTotal").and_then(|it| it.split(' ').next()?.parse().ok()).unwrap_or(0);
    Ok(Machine {
        emulated: is_tcg || is_emulated(&name),
        processor: name,
        processors: u32::try_from(count).unwrap_or(u32::MAX),
        memory_mib: kib / 1024,
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        guest_kernel: String::new(),
        accelerator: if is_tcg { "tcg" } else { "kvm" }.to_owned(),
    })
}

/// QEMU names the processors that it emulates after itself.
fn is_emulated(processor: &str) -> bool {
    processor.contains("QEMU")
}

/// The first value of this name in a list of `name : value`.
fn field(text: &str, name: &str) -> Option<String> {
    let values = text.lines().filter_map(|line| line.split_once(':'));
    let value = values.into_iter().find(|(key, _)| key.trim() == name)?.1;
    Some(shortened(&clean(value.trim()), MAX_NAME_BYTES)).filter(|value| !value.is_empty())
}

/// The time, as RFC 3339 has it.
pub fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn emulated_processors_are_known() {
        assert!(is_emulated("QEMU TCG CPU version 2.5+"));
        assert!(!is_emulated("AMD EPYC 7763 64-Core Processor"));
        let text = "processor\t: 0\nmodel name\t: one\nmodel name\t: two\n";
        assert_eq!(field(text, "model name").as_deref(), Some("one"));
        assert_eq!(field(text, "flags"), None);
    }
}
