//! A place whose only way out is a cable, and real servers at its other end.
//!
//! Owns: two network namespaces, gone with it, their servers, and what the place knows of names. Never does: touch this
//! machine's own network.
//!
//! ```text
//!   inside: cofferdam ── veth ── outside: echoes, a name server
//! ```

use super::World;
use super::product::Sandbox;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Where servers are, by each kind of address.
pub const SERVER: &str = "198.51.100.1";
/// The same for IPv6.
pub const SERVER6: &str = "2001:db8:77::1";
/// Another address of theirs.
pub const OTHER: &str = "198.51.100.3";
/// The place's own.
pub const PLACE: &str = "198.51.100.2";
/// The place's own for IPv6.
pub const PLACE6: &str = "2001:db8:77::2";
/// Echoes what comes, by TCP until no more does.
pub const ECHO: u16 = 7;
/// Says who has come; by UDP, of IPv4 alone, with their port.
pub const WHO: u16 = 13;
/// Breaks off.
pub const RESET: u16 = 66;

/// Which kinds of address lead out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kinds {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
    /// Both.
    Both,
}

/// A place.
pub struct Nets {
    inside: String,
    outside: String,
    names: PathBuf,
    server: Option<Child>,
}

impl Nets {
    /// A place with servers at the other end of its cable.
    pub fn new(world: &World, kinds: Kinds) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = |end| format!("cofferdam-{}-{number}-{end}", std::process::id());
        let names = world.scratch_file("resolv.conf");
        let nets = Self { inside: name("in"), outside: name("out"), names, server: None };
        let Self { inside, outside, .. } = &nets;
        ip(&["netns", "add", inside]);
        ip(&["netns", "add", outside]);
        for end in [inside, outside] {
            ip(&["-n", end, "link", "set", "lo", "up"]);
        }
        ip(&[
            "link", "add", "c0", "netns", inside, "type", "veth", "peer", "name", "c1", "netns",
            outside,
        ]);
        // As every engine has it in a container.
        let pings =
            nets.inside(|| fs::write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647"));
        pings.unwrap();
        let mut addresses = Vec::new();
        if kinds != Kinds::V6 {
            addresses.extend([
                (inside, "c0", PLACE, 24),
                (outside, "c1", SERVER, 24),
                (outside, "c1", OTHER, 24),
            ]);
        }
        if kinds != Kinds::V4 {
            addresses.extend([(inside, "c0", PLACE6, 64), (outside, "c1", SERVER6, 64)]);
        }
        for (end, device, address, bits) in addresses {
            let nodad: &[&str] = if address.contains(':') { &["nodad"] } else { &[] };
            ip(&[&["-n", end, "addr", "add", &format!("{address}/{bits}"), "dev", device], nodad]
                .concat());
        }
        for (end, device) in [(inside, "c0"), (outside, "c1")] {
            ip(&["-n", end, "link", "set", device, "up"]);
        }
        if kinds != Kinds::V6 {
            ip(&["-n", inside, "route", "add", "default", "via", SERVER]);
        }
        if kinds != Kinds::V4 {
            ip(&["-n", inside, "-6", "route", "add", "default", "via", SERVER6]);
        }
        let server = if kinds == Kinds::V6 { SERVER6 } else { SERVER };
        fs::write(&nets.names, format!("nameserver {server}\nsearch home.test\n")).unwrap();
        nets.served(server)
    }

    /// Starts the servers outside; names are asked of this address.
    fn served(mut self, names: &str) -> Self {
        self.outside(|| {
            serve(ECHO, |mut stream| {
                let mut reader = stream.try_clone()?;
                io::copy(&mut reader, &mut stream)?;
                stream.shutdown(Shutdown::Write)
            });
            serve(WHO, |mut stream| {
                let from = stream.peer_addr()?.ip().to_canonical();
                stream.write_all(from.to_string().as_bytes())
            });
            serve(RESET, |stream| {
                rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
                Ok(())
            });
            let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, ECHO)).unwrap();
            thread::spawn(move || {
                let mut datagram = vec![0; 65536];
                while let Ok((count, from)) = socket.recv_from(&mut datagram) {
                    let _ = socket.send_to(&datagram[..count], from);
                }
            });
            // Where IPv4 leads out: each by the address that was asked.
            for address in [SERVER, OTHER] {
                let Ok(socket) = UdpSocket::bind((address, WHO)) else { continue };
                thread::spawn(move || {
                    while let Ok((_, from)) = socket.recv_from(&mut [0; 100]) {
                        let _ = socket.send_to(from.to_string().as_bytes(), from);
                    }
                });
            }
        });
        let words = [
            "--no-daemon",
            "--no-resolv",
            "--no-hosts",
            "--bind-dynamic",
            "--conf-file=/dev/null",
            "--user=root",
            "--host-record=server.test,198.51.100.1,2001:db8:77::1,20",
            "--host-record=short.home.test,198.51.100.1,20",
            "--host-record=other.test,198.51.100.3,20",
            "--host-record=rebound.test,127.0.0.1,20",
            "--host-record=private.test,10.9.9.9,20",
            "--cname=alias.test,other.test,20",
        ];
        let mut command = self.command_outside("dnsmasq");
        self.server = Some(command.args(words).stderr(Stdio::null()).spawn().unwrap());
        let begun = Instant::now();
        let asked = SocketAddr::new(names.parse().expect("an address"), 53);
        while self.outside(|| TcpStream::connect(asked).is_err()) {
            assert!(begun.elapsed() < Duration::from_secs(20), "dnsmasq does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        self
    }

    /// Has the cable take packets of so many bytes at most.
    pub fn narrow(&self, mtu: u16) {
        for (end, device) in [(&self.inside, "c0"), (&self.outside, "c1")] {
            ip(&["-n", end, "link", "set", device, "mtu", &mtu.to_string()]);
        }
    }

    /// Does something outside, in a thread of its own.
    pub fn outside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        within(&self.outside, work)
    }

    /// The same in the place itself.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        within(&self.inside, work)
    }

    /// A program outside.
    pub fn command_outside(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.outside, program]);
        command
    }

    /// A run in the place.
    pub fn sandbox<'w>(&self, world: &'w World) -> Sandbox<'w> {
        let namespace = format!("--net=/run/netns/{}", self.inside);
        let script = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";
        let names = self.names.display().to_string();
        let words = ["nsenter", &namespace, "unshare", "--mount", "sh", "-c", script, &names];
        world.sandbox().within(&words.map(str::to_owned))
    }
}

impl Drop for Nets {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ = server.kill();
            let _ = server.wait();
        }
        for end in [&self.inside, &self.outside] {
            let _ = Command::new("ip").args(["netns", "del", end]).status();
        }
    }
}

/// Does something in a network namespace, in a thread of its own.
pub fn within<T: Send>(namespace: &str, work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            enter(namespace);
            work()
        });
        thread.join().unwrap()
    })
}

/// Moves this thread into a network namespace.
pub fn enter(namespace: &str) {
    let file = File::open(format!("/run/netns/{namespace}")).unwrap();
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
}

/// Has `ip` do something.
pub fn ip(words: &[&str]) {
    let output = Command::new("ip").args(words).output().unwrap();
    assert!(output.status.success(), "ip {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Serves a port of TCP for ever, in threads of the namespace that this one is in.
fn serve(port: u16, work: impl Fn(TcpStream) -> io::Result<()> + Copy + Send + 'static) {
    let listener = TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).unwrap();
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            thread::spawn(move || work(stream));
        }
    });
}
