//! Real servers and their clients, as Debian has them: a tree outside, and the same one as an image.
//!
//! Owns: the tree, what servers serve in there, and those that run outside. Never does: decide what a client is to say
//! (`tests/real-clients/ask` asks, a case compares).
//!
//! ```text
//!   image ── container: ask ──▶ outside: serve ── tree
//!   image ── container: serve ◀── published ports ── outside: ask ── tree
//! ```

use super::nets::Nets;
use super::{Random, Sandbox, World, image, workspace};
use serde_json::Value;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Bytes of the one file that all that is served is made of.
const BIG: usize = 50_000_000;
/// Where both ends have what `goods` makes, and the programs of `tests/real-clients`.
const GOODS: &str = "/goods";
const PROGRAMS: &str = "/real-clients";
/// What serves, at either end.
pub const SERVE: [&str; 2] = ["/real-clients/serve", GOODS];
/// Has a tree as its root; ends with whoever started it.
const ENTER: &str = "set -e; tree=$0
    mount -t proc proc \"$tree/proc\"; mount --rbind /dev \"$tree/dev\"
    mount --bind \"$1\" \"$tree/goods\"; mount --bind \"$2\" \"$tree/real-clients\"; shift 2
    exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot \"$tree\" \"$@\"";

/// A Debian with real servers and clients, and what they serve.
pub struct Real {
    /// It as an image.
    pub image: String,
    /// The file that all that is served is made of.
    pub big: Vec<u8>,
    /// The newest commit of the repository that is served.
    pub head: String,
    place: PathBuf,
}

impl Real {
    /// Unpacks it, and makes what servers by these names serve; outside they have these addresses.
    pub fn new(world: &World, hosts: &[(&str, &str)], nets: &Nets) -> Self {
        let image = made();
        let place = world.scratch_file("real");
        let big = Random::new(world.seed).bytes(BIG);
        let mut real =
            Self { image: format!("oci:{}", image.display()), big, head: String::new(), place };
        let tree = real.tree();
        for directory in [&tree, &real.goods()] {
            fs::create_dir_all(directory).unwrap();
        }
        let mut tar = Command::new("tar");
        tar.args(["--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf"]).arg(layer(&image));
        succeeds(tar.arg("-C").arg(&tree));
        for directory in [GOODS, PROGRAMS] {
            fs::create_dir_all(tree.join(&directory[1..])).unwrap();
        }
        let lines = hosts.iter().map(|(name, address)| format!("{address} {name}\n"));
        let known = format!("127.0.0.1 localhost\n{}", lines.collect::<String>());
        fs::write(tree.join("etc/hosts"), known).unwrap();
        fs::write(real.goods().join("big"), &real.big).unwrap();
        let names = ["server.test", "*.server.test", "place.test", "*.place.test"];
        succeeds(real.outside(nets, &["/real-clients/goods", GOODS]).args(names));
        real.head = fs::read_to_string(real.goods().join("head")).unwrap().trim().to_owned();
        real
    }

    /// A program in the tree, outside.
    pub fn outside(&self, nets: &Nets, words: &[&str]) -> Command {
        let mut command = nets.command_outside("setpriv");
        let apart = ["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", ENTER];
        command.args(["--pdeathsig", "KILL", "unshare"]).args(apart);
        command.args([&self.tree(), &self.goods(), &programs()]);
        command.args(words);
        command
    }

    /// A run of the image, with the programs and the goods.
    pub fn sandbox<'w>(&self, world: &'w World, nets: &Nets) -> Sandbox<'w> {
        let goods = format!("{}:{GOODS}:ro", self.goods().display());
        let programs = format!("{}:{PROGRAMS}:ro", programs().display());
        let sandbox = nets.sandbox(world).image(&self.image).machine("1g", "1");
        sandbox.flags(&["-v", &goods, "-v", &programs, "--boot-timeout=300"])
    }

    /// Starts the servers outside.
    pub fn serve(&self, nets: &Nets) -> Servers {
        let mut command = self.outside(nets, &SERVE);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut servers = Servers(child);
        let said = servers.0.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(said).lines();
        let first = lines.next().expect("they say something").unwrap();
        let rest = || lines.collect::<io::Result<Vec<_>>>();
        assert!(first == "serving", "{first} {:?}", rest());
        servers
    }

    /// The beginning of the digest of its first bytes, so many after the first ones.
    pub fn digest(&self, from: usize, count: usize) -> String {
        short(&self.big[from..from + count])
    }

    fn tree(&self) -> PathBuf {
        self.place.join("tree")
    }

    fn goods(&self) -> PathBuf {
        self.place.join("goods")
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.place);
    }
}

/// Servers outside, which end with it.
pub struct Servers(Child);

impl Drop for Servers {
    fn drop(&mut self) {
        // All of them: what they run in ends.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The beginning of a digest, as clients print it.
pub fn short(bytes: &[u8]) -> String {
    image::digest(bytes)["sha256:".len()..][..16].to_owned()
}

fn programs() -> PathBuf {
    workspace().join("tests/real-clients")
}

/// The image's directory; made anew, which takes minutes, where Debian has newer packages.
fn made() -> PathBuf {
    let mut xtask = Command::new(env!("CARGO"));
    xtask.args(["xtask", "images", "clients"]).current_dir(workspace()).stderr(Stdio::inherit());
    let output = xtask.output().unwrap_or_else(|error| panic!("cannot start cargo: {error}"));
    assert!(output.status.success(), "cargo xtask images clients: {}", output.status);
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim_end())
}

/// The file of its one layer.
fn layer(image: &Path) -> PathBuf {
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().expect("a digest");
        image.join("blobs/sha256").join(digest.trim_start_matches("sha256:"))
    };
    let read = |path: &Path| -> Value {
        serde_json::from_reader(File::open(path).unwrap()).expect("a document")
    };
    let index = read(&image.join("index.json"));
    let manifest = read(&blob(&index["manifests"][0]));
    blob(&manifest["layers"][0])
}

fn succeeds(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {words}");
}
