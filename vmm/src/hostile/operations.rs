//! Bytes as what a hostile driver does: each operation is a byte that says which, and a few more that say with
//! what. Any bytes are some operations, so that a fuzzer's every change is another driver.
//!
//! Owns: the reading. Addresses and lengths come from short lists of what is worth trying, beside any other.

use super::machine::{
    DEVICES, HONEST_END, MERGES, Machine, NET, PACKET_HEADER_BYTES, QUEUES, RINGS_END, VSOCK,
    drain, drain_packets, packet,
};
use rustix::net::{SendFlags, send as send_packet};
use std::io::Write;
use std::time::Duration;
use vm_memory::{Bytes, GuestAddress};

/// What a driver does in one life, at most.
const OPERATIONS_MAX: usize = 256;
/// The most connections that hosts have.
const HOSTS_MAX: usize = 16;
const PORTS: u8 = 4;
/// Where buffers are, mostly.
const BUFFERS: u64 = HONEST_END;
const INDIRECT: u16 = 4;
/// A window's registers, the beginning of its config space, and what lies beyond it.
const REGISTERS: u64 = 0x140;

/// What is left to be read.
struct Words<'b>(&'b [u8]);

impl Words<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn word(&mut self) -> Option<u16> {
        Some(u16::from_le_bytes([self.byte()?, self.byte()?]))
    }

    fn below(&mut self, most: u8) -> Option<u8> {
        Some(self.byte()? % most)
    }

    fn queue(&mut self) -> Option<usize> {
        Some(usize::from(self.byte()?) % QUEUES.len())
    }

    /// An address: of a buffer, a ring, the end of memory, of all addresses, or any.
    fn address(&mut self) -> Option<u64> {
        let (kind, low) = (self.byte()?, u64::from(self.word()?));
        Some(match kind % 8 {
            0..4 => BUFFERS + low % (Machine::MEMORY_BYTES - BUFFERS),
            4 => low % RINGS_END,
            5 => (Machine::MEMORY_BYTES - 0x8000).wrapping_add(low),
            6 => u64::MAX - low,
            _ => low << 32 | low << 8,
        })
    }

    fn length(&mut self) -> Option<u32> {
        let kind = self.byte()?;
        Some(match kind % 16 {
            0 => 0,
            1 => 1,
            2 => 16,
            3 => 44,
            4 | 5 => 512,
            6 => 4096,
            7 => 0x7fff_ffff,
            8 => u32::MAX,
            9 => u32::MAX - 15,
            _ => u32::from(self.word()?),
        })
    }
}

/// Does all that these bytes say to a machine.
pub fn perform(machine: &mut Machine, bytes: &[u8]) {
    let mut words = Words(bytes);
    for _ in 0..OPERATIONS_MAX {
        if step(machine, &mut words).is_none() {
            return;
        }
    }
}

/// Does the next; `None` where the bytes are at their end.
fn step(machine: &mut Machine, words: &mut Words<'_>) -> Option<()> {
    match words.byte()? % 19 {
        0 => register(machine, words),
        1 => odd_access(machine, words),
        2 => descriptor(machine, words),
        3..=5 => chain(machine, words),
        6 => ring(machine, words),
        7 => notify(machine, words),
        8 => life(machine, words),
        9 => memory(machine, words),
        10 | 11 => request(machine, words),
        12 | 13 => send(machine, words),
        14 => host(machine, words),
        15 | 16 => frame(machine, words),
        17 => peer(machine, words),
        _ => {
            // The devices' threads get a word in.
            std::thread::sleep(Duration::from_micros(u64::from(words.byte()?)));
            Some(())
        }
    }
}

/// A register is written as its driver would, with what none would.
fn register(machine: &mut Machine, words: &mut Words<'_>) -> Option<()> {
    let (device, at) = (words.below(DEVICES)?, u64::from(words.byte()?) * 4 % REGISTERS);
    let value = match words.byte()? % 4 {
        0 => words.address()? as u32,
        1 => u32::MAX,
        _ => u32::from(words.word()?),
    };
    machine.set(device, at, value);
    machine.get(device, at);
    Some(())
}

/// A window is read and written at any offset and width.
fn odd_access(machine: &mut Machine, words: &mut Words<'_>) -> Option<()> {
    let (device, at) = (words.below(DEVICES)?, u64::from(words.word()?) % 0x1000);
    let (width, value) = (usize::from(words.below(17)?), words.byte()?);
    machine.write(device, at, &[value; 16][..width]);
    machine.read(device, at, &mut [0; 16][..width]);
    Some(())
}

fn descriptor(machine: &mut Machine, words: &mut Words<'_>) -> Option<()> {
    let (queue, index) = (words.queue()?, u16::from(words.byte()?));
    let (address, length) = (words.address()?, words.length()?);
    let (flags, next) = (u16::from(words.below(8)?), u16::from(words.byte()?));
    let index = index % QUEUES[queue].2;
    machine.drivers[queue].descriptor(index, address, length, flags, next);
    Some(())
}

/// A chain of up to eight, which may lead on to anywhere, is made available.
fn chain(machine: &mut Machine, words: &mut Words<'_>) -> Option<()> {
    let (queue, shape) = (words.queue()?, words.byte()?);
    let (count, is_endless, has_table) =
        (u16::from(shape % 8) + 1, shape & 8 != 0, shape & 16 != 0);
    for index in 0..count {
        let (address, length, flags) = (words.address()?, words.length()?, words.below(4)?);
        let writable = u16::from(flags & 2);
        let goes_on = index + 1 < count || is_endless;
        let next = if index + 1 < count { index + 1 } else { u16::from(flags) };
        let indirect = if has_table && flags == 3 { INDIRECT } else { 0 };
        let flags = writable | u16::from(goes_on) | indirect;
        machine.drivers[queue].descriptor(index, address, length, flags, next);
    }
    machine.drivers[queue].publish(0);
    Some(())
}

/// The available ring says something else.
fn ring(machine: &mut Machine, words: &mut Words<'_>) -> Option<()> {
    let (queue, what, value) = (words.queue()?, words.byte()?, words.word()?);
    let driver = &mut machine.drivers[queue];
    match what % 3 {
        0 => driver.set_available_index(value),
        1 => driver.publish(value),
        _ => {
            let _ = machine.memory.write_obj(value, GuestAddress(driver.available_ring()));
        }
    }
    Some(())
}

fn notify(machine: &mut Machine, words: &mut Words<'_>) -> Option<()> {
    let (device, queue, often) = (words.below(DEVICES)?, words.byte()?, words.byte()?);
    for _ in 0..often {
        machine.notify(device, u32::from(queue % 8));
    }
    Some(())
}

/// A device is reset, or set up, or both.
fn life(machine: &mut Machine, words: &mut Words<'_>) -> Option<()> {
    let (device, what) = (words.below(DEVICES)?, words.byte()?);
    if what % 3 != 1 {
        machine.reset(device);
    }
    if what % 3 != 0 {
        let merges = device == NET && what & 0x40 == 0;
        machine.start_with(device, if merges { MERGES } else { 0 });
    }
    Some(())
}

fn memory(machine: &mut Machine, words: &mut Words<'_>) -> Option<()> {
    let (address, count) = (words.address()?, usize::from(words.below(64)?));
    let bytes = words.0.get(..count)?;
    words.0 = words.0.get(count..)?;
    let _ = machine.memory.write_slice(bytes, GuestAddress(address));
    Some(())
}

/// A request to a disk that is nearly one.
fn request(machine: &mut Machine, words: &mut Words<'_>) -> Option<()> {
    let disk = usize::from(words.below(2)?);
    let (kind, sector) = (u32::from(words.below(16)?), u64::from(words.below(72)?));
    let (data, length, writable) = (words.address()?, words.length()?, words.byte()?);
    let (header, status) = (BUFFERS, BUFFERS + 0x100);
    let _ = machine.memory.write_obj(kind, GuestAddress(header));
    let _ = machine.memory.write_obj(sector, GuestAddress(header + 8));
    let driver = &mut machine.drivers[disk];
    driver.descriptor(0, header, 16, 1, 1);
    driver.descriptor(1, data, length, 1 | u16::from(writable & 2), 2);
    driver.descriptor(2, status, 1, 2, 0);
    driver.publish(0);
    Some(())
}

/// A packet to the host that is nearly one; and room for what is answered.
fn send(machine: &mut Machine, words: &mut Words<'_>) -> Option<()> {
    let [guest, host] = [words.below(4)?, words.below(PORTS + 1)?].map(u32::from);
    let (operation, length, flags) = (u16::from(words.below(9)?), words.length()?, words.byte()?);
    let (room, taken) = (words.length()?, u32::from(words.byte()?));
    let header = packet([guest, host], length, operation, [u32::from(flags), room, taken]);
    let at = BUFFERS + 0x200;
    let _ = machine.memory.write_slice(&header, GuestAddress(at));
    let receive = &mut machine.drivers[2];
    receive.descriptor(0, BUFFERS + 0x1000, 2048, 2, 0);
    receive.publish(0);
    let transmit = &mut machine.drivers[3];
    transmit.descriptor(0, at, PACKET_HEADER_BYTES, 1, 1);
    transmit.descriptor(1, BUFFERS + 0x2000, length.min(0x1_0000), 0, 0);
    transmit.publish(0);
    machine.notify(VSOCK, 1);
    Some(())
}

/// The host offers, speaks, listens, or is gone.
fn host(machine: &mut Machine, words: &mut Words<'_>) -> Option<()> {
    let (what, value) = (words.byte()?, words.byte()?);
    let count = machine.hosts.len();
    match what % 4 {
        0 if count < HOSTS_MAX => {
            let host = machine.offer(u32::from(value % PORTS));
            machine.hosts.push(host);
        }
        1 if count > 0 => drain(&mut machine.hosts[usize::from(value) % count]),
        2 if count > 0 => {
            let _ = machine.hosts[usize::from(value) % count].write(&[value; 700]);
        }
        3 if count > 0 => drop(machine.hosts.swap_remove(usize::from(value) % count)),
        _ => {}
    }
    Some(())
}

/// A packet to the network that is nearly one; and a buffer for what comes of it.
fn frame(machine: &mut Machine, words: &mut Words<'_>) -> Option<()> {
    let (header, flags, kind) = (words.address()?, words.byte()?, words.byte()?);
    let (data, length, room) = (words.address()?, words.length()?, words.length()?);
    let _ = machine.memory.write_slice(&[flags, kind], GuestAddress(header));
    let [receive, transmit] = [6, 7];
    machine.drivers[receive].descriptor(0, data, room, 2, 0);
    machine.drivers[receive].publish(0);
    let transmit = &mut machine.drivers[transmit];
    transmit.descriptor(0, header, 12, 1, 1);
    transmit.descriptor(1, data, length, u16::from(flags & 1), 1);
    transmit.publish(0);
    machine.notify(NET, 1);
    Some(())
}

/// The other end of the network speaks, listens, or is gone.
fn peer(machine: &mut Machine, words: &mut Words<'_>) -> Option<()> {
    let (what, flags, kind, length) = (words.byte()?, words.byte()?, words.byte()?, words.word()?);
    // One of no length would be its end.
    let length = usize::from(length).max(2);
    let Some(peer) = &machine.peer else { return Some(()) };
    match what % 16 {
        0 => machine.peer = None,
        1..=4 => drop(drain_packets(peer)),
        5..=8 => machine.speaks(length),
        _ => {
            let mut packet = vec![flags; length];
            packet[..2].copy_from_slice(&[flags % 4, kind % 6]);
            // Where there is no room for it, it is not said.
            let _ = send_packet(peer, &packet, SendFlags::NOSIGNAL);
        }
    }
    Some(())
}
