//! What QEMU is told: the same machine as our VMM's, as far as its `microvm` goes. Pure.
//!
//! Open files are named by their place in the message that hands them over ([`crate::jail::qemu`]):
//! first kernel and initramfs, then the sockets of the layers' disk, the upper disk and vsock, then the
//! console, and last, where directories are shared, the socket of the file system, and the link of the network.

use crate::plan::vm_size::CODE_CACHE_MIB;
use network::config::{GUEST_MAC, MTU};
use protocol::SHARES_TAG;
use vmm::Heard;
use vmm::vhost_user_devices::{QEMU_CMDLINE, QEMU_MACHINE};

/// What the kernel is told besides: a panic resets at once and leaves its mark (see `vmm::PANIC_MARK`).
/// By a triple fault, because this machine has no keyboard controller to ask.
const CMDLINE: &str = "reboot=panic_warm,t panic=-1";

/// One thread runs all CPUs. With a thread for each, QEMU before 8.1 may translate code that another CPU is changing, and a
/// kernel changes its own whenever a static key is switched: guests died of an `int3` of theirs (seen: four CPUs on a busy
/// machine of two, once in some hundred boots, in `sched_clock_cpu`).
const ACCELERATOR: &str = "tcg,thread=single";

/// QEMU's own filter, as tight as it goes. The jail around QEMU is not its business.
const SANDBOX: &str = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";

/// What not every machine has.
#[derive(Debug, Clone, Copy)]
pub struct Also {
    /// Shared directories.
    pub shares: bool,
    /// A network.
    pub network: bool,
}

/// The arguments for a machine of this size.
pub fn qemu_arguments(memory_mib: u32, vcpus: u8, heard: Heard, also: Also) -> Vec<String> {
    let cache = format!("{ACCELERATOR},tb-size={CODE_CACHE_MIB}");
    let with_cache = |word| if word == "tcg" { cache.clone() } else { str::to_owned(word) };
    let mut arguments: Vec<String> = QEMU_MACHINE.split_whitespace().map(with_cache).collect();
    let mut add = |words: &[&str]| arguments.extend(words.iter().map(|&word| word.to_owned()));
    add(&["-sandbox", SANDBOX, "-display", "none"]);
    add(&["-m", &memory_mib.to_string(), "-smp", &vcpus.to_string()]);
    let memory = format!("memory-backend-memfd,id=mem,size={memory_mib}M,share=on");
    add(&["-object", &memory]);
    add(&["-kernel", "/proc/self/fd/{fd:0}", "-initrd", "/proc/self/fd/{fd:1}"]);
    for (index, device) in [
        "vhost-user-blk,chardev=c0",
        "vhost-user-blk,chardev=c1",
        "vhost-user-vsock-device,chardev=c2",
    ]
    .iter()
    .enumerate()
    {
        let chardev = format!("socket,id=c{index},fd={{fd:{}}}", index + 2);
        add(&["-chardev", &chardev, "-device", device]);
    }
    if also.shares {
        add(&["-chardev", "socket,id=shares,fd={fd:6}"]);
        let queues = "num-request-queues=1,queue-size=512";
        let device = format!("vhost-user-fs-device,chardev=shares,tag={SHARES_TAG},{queues}");
        add(&["-device", &device]);
    }
    if also.network {
        let file = 6 + usize::from(also.shares);
        let link = format!("stream,id=network,addr.type=fd,addr.str={{fd:{file}}}");
        let mac = GUEST_MAC.map(|byte| format!("{byte:02x}")).join(":");
        let device = format!("virtio-net-device,netdev=network,mac={mac},host_mtu={MTU}");
        add(&["-netdev", &link, "-device", &device]);
    }
    add(&["-device", "virtio-rng-device"]);
    add(&["-chardev", "file,id=console,path=/proc/self/fd/{fd:5},append=on"]);
    add(&["-serial", "chardev:console"]);
    add(&["-append", &format!("{CMDLINE} {QEMU_CMDLINE} {}", heard.cmdline())]);
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_that_is_handed_over_is_named_once() {
        for (shares, network, files) in
            [(false, false, 6), (true, false, 7), (false, true, 7), (true, true, 8)]
        {
            let also = Also { shares, network };
            let line = qemu_arguments(256, 1, Heard::Everything, also).join(" ");
            for index in 0..9 {
                let count = line.matches(&format!("{{fd:{index}}}")).count();
                assert_eq!(count, usize::from(index < files), "{line}");
            }
        }
    }

    #[test]
    fn the_size_is_the_plans() {
        let also = Also { shares: false, network: true };
        let arguments = qemu_arguments(96, 3, Heard::LastWords, also);
        let after = |flag: &str| {
            let at = arguments.iter().position(|argument| argument == flag).unwrap();
            arguments[at + 1].clone()
        };
        assert_eq!((after("-m"), after("-smp")), ("96".to_owned(), "3".to_owned()));
        assert!(after("-object").contains("size=96M"));
        assert_eq!(after("-accel"), "tcg,thread=single,tb-size=64");
        assert_eq!(after("-netdev"), "stream,id=network,addr.type=fd,addr.str={fd:6}");
        let device = "virtio-net-device,netdev=network,mac=02:cf:00:00:00:02,host_mtu=65520";
        assert!(arguments.contains(&device.to_owned()), "{arguments:?}");
    }
}
