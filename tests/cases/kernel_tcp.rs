//! The network's TCP towards a real kernel's, over a cable that loses, doubles, delays, reorders and spoils frames: whatever
//! it does, what arrives is right and whole, ends arrive as ends and resets as resets, and nothing is left of it.
//!
//! What happens grows from the seed; what becomes of each frame is for netem to choose.

use crate::cases;
use crate::harness::nets::{SERVER, SERVER6};
use crate::harness::talk::{Finale, Part, talk};
use crate::harness::tap::Tap;
use crate::harness::{Random, World, trial};
use network::config::{GUEST_IPV4, GUEST_IPV6, LinkKind, Publication, Transport};
use network::{Order, Word};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

cases! {
    Kvm: frames_in_a_stream, frames_as_packets;
}

/// How long a round may take, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long ends may take to be known everywhere.
const REST: Duration = Duration::from_secs(30);
const ROUNDS: u64 = 8;
const MEETINGS: u64 = 5;
/// A port where nobody is.
const NOBODY: u16 = 1;
/// The most bytes that one end sends.
const MOST_BYTES: u64 = 2 << 20;

/// To QEMU.
fn frames_in_a_stream(world: &World) {
    rounds(world, LinkKind::Stream, ROUNDS);
}

/// To our own VMM: what is left for a device to do is left for the kernel's.
fn frames_as_packets(world: &World) {
    rounds(world, LinkKind::Packets, ROUNDS);
}

fn rounds(world: &World, kind: LinkKind, count: u64) {
    let tap = Tap::new(kind);
    let begun = tap.counts().begun;
    for number in 0..count {
        let mut random = Random::new(world.seed.wrapping_mul(1000) + number * 2 + kind as u64);
        let round = Round::new(&mut random);
        round.prepare(&tap);
        let started = Instant::now();
        let (tap, deadline) = (&tap, started + PATIENCE);
        let outcomes = thread::scope(|scope| {
            let all = round.meetings.iter().map(|it| scope.spawn(move || it.meet(tap, deadline)));
            let all: Vec<_> = all.collect();
            all.into_iter().map(|it| it.join().unwrap()).collect::<Vec<_>>()
        });
        for (meeting, outcome) in round.meetings.iter().zip(outcomes) {
            let seed = world.seed;
            if let Err(words) = outcome {
                panic!("seed {seed}, round {number}: {words}: {meeting}, of {round}");
            }
        }
        trial::note(format!("round {number}: {:.1?}: {round}", started.elapsed()));
    }
    assert!(tap.counts().begun - begun >= count * MEETINGS / 2, "they went by the network");
    assert!(tap.lost() > 0, "the cable has lost nothing");
    let started = Instant::now();
    while tap.counts().flows > 0 || tap.sockets() > 0 {
        let held = (tap.counts().flows, tap.sockets());
        assert!(started.elapsed() < REST, "{held:?} flows and sockets are left");
        thread::sleep(Duration::from_millis(100));
    }
    tap.end();
}

/// Several connections at once, and the cable that they have to bear.
struct Round {
    cable: [String; 2],
    /// The guest's device: its packets' length, and how many of them stand for one.
    device: (u16, u32),
    /// What the guest's kernel and the one outside are set to.
    settings: [Vec<(&'static str, &'static str)>; 2],
    meetings: Vec<Meeting>,
}

impl std::fmt::Display for Round {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { cable, device, settings, .. } = self;
        write!(formatter, "cable {cable:?}, device {device:?}, settings {settings:?}")
    }
}

impl Round {
    fn new(random: &mut Random) -> Self {
        let qualities = [Quality::new(random), Quality::new(random)];
        let mtu = [1500, 1500, 9000, 65520][random.below(4) as usize];
        let device = (mtu, [1, 4, 64][random.below(3) as usize]);
        let settings = [true, false].map(|is_guest| {
            let mut settings = Vec::new();
            let small = random.below(2) == 0;
            for name in ["tcp_rmem", "tcp_wmem"] {
                settings
                    .push((name, if small { "4096 16384 65536" } else { "4096 131072 4194304" }));
            }
            if is_guest {
                for name in ["tcp_window_scaling", "tcp_ecn"] {
                    settings.push((name, if random.below(4) == 0 { "0" } else { "1" }));
                }
            }
            settings
        });
        let [from_guest, to_guest] = &qualities;
        let most = [from_guest.bears_from_guest(mtu.into()), to_guest.bears(mtu.into())];
        let meetings = (0..MEETINGS).map(|_| Meeting::new(random, most)).collect();
        let cable = qualities.map(|it| it.to_string());
        Self { cable, device, settings, meetings }
    }

    fn prepare(&self, tap: &Tap) {
        tap.spoil(&self.cable);
        tap.narrow(self.device.0, self.device.1);
        let set = |settings: &[(&str, &str)]| {
            for (name, value) in settings {
                fs::write(format!("/proc/sys/net/ipv4/{name}"), value).unwrap();
            }
        };
        tap.guest(|| set(&self.settings[0]));
        tap.outside(|| set(&self.settings[1]));
    }
}

/// What a cable does one way, in per cent and milliseconds.
struct Quality {
    loses: u64,
    doubles: u64,
    spoils: u64,
    /// They are before those that were sent before them.
    hastens: u64,
    delay: u64,
    /// Each is delayed by so much more or less, so that most come out of order.
    jitter: u64,
}

impl Quality {
    fn new(random: &mut Random) -> Self {
        let delay = 1 + random.below(5);
        Self {
            loses: random.below(4).min(1) * random.below(9),
            doubles: random.below(6),
            spoils: random.below(3) / 2,
            hastens: [0, 0, 5, 30][random.below(4) as usize],
            delay,
            jitter: random.below(3) / 2 * delay,
        }
    }

    /// How many bytes, in packets of so many, pass to the guest in a bearable time.
    fn bears(&self, mtu: u64) -> u64 {
        let evil = self.loses + self.spoils + self.hastens + 10 * self.jitter;
        (mtu * 1500 / (1 + evil)).min(MOST_BYTES)
    }

    /// The same from the guest, which is told of no gaps (SACK) and no times: what is lost again it sends again later and
    /// later, in the end after many seconds (RFC 6298, 5).
    fn bears_from_guest(&self, mtu: u64) -> u64 {
        let evil = 2 * self.loses + self.spoils + 3 * (self.hastens + 10 * self.jitter);
        (mtu * 240 / (1 + evil)).min(MOST_BYTES)
    }
}

impl std::fmt::Display for Quality {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { loses, doubles, spoils, hastens, delay, jitter } = self;
        // Each word is there, because what is not said stays as it was.
        write!(
            formatter,
            "delay {delay}ms {jitter}ms loss {loses}% duplicate {doubles}% corrupt {spoils}% reorder {hastens}%"
        )
    }
}

/// A connection: whoever is outside may come to the guest, by a port that is published for it.
struct Meeting {
    is_ipv6: bool,
    is_called: bool,
    /// Nobody is there whom the guest could meet.
    is_alone: bool,
    guest: Part,
    outside: Part,
    random: Random,
}

impl std::fmt::Display for Meeting {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = if self.is_ipv6 { "IPv6" } else { "IPv4" };
        let who = if self.is_called { "called" } else { "calling" };
        write!(formatter, "a guest {who} by {kind}")?;
        for (who, part) in [("guest", &self.guest), ("outside", &self.outside)] {
            let Part { sends, piece, pause, finale } = part;
            write!(formatter, ", {who}: {} by {piece}, {pause:?}, {finale:?}", sends.len())?;
        }
        Ok(())
    }
}

impl Meeting {
    fn new(random: &mut Random, most: [u64; 2]) -> Self {
        let finales = match random.below(12) {
            0 => [Finale::Resets { ended: false }, Finale::IsReset { ended: false }],
            1 => [Finale::IsReset { ended: false }, Finale::Resets { ended: false }],
            2 => [Finale::Resets { ended: true }, Finale::IsReset { ended: true }],
            3 => [Finale::IsReset { ended: true }, Finale::Resets { ended: true }],
            4 | 5 => [Finale::First, Finale::Last],
            6 | 7 => [Finale::Last, Finale::First],
            _ => [Finale::First, Finale::First],
        };
        let mut most = most.into_iter();
        let [guest, outside] = finales.map(|finale| {
            let most = most.next().unwrap_or_default();
            let size = match random.below(4) {
                0 => random.below(3),
                1 => random.below(3000),
                _ => random.below(most),
            };
            let size = size.max(u64::from(matches!(finale, Finale::IsReset { .. })));
            let at = random.below(size);
            let pieces = 1 << (9 + random.below(8));
            let pauses = random.below(3) == 0;
            let pause = Duration::from_millis(random.below(1500));
            Part {
                sends: random.bytes(size as usize),
                piece: 256 + random.below(pieces) as usize,
                pause: pauses.then_some((at as usize, pause)),
                finale,
            }
        });
        let (is_ipv6, is_called) = (random.below(2) == 0, random.below(4) == 0);
        let is_alone = !is_called && random.below(10) == 0;
        Self { is_ipv6, is_called, is_alone, guest, outside, random: random.clone() }
    }

    fn meet(&self, tap: &Tap, deadline: Instant) -> Result<(), String> {
        let server: IpAddr = if self.is_ipv6 { SERVER6 } else { SERVER }.parse().unwrap();
        if self.is_alone {
            let nobody = SocketAddr::new(server, NOBODY);
            let call = || TcpStream::connect_timeout(&nobody, deadline - Instant::now());
            return match tap.guest(call) {
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
                result => Err(format!("nobody is there: {result:?}")),
            };
        }
        let guest: IpAddr = if self.is_ipv6 { GUEST_IPV6.into() } else { GUEST_IPV4.into() };
        let listener = if self.is_called {
            tap.guest(|| TcpListener::bind((guest, 0)))
        } else {
            tap.outside(|| TcpListener::bind((server, 0)))
        };
        let listener = listener.map_err(|error| format!("bind: {error}"))?;
        let mut to = listener.local_addr().map_err(|error| error.to_string())?;
        let (inside, transport) = (to.port(), Transport::Tcp);
        let outside = SocketAddr::new(server, 0);
        let mut publication = Publication { outside, inside, transport };
        if self.is_called {
            match tap.order(Order::Publish(publication)) {
                Word::Published(published) => publication = published,
                word => return Err(format!("{word:?}")),
            }
            to = publication.outside;
        }
        let (mut called, mut calling) = (self.random.clone(), self.random.clone());
        let parts = [&self.guest, &self.outside];
        let [one, other] = if self.is_called { parts } else { [parts[1], parts[0]] };
        let outcomes = thread::scope(|scope| {
            let called = scope.spawn(move || {
                let stream = accepted(&listener, deadline)?;
                drop(listener);
                talk(stream, one, &other.sends, &mut called, deadline)
            });
            let call = || TcpStream::connect_timeout(&to, deadline - Instant::now());
            let stream = if self.is_called { tap.outside(call) } else { tap.guest(call) };
            let calling = stream
                .map_err(|error| format!("cannot connect: {error}"))
                .and_then(|stream| talk(stream, other, &one.sends, &mut calling, deadline));
            [("called", called.join().unwrap()), ("calling", calling)]
        });
        if self.is_called {
            tap.order(Order::Withdraw(publication));
        }
        let failed =
            outcomes.into_iter().filter_map(|(who, it)| Some(format!("{who}: {}", it.err()?)));
        let failed: Vec<String> = failed.collect();
        if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
    }
}

/// Whoever comes first.
fn accepted(listener: &TcpListener, deadline: Instant) -> Result<TcpStream, String> {
    let patience = Timespec::try_from(deadline - Instant::now()).map_err(|it| it.to_string())?;
    let mut ends = [PollFd::new(listener, PollFlags::IN)];
    if poll(&mut ends, Some(&patience)).map_err(|errno| errno.to_string())? == 0 {
        return Err("nobody came".to_owned());
    }
    Ok(listener.accept().map_err(|error| error.to_string())?.0)
}
