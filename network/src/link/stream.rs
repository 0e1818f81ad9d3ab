//! Frames in a stream of bytes, each behind its length.

use super::{Frame, Heard, MOST_FRAME};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg};
use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::OwnedFd;

/// How long a length is.
const LENGTH: usize = 4;
/// How much is read at a time: several frames, where they are small.
const READ: usize = 128 << 10;

/// A link of QEMU's.
#[derive(Debug)]
pub struct Stream {
    pub(super) socket: OwnedFd,
    /// What did not fit the socket.
    pub(super) waiting: Vec<u8>,
    /// What was read, from `next` to `end`.
    read: Box<[u8]>,
    next: usize,
    end: usize,
}

impl Stream {
    pub(super) fn new(socket: OwnedFd) -> Self {
        let read = vec![0; READ].into_boxed_slice();
        Self { socket, waiting: Vec::new(), read, next: 0, end: 0 }
    }

    pub(super) fn send(&mut self, header: &[u8], payload: &[u8]) {
        let length = u32::try_from(header.len() + payload.len()).unwrap_or(0).to_be_bytes();
        let mut sent = 0;
        if self.waiting.is_empty() {
            let parts = [&length[..], header, payload].map(IoSlice::new);
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            let result = sendmsg(&self.socket, &parts, &mut SendAncillaryBuffer::default(), flags);
            sent = result.unwrap_or(0);
        }
        for part in [&length[..], header, payload] {
            self.waiting.extend(part.get(sent..).unwrap_or_default());
            sent = sent.saturating_sub(part.len());
        }
    }

    pub(super) fn flush(&mut self) {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        while !self.waiting.is_empty() {
            match send(&self.socket, &self.waiting, flags) {
                Ok(count) => drop(self.waiting.drain(..count)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM) => return,
                // Of whom has gone hears who reads.
                Err(_) => self.waiting.clear(),
            }
        }
    }

    pub(super) fn receive<'l>(&mut self, frame: &'l mut Frame) -> io::Result<Option<Heard<'l>>> {
        loop {
            let read = self.read.get(self.next..self.end).unwrap_or_default();
            if let Some((length, rest)) = read.split_first_chunk::<LENGTH>() {
                let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
                if length > MOST_FRAME {
                    // Where the next one begins is not known then.
                    return Err(ErrorKind::InvalidData.into());
                }
                if let (Some(bytes), Some(room)) = (rest.get(..length), frame.0.get_mut(..length)) {
                    room.copy_from_slice(bytes);
                    self.next += LENGTH + length;
                    let bytes = frame.0.get(..length);
                    return Ok(bytes.map(|bytes| Heard { bytes, is_unsummed: false }));
                }
            }
            if !self.read_more()? {
                return Ok(None);
            }
        }
    }

    fn read_more(&mut self) -> io::Result<bool> {
        self.read.copy_within(self.next..self.end, 0);
        (self.next, self.end) = (0, self.end - self.next);
        let room = self.read.get_mut(self.end..).unwrap_or_default();
        loop {
            match recv(&self.socket, &mut *room, RecvFlags::DONTWAIT) {
                Ok((0, _)) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok((count, _)) => {
                    self.end += count;
                    return Ok(true);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(false),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}
