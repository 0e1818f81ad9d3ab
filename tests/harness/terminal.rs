//! A terminal that a case holds the other end of.

use rustix::pty::OpenptFlags;
use rustix::termios::{Termios, Winsize};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(120);

/// A program on a terminal of its own.
#[derive(Debug)]
pub struct Terminal {
    master: File,
    /// Our own hold on the program's side, to see what modes it leaves there.
    slave: OwnedFd,
    child: Child,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// Starts a program on a new terminal of 24 by 80.
    pub fn start(program: &std::path::Path, arguments: &[String]) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = rustix::pty::openpt(flags).expect("a terminal is made");
        rustix::pty::grantpt(&master).expect("a terminal is granted");
        rustix::pty::unlockpt(&master).expect("a terminal is unlocked");
        let name = rustix::pty::ptsname(&master, Vec::new()).expect("a terminal has a name");
        let open =
            rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
        let slave = rustix::fs::open(&name, open, rustix::fs::Mode::empty()).expect("it opens");
        let stdio = || slave.try_clone().expect("a descriptor is copied");
        // setsid gives the program a session whose terminal this is.
        let child = Command::new("setsid")
            .args(["--ctty", "--wait"])
            .arg(program)
            .args(arguments)
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio())
            .spawn()
            .expect("setsid starts");
        let master = File::from(master);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut reader = master.try_clone().expect("a descriptor is copied");
        let into = Arc::clone(&seen);
        std::thread::spawn(move || {
            let mut buffer = [0u8; 4096];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                into.lock().expect("nobody panics with it").extend_from_slice(&buffer[..count]);
            }
        });
        let terminal = Self { master, slave, child, seen };
        terminal.resize(24, 80);
        terminal
    }

    /// The program's number: what started it became it.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Types.
    pub fn types(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).expect("a terminal takes bytes");
    }

    /// Gives it another size, as a window that is dragged does.
    pub fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&self.master, size).expect("a terminal is resized");
    }

    /// The terminal's modes.
    pub fn modes(&self) -> Termios {
        rustix::termios::tcgetattr(&self.slave).expect("a terminal has modes")
    }

    /// All that it has shown.
    pub fn text(&self) -> String {
        let seen = self.seen.lock().expect("nobody panics with it");
        String::from_utf8_lossy(&seen).replace('\r', "")
    }

    /// Waits until it shows a text.
    #[track_caller]
    pub fn waits_for(&self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.text().contains(text) {
            assert!(Instant::now() < deadline, "{text:?} was not shown: {:?}", self.text());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for the program's end; gives its exit code.
    #[track_caller]
    pub fn ends(&mut self) -> i32 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                // The reader is a moment behind.
                std::thread::sleep(Duration::from_millis(100));
                return status.code().unwrap_or(-1);
            }
            assert!(Instant::now() < deadline, "it did not end: {:?}", self.text());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // SIGKILL to setsid leaves the session, which then gets SIGHUP from its terminal.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
