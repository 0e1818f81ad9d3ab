//! What is to be seen of the outer container and of our processes in it.

use super::evidence::{loose_mounts, not_held, root_outside};
use super::report::{Finding, Side};
use super::sandbox::Seen;
use crate::host::family::Relative;
use crate::host::mounts::{self, MountPoint};
use crate::host::process::{ProcessStatus, SeccompMode};
use crate::outer_walls::Around;
use rustix::fs::{Access, AtFlags, CWD, accessat};

/// The place, as it was before anything was run in it.
#[derive(Debug, Clone)]
pub struct Place {
    /// This process and the walls around it.
    pub around: Around,
    /// /proc/self/uid_map.
    pub uid_map: String,
    /// /proc/sys/kernel/random/boot_id.
    pub boot_id: String,
    /// What is mounted.
    pub mounts: Vec<MountPoint>,
    /// Where of that this process may write.
    pub writable: Vec<String>,
}

impl Place {
    /// Asks.
    pub fn ask(around: Around) -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let mounts = mounts::parse(&read("/proc/self/mountinfo"));
        let may_write =
            |path: &str| accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS).is_ok();
        let writable = mounts.iter().filter(|mount| may_write(&mount.path));
        Self {
            around,
            uid_map: read("/proc/self/uid_map"),
            boot_id: read("/proc/sys/kernel/random/boot_id").trim().to_owned(),
            writable: writable.map(|mount| mount.path.clone()).collect(),
            mounts,
        }
    }
}

fn finding(name: &'static str, holds: bool, evidence: String, hint: &'static str) -> Finding {
    let hint = (!holds && !hint.is_empty()).then_some(hint);
    Finding { side: Side::Outside, name, holds, evidence, hint }
}

/// Every process of ours that is not as it should be, by its name; what is so where all are.
fn all_are(
    seen: &Seen,
    so: &str,
    is: impl Fn(&ProcessStatus) -> Result<(), String>,
) -> (bool, String) {
    let amiss = |it: &Relative| match &it.status {
        None => Some(format!("{}: the kernel says nothing of it", it.name)),
        Some(status) => is(status).err().map(|words| format!("{}: {words}", it.name)),
    };
    let amiss: Vec<String> = seen.processes.iter().filter_map(amiss).collect();
    let names: Vec<&str> = seen.processes.iter().map(|it| it.name.as_str()).collect();
    match amiss.as_slice() {
        [] if names.len() < 2 => (false, "no process but the launcher's was seen".to_owned()),
        [] => (true, format!("{so}: {}", names.join(", "))),
        _ => (false, amiss.join("; ")),
    }
}

/// Rule 1: our processes.
pub fn without_root(seen: &Seen) -> Finding {
    let (holds, evidence) = all_are(seen, "neither root nor any capability", |status| {
        if status.uids.contains(&0) {
            return Err("root".to_owned());
        }
        not_held(status.capabilities)
    });
    finding("our-processes", holds, evidence, "--user 1000:1000 --cap-drop all, to the engine")
}

/// Rule 2: the outer container.
pub fn users(place: &Place) -> Finding {
    let (holds, evidence) = match root_outside(&place.uid_map) {
        None => (true, "no user of this container is root outside".to_owned()),
        Some(0) => (false, "root here is root outside".to_owned()),
        Some(id) => (true, format!("root here is user {id} outside")),
    };
    finding("outer-users", holds, evidence, "an engine that maps users: rootless, or userns-remap")
}

/// Rule 3: what runs the VM.
pub fn hardware_wall(seen: &Seen) -> Finding {
    let runs = |name: &str| seen.processes.iter().any(|it| it.name.starts_with(name));
    let (holds, evidence) = match (runs("cofferdam-vmm"), runs("qemu-system")) {
        (true, false) => (true, "the VM runs on KVM (cofferdam-vmm)"),
        (_, true) => (false, "the VM is emulated (qemu-system-x86_64)"),
        (false, false) => (false, "no process that runs a VM was seen"),
    };
    finding("hardware-wall", holds, evidence.to_owned(), "a working /dev/kvm: see cofferdam doctor")
}

/// Rule 4: the engine's filter.
pub fn engines_filter(place: &Place) -> Finding {
    let (holds, evidence) = match place.around.process.seccomp {
        Some(SeccompMode::Filter(count)) => (true, format!("{count} filter(s) of system calls")),
        Some(SeccompMode::Strict) => (true, "strict seccomp".to_owned()),
        Some(SeccompMode::Off) => (false, "no filter of system calls".to_owned()),
        None => (false, "the kernel does not say whether there is a filter".to_owned()),
    };
    let hint = "the engine's default seccomp profile, or that of cofferdam seccomp-profile";
    finding("engine-seccomp", holds, evidence, hint)
}

/// Rule 4: the engine's security module.
pub fn engines_label(place: &Place) -> Finding {
    let label = place.around.process.label.clone().unwrap_or_default();
    let free = label.is_empty() || label == "unconfined" || label.contains("unconfined_t");
    let evidence = if label.is_empty() { "no security module gives a label".into() } else { label };
    let hint = "an engine on AppArmor or SELinux, and the profile in outer-container/";
    finding("engine-label", !free, evidence, hint)
}

/// Rule 4: our processes' own filters, beside whatever the engine's were.
pub fn own_filters(place: &Place, seen: &Seen) -> Finding {
    let engines = match place.around.process.seccomp {
        Some(SeccompMode::Filter(count)) => count,
        _ => 0,
    };
    let (holds, evidence) =
        all_are(seen, "each filters its own system calls", |status| match status.seccomp {
            SeccompMode::Filter(count) if count > engines => Ok(()),
            _ => Err("filters no system calls of its own".to_owned()),
        });
    finding("own-seccomp", holds, evidence, "a kernel with seccomp filters")
}

/// Rule 4: our processes' reach by name. Landlock's domain is inherited, so that what holds for the launcher
/// before it starts another holds for all.
pub fn closed_in(seen: &Seen) -> Finding {
    let own = ["cofferdam-share", "cofferdam-network"];
    let own: Vec<&str> = own
        .into_iter()
        .filter(|name| seen.processes.iter().any(|it| it.name.starts_with(name)))
        .collect();
    let evidence = match (seen.closed_in, own.as_slice()) {
        (true, []) => "the launcher, of which all others come, could not list /".to_owned(),
        (true, own) => format!(
            "the launcher could not list /, nor what comes of it; walls of their own, which show nowhere: {}",
            own.join(", ")
        ),
        (false, _) => "the launcher could list /".to_owned(),
    };
    finding("own-landlock", seen.closed_in, evidence, "a kernel and engine with Landlock")
}

/// Rule 4: nobody of ours gains a privilege.
pub fn no_new_privileges(seen: &Seen) -> Finding {
    let (holds, evidence) = all_are(seen, "none may gain privileges", |status| {
        if status.no_new_privileges { Ok(()) } else { Err("may gain privileges".to_owned()) }
    });
    finding("no-new-privileges", holds, evidence, "")
}

/// Rule 5: the outer root.
pub fn read_only_root(place: &Place) -> Finding {
    let holds = place.around.readonly_root;
    let evidence = if holds { "/ is mounted read-only" } else { "/ can be written to" };
    finding("outer-root", holds, evidence.to_owned(), "--read-only, to the engine")
}

/// Rule 5: where else our processes may write.
pub fn writable_mounts(place: &Place) -> Finding {
    let (holds, evidence) = loose_mounts(&place.mounts, &place.writable);
    finding(
        "outer-mounts",
        holds,
        evidence,
        "--tmpfs DIR, to the engine: noexec, nosuid and nodev by default",
    )
}

/// Rule 6. What a digest says is verified whenever an image is unpacked; who made it, nothing says yet.
pub fn trusted_image() -> Finding {
    let evidence = "a policy may say which images are used, and whose signature they need; there is none by default";
    finding(
        "image-policy",
        false,
        evidence.to_owned(),
        "run images that you have made or checked yourself",
    )
}
