//! A real registry on this machine's loopback: Debian's docker-registry, filled by skopeo.
//!
//! Owns: its configuration, its certificate, a token server, and a line that breaks. Never does: be gentle.

use super::tokens::TokenServer;
use super::{Random, World};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Who may pull.
pub const USER: &str = "puller";
/// By what.
pub const PASSWORD: &str = "secret";
/// The same as docker-registry wants it: bcrypt.
const PASSWORD_HASH: &str = "$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a";

/// Who is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Everybody, over TLS.
    Open,
    /// Everybody, without TLS.
    Plain,
    /// Who knows the password.
    Basic,
    /// Who has a token from a server that knows the password.
    Token,
}

/// A registry that runs.
pub struct Registry {
    process: Child,
    directory: PathBuf,
    port: u16,
    door: Door,
    _tokens: Option<TokenServer>,
}

impl Registry {
    /// Starts one.
    pub fn start(world: &World, door: Door) -> Self {
        let directory = world.scratch_file("registry");
        for part in ["blobs", "authority"] {
            fs::create_dir_all(directory.join(part)).unwrap();
        }
        certificate(&directory, door);
        let tokens = (door == Door::Token).then(|| TokenServer::start(&directory));
        let port = free_port();
        let config = configuration(&directory, port, door, tokens.as_ref());
        let path = directory.join("config.yml");
        fs::write(&path, config).unwrap();
        let log = File::create(directory.join("log")).unwrap();
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&path)
            .stdout(Stdio::from(log.try_clone().unwrap()))
            .stderr(Stdio::from(log))
            .spawn()
            .unwrap_or_else(|error| panic!("docker-registry: {error}"));
        let registry = Self { process, directory, port, door, _tokens: tokens };
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "it does not listen: {}", registry.log());
            thread::sleep(Duration::from_millis(20));
        }
        registry
    }

    /// Its name, as an image's begins.
    pub fn host(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate of who vouches for it.
    pub fn authority(&self) -> PathBuf {
        self.directory.join("authority/ca.crt")
    }

    /// What it has said of what it was asked.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap()
    }

    /// How often it was asked for something whose path has these words, and gave it.
    pub fn served(&self, words: &str) -> usize {
        let log = self.log();
        let lines = log.lines().filter(|line| line.contains("\"GET /v2/"));
        lines
            .filter(|line| {
                line.contains(words) && (line.contains("\" 200 ") || line.contains("\" 206 "))
            })
            .count()
    }

    /// Puts an image there; gives its name.
    pub fn push(&self, image: &str, name: &str) -> String {
        let name = format!("{}/{name}", self.host());
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["copy", "--quiet", image, &format!("docker://{name}")]);
        match self.door {
            Door::Plain => skopeo.arg("--dest-tls-verify=false"),
            _ => skopeo.arg("--dest-cert-dir").arg(self.directory.join("authority")),
        };
        if matches!(self.door, Door::Basic | Door::Token) {
            skopeo.args(["--dest-creds", &format!("{USER}:{PASSWORD}")]);
        }
        let output = skopeo.output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "skopeo: {words}\n{}", self.log());
        name
    }

    /// A way to it by which the first answer that is longer than this stands still in the middle, as long as anybody waits;
    /// all else comes whole. Gives its port.
    pub fn stalling(&self, most: u64) -> u16 {
        let stalled = Arc::new(AtomicBool::new(false));
        self.by_way_of(move |_| {
            let stalled = stalled.clone();
            Box::new(move |mut server: &TcpStream, client: &mut TcpStream| {
                let _ = std::io::copy(&mut server.take(most), client);
                let more = server.peek(&mut [0]).is_ok_and(|count| count > 0);
                if more && !stalled.swap(true, Ordering::Relaxed) {
                    thread::sleep(Duration::from_secs(300));
                }
                let _ = std::io::copy(&mut server, client);
            })
        })
    }

    /// A way to it that breaks: each connection after so many bytes of answers more than the one before. Gives its port.
    pub fn breaking(&self, step: u64) -> u16 {
        self.by_way_of(move |number| {
            Box::new(move |server: &TcpStream, client: &mut TcpStream| {
                let _ = std::io::copy(&mut server.take(step * number), client);
            })
        })
    }

    /// A way to it on which some of what it answers is changed, by choices that grow from a seed. Gives its port.
    pub fn lying(&self, seed: u64, change: fn(&mut Random, &mut Vec<u8>)) -> u16 {
        self.by_way_of(move |number| {
            let mut random = Random::new(seed ^ number << 32);
            Box::new(move |mut server: &TcpStream, client: &mut TcpStream| {
                // Who waits for what was left out is not let wait.
                let _ = server.set_read_timeout(Some(Duration::from_millis(300)));
                let mut part = vec![0; 8192];
                while let Ok(count @ 1..) = server.read(&mut part) {
                    let mut bytes = part[..count].to_vec();
                    if random.below(4) == 0 {
                        change(&mut random, &mut bytes);
                    }
                    if client.write_all(&bytes).is_err() {
                        return;
                    }
                }
            })
        })
    }

    /// A way to it on which each connection's answers are passed as its number says. Gives its port.
    fn by_way_of(&self, way: impl Fn(u64) -> Answers + Send + 'static) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, to) = (listener.local_addr().unwrap().port(), self.port);
        thread::spawn(move || {
            for (number, client) in (0..).zip(listener.incoming().flatten()) {
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else { continue };
                join(client, server, way(number));
            }
        });
        port
    }
}

/// Passes what a server answers.
type Answers = Box<dyn FnOnce(&TcpStream, &mut TcpStream) + Send>;

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Passes bytes both ways; what the server answers, as long as it is passed.
fn join(client: TcpStream, server: TcpStream, answers: Answers) {
    let (mut from_client, mut to_server) =
        (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    thread::spawn(move || {
        let (mut client, server) = (client, server);
        answers(&server, &mut client);
        let _ = client.flush();
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
    });
}

/// A port that nobody has just now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// An authority of the test's own, and what it vouches for: localhost.
fn certificate(directory: &Path, door: Door) {
    // Tokens are signed by the older kind; the newer is made in a moment.
    let kind =
        if door == Door::Token { "rsa:2048" } else { "ec -pkeyopt ec_paramgen_curve:prime256v1" };
    let script = format!("set -e
        openssl req -x509 -newkey {kind} -nodes -keyout ca.key -out authority/ca.crt -days 2 -subj '/CN=test authority'
        openssl req -newkey {kind} -nodes -keyout server.key -out server.csr -subj /CN=localhost
        printf 'subjectAltName=DNS:localhost,DNS:registry.test,IP:127.0.0.1\\nbasicConstraints=CA:FALSE' > extensions
        openssl x509 -req -in server.csr -CA authority/ca.crt -CAkey ca.key -CAcreateserial -days 2 \
            -extfile extensions -out server.crt");
    let output = Command::new("sh").args(["-c", &script]).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn configuration(directory: &Path, port: u16, door: Door, tokens: Option<&TokenServer>) -> String {
    let at = directory.display();
    let mut config = format!(
        "version: 0.1\nlog:\n  level: warn\n  accesslog:\n    disabled: false\n\
         storage:\n  filesystem:\n    rootdirectory: {at}/blobs\n  delete:\n    enabled: true\n\
         http:\n  addr: 127.0.0.1:{port}\n"
    );
    if door != Door::Plain {
        config += &format!("  tls:\n    certificate: {at}/server.crt\n    key: {at}/server.key\n");
    }
    match (door, tokens) {
        (Door::Basic, _) => {
            fs::write(directory.join("passwords"), format!("{USER}:{PASSWORD_HASH}\n")).unwrap();
            config += &format!("auth:\n  htpasswd:\n    realm: test\n    path: {at}/passwords\n");
        }
        (Door::Token, Some(tokens)) => {
            config += &format!(
                "auth:\n  token:\n    realm: {}\n    service: test registry\n    issuer: test issuer\n    \
                 rootcertbundle: {at}/server.crt\n",
                tokens.realm()
            );
        }
        _ => {}
    }
    config
}
