//! What passes a link, written down as every tool reads it (the classic form of libpcap: pcap-savefile(5)).

use rustix::io::writev;
use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::time::{SystemTime, UNIX_EPOCH};

/// Numbers of this machine's order, and nanoseconds.
const MAGIC: u32 = 0xa1b2_3c4d;
const VERSION: [u16; 2] = [2, 4];
const LONGEST: u32 = 1 << 18;
const ETHERNET: u32 = 1;

/// A file that takes all frames. What it does not take ends it, and nothing else.
#[derive(Debug)]
pub struct Capture(Option<OwnedFd>);

impl Capture {
    /// Begins a file.
    pub fn new(file: OwnedFd) -> Self {
        let mut header = Vec::from(MAGIC.to_ne_bytes());
        header.extend(VERSION.map(u16::to_ne_bytes).as_flattened());
        header.extend([0, 0, LONGEST, ETHERNET].map(u32::to_ne_bytes).as_flattened());
        let mut capture = Self(Some(file));
        capture.put(&[&header]);
        capture
    }

    /// Adds a frame.
    pub fn add(&mut self, parts: [&[u8]; 2]) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let length = u32::try_from(parts.iter().map(|part| part.len()).sum::<usize>()).unwrap_or(0);
        // The form has no room for later seconds than 2106's.
        let seconds = u32::try_from(now.as_secs()).unwrap_or(u32::MAX);
        let header = [seconds, now.subsec_nanos(), length, length].map(u32::to_ne_bytes);
        self.put(&[header.as_flattened(), parts[0], parts[1]]);
    }

    fn put(&mut self, parts: &[&[u8]]) {
        let Some(file) = &self.0 else { return };
        let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let length = parts.iter().map(|part| part.len()).sum();
        // A record that is not whole would spoil all that follow.
        if writev(file, &slices) != Ok(length) {
            self.0 = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_file_has_a_header_and_then_frames() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut capture = Capture::new(writer.into());
        capture.add([b"head", b"body!"]);
        drop(capture);
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len(), 24 + 16 + 9);
        assert_eq!(bytes[..4], MAGIC.to_ne_bytes());
        assert_eq!(bytes[20..24], ETHERNET.to_ne_bytes());
        assert_eq!(bytes[32..36], 9u32.to_ne_bytes());
        assert_eq!(&bytes[40..], b"headbody!");
    }

    #[test]
    fn a_file_that_takes_no_more_is_left_alone() {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut capture = Capture::new(writer.into());
        drop(reader);
        capture.add([b"a", b""]);
        assert!(capture.0.is_none());
    }
}
