//! Copies one stream's bytes to another, and carries both ends' closing over.

use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;

const BUFFER_BYTES: usize = 64 * 1024;

/// Copies standard input into a stream until it ends, then says so to the other side. The thread may
/// sit in a read for ever: it is never joined.
pub fn stdin_into(stream: Arc<OwnedFd>) {
    std::thread::spawn(move || {
        copy(rustix::stdio::stdin(), &*stream);
        // Fails only where the other side is gone, and then there is nobody to tell.
        let _ = rustix::net::shutdown(&*stream, rustix::net::Shutdown::Write);
    });
}

/// Copies a stream to one of our own outputs until either ends. When the output is closed, so is the
/// stream: whoever writes into it inside is told at once.
pub fn out_of(stream: Arc<OwnedFd>, output: impl AsFd + Send + 'static) -> JoinHandle<()> {
    std::thread::spawn(move || {
        copy(&*stream, output);
        let _ = rustix::net::shutdown(&*stream, rustix::net::Shutdown::Both);
    })
}

fn copy(from: impl AsFd, to: impl AsFd) {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = match rustix::io::read(&from, &mut buffer) {
            Ok(0) => return,
            Ok(count) => count,
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN) => match wait(&from, rustix::event::PollFlags::IN) {
                Ok(()) => continue,
                Err(_) => return,
            },
            Err(_) => return,
        };
        let mut rest = buffer.get(..count).unwrap_or_default();
        while !rest.is_empty() {
            match rustix::io::write(&to, rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                // Somebody shares the descriptor and has made it non-blocking.
                Err(Errno::AGAIN) => {
                    if wait(&to, rustix::event::PollFlags::OUT).is_err() {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    }
}

fn wait(fd: impl AsFd, flags: rustix::event::PollFlags) -> Result<(), Errno> {
    rustix::event::poll(&mut [rustix::event::PollFd::new(&fd, flags)], None).map(|_| ())
}
