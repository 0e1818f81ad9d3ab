//! Process ids here are far beyond what this machine gives out, so that no process is meant.

use super::*;
use protocol::ProcessId;
use std::time::Instant;

const PID: u32 = 2_000_000_000;

fn name(text: &str) -> ProcessRef {
    ProcessRef { container: None, process: ProcessId::try_from(text.to_owned()).unwrap() }
}

fn pid() -> ChildPid {
    ChildPid::try_from(PID).unwrap()
}

#[test]
fn a_name_is_taken_until_it_is_forgotten() {
    let supervisor = Supervisor::default();
    let process = name("a");
    supervisor.begin(&process).unwrap();
    assert!(matches!(supervisor.begin(&process), Err(Refused::NameTaken(_))));
    supervisor.not_started(&process, None);
    supervisor.begin(&process).unwrap();
    supervisor.started(&process, PID, None);
    assert_eq!(supervisor.pid(&process), Some(PID));
    supervisor.reap(pid(), ExitStatus::Code(3));
    assert_eq!(supervisor.wait(&process), ExitStatus::Code(3));
    assert_eq!(supervisor.pid(&process), None);
    assert!(supervisor.begin(&process).is_err());
    supervisor.forget(&process);
    supervisor.begin(&process).unwrap();
}

#[test]
fn a_process_that_ended_before_it_was_known_is_waited_for_all_the_same() {
    let supervisor = Supervisor::default();
    let process = name("a");
    supervisor.begin(&process).unwrap();
    supervisor.reap(pid(), ExitStatus::Signal(9));
    supervisor.started(&process, PID, None);
    assert_eq!(supervisor.wait(&process), ExitStatus::Signal(9));
}

#[test]
fn children_of_nobody_are_remembered_only_while_something_starts() {
    let supervisor = Supervisor::default();
    supervisor.reap(pid(), ExitStatus::Code(0));
    assert!(supervisor.lock().unclaimed.is_empty());
    supervisor.begin(&name("a")).unwrap();
    supervisor.reap(pid(), ExitStatus::Code(0));
    assert_eq!(supervisor.lock().unclaimed.len(), 1);
    supervisor.not_started(&name("a"), None);
    assert!(supervisor.lock().unclaimed.is_empty());
}

#[test]
fn a_machine_about_to_stop_starts_nothing() {
    let supervisor = Supervisor::default();
    supervisor.refuse_more();
    assert!(matches!(supervisor.begin(&name("a")), Err(Refused::Stopping)));
}

#[test]
fn signals_for_a_process_that_is_being_started_are_kept_within_bounds() {
    let supervisor = Supervisor::default();
    let process = name("a");
    supervisor.begin(&process).unwrap();
    for _ in 0..1000 {
        supervisor.signal(&process, 15);
    }
    let table = supervisor.lock();
    let Some(State::Starting { signals, .. }) = table.processes.get(&process) else {
        panic!("it is no longer being started");
    };
    assert_eq!(signals.len(), MAX_EARLY_SIGNALS);
}

#[test]
fn waiting_for_the_last_child_ends_with_its_time() {
    let supervisor = Supervisor::default();
    supervisor.child_made();
    let began = Instant::now();
    assert!(!supervisor.wait_until_childless(Duration::from_millis(30)));
    assert!(began.elapsed() >= Duration::from_millis(30));
    supervisor.lock().childless = true;
    assert!(supervisor.wait_until_childless(Duration::from_secs(60)));
}

#[test]
#[expect(clippy::zombie_processes, reason = "that it is waited for is what is tested")]
fn a_child_is_reaped_by_who_waits_for_all() {
    // A child of this process; other tests make none that they wait for themselves.
    let child = std::process::Command::new("/bin/sh").args(["-c", "exit 7"]).spawn().unwrap();
    let supervisor = Arc::new(Supervisor::default());
    let process = name("a");
    supervisor.begin(&process).unwrap();
    supervisor.started(&process, child.id(), None);
    supervisor.child_made();
    let own = Arc::clone(&supervisor);
    std::thread::spawn(move || own.reap_for_ever());
    assert_eq!(supervisor.wait(&process), ExitStatus::Code(7));
    assert!(supervisor.wait_until_childless(Duration::from_secs(60)));
}
