//! Packets of the guest's link: what a frame holds, and frames for the guest.
//!
//! Owns: headers and checksums. Never does: know a flow, or a socket.

mod answers;
mod emit;
mod parse;

pub use answers::{Unreachable, answer};
pub use emit::{Emit, HOPS};
pub use parse::{Held, IpPacket, Piece, Protocol, parse};
