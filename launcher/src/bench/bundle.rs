//! What an OCI runtime is told: a container on this machine's own files, as `crun spec` has it, whose program is said anew
//! for each start.
//!
//! Specification: OCI runtime-spec v1.1, `config.md` and `config-linux.md`.

use rustix::fs::{MemfdFlags, memfd_create};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU32, Ordering};

/// What the name of a container of ours begins with; this process's number follows, and one of its own.
const PREFIX: &str = "cofferdam-bench-";

/// A configuration in memory.
#[derive(Debug)]
pub struct Bundle {
    config: File,
    started: AtomicU32,
}

impl Bundle {
    /// One that says nothing yet.
    ///
    /// # Errors
    /// Where there is no memory for it.
    pub fn new() -> io::Result<Self> {
        let config = File::from(memfd_create("config", MemfdFlags::CLOEXEC)?);
        Ok(Self { config, started: AtomicU32::new(0) })
    }

    /// The runtime's arguments for a container of this program. Who calls it again says what the next one runs, so that this
    /// one must have been started by then.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn arguments(&self, program: &[&str]) -> io::Result<[String; 4]> {
        let mut config = &self.config;
        config.set_len(0)?;
        config.rewind()?;
        config.write_all(configuration(program).to_string().as_bytes())?;
        let path = format!("--config=/proc/{}/fd/{}", std::process::id(), config.as_raw_fd());
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        Ok(["run".to_owned(), path, "--bundle=/".to_owned(), format!("{}{number}", prefix())])
    }
}

/// What the names of this bench's containers begin with.
pub fn prefix() -> String {
    format!("{PREFIX}{}-", std::process::id())
}

fn configuration(program: &[&str]) -> Value {
    let capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
    let mount = |destination: &str, kind: &str, options: &[&str]| {
        let options = [&["nosuid", "noexec"], options].concat();
        json!({ "destination": destination, "type": kind, "source": kind, "options": options })
    };
    let namespaces = ["pid", "network", "ipc", "uts", "mount"].map(|kind| json!({ "type": kind }));
    json!({
        "ociVersion": "1.0.0",
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": program,
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
            },
            "noNewPrivileges": true,
        },
        "root": { "path": "/" },
        "mounts": [
            mount("/proc", "proc", &["nodev"]),
            mount("/dev", "tmpfs", &["strictatime", "mode=755", "size=65536k"]),
            mount("/dev/shm", "tmpfs", &["nodev", "mode=1777", "size=65536k"]),
        ],
        "linux": {
            "namespaces": namespaces,
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_last_program_is_the_one_that_is_read() {
        let bundle = Bundle::new().unwrap();
        let first = bundle.arguments(&["sh", "-c", "a rather long script"]).unwrap();
        let second = bundle.arguments(&["echo", "x"]).unwrap();
        assert_eq!(first[..3], second[..3]);
        assert_ne!(first[3], second[3]);
        let text = fs::read_to_string(second[1].trim_start_matches("--config=")).unwrap();
        let config: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(config["process"]["args"], json!(["echo", "x"]));
    }
}
