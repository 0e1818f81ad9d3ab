//! A real TCP on the guest's side, smoltcp's, over a link that loses, doubles and reorders; a pipe that takes and gives what it
//! likes on the other. Whatever happens, both streams arrive whole, and both sides come to an end.

mod by_hand;

use super::*;
use proptest::prelude::*;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::time::Instant as GuestInstant;
use smoltcp::wire::{
    HardwareAddress, IpAddress, IpCidr, IpProtocol, Ipv4Packet, Ipv4Repr, TcpControl, TcpPacket,
    TcpRepr,
};
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

const GUEST: IpAddress = IpAddress::v4(10, 0, 2, 15);
const THERE: IpAddress = IpAddress::v4(192, 0, 2, 1);
const PORT: u16 = 80;
const MTU: usize = 1500;

/// A random sequence that a case can be told by.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

impl Dice {
    fn below(&mut self, most: u16) -> usize {
        usize::try_from(self.roll(most.into())).unwrap()
    }
}

/// The guest's end of the link, as the connection sees it.
struct ToCable<'c> {
    link: &'c mut Link,
    ports: (u16, u16),
    dice: Dice,
}

impl Inside for ToCable<'_> {
    fn has_room(&self) -> bool {
        self.dice.0 & 0x300 != 0
    }

    fn segment(&mut self, segment: &TcpRepr<'_>, mss: usize) {
        self.dice.roll(2);
        let mut at = segment.seq_number;
        let pieces = segment.payload.chunks(mss).count().max(1);
        for index in 0..pieces {
            let end = ((index + 1) * mss).min(segment.payload.len());
            let payload = segment.payload.get(index * mss..end).unwrap_or_default();
            let is_last = index + 1 == pieces;
            let control = if is_last { segment.control } else { TcpControl::None };
            let piece = TcpRepr { payload, control, seq_number: at, ..*segment };
            self.link.put(packet(&piece, self.ports));
            at += payload.len();
        }
    }
}

/// Packets on their way, which may get lost, be doubled, or come late.
struct Link {
    dice: Dice,
    percent: u64,
    on_their_way: VecDeque<Vec<u8>>,
}

impl Link {
    fn put(&mut self, packet: Vec<u8>) {
        if self.dice.roll(100) < self.percent {
            return;
        }
        if self.dice.roll(100) < self.percent {
            self.on_their_way.push_back(packet.clone());
        }
        let late = self.dice.roll(100) < self.percent;
        let at = self.on_their_way.len() - usize::from(late && !self.on_their_way.is_empty());
        self.on_their_way.insert(at, packet);
    }
}

struct Cable {
    to_guest: Link,
    from_guest: Link,
}

struct Received(Vec<u8>);
struct Sending<'c>(&'c mut Link);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        take(&self.0)
    }
}

impl TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, fill: F) -> R {
        let mut packet = vec![0; length];
        let result = fill(&mut packet);
        self.0.put(packet);
        result
    }
}

impl Device for Cable {
    type RxToken<'c> = Received;
    type TxToken<'c> = Sending<'c>;

    fn receive(&mut self, _: GuestInstant) -> Option<(Received, Sending<'_>)> {
        let packet = self.to_guest.on_their_way.pop_front()?;
        Some((Received(packet), Sending(&mut self.from_guest)))
    }

    fn transmit(&mut self, _: GuestInstant) -> Option<Sending<'_>> {
        Some(Sending(&mut self.from_guest))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        (capabilities.medium, capabilities.max_transmission_unit) = (Medium::Ip, MTU);
        capabilities
    }
}

/// A socket outside that takes and gives a few bytes at a time.
struct Pipe {
    dice: Dice,
    gives: VecDeque<u8>,
    taken: Vec<u8>,
    is_ended: bool,
    /// It ends after the other side has. Both at once smoltcp does not get over where something is lost.
    is_last: bool,
}

impl Outside for Pipe {
    fn read(&mut self, into: &mut Vec<u8>, most: usize) -> io::Result<usize> {
        let is_waiting = self.gives.is_empty() && self.is_last && !self.is_ended;
        if is_waiting || self.dice.roll(3) == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let count = most.min(self.gives.len()).min(1 + self.dice.below(5000));
        into.extend(self.gives.drain(..count));
        Ok(count)
    }

    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        if self.dice.roll(3) == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let count = from.len().min(1 + self.dice.below(5000));
        self.taken.extend(&from[..count]);
        Ok(count)
    }

    fn end(&mut self) {
        assert!(!std::mem::replace(&mut self.is_ended, true), "ended once");
    }
}

fn packet(repr: &TcpRepr<'_>, ports: (u16, u16)) -> Vec<u8> {
    let repr = TcpRepr { src_port: ports.0, dst_port: ports.1, ..*repr };
    let (IpAddress::Ipv4(from), IpAddress::Ipv4(to)) = (THERE, GUEST) else { unreachable!() };
    let ip = Ipv4Repr {
        src_addr: from,
        dst_addr: to,
        next_header: IpProtocol::Tcp,
        payload_len: repr.buffer_len(),
        hop_limit: 64,
    };
    let mut bytes = vec![0; ip.buffer_len() + repr.buffer_len()];
    let mut packet = Ipv4Packet::new_unchecked(&mut bytes);
    ip.emit(&mut packet, &ChecksumCapabilities::default());
    let mut inner = TcpPacket::new_unchecked(packet.payload_mut());
    repr.emit(&mut inner, &THERE, &GUEST, &ChecksumCapabilities::default());
    bytes
}

struct Case {
    cable: Cable,
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    connection: Option<Connection>,
    pipe: Pipe,
    limits: Limits,
    begun: Instant,
    now_ms: u64,
    guest_port: u16,
}

impl Case {
    fn new(seed: u64, percent: u64, window: usize, (gives, is_last): (Vec<u8>, bool)) -> Self {
        let link = |salt| Link { dice: Dice(seed ^ salt), percent, on_their_way: VecDeque::new() };
        let mut cable = Cable { to_guest: link(1), from_guest: link(2) };
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut cable, GuestInstant::ZERO);
        interface.update_ip_addrs(|all| all.push(IpCidr::new(GUEST, 24)).unwrap());
        interface.routes_mut().add_default_ipv4_route("10.0.2.2".parse().unwrap()).unwrap();
        let buffer = || tcp::SocketBuffer::new(vec![0; 200_000]);
        let mut sockets = SocketSet::new(Vec::new());
        let handle = sockets.add(tcp::Socket::new(buffer(), buffer()));
        let socket = sockets.get_mut::<tcp::Socket>(handle);
        socket.connect(interface.context(), (THERE, PORT), 40_000).unwrap();
        let pipe = Pipe {
            dice: Dice(seed ^ 3),
            gives: gives.into(),
            taken: Vec::new(),
            is_ended: false,
            is_last,
        };
        let limits = Limits { window, mss: 1460, most: 1460 * 5 };
        let (begun, connection) = (Instant::now(), None);
        Self {
            cable,
            interface,
            sockets,
            handle,
            connection,
            pipe,
            limits,
            begun,
            now_ms: 0,
            guest_port: 40_000,
        }
    }

    /// One millisecond. Gives what the guest has read.
    fn step(&mut self, sends: &mut VecDeque<u8>) -> Vec<u8> {
        self.now_ms += 1;
        let now = self.begun + Duration::from_millis(self.now_ms);
        let guest_now = GuestInstant::from_millis(i64::try_from(self.now_ms).unwrap());
        self.interface.poll(guest_now, &mut self.cable, &mut self.sockets);
        let ports = (PORT, self.guest_port);
        let Self { cable: Cable { to_guest, from_guest }, connection, pipe, sockets, .. } = self;
        let dice = Dice(to_guest.dice.0);
        let mut out = ToCable { link: to_guest, ports, dice };
        while let Some(bytes) = from_guest.on_their_way.pop_front() {
            let ip = Ipv4Packet::new_checked(&bytes).unwrap();
            let inner = TcpPacket::new_checked(ip.payload()).unwrap();
            let repr =
                TcpRepr::parse(&inner, &GUEST, &THERE, &ChecksumCapabilities::default()).unwrap();
            if connection.is_none() && repr.control == TcpControl::Syn {
                *connection = Some(Connection::asked(&repr, 0xffff_fff0, self.limits));
            }
            if let Some(it) = connection {
                it.hear(&repr, pipe, now, &mut out);
                it.answered(now, &mut out);
            }
        }
        if let Some(it) = connection {
            it.settle(pipe, now, &mut out);
            it.remind(now, &mut out);
        }
        let socket = sockets.get_mut::<tcp::Socket>(self.handle);
        if socket.can_send() && !sends.is_empty() {
            let sent = socket.send_slice(sends.make_contiguous()).unwrap();
            sends.drain(..sent);
        }
        if sends.is_empty() && socket.may_send() && (pipe.is_last || !socket.may_recv()) {
            socket.close();
        }
        let mut read = Vec::new();
        if socket.can_recv() {
            socket
                .recv(|bytes| {
                    read.extend_from_slice(bytes);
                    (bytes.len(), ())
                })
                .unwrap();
        }
        read
    }
}

fn bytes(seed: u64, count: usize) -> Vec<u8> {
    let mut dice = Dice(seed);
    (0..count).map(|_| u8::try_from(dice.roll(256)).unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn both_streams_arrive_whole_whatever_the_link_does(
        seed: u64,
        percent in 0u64..5,
        window in 2_000usize..200_000,
        there in 0usize..100_000,
        back in 0usize..100_000,
        guest_first: bool,
    ) {
        let (theirs, ours) = (bytes(seed, back), bytes(!seed, there));
        let mut case = Case::new(seed, percent, window, (theirs.clone(), guest_first));
        let mut sends: VecDeque<u8> = ours.clone().into();
        let mut read = Vec::new();
        for _ in 0..600_000 {
            read.extend(case.step(&mut sends));
            let is_over = case.connection.as_ref().is_some_and(Connection::is_over);
            if is_over {
                break;
            }
        }
        prop_assert_eq!(read.len(), theirs.len());
        prop_assert!(read == theirs);
        prop_assert_eq!(case.pipe.taken.len(), ours.len());
        prop_assert!(case.pipe.taken == ours);
        prop_assert!(case.pipe.is_ended);
        prop_assert!(case.connection.unwrap().is_over());
    }
}
