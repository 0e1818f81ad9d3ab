//! PID 1 of the guest: starts containers and relays their streams. The only program in the guest.
//!
//! The same program is, by its arguments, the agent, the starter of one process
//! ([`process::starter`]), the reaper of one container ([`process::reaper`]), a witness in one
//! ([`process::witness`]), a copier to or from one ([`process::copier`]), a watch over a Docker daemon in it
//! ([`process::docker_ports`]), or a gate to its sockets ([`process::gate`]).

mod agent;
mod apparmor;
mod cgroup;
mod container;
mod control;
mod disks;
mod early;
mod error;
mod log;
mod network;
mod power;
mod process;
mod rootfs;
mod seccomp;
mod shares;
mod stdio;
mod streams;
mod supervisor;
mod sys;
mod terminal;

use agent::Agent;
use control::ControlError;
use error::{OsError, Tried};
use std::sync::Arc;

fn main() {
    let arguments: Vec<String> =
        std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    if arguments.first().is_some_and(|name| name == process::reaper::REAPER_NAME) {
        process::reaper::run(arguments.get(1).map(String::as_str));
    }
    if arguments.first().is_some_and(|name| name == process::witness::WITNESS_NAME) {
        process::witness::run();
    }
    if arguments.first().is_some_and(|name| name == process::copier::COPIER_NAME) {
        process::copier::run(&arguments);
    }
    if arguments.first().is_some_and(|name| name == process::docker_ports::WATCH_NAME) {
        process::docker_ports::run(&arguments);
    }
    if arguments.first().is_some_and(|name| name == process::gate::GATE_NAME) {
        process::gate::run(&arguments);
    }
    if arguments.first().is_some_and(|name| name == process::tasks::TASKS_NAME) {
        process::tasks::run();
    }
    if let Some(socket) = process::starter::recognise(&arguments) {
        process::starter::run(socket);
    }
    if std::process::id() != 1 {
        // Only the kernel has a use for it under another name.
        std::process::exit(127);
    }
    match live() {
        // The launcher has gone: there is nobody to be told anything.
        Ok(()) | Err(ControlError::Closed) => power::stop(),
        Err(error) => {
            log::fatal(&error);
            // The kernel panics without its PID 1, which is no orderly stop and looks like none.
            std::process::exit(1)
        }
    }
}

/// The life of PID 1: says hello first, and makes the rest while the launcher answers.
fn live() -> Result<(), ControlError> {
    let (control, mut requests) = control::open(monotonic_ns())?;
    let policy = apparmor::Policy::find();
    early::mount_root()?;
    log::open();
    early::mount_devices()?;
    early::mount_cgroups()?;
    early::raise_limits()?;
    control::greet(&mut requests)?;
    let agent = Arc::new(Agent::new(control, policy, streams::open_null()?));
    watch_children(&agent)?;
    let served = control::serve(&mut requests, &agent);
    if served.is_err() {
        power::release(&agent);
    }
    served
}

fn watch_children(agent: &Arc<Agent>) -> Result<(), OsError> {
    let own = Arc::clone(agent);
    let thread = std::thread::Builder::new().name("reaper".to_owned()).stack_size(32 * 1024);
    thread.spawn(move || own.supervisor.reap_for_ever()).tried("start", "the reaper's thread")?;
    Ok(())
}

fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(now.tv_nsec).unwrap_or(0))
}
