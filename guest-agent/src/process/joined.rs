//! Two connections made one, by the agent's own processes in a container.
//!
//! Owns: what passes from each to the other, and that the end of one direction is told and leaves the other open. Never
//! does: connect.

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;

const STACK_BYTES: usize = 64 << 10;
const BUFFER_BYTES: usize = 64 << 10;

/// Passes on what comes by each of two connected sockets of bytes, until both have said all. One direction is a thread's of
/// its own.
pub fn join(near: OwnedFd, far: OwnedFd) {
    let [near, far] = [near, far].map(Arc::new);
    let (from, to) = (Arc::clone(&near), Arc::clone(&far));
    if in_thread(move || flow(&from, &to)).is_some() {
        flow(&far, &near);
    }
}

/// Starts a small thread; `None` where there is no room for one.
pub fn in_thread(work: impl FnOnce() + Send + 'static) -> Option<()> {
    thread::Builder::new().stack_size(STACK_BYTES).spawn(work).ok().map(drop)
}

fn flow(from: &OwnedFd, to: &OwnedFd) {
    if pass(from, to).is_err() {
        // Nobody takes it, or it was cut off: whoever sends is told as well.
        let _ = shutdown(from, Shutdown::Both);
    }
    let _ = shutdown(to, Shutdown::Write);
}

fn pass(from: &OwnedFd, to: &OwnedFd) -> Result<(), Errno> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = retried(|| recv(from, &mut buffer[..], RecvFlags::empty()).map(|it| it.0))?;
        let mut left = buffer.get(..count).unwrap_or_default();
        if left.is_empty() {
            return Ok(());
        }
        while !left.is_empty() {
            let sent = retried(|| send(to, left, SendFlags::NOSIGNAL))?;
            left = left.get(sent..).unwrap_or_default();
        }
    }
}

fn retried<T>(call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    rustix::io::retry_on_intr(call)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    fn joined() -> (UnixStream, UnixStream, thread::JoinHandle<()>) {
        let ((client, near), (service, far)) =
            (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
        (client, service, thread::spawn(move || join(near.into(), far.into())))
    }

    #[test]
    fn the_end_of_one_direction_leaves_the_other_open() {
        let (mut client, mut service, joins) = joined();
        client.write_all(b"question").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut heard = String::new();
        service.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "question");
        let answer = vec![7; 3 << 20];
        let own = answer.clone();
        let answers = thread::spawn(move || service.write_all(&own));
        let mut back = Vec::new();
        client.read_to_end(&mut back).unwrap();
        assert_eq!(back, answer);
        answers.join().unwrap().unwrap();
        joins.join().unwrap();
    }

    #[test]
    fn whoever_sends_what_nobody_takes_is_told() {
        let (mut client, service, joins) = joined();
        drop(service);
        let bytes = [0; 64 << 10];
        while client.write_all(&bytes).is_ok() {}
        joins.join().unwrap();
    }
}
