//! Each attack on a queue or a window that has a name, on every queue of every device of a machine: memory that
//! nobody named stays as it is, and the next driver, an honest one, finds the devices well.

use super::frontend::{self, REGION_BYTES};
use super::machine::{
    DEVICES, ENTROPY, HONEST_END, LAYERS, Machine, NET, QUEUES, RINGS_END, UPPER, VSOCK, rings_of,
};
use super::operations;
use crate::memory;
use crate::virtio::vhost_user::serve_device;
use crate::virtio::{offset, status};
use proptest::prelude::*;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use vm_memory::{Bytes, GuestAddress};

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;
/// What an attack may name; all memory beyond is watched.
const NAMED: u64 = HONEST_END;
const NAMED_BYTES: u64 = 0x4000;
const MEMORY_END: u64 = Machine::MEMORY_BYTES;
/// How long devices have to do whatever an attack makes them do.
const WHILE: Duration = Duration::from_millis(20);

/// A machine whose driver is ready, over memory that can be told from any other, and to which its network has spoken.
fn at_work() -> Machine {
    let mut machine = Machine::new(memory::create(Machine::MEMORY_BYTES).unwrap());
    let pattern: Vec<u8> = (0..MEMORY_END).map(|at| (at % 241) as u8).collect();
    machine.memory.write_slice(&pattern, GuestAddress(0)).unwrap();
    for length in [60, 100, 3000, 60_000] {
        machine.speaks(length);
    }
    (0..DEVICES).for_each(|device| machine.start(device));
    machine
}

/// Does it to each queue of a machine of its own.
fn to_each_queue(attack: impl Fn(&mut Machine, usize)) {
    for queue in 0..QUEUES.len() {
        let mut machine = at_work();
        let before = machine.bytes();
        attack(&mut machine, queue);
        std::thread::sleep(WHILE);
        let after = machine.bytes();
        for part in [RINGS_END..NAMED, NAMED + NAMED_BYTES..MEMORY_END] {
            let part = part.start as usize..part.end as usize;
            assert!(before[part.clone()] == after[part], "queue {queue}: memory has changed");
        }
        machine.is_well();
    }
}

/// Waits for the device of a queue to ask for a reset.
fn asks_for_reset(machine: &Machine, queue: usize) {
    let (device, ..) = QUEUES[queue];
    let begun = Instant::now();
    while machine.get(device, offset::STATUS) & status::NEEDS_RESET == 0 {
        assert!(begun.elapsed() < Duration::from_secs(5), "queue {queue} is not given up");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_loop_in_a_chain() {
    to_each_queue(|machine, queue| {
        let driver = &mut machine.drivers[queue];
        for flags in [NEXT, NEXT | WRITE] {
            driver.descriptor(0, NAMED, 64, flags, 1);
            driver.descriptor(1, NAMED + 64, 64, flags, 0);
            driver.descriptor(2, NAMED, 64, flags, 2);
            driver.publish(0);
            driver.publish(2);
        }
    });
}

#[test]
fn a_chain_that_leads_out_of_its_table() {
    to_each_queue(|machine, queue| {
        let driver = &mut machine.drivers[queue];
        for next in [QUEUES[queue].2, 0x7fff, u16::MAX] {
            driver.descriptor(0, NAMED, 64, NEXT | WRITE, next);
            driver.publish(0);
        }
        for head in [QUEUES[queue].2, u16::MAX] {
            driver.publish(head);
        }
    });
}

#[test]
fn a_table_within_a_table() {
    to_each_queue(|machine, queue| {
        let table = NAMED + 0x1000;
        let entry = |at: u64, address: u64, length: u32, flags: u16, next: u16| {
            machine.memory.write_obj(address, GuestAddress(table + 16 * at)).unwrap();
            machine.memory.write_obj(length, GuestAddress(table + 16 * at + 8)).unwrap();
            machine.memory.write_obj([flags, next], GuestAddress(table + 16 * at + 12)).unwrap();
        };
        entry(0, table, 64, INDIRECT, 0);
        entry(1, NAMED, 64, NEXT | WRITE, 0);
        entry(2, table, 0xffff_fff0, INDIRECT | NEXT, 2);
        let driver = &mut machine.drivers[queue];
        for length in [0, 1, 15, 16, 17, 48, 0xffff_fff0, u32::MAX] {
            for flags in [INDIRECT, INDIRECT | WRITE, INDIRECT | NEXT] {
                driver.descriptor(0, table, length, flags, 0);
                driver.publish(0);
            }
        }
        for table in [MEMORY_END - 8, MEMORY_END, u64::MAX - 15] {
            driver.descriptor(0, table, 32, INDIRECT, 0);
            driver.publish(0);
        }
    });
}

#[test]
fn buffers_of_no_length() {
    to_each_queue(|machine, queue| {
        let driver = &mut machine.drivers[queue];
        for (address, flags) in [(NAMED, 0), (NAMED, WRITE), (u64::MAX, WRITE), (MEMORY_END, 0)] {
            driver.descriptor(0, address, 0, flags, 0);
            driver.publish(0);
            driver.descriptor(1, address, 0, flags | NEXT, 0);
            driver.publish(1);
        }
    });
}

#[test]
fn buffers_of_huge_length() {
    to_each_queue(|machine, queue| {
        let driver = &mut machine.drivers[queue];
        for length in [u32::MAX, 1 << 31, (MEMORY_END - NAMED + 1) as u32] {
            for flags in [0, WRITE] {
                driver.descriptor(0, NAMED, length, flags, 0);
                driver.publish(0);
            }
        }
    });
}

/// All of memory, as often as a chain may name it.
#[test]
fn many_buffers_of_all_memory() {
    to_each_queue(|machine, queue| {
        let driver = &mut machine.drivers[queue];
        let last = QUEUES[queue].2 - 1;
        for index in 0..=last {
            let flags = if index < last { NEXT } else { 0 };
            driver.descriptor(index, 0, MEMORY_END as u32, flags, index + 1);
        }
        driver.publish(0);
    });
}

#[test]
fn addresses_outside_of_memory() {
    to_each_queue(|machine, queue| {
        let driver = &mut machine.drivers[queue];
        for address in [MEMORY_END, MEMORY_END - 4, 0xd000_0000, 1 << 32, u64::MAX, u64::MAX - 7] {
            for flags in [0, WRITE] {
                driver.descriptor(0, address, 64, flags, 0);
                driver.publish(0);
                driver.descriptor(1, NAMED, 16, flags | NEXT, 0);
                driver.publish(1);
            }
        }
    });
}

/// An index that runs ahead of its ring, or behind where it was.
#[test]
fn an_index_that_wraps() {
    to_each_queue(|machine, queue| {
        // Nobody looks at the receive queue before there is something to say.
        let is_idle = (QUEUES[queue].0, QUEUES[queue].1) == (VSOCK, 0);
        let is_idle = is_idle || (QUEUES[queue].0, QUEUES[queue].1) == (VSOCK, 2);
        for index in [QUEUES[queue].2 + 1, u16::MAX] {
            machine.drivers[queue].set_available_index(index);
            machine.notify(QUEUES[queue].0, QUEUES[queue].1);
        }
        if !is_idle {
            asks_for_reset(machine, queue);
        }
    });
}

/// An index goes round, and is honest all the time.
#[test]
fn an_index_that_goes_round() {
    let mut machine = at_work();
    let driver = &mut machine.drivers[5];
    for round in 0..2100 {
        (0..32).for_each(|_| _ = driver.add(&[(NAMED, 8, true)]));
        (0..32).for_each(|_| assert_eq!(driver.wait_used().1, 8, "round {round}"));
    }
    machine.is_well();
}

/// Every queue, and queues that are not there, are notified without end while they are used.
#[test]
fn a_storm_of_notifications() {
    let mut machine = at_work();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(300) {
        for device in 0..DEVICES {
            for queue in [0, 1, 2, 3, 0xffff, u32::MAX] {
                machine.notify(device, queue);
            }
        }
    }
    machine.is_well();
}

/// All memory but the rings of other devices: each mutes and unmutes its own queues whenever it likes.
fn but_for_other_rings(machine: &Machine, device: u8) -> Vec<u8> {
    let mut bytes = machine.bytes();
    for (queue, (owner, ..)) in QUEUES.into_iter().enumerate() {
        let rings = rings_of(queue);
        if owner != device {
            bytes[rings.start as usize..rings.end as usize].fill(0);
        }
    }
    bytes
}

/// Requests are on their way when their device is reset: after that, nothing more is written.
#[test]
fn a_reset_in_mid_flight() {
    let mut machine = at_work();
    for round in 0..200u64 {
        for (queue, (device, index, _)) in QUEUES.into_iter().enumerate() {
            let driver = &mut machine.drivers[queue];
            let (header, data) = (NAMED, NAMED + 0x1000);
            machine.memory.write_obj(0u64, GuestAddress(header)).unwrap();
            machine.memory.write_obj(0u64, GuestAddress(header + 8)).unwrap();
            driver.descriptor(0, header, 16, NEXT, 1);
            driver.descriptor(1, data, 8192, NEXT | WRITE, 2);
            driver.descriptor(2, data + 8192, 1, WRITE, 0);
            driver.descriptor(3, data, 4096, WRITE, 0);
            for head in [0, 3].repeat(8) {
                driver.publish(head);
            }
            machine.notify(device, index);
            if round % 3 == 0 {
                std::thread::sleep(Duration::from_micros(round));
            }
            machine.reset(device);
            let before = but_for_other_rings(&machine, device);
            std::thread::sleep(Duration::from_micros(200));
            let after = but_for_other_rings(&machine, device);
            assert!(after == before, "queue {queue} is served after its reset");
            machine.start(device);
        }
    }
    machine.is_well();
}

#[test]
fn writes_to_the_config_space() {
    let mut machine = at_work();
    let spaces = |machine: &Machine| {
        let read = |device| {
            let mut bytes = [0; 256];
            machine.read(device, offset::CONFIG, &mut bytes);
            bytes
        };
        [LAYERS, UPPER, VSOCK, ENTROPY, NET].map(read)
    };
    let before = spaces(&machine);
    for device in 0..DEVICES {
        for at in (0..64).chain([0xeff, 0xfff - offset::CONFIG]) {
            for width in [1, 2, 3, 4, 8, 16] {
                machine.write(device, offset::CONFIG + at, &[0xff; 16][..width]);
            }
        }
    }
    assert!(spaces(&machine) == before, "a config space has changed");
    machine.is_well();
}

/// Registers are words: any other access reads zeroes and writes nothing.
#[test]
fn registers_at_odd_widths_and_places() {
    let mut machine = at_work();
    for device in 0..DEVICES {
        let state = |machine: &Machine| {
            [offset::STATUS, offset::QUEUE_READY].map(|register| machine.get(device, register))
        };
        let before = state(&machine);
        for at in 0..offset::CONFIG {
            for width in [0, 1, 2, 3, 5, 8, 16] {
                machine.write(device, at, &[0; 16][..width]);
                let mut read = [0xff; 16];
                machine.read(device, at, &mut read[..width]);
                assert_eq!(read[..width], [0; 16][..width], "{at:#x}");
            }
            if !at.is_multiple_of(4) {
                machine.set(device, at, 0);
            }
        }
        assert_eq!(state(&machine), before, "device {device}");
    }
    machine.is_well();
}

/// A queue is moved, resized and disabled under its device: it stays where it was given.
#[test]
fn a_queue_that_changes_while_it_is_served() {
    let mut machine = at_work();
    for (device, index, _) in QUEUES {
        machine.set(device, offset::QUEUE_SELECT, index);
        machine.set(device, offset::QUEUE_READY, 0);
        machine.set(device, offset::QUEUE_SIZE, 2);
        for register in [offset::QUEUE_DESCRIPTORS, offset::QUEUE_DRIVER, offset::QUEUE_DEVICE] {
            machine.set(device, register, 0xffff_fff0);
            machine.set(device, register + 4, 0xffff_ffff);
        }
        machine.set(device, offset::DRIVER_FEATURES, u32::MAX);
        machine.set(device, offset::STATUS, 0xff);
    }
    let entropy = &mut machine.drivers[5];
    entropy.add(&[(NAMED, 64, true)]);
    assert_eq!(entropy.wait_used().1, 64);
    machine.is_well();
}

/// All rings of all queues at one place, which is a buffer of each, too.
#[test]
fn rings_that_lie_on_each_other() {
    let mut machine = at_work();
    for device in 0..DEVICES {
        machine.reset(device);
        machine.set(device, offset::STATUS, 3);
        machine.set(device, offset::DRIVER_FEATURES_SELECT, 1);
        machine.set(device, offset::DRIVER_FEATURES, 1);
        machine.set(device, offset::STATUS, 11);
        for (_, index, _) in QUEUES.into_iter().filter(|(owner, ..)| *owner == device) {
            machine.set(device, offset::QUEUE_SELECT, index);
            machine.set(device, offset::QUEUE_SIZE, 4);
            for register in [offset::QUEUE_DESCRIPTORS, offset::QUEUE_DRIVER, offset::QUEUE_DEVICE]
            {
                machine.set(device, register, NAMED as u32);
                machine.set(device, register + 4, 0);
            }
            machine.set(device, offset::QUEUE_READY, 1);
        }
        machine.set(device, offset::STATUS, 15);
    }
    for _ in 0..2000 {
        let descriptor = [NAMED, 64 | 3 << 32 | 1 << 48].map(u64::to_le_bytes).concat();
        machine.memory.write_slice(&descriptor, GuestAddress(NAMED)).unwrap();
        QUEUES.iter().for_each(|(device, index, _)| machine.notify(*device, *index));
    }
    machine.is_well();
}

/// QEMU's words, each on a connection of its own: what it cannot mean ends that, and maps nothing.
#[test]
fn what_qemu_cannot_mean_is_refused() {
    const SET_MEM_TABLE: u32 = 5;
    const SET_VRING_KICK: u32 = 12;
    let table = |count: u32, region: [u64; 4]| {
        [[count, 0].map(u32::to_le_bytes).concat(), region.map(u64::to_le_bytes).concat()].concat()
    };
    let sound = [0, REGION_BYTES, 0x7f00_0000_0000, 0];
    let sealed: &[u8] = &[0];
    let lies: [(&str, u32, Vec<u8>, &[u8]); 16] = [
        ("no file", SET_MEM_TABLE, table(1, sound), &[]),
        ("two files", SET_MEM_TABLE, table(1, sound), &[0, 0]),
        ("a region too few", SET_MEM_TABLE, table(2, sound), &[0, 0]),
        ("no region", SET_MEM_TABLE, table(0, sound), sealed),
        ("regions without end", SET_MEM_TABLE, table(u32::MAX, sound), sealed),
        ("beyond the file", SET_MEM_TABLE, table(1, [0, REGION_BYTES, 0, 4096]), sealed),
        ("an offset without end", SET_MEM_TABLE, table(1, [0, 4096, 0, u64::MAX - 4095]), sealed),
        ("a region without length", SET_MEM_TABLE, table(1, [0, 0, 0, 0]), sealed),
        ("a region without end", SET_MEM_TABLE, table(1, [0, u64::MAX, 0, 0]), sealed),
        ("the end of addresses", SET_MEM_TABLE, table(1, [u64::MAX - 4095, 8192, 0, 0]), sealed),
        ("a file that may shrink", SET_MEM_TABLE, table(1, sound), &[1]),
        ("an eventfd for memory", SET_MEM_TABLE, table(1, sound), &[2]),
        ("a pipe for memory", SET_MEM_TABLE, table(1, sound), &[4]),
        ("a socket for memory", SET_MEM_TABLE, table(1, sound), &[5]),
        ("a kick without a file", SET_VRING_KICK, 0u64.to_le_bytes().to_vec(), &[]),
        ("a kick of no ring", SET_VRING_KICK, 9u64.to_le_bytes().to_vec(), &[2]),
    ];
    for (what, request, payload, files) in lies {
        let (qemu, ours) = UnixStream::pair().unwrap();
        let files: Vec<OwnedFd> = files.iter().map(|kind| frontend::file(*kind)).collect();
        let files: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
        let bytes = frontend::message(request, 0, payload.len() as u32, &payload);
        frontend::say(&qemu, &bytes, &files);
        qemu.shutdown(Shutdown::Write).unwrap();
        let end = serve_device(frontend::device(true), ours);
        assert!(end.error.is_some(), "{what} is taken");
        assert!(end.memory.is_none() && end.device.is_some(), "{what}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_a_driver_does_the_next_finds_the_devices_well(
        bytes in prop::collection::vec(any::<u8>(), 0..2000)
    ) {
        let mut machine = at_work();
        operations::perform(&mut machine, &bytes);
        machine.is_well();
    }

    #[test]
    fn whatever_qemu_says_its_device_comes_back(
        bytes in prop::collection::vec(any::<u8>(), 1..1000)
    ) {
        frontend::speak(&bytes);
    }
}
