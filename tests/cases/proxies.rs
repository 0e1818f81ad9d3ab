//! Registries that are reached through a proxy alone.

use crate::cases;
use crate::harness::product::collect;
use crate::harness::registry::{Door, Registry, free_port};
use crate::harness::{Output, Running, World};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

cases! {
    Tcg: a_proxy_stands_between;
}

/// A proxy that says what it was asked for.
struct Proxy {
    process: Child,
    port: u16,
    said: Option<JoinHandle<Vec<u8>>>,
}

impl Proxy {
    /// One that passes connections to one port, to who knows the password if there is one.
    fn start(world: &World, to: u16, password: Option<&str>) -> Self {
        let port = free_port();
        let door = password.map_or_else(String::new, |it| format!("BasicAuth guest {it}\n"));
        let settings = format!(
            "Port {port}\nListen 127.0.0.1\nTimeout 60\nLogLevel Connect\nConnectPort {to}\n{door}"
        );
        let settings = world.file("tinyproxy.conf", &settings);
        let mut process = Command::new("tinyproxy")
            .arg("-d")
            .arg("-c")
            .arg(settings)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("tinyproxy: {error}"));
        let said = Some(collect(process.stdout.take().unwrap()));
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "tinyproxy does not listen");
            sleep(Duration::from_millis(20));
        }
        Self { process, port, said }
    }

    /// How many connections it was asked for.
    fn asked(mut self) -> usize {
        self.process.kill().unwrap();
        let said = self.said.take().unwrap().join().unwrap();
        String::from_utf8_lossy(&said).matches("CONNECT localhost").count()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn a_proxy_stands_between(world: &World) {
    let registry = Registry::start(world, Door::Open);
    let name = registry.push(&world.images.plain, "test/plain:v1");
    let authority = registry.authority().display().to_string();
    let pull = |variables: &[(&str, &str)]| -> Output {
        let mut command = Command::new(&world.product);
        command.args(["pull", &name, "--state-dir"]).arg(world.fresh_state());
        command.env_clear().env("SSL_CERT_FILE", &authority).envs(variables.iter().copied());
        Running::start(command, None).wait()
    };
    let open = Proxy::start(world, registry.port(), None);
    let url = format!("http://127.0.0.1:{}", open.port);
    pull(&[("HTTPS_PROXY", &url)]).exits(0);
    pull(&[("https_proxy", &url), ("NO_PROXY", "elsewhere,localhost")]).exits(0);
    assert!((1..10).contains(&open.asked()));

    let closed = Proxy::start(world, registry.port(), Some("let-me"));
    let known = format!("http://guest:let-me@127.0.0.1:{}", closed.port);
    let unknown = format!("http://guest:let-us@127.0.0.1:{}", closed.port);
    pull(&[("all_proxy", &known)]).exits(0);
    let refused = pull(&[("HTTPS_PROXY", &unknown)]);
    refused.exits(125).complains(&["proxy", "hint:"]);
    assert!(!refused.stderr.contains("let-us"));
    pull(&[("HTTPS_PROXY", "http://127.0.0.1:1")]).exits(125).complains(&["proxy", "hint:"]);
    pull(&[("HTTPS_PROXY", "no url")]).exits(125).complains(&["proxy"]);
    assert!(closed.asked() > 1);
}
