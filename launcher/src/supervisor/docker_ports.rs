//! What a Docker daemon in the container publishes, published outside as it appears.
//!
//! Owns: what the guest's watch says, which is a claim like all that a guest says, and what has come of it. Never does: open a
//! port; or more of them than a bound.
//!
//! The watch says all that is published, whenever that changes: `tcp 0.0.0.0:8080 80` is a port, by its transport, where
//! Docker has it, and the guest's port that leads there; an empty line ends the list.

use crate::error::{Explain, say};
use crate::networks::LinkError;
use crate::plan::network::{DockerPublishing, transport};
use crate::state::PublishedPort;
use network::config::Publication;
use network::{Order, Word};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The most ports of a list.
const MOST_PORTS: usize = 256;
/// The longest list, in bytes.
const MOST_BYTES: usize = 32 * 1024;

/// Why a watch is not believed any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// A line that is no port.
    #[error("{0:?} is no published port")]
    Line(String),
    /// A list without end.
    #[error("it publishes more than {MOST_PORTS} ports")]
    TooMany,
}

/// What has come of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It is asked for.
    Asked,
    /// It is published.
    Published,
    /// It is not to be had.
    Refused,
}

/// Where the record of a sandbox's ports is kept.
pub type Keep<'a> = Box<dyn FnMut(Vec<PublishedPort>) + 'a>;

/// What Docker publishes.
pub struct DockerPorts<'a> {
    how: DockerPublishing,
    /// What the watch says; none before it runs, or after it has said what is not to be believed.
    stream: Option<OwnedFd>,
    reader: Reader,
    ports: BTreeMap<Publication, State>,
    keep: Keep<'a>,
}

impl std::fmt::Debug for DockerPorts<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:?}", self.ports)
    }
}

impl<'a> DockerPorts<'a> {
    /// Nothing yet. `keep` is told of all that are published, whenever that changes.
    pub fn new(how: DockerPublishing, keep: Keep<'a>) -> Self {
        let (reader, ports) = (Reader::default(), BTreeMap::new());
        Self { how, stream: None, reader, ports, keep }
    }

    /// The watch runs, and speaks here.
    pub fn listen_to(&mut self, stream: OwnedFd) {
        self.stream = Some(stream);
    }

    /// Where it speaks.
    pub fn watched(&self) -> Option<BorrowedFd<'_>> {
        self.stream.as_ref().map(AsFd::as_fd)
    }

    /// Hears what it has said: what is to be ordered.
    pub fn hear(&mut self) -> Vec<Order> {
        let Some(stream) = &self.stream else { return Vec::new() };
        let mut bytes = [0; 4096];
        let count =
            match rustix::net::recv(stream, &mut bytes[..], rustix::net::RecvFlags::DONTWAIT) {
                Ok((count, _)) if count > 0 => count,
                Err(Errno::AGAIN | Errno::INTR) => return Vec::new(),
                // Its container has ended, and so has what it published.
                Ok(_) | Err(_) => {
                    self.stream = None;
                    return self.wanted(BTreeSet::new());
                }
            };
        match self.reader.read(bytes.get(..count).unwrap_or_default()) {
            Ok(Some(list)) => {
                let at = self.how.address;
                let at = |it: Publication| Publication {
                    outside: at.map_or(it.outside, |at| SocketAddr::new(at, it.outside.port())),
                    ..it
                };
                self.wanted(list.into_iter().map(at).collect())
            }
            Ok(None) => Vec::new(),
            Err(error) => {
                say(&format!("what Docker publishes is not published any more: {error}"));
                self.stream = None;
                self.wanted(BTreeSet::new())
            }
        }
    }

    /// These are all that there are to be.
    fn wanted(&mut self, wanted: BTreeSet<Publication>) -> Vec<Order> {
        let mut orders = Vec::new();
        self.ports.retain(|it, state| {
            let stays = wanted.contains(it);
            if !stays && *state != State::Refused {
                orders.push(Order::Withdraw(*it));
            }
            stays
        });
        for publication in wanted {
            self.ports.entry(publication).or_insert_with(|| {
                orders.push(Order::Publish(publication));
                State::Asked
            });
        }
        orders
    }

    /// Takes in what has come of an order.
    pub fn told(&mut self, word: &Word) {
        let (publication, state) = match word {
            Word::Published(publication) => (publication, State::Published),
            Word::NotPublished { publication, errno } => {
                let source = Errno::from_raw_os_error(*errno);
                let error = LinkError::Publish { publication: *publication, source };
                let hint = error.hint().map(|hint| format!(" (hint: {hint})"));
                say(&format!(
                    "Docker in the sandbox: {error}: {source}{}",
                    hint.unwrap_or_default()
                ));
                (publication, State::Refused)
            }
            _ => return self.keep_record(),
        };
        // One that is not wanted any more has an order on its way.
        if let Some(known) = self.ports.get_mut(publication) {
            *known = state;
        }
        self.keep_record();
    }

    fn keep_record(&mut self) {
        let published = self.ports.iter().filter(|(_, state)| **state == State::Published);
        (self.keep)(published.map(|(it, _)| (*it).into()).collect());
    }
}

/// What has been said of a list that is not whole yet.
#[derive(Debug, Default)]
pub struct Reader {
    line: Vec<u8>,
    bytes: usize,
    list: Vec<Publication>,
}

impl Reader {
    /// Takes in what a guest has said: the newest whole list, where one is.
    ///
    /// # Errors
    /// [`WatchError`], and then nothing more is to be read.
    pub fn read(&mut self, bytes: &[u8]) -> Result<Option<Vec<Publication>>, WatchError> {
        let mut newest = None;
        for &byte in bytes {
            self.bytes += 1;
            if self.bytes > MOST_BYTES || self.list.len() > MOST_PORTS {
                return Err(WatchError::TooMany);
            }
            if byte != b'\n' {
                self.line.push(byte);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            if line.is_empty() {
                self.bytes = 0;
                newest = Some(std::mem::take(&mut self.list));
            } else {
                self.list.push(port(&line)?);
            }
        }
        Ok(newest)
    }
}

fn port(line: &[u8]) -> Result<Publication, WatchError> {
    let text = String::from_utf8_lossy(line);
    let read = || {
        let mut words = text.split(' ');
        let transport = transport(words.next()?).ok()?;
        let outside: SocketAddr = words.next()?.parse().ok()?;
        let inside: u16 = words.next()?.parse().ok()?;
        let is_whole = words.next().is_none() && outside.port() != 0 && inside != 0;
        is_whole.then_some(Publication { outside, inside, transport })
    };
    read().ok_or_else(|| WatchError::Line(crate::error::shortened(&text, 80)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use network::config::Transport;
    use std::cell::RefCell;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    fn publication(outside: &str, inside: u16) -> Publication {
        Publication { outside: outside.parse().unwrap(), inside, transport: Transport::Tcp }
    }

    #[test]
    fn lists_are_read_however_they_are_cut() {
        let said = b"tcp 0.0.0.0:80 8080\ntcp [::]:80 8080\n\n\nudp 127.0.0.1:53 53\n\n";
        for piece in [1, 3, 7, 1000] {
            let mut reader = Reader::default();
            let lists = said.chunks(piece).filter_map(|bytes| reader.read(bytes).unwrap());
            let last = lists.last().unwrap();
            let udp = Publication { transport: Transport::Udp, ..publication("127.0.0.1:53", 53) };
            assert_eq!(last, [udp]);
        }
    }

    #[test]
    fn what_is_no_list_is_not_believed() {
        for line in [
            "",
            "tcp",
            "tcp 1.2.3.4:0 1",
            "tcp 1.2.3.4:1 0",
            "x 1.2.3.4:1 1",
            "tcp 1:1 1",
            "tcp 1.2.3.4:1 1 ",
        ] {
            let wrong = Reader::default().read(format!("{line} \n").as_bytes());
            assert!(matches!(wrong, Err(WatchError::Line(_))), "{line}: {wrong:?}");
        }
        let endless = "tcp 1.2.3.4:1 1\n".repeat(1000);
        assert_eq!(Reader::default().read(endless.as_bytes()), Err(WatchError::TooMany));
        assert_eq!(Reader::default().read(&[b'x'; 100_000]), Err(WatchError::TooMany));
    }

    #[test]
    fn what_was_published_goes_with_the_trust() {
        let (ours, mut watch) = UnixStream::pair().unwrap();
        let mut ports = DockerPorts::new(DockerPublishing { address: None }, Box::new(drop));
        ports.listen_to(ours.into());
        let port = publication("127.0.0.1:80", 80);
        watch.write_all(b"tcp 127.0.0.1:80 80\n\n").unwrap();
        assert_eq!(ports.hear(), [Order::Publish(port)]);
        ports.told(&Word::Published(port));
        watch.write_all(b"anything else\n").unwrap();
        assert_eq!(ports.hear(), [Order::Withdraw(port)]);
        assert!(ports.watched().is_none());
    }

    #[test]
    fn what_appears_is_published_and_what_goes_is_withdrawn() {
        let (ours, mut watch) = UnixStream::pair().unwrap();
        let kept = RefCell::new(Vec::new());
        let keep = Box::new(|ports| *kept.borrow_mut() = ports);
        let how = DockerPublishing { address: Some("127.0.0.1".parse().unwrap()) };
        let mut ports = DockerPorts::new(how, keep);
        ports.listen_to(ours.into());
        assert_eq!(ports.hear(), [], "nothing is said yet");
        let [first, second] = [publication("127.0.0.1:80", 80), publication("127.0.0.1:81", 80)];
        watch.write_all(b"tcp 0.0.0.0:80 80\ntcp [::]:80 80\ntcp 0.0.0.0:81 80\n\n").unwrap();
        assert_eq!(ports.hear(), [Order::Publish(first), Order::Publish(second)]);
        ports.told(&Word::Published(first));
        ports.told(&Word::NotPublished { publication: second, errno: 98 });
        assert_eq!(*kept.borrow(), [first.into()]);
        watch.write_all(b"tcp 0.0.0.0:80 80\n\n").unwrap();
        assert_eq!(ports.hear(), [], "what was refused is not withdrawn");
        drop(watch);
        assert_eq!(ports.hear(), [Order::Withdraw(first)]);
        ports.told(&Word::Withdrawn(first));
        assert!(kept.borrow().is_empty() && ports.watched().is_none());
    }
}
