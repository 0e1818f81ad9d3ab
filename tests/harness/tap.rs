//! A real kernel's TCP where a guest's would be, at the other end of a cable that loses, doubles, delays and spoils.
//!
//! Owns: three network namespaces, gone with it, and the network that serves the first of them. Never does: say what is to
//! pass.
//!
//! ```text
//!   guest ── veth, with netem at both ends ── cable: bridge, TAP ── frames ── the network ── outside
//! ```

mod sys;

use super::nets::{SERVER, SERVER6, ip, within};
use network::config::{
    Config, GATEWAY_IPV4, GATEWAY_IPV6, GATEWAY_MAC, GUEST_IPV4, GUEST_IPV6, GUEST_MAC, Limits,
    LinkKind, MTU, PREFIX_IPV4, PREFIX_IPV6, Policy,
};
use network::{Counts, Network, Order, Owner, Word};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, shutdown, socketpair};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The longest that a frame and what stands before it may be.
const MOST_FRAME: usize = 12 + 14 + 4 + 65535;
/// How long the network may take to answer its owner.
const PATIENCE: Duration = Duration::from_secs(20);

/// The network, its guest and what is between them.
pub struct Tap {
    names: Names,
    owner: Mutex<Ours>,
    /// The guest's end of its link.
    link: Arc<OwnedFd>,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

/// The namespaces.
struct Names {
    guest: String,
    cable: String,
    outside: String,
}

/// The owner's own side: a byte for each order, and what is told.
struct Ours {
    bell: UnixStream,
    orders: Sender<Order>,
    words: Receiver<Word>,
}

/// The network's side of that.
struct Theirs {
    bell: UnixStream,
    orders: Receiver<Order>,
    words: Sender<Word>,
}

impl Owner for Theirs {
    fn socket(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    fn order(&mut self) -> Option<Order> {
        self.bell.read_exact(&mut [0]).ok()?;
        self.orders.try_recv().ok()
    }

    fn tell(&mut self, word: Word) {
        let _ = self.words.send(word);
    }
}

impl Tap {
    /// A network by this kind of link. Nothing gets lost yet.
    pub fn new(kind: LinkKind) -> Self {
        let names = Names::new();
        let device = names.make(kind);
        let of_frames = match kind {
            LinkKind::Packets => SocketType::SEQPACKET,
            LinkKind::Stream => SocketType::STREAM,
        };
        let (link, theirs) =
            socketpair(AddressFamily::UNIX, of_frames, SocketFlags::CLOEXEC, None).unwrap();
        let (bell, rings) = UnixStream::pair().unwrap();
        let ((orders, to_do), (tells, words)) = (channel(), channel());
        let owner = Theirs { bell: rings, orders: to_do, words: tells };
        let outside = names.outside.clone();
        let serving = thread::spawn(move || {
            super::nets::enter(&outside);
            serve(kind, theirs, owner)
        });
        let (link, device) = (Arc::new(link), Arc::new(device));
        let threads = vec![
            serving,
            carry(&link, &device, move |link, device| from_tap(kind, device, link)),
            carry(&link, &device, move |link, device| to_tap(kind, link, device)),
        ];
        Self { names, owner: Mutex::new(Ours { bell, orders, words }), link, threads }
    }

    /// Does something in the guest's place, in a thread of its own.
    pub fn guest<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        within(&self.names.guest, work)
    }

    /// The same outside, where the network is.
    pub fn outside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        within(&self.names.outside, work)
    }

    /// Has the cable be of this quality, in netem's words (tc-netem(8)): what comes from the guest, and what goes there.
    pub fn spoil(&self, [from_guest, to_guest]: &[String; 2]) {
        for (end, device, words) in
            [(&self.names.guest, "c0", from_guest), (&self.names.cable, "c1", to_guest)]
        {
            tell("tc", end, &format!("qdisc replace dev {device} root netem limit 5000 {words}\n"));
        }
    }

    /// How many packets the cable has lost.
    pub fn lost(&self) -> u64 {
        let ends = [(&self.names.guest, "c0"), (&self.names.cable, "c1")];
        let lost = ends.map(|(end, device)| {
            let mut tc = Command::new("tc");
            let output = tc.args(["-n", end, "-s", "qdisc", "show", "dev", device]).output();
            let text = String::from_utf8_lossy(&output.unwrap().stdout).into_owned();
            let count = text.split_once("(dropped ").and_then(|(_, rest)| rest.split_once(','));
            count.unwrap_or_else(|| panic!("tc says {text}")).0.parse::<u64>().unwrap()
        });
        lost.iter().sum()
    }

    /// Has the guest's device take packets of so many bytes, and make no more of one than so many segments.
    pub fn narrow(&self, mtu: u16, segments: u32) {
        let words = format!("link set c0 mtu {mtu} gso_max_segs {segments}\n");
        tell("ip", &self.names.guest, &words);
    }

    /// Has the network do something.
    pub fn order(&self, order: Order) -> Word {
        let mut owner = self.owner.lock().unwrap();
        owner.orders.send(order).unwrap();
        owner.bell.write_all(&[0]).unwrap();
        loop {
            match owner.words.recv_timeout(PATIENCE).expect("the network answers") {
                Word::Refused(_) => {}
                word => return word,
            }
        }
    }

    /// What the network says of itself.
    pub fn counts(&self) -> Counts {
        match self.order(Order::Count) {
            Word::Counted(counts) => counts,
            word => panic!("{word:?}"),
        }
    }

    /// How many sockets there are outside, whoever has them.
    pub fn sockets(&self) -> u64 {
        let text = self.outside(|| fs::read_to_string("/proc/thread-self/net/sockstat").unwrap());
        let count = text.lines().next().and_then(|line| line.strip_prefix("sockets: used "));
        count.unwrap_or_else(|| panic!("{text}")).trim().parse().unwrap()
    }

    /// Pulls the cable. Panics where any of its threads failed.
    pub fn end(mut self) {
        self.stop().into_iter().for_each(|result| result.expect("frames pass"));
    }

    fn stop(&mut self) -> Vec<io::Result<()>> {
        let _ = shutdown(&self.link, Shutdown::Both);
        self.threads.drain(..).map(|it| it.join().expect("it does not panic")).collect()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        let _ = shutdown(&self.link, Shutdown::Both);
        self.threads.drain(..).for_each(|it| drop(it.join()));
    }
}

impl Names {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = |end| format!("cofferdam-tap-{}-{number}-{end}", std::process::id());
        Self { guest: name("guest"), cable: name("cable"), outside: name("outside") }
    }

    /// Makes all three, and gives the TAP device.
    fn make(&self, kind: LinkKind) -> File {
        let Self { guest, cable, outside } = self;
        [guest, cable, outside].iter().for_each(|name| ip(&["netns", "add", name]));
        let device = within(cable, || {
            // It is to say nothing of its own.
            fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").unwrap();
            sys::tap("t0", kind == LinkKind::Packets).expect("a TAP device")
        });
        let mut words = format!(
            "link add c1 mtu {MTU} type veth peer name c0 mtu {MTU} netns {guest}
             link add b0 mtu {MTU} type bridge forward_delay 0 mcast_snooping 0\n"
        );
        ["c1", "t0"].iter().for_each(|end| {
            words += &format!("link set {end} mtu {MTU} master b0 up\n");
        });
        words += &format!("link set b0 mtu {MTU} up\n");
        tell("ip", cable, &words);
        within(guest, || {
            for setting in ["accept_dad", "accept_ra"] {
                fs::write(format!("/proc/sys/net/ipv6/conf/c0/{setting}"), "0").unwrap();
            }
        });
        let [ours, theirs] =
            [GUEST_MAC, GATEWAY_MAC].map(|it| it.map(|it| format!("{it:02x}")).join(":"));
        // Nothing watches over the answer to who has an address, so it is known. Patience is for the Internet.
        tell(
            "ip",
            guest,
            &format!(
                "link set c0 address {ours} up
                 addr add {GUEST_IPV4}/{PREFIX_IPV4} dev c0
                 addr add {GUEST_IPV6}/{PREFIX_IPV6} dev c0 nodad
                 neigh add {GATEWAY_IPV4} lladdr {theirs} dev c0 nud permanent
                 neigh add {GATEWAY_IPV6} lladdr {theirs} dev c0 nud permanent
                 route add default via {GATEWAY_IPV4} rto_min 20ms
                 route add ::/0 via {GATEWAY_IPV6} rto_min 20ms\n"
            ),
        );
        let words = format!(
            "link set lo up\naddr add {SERVER}/32 dev lo\naddr add {SERVER6}/128 dev lo nodad\n"
        );
        tell("ip", outside, &words);
        device
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        for name in [&self.guest, &self.cable, &self.outside] {
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}

/// Has `ip` or `tc` do several things in a namespace.
fn tell(program: &str, namespace: &str, words: &str) {
    let mut command = Command::new(program);
    command.args(["-n", namespace, "-batch", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(words.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {words}: {errors}");
}

fn serve(kind: LinkKind, link: OwnedFd, owner: Theirs) -> io::Result<()> {
    let config = Config {
        link: kind,
        name_servers: Vec::new(),
        policy: Policy { rules: Vec::new(), open: true },
        published: Vec::new(),
        limits: Limits::default(),
    };
    let mut network = Network::new(&config, link).map_err(io::Error::other)?;
    network.obey(Box::new(owner)).map_err(io::Error::other)?;
    network.serve()
}

fn carry(
    link: &Arc<OwnedFd>,
    device: &Arc<File>,
    work: impl FnOnce(&OwnedFd, &File) -> io::Result<()> + Send + 'static,
) -> JoinHandle<io::Result<()>> {
    let (link, device) = (Arc::clone(link), Arc::clone(device));
    thread::spawn(move || work(&link, &device))
}

/// Passes on the guest's frames, until there is nobody to pass them to.
fn from_tap(kind: LinkKind, mut device: &File, link: &OwnedFd) -> io::Result<()> {
    let mut buffer = vec![0; 4 + MOST_FRAME];
    loop {
        let mut ends = [PollFd::new(device, PollFlags::IN), PollFd::new(link, PollFlags::RDHUP)];
        poll(&mut ends, None)?;
        if !ends[1].revents().is_empty() {
            return Ok(());
        }
        let count = device.read(&mut buffer[4..])?;
        buffer[..4].copy_from_slice(&(count as u32).to_be_bytes());
        let mut rest = match kind {
            LinkKind::Packets => &buffer[4..4 + count],
            LinkKind::Stream => &buffer[..4 + count],
        };
        while !rest.is_empty() {
            match rustix::net::send(link, rest, rustix::net::SendFlags::NOSIGNAL) {
                Ok(sent) => rest = &rest[sent..],
                Err(_) => return Ok(()),
            }
        }
    }
}

/// Passes on the network's frames. What the kernel does not take for one is an error.
fn to_tap(kind: LinkKind, link: &OwnedFd, mut device: &File) -> io::Result<()> {
    let mut link = File::from(link.try_clone()?);
    let mut buffer = vec![0; MOST_FRAME];
    loop {
        let count = match kind {
            LinkKind::Packets => link.read(&mut buffer)?,
            LinkKind::Stream => {
                let mut length = [0; 4];
                if link.read_exact(&mut length).is_err() {
                    return Ok(());
                }
                let length = u32::from_be_bytes(length) as usize;
                link.read_exact(&mut buffer[..length])?;
                length
            }
        };
        if count == 0 {
            return Ok(());
        }
        // Each whole: a part of one is none.
        let written = device.write(&buffer[..count])?;
        assert_eq!(written, count, "a frame is taken whole");
    }
}
