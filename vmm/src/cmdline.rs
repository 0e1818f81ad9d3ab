//! The kernel's command line: a pure function of the configuration.

use crate::arch::layout::{self, DeviceSlot};
use crate::config::Heard;
use std::fmt::Write;

/// Why a command line cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum CmdlineError {
    /// The kernel would cut it off.
    #[error("the command line is {bytes} bytes long, the kernel takes {most}")]
    TooLong {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        most: usize,
    },
}

/// Builds it: what every guest is told, what is heard of it, each device's place, then
/// the configuration's own words.
pub(crate) fn build(
    heard: Option<Heard>,
    devices: &[DeviceSlot],
    words: &[String],
) -> Result<String, CmdlineError> {
    let mut line = String::from(layout::CMDLINE_ALWAYS);
    let _ = write!(line, " {}", heard.map_or(layout::CMDLINE_NO_SERIAL, Heard::cmdline));
    for DeviceSlot { address, line: interrupt } in devices {
        let size = layout::DEVICE_WINDOW_BYTES;
        let _ = write!(line, " virtio_mmio.device={size}@{address:#x}:{interrupt}");
    }
    for word in words {
        line.push(' ');
        line.push_str(word);
    }
    let most = layout::CMDLINE_MAX_BYTES - 1;
    if line.len() > most {
        return Err(CmdlineError::TooLong { bytes: line.len(), most });
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_console_there_is_no_serial_port() {
        let line = build(None, &[], &[]).unwrap();
        assert!(line.contains("8250.nr_uarts=0") && !line.contains("console="), "{line}");
        let line = build(Some(Heard::Everything), &[], &[]).unwrap();
        assert!(!line.contains("nr_uarts") && line.contains(" console=ttyS0"), "{line}");
    }

    #[test]
    fn last_words_need_no_driver_of_a_serial_port() {
        let line = build(Some(Heard::LastWords), &[], &[]).unwrap();
        assert!(line.contains("8250.nr_uarts=0 loglevel=1 earlycon="), "{line}");
    }

    #[test]
    fn each_device_is_named_in_order_and_the_configurations_words_come_last() {
        let slots = [layout::device_slot(0), layout::device_slot(1)];
        let line = build(None, &slots, &["quiet".into(), "a.b=c".into()]).unwrap();
        let devices = "virtio_mmio.device=4096@0xd0000000:16 virtio_mmio.device=4096@0xd0001000:17";
        assert!(line.ends_with(&format!(" {devices} quiet a.b=c")), "{line}");
    }

    #[test]
    fn a_panic_is_marked_and_resets_at_once() {
        let line = build(None, &[], &[]).unwrap();
        assert!(line.starts_with("reboot=panic_warm,k panic=-1 "), "{line}");
    }

    #[test]
    fn what_the_kernel_would_cut_off_is_refused() {
        let base = build(None, &[], &[]).unwrap().len();
        let fits = "x".repeat(2047 - base - 1);
        assert_eq!(build(None, &[], std::slice::from_ref(&fits)).unwrap().len(), 2047);
        assert!(build(None, &[], &[fits + "x"]).is_err());
    }
}
