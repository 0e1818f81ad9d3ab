use super::*;
use crate::config::{GATEWAY_IPV4, GATEWAY_MAC, GUEST_IPV4, GUEST_MAC, LinkKind, Policy};
use crate::config::{Limits, Rule, Whom};
use crate::owner::Order;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send};
use std::net::UdpSocket;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc::{Receiver, Sender, channel};

/// A network whose guest is this test, which may have so many flows and reaches this place's loopback.
fn network(flows: u32) -> (Reactor, OwnedFd) {
    network_of(flows, Vec::new())
}

/// The same, with published ports.
fn network_of(flows: u32, published: Vec<Publication>) -> (Reactor, OwnedFd) {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (ours, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    let whom = Whom::Network(GATEWAY_IPV4.into(), 32);
    let rule = Rule { open: true, whom, ports: (0, u16::MAX), transport: None };
    let config = Config {
        link: LinkKind::Packets,
        name_servers: Vec::new(),
        policy: Policy { rules: vec![rule], open: false },
        published,
        limits: Limits { flows: Some(flows), bytes_per_second: None },
    };
    (Reactor::new(&config, theirs).unwrap(), ours)
}

/// A datagram of the guest's, behind the header that stands before each frame.
fn datagram(from: u16, to: u16, dont_cut: bool, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap();
    let mut ip = vec![0x45, 0];
    ip.extend((28 + length).to_be_bytes());
    ip.extend([0, 0, if dont_cut { 0x40 } else { 0 }, 0, 64, 17, 0, 0]);
    ip.extend(GUEST_IPV4.octets());
    ip.extend(GATEWAY_IPV4.octets());
    let sum = smoltcp::wire::checksum::data(&ip);
    ip[10..12].copy_from_slice(&(!sum).to_be_bytes());
    let udp = [from, to, 8 + length, 0].map(u16::to_be_bytes).concat();
    [&[0; 12][..], &GATEWAY_MAC, &GUEST_MAC, &[8, 0], &ip, &udp, payload].concat()
}

fn says(reactor: &mut Reactor, guest: &OwnedFd, frame: &[u8]) {
    send(guest, frame, SendFlags::empty()).unwrap();
    assert!(reactor.turn().unwrap());
}

/// Who hears something within a moment, and from which port.
fn hears(socket: &UdpSocket) -> Option<u16> {
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    socket.recv_from(&mut [0; 2000]).ok().map(|(_, from)| from.port())
}

fn server() -> (UdpSocket, u16) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

#[test]
fn a_port_of_the_guests_is_one_port_outside() {
    let (mut reactor, guest) = network(100);
    let servers = [server(), server(), server()];
    let mut ports = Vec::new();
    for (socket, to) in &servers {
        says(&mut reactor, &guest, &datagram(1000, *to, true, b"x"));
        ports.push(hears(socket).unwrap());
    }
    assert!(ports.iter().all(|port| *port == ports[0]), "{ports:?}");
    says(&mut reactor, &guest, &datagram(1001, servers[0].1, true, b"x"));
    assert_ne!(hears(&servers[0].0), Some(ports[0]), "another's is another");
    // Each hears its own peer alone.
    servers[1].0.send_to(b"answer", ("127.0.0.1", ports[0])).unwrap();
    assert!(reactor.turn().unwrap());
    let mut frame = [0; 200];
    let (count, _) = recv(&guest, &mut frame[..], RecvFlags::DONTWAIT).unwrap();
    let udp = &frame[12 + 14 + 20..count];
    assert_eq!(udp[..2], servers[1].1.to_be_bytes());
    assert_eq!(udp[2..4], 1000u16.to_be_bytes());
    assert!(udp.ends_with(b"answer"));
}

#[test]
fn who_is_silent_gives_way_and_nobody_else() {
    let (mut reactor, guest) = network(2);
    let (socket, to) = server();
    for from in [1, 2, 3] {
        says(&mut reactor, &guest, &datagram(from, to, true, b"x"));
    }
    assert_eq!(reactor.counts().turned_away, 1, "none of them is silent");
    assert_eq!((hears(&socket).is_some(), hears(&socket).is_some()), (true, true));
    std::thread::sleep(SILENT);
    says(&mut reactor, &guest, &datagram(2, to, true, b"x"));
    says(&mut reactor, &guest, &datagram(4, to, true, b"x"));
    assert_eq!((hears(&socket).is_some(), hears(&socket).is_some()), (true, true));
    let guests = [1, 2, 3, 4].map(|port| {
        let ends = ((GUEST_IPV4, port).into(), (GATEWAY_IPV4, to).into());
        let key = crate::flow::Key { protocol: Protocol::Udp, guest: ends.0, other: ends.1 };
        reactor.flows.find(&key).is_some()
    });
    assert_eq!(guests, [false, true, false, true]);
    assert_eq!(reactor.counts().begun, 3);
}

/// A name server's answer is a name server's, whatever port it was asked from.
#[test]
fn who_asks_from_a_published_port_is_answered_by_whom_they_asked() {
    let (server, to) = server();
    let any = "0.0.0.0:0".parse().unwrap();
    let published = Publication { outside: any, inside: 53, transport: Transport::Udp };
    let (mut reactor, guest) = network_of(100, vec![published]);
    reactor.config.name_servers = vec![([127, 0, 0, 1], to).into()];
    let mut frame = datagram(53, 53, true, b"?");
    let [target, sum] = [12 + 14 + 16, 12 + 14 + 10];
    frame[target..target + 4].copy_from_slice(&[192, 0, 0, 3]);
    frame[sum..sum + 2].fill(0);
    let whole = smoltcp::wire::checksum::data(&frame[12 + 14..12 + 14 + 20]);
    frame[sum..sum + 2].copy_from_slice(&(!whole).to_be_bytes());
    says(&mut reactor, &guest, &frame);
    let (_, from) = server.recv_from(&mut [0; 100]).unwrap();
    server.send_to(b"answer", from).unwrap();
    assert!(reactor.turn().unwrap());
    let mut heard = [0; 200];
    recv(&guest, &mut heard[..], RecvFlags::DONTWAIT).unwrap();
    assert_eq!(heard[12 + 14 + 12..12 + 14 + 16], [192, 0, 0, 3]);
}

/// An owner who is this test.
struct Test(UdpSocket, Receiver<Order>, Sender<Word>);

impl Owner for Test {
    fn socket(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    fn order(&mut self) -> Option<Order> {
        self.0.recv(&mut [0; 1]).unwrap();
        self.1.recv().ok()
    }

    fn tell(&mut self, word: Word) {
        self.2.send(word).unwrap();
    }
}

#[test]
fn an_owner_publishes_and_withdraws_while_it_serves() {
    let (mut reactor, _guest) = network(10);
    let ((bell, at), (ringer, _)) = (server(), server());
    let ((orders, ordered), (tells, told)) = (channel(), channel());
    reactor.obey(Box::new(Test(bell, ordered, tells))).unwrap();
    let mut order = |order: Order| {
        orders.send(order).unwrap();
        ringer.send_to(b"!", ("127.0.0.1", at)).unwrap();
        assert!(reactor.turn().unwrap());
        told.recv().unwrap()
    };
    let any = "127.0.0.1:0".parse().unwrap();
    let wanted = Publication { outside: any, inside: 80, transport: Transport::Udp };
    let Word::Published(published) = order(Order::Publish(wanted)) else { panic!() };
    let again = order(Order::Publish(published));
    assert!(matches!(again, Word::NotPublished { publication, .. } if publication == published));
    ringer.send_to(b"question", published.outside).unwrap();
    // The first may be heard before the question is.
    order(Order::Count);
    let Word::Counted(counts) = order(Order::Count) else { panic!() };
    assert_eq!((counts.flows, counts.received.frames), (1, 1), "{counts:?}");
    assert_eq!(order(Order::Withdraw(published)), Word::Withdrawn(published));
    assert!(UdpSocket::bind(published.outside).is_ok(), "it is free again");
    drop(orders);
    ringer.send_to(b"!", ("127.0.0.1", at)).unwrap();
    assert!(!reactor.turn().unwrap(), "it ends with its owner");
}
