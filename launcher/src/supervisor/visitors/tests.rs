use super::*;
use crate::session::CopyRequest;
use protocol::{ContainerId, Failure, FailureKind, Usage};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::channel;
use std::time::Duration;

fn to<'w>(
    first: Option<First<'w>>,
    agent: &'w AgentClient,
    wishes: &'w mut Vec<Wish>,
) -> Ways<'w, 'w> {
    Ways { first, agent, orders: None, streams: None, is_paused: false, wishes }
}

/// A sandbox without a guest, to which others come.
struct Place {
    directory: tempfile::TempDir,
    visitors: Visitors,
    agent: AgentClient,
    _guest: (UnixStream, OwnedFd),
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let control = Control::listen(directory.path()).unwrap();
        let (line, machine) = Line::pair().unwrap();
        let (agent, guest) = UnixStream::pair().unwrap();
        let agent = AgentClient::new(agent.into());
        let visitors = Visitors::new(control, line, LayersDisk::of(4096).unwrap().0);
        Self { directory, visitors, agent, _guest: (guest, machine) }
    }
}

/// Two who ask at once are both told by the first answer, and one who asked may be gone: the others are no lies.
#[test]
fn as_many_answers_are_believed_as_were_asked_for() {
    let Place { directory, mut visitors, agent, _guest } = Place::new();
    let spec = crate::container_spec::tests::spec(&["image"]);
    let init = ProcessRef { container: Some(spec.id.clone()), process: spec.init_id.clone() };
    let reach = || crate::control::reach(directory.path()).unwrap().unwrap();
    let clients = [reach(), reach()];
    let mut wishes = Vec::new();
    let mut ways = to(Some((&init, &spec)), &agent, &mut wishes);
    visitors.hear(&[true], &mut ways).unwrap();
    visitors.hear(&[true, false], &mut ways).unwrap();
    clients.iter().for_each(|it| it.send(&ControlRequest::Measure, &[]).unwrap());
    visitors.hear(&[false, true, true], &mut ways).unwrap();
    let answer = || Event::Measured { container: spec.id.clone(), usage: Usage::default() };
    assert_eq!(visitors.event(answer()).unwrap(), None);
    for client in &clients {
        let told = client.receive::<SupervisorMessage>().unwrap().0;
        assert!(matches!(told, SupervisorMessage::Measured(_)), "{told:?}");
    }
    assert_eq!(visitors.event(answer()).unwrap(), None, "the other was asked for, too");
    assert_eq!(visitors.event(answer()).unwrap(), Some(answer()));
}

/// Between two looks at who is ready, the agent may have told of the end of one of them.
#[test]
fn nobody_is_heard_in_place_of_another_who_has_ended() {
    let Place { directory, mut visitors, agent, _guest } = Place::new();
    let reach = || crate::control::reach(directory.path()).unwrap().unwrap();
    let (first, _second) = (reach(), reach());
    let mut wishes = Vec::new();
    let mut ways = to(None, &agent, &mut wishes);
    visitors.hear(&[true], &mut ways).unwrap();
    visitors.hear(&[true, false], &mut ways).unwrap();
    let container = ContainerId::try_from("abcdef".to_owned()).unwrap();
    let process = ProcessId::try_from("exec-1".to_owned()).unwrap();
    let process = ProcessRef { container: Some(container), process };
    visitors.all[0].errand = Errand::Process { process: process.clone(), is_container: false };
    assert_eq!(visitors.watched().count(), 3);
    let failure = Failure { kind: FailureKind::Setup, message: String::new() };
    assert_eq!(visitors.event(Event::Failed { process, failure }).unwrap(), None);
    // The first was ready; the second says nothing, and would be waited for.
    first.send(&TerminalMessage::OutputEnded, &[]).unwrap();
    let (done, told) = channel();
    std::thread::spawn(move || {
        let mut wishes = Vec::new();
        let mut ways = to(None, &agent, &mut wishes);
        visitors.hear(&[false, true, false], &mut ways).unwrap();
        done.send(visitors.watched().count()).unwrap();
    });
    assert_eq!(told.recv_timeout(Duration::from_secs(10)), Ok(3));
}

/// Also who has come when it was not known yet, and was not let in before.
#[test]
fn whoever_comes_for_the_end_is_told_it() {
    let Place { directory, mut visitors, .. } = Place::new();
    let reach = || crate::control::reach(directory.path()).unwrap().unwrap();
    let told = |client: &Channel| match client.receive::<SupervisorMessage>().unwrap().0 {
        SupervisorMessage::Ended(ending) => (ending.exit_code, ending.message),
        other => panic!("{other:?}"),
    };
    visitors.close();
    let clients = [reach(), reach(), reach()];
    clients[0].send(&ControlRequest::Wait, &[]).unwrap();
    clients[1].send(&ControlRequest::Measure, &[]).unwrap();
    let patience = Patience::Own;
    clients[2].send(&ControlRequest::Stop { signal: None, patience }, &[]).unwrap();
    visitors.end(&Ending::new(3, None, None));
    assert_eq!(told(&clients[0]), (3, None));
    assert_eq!(told(&clients[1]), (125, Some(NOT_RUNNING.to_owned())));
    assert_eq!(told(&clients[2]), (3, None));
}

/// What is wished is done by the agent, which says what has come of it; until then nobody starts anything.
#[test]
fn whoever_pauses_is_told_what_has_come_of_it() {
    let Place { directory, mut visitors, agent, _guest } = Place::new();
    let spec = crate::container_spec::tests::spec(&["image"]);
    let init = ProcessRef { container: Some(spec.id.clone()), process: spec.init_id.clone() };
    let told = |client: &Channel| match client.receive::<SupervisorMessage>().unwrap().0 {
        SupervisorMessage::Ended(Ending { exit_code, message, .. }) => (exit_code, message),
        other => panic!("{other:?}"),
    };
    let mut asks = |request, is_paused| {
        let client = crate::control::reach(directory.path()).unwrap().unwrap();
        client.send(&request, &[]).unwrap();
        let mut wishes = Vec::new();
        let mut ways = Ways { is_paused, ..to(Some((&init, &spec)), &agent, &mut wishes) };
        visitors.hear(&[true], &mut ways).unwrap();
        let there = visitors.watched().count() - 1;
        let ready = [vec![false; there], vec![true]].concat();
        visitors.hear(&ready, &mut ways).unwrap();
        (client, matches!(wishes.as_slice(), [Wish::Pause(_)]))
    };
    let (still, is_wished) = asks(ControlRequest::Pause(true), false);
    assert!(is_wished);
    let (again, is_wished) = asks(ControlRequest::Pause(true), true);
    assert_eq!((told(&again), is_wished), ((125, Some("it is paused already".to_owned())), false));
    let copy = CopyRequest::Out { path: "/".to_owned(), follow: false };
    let (copies, _) = asks(ControlRequest::Copy(copy), true);
    assert_eq!(told(&copies), (125, Some(PAUSED.to_owned())));
    let (goes_on, is_wished) = asks(ControlRequest::Pause(false), true);
    assert!(is_wished);
    visitors.paused(true);
    assert_eq!(told(&still), (0, None));
    let (exit_code, message) = told(&goes_on);
    assert_eq!((exit_code, message.is_some()), (125, true), "they do not go on");
}
