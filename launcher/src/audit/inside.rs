//! What the witness in the container says, judged.

use super::evidence::{loose_mounts, root_outside};
use super::report::{Finding, Side};
use crate::capabilities;
use crate::host::mounts;
use crate::host::process::{ProcessStatus, SeccompMode};
use protocol::Testimony;

/// Ids from here on are nobody's but a user namespace's.
const HIGH: u32 = 1 << 16;
const CAP_SYS_ADMIN: u64 = 1 << 21;

fn finding(name: &'static str, holds: bool, evidence: String, hint: &'static str) -> Finding {
    Finding { side: Side::Inside, name, holds, evidence, hint: (!holds).then_some(hint) }
}

/// Rule 1: what the container's process holds, and what it could come by.
pub fn without_root(said: &Testimony) -> Finding {
    let hint = "--profile strict";
    let Some(status) = ProcessStatus::parse(&said.status) else {
        return finding("container-user", false, "the witness did not say".to_owned(), hint);
    };
    let root = status.uids.contains(&0);
    // Without no_new_privs a setuid program gets all that is in the bounding set.
    let gains = if status.no_new_privileges { 0 } else { status.bounding };
    let all = status.capabilities | gains;
    let holds = !root && gains & !status.capabilities == 0 && all & CAP_SYS_ADMIN == 0;
    let user = status.uids.get(1).copied().unwrap_or_default();
    let held = capabilities::in_words(status.capabilities);
    let more = match gains & !status.capabilities {
        0 => String::new(),
        more => format!("; a setuid program gets it {}", capabilities::in_words(more)),
    };
    finding("container-user", holds, format!("user {user} with {held}{more}"), hint)
}

/// Rule 2: the container's user namespace.
pub fn users(said: &Testimony) -> Finding {
    let root = if said.uid_map.is_empty() { Some(0) } else { root_outside(&said.uid_map) };
    let (holds, evidence) = match root {
        None => (true, "it has no root".to_owned()),
        Some(id) if id >= HIGH => (true, format!("its root is user {id} of the VM")),
        Some(id) => (false, format!("its root is user {id} of the VM")),
    };
    finding("container-users", holds, evidence, "--userns")
}

/// Rule 3: another kernel than the one outside.
pub fn own_kernel(outer_boot_id: &str, said: &Testimony) -> Finding {
    let differs = said.boot_id.len() == 36 && said.boot_id != outer_boot_id;
    let evidence = if differs {
        format!("its kernel {} has a boot id of its own", said.kernel_release)
    } else {
        "no kernel but the one outside was seen".to_owned()
    };
    finding("own-kernel", differs, evidence, "this cannot be with cofferdam run: please report it")
}

/// Rule 4: the container's filter.
pub fn filter(said: &Testimony) -> Finding {
    let mode = ProcessStatus::parse(&said.status).map(|status| status.seccomp);
    let (holds, evidence) = match mode {
        Some(SeccompMode::Filter(_) | SeccompMode::Strict) => {
            (true, "its system calls are filtered")
        }
        Some(SeccompMode::Off) => (false, "no filter of system calls"),
        None => (false, "the witness did not say"),
    };
    finding(
        "container-seccomp",
        holds,
        evidence.to_owned(),
        "no --privileged, no seccomp=unconfined",
    )
}

/// Rule 4: the container's AppArmor profile.
pub fn label(said: &Testimony) -> Finding {
    let holds = said.label.ends_with("(enforce)");
    let evidence = match said.label.as_str() {
        "" => "AppArmor gives no label".to_owned(),
        label => label.to_owned(),
    };
    finding("container-label", holds, evidence, "no --privileged, no apparmor=unconfined")
}

/// Rule 5: the container's root.
pub fn read_only_root(said: &Testimony) -> Finding {
    let mounts = mounts::parse(&said.mounts);
    // The last one covers those before it.
    let root = mounts.iter().rev().find(|mount| mount.path == "/");
    let (holds, evidence) = match root {
        Some(root) if root.is_read_only() => (true, "/ is mounted read-only"),
        Some(_) => (false, "/ can be written to"),
        None => (false, "the witness did not say"),
    };
    finding("container-root", holds, evidence.to_owned(), "--read-only")
}

/// Rule 5: where else the container may write.
pub fn writable_mounts(said: &Testimony) -> Finding {
    let mounts = mounts::parse(&said.mounts);
    let (holds, evidence) = match mounts.is_empty() {
        true => (false, "the witness did not say".to_owned()),
        false => loose_mounts(&mounts, &said.writable),
    };
    finding(
        "container-mounts",
        holds,
        evidence,
        "--tmpfs and --writable without exec, suid and dev",
    )
}

/// Rule 7: the guest is as new as this program, which carries it.
pub fn up_to_date(said: &Testimony) -> Finding {
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const OF_OURS: &str = "-cofferdam";
    let holds = said.agent_version == VERSION && said.kernel_release.ends_with(OF_OURS);
    let evidence = format!(
        "kernel {}, agent {}, started by launcher {VERSION} for this sandbox alone",
        said.kernel_release, said.agent_version
    );
    finding(
        "guest-versions",
        holds,
        evidence,
        "no --kernel: this program carries its own, and its agent",
    )
}
