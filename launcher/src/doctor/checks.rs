//! Facts → checks → verdict. Pure.

use super::report::{Check, Level, Report, Verdict};
use crate::capabilities;
use crate::host::kvm::{DEVICE, KvmFacts};
use crate::host::network::Kinds;
use crate::host::place::{LandlockFacts, QEMU};
use crate::host::process::SeccompMode;
use crate::host::{KvmProbe, Survey};
use crate::plan::size::{MIB, show};
use crate::plan::vm_size;
use protocol::CapabilitySet;

/// A layer takes one descriptor, a process a dozen.
const FEW_DESCRIPTORS: u64 = 256;
/// Fewer do not do for one sandbox.
const TOO_FEW_DESCRIPTORS: u64 = 64;
/// What a network process has open beside its flows.
const NETWORK_DESCRIPTORS: u64 = 64;
/// What a small image and its writable disk take.
const LITTLE_SPACE_BYTES: u64 = 512 * MIB;
/// In less not even an empty disk and a record fit.
const TOO_LITTLE_SPACE_BYTES: u64 = 8 * MIB;
/// Threads of all the processes of a sandbox beside those that run its CPUs.
const SANDBOX_THREADS: u64 = 16;
/// This lets a process be confined to what it may reach by name.
const USEFUL_LANDLOCK_ABI: i64 = 1;

/// Looks at everything.
pub fn examine(survey: &Survey) -> Report {
    let mut checks = kvm(survey);
    checks.push(qemu(survey));
    checks.push(memory(survey));
    checks.push(cpus(survey));
    checks.push(state_dir(survey));
    checks.push(descriptors(survey));
    checks.push(network(survey));
    checks.extend(process(survey));
    checks.push(landlock(survey));
    checks.push(own_filters(survey));
    checks.push(shared_memory(survey));
    checks.push(Check::ok("kernel", survey.kernel_release.clone()));
    checks.push(guest(survey));
    checks.push(processes(survey));
    checks.push(system_calls(survey));
    let verdict = verdict(survey, &checks);
    Report { checks, verdict }
}

/// What `--accel auto` will make of this place.
enum Accelerator {
    Kvm,
    /// With why it is not KVM.
    Tcg(String),
    /// With why there is none.
    None(String),
}

fn accelerator(survey: &Survey) -> Accelerator {
    let reason = match &survey.kvm {
        // As `run` has it: a device that may not be opened is an error, not a reason to be slow.
        KvmFacts::Refused { .. } => {
            return Accelerator::None(format!("{DEVICE} may not be opened"));
        }
        KvmFacts::Open(_) => match &survey.probe {
            Some(KvmProbe { useless: None, .. }) => return Accelerator::Kvm,
            Some(KvmProbe { useless: Some(why), .. }) => why.clone(),
            None => "KVM was not probed".to_owned(),
        },
        KvmFacts::Absent(_) | KvmFacts::NoDevice => format!("there is no {DEVICE}"),
    };
    match &survey.qemu {
        Some(qemu) if qemu.version.is_some() => Accelerator::Tcg(reason),
        Some(_) => Accelerator::None(format!("{reason}, and {QEMU} does not run")),
        None => Accelerator::None(format!("{reason}, and {QEMU} is not installed")),
    }
}

fn verdict(survey: &Survey, checks: &[Check]) -> Verdict {
    let failed: Vec<&str> =
        checks.iter().filter(|c| c.status == Level::Fail).map(|check| check.name).collect();
    let (accelerator, summary) = match accelerator(survey) {
        Accelerator::Kvm => ("kvm", "run will work, on KVM".to_owned()),
        Accelerator::Tcg(reason) => {
            ("tcg", format!("run will work, on QEMU's TCG: slow, and no hardware wall ({reason})"))
        }
        Accelerator::None(reason) => {
            let named = match (&survey.kvm, &survey.qemu) {
                (KvmFacts::Refused { .. }, Some(_)) => "; run --accel tcg will, slowly",
                _ => "",
            };
            let summary = format!("run will not work: {reason}{named}");
            return Verdict { works: false, accelerator: None, summary };
        }
    };
    if failed.is_empty() {
        Verdict { works: true, accelerator: Some(accelerator), summary }
    } else {
        let summary = format!("run will not work: see {}", failed.join(", "));
        Verdict { works: false, accelerator: None, summary }
    }
}

fn kvm(survey: &Survey) -> Vec<Check> {
    let without = |value: String, hint: &str| match has_fallback(survey) {
        true => Check::warn("kvm-device", value, hint),
        false => Check::fail("kvm-device", value, hint),
    };
    let device = match &survey.kvm {
        KvmFacts::Absent(error) => {
            return vec![without(
                format!("no {DEVICE} ({error})"),
                "start the outer container with --device /dev/kvm, where the host has one",
            )];
        }
        KvmFacts::NoDevice => {
            return vec![without(
                format!("{DEVICE} is no device"),
                "start the outer container with --device /dev/kvm, not with --volume",
            )];
        }
        KvmFacts::Refused { owner, error } => {
            return vec![
                Check::ok("kvm-device", owned(owner)),
                Check::fail(
                    "kvm-open",
                    format!("cannot open {DEVICE}: {error}"),
                    owner.access_hint(),
                ),
            ];
        }
        KvmFacts::Open(device) => device,
    };
    let mut checks = vec![
        Check::ok("kvm-device", owned(&device.owner)),
        Check::ok("kvm-open", "for reading and writing"),
    ];
    checks.extend(probe(survey));
    checks
}

fn owned(owner: &crate::host::kvm::DeviceOwner) -> String {
    let user = if owner.uid == 0 { "root".to_owned() } else { format!("user {}", owner.uid) };
    format!("{DEVICE} belongs to {user}, group {}, mode {:04o}", owner.group_label(), owner.mode)
}

/// Whether QEMU can take over from a KVM that fails.
fn has_fallback(survey: &Survey) -> bool {
    survey.qemu.as_ref().is_some_and(|qemu| qemu.version.is_some())
}

/// What the probe found: what KVM offers, then what it is worth.
fn probe(survey: &Survey) -> Vec<Check> {
    let Some(probe) = &survey.probe else { return Vec::new() };
    let fallback = has_fallback(survey);
    let speed = probe.mips.map(|mips| format!("{mips:.0} million instructions a second in ring 0"));
    let api = match (&probe.refused, fallback) {
        (None, _) => Check::ok("kvm-api", "all that is needed"),
        (Some(refused), true) => {
            return vec![Check::warn("kvm-api", refused, "run falls back to QEMU's TCG")];
        }
        (Some(refused), false) => {
            return vec![Check::fail("kvm-api", refused, "use an image that has QEMU")];
        }
    };
    let worth = match (&probe.useless, fallback) {
        (None, _) => Check::ok("kvm-probe", speed.unwrap_or_else(|| "works".to_owned())),
        (Some(why), true) => {
            Check::warn("kvm-probe", with_speed(why, speed), "run falls back to QEMU's TCG")
        }
        (Some(why), false) => Check::fail(
            "kvm-probe",
            with_speed(why, speed),
            "use a host with hardware virtualisation, or an image that has QEMU (cofferdam:tcg)",
        ),
    };
    vec![api, worth]
}

fn with_speed(why: &str, speed: Option<String>) -> String {
    match speed {
        Some(speed) if !why.contains("million") => format!("{why} ({speed})"),
        _ => why.to_owned(),
    }
}

fn qemu(survey: &Survey) -> Check {
    match &survey.qemu {
        None => Check::ok("qemu", "not installed: there is no fallback where KVM fails"),
        Some(qemu) => match &qemu.version {
            Some(version) => Check::ok("qemu", format!("{} {version}", qemu.path.display())),
            None => Check::warn(
                "qemu",
                format!("{} does not say its version: it is no fallback", qemu.path.display()),
                "run it by hand with --version",
            ),
        },
    }
}

fn memory(survey: &Survey) -> Check {
    let memory = &survey.host.memory;
    let place = match memory.limit_bytes.filter(|&limit| limit < memory.total_bytes) {
        Some(limit) => format!("limit {} of {}", rounded(limit), rounded(memory.total_bytes)),
        None => format!("{}, no limit", rounded(memory.total_bytes)),
    };
    match vm_size::default_memory_bytes(memory, is_tcg(survey)) {
        Ok(bytes) => {
            Check::ok("memory", format!("{place}: a VM gets {} by default", rounded(bytes)))
        }
        Err(error) => {
            let hint = crate::error::Explain::hint(&error).unwrap_or_default();
            Check::fail("memory", format!("{place}: {error}"), hint)
        }
    }
}

fn is_tcg(survey: &Survey) -> bool {
    matches!(accelerator(survey), Accelerator::Tcg(_))
}

/// Sizes of places are rarely round: whole MiB tell enough.
fn rounded(bytes: u64) -> String {
    show(bytes - bytes % MIB)
}

fn cpus(survey: &Survey) -> Check {
    let cpus = &survey.host.cpus;
    let quota = cpus.quota_micros.map_or_else(
        || "no quota".to_owned(),
        |micros| format!("quota {}.{:02} CPUs", micros / 1_000_000, micros % 1_000_000 / 10_000),
    );
    let vcpus = vm_size::default_vcpus(cpus, is_tcg(survey));
    Check::ok("cpus", format!("{} usable, {quota}: a VM gets {vcpus} by default", cpus.usable))
}

fn state_dir(survey: &Survey) -> Check {
    const NAME: &str = "state-directory";
    let path = survey.state_dir.path.display();
    let mount_hint = || {
        format!(
            "mount a writable directory there, owned by user {} (docker run --tmpfs {path} or --volume \
             NAME:{path}), or name another with --state-dir",
            survey.process.uid
        )
    };
    let missing = !survey.state_dir.exists;
    let found = match &survey.state_dir.found {
        Ok(found) if missing && found.writable.is_err() => {
            return Check::fail(NAME, format!("no {path}, and it cannot be made"), mount_hint());
        }
        Ok(found) => found,
        Err(error) => {
            return Check::fail(NAME, format!("cannot open {path}: {error}"), mount_hint());
        }
    };
    if let Err(error) = found.writable {
        return Check::fail(NAME, format!("cannot write to {path}: {error}"), mount_hint());
    }
    if let Some(foreign) = &found.foreign {
        let hint = "give it an empty directory, or the version and the user that made this one";
        return Check::fail(NAME, foreign.clone(), hint);
    }
    let made = if missing { "will be made; " } else { "" };
    let nameless = if found.nameless_files { "" } else { ", no O_TMPFILE" };
    // What lies in a tmpfs is charged to the cgroup that wrote it.
    let counted = survey.limits.memory_bytes.is_some() && found.file_system == "tmpfs";
    let counted = if counted { ", counts towards the memory limit" } else { "" };
    let value = format!(
        "{path}: {made}{}, {} free{nameless}{counted}",
        found.file_system,
        rounded(found.free_bytes)
    );
    let hint =
        format!("images and writable disks need space: {} or more", show(LITTLE_SPACE_BYTES));
    match found.free_bytes {
        ..TOO_LITTLE_SPACE_BYTES => Check::fail(NAME, value, hint),
        TOO_LITTLE_SPACE_BYTES..LITTLE_SPACE_BYTES => Check::warn(NAME, value, hint),
        _ => Check::ok(NAME, value),
    }
}

fn descriptors(survey: &Survey) -> Check {
    const NAME: &str = "descriptors";
    let (soft, hard) = survey.process.descriptors;
    let word = |limit: Option<u64>| limit.map_or_else(|| "unlimited".to_owned(), |n| n.to_string());
    let value = format!("soft limit {}, hard limit {}", word(soft), word(hard));
    let hint = "start the outer container with --ulimit nofile=1024:1024";
    match hard {
        Some(hard) if hard < TOO_FEW_DESCRIPTORS => Check::fail(NAME, value, hint),
        Some(hard) if hard < FEW_DESCRIPTORS => Check::warn(NAME, value, hint),
        _ => Check::ok(NAME, value),
    }
}

/// What a container's network has here.
fn network(survey: &Survey) -> Check {
    const NAME: &str = "network";
    let out = match survey.network.leads_out {
        Kinds { ipv4: true, ipv6: true } => "IPv4 and IPv6 lead out",
        Kinds { ipv4: true, ipv6: false } => "IPv4 leads out",
        Kinds { ipv4: false, ipv6: true } => "IPv6 leads out",
        Kinds { ipv4: false, ipv6: false } => "nothing leads out",
    };
    let process = &survey.process;
    let groups = || process.groups.iter().chain([&process.gid]);
    let has_echo =
        survey.echo_groups.as_ref().is_some_and(|open| groups().any(|group| open.contains(group)));
    let echo = if has_echo { "" } else { ", no ping" };
    let flows = match process.descriptors.1 {
        None => "as many flows as there is memory for".to_owned(),
        Some(hard) => format!("up to {} flows", hard.saturating_sub(NETWORK_DESCRIPTORS)),
    };
    let value = format!("{out}{echo}, {flows}");
    // A place that is given no network is given none on purpose, and has nothing to ping.
    if has_echo || survey.network.leads_out == Kinds::default() {
        return Check::ok(NAME, value);
    }
    let range = "to let a container ping, add --sysctl net.ipv4.ping_group_range=";
    Check::warn(NAME, value, format!("{range}\"{0} {0}\"", process.gid))
}

fn processes(survey: &Survey) -> Check {
    const NAME: &str = "processes";
    let vcpus = u64::from(vm_size::default_vcpus(&survey.host.cpus, is_tcg(survey)));
    let needed = SANDBOX_THREADS + vcpus;
    match survey.limits.pids {
        None => Check::ok(NAME, "no limit"),
        Some(limit) if limit >= needed => Check::ok(NAME, format!("limit {limit}")),
        Some(limit) => Check::fail(
            NAME,
            format!("limit {limit}: a sandbox of {vcpus} CPUs has up to {needed} threads"),
            "give the outer container more (docker run --pids-limit)",
        ),
    }
}

fn guest(survey: &Survey) -> Check {
    match &survey.no_guest {
        None => Check::ok("guest", "its kernel and its agent are in this program"),
        Some(error) => Check::fail(
            "guest",
            crate::error::chain(error),
            "use the binary that make build leaves in dist/",
        ),
    }
}

fn system_calls(survey: &Survey) -> Check {
    match survey.denied_calls.as_slice() {
        [] => Check::ok("system-calls", "all that are needed"),
        denied => Check::fail(
            "system-calls",
            format!("{} cannot be used here", denied.join(" and ")),
            "use Linux 5.9 or newer, and an engine whose default seccomp profile knows them",
        ),
    }
}

/// What this process may do that it need not: each is a wall that is missing outside.
fn process(survey: &Survey) -> Vec<Check> {
    let facts = &survey.process;
    let ids = format!("uid {}, gid {}, groups {:?}", facts.uid, facts.gid, facts.groups);
    let user = match facts.uid {
        0 => Check::warn("user", ids, "the outer container needs no root: add --user 1000:1000"),
        _ => Check::ok("user", ids),
    };
    let held = facts.capabilities.map(|bits| capabilities::names(CapabilitySet(bits)));
    let capabilities = match held.as_deref() {
        None => Check::ok("capabilities", "not told by the kernel"),
        Some([]) => Check::ok("capabilities", "none"),
        Some(names) => Check::warn(
            "capabilities",
            format!("{} of them, with {}", names.len(), names.first().map_or("", String::as_str)),
            "none is needed: add --cap-drop all",
        ),
    };
    let no_new_privileges = match facts.no_new_privileges {
        Some(false) => Check::warn(
            "no-new-privileges",
            "off",
            "add --security-opt no-new-privileges to the outer container",
        ),
        Some(true) => Check::ok("no-new-privileges", "on"),
        None => Check::ok("no-new-privileges", "not told by the kernel"),
    };
    let seccomp = match facts.seccomp {
        Some(SeccompMode::Filter(0)) => Check::ok("seccomp", "filtered"),
        Some(SeccompMode::Filter(count)) => Check::ok("seccomp", format!("filtered by {count}")),
        Some(SeccompMode::Strict) => {
            Check::fail("seccomp", "strict mode", "leave the engine's default profile in force")
        }
        Some(SeccompMode::Off) => Check::warn(
            "seccomp",
            "off",
            "the engine's default profile is enough: leave out --security-opt seccomp=unconfined",
        ),
        None => Check::ok("seccomp", "not told by the kernel"),
    };
    let label = Check::ok("label", facts.label.clone().unwrap_or_else(|| "none".to_owned()));
    vec![user, capabilities, no_new_privileges, seccomp, label]
}

fn landlock(survey: &Survey) -> Check {
    const NAME: &str = "landlock";
    const LOST: &str = "the filters of system calls still close files to all but the launcher and QEMU, which \
                        it alone confines";
    match &survey.landlock {
        LandlockFacts::Abi(abi) if *abi >= USEFUL_LANDLOCK_ABI => {
            Check::ok(NAME, format!("ABI {abi}: {}", what_it_closes(*abi)))
        }
        LandlockFacts::Abi(abi) => Check::warn(NAME, format!("ABI {abi}"), LOST),
        LandlockFacts::NotBuilt => Check::warn(
            NAME,
            "the kernel does not have it",
            format!("{LOST}: use Linux 5.13 or newer"),
        ),
        LandlockFacts::Disabled => Check::warn(
            NAME,
            "the kernel has it switched off",
            format!("{LOST}: boot the host with lsm=landlock,…"),
        ),
        LandlockFacts::Filtered => Check::warn(
            NAME,
            "the engine's seccomp profile forbids it",
            format!("{LOST}: use Docker 20.10.12 or newer"),
        ),
        LandlockFacts::Failed(errno) => Check::warn(NAME, format!("error {errno}"), LOST),
    }
}

/// What this version of Landlock closes to our processes, and what the filters have to close without it.
fn what_it_closes(abi: i64) -> &'static str {
    match abi {
        6.. => "files, TCP ports, signals and abstract sockets",
        4.. => "files and TCP ports; the filters close signals, and 6 would, too",
        _ => "files; the filters close ports and signals, and 6 would, too",
    }
}

fn own_filters(survey: &Survey) -> Check {
    const NAME: &str = "own-filters";
    if survey.own_filters {
        return Check::ok(NAME, "each process filters its system calls");
    }
    Check::warn(
        NAME,
        "no process can filter its system calls",
        "whoever takes one over has the engine's filter before him, and no other: use a kernel with \
         CONFIG_SECCOMP_FILTER, and an engine that lets it be used",
    )
}

fn shared_memory(survey: &Survey) -> Check {
    match survey.shared_memory_bytes {
        Some(bytes) => Check::ok("shared-memory", format!("/dev/shm has {}", rounded(bytes))),
        None => Check::ok("shared-memory", "no /dev/shm: none is needed"),
    }
}
