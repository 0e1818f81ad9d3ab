//! The socket device (VirtIO 1.2 §5.10): streams between guest processes and host descriptors.
//!
//! Owns: the packets ([`packet`]), what a connection may say and when ([`connection`]), the table of
//! connections ([`muxer`]), and the thread that joins them with queues and sockets ([`worker`]).
//! Never makes a socket: the host side of every connection was offered ([`Offers`]) as an open
//! descriptor. Only guests connect, only to CID 2, only streams.
//!
//! ```text
//!   guest                        device                          host
//!     │ REQUEST port 5 ────────────▶│ an offer for port 5? ◀──────── │ offer(5, stream)
//!     │◀─────────────── RESPONSE/RST│                               │
//!     │ RW ─────── within credit ──▶│ send ─── or kept, ≤ 256 KiB ──▶│
//!     │◀───────────── CREDIT_UPDATE │ as it drains                  │
//!     │◀──────── within credit ─ RW │ recv straight to guest memory │
//!     │ SHUTDOWN(SEND) ────────────▶│ after the last kept byte ─ SHUT_WR ▶ end of file
//!     │◀───────────── SHUTDOWN(SEND)│ end of file ◀─────────────────│ SHUT_WR
//!     │◀────────── SHUTDOWN(RECEIVE)│ nobody reads any more ◀───────│ closed
//!     │◀──────────────────────── RST│ both directions at their end  │
//! ```

mod connection;
mod credit;
mod device;
mod linger;
mod muxer;
mod offers;
mod packet;
mod stream;
mod worker;

#[cfg(test)]
mod tests;

pub use device::{EventQueue, Vsock};
pub use offers::{OfferError, Offers};
#[cfg(feature = "fuzzing")]
pub(crate) use worker::{Queues, Worker};

/// The guest's address.
pub const GUEST_CID: u64 = 3;
/// The host's address (VirtIO 1.2 §5.10.4).
const HOST_CID: u64 = 2;
const QUEUE_SIZE: u16 = 256;
/// How many bytes of a connection the device keeps for a host that does not read.
const RECEIVE_BUFFER_BYTES: u32 = 256 * 1024;
/// The most connections at a time, and the most offers.
const MAX_CONNECTIONS: usize = 1024;
