//! Programs as people have them, between a container and servers outside, and back through published ports.
//!
//! They take minutes: for `make soak` alone.

use crate::harness::nets::{Kinds, Nets, PLACE, PLACE6, SERVER, SERVER6};
use crate::harness::product::Output;
use crate::harness::real_servers::{Real, SERVE, short};
use crate::harness::{Running, World};
use rustix::process::Signal;
use std::fmt::Write;
use std::fs::{self, File};
use std::thread;
use std::time::{Duration, Instant};

/// All of them together, on a slow machine.
const PATIENCE: Duration = Duration::from_secs(1800);
/// What is added to a port where it is published.
const PUBLISHED: u16 = 10_000;
/// Where the servers are.
const TCP: [u16; 7] = [22, 80, 443, 5432, 6379, 8765, 8766];
const QUIC: u16 = 4433;
/// Clients both ways.
const CLIENTS: [&str; 18] = [
    "over_http",
    "over_https",
    "a_range",
    "at_leisure",
    "uploads",
    "a_hundred",
    "refusals",
    "over_ssh",
    "copies",
    "git_over_http",
    "git_over_https",
    "git_over_ssh",
    "packages",
    "over_websocket",
    "over_websocket_with_tls",
    "over_quic",
    "over_postgres",
    "over_redis",
];

/// What comes of echoes, of three sizes; the largest one comes in pieces.
const ECHOES: &str = "3 received 3 received 3 received";
/// What is told of names: by one kind of address, by the other, by TCP, of an alias, of none: the name server out there
/// knows no other to ask, and refuses.
const NAMES: &str =
    "198.51.100.1 2001:db8:77::1 198.51.100.1 other.test. 198.51.100.3 status: REFUSED";

/// Each of them, out and in, where these kinds of address lead.
pub fn over(world: &World, kinds: Kinds) {
    let nets = Nets::new(world, kinds);
    let (by_4, by_6) = (kinds != Kinds::V6, kinds != Kinds::V4);
    let mut hosts = Vec::new();
    if by_4 {
        hosts.extend([("place.test", PLACE), ("four.place.test", PLACE)]);
    }
    if by_6 {
        hosts.extend([("place.test", PLACE6), ("six.place.test", PLACE6)]);
    }
    let real = Real::new(world, &hosts, &nets);
    let ways = [("four", by_4, SERVER, PLACE), ("six", by_6, SERVER6, PLACE6)];
    let ways = ways.iter().filter(|(_, is_there, ..)| *is_there);
    let (mut out, mut back) = (Asked::default(), Asked::default());
    let mut added = Vec::new();
    for (name, _, server, place) in ways {
        added.extend(["--add-host".to_owned(), format!("{name}.server.test:{server}")]);
        let more = [("who_is_seen", *place), ("echoes", ECHOES)];
        // By both, the way that a name leads is for each client to choose.
        out.ask(&real, &format!("{name}.server.test"), 0, &more);
        back.ask(&real, &format!("{name}.place.test"), PUBLISHED, &[("who_is_seen", server)]);
    }
    // hiredis takes a name's IPv6 only where it has no IPv4, which leads nowhere here.
    let by_name: Vec<&str> = CLIENTS.into_iter().filter(|it| by_4 || *it != "over_redis").collect();
    out.ask_by(&by_name, &real, ("server.test", 0), &[("echoes", ECHOES), ("names", NAMES)]);
    back.ask(&real, "place.test", PUBLISHED, &[]);
    let servers = real.serve(&nets);
    let sandbox = real.sandbox(world, &nets).flags(&added);
    let output = sandbox.start(&["bash", "-c", &out.script]).wait_within(PATIENCE);
    drop(servers);
    let wrong = [out.wrong(&output), from_outside(world, &nets, &real, &back)].concat();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Asks the servers of a container, through its published ports.
fn from_outside(world: &World, nets: &Nets, real: &Real, back: &Asked) -> Vec<String> {
    let published = |port: &u16| ["-p".to_owned(), format!("{}:{port}", PUBLISHED + port)];
    let mut flags: Vec<String> = TCP.iter().flat_map(published).collect();
    flags.extend(["-p".to_owned(), format!("{}:{QUIC}/udp", PUBLISHED + QUIC)]);
    let sandbox = real.sandbox(world, nets).flags(&flags);
    let said = world.scratch_file("said");
    let program = sandbox.program(&SERVE);
    let mut running = Running::watched(program, File::create(&said).unwrap());
    let begun = Instant::now();
    loop {
        let words = fs::read_to_string(&said).unwrap();
        if words == "serving\n" {
            break;
        }
        let has_ended = running.child.try_wait().unwrap().is_some();
        if has_ended || begun.elapsed() > Duration::from_secs(400) {
            if !has_ended {
                running.signal(Signal::KILL);
            }
            return vec![format!("nobody serves: {words} {}", running.wait().stderr)];
        }
        thread::sleep(Duration::from_millis(100));
    }
    let command = real.outside(nets, &["bash", "-c", &back.script]);
    let output = Running::start(command, None).wait_within(PATIENCE);
    running.signal(Signal::TERM);
    running.wait_within(PATIENCE).exits(0);
    back.wrong(&output)
}

/// What clients are asked, and what they are to say.
#[derive(Default)]
struct Asked {
    script: String,
    lines: Vec<String>,
}

impl Asked {
    /// All clients, and these more, ask servers by this name.
    fn ask(&mut self, real: &Real, name: &str, offset: u16, more: &[(&str, &str)]) {
        self.ask_by(&CLIENTS, real, (name, offset), more);
    }

    fn ask_by(
        &mut self,
        clients: &[&'static str],
        real: &Real,
        (name, offset): (&str, u16),
        more: &[(&str, &str)],
    ) {
        let more = more.iter().map(|(client, line)| (*client, (*line).to_owned()));
        let asked: Vec<(&str, String)> =
            clients.iter().map(|client| (*client, expected(real, client))).chain(more).collect();
        let _ = write!(self.script, "/real-clients/ask /goods {name} {offset}");
        for (client, line) in asked {
            self.script.extend([" ", client]);
            self.lines.push(format!("{name} {client}: {line}"));
        }
        self.script.push('\n');
    }

    /// What they say besides, and what they do not.
    fn wrong(&self, output: &Output) -> Vec<String> {
        let text = output.text();
        let said: Vec<&str> = text.lines().collect();
        let lacking = self.lines.iter().filter(|line| !said.contains(&line.as_str()));
        let besides = said.iter().filter(|line| !self.lines.iter().any(|it| it == *line));
        let mut wrong: Vec<String> = lacking.map(|line| format!("expected: {line}")).collect();
        wrong.extend(besides.map(|line| format!("it said:  {line}")));
        if !wrong.is_empty() || output.code != 0 {
            wrong.push(format!("exit code {}, stderr: {}", output.code, output.stderr));
        }
        wrong
    }
}

/// What a client is to say. Pure.
fn expected(real: &Real, client: &str) -> String {
    let [five, ten] = [5_000_000, 10_000_000].map(|size| real.digest(0, size));
    let big = real.digest(0, real.big.len());
    let head = &real.head;
    match client {
        "over_http" => format!("200 HTTP/1.1 50000000 {big}"),
        "over_https" => format!("200 HTTP/2 50000000 {big}"),
        "a_range" => format!("206 HTTP/2 1000000 {}", real.digest(1_000_000, 1_000_000)),
        "at_leisure" => format!("200 HTTP/1.1 5000000 {five}"),
        "uploads" => format!("201 201 {ten} 204 {five} 204"),
        "a_hundred" => {
            let small = (1..=100).flat_map(|at| &real.big[at..at + 5000]).copied();
            format!("100 {}", short(&small.collect::<Vec<u8>>()))
        }
        // An unknown authority, nobody there, the same for Postgres, a wrong password, ssh's unknown host, its unknown user.
        "refusals" => "exits 60 exits 7 exits 2 exits 2 exits 255 exits 255".to_owned(),
        "over_ssh" => format!("worker 7 {ten} 1 200 HTTP/1.1 5000000 {five}"),
        "copies" => format!("{ten} {five}"),
        "git_over_http" | "git_over_https" | "git_over_ssh" => format!("{head} {five} 1 2"),
        "packages" => format!("1 {}", real.digest(0, 8_000_000)),
        // Twice each size: bytes and text.
        "over_websocket" | "over_websocket_with_tls" => {
            format!("{} 4001 as asked for", 2 * (1 + 125 + 126 + 65535 + 65536 + 4_000_000))
        }
        "over_quic" => format!("{ten} {five} {}", real.digest(1, 5000)),
        "over_postgres" => {
            let row = |number| format!("{number}\tthe words of {number}\n");
            let rows = short((1..=50_000).map(row).collect::<String>().as_bytes());
            format!("t|TLSv1.3 50000|1250025000|18 5000001 {rows} payload \"it is said\"")
        }
        "over_redis" => {
            let value = real.digest(0, 1_000_000);
            format!("OK {value} errors: 0, replies: 20000 200010000 waited 1 2")
        }
        _ => unreachable!("{client} is no client"),
    }
}
