//! Unix sockets of the container's that are reached from outside: whoever connects to one here is offered to the guest as a
//! stream, and a gate of the agent's, a process in the container, joins that to the socket there.
//!
//! Owns: the sockets here, and the way to the gate. Never does: read or write what passes; a client's own socket goes to the
//! machine.

use crate::error::say;
use crate::streams::Line;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SendFlags, SocketFlags, accept_with, send};
use std::os::fd::{AsFd, OwnedFd};

/// The sockets here, and who leads on whoever comes by them.
#[derive(Debug, Default)]
pub struct Gate {
    sockets: Vec<OwnedFd>,
    /// What the gate reads; none before it runs, or after it has ended.
    told: Option<OwnedFd>,
    /// Whose room is waited for, while others wait to be let in.
    held: Option<HeldBy>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HeldBy {
    /// The machine.
    Line,
    /// The gate.
    Gate,
}

impl Gate {
    /// One that is closed.
    pub fn new(sockets: Vec<OwnedFd>) -> Self {
        Self { sockets, told: None, held: None }
    }

    /// Whether anybody may come at all.
    pub fn is_wanted(&self) -> bool {
        !self.sockets.is_empty()
    }

    /// The gate runs, and reads this.
    pub fn open(&mut self, told: OwnedFd) {
        self.told = Some(told);
    }

    /// Nobody is let in any more.
    pub fn close(&mut self) {
        *self = Self::default();
    }

    /// What is to be watched.
    pub fn watched<'g>(&'g self, line: &'g Line) -> Vec<PollFd<'g>> {
        let Some(told) = &self.told else { return Vec::new() };
        match self.held {
            Some(HeldBy::Line) => vec![PollFd::new(line, PollFlags::OUT)],
            Some(HeldBy::Gate) => vec![PollFd::new(told, PollFlags::OUT)],
            None => self.sockets.iter().map(|it| PollFd::new(it, PollFlags::IN)).collect(),
        }
    }

    /// Lets in who has come, in the order in which it was watched.
    pub fn hear(&mut self, ready: &[bool], line: &mut Line) {
        if self.held.take().is_some() {
            return;
        }
        let numbers: Vec<_> =
            (0..self.sockets.len()).filter(|&it| ready.get(it) == Some(&true)).collect();
        for number in numbers {
            if let Err(errno) = self.let_in(number, line) {
                // The gate ends with its container, which is told elsewhere.
                if errno != Errno::PIPE {
                    say(&format!("nobody reaches the sandbox's sockets any more: {errno}"));
                }
                return self.close();
            }
        }
    }

    /// Lets in whoever is next at a socket, where there is room for them.
    fn let_in(&mut self, number: usize, line: &mut Line) -> Result<(), Errno> {
        let (Some(socket), Some(told)) = (self.sockets.get(number), &self.told) else {
            return Ok(());
        };
        if !has_room(&*line)? {
            self.held = Some(HeldBy::Line);
            return Ok(());
        }
        if !has_room(told)? {
            self.held = Some(HeldBy::Gate);
            return Ok(());
        }
        // They may have gone away again.
        let Ok(client) = accept_with(socket, SocketFlags::CLOEXEC) else { return Ok(()) };
        let port = line.give(client.as_fd())?;
        let words = format!("{port} {number}\n");
        let sent = send(told, words.as_bytes(), SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?;
        // Half a line is none.
        if sent == words.len() { Ok(()) } else { Err(Errno::NOBUFS) }
    }
}

/// Whether a few bytes can be written.
fn has_room(to: impl AsFd) -> Result<bool, Errno> {
    let mut fds = [PollFd::new(&to, PollFlags::OUT)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
    let [it] = fds;
    Ok(it.revents().contains(PollFlags::OUT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Read};
    use std::os::unix::net::{UnixListener, UnixStream};

    struct Place {
        directory: tempfile::TempDir,
        gate: Gate,
        line: Line,
        machine: OwnedFd,
        told: UnixStream,
    }

    impl Place {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let sockets = ["a", "b"].map(|it| UnixListener::bind(directory.path().join(it)));
            let sockets = sockets.map(|it| it.unwrap().into()).into();
            let (line, machine) = Line::pair().unwrap();
            let (ours, told) = UnixStream::pair().unwrap();
            let mut gate = Gate::new(sockets);
            assert!(gate.watched(&line).is_empty(), "it is closed");
            gate.open(ours.into());
            Self { directory, gate, line, machine, told }
        }

        fn client(&self, name: &str) -> UnixStream {
            UnixStream::connect(self.directory.path().join(name)).unwrap()
        }

        fn ports(self) -> Vec<String> {
            let Self { told, gate, .. } = self;
            drop(gate);
            BufReader::new(told).lines().map(|line| line.unwrap()).collect()
        }
    }

    #[test]
    fn who_comes_is_offered_and_the_gate_is_told() {
        let mut place = Place::new();
        let _clients = [place.client("b"), place.client("a")];
        assert_eq!(place.gate.watched(&place.line).len(), 2);
        place.gate.hear(&[true, true], &mut place.line);
        let mut bytes = [0; 16];
        rustix::net::recv(&place.machine, &mut bytes[..], rustix::net::RecvFlags::DONTWAIT)
            .unwrap();
        let first = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        assert_eq!(place.ports(), [format!("{first} 0"), format!("{} 1", first + 1)]);
    }

    #[test]
    fn without_room_others_wait_outside() {
        let mut place = Place::new();
        let mut clients = Vec::new();
        for _ in 0..5_000 {
            clients.push(place.client("a"));
            place.gate.hear(&[true, false], &mut place.line);
            if place.gate.held.is_some() {
                break;
            }
        }
        assert!(place.gate.held.is_some(), "nobody takes what is offered, or hears of it");
        assert_eq!(place.gate.watched(&place.line).len(), 1);
        drop(place.machine);
        assert!(place.told.read(&mut [0; 65536]).unwrap() > 0);
        let (line, _machine) = Line::pair().unwrap();
        place.line = line;
        place.gate.hear(&[true], &mut place.line);
        assert_eq!(place.gate.watched(&place.line).len(), 2, "it is looked at again");
        place.gate.hear(&[true, false], &mut place.line);
        assert!(place.gate.held.is_none());
    }

    #[test]
    fn nobody_comes_where_the_gate_is_gone() {
        let mut place = Place::new();
        let client = place.client("a");
        let (_, told) = UnixStream::pair().unwrap();
        drop(std::mem::replace(&mut place.told, told));
        place.gate.hear(&[true, false], &mut place.line);
        assert!(!place.gate.is_wanted() && place.gate.watched(&place.line).is_empty());
        drop(client);
        assert!(UnixStream::connect(place.directory.path().join("a")).is_err());
    }
}
