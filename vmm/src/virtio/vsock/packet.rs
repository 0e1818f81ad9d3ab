//! The header of a packet (VirtIO 1.2 §5.10.6), as bytes and as numbers. Pure.

use super::{GUEST_CID, HOST_CID, RECEIVE_BUFFER_BYTES};

/// The length of a header.
pub const HEADER_BYTES: usize = 44;
/// The same, as what a used ring counts in.
pub const HEADER_LENGTH: u32 = 44;
/// `VIRTIO_VSOCK_TYPE_STREAM`.
pub const TYPE_STREAM: u16 = 1;
/// SHUTDOWN's flag: the sender of the packet will not receive any more.
pub const SHUTDOWN_RECEIVE: u32 = 1;
/// SHUTDOWN's flag: the sender of the packet will not send any more.
pub const SHUTDOWN_SEND: u32 = 2;

/// What a packet says. Numbers beyond these are a violation of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Asks for a connection.
    Request = 1,
    /// Accepts one.
    Response = 2,
    /// Refuses or ends one.
    Reset = 3,
    /// Ends one direction or both.
    Shutdown = 4,
    /// Carries bytes.
    ReadWrite = 5,
    /// Tells how much room there is.
    CreditUpdate = 6,
    /// Asks how much room there is.
    CreditRequest = 7,
}

impl Operation {
    /// The operation of this number.
    pub fn from_number(number: u16) -> Option<Self> {
        Some(match number {
            1 => Self::Request,
            2 => Self::Response,
            3 => Self::Reset,
            4 => Self::Shutdown,
            5 => Self::ReadWrite,
            6 => Self::CreditUpdate,
            7 => Self::CreditRequest,
            _ => return None,
        })
    }
}

/// Which connection: ports are all that tells them apart, because both CIDs are fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// The guest's port.
    pub guest_port: u32,
    /// The host's port.
    pub host_port: u32,
}

/// A header from the guest, its fields still unbelieved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FromGuest {
    /// Whether it came from the guest's CID and goes to the host's.
    pub addressed: bool,
    /// Which connection.
    pub key: Key,
    /// How many bytes follow.
    pub length: u32,
    /// The socket type.
    pub kind: u16,
    /// The operation's number.
    pub operation: u16,
    /// Flags of a SHUTDOWN.
    pub flags: u32,
    /// How many bytes the guest's side keeps for this connection.
    pub buffer_bytes: u32,
    /// How many bytes its process has taken so far, modulo 2³².
    pub forwarded: u32,
}

/// A header to the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToGuest {
    /// Which connection.
    pub key: Key,
    /// What it says.
    pub operation: Operation,
    /// How many bytes follow.
    pub length: u32,
    /// Flags of a SHUTDOWN.
    pub flags: u32,
    /// How many bytes the host side has taken so far, modulo 2³².
    pub forwarded: u32,
}

impl FromGuest {
    /// Reads a header.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Self {
        let (source, destination) = (u64_at(bytes, 0), u64_at(bytes, 8));
        Self {
            addressed: source == GUEST_CID && destination == HOST_CID,
            key: Key { guest_port: u32_at(bytes, 16), host_port: u32_at(bytes, 20) },
            length: u32_at(bytes, 24),
            kind: u16_at(bytes, 28),
            operation: u16_at(bytes, 30),
            flags: u32_at(bytes, 32),
            buffer_bytes: u32_at(bytes, 36),
            forwarded: u32_at(bytes, 40),
        }
    }
}

impl ToGuest {
    /// A RST for a connection that is not, or is no more.
    pub fn reset(key: Key) -> Self {
        Self { key, operation: Operation::Reset, length: 0, flags: 0, forwarded: 0 }
    }

    /// Its bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut rest = bytes.as_mut_slice();
        let mut put = |field: &[u8]| {
            if let Some((to, after)) = std::mem::take(&mut rest).split_at_mut_checked(field.len()) {
                to.copy_from_slice(field);
                rest = after;
            }
        };
        put(&HOST_CID.to_le_bytes());
        put(&GUEST_CID.to_le_bytes());
        put(&self.key.host_port.to_le_bytes());
        put(&self.key.guest_port.to_le_bytes());
        put(&self.length.to_le_bytes());
        put(&TYPE_STREAM.to_le_bytes());
        put(&(self.operation as u16).to_le_bytes());
        put(&self.flags.to_le_bytes());
        put(&RECEIVE_BUFFER_BYTES.to_le_bytes());
        put(&self.forwarded.to_le_bytes());
        bytes
    }
}

fn array_at<const N: usize>(bytes: &[u8; HEADER_BYTES], offset: usize) -> [u8; N] {
    // Every offset above lies within a header; the default is never taken.
    bytes.get(offset..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

fn u16_at(bytes: &[u8; HEADER_BYTES], offset: usize) -> u16 {
    u16::from_le_bytes(array_at(bytes, offset))
}

fn u32_at(bytes: &[u8; HEADER_BYTES], offset: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, offset))
}

fn u64_at(bytes: &[u8; HEADER_BYTES], offset: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, offset))
}
