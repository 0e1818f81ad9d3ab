use super::*;
use crate::jail::channel::Channel;
use crate::session::SupervisorMessage;
use protocol::FailureKind;

/// A guest chooses these words: whatever they are, the terminal side hears that it is over.
#[test]
fn an_ending_fits_a_message_whatever_the_guest_says() {
    let (supervisor, terminal) = Channel::pair().unwrap();
    let long = "ß".repeat(500_000);
    let failure = Failure { kind: FailureKind::NotFound, message: long.clone() };
    for outcome in [
        Outcome::NotStarted(failure),
        Outcome::MachineRefused(vec![long.clone(); 3]),
        Outcome::MachineExited(VmExit::Failed(long)),
    ] {
        let sent = outcome.ending();
        supervisor.send(&SupervisorMessage::Ended(sent.clone()), &[]).unwrap();
        let (received, _) = terminal.receive::<SupervisorMessage>().unwrap();
        assert_eq!(received, SupervisorMessage::Ended(sent));
    }
}

#[test]
fn want_of_memory_is_named_with_and_without_a_reaper() {
    for status in [ExitStatus::Signal(9), ExitStatus::Code(137)] {
        let ending = Outcome::Exited { status, out_of_memory: true }.ending();
        assert_eq!(ending.exit_code, 137);
        assert!(ending.message.unwrap().contains("memory"), "{status:?}");
    }
    let other = Outcome::Exited { status: ExitStatus::Code(1), out_of_memory: true };
    assert_eq!(other.ending().message, None);
}

/// Only of a process that ended by itself is the output waited for as long as it takes.
#[test]
fn what_was_ended_from_outside_is_not_waited_for() {
    let status = ExitStatus::Code(0);
    assert!(Outcome::Exited { status, out_of_memory: false }.ending().by_itself);
    assert!(!Outcome::TimedOut(Duration::from_secs(1)).ending().by_itself);
    assert!(!Outcome::Interrupted(15).ending().by_itself);
}
