//! TCP of a guest, ended here: whoever the guest speaks to is spoken to by a socket, and the two streams are passed on.
//!
//! Owns: sequence numbers, windows and what is sent again towards the guest (RFC 9293). Never does: open a socket, or keep
//! more of a stream than one window each way; an idle connection keeps none.

mod connection;
mod held;

pub use connection::{Connection, Limits, Outside, Wants};

#[cfg(test)]
mod tests;
