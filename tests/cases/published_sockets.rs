//! `--publish-socket`: a Unix socket of a container's, reached from outside.

use crate::cases;
use crate::harness::{Running, World, leftovers};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

cases! {
    Both: it_leads_to_the_containers;
    Tcg: what_is_refused;
}

/// A sandbox in which what is said at a socket is said back.
struct Echo {
    running: Option<Running>,
    state: PathBuf,
    socket: PathBuf,
}

impl Echo {
    fn start(world: &World) -> Self {
        let state = world.fresh_state();
        let sandbox = world.sandbox().state(&state);
        let flags = ["--name", "box", "--privileged", "--publish-socket", "/echo.sock"];
        let script = "trap 'exit 3' TERM; guest-tool echo /echo.sock & wait";
        let running = Some(sandbox.flags(&flags).start(&["sh", "-c", script]));
        let port = ["port", "--state-dir", &state.display().to_string(), "box"].map(str::to_owned);
        let port = port.each_ref().map(String::as_str);
        let deadline = Instant::now() + Duration::from_secs(120);
        let socket = loop {
            let said = world.command(&port);
            if let Some((_, path)) = said.text().split_once("/echo.sock -> ") {
                break PathBuf::from(path);
            }
            assert!(Instant::now() < deadline, "it is not there: {said:?}");
            std::thread::sleep(Duration::from_millis(50));
        };
        let echo = Self { running, state, socket };
        // Until somebody listens there, whoever comes is sent away.
        while echo.said(b"up").is_none() {
            assert!(Instant::now() < deadline, "nobody listens");
            std::thread::sleep(Duration::from_millis(100));
        }
        echo
    }

    fn connect(&self) -> std::io::Result<UnixStream> {
        let stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(stream)
    }

    /// What is said back to this, and to its end; `None` where nobody is there.
    fn said(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut stream = self.connect().ok()?;
        let mut writes = stream.try_clone().ok()?;
        let own = bytes.to_vec();
        let written = std::thread::spawn(move || {
            let written = writes.write_all(&own);
            writes.shutdown(Shutdown::Write).and(written)
        });
        let mut said = Vec::new();
        stream.read_to_end(&mut said).ok()?;
        written.join().unwrap().ok()?;
        (!said.is_empty()).then_some(said)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }
}

fn it_leads_to_the_containers(world: &World) {
    let mut echo = Echo::start(world);
    let bytes: Vec<u8> = (0..2_000_000u32).map(|it| (it % 253) as u8).collect();
    let said = echo.said(&bytes).unwrap();
    assert!(said == [&bytes[..], b"\n2000000"].concat(), "{} bytes", said.len());
    // Many at once, each with its own.
    let all: Vec<_> = std::thread::scope(|scope| {
        let echo = &echo;
        let each = |number: usize| format!("number {number}");
        let threads: Vec<_> =
            (0..60).map(|it| scope.spawn(move || echo.said(each(it).as_bytes()))).collect();
        threads.into_iter().map(|it| it.join().unwrap()).collect()
    });
    for (number, said) in all.into_iter().enumerate() {
        let text = format!("number {number}");
        assert_eq!(said.unwrap(), format!("{text}\n{}", text.len()).into_bytes());
    }
    // One who says nothing, and one who takes nothing, hold up nobody.
    let silent = echo.connect().unwrap();
    let mut deaf = echo.connect().unwrap();
    deaf.set_nonblocking(true).unwrap();
    while deaf.write(&[0; 65536]).is_ok() {}
    assert_eq!(echo.said(b"still").unwrap(), b"still\n5");
    drop((silent, deaf));
    let mode = std::fs::metadata(&echo.socket).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode.permissions()) & 0o777, 0o600);
    let running = echo.running.take().unwrap();
    running.signal(Signal::TERM);
    running.wait().exits(3);
    assert!(echo.connect().is_err());
    assert!(leftovers::sandboxes(&echo.state).is_empty());
}

fn what_is_refused(world: &World) {
    let refused = |flags: &[&str], words: &[&str]| {
        world.sandbox().flags(flags).run(&["true"]).exits(125).complains(words);
    };
    refused(&["--publish-socket", "/run/a.sock"], &["seccomp", "--privileged"]);
    refused(&["--privileged", "--publish-socket", "a.sock"], &["is no path of a socket"]);
    let long = world.fresh_state().join("d".repeat(100));
    let flags = ["--privileged", "--publish-socket", "/run/a.sock"];
    let output = world.sandbox().state(&long).flags(&flags).run(&["true"]);
    output.exits(125).complains(&["a shorter --state-dir helps"]);
    assert!(leftovers::sandboxes(&long).is_empty());
}
