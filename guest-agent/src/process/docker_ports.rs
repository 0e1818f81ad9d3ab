//! A process in a container that watches a Docker daemon there and says which ports it publishes (`cofferdam run
//! --publish-docker`): all of them, whenever that changes, each `TRANSPORT ADDRESS:PORT INNER` on a line; an empty one ends
//! the list.
//!
//! The agent's own program, executed from an open file under all that holds the container's, as its root and with no
//! capability. What the daemon answers is hostile to this process alone.
//!
//! What is published on every address is reached at the container's own, from outside as from its neighbours. What is
//! published on loopback alone is not: it gets a port of this process's, which leads there.
//!
//! Follows Docker's Engine API (`/containers/json`, `/events`), by HTTP/1.0, in which an answer ends with its connection.

use super::joined::{in_thread, join};
use super::program::c_strings;
use crate::sys;
use protocol::Failure;
use rustix::net::Shutdown;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

/// The name under which it runs, and is recognised.
pub const WATCH_NAME: &str = "/cofferdam-docker-ports";

/// Where a daemon listens unless it is told otherwise.
const SOCKET: &str = "/var/run/docker.sock";
/// What may change what is published: a container's start and end.
const EVENTS: &str = "/events?filters=%7B%22type%22%3A%5B%22container%22%5D%2C%22event%22%3A%5B%22start%22%2C%22die%22%2C%22destroy%22%5D%7D";
const CONTAINERS: &str = "/containers/json";
/// The longest list of containers, in bytes.
const MOST_BYTES: u64 = 8 << 20;
/// The longest head of an answer, in bytes.
const MOST_HEAD_BYTES: u64 = 64 << 10;
/// How long nobody is there before it is looked again: longer each time.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];
/// When the list is looked at again, in milliseconds after something has happened and after each look. A busy daemon takes
/// seconds from the one to the other.
const LATER: [u64; 5] = [300, 1_000, 3_000, 10_000, 30_000];

/// A container, as far as anybody here wants to know it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    #[serde(default)]
    ports: Vec<Port>,
}

/// A port of a container's.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Port {
    #[serde(rename = "IP", default)]
    address: String,
    #[serde(default)]
    public_port: u16,
    r#type: String,
}

/// Where a port is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Published {
    is_udp: bool,
    at: SocketAddr,
}

/// Its arguments: the container's own address, if it has one.
///
/// # Errors
/// Where that is none.
pub fn arguments(args: &[String]) -> Result<Vec<CString>, Failure> {
    c_strings(&[&[WATCH_NAME.to_owned()], args].concat(), "the address")
}

/// Watches until nobody listens any more.
pub fn run(arguments: &[String]) -> ! {
    let own = arguments.get(1).and_then(|address| address.parse().ok());
    let mut watch = Watch { own, said: String::new(), relays: BTreeMap::new() };
    let [mut pause, longest] = PAUSES;
    loop {
        match watch.follow() {
            Ok(()) => pause = PAUSES[0],
            Err(error) if error.kind() == ErrorKind::BrokenPipe => sys::exit_now(0),
            Err(_) => pause = (pause * 2).min(longest),
        }
        thread::sleep(pause);
    }
}

/// A watch.
struct Watch {
    /// The container's own address.
    own: Option<IpAddr>,
    /// What was said last.
    said: String,
    /// Ports that lead to loopback's.
    relays: BTreeMap<SocketAddr, Relay>,
}

impl Watch {
    /// Follows a daemon until it is gone.
    fn follow(&mut self) -> io::Result<()> {
        let events = ask(EVENTS)?;
        let followed = self.list().and_then(|()| self.follow_events(events));
        // Where it is gone, so are its ports.
        self.say(&BTreeSet::new()).and(followed)
    }

    /// Lists again whenever something happens, and some moments later: a daemon tells of a container's end before its lists
    /// know of it.
    fn follow_events(&mut self, mut events: BufReader<UnixStream>) -> io::Result<()> {
        let mut moments = LATER.iter();
        loop {
            // What an event says is not read: whatever has happened, the list has it.
            let later = moments.next().copied().map(Duration::from_millis);
            events.get_ref().set_read_timeout(later)?;
            match events.read(&mut [0; 16 << 10]) {
                Ok(0) => return Ok(()),
                Ok(_) => moments = LATER.iter(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            self.list()?;
        }
    }

    fn list(&mut self) -> io::Result<()> {
        let containers = ask(CONTAINERS)?.take(MOST_BYTES);
        self.say(&published(serde_json::from_reader(containers)?))
    }

    /// Says which ports are published, if that is not what was said last.
    fn say(&mut self, published: &BTreeSet<Published>) -> io::Result<()> {
        self.relays.retain(|at, _| published.iter().any(|it| it.at == *at));
        let mut text = String::new();
        for Published { is_udp, at } in published {
            let transport = if *is_udp { "udp" } else { "tcp" };
            let inside =
                if at.ip().is_loopback() { self.relay(*at, *is_udp) } else { Some(at.port()) };
            if let Some(inside) = inside {
                text.push_str(&format!("{transport} {at} {inside}\n"));
            }
        }
        text.push('\n');
        if text == self.said || (self.said.is_empty() && text == "\n") {
            return Ok(());
        }
        let written = io::stdout().lock().write_all(text.as_bytes());
        self.said = text;
        // Whatever was wrong with that, nobody hears any more.
        written.map_err(|_| ErrorKind::BrokenPipe.into())
    }

    /// The port that leads to one of loopback's.
    fn relay(&mut self, to: SocketAddr, is_udp: bool) -> Option<u16> {
        if is_udp {
            return None;
        }
        if let Some(relay) = self.relays.get(&to) {
            return relay.0.local_addr().ok().map(|at| at.port());
        }
        let listener = TcpListener::bind((self.own?, 0)).ok()?;
        let port = listener.local_addr().ok()?.port();
        let own = listener.try_clone().ok()?;
        in_thread(move || accept(&own, to))?;
        self.relays.insert(to, Relay(listener));
        Some(port)
    }
}

/// Where others come for a port of loopback's. It ends with this.
struct Relay(TcpListener);

impl Drop for Relay {
    fn drop(&mut self) {
        // Which ends the thread that waits there.
        let _ = rustix::net::shutdown(&self.0, Shutdown::Both);
    }
}

/// Lets others in until nobody listens any more.
fn accept(listener: &TcpListener, to: SocketAddr) {
    loop {
        match listener.accept() {
            Ok((stream, _)) => pass(stream, to),
            Err(error) if error.kind() == ErrorKind::InvalidInput => return,
            // For want of descriptors, perhaps: they may come back.
            Err(_) => thread::sleep(PAUSES[0]),
        }
    }
}

/// Passes a connection on.
fn pass(near: TcpStream, to: SocketAddr) {
    in_thread(move || {
        if let Ok(far) = TcpStream::connect(to) {
            join(near.into(), far.into());
        }
    });
}

/// Asks the daemon; what is left to read is what it answers.
fn ask(what: &str) -> io::Result<BufReader<UnixStream>> {
    let mut stream = UnixStream::connect(SOCKET)?;
    write!(stream, "GET {what} HTTP/1.0\r\nHost: docker\r\n\r\n")?;
    answer(BufReader::new(stream))
}

/// Reads the head of an answer, which is to be a good one.
fn answer<R: BufRead>(mut stream: R) -> io::Result<R> {
    let mut head = stream.by_ref().take(MOST_HEAD_BYTES);
    let mut line = String::new();
    head.read_line(&mut line)?;
    if line.split(' ').nth(1) != Some("200") {
        return Err(ErrorKind::InvalidData.into());
    }
    while !matches!(line.as_str(), "\r\n" | "\n") {
        line.clear();
        if head.read_line(&mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(stream)
}

/// What all of them publish: on every address, or on loopback. Other addresses mean nothing outside.
fn published(containers: Vec<Container>) -> BTreeSet<Published> {
    let ports = containers.into_iter().flat_map(|container| container.ports);
    let published = ports.filter(|port| port.public_port != 0).filter_map(|port| {
        let address: IpAddr = port.address.parse().ok()?;
        let is_udp = match port.r#type.as_str() {
            "tcp" => false,
            "udp" => true,
            _ => return None,
        };
        let is_known_outside = address.is_unspecified() || address.is_loopback();
        is_known_outside
            .then_some(Published { is_udp, at: SocketAddr::new(address, port.public_port) })
    });
    published.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_docker_publishes_is_read() {
        let text = r#"[{"Id": "a", "Ports": [
            {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
            {"IP": "::", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
            {"PrivatePort": 443, "Type": "tcp"},
            {"IP": "172.17.0.1", "PrivatePort": 1, "PublicPort": 1, "Type": "tcp"},
            {"IP": "0.0.0.0", "PrivatePort": 1, "PublicPort": 1, "Type": "sctp"}]},
            {"Id": "b"}, {"Ports": [{"IP": "127.0.0.1", "PublicPort": 53, "Type": "udp"}]}]"#;
        let published = published(serde_json::from_str(text).unwrap());
        let lines: Vec<_> = published.iter().map(|it| (it.is_udp, it.at.to_string())).collect();
        let expected = [(false, "0.0.0.0:8080"), (false, "[::]:8080"), (true, "127.0.0.1:53")];
        assert_eq!(lines, expected.map(|(is_udp, at)| (is_udp, at.to_owned())));
    }

    #[test]
    fn an_answer_is_what_follows_its_head() {
        let read = |text: &str| {
            let mut body = String::new();
            answer(text.as_bytes())?.read_to_string(&mut body)?;
            io::Result::Ok(body)
        };
        assert_eq!(read("HTTP/1.0 200 OK\r\nA: b\r\n\r\n[]").unwrap(), "[]");
        for wrong in ["", "HTTP/1.0 404 Not Found\r\n\r\n", "HTTP/1.0 200 OK\r\nA: b\r\n"] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
        let endless = format!("HTTP/1.0 200 OK\r\nA: {}\r\n\r\n", "b".repeat(100_000));
        assert!(read(&endless).is_err());
    }

    /// A port of loopback's is reached by another as long as it is published.
    #[test]
    fn loopback_is_led_to() {
        let service = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = service.local_addr().unwrap();
        let own = Some("127.0.0.1".parse().unwrap());
        let mut watch = Watch { own, said: String::new(), relays: BTreeMap::new() };
        let port = watch.relay(to, false).unwrap();
        assert_eq!(watch.relay(to, false), Some(port), "one is enough");
        assert_eq!(watch.relay(to, true), None);
        let serves = thread::spawn(move || {
            let (mut stream, _) = service.accept().unwrap();
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).unwrap();
            stream.write_all(&heard).unwrap();
        });
        let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        client.write_all(b"hello").unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut back = String::new();
        client.read_to_string(&mut back).unwrap();
        assert_eq!(back, "hello");
        serves.join().unwrap();
        watch.relays.clear();
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    }
}
