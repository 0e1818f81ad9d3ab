//! `cofferdam seccomp-profile`: the outer container's filter of system calls, as engines read it.
//!
//! Owns: what an engine has to allow. It is the launcher's own lists and the share process's ([`crate::jail`]), and what an engine's
//! runtime does between loading a filter and executing the launcher. Never does: filter anything.
//!
//! The form is the OCI runtime specification's `linux.seccomp`, in Docker's spelling of it, which podman
//! reads, too.

use serde::Serialize;

/// What runc and crun do once their container's filter is loaded, and an engine's `--init` does all along.
const RUNTIMES: [&str; 19] = [
    "capget",
    "capset",
    "dup",
    "faccessat2",
    "fstat",
    "getcwd",
    "getppid",
    "getuid",
    "nanosleep",
    "rt_sigtimedwait",
    "sched_yield",
    "setgid",
    "setgroups",
    "setpgid",
    "setuid",
    "stat",
    "umask",
    "uname",
    "waitid",
];

const EPERM: u32 = 1;
/// What a kernel answers that does not know a call: libraries then use what was before it.
const ENOSYS: u32 = 38;
/// The flags of clone(2) that make namespaces.
const NAMESPACES: u64 = 0x7e02_0000;
const AF_UNIX: u64 = 1;
const AF_INET: u64 = 2;
const AF_INET6: u64 = 10;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: &'static str,
    default_errno_ret: u32,
    architectures: [&'static str; 1],
    syscalls: [Rule; 6],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    names: Vec<&'static str>,
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    errno_ret: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    args: Vec<Argument>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u32,
    value: u64,
    value_two: u64,
    op: &'static str,
}

/// The profile, as JSON.
pub fn json() -> String {
    const ALLOW: &str = "SCMP_ACT_ALLOW";
    let mut names: Vec<_> = crate::jail::all_calls().chain(RUNTIMES).collect();
    // Each of these has a rule of its own.
    names.retain(|name| !name.starts_with("clone") && *name != "socket");
    names.sort_unstable();
    names.dedup();
    let no_namespace =
        Argument { index: 0, value: NAMESPACES, value_two: 0, op: "SCMP_CMP_MASKED_EQ" };
    let sockets = |family| Rule {
        names: vec!["socket"],
        action: ALLOW,
        errno_ret: None,
        args: vec![Argument { index: 0, value: family, value_two: 0, op: "SCMP_CMP_EQ" }],
    };
    let profile = Profile {
        default_action: "SCMP_ACT_ERRNO",
        default_errno_ret: EPERM,
        architectures: ["SCMP_ARCH_X86_64"],
        syscalls: [
            Rule { names, action: ALLOW, errno_ret: None, args: Vec::new() },
            Rule { names: vec!["clone"], action: ALLOW, errno_ret: None, args: vec![no_namespace] },
            // By which a sandbox that runs is reached.
            sockets(AF_UNIX),
            // By which images are fetched.
            sockets(AF_INET),
            sockets(AF_INET6),
            // It hides its flags in memory.
            Rule {
                names: vec!["clone3"],
                action: "SCMP_ACT_ERRNO",
                errno_ret: Some(ENOSYS),
                args: Vec::new(),
            },
        ],
    };
    let json = serde_json::to_string_pretty(&profile);
    json.map_or_else(|_| String::new(), |json| json + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Docker's default profile of 20.10 allows whoever has no capability is a superset, but for what is
    /// newer than it.
    #[test]
    fn it_is_tighter_than_dockers() {
        let ours: serde_json::Value = serde_json::from_str(&json()).unwrap();
        let names = |rule: &serde_json::Value| -> Vec<String> {
            let names = rule["names"].as_array().unwrap();
            names.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
        };
        let ours = names(&ours["syscalls"][0]);
        let docker: serde_json::Value =
            serde_json::from_str(include_str!("seccomp/default.json")).unwrap();
        let allowed = docker["syscalls"].as_array().unwrap().iter().filter(|rule| {
            rule["action"] == "SCMP_ACT_ALLOW" && rule["includes"]["caps"].is_null()
        });
        let docker: std::collections::BTreeSet<_> = allowed.flat_map(names).collect();
        let beyond: Vec<_> = ours.iter().filter(|name| !docker.contains(*name)).collect();
        assert!(beyond.is_empty(), "{beyond:?}");
        assert!(ours.len() * 2 < docker.len(), "{} of {}", ours.len(), docker.len());
        for denied in ["socket", "ptrace", "process_vm_readv", "mount", "bpf", "kill"] {
            assert!(!ours.contains(&denied.to_owned()), "{denied}");
        }
    }
}
