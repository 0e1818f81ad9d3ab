//! The last steps of every process, in a container or in the guest itself: from root with all
//! powers, in the right namespaces, to the program that was asked for.
//!
//! Runs in a process of its own with one thread. Everything it reads of the container is hostile.
//!
//! ```text
//!   (user namespace) → surroundings → terminal → limits → who → where → (reaper) → bounding set
//!     → ids → capabilities → no_new_privs → AppArmor → find the program → system call filter → exec
//! ```
//!
//! The filter comes last, so that it needs to allow nothing but the program's own calls. Without
//! no_new_privs loading it takes CAP_SYS_ADMIN, which is therefore kept in the permitted set until
//! then: exec computes the program's sets from the bounding, inheritable and ambient ones alone
//! (capabilities(7), "Transformation of capabilities during execve"). With no_new_privs, where exec
//! also limits them by what was permitted, nothing is kept.

use super::identity::{Databases, Identity};
use super::launch::Reports;
use super::{copier, docker_ports, gate, program, reaper, surroundings, tasks, witness};
use crate::apparmor;
use crate::error::{OsError, Tried, setup_failure};
use crate::sys::{self, CapabilityState};
use crate::terminal;
use libc::sock_filter;
use libcontainer::workload::{
    Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError,
};
use oci_spec::runtime::Spec;
use protocol::{
    AppArmor, Capabilities, DeviceAccess, Failure, FailureKind, ProcessSpec, Program, Stdio,
};
use rustix::fs::Mode;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::collections::HashMap;
use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

const CAP_SYS_ADMIN: u64 = 1 << 21;

/// What is still to be made around a container's init process; nothing for other processes.
#[derive(Debug, Clone, Default)]
pub struct Remaining {
    /// Its network namespace is new: loopback is down.
    pub new_network: bool,
    /// Its cgroup namespace is new and may be written to: room for nested cgroups is wanted.
    pub nested_cgroups: bool,
    /// All devices of the guest.
    pub all_devices: bool,
    /// What is mounted below /dev besides what always is.
    pub below_dev: Vec<String>,
    /// It has a /dev of its own, and so a /dev/console.
    pub own_console: bool,
    /// A reaper is wanted.
    pub reaper: bool,
    /// The agent's own program, where something of it is to run.
    pub agent: Option<Rc<OwnedFd>>,
}

impl Remaining {
    /// What remains for a container's init process.
    pub fn of(spec: &protocol::ContainerSpec, agent: Option<Rc<OwnedFd>>) -> Self {
        let is_new =
            |reference: &protocol::NamespaceRef| matches!(reference, protocol::NamespaceRef::New);
        let all_devices = spec.devices == DeviceAccess::All;
        Self {
            new_network: is_new(&spec.namespaces.network),
            nested_cgroups: all_devices && is_new(&spec.namespaces.cgroup),
            all_devices,
            below_dev: spec
                .mounts
                .iter()
                .filter(|mount| mount.destination.starts_with("/dev/"))
                .map(|mount| mount.destination.clone())
                .collect(),
            own_console: true,
            reaper: spec.reaper,
            agent,
        }
    }
}

/// A process on its way to its program.
#[derive(Debug, Clone)]
pub struct BecomeProcess {
    /// What it is to be.
    pub process: Rc<ProcessSpec>,
    /// Its filter.
    pub filter: Option<Rc<[sock_filter]>>,
    /// Its AppArmor profile.
    pub apparmor: AppArmor,
    /// What is still to be made around it.
    pub remaining: Remaining,
    /// A user namespace that it is still to join: libcontainer leaves that out for further processes.
    pub users: Option<Rc<OwnedFd>>,
    /// Where it says what became of it.
    pub reports: Rc<Reports>,
}

impl Executor for BecomeProcess {
    fn exec(&self, _spec: &Spec) -> Result<(), ExecutorError> {
        self.run()
    }

    fn validate(&self, _spec: &Spec) -> Result<(), ExecutorValidationError> {
        Ok(())
    }

    fn setup_envs(&self, _envs: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        Ok(())
    }
}

/// A process that is wholly prepared but for its privileges.
struct Prepared {
    identity: Identity,
    environment: Vec<CString>,
    path: String,
}

impl BecomeProcess {
    /// Becomes the process: its program runs, or why it does not is reported, and nothing comes back.
    pub fn run(&self) -> ! {
        let failure = match self.prepare() {
            Ok(prepared) => self.split_and_execute(&prepared),
            Err(failure) => failure,
        };
        self.reports.send_failure(failure);
        sys::exit_now(127)
    }

    fn prepare(&self) -> Result<Prepared, Failure> {
        let setup = |error: OsError| setup_failure(&error);
        self.users.as_deref().map_or(Ok(()), join_users).map_err(setup)?;
        surroundings::complete(&self.remaining).map_err(setup)?;
        if let Stdio::Terminal { size, .. } = self.process.stdio {
            terminal::enter(size, self.remaining.own_console, &self.reports).map_err(setup)?;
        }
        sys::reset_signals();
        rustix::process::umask(Mode::from_raw_mode(0o022));
        super::limits::apply(&self.process.rlimits)?;
        let identity = Databases::read().identity_of(&self.process);
        let identity = identity.map_err(|error| setup_failure(&error))?;
        give_streams_to(identity.uid, None);
        let cwd = &self.process.cwd;
        enter_directory(cwd).and_then(|()| require_inside()).map_err(setup)?;
        let environment = environment(&self.process.env, &identity.home);
        let path = variable(&self.process.env, "PATH").unwrap_or(program::DEFAULT_PATH).to_owned();
        let environment = program::c_strings(&environment, "the environment")?;
        Ok(Prepared { identity, environment, path })
    }

    /// Executes the program, in a child of the reaper where one is wanted.
    fn split_and_execute(&self, prepared: &Prepared) -> Failure {
        if self.remaining.reaper {
            // Closed by the reaper's exec.
            let (became, becomes) = match pipe_with(PipeFlags::CLOEXEC).tried("make", "a pipe") {
                Ok(pipe) => pipe,
                Err(error) => return setup_failure(&error),
            };
            match sys::fork().tried("fork", "the reaper's child") {
                Ok(None) => {
                    drop(becomes);
                    reaper::become_child(&became);
                }
                Ok(Some(pid)) => return self.execute_reaper(pid, prepared),
                Err(error) => return setup_failure(&error),
            }
        }
        if let Err(error) = self.take_privileges(&prepared.identity) {
            return setup_failure(&error);
        }
        match self.execute_program(prepared) {
            Ok(never) => match never {},
            Err(failure) => failure,
        }
    }

    fn execute_program(&self, prepared: &Prepared) -> Result<std::convert::Infallible, Failure> {
        let own = match self.process.program {
            Program::Named => None,
            Program::Witness => Some((witness::arguments(), "the witness")),
            Program::DockerPorts => {
                let arguments = docker_ports::arguments(&self.process.args)?;
                Some((arguments, "the watch over Docker"))
            }
            Program::Gate => Some((gate::arguments(&self.process.args)?, "the gate")),
            Program::Tasks => Some((tasks::arguments(), "the list of processes")),
            program => Some((copier::arguments(program, &self.process.args)?, "the copier")),
        };
        if let Some((arguments, what)) = own {
            self.load_filter(prepared.identity.uid).map_err(|error| setup_failure(&error))?;
            return Err(self.execute_own(&arguments, what));
        }
        let Some(name) = self.process.args.first() else {
            let message = "no program is named".to_owned();
            return Err(Failure { kind: FailureKind::Setup, message });
        };
        let program = program::find(name, &prepared.path)?;
        let arguments = program::c_strings(&self.process.args, "the arguments")?;
        self.load_filter(prepared.identity.uid).map_err(|error| setup_failure(&error))?;
        let error = sys::execute(&program, &arguments, &prepared.environment);
        let errno = rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO);
        Err(program::refused(name, errno))
    }

    fn execute_reaper(&self, child: libc::pid_t, prepared: &Prepared) -> Failure {
        let arguments = reaper::arguments(child, &self.process.args);
        if let Err(error) = self
            .take_privileges(&prepared.identity)
            .and_then(|()| self.load_filter(prepared.identity.uid))
        {
            return setup_failure(&error);
        }
        // A signal that comes before the reaper waits for it is kept for it.
        let _ = sys::set_signal_mask(true);
        self.execute_own(&arguments, "the reaper")
    }

    /// Becomes something of the agent's own program; comes back where it cannot.
    fn execute_own(&self, arguments: &[CString], what: &str) -> Failure {
        let error = match &self.remaining.agent {
            Some(agent) => sys::execute_file(agent.as_fd(), arguments, &[]),
            None => std::io::Error::other("it is none that this process may be"),
        };
        let refused: Result<(), _> = Err(error);
        refused
            .tried("run", what)
            .err()
            .map_or_else(|| sys::exit_now(127), |error| setup_failure(&error))
    }

    /// Whether loading the filter takes CAP_SYS_ADMIN.
    fn filter_needs_power(&self) -> bool {
        self.filter.is_some() && !self.process.no_new_privileges
    }

    fn take_privileges(&self, identity: &Identity) -> Result<(), OsError> {
        let Capabilities { bounding, inheritable, ambient, .. } = self.process.capabilities;
        let (effective, permitted) = self.own_sets(identity.uid);
        drop_bounding(bounding.0)?;
        sys::set_groups(&identity.groups).tried("set", "the supplementary groups")?;
        sys::prctl(libc::PR_SET_KEEPCAPS, 1, 0).tried("keep", "capabilities")?;
        sys::set_ids(identity.uid, identity.gid)
            .tried("become", format_args!("user {}:{}", identity.uid, identity.gid))?;
        let kept = if self.filter_needs_power() { CAP_SYS_ADMIN } else { 0 };
        let state =
            CapabilityState { effective, permitted: permitted | kept, inheritable: inheritable.0 };
        sys::set_capabilities(state).tried("set", "capabilities")?;
        for number in (0..64).filter(|number| ambient.0 >> number & 1 == 1) {
            sys::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as u64, number)
                .tried("raise", format_args!("the ambient capability {number}"))?;
        }
        if self.process.no_new_privileges {
            sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0).tried("set", "no_new_privs")?;
        }
        match self.apparmor {
            AppArmor::Unconfined => Ok(()),
            AppArmor::Default => apparmor::confine_at_exec(),
        }
    }

    /// Its effective and permitted sets just before exec. Whoever is not root keeps but the ambient ones
    /// across it; what it had besides would still let a program's file capabilities through
    /// no_new_privs.
    fn own_sets(&self, uid: u32) -> (u64, u64) {
        let Capabilities { effective, permitted, ambient, .. } = self.process.capabilities;
        let permitted = if uid == 0 { permitted.0 } else { permitted.0 & ambient.0 };
        (effective.0 & permitted, permitted)
    }

    fn load_filter(&self, uid: u32) -> Result<(), OsError> {
        let Some(filter) = &self.filter else { return Ok(()) };
        if self.filter_needs_power() {
            let (effective, permitted) = self.own_sets(uid);
            let state = CapabilityState {
                effective: effective | CAP_SYS_ADMIN,
                permitted: permitted | CAP_SYS_ADMIN,
                inheritable: self.process.capabilities.inheritable.0,
            };
            sys::set_capabilities(state).tried("set", "capabilities")?;
        }
        sys::load_seccomp(filter).tried("load", "the system call filter")
    }
}

/// Becomes root of a user namespace, and nobody outside of it.
fn join_users(namespace: &OwnedFd) -> Result<(), OsError> {
    const WHAT: &str = "the container's user namespace";
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::User))
        .tried("join", WHAT)?;
    sys::set_ids(0, 0).tried("become root of", WHAT)
}

/// Drops from the bounding set what is not in `kept`.
fn drop_bounding(kept: u64) -> Result<(), OsError> {
    for number in (0..64).filter(|number| kept >> number & 1 == 0) {
        match sys::prctl(libc::PR_CAPBSET_DROP, number, 0) {
            // Numbers past the kernel's last capability.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break,
            other => other.tried("drop", format_args!("the bounding capability {number}"))?,
        };
    }
    Ok(())
}

/// Lets the process open its own streams again by /dev/stdout and its kin, as Docker does.
pub fn give_streams_to(uid: u32, gid: Option<u32>) {
    let null = rustix::fs::stat("/dev/null").map(|stat| stat.st_rdev);
    let streams = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    for stream in streams {
        give_stream_to(stream, (uid, gid), null.ok());
    }
}

fn give_stream_to(stream: BorrowedFd<'_>, owner: (u32, Option<u32>), null: Option<u64>) {
    let (uid, gid) = owner;
    let Ok(stat) = rustix::fs::fstat(stream) else { return };
    if stat.st_uid != uid && Some(stat.st_rdev) != null {
        // It merely makes reopening possible: a stream that cannot be given away still works.
        let _ = rustix::fs::fchown(
            stream,
            Some(rustix::fs::Uid::from_raw(uid)),
            gid.map(rustix::fs::Gid::from_raw),
        );
    }
}

fn enter_directory(path: &str) -> Result<(), OsError> {
    let path = if path.is_empty() { "/" } else { path };
    if std::env::set_current_dir(path).is_ok() {
        return Ok(());
    }
    fs::create_dir_all(path).tried("make the working directory", path)?;
    std::env::set_current_dir(path).tried("enter the working directory", path)
}

/// Refuses a working directory outside the container's root, which an open file that is not meant
/// for the container could lead to (CVE-2024-21626).
fn require_inside() -> Result<(), OsError> {
    let found = rustix::process::getcwd(Vec::new());
    let inside = found.map_err(std::io::Error::from).and_then(|path| {
        if path.as_bytes().starts_with(b"/") {
            Ok(())
        } else {
            Err(std::io::Error::other("it is outside the container"))
        }
    });
    inside.tried("work in", "the working directory")
}

/// The value of a variable: the last one counts.
fn variable<'a>(environment: &'a [String], name: &str) -> Option<&'a str> {
    environment.iter().rev().find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='))
}

/// The environment, with HOME where it has none.
fn environment(given: &[String], home: &str) -> Vec<String> {
    let mut environment = given.to_vec();
    if variable(given, "HOME").is_none_or(str::is_empty) {
        environment.retain(|entry| !entry.starts_with("HOME="));
        environment.push(format!("HOME={home}"));
    }
    environment
}

#[cfg(test)]
mod tests;
