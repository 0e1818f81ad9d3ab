//! Bytes as what a QEMU that was taken over says on a device's connection: requests of any kind and length,
//! with any open files beside them.
//!
//! Owns: the reading. Never does: start a thread of its own; all is said before anybody listens.

use super::machine::drain;
use crate::config::{DiskConfig, FdSlot, FileExtent};
use crate::threads::Threads;
use crate::virtio::VirtioDevice;
use crate::virtio::block::Block;
use crate::virtio::vhost_user::{ConnectionEnd, serve_device};
use crate::virtio::vsock::{EventQueue, Offers, Vsock};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::net::{
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, sendmsg, shutdown,
};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// What is said on one connection, at most: all of it, and its answers, fit the sockets' buffers.
const MESSAGES_MAX: usize = 64;
const PAYLOAD_MAX: usize = 255;
const FILES_MAX: usize = 3;
/// The version in a request's flags.
const VERSION: u32 = 1;
const DISK_BYTES: u64 = 16 << 10;
/// How long each region's file is.
pub(super) const REGION_BYTES: u64 = 64 << 10;

/// A request as it goes over the wire: its number, flags and length, then its payload.
pub(super) fn message(request: u32, flags: u32, length: u32, payload: &[u8]) -> Vec<u8> {
    let head = [request, flags | VERSION, length].map(u32::to_le_bytes).concat();
    [head.as_slice(), payload].concat()
}

/// Says a message with open files beside it.
pub(super) fn say(connection: &UnixStream, bytes: &[u8], files: &[BorrowedFd<'_>]) {
    let mut space = [MaybeUninit::uninit(); 64 + 4 * 256];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() {
        beside.push(SendAncillaryMessage::ScmRights(files));
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    // Where nobody listens any more there is nobody to lie to.
    let _ = sendmsg(connection, &[IoSlice::new(bytes)], &mut beside, flags);
}

/// A file for a region of memory, sealed or not.
pub(super) fn region(seals: SealFlags) -> OwnedFd {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = memfd_create("region", flags).expect("a file in memory");
    ftruncate(&file, REGION_BYTES).expect("memory takes it");
    fcntl_add_seals(&file, seals).expect("a new file");
    file
}

/// An open file of a kind: what a device is promised, or another.
pub(super) fn file(kind: u8) -> OwnedFd {
    match kind % 6 {
        0 => region(SealFlags::SHRINK),
        1 => region(SealFlags::GROW),
        2 => eventfd(0, EventfdFlags::CLOEXEC).expect("an eventfd"),
        3 => {
            let event = eventfd(0, EventfdFlags::CLOEXEC).expect("an eventfd");
            let full = (u64::MAX - 1).to_ne_bytes();
            rustix::io::write(&event, &full).expect("it takes as much");
            event
        }
        4 => rustix::pipe::pipe().expect("a pipe").0,
        _ => UnixStream::pair().expect("a socket pair").0.into(),
    }
}

/// A disk, or the socket device.
pub(super) fn device(is_disk: bool) -> Box<dyn VirtioDevice> {
    if !is_disk {
        let vsock = Vsock::new(Offers::new(), EventQueue::Frontend, Threads::unconfined());
        return Box::new(vsock.expect("threads"));
    }
    let file = memfd_create("disk", MemfdFlags::CLOEXEC).expect("a file in memory");
    ftruncate(&file, DISK_BYTES).expect("memory takes it");
    let extents = vec![FileExtent { file: FdSlot(0), offset: 0, length: DISK_BYTES }];
    let config = DiskConfig { serial: "disk".to_owned(), extents, writable: true, more: None };
    Box::new(Block::new(&config, &[file], Threads::unconfined()).expect("a sound disk"))
}

/// Says these bytes to a device: the first says to which, then six are a request and its files, and as many as
/// the last of them says its payload.
pub fn speak(bytes: &[u8]) {
    let (mut qemu, ours) = UnixStream::pair().expect("a socket pair");
    qemu.set_nonblocking(true).expect("a socket of ours");
    let Some((first, mut bytes)) = bytes.split_first() else { return };
    for _ in 0..MESSAGES_MAX {
        let Some(([request, flags, lie, kind, count, length], rest)) = bytes.split_first_chunk()
        else {
            break;
        };
        let length = usize::from(*length).min(rest.len()).min(PAYLOAD_MAX);
        let (payload, rest) = rest.split_at(length);
        bytes = rest;
        // Mostly as long as it says.
        let said = if *lie == 0xff { u32::MAX } else { length as u32 + u32::from(lie % 8 == 7) };
        let files: Vec<OwnedFd> =
            (0..usize::from(*count) % (FILES_MAX + 1)).map(|_| file(*kind)).collect();
        let files: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
        let message = message(u32::from(*request % 48), u32::from(*flags), said, payload);
        say(&qemu, &message, &files);
    }
    let _ = shutdown(&qemu, Shutdown::Write);
    let ConnectionEnd { device, .. } = serve_device(device(first % 2 == 0), ours);
    assert!(device.is_some(), "the device is lost");
    drain(&mut qemu);
}
