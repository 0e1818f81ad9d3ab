//! Frames as packets of a socket, each behind a `virtio_net_hdr_v1`.

use super::{Frame, Heard, MOST_FRAME, Offload};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, sendmsg};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::OwnedFd;

/// How long the header is.
pub const HEADER: usize = 12;

const NEEDS_CHECKSUM: u8 = 1;
const TCP_IPV4: u8 = 1;
const TCP_IPV6: u8 = 4;

/// A link of our own VMM.
#[derive(Debug)]
pub struct Packets {
    pub(super) socket: OwnedFd,
    pub(super) waiting: VecDeque<Vec<u8>>,
}

impl Packets {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self { socket, waiting: VecDeque::new() }
    }

    pub(super) fn send(&mut self, header: &[u8], payload: &[u8], offload: Option<Offload>) {
        let before = header_of(offload, header.len());
        if self.waiting.is_empty() && self.sent(&[&before, header, payload]) {
            return;
        }
        self.waiting.push_back([&before, header, payload].concat());
    }

    pub(super) fn flush(&mut self) {
        while let Some(frame) = self.waiting.pop_front() {
            if !self.sent(&[&frame]) {
                self.waiting.push_front(frame);
                return;
            }
        }
    }

    /// Whether it went, or never will.
    fn sent(&self, parts: &[&[u8]]) -> bool {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let mut slices = [IoSlice::new(&[]); 3];
        slices.iter_mut().zip(parts).for_each(|(slice, part)| *slice = IoSlice::new(part));
        let slices = slices.get(..parts.len()).unwrap_or_default();
        loop {
            let result = sendmsg(&self.socket, slices, &mut SendAncillaryBuffer::default(), flags);
            match result {
                Err(Errno::INTR) => {}
                // No memory for it just now is as good as no room.
                Err(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM) => return false,
                // Of whom has gone hears who reads.
                Ok(_) | Err(_) => return true,
            }
        }
    }

    pub(super) fn receive<'l>(&mut self, frame: &'l mut Frame) -> io::Result<Option<Heard<'l>>> {
        let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
        loop {
            match recv(&self.socket, frame.0.as_mut_slice(), flags) {
                Ok((0, _)) => return Err(ErrorKind::UnexpectedEof.into()),
                // What is too long, or too short to be a frame, is none.
                Ok((_, length)) if length > HEADER + MOST_FRAME || length <= HEADER => {}
                Ok((count, _)) => {
                    let is_unsummed = frame.0.first().is_some_and(|it| it & NEEDS_CHECKSUM != 0);
                    let bytes = frame.0.get(HEADER..count);
                    return Ok(bytes.map(|bytes| Heard { bytes, is_unsummed }));
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(None),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// The header of a frame whose own headers are so long. It takes one buffer, unless the guest's device finds that it takes
/// more.
fn header_of(offload: Option<Offload>, headers: usize) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[10] = 1;
    let Some(Offload { start, at, segments }) = offload else { return header };
    let (kind, size) = match segments {
        None => (0, 0),
        Some((size, false)) => (TCP_IPV4, size),
        Some((size, true)) => (TCP_IPV6, size),
    };
    let length = u16::try_from(headers).unwrap_or(0);
    let words = [length, size, start, at].map(u16::to_le_bytes);
    header[0] = NEEDS_CHECKSUM;
    header[1] = kind;
    header[2..10].copy_from_slice(words.as_flattened());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_to_do_stands_before_a_frame() {
        assert_eq!(header_of(None, 54), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
        let checksum = Offload { start: 34, at: 16, segments: None };
        assert_eq!(header_of(Some(checksum), 54), [1, 0, 54, 0, 0, 0, 34, 0, 16, 0, 1, 0]);
        let segments = Offload { start: 54, at: 16, segments: Some((1440, true)) };
        assert_eq!(header_of(Some(segments), 74), [1, 4, 74, 0, 0xa0, 5, 54, 0, 16, 0, 1, 0]);
    }
}
