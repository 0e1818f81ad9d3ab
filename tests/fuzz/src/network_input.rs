//! What a guest sends to its network, and does so as it hears what comes back.

use network::Network;
use network::config::{
    Config, GATEWAY_IPV4, GATEWAY_IPV6, GUEST_IPV4, GUEST_IPV6, Limits, LinkKind, Policy, Rule,
    Transport, Whom,
};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::net::{IpAddr, TcpListener};
use std::os::fd::OwnedFd;

/// The header that our own VMM puts before each frame: there is no checksum yet.
const BEFORE: [u8; 12] = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const ETHERNET: usize = 14;

/// Frames, some of them with headers that make sense. Only one port of this place is open to them, and nobody else.
pub fn frames(input: &[u8]) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    let port = listener.local_addr().expect("an address").port();
    let (ours, theirs) = pair();
    let mut network = Network::new(&config(port), theirs).expect("a network");
    let mut guest = Guest { port, their_next: 0, socket: ours };
    let mut rest = input;
    while let Some((&[kind, length], more)) = rest.split_first_chunk::<2>() {
        let (bytes, after) = more.split_at(usize::from(length).min(more.len()));
        rest = after;
        guest.send(kind, bytes);
        // It has something to do: a frame.
        assert!(network.turn().expect("it can be watched"), "the guest is there");
        guest.hear();
    }
    drop(network);
    while listener.accept().is_ok() {}
}

fn pair() -> (OwnedFd, OwnedFd) {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
        .expect("a socket pair")
}

fn config(port: u16) -> Config {
    let open = |network: IpAddr, bits| Rule {
        open: true,
        whom: Whom::Network(network, bits),
        ports: (port, port),
        transport: Some(Transport::Tcp),
    };
    Config {
        link: LinkKind::Packets,
        name_servers: Vec::new(),
        policy: Policy {
            rules: vec![open(GATEWAY_IPV4.into(), 32), open(GATEWAY_IPV6.into(), 128)],
            open: false,
        },
        published: Vec::new(),
        limits: Limits::default(),
    }
}

struct Guest {
    port: u16,
    their_next: u32,
    socket: OwnedFd,
}

impl Guest {
    /// Sends a frame: `bytes` are all of it, or what follows an IP header, or what is to say in a TCP segment.
    fn send(&self, kind: u8, bytes: &[u8]) {
        let frame = match kind % 8 {
            0 => bytes.to_vec(),
            1 => ip(GUEST_IPV4.into(), 17, bytes),
            2 => ip(GUEST_IPV6.into(), 17, bytes),
            3 => ip(GUEST_IPV4.into(), 1, bytes),
            4 => ip(GUEST_IPV6.into(), 58, bytes),
            5 => ip(GUEST_IPV6.into(), 44, bytes),
            _ if kind & 0x40 == 0 => ip(GUEST_IPV4.into(), 6, &self.segment(bytes)),
            _ => ip(GUEST_IPV6.into(), 6, &self.segment(bytes)),
        };
        let packet = [&BEFORE[..], &frame].concat();
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        // Where it is heard no more, that is for it to bear.
        rustix::net::send(&self.socket, &packet, flags).expect("room for one");
    }

    /// A segment to the open port: what it has of numbers stands at the beginning of `bytes`.
    fn segment(&self, bytes: &[u8]) -> Vec<u8> {
        let mut head = [0; 12];
        head.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        let [client, sequence, flags, offset, window @ .., ack_off, _, _, _, _, _] = head;
        let ack = self.their_next.wrapping_add(u32::from(ack_off));
        let payload = bytes.get(12..).unwrap_or_default();
        [
            &(40_000 + u16::from(client % 4)).to_be_bytes()[..],
            &self.port.to_be_bytes(),
            &(u32::from(sequence) * 37).to_be_bytes(),
            &ack.to_be_bytes(),
            &[0x50 | (offset & 0xf0), flags],
            &[window[0], window[1], 0, 0, 0, 0],
            payload,
        ]
        .concat()
    }

    /// Hears all that has come, and where the next segment would begin.
    fn hear(&mut self) {
        let mut packet = vec![0; 70_000];
        while let Ok((count, _)) =
            rustix::net::recv(&self.socket, packet.as_mut_slice(), RecvFlags::DONTWAIT)
        {
            let frame = packet.get(BEFORE.len() + ETHERNET..count).unwrap_or_default();
            let headers = if frame.first() == Some(&0x60) { 40 } else { 20 };
            let number = frame.get(headers + 4..headers + 8).and_then(|it| it.try_into().ok());
            self.their_next = number.map_or(0, u32::from_be_bytes).wrapping_add(1);
        }
    }
}

/// A packet in a frame, to this place.
fn ip(from: IpAddr, protocol: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("it is short");
    let mut frame = network::config::GATEWAY_MAC.to_vec();
    frame.extend(network::config::GUEST_MAC);
    if let IpAddr::V4(from) = from {
        let mut header = [0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol, 0, 0].to_vec();
        header.splice(2..4, (length + 20).to_be_bytes());
        header.extend(from.octets());
        header.extend(GATEWAY_IPV4.octets());
        let sum = header.chunks(2).map(|it| u32::from(it[0]) << 8 | u32::from(it[1])).sum::<u32>();
        let sum = !((sum & 0xffff) + (sum >> 16));
        header.splice(10..12, sum.to_be_bytes()[2..].iter().copied());
        frame.extend([8, 0]);
        frame.extend(header);
    } else {
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        frame.extend(length.to_be_bytes());
        frame.extend([protocol, 64]);
        frame.extend(GUEST_IPV6.octets());
        frame.extend(GATEWAY_IPV6.octets());
    }
    frame.extend(body);
    frame
}
