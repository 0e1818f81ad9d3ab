//! What hostile bytes may reach: one target for each parser, a function from bytes to nothing.
//!
//! Owns: the targets and their names, each with a folder of inputs in `corpus/` that a test reruns. Never
//! does: decide what is right; that is for tests beside the code. A target fails by a panic, by memory
//! or by time.
//!
//! ```text
//!   make fuzz ─ libFuzzer, with coverage ─▶ target ─▶ what crashed is kept in corpus/TARGET/
//!   make test ─ every file of corpus/ ────▶ target
//! ```

#![allow(clippy::expect_used, reason = "what is checked here fails by a panic")]

mod bench_input;
mod copy_input;
mod image_input;
mod launcher_input;
mod network_input;
mod payload_input;
mod protocol_input;
mod scratch;

/// A parser that is fed hostile bytes.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, which its folder of inputs has too.
    pub name: &'static str,
    /// Feeds it.
    pub run: fn(&[u8]),
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "agent-event", run: protocol_input::event },
    Target { name: "agent-request", run: protocol_input::request },
    Target { name: "bench-record", run: bench_input::record },
    Target { name: "docker-archive-manifest", run: image_input::docker_archive_manifest },
    Target { name: "copied-archive", run: copy_input::archive },
    Target { name: "credentials", run: image_input::credentials },
    Target { name: "docker-ports", run: launcher_input::docker_ports },
    Target { name: "log-entries", run: launcher_input::log_entries },
    Target { name: "env-file", run: launcher_input::env_file },
    Target { name: "guest-driver", run: vmm::fuzzing::driver },
    Target { name: "guest-kernel", run: vmm::fuzzing::kernel },
    Target { name: "guest-net", run: vmm::fuzzing::net_ring },
    Target { name: "guest-registers", run: vmm::fuzzing::registers },
    Target { name: "guest-ring", run: vmm::fuzzing::disk_ring },
    Target { name: "guest-vsock", run: vmm::fuzzing::vsock_ring },
    Target { name: "guest-frames", run: network_input::frames },
    Target { name: "image-archive", run: image_input::archive },
    Target { name: "image-config", run: image_input::config },
    Target { name: "image-document", run: image_input::document },
    Target { name: "image-reference", run: image_input::reference },
    Target { name: "image-policy", run: image_input::policy },
    Target { name: "kvm-counts", run: launcher_input::kvm_counts },
    Target { name: "layer", run: image_input::layer },
    Target { name: "layer-image", run: image_input::image },
    Target { name: "layer-recipe", run: image_input::recipe },
    Target { name: "name-answer", run: network::read_hostile },
    Target { name: "openpgp", run: image::policy::read_hostile },
    Target { name: "program-trailer", run: payload_input::trailer },
    Target { name: "registries-conf", run: image_input::registries_conf },
    Target { name: "registry-answer", run: registry::read_hostile },
    Target { name: "run-again", run: launcher_input::run_again },
    Target { name: "sandbox-record", run: launcher_input::record },
    Target { name: "seccomp-profile", run: launcher_input::seccomp_profile },
    Target { name: "shared-directories", run: share::fuzzing::requests },
    Target { name: "testimony", run: launcher_input::testimony },
    Target { name: "vhost-user", run: vmm::fuzzing::vhost_user },
    Target { name: "volume-record", run: launcher_input::volume_record },
    Target { name: "words", run: launcher_input::words },
];

/// The target of this name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|target| target.name == name).copied()
}
