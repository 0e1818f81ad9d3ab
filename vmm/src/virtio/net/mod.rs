//! The network device (VirtIO 1.2 §5.1): frames between a guest's driver and a socket of packets.
//!
//! Owns: what of a packet's header a driver may be given ([`header`]), the socket and what is known of it ([`link`]),
//! and the thread that joins both with the queues ([`worker`]). Never does: look into a frame, make a socket, or
//! keep a byte: a packet is in guest memory or in the socket.
//!
//! ```text
//!   guest                          device                           host
//!     │ header, frame: one chain ────▶│ straight from guest memory ────▶│ one packet
//!     │        its chain waits, muted │◀───────── the socket is full ── │
//!     │◀── one packet's chains at once│ straight to guest memory ◀───── │ one packet
//!     │ no room for the next ────────▶│ it stays in the socket ────────▶│ which is full
//!     │ a chain comes back unsent ◀── │◀─────────────────── gone ────── │
//! ```
//! A packet is a `virtio_net_hdr_v1` and an Ethernet frame, both ways, as it stands in the chain. What the driver
//! did not accept the other end does not know: a packet that it would not understand is dropped here.

mod device;
mod header;
mod link;
mod worker;

#[cfg(test)]
mod tests;

pub use device::Net;
#[cfg(feature = "fuzzing")]
pub(crate) use worker::{Queues, Worker};

use std::ops::RangeInclusive;

const QUEUE_SIZE: u16 = 256;
/// `struct virtio_net_hdr_v1` (VirtIO 1.2 §5.1.6).
const HEADER_BYTES: usize = 12;
/// A packet: its header and a frame, which has a head of its own and perhaps a tag, and at most one IP packet.
pub(crate) const PACKET_BYTES: RangeInclusive<usize> =
    HEADER_BYTES + 14..=HEADER_BYTES + 14 + 4 + 65535;

/// What the device offers (VirtIO 1.2 §5.1.3).
mod feature {
    pub const CSUM: u64 = 1 << 0;
    pub const GUEST_CSUM: u64 = 1 << 1;
    pub const MTU: u64 = 1 << 3;
    pub const MAC: u64 = 1 << 5;
    pub const GUEST_TSO4: u64 = 1 << 7;
    pub const GUEST_TSO6: u64 = 1 << 8;
    pub const HOST_TSO4: u64 = 1 << 11;
    pub const HOST_TSO6: u64 = 1 << 12;
    pub const MRG_RXBUF: u64 = 1 << 15;
}
