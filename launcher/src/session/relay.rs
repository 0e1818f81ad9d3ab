//! Copies one stream's bytes to another, and carries both ends' closing over.

use super::keys::DetachKeys;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;

const BUFFER_BYTES: usize = 64 * 1024;

/// A stream that is being copied to one of our outputs.
#[derive(Debug)]
pub struct Output {
    name: &'static str,
    thread: JoinHandle<Result<(), Errno>>,
}

/// Copies standard input into a stream until it ends, then says so to the other side; or until these keys are pressed, which
/// is said by closing what is beside them. The thread may sit in a read for ever: it is never joined.
pub fn stdin_into(stream: Arc<OwnedFd>, mut keys: Option<(DetachKeys, OwnedFd)>) {
    std::thread::spawn(move || {
        let mut is_detached = false;
        let pass = |typed: &[u8]| {
            let Some((keys, _)) = &mut keys else { return write_all(&*stream, typed) };
            let passed = keys.pass(typed);
            write_all(&*stream, &passed.bytes)?;
            is_detached = passed.is_detached;
            if is_detached { Err(Errno::CANCELED) } else { Ok(()) }
        };
        // Where the stream takes no more, its process has closed it, and needs none.
        let _ = each_piece(rustix::stdio::stdin(), pass);
        if is_detached {
            return;
        }
        if let Some((_, told)) = keys {
            // Nobody presses them any more, which is not to be taken for it.
            std::mem::forget(told);
        }
        // Fails only where the other side is gone, and then there is nobody to tell.
        let _ = rustix::net::shutdown(&*stream, rustix::net::Shutdown::Write);
    });
}

impl Output {
    /// Copies a stream to one of our own outputs until either ends. When the output is closed, so is the
    /// stream: whoever writes into it inside is told at once. `ended` is closed at the end.
    pub fn copying(
        stream: Arc<OwnedFd>,
        name: &'static str,
        output: impl AsFd + Send + 'static,
        ended: OwnedFd,
    ) -> Self {
        let thread = std::thread::spawn(move || {
            let copied = copy(&*stream, output);
            // Fails only where the other side is gone, which is what is wanted.
            let _ = rustix::net::shutdown(&*stream, rustix::net::Shutdown::Both);
            drop(ended);
            copied
        });
        Self { name, thread }
    }

    /// Why what was written to it is not all there, where that is nobody's wish. Asked of one that ended.
    pub fn failure(self) -> Option<String> {
        match self.thread.join() {
            // Whoever reads it has gone, or closed its terminal.
            Ok(Ok(()) | Err(Errno::PIPE | Errno::IO)) => None,
            Ok(Err(errno)) => Some(format!("cannot write to {}: {errno}", self.name)),
            Err(_) => Some(format!("cannot write to {}", self.name)),
        }
    }
}

/// Copies until the end of `from`, or an error of it; an error of `to` is given.
pub(super) fn copy(from: impl AsFd, to: impl AsFd) -> Result<(), Errno> {
    each_piece(from, |piece| write_all(&to, piece))
}

fn write_all(to: &impl AsFd, mut rest: &[u8]) -> Result<(), Errno> {
    while !rest.is_empty() {
        match rustix::io::write(to, rest) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            // Somebody shares the descriptor and has made it non-blocking.
            Err(Errno::AGAIN) => wait(to, PollFlags::OUT)?,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Calls `each` with what comes, as it comes, until the end of `from`, or an error of it; or one of `each`, which is given.
pub(super) fn each_piece(
    from: impl AsFd,
    mut each: impl FnMut(&[u8]) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match rustix::io::read(&from, &mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => each(buffer.get(..count).unwrap_or_default())?,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) if wait(&from, PollFlags::IN).is_ok() => {}
            Err(_) => return Ok(()),
        }
    }
}

fn wait(fd: impl AsFd, flags: PollFlags) -> Result<(), Errno> {
    match poll(&mut [PollFd::new(&fd, flags)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}
