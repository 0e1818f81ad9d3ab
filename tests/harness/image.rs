//! The images that cases run: made from busybox and the guest tool, by nothing of the product's.
//!
//! Specification: OCI image-spec v1.1 (`image-layout.md`, `layer.md`).

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tar::{EntryType, Header};

const BUSYBOX: &str = "/bin/busybox";

/// The images of one place, as references.
#[derive(Debug, Clone, Default)]
pub struct Images {
    /// busybox with an ordinary configuration.
    pub plain: String,
    /// The same with everything an image's configuration can say.
    pub configured: String,
    /// The plain image, with a user besides root whose number is root's.
    pub second_root: String,
    /// Three layers with whiteouts and all else that part 0 is about.
    pub layered: String,
    /// One compressed layer that takes a moment to unpack.
    pub heavy: String,
    /// The plain image, and in a layer of its own a program that whoever starts it is root in.
    pub setuid: String,
    /// The plain image as an `oci-archive:` file.
    pub oci_archive: String,
    /// The plain image as a `docker-archive:` file.
    pub docker_archive: String,
    /// The demo's, as a directory, for those who ask for it: a Debian takes a moment to make.
    pub demo: String,
    /// Docker in Docker, likewise.
    pub docker: String,
    /// What a job of CI runs in, likewise.
    pub job_place: String,
    /// The guest tool itself, for use outside of guests.
    pub tool: String,
}

impl Images {
    /// Makes all of them in a directory.
    pub fn make(directory: &Path) -> Self {
        let tool = guest_tool();
        let base = base_layer(&tool);
        let oci = |name: &str, config: &Value, layers: &[Vec<u8>], gzip: bool| {
            let path = directory.join(name);
            write_oci(&path, config, layers, gzip);
            format!("oci:{}", path.display())
        };
        let plain_config = json!({ "Env": ["PATH=/bin"], "Cmd": ["sh"] });
        let plain = oci("plain", &plain_config, std::slice::from_ref(&base), false);
        let configured = json!({
            "Env": ["PATH=/bin", "FROM_IMAGE=yes", "OVERRIDDEN=image"],
            "Entrypoint": ["sh", "-c"],
            "Cmd": ["id -u; id -g; pwd; echo $FROM_IMAGE"],
            "User": "worker",
            "WorkingDir": "/srv/work",
            "StopSignal": "SIGUSR1",
            "Volumes": {"/declared": {}},
            "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1_000_000_000},
        });
        let mut toor = Layer::new();
        toor.file("etc/passwd", 0o644, b"root:x:0:0::/:/bin/sh\ntoor:x:0:0::/:/bin/sh\n");
        let second_root = json!({ "Env": ["PATH=/bin"], "User": "toor" });
        let layers = super::layered::layers(&base);
        Self {
            configured: oci("configured", &configured, std::slice::from_ref(&base), false),
            second_root: oci("second-root", &second_root, &[base.clone(), toor.finish()], false),
            layered: oci("layered", &plain_config, &layers, true),
            heavy: oci("heavy", &plain_config, &[base.clone(), heavy_layer()], true),
            setuid: oci("setuid", &plain_config, &[base.clone(), setuid_layer(&tool)], false),
            oci_archive: archive_of(directory, "plain"),
            docker_archive: docker_archive(directory, &plain_config, &base),
            plain,
            demo: String::new(),
            docker: String::new(),
            job_place: String::new(),
            tool: tool.display().to_string(),
        }
    }

    /// Adds the demo's.
    pub fn make_demo(&mut self) {
        self.demo = made(&["images", "demo"]);
    }

    /// Adds Docker's.
    pub fn make_docker(&mut self) {
        self.docker = format!("oci:{}", made(&["images", "docker"]));
    }

    /// Adds the place of a job of CI.
    pub fn make_job_place(&mut self) {
        self.job_place = made(&["job-place"]);
    }

    fn fields(&mut self) -> [(&'static str, &mut String); 12] {
        [
            ("plain", &mut self.plain),
            ("configured", &mut self.configured),
            ("second_root", &mut self.second_root),
            ("layered", &mut self.layered),
            ("heavy", &mut self.heavy),
            ("oci_archive", &mut self.oci_archive),
            ("docker_archive", &mut self.docker_archive),
            ("demo", &mut self.demo),
            ("docker", &mut self.docker),
            ("job_place", &mut self.job_place),
            ("setuid", &mut self.setuid),
            ("tool", &mut self.tool),
        ]
    }

    /// The references, for another process.
    pub fn to_json(&self) -> Value {
        let mut copy = self.clone();
        copy.fields().into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect()
    }

    /// The references that another process made.
    pub fn from_json(value: &Value) -> Self {
        let mut images = Self::default();
        for (name, field) in images.fields() {
            value[name].as_str().expect("a reference").clone_into(field);
        }
        images
    }
}

/// Has something made that takes a moment; gives its directory.
fn made(words: &[&str]) -> String {
    let mut xtask = Command::new(env!("CARGO"));
    xtask.arg("xtask").args(words).current_dir(super::workspace()).stderr(Stdio::inherit());
    let output = xtask.output().unwrap_or_else(|error| panic!("cannot start cargo: {error}"));
    assert!(output.status.success(), "cargo xtask {words:?}: {}", output.status);
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// Builds the static tool for guests; a moment's work where it has been built before.
fn guest_tool() -> PathBuf {
    let target = "x86_64-unknown-linux-gnu";
    let root = super::workspace();
    let output = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "--release", "--package", "tests"])
        .args(["--bin", "guest-tool", "--target", target, "--message-format", "json"])
        // Either would be taken in place of the line below.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", "-C target-feature=+crt-static")
        .current_dir(root)
        .output()
        .unwrap_or_else(|error| panic!("cannot start cargo: {error}"));
    assert!(output.status.success(), "guest-tool: {}", String::from_utf8_lossy(&output.stderr));
    let artifacts = String::from_utf8_lossy(&output.stdout).into_owned();
    artifacts
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .expect("cargo names the program that it built")
}

/// One tar archive, written entry by entry.
pub struct Layer(tar::Builder<Vec<u8>>);

impl Layer {
    /// An empty one.
    pub fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    fn add(&mut self, mut header: Header, path: &str, contents: &[u8]) {
        header.set_size(contents.len() as u64);
        header.set_mtime(1_767_225_600);
        self.0.append_data(&mut header, path, contents).expect("an entry is written");
    }

    /// A directory.
    pub fn directory(&mut self, path: &str, mode: u32, owner: u64) -> &mut Self {
        let header = header(EntryType::Directory, mode, owner);
        self.add(header, &format!("{path}/"), &[]);
        self
    }

    /// A file of root's.
    pub fn file(&mut self, path: &str, mode: u32, contents: &[u8]) -> &mut Self {
        self.add(header(EntryType::Regular, mode, 0), path, contents);
        self
    }

    /// A file with extended attributes, as PAX records.
    pub fn file_with_xattrs(
        &mut self,
        path: &str,
        mode: u32,
        contents: &[u8],
        xattrs: &[(&str, &[u8])],
    ) -> &mut Self {
        let names: Vec<String> =
            xattrs.iter().map(|(name, _)| format!("SCHILY.xattr.{name}")).collect();
        let records = names.iter().zip(xattrs).map(|(name, (_, value))| (name.as_str(), *value));
        self.0.append_pax_extensions(records).expect("extended attributes are written");
        self.file(path, mode, contents)
    }

    /// A hard or a symbolic link.
    pub fn link(&mut self, kind: EntryType, path: &str, target: &str) -> &mut Self {
        let mut header = header(kind, 0o777, 0);
        header.set_size(0);
        self.0.append_link(&mut header, path, target).expect("a link is written");
        self
    }

    /// A device node, or a FIFO.
    pub fn node(
        &mut self,
        kind: EntryType,
        path: &str,
        mode: u32,
        device: (u32, u32),
    ) -> &mut Self {
        let mut header = header(kind, mode, 0);
        header.set_device_major(device.0).expect("a major number");
        header.set_device_minor(device.1).expect("a minor number");
        self.add(header, path, &[]);
        self
    }

    /// The archive.
    pub fn finish(self) -> Vec<u8> {
        self.0.into_inner().expect("an archive is ended")
    }
}

fn header(kind: EntryType, mode: u32, owner: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(owner);
    header.set_gid(owner);
    header
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

fn setuid_layer(tool: &Path) -> Vec<u8> {
    let mut layer = Layer::new();
    layer.file("bin/setuid-root", 0o4755, &read(tool));
    layer.finish()
}

fn base_layer(tool: &Path) -> Vec<u8> {
    let mut layer = Layer::new();
    for path in ["bin", "dev", "etc", "proc", "root", "srv", "sys", "var"] {
        layer.directory(path, 0o755, 0);
    }
    layer
        .directory("tmp", 0o1777, 0)
        .directory("srv/work", 0o755, 1234)
        .directory("a-directory", 0o755, 0)
        .file(
            "etc/passwd",
            0o644,
            b"root:x:0:0:root:/root:/bin/sh\nworker:x:1234:2345::/:/bin/sh\n",
        )
        .file("etc/group", 0o644, b"root:x:0:\nworker:x:2345:\nstaff:x:50:worker\n")
        .file("not-executable", 0o644, b"just a text\n")
        .file("broken-program", 0o755, b"\x7fELF but not really\n")
        .file("bin/guest-tool", 0o755, &read(tool))
        .file("bin/busybox", 0o755, &read(Path::new(BUSYBOX)));
    let listed = Command::new(BUSYBOX).arg("--list").output();
    let listed = listed.unwrap_or_else(|error| panic!("cannot start {BUSYBOX}: {error}"));
    for applet in String::from_utf8_lossy(&listed.stdout).lines().filter(|name| *name != "busybox")
    {
        layer.link(EntryType::Symlink, &format!("bin/{applet}"), "busybox");
    }
    layer.finish()
}

/// Eight MiB that do not compress, in many files.
fn heavy_layer() -> Vec<u8> {
    let mut random = super::random::Random::new(7);
    let mut layer = Layer::new();
    layer.directory("heavy", 0o755, 0);
    for index in 0..128 {
        layer.file(&format!("heavy/{index}"), 0o644, &random.bytes(64 * 1024));
    }
    layer.finish()
}

fn config_bytes(config: &Value, layers: &[Vec<u8>]) -> Vec<u8> {
    let diff_ids: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
    let document = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": config,
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    document.to_string().into_bytes()
}

fn write_oci(directory: &Path, config: &Value, layers: &[Vec<u8>], gzip: bool) {
    let blobs = directory.join("blobs/sha256");
    fs::create_dir_all(&blobs).expect("a directory for blobs");
    let blob = |media_type: &str, bytes: &[u8]| {
        let digest = digest(bytes);
        let name = digest.trim_start_matches("sha256:");
        fs::write(blobs.join(name), bytes).expect("a blob is written");
        json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
    };
    let suffix = if gzip { "tar+gzip" } else { "tar" };
    let layer_type = format!("application/vnd.oci.image.layer.v1.{suffix}");
    let descriptors: Vec<Value> = layers
        .iter()
        .map(
            |layer| {
                if gzip { blob(&layer_type, &compress(layer)) } else { blob(&layer_type, layer) }
            },
        )
        .collect();
    let config = config_bytes(config, layers);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob("application/vnd.oci.image.config.v1+json", &config),
        "layers": descriptors,
    });
    let manifest =
        blob("application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes());
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    fs::write(directory.join("index.json"), index.to_string()).expect("an index is written");
    fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)
        .expect("a layout is written");
}

fn archive_of(directory: &Path, name: &str) -> String {
    let path = directory.join(format!("{name}.oci.tar"));
    let file = fs::File::create(&path).expect("an archive is made");
    let mut archive = tar::Builder::new(file);
    archive.append_dir_all(".", directory.join(name)).expect("an archive is written");
    archive.finish().expect("an archive is ended");
    format!("oci-archive:{}", path.display())
}

fn docker_archive(directory: &Path, config: &Value, layer: &[u8]) -> String {
    let layers = [layer.to_owned()];
    let config = config_bytes(config, &layers);
    let config_name = format!("{}.json", digest(&config).trim_start_matches("sha256:"));
    let manifest =
        json!([{ "Config": config_name, "RepoTags": ["plain:latest"], "Layers": ["l/layer.tar"] }]);
    let mut archive = Layer::new();
    archive.file(&config_name, 0o644, &config).file("l/layer.tar", 0o644, layer).file(
        "manifest.json",
        0o644,
        manifest.to_string().as_bytes(),
    );
    let path = directory.join("plain.docker.tar");
    fs::write(&path, archive.finish()).expect("an archive is written");
    format!("docker-archive:{}", path.display())
}

fn compress(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory takes all bytes")
}

/// The digest of some bytes, as OCI writes it.
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(bytes))
}

/// The digest of all that a reader gives, and how many bytes that was.
pub fn digest_of(reader: &mut impl io::Read) -> io::Result<(String, u64)> {
    let mut hash = Sha256::new();
    let count = io::copy(reader, &mut hash)?;
    Ok((format!("sha256:{:x}", hash.finalize()), count))
}
