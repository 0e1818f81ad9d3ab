//! vhost-user as a transport: the same devices, their driver's side in QEMU, or in our own VMM (vhost-user
//! specification; VirtIO 1.2 for the rings themselves). In the VMM, a device that is served so is a [`Remote`].
//!
//! Owns: the memory that QEMU shares ([`shared_memory`]), the rings as it describes them ([`ring`])
//! and the requests by which it does ([`backend`]). Trusts QEMU no more than a guest, which may have
//! taken it over: what it says of memory is checked against the descriptor it came with.
//!
//! ```text
//!   SET_FEATURES, SET_MEM_TABLE, each ring's NUM, BASE, ADDR, KICK, ENABLE
//!      └── every ring ready ──▶ activate ──▶ active ── GET_VRING_BASE or the connection's end ──▶ reset
//! ```

mod backend;
mod remote;
mod ring;
mod shared_memory;

#[cfg(test)]
mod tests;

pub use remote::Remote;

use super::{Memory, VirtioDevice};
use backend::Backend;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use vhost::vhost_user::{BackendReqHandler, Error};

/// How a connection ended.
#[derive(Debug)]
pub struct ConnectionEnd {
    /// The memory that was shared last. It stays mapped, and as the machine left it.
    pub memory: Option<Memory>,
    /// What broke the connection, where QEMU did not simply close it.
    pub error: Option<Error>,
    /// The device, idle: dropping it ends its threads.
    pub device: Option<Box<dyn VirtioDevice>>,
}

/// Serves one device to QEMU until it closes the connection.
pub fn serve_device(device: Box<dyn VirtioDevice>, connection: UnixStream) -> ConnectionEnd {
    let backend = Arc::new(Mutex::new(Backend::new(device)));
    let error = connection.set_nonblocking(false).err().map(Error::SocketError);
    let mut handler = BackendReqHandler::from_stream(connection, Arc::clone(&backend));
    let error = error.or_else(|| {
        loop {
            match handler.handle_request() {
                Ok(()) | Err(Error::SocketRetry(_)) => {}
                Err(Error::Disconnected) => return None,
                Err(Error::SocketBroken(_)) => return None,
                Err(error) => return Some(error),
            }
        }
    });
    drop(handler);
    let backend = Arc::into_inner(backend).map(Mutex::into_inner);
    let backend = backend.map(|backend| backend.unwrap_or_else(PoisonError::into_inner));
    let (memory, device) = backend.map(Backend::finish).unzip();
    ConnectionEnd { memory: memory.flatten(), error, device }
}
