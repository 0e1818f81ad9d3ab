//! The early log: a 16550 serial port whose output goes to an open file. Not there unless asked for.

use rustix::fd::OwnedFd;
use std::io::{self, Write};
use vm_superio::Trigger;
use vm_superio::serial::{NoEvents, Serial};
use vmm_sys_util::eventfd::EventFd;

/// How many bytes are kept back at most for the sake of writing whole lines.
const LINE_BYTES: usize = 256;

/// The serial port.
pub(crate) type SerialPort = Serial<Line, NoEvents, Log>;

/// Makes the port: its interrupt, and where its output goes.
pub(crate) fn create(interrupt: EventFd, log: OwnedFd) -> SerialPort {
    Serial::new(Line(interrupt), Log { file: log, line: Vec::with_capacity(LINE_BYTES) })
}

/// The port's interrupt line.
#[derive(Debug)]
pub(crate) struct Line(EventFd);

impl Trigger for Line {
    type E = io::Error;

    fn trigger(&self) -> io::Result<()> {
        self.0.write(1)
    }
}

/// Writes line by line. What the file does not take is lost: a log never stops a guest.
#[derive(Debug)]
pub(crate) struct Log {
    file: OwnedFd,
    line: Vec<u8>,
}

impl Log {
    fn write_out(&mut self) {
        let mut rest = self.line.as_slice();
        while let Ok(count @ 1..) = rustix::io::write(&self.file, rest) {
            rest = rest.get(count..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
        }
        self.line.clear();
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for byte in bytes {
            self.line.push(*byte);
            if *byte == b'\n' || self.line.len() >= LINE_BYTES {
                self.write_out();
            }
        }
        Ok(bytes.len())
    }

    /// Does nothing: the port flushes after every byte.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.write_out();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn lines_come_whole_and_the_rest_at_the_end() {
        let (reader, writer) = io::pipe().unwrap();
        let mut reader = io::BufReader::new(reader);
        let mut port = create(EventFd::new(0).unwrap(), writer.into());
        for byte in b"one\ntwo" {
            port.write(0, *byte).unwrap();
        }
        let mut first = [0; 4];
        reader.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"one\n");
        drop(port);
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "two");
    }

    #[test]
    fn a_log_nobody_reads_stops_nothing() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let mut port = create(EventFd::new(0).unwrap(), writer.into());
        for byte in b"lost\n" {
            port.write(0, *byte).unwrap();
        }
    }
}
