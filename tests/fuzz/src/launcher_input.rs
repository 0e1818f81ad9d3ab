//! What is typed, and what files that a user names or a killed process left may hold.

use launcher::capabilities;
use launcher::cli::{self, Command, Parsed};
use launcher::host::process::ProcessStatus;
use launcher::host::{HostFacts, NamedInputs, mounts};
use launcher::log::Entry;
use launcher::plan::RunPlan;
use launcher::state::{Again, Record};
use launcher::supervisor::DockerPortsReader;
use protocol::Testimony;
use protocol::frame::Decoder;
use std::sync::OnceLock;

/// A command line of `run`, one argument a line, to its plan.
pub fn words(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    plan(text.lines(), &NamedInputs::default());
}

/// A file of variables.
pub fn env_file(bytes: &[u8]) {
    let mut inputs = NamedInputs::default();
    inputs.env_files.push(("variables".into(), bytes.to_vec()));
    plan(["--env-file", "variables", "oci:image"], &inputs);
}

fn plan<'a>(words: impl IntoIterator<Item = &'a str>, inputs: &NamedInputs) {
    static FACTS: OnceLock<HostFacts> = OnceLock::new();
    let line = ["cofferdam", "run"].into_iter().chain(words);
    if let Ok(Parsed::Command(Command::Run(args))) = cli::parse(line) {
        let _ = RunPlan::resolve(&args, inputs, FACTS.get_or_init(HostFacts::ask));
    }
}

/// A seccomp profile in Docker's form.
pub fn seccomp_profile(bytes: &[u8]) {
    let _ = launcher::seccomp::parse(bytes, capabilities::docker_default());
}

/// A file of what KVM counts, from a VMM that a guest may have taken over.
pub fn kvm_counts(bytes: &[u8]) {
    let _ = launcher::accelerator::kvm_counts::parse(bytes);
}

/// What a guest's watch says of the ports that Docker publishes there, however the bytes are cut.
pub fn docker_ports(bytes: &[u8]) {
    let Some((piece, bytes)) = bytes.split_first() else { return };
    let mut reader = DockerPortsReader::default();
    for part in bytes.chunks(usize::from(*piece).max(1)) {
        if reader.read(part).is_err() {
            return;
        }
    }
}

/// A file of what a detached sandbox has said, a line at a time; what is one of ours holds no more than its line.
pub fn log_entries(bytes: &[u8]) {
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        if let Some(entry) = Entry::parse(line) {
            assert!(entry.text.len() < line.len() && !entry.text.contains(&b'\n'));
        }
    }
}

/// What is kept of a run.
pub fn run_again(bytes: &[u8]) {
    let _ = serde_json::from_slice::<Again>(bytes);
}

/// The record of a sandbox.
pub fn record(bytes: &[u8]) {
    let _ = serde_json::from_slice::<Record>(bytes);
}

/// The record of a volume.
pub fn volume_record(bytes: &[u8]) {
    let _ = serde_json::from_slice::<launcher::volumes::Record>(bytes);
}

/// What the kernel says of a process and its mounts, in the words of a witness in the guest.
pub fn testimony(bytes: &[u8]) {
    let mut decoder = Decoder::default();
    decoder.push(bytes);
    if let Ok(Some(said)) = decoder.next::<Testimony>() {
        let _ = ProcessStatus::parse(&said.status);
        let mounts = mounts::parse(&said.mounts);
        assert!(mounts.len() <= said.mounts.lines().count());
    }
    let text = String::from_utf8_lossy(bytes);
    let _ = (ProcessStatus::parse(&text), mounts::parse(&text));
}
