//! The early log: a 16550 serial port whose output goes to an open file. Not there unless asked for.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use vm_superio::serial::{Error, NoEvents, Serial};
use vm_superio::{SerialState as Registers, Trigger};
use vmm_sys_util::eventfd::EventFd;

/// How many bytes are kept back at most for the sake of writing whole lines. A pipe that takes any
/// bytes takes so many without waiting (pipe(7), PIPE_BUF).
const LINE_BYTES: usize = 256;
const NO_WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// The serial port.
pub type SerialPort = Serial<Line, NoEvents, Log>;

/// The port's registers as plain data, from which it is made again. Bytes that wait for the end of
/// their line belong to the log, which writes them when its port goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SerialState(#[serde(with = "Fields")] Registers);

/// The fields of a type that does not know serde.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Registers")]
struct Fields {
    baud_divisor_low: u8,
    baud_divisor_high: u8,
    interrupt_enable: u8,
    interrupt_identification: u8,
    line_control: u8,
    line_status: u8,
    modem_control: u8,
    modem_status: u8,
    scratch: u8,
    in_buffer: Vec<u8>,
}

impl SerialState {
    /// The state of a port.
    pub fn of(port: &SerialPort) -> Self {
        Self(port.state())
    }
}

/// Makes the port: its interrupt, and where its output goes.
pub fn create(interrupt: EventFd, log: OwnedFd) -> SerialPort {
    Serial::new(Line(interrupt), Log::to(log))
}

/// Makes a port what a saved one was; an interrupt that was pending is raised again.
///
/// # Errors
/// Where the state is none that a port can have, or the interrupt cannot be raised.
pub fn restore(
    state: &SerialState,
    interrupt: EventFd,
    log: OwnedFd,
) -> Result<SerialPort, Error<io::Error>> {
    Serial::from_state(&state.0, Line(interrupt), NoEvents, Log::to(log))
}

/// The port's interrupt line.
#[derive(Debug)]
pub struct Line(EventFd);

impl Trigger for Line {
    type E = io::Error;

    fn trigger(&self) -> io::Result<()> {
        self.0.write(1)
    }
}

/// Writes line by line. What the file does not take at once is lost: a log never stops a guest.
#[derive(Debug)]
pub struct Log {
    file: OwnedFd,
    line: Vec<u8>,
}

impl Log {
    fn to(file: OwnedFd) -> Self {
        Self { file, line: Vec::with_capacity(LINE_BYTES) }
    }

    fn write_out(&mut self) {
        let mut rest = self.line.as_slice();
        while !rest.is_empty()
            && self.takes_bytes()
            && let Ok(count @ 1..) = rustix::io::write(&self.file, rest)
        {
            rest = rest.get(count..).unwrap_or_default();
        }
        self.line.clear();
    }

    /// Asked before each write, and not O_NONBLOCK set: that would reach everyone who shares the file.
    fn takes_bytes(&self) -> bool {
        let mut file = [PollFd::new(&self.file, PollFlags::OUT)];
        poll(&mut file, Some(&NO_WAIT)).is_ok() && file[0].revents().contains(PollFlags::OUT)
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

    #[test]
    fn a_log_that_is_full_stops_nothing_either() {
        let (mut reader, writer) = io::pipe().unwrap();
        let (ended, end) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut port = create(EventFd::new(0).unwrap(), writer.into());
            // More than a pipe holds.
            for _ in 0..2000 {
                (0..99).for_each(|_| port.write(0, b'x').unwrap());
                port.write(0, b'\n').unwrap();
            }
            ended.send(()).unwrap();
        });
        end.recv_timeout(std::time::Duration::from_secs(10)).expect("the port waits for a reader");
        let mut log = String::new();
        reader.read_to_string(&mut log).unwrap();
        assert!(log.len() > 4096, "{} bytes", log.len());
        assert!(log.lines().all(|line| line.len() == 99), "lines are whole or not there");
    }

    #[test]
    fn a_port_made_from_its_state_is_what_it_was() {
        let eventfd = || EventFd::new(vmm_sys_util::eventfd::EFD_NONBLOCK).unwrap();
        let null = || std::fs::File::options().write(true).open("/dev/null").unwrap();
        let mut port = create(eventfd(), null().into());
        port.write(1, 0b10).unwrap(); // an interrupt when all was sent
        port.write(7, 0x5a).unwrap();
        port.enqueue_raw_bytes(b"typed").unwrap();
        port.write(0, b'a').unwrap();
        let state = SerialState::of(&port);
        let bytes = serde_json::to_vec(&state).unwrap();
        drop(port);

        let interrupt = eventfd();
        let state: SerialState = serde_json::from_slice(&bytes).unwrap();
        let mut again = restore(&state, interrupt.try_clone().unwrap(), null().into()).unwrap();
        assert_eq!(interrupt.read().unwrap(), 1, "the pending interrupt");
        assert_eq!(SerialState::of(&again), state);
        assert_eq!((again.read(1), again.read(7)), (0b10, 0x5a));
        assert_eq!([0; 5].map(|_: u8| again.read(0)), *b"typed");

        let mut long = state;
        long.0.in_buffer = vec![0; 65];
        assert!(restore(&long, eventfd(), null().into()).is_err());
    }
}
