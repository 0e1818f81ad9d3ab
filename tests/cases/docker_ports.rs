//! Docker in a sandbox, and its network: what its containers reach, and what they publish.

use crate::cases;
use crate::harness::World;
use crate::harness::docker::{self, PATIENCE, UP, WEB};
use crate::harness::nets::{ECHO, Kinds, Nets, PLACE, PLACE6, SERVER, WHO};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

cases! {
    Guest: what_docker_publishes, what_its_containers_reach;
}

/// What a container publishes is published outside as it appears, where Docker has it, and no longer than there.
fn what_docker_publishes(world: &World) {
    let nets = Nets::new(world, Kinds::Both);
    let state = world.fresh_state();
    // Outside, this port is somebody else's.
    let taken = nets.inside(|| std::net::TcpListener::bind("0.0.0.0:8082").unwrap());
    let sandbox = docker::sandbox(world, &nets, &["--publish-docker", "--name", "box"]);
    let script = format!("trap 'exit 0' TERM; {UP} && {WEB}; sleep 1000 & wait");
    let running = sandbox.state(&state).start(&["sh", "-c", &script]);
    let page = |to: &str| {
        let mut stream = TcpStream::connect(to)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok::<_, std::io::Error>(text.ends_with("hello\n"))
    };
    let until = |what: &str, is_so: &dyn Fn() -> bool| {
        let begun = Instant::now();
        while !is_so() {
            assert!(begun.elapsed() < PATIENCE, "{what}");
            std::thread::sleep(Duration::from_millis(200));
        }
    };
    let (all, all6) = (format!("{PLACE}:8080"), format!("[{PLACE6}]:8080"));
    until("it is published", &|| nets.outside(|| page(&all)).is_ok_and(|it| it));
    assert!(nets.outside(|| page(&all6)).unwrap(), "for IPv6, too");
    assert!(nets.inside(|| page("127.0.0.1:8081")).unwrap(), "loopback's is loopback's");
    assert!(nets.outside(|| page(&format!("{PLACE}:8081"))).is_err(), "and nobody else's");
    let state = state.display().to_string();
    let ports = || world.command(&["port", "--state-dir", &state, "box"]).text();
    let listed = ports();
    for expected in ["8080/tcp -> 0.0.0.0:8080", "8080/tcp -> [::]:8080", "-> 127.0.0.1:8081"] {
        assert!(listed.contains(expected), "{expected}: {listed}");
    }
    let exec =
        |words: &[&str]| world.command(&[&["exec", "--state-dir", &state, "box"], words].concat());
    exec(&["docker", "rm", "--force", "web"]).exits(0);
    until("it is withdrawn", &|| nets.outside(|| page(&all)).is_err());
    until("it is listed no more", &|| !ports().contains("8080"));
    drop(taken);
    running.signal(Signal::TERM);
    let output = running.wait_within(2 * PATIENCE);
    output.exits(0).complains(&["cannot publish port 8082/tcp on 0.0.0.0:8082"]);
}

/// Containers on Docker's bridges reach what the sandbox does, however large.
fn what_its_containers_reach(world: &World) {
    let nets = Nets::new(world, Kinds::Both);
    let script = format!(
        "{UP} && docker network create --subnet 10.77.0.0/24 more > /dev/null
         docker run --rm box sh -c 'nc {SERVER} {WHO}; echo; dd if=/dev/zero bs=10000 count=500 2> /dev/null | nc -w 20 {SERVER} {ECHO} | wc -c'
         docker run --rm --network more box sh -c 'nslookup -type=a server.test | grep -c {SERVER}; cat /sys/class/net/eth0/mtu'"
    );
    let running = docker::sandbox(world, &nets, &[]).start(&["sh", "-c", &script]);
    running.wait_within(PATIENCE).prints(&format!("{PLACE}\n5000000\n1\n1500"));
}
