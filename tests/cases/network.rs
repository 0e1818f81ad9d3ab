//! The network of a sandbox: what leads out and in, and what does not.

use crate::cases;
use crate::harness::leftovers::{self, Kind};
use crate::harness::nets::{ECHO, Kinds, Nets, OTHER, PLACE, PLACE6, RESET, SERVER, SERVER6, WHO};
use crate::harness::product::{Output, Sandbox};
use crate::harness::{Running, World};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

cases! {
    Both: a_network, published_ports, datagrams_as_outside;
    Guest: many_connections_leave_nothing, ipv4_alone, ipv6_alone, names, none_at_all, every_way_round, limits_and_a_capture;
    Tcg: what_cannot_be_published_is_said;
}

/// Runs a script in a sandbox of such a place, with `$S` and `$S6` for its servers.
fn sh(sandbox: &Sandbox<'_>, script: &str) -> Output {
    let script = format!("S={SERVER} S6={SERVER6}\nnet() {{ guest-tool net \"$@\"; }}\n{script}");
    sandbox.run(&["sh", "-c", &script])
}

/// Streams both ways, whole; datagrams; echoes; and each end as it is.
fn a_network(world: &World) {
    let nets = Nets::new(world, Kinds::Both);
    let script = format!(
        "net echo tcp $S:{ECHO} 9000001; net echo tcp [$S6]:{ECHO} 3000001; net echo tcp $S:{ECHO} 0
         net echo udp $S:{ECHO} 5; net echo udp [$S6]:{ECHO} 1400; net echo udp $S:{ECHO} 65507; net echo udp $S:{ECHO} 0
         ping -c 1 -W 9 $S > /dev/null && echo pong; ping -c 1 -W 9 $S6 > /dev/null && echo pong
         net try tcp $S:1; net try udp $S:1; net try tcp $S:{RESET}; net reset $S:{ECHO}
         net many $S:{WHO} 200 && nc $S {WHO}; echo
         ip route | cut -d' ' -f1-3; ip -6 route | grep -c default; cat /sys/class/net/eth0/mtu; ip addr show lo | grep -c UP"
    );
    let expected = format!(
        "echoed 9000001\nechoed 3000001\nechoed 0\nechoed 5\nechoed 1400\nechoed 65507\nechoed 0\npong\npong\n\
         refused\nrefused\nreset\n{PLACE}\ndefault via 192.0.0.1\n192.0.0.0/29 dev eth0\n1\n65520\n1"
    );
    sh(&nets.sandbox(world), &script).prints(&expected);
}

/// What goes from one port in there goes from one outside; what may not be cut is not, and whoever sends it is told.
fn datagrams_as_outside(world: &World) {
    let nets = Nets::new(world, Kinds::Both);
    nets.narrow(1400);
    let script = format!(
        "net ports $S:{WHO} {OTHER}:{WHO}
         net whole $S:{ECHO} 1300; net whole $S:{ECHO} 1390; net whole [$S6]:{ECHO} 1390; net echo udp $S:{ECHO} 3000"
    );
    let expected = "one port\nwhole\ntoo long for 1400\ntoo long for 1400\nechoed 3000";
    sh(&nets.sandbox(world), &script).prints(expected);
}

fn ipv4_alone(world: &World) {
    let nets = Nets::new(world, Kinds::V4);
    let script = format!(
        "net echo tcp $S:{ECHO} 100; net try tcp [$S6]:{ECHO}; wget -q -O - -T 5 http://server.test:{WHO} 2>&1 | grep -c resolve; nslookup -type=a server.test | grep -c {SERVER}"
    );
    sh(&nets.sandbox(world), &script).prints("echoed 100\nunreachable\n0\n1");
}

fn ipv6_alone(world: &World) {
    let nets = Nets::new(world, Kinds::V6);
    // Of one kind alone: where the guest's clock is coarse, busybox asks for both by one number, and hears one answer.
    let script = format!(
        "net echo tcp [$S6]:{ECHO} 100; net try tcp $S:{ECHO}; nslookup -type=aaaa server.test | grep -c {SERVER6}"
    );
    // Without a route, and with one that leads to the gateway, who says that there is none.
    for flags in [["-p", "81:81"], ["--allow", "loopback"]] {
        sh(&nets.sandbox(world).flags(&flags), &script).prints("echoed 100\nunreachable\n1");
    }
}

/// Names are what they are outside, and what is added.
fn names(world: &World) {
    let nets = Nets::new(world, Kinds::Both);
    let script = "cat /etc/resolv.conf; nslookup -type=a short | grep -c 198.51.100.1; nslookup -type=a alias.test | grep -c 198.51.100.3
                  nslookup nowhere.test > /dev/null 2>&1 || echo none; ping -c 1 -W 9 added | grep -o '(198.51.100.3)' | head -1
                  grep -c gate /etc/hosts";
    let sandbox = nets.sandbox(world).flags(&[
        "--add-host",
        "added:198.51.100.3",
        "--add-host",
        "gate:host-gateway",
    ]);
    sh(&sandbox, script)
        .prints("nameserver 192.0.0.3\nsearch home.test\n1\n1\nnone\n(198.51.100.3)\n1");
    let sandbox = nets.sandbox(world).flags(&[
        "--dns",
        SERVER,
        "--dns-search",
        "x.test",
        "--dns-option",
        "ndots:3",
    ]);
    sh(&sandbox, "cat /etc/resolv.conf; nslookup -type=a other.test | grep -c 198.51.100.3")
        .prints("nameserver 192.0.0.3\nsearch x.test\noptions ndots:3\n1");
}

fn none_at_all(world: &World) {
    let nets = Nets::new(world, Kinds::Both);
    let script = format!("ls /sys/class/net; net try tcp $S:{ECHO}; wc -c < /etc/resolv.conf");
    sh(&nets.sandbox(world).flags(&["--network", "none"]), &script).prints("lo\nunreachable\n0");
}

/// Whoever comes to a published port comes to the container, and is who they are.
fn published_ports(world: &World) {
    let nets = Nets::new(world, Kinds::Both);
    let flags = ["-p", "8080:80", "-p", "8080:80/udp", "-p", "127.0.0.1:9000-9001:80-81"];
    let sandbox = nets.sandbox(world).flags(&flags);
    // A shell that is PID 1 ends by a signal only if it wants to.
    let script = "trap 'exit 0' TERM; guest-tool net serve 80 & guest-tool net serve 81 & wait";
    let running = sandbox.start(&["sh", "-c", script]);
    let ask = |to: &str| {
        let mut stream = TcpStream::connect(to)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.write_all(b"hello")?;
        stream.shutdown(Shutdown::Write)?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok::<_, std::io::Error>(text)
    };
    let deadline = Instant::now() + Duration::from_secs(90);
    while !nets.inside(|| ask("127.0.0.1:9001")).is_ok_and(|text| text.ends_with("hello")) {
        assert!(Instant::now() < deadline, "nobody serves");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(nets.outside(|| ask(&format!("{PLACE}:8080"))).unwrap(), format!("{SERVER} hello"));
    assert_eq!(
        nets.outside(|| ask(&format!("[{PLACE6}]:8080"))).unwrap(),
        format!("{SERVER6} hello")
    );
    assert_eq!(nets.inside(|| ask("127.0.0.1:9000")).unwrap(), "192.0.0.1 hello");
    assert!(
        nets.outside(|| ask(&format!("{PLACE}:9000"))).is_err(),
        "it is published on loopback alone"
    );
    let datagram = nets.outside(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket.send_to(b"hello", format!("{PLACE}:8080")).unwrap();
        let mut answer = [0; 100];
        let (count, from) = socket.recv_from(&mut answer).unwrap();
        (String::from_utf8_lossy(&answer[..count]).into_owned(), from.to_string())
    });
    assert_eq!(datagram, (format!("{SERVER} hello"), format!("{PLACE}:8080")));
    running.signal(rustix::process::Signal::TERM);
    running.wait();
}

/// No faster than may be, no more at a time, and all of it on record.
fn limits_and_a_capture(world: &World) {
    let nets = Nets::new(world, Kinds::V4);
    let capture = world.scratch_file("capture");
    let path = capture.display().to_string();
    let script = format!(
        "net echo tcp $S:{ECHO} 500000; read up rest < /proc/uptime; net echo tcp $S:{ECHO} 1000000; read now rest < /proc/uptime
         [ $(( ${{now%.*}} - ${{up%.*}} )) -ge 3 ] && echo slow
         sleep 3; net hold $S:{ECHO} 2 & sleep 6; nc -w 2 $S {WHO} || echo full"
    );
    let flags = ["--bandwidth", "256k", "--limit-connections", "2", "--pcap", &path];
    sh(&nets.sandbox(world).flags(&flags), &script)
        .prints("echoed 500000\nechoed 1000000\nslow\nfull");
    let bytes = std::fs::read(&capture).unwrap();
    assert_eq!(bytes[..4], 0xa1b2_3c4d_u32.to_ne_bytes());
    assert!(bytes.len() > 3_000_000, "{}", bytes.len());
    sh(&nets.sandbox(world).flags(&["--pcap", "/nowhere/x"]), "true")
        .exits(125)
        .complains(&["/nowhere/x"]);
}

fn many_connections_leave_nothing(world: &World) {
    connections(world, 5_000);
}

/// So many connections, one after the other, and datagrams of as many ports: what carries them holds no more afterwards.
pub fn connections(world: &World, count: u32) {
    const ROUNDS: u32 = 10;
    let nets = Nets::new(world, Kinds::V4);
    let script = format!(
        "for it in $(seq {ROUNDS}); do guest-tool net many {SERVER}:{WHO} {} && echo done && sleep 3; done",
        count / ROUNDS
    );
    let out = world.scratch_file("stdout");
    let program = nets.sandbox(world).program(&["sh", "-c", &script]);
    let begun = Instant::now();
    let running = Running::watched(program, std::fs::File::create(&out).unwrap());
    let round = |number: usize| {
        let deadline = Instant::now() + Duration::from_secs(60 + u64::from(count / 20));
        while std::fs::read_to_string(&out).unwrap().lines().count() < number {
            assert!(Instant::now() < deadline, "round {number} is not done");
            std::thread::sleep(Duration::from_millis(50));
        }
        std::thread::sleep(Duration::from_secs(2));
        let family = leftovers::family(running.pid());
        let carrier = family.iter().find(|it| it.kind == Some(Kind::Network)).expect("it runs");
        held(carrier.pid)
    };
    let (first, rounds) = (round(1), usize::try_from(ROUNDS).unwrap());
    let last = round(rounds);
    // So long after its beginning, as patience counts.
    running.wait_within(begun.elapsed() + Duration::from_secs(60)).exits(0);
    assert_eq!(last.0, first.0, "descriptors");
    assert!(
        last.1 <= first.1 + 512,
        "{} KiB resident, and {} after the first round",
        last.1,
        first.1
    );
}

/// Its descriptors, and what it has in memory, in KiB.
fn held(pid: u32) -> (usize, u64) {
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    (descriptors, resident.trim().trim_end_matches(" kB").parse().unwrap())
}

fn what_cannot_be_published_is_said(world: &World) {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let flags = ["-p", &format!("127.0.0.1:{port}:80")];
    world.sh(&flags, "true").exits(125).complains(&["cannot publish", &port.to_string()]);
}

/// What is closed is closed to every way round.
fn every_way_round(world: &World) {
    let nets = Nets::new(world, Kinds::Both);
    let tries = |addresses: &[&str]| {
        addresses.iter().map(|address| format!("net try tcp {address}\n")).collect::<String>()
    };
    // By default: this place's loopback, link-local and metadata addresses, in whatever disguise.
    let closed = [
        "192.0.0.1:7",
        "169.254.169.254:80",
        "[fd00:ec2::254]:80",
        "[fdcf:6665:7264:616d::1]:7",
        "[64:ff9b::7f00:1]:7",
        "[2002:7f00:1::]:7",
        "100.100.100.200:80",
        "0.0.0.0:7",
    ];
    let listener = nets.inside(|| std::net::TcpListener::bind("[::]:7").unwrap());
    let output = sh(&nets.sandbox(world), &tries(&closed));
    output.prints(&vec!["refused"; closed.len()].join("\n"));
    drop(listener);
    // By addresses and ports.
    let flags = ["--egress", "deny", "--allow", &format!("{SERVER}:{ECHO}"), "--deny", OTHER];
    let script = format!(
        "net echo tcp $S:{ECHO} 10\nnet try tcp $S:{WHO}\nnet try tcp {OTHER}:{ECHO}\nnet try udp $S:1\nnet try tcp [$S6]:{ECHO}"
    );
    let output = sh(&nets.sandbox(world).loud().flags(&flags), &script);
    output.prints("echoed 10\nrefused\nrefused\nunreachable\nrefused");
    // By names, as they are told.
    let flags = [
        "--egress",
        "deny",
        "--allow",
        "other.test",
        "--allow",
        "rebound.test",
        "--allow",
        "private.test",
    ];
    let script = format!(
        "net try tcp {OTHER}:{WHO}; nslookup -type=a alias.test > /dev/null; net try tcp {OTHER}:{WHO}
         nslookup -type=a other.test > /dev/null; net try tcp {OTHER}:{WHO}; net try tcp $S:{WHO}
         nslookup -type=a rebound.test > /dev/null; nslookup -type=a private.test > /dev/null; net try tcp 10.9.9.9:7; net try tcp 192.0.0.1:7"
    );
    let output = sh(&nets.sandbox(world).flags(&flags), &script);
    output.prints("refused\nrefused\nopen\nrefused\nrefused\nrefused");
}
