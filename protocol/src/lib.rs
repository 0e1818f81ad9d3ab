//! The contract between the launcher (outside the VM) and the guest agent (PID 1 inside it).
//!
//! Owns: the messages, their wire form and their limits. Never does: I/O, or anything that depends
//! on which side it is compiled into.
//!
//! ```text
//!   launcher                                             guest agent
//!      │   offers vsock port CONTROL_PORT                     │
//!      │ ◀──────────── connects, Hello ────────────────────── │   boot is over
//!      │ ───────────── Welcome (clock) ─────────────────────▶ │
//!      │   offers one port for each standard stream           │
//!      │ ───────────── Request::Start(ContainerSpec) ───────▶ │   the one declarative request
//!      │ ◀──────────── connects each stream's port ────────── │
//!      │ ◀──────────── Event::Started ─────────────────────── │
//!      │ ───────────── Request::Signal, Resize ─────────────▶ │
//!      │ ◀──────────── Event::Exited ──────────────────────── │   streams are at end of file
//!      │ ───────────── Request::PowerOff ───────────────────▶ │   kills, syncs, unmounts
//!      │ ◀──────────── Event::PoweringOff ─────────────────── │   then resets the machine
//! ```
//!
//! Every connection is opened by the guest towards the host ([`port::HOST_CID`]), to a port that the
//! launcher has offered for exactly one connection; all others are refused by the vsock device. Bytes
//! on a stream's connection are the stream's bytes and nothing else.
//!
//! Invariants:
//! - A frame is at most [`frame::MAX_FRAME_BYTES`]; a longer one ends the conversation. What a request may
//!   ask for is bounded besides ([`limits`]), and refused by what is too much before anything is sent.
//! - Each side checks versions before it reads anything else ([`handshake::greeting`]).
//! - The agent is in the guest's trust domain: [`Event`]s are claims, not facts.
//! - The bytes of every message are pinned by golden files; a change of them is a change of
//!   [`handshake::PROTOCOL_VERSION`].

mod container_spec;
mod exit_status;
pub mod frame;
pub mod handshake;
mod identifier;
pub mod limits;
mod message;
mod network;
pub mod port;
mod testimony;
mod usage;

pub use container_spec::{
    AppArmor, Capabilities, CapabilitySet, ContainerSpec, DeviceAccess, DiskExtent, FIRST_USER_ID,
    LAYERS_DISK_SERIAL, Mount, MountSource, NamespaceRef, Namespaces, ProcessSpec, Program,
    Resources, Rlimit, Rootfs, SHARES_TAG, SeccompAction, SeccompArgument, SeccompComparison,
    SeccompProfile, SeccompRule, Stdio, TerminalSize, UPPER_DISK_SERIAL, Upper,
};
pub use exit_status::ExitStatus;
pub use identifier::{ContainerId, IdentifierError, ProcessId, ProcessRef};
pub use message::{Event, Failure, FailureKind, Request};
pub use network::Network;
pub use testimony::Testimony;
pub use usage::Usage;
