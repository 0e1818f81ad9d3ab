//! An agent that lies: the real supervisor and channel, and at the other end whatever a guest may send. It
//! ends with an error, or as what was said in order says, and never otherwise.

use super::*;
use crate::container_spec::tests::spec;
use crate::jail::start;
use protocol::frame::{Decoder, encode};
use protocol::handshake::{Hello, PROTOCOL_VERSION, Welcome, greeting};
use protocol::{ContainerId, ExitStatus, Failure, FailureKind, ProcessId};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio as Streams};

/// What an honest container ends with: no code that anything else makes.
const CODE: u8 = 7;
const ERROR: u8 = 125;
/// No run of these tests takes this long.
const LONG: Duration = Duration::from_secs(20);
/// What an end that nobody waits for takes at most, on a busy machine.
const SOON: Duration = Duration::from_secs(5);

/// The guest's side of a sandbox, and the terminal's.
struct Liar {
    agent: UnixStream,
    machine: Channel,
    terminal: Channel,
}

impl Liar {
    fn says(&mut self, bytes: &[u8]) {
        self.agent.write_all(bytes).unwrap();
    }

    /// The last output is with its reader, so that nothing but the agent's words is waited for.
    fn has_no_output(&self) {
        self.terminal.send(&TerminalMessage::OutputEnded, &[]).unwrap();
    }

    /// Reads what it is told until that is to power off.
    fn waits_for_power_off(&mut self) {
        self.waits_for(&[Request::PowerOff]);
    }

    /// Reads what it is told until it has been told these, in their order.
    fn waits_for(&mut self, requests: &[Request]) {
        let (mut decoder, mut is_welcome) = (Decoder::default(), false);
        let (mut bytes, mut wanted) = ([0; 4096], requests.iter().peekable());
        while wanted.peek().is_some() {
            let count = self.agent.read(&mut bytes).unwrap();
            assert!(count > 0, "it is not told {:?}", wanted.peek());
            decoder.push(&bytes[..count]);
            is_welcome = is_welcome || decoder.next::<Welcome>().unwrap().is_some();
            while is_welcome && let Some(request) = decoder.next::<Request>().unwrap() {
                wanted.next_if(|wanted| **wanted == request);
            }
        }
    }

    fn stops_its_machine(&self, how: VmExit) {
        self.machine.send(&MachineEvent::Exited(how), &[]).unwrap();
    }
}

fn job() -> Job {
    Job {
        spec: spec(&["image"]),
        boot_timeout: LONG,
        timeout: None,
        stop_signal: 15,
        stop_timeout: None,
        keep_disk: false,
        detached: false,
    }
}

/// Supervises a sandbox whose guest does this; gives how it ended, and what the guest has to tell.
fn supervised<T: Send + 'static>(
    job: Job,
    lie: impl FnOnce(&mut Liar) -> T + Send + 'static,
) -> (Outcome, T) {
    let (control, agent) = UnixStream::pair().unwrap();
    let (session, terminal) = Channel::pair().unwrap();
    let (ours, machine) = Channel::pair().unwrap();
    let mut command = Command::new("/bin/true");
    command.stdin(Streams::null());
    let mut process = Machine::Kvm { vmm: start(command, ours).unwrap(), counts: Vec::new() };
    let liar = std::thread::spawn(move || {
        let mut liar = Liar { agent, machine, terminal };
        let told = lie(&mut liar);
        (liar, told)
    });
    let agent = AgentClient::new(control.into());
    let mut supervisor = Supervisor::new(&mut process, agent, &session, job, Neighbours::default());
    let outcome = supervisor.run();
    drop(supervisor);
    drop(session);
    let (_liar, told) = liar.join().unwrap();
    (outcome, told)
}

/// The agent says all this at once, and its machine stops.
fn said(bytes: Vec<u8>) -> Outcome {
    let lie = move |liar: &mut Liar| {
        liar.has_no_output();
        liar.says(&bytes);
        liar.stops_its_machine(VmExit::Stopped);
    };
    supervised(job(), lie).0
}

#[track_caller]
fn is_an_error(outcome: &Outcome, what: &str) {
    let ending = outcome.ending();
    assert_eq!(ending.exit_code, ERROR, "{what}: {outcome:?}");
    assert!(ending.message.is_some_and(|words| !words.is_empty()), "{what}: {outcome:?}");
}

fn process(name: &str) -> ProcessRef {
    let container = ContainerId::try_from("abcdef".to_owned()).unwrap();
    let process = ProcessId::try_from(name.to_owned()).unwrap();
    ProcessRef { container: Some(container), process }
}

fn hello_of(protocol_version: u32, agent_version: &str) -> Vec<u8> {
    let (agent_version, kernel_release) = (agent_version.to_owned(), "6.12.1".to_owned());
    let agent_started_ns = 1_000_000;
    encode(&Hello { protocol_version, agent_version, kernel_release, agent_started_ns }).unwrap()
}

fn hello() -> Vec<u8> {
    hello_of(PROTOCOL_VERSION, "0.1.0")
}

fn started(name: &str) -> Vec<u8> {
    encode(&Event::Started { process: process(name), guest_pid: 9 }).unwrap()
}

fn exited(name: &str, status: ExitStatus) -> Vec<u8> {
    encode(&Event::Exited { process: process(name), status, out_of_memory: false }).unwrap()
}

fn failed(name: &str, message: String) -> Vec<u8> {
    let failure = Failure { kind: FailureKind::Setup, message };
    encode(&Event::Failed { process: process(name), failure }).unwrap()
}

fn ended() -> Vec<u8> {
    exited("init", ExitStatus::Code(CODE))
}

fn dialogue() -> Vec<u8> {
    [hello(), started("init"), ended()].concat()
}

/// How the container ended, by what these bytes say in order.
fn told(bytes: &[u8]) -> Option<ExitStatus> {
    let mut decoder = Decoder::default();
    decoder.push(bytes);
    greeting::<Hello, AgentError>(&mut decoder).ok()??;
    let mut has_started = false;
    loop {
        match decoder.next::<Event>().ok()?? {
            Event::Started { process: it, .. } => has_started |= it == process("init"),
            Event::Failed { process: it, .. } if it == process("init") && !has_started => {
                return None;
            }
            Event::Exited { process: it, status, .. } if has_started && it == process("init") => {
                return Some(status);
            }
            _ => {}
        }
    }
}

#[test]
fn what_is_said_in_order_is_how_it_ended() {
    assert_eq!(said(dialogue()).exit_code(), CODE);
    assert_eq!(told(&dialogue()), Some(ExitStatus::Code(CODE)));
}

/// Each byte of a whole dialogue with each bit turned, and with none and all of them.
#[test]
fn no_mutation_of_a_dialogue_is_a_success_that_nobody_told() {
    let honest = dialogue();
    for (at, byte) in honest.iter().enumerate() {
        let turned = (0..8).map(|bit| byte ^ (1 << bit)).chain([0, 0xff]);
        for other in turned.filter(|other| other != byte) {
            let mut bytes = honest.clone();
            bytes[at] = other;
            let outcome = said(bytes.clone());
            let what = format!("byte {at} is {other:#x}: {outcome:?}");
            match told(&bytes) {
                Some(ExitStatus::Code(code)) => assert_eq!(outcome.exit_code(), code, "{what}"),
                Some(ExitStatus::Signal(signal)) if SIGNALS.contains(&signal) => {
                    assert_eq!(outcome.exit_code(), 128 + signal, "{what}");
                }
                _ => {
                    assert!((125..128).contains(&outcome.exit_code()), "{what}");
                    assert!(outcome.ending().message.is_some(), "{what}");
                }
            }
        }
    }
}

#[test]
fn no_beginning_of_a_dialogue_is_its_end() {
    let honest = dialogue();
    for length in 0..honest.len() {
        is_an_error(&said(honest[..length].to_vec()), &format!("{length} bytes"));
    }
}

#[test]
fn what_is_said_out_of_order_is_not_believed() {
    let powering_off = || encode(&Event::PoweringOff).unwrap();
    let none = || failed("init", "it could not".to_owned());
    let lies: [(&str, Vec<Vec<u8>>); 11] = [
        ("an end before a start", vec![hello(), ended()]),
        ("an end, then a start", vec![hello(), ended(), started("init")]),
        ("no greeting", vec![started("init"), ended()]),
        ("another version", vec![hello_of(PROTOCOL_VERSION + 1, ""), started("init"), ended()]),
        ("two greetings", vec![hello(), hello(), started("init")]),
        ("a start of another", vec![hello(), started("other"), ended()]),
        ("an end of another", vec![hello(), started("init"), exited("other", ExitStatus::Code(0))]),
        ("a power-off before a start", vec![hello(), powering_off()]),
        ("a power-off before an end", vec![hello(), started("init"), powering_off()]),
        ("a failure after a start", vec![hello(), started("init"), none()]),
        ("a failure and a start", vec![hello(), none(), started("init"), ended()]),
    ];
    for (what, messages) in lies {
        is_an_error(&said(messages.concat()), what);
    }
    let twice =
        [hello(), started("init"), started("init"), ended(), exited("init", ExitStatus::Code(0))];
    assert_eq!(said(twice.concat()).exit_code(), CODE, "what is said twice is said once");
}

#[test]
fn an_end_that_no_process_has_is_an_error() {
    let outcome = |status| said([hello(), started("init"), exited("init", status)].concat());
    for signal in [0, 65, 127, 128, 255] {
        is_an_error(&outcome(ExitStatus::Signal(signal)), &format!("signal {signal}"));
    }
    assert_eq!(outcome(ExitStatus::Signal(9)).exit_code(), 137);
    assert_eq!(outcome(ExitStatus::Code(255)).exit_code(), 255);
}

/// A disk that is kept is whole only where the machine has stopped as it was asked to.
#[test]
fn a_machine_that_ends_otherwise_than_told_is_an_error() {
    let ends = |how: VmExit, is_asked_first: bool| {
        let lie = move |liar: &mut Liar| {
            liar.has_no_output();
            liar.says(&dialogue());
            if is_asked_first {
                liar.waits_for_power_off();
            }
            liar.says(&encode(&Event::PoweringOff).unwrap());
            liar.stops_its_machine(how);
        };
        supervised(Job { keep_disk: true, ..job() }, lie).0
    };
    assert_eq!(ends(VmExit::Stopped, true).exit_code(), CODE);
    for how in [VmExit::Reset, VmExit::Panicked, VmExit::TripleFault] {
        for is_asked_first in [true, false] {
            is_an_error(&ends(how.clone(), is_asked_first), &format!("{how:?} {is_asked_first}"));
        }
    }
}

/// Seen by its length: nothing is waited for, and nothing kept.
#[test]
fn a_message_of_four_gibibytes_is_an_error_at_once() {
    for before in [vec![], hello(), [hello(), started("init")].concat()] {
        let begun = Instant::now();
        let (outcome, ()) = supervised(job(), move |liar| {
            liar.says(&[before, vec![0xff; 4]].concat());
        });
        is_an_error(&outcome, "four gibibytes");
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    }
}

#[test]
fn an_agent_that_is_silent_is_not_waited_for_beyond_its_time() {
    let short = || Job { boot_timeout: Duration::from_millis(200), ..job() };
    for words in [vec![], hello()] {
        let begun = Instant::now();
        let (outcome, ()) = supervised(short(), move |liar| liar.says(&words));
        is_an_error(&outcome, "silence");
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    }
}

/// By its stop signal, and by SIGKILL where that was in vain; and where that is, too, nobody waits for it.
#[test]
fn what_is_asked_to_stop_has_the_time_that_it_may_have() {
    let signal = |signal| Request::Signal { process: process("init"), signal };
    let asked = |patience: Option<Duration>, told: &'static [u8], says: Vec<u8>| {
        let job = Job { stop_timeout: patience, stop_signal: 12, ..job() };
        let begun = Instant::now();
        let (outcome, ()) = supervised(job, move |liar| {
            liar.has_no_output();
            liar.says(&[hello(), started("init")].concat());
            let running = liar.terminal.receive::<SupervisorMessage>().unwrap().0;
            assert_eq!(running, SupervisorMessage::Started);
            liar.terminal.send(&TerminalMessage::Stop, &[]).unwrap();
            let told: Vec<_> = told.iter().map(|&it| signal(it)).collect();
            liar.waits_for(&told);
            liar.says(&says);
        });
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
        outcome.ending().exit_code
    };
    let (soon, killed) = (Some(Duration::from_millis(50)), ExitStatus::Signal(9));
    assert_eq!(asked(None, &[12], ended()), CODE);
    assert_eq!(asked(soon, &[12, 9], exited("init", killed)), 137);
    assert_eq!(asked(soon, &[12, 9], Vec::new()), 137, "it does not say that it is gone");
}

/// One that is silent, that goes on and on, or whose output has no end.
#[test]
fn a_witness_that_is_never_done_is_not_waited_for_beyond_its_time() {
    for (words, again) in [(vec![], vec![]), (vec![], started("other")), (ended(), vec![])] {
        let begun = Instant::now();
        let (time, none) = (Some(Duration::from_millis(300)), Some(Duration::ZERO));
        let spec = spec(&["--audited", "image"]);
        let short = Job { spec, timeout: time, stop_timeout: none, ..job() };
        let (outcome, ()) = supervised(short, move |liar| {
            liar.says(&[hello(), started("init"), words].concat());
            while !again.is_empty() && liar.agent.write_all(&again).is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        is_an_error(&outcome, "a witness");
        assert!(matches!(outcome, Outcome::WitnessTimedOut(_)), "{outcome:?}");
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    }
}

#[test]
fn a_byte_at_a_time_moves_no_deadline() {
    let begun = Instant::now();
    let short = Job { boot_timeout: Duration::from_millis(300), ..job() };
    let (outcome, ()) = supervised(short, |liar| {
        for byte in hello_of(PROTOCOL_VERSION, &"x".repeat(2000)) {
            if liar.agent.write_all(&[byte]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    is_an_error(&outcome, "a slow greeting");
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    let (outcome, ()) = supervised(job(), |liar| {
        liar.has_no_output();
        for byte in dialogue() {
            liar.says(&[byte]);
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    assert_eq!(outcome.exit_code(), CODE, "what is said slowly is said");
}

/// However long it would go on: it is an error, long before its words have filled any memory.
#[test]
fn a_flood_ends_the_sandbox() {
    const MOST: usize = 1 << 30;
    let long = failed("other", "x".repeat(60_000));
    let floods: [(&str, Vec<u8>, Vec<u8>); 4] = [
        ("long words", [hello(), started("init")].concat(), long),
        ("short words", [hello(), started("init")].concat(), started("init")),
        ("empty messages", hello(), vec![0; 4096]),
        ("greetings", vec![], vec![1; 4096]),
    ];
    for (what, before, wave) in floods {
        let (outcome, taken) = supervised(job(), move |liar| {
            liar.says(&before);
            let mut taken = 0;
            while taken < MOST && liar.agent.write_all(&wave).is_ok() {
                taken += wave.len();
            }
            taken
        });
        is_an_error(&outcome, what);
        assert!(taken < 32 << 20, "{what}: {taken} bytes were taken");
    }
}

/// Signals pile up at one that does not read: it is given its time, and no more.
#[test]
fn an_agent_that_does_not_read_is_an_error() {
    let begun = Instant::now();
    let (outcome, ()) = supervised(job(), |liar| {
        liar.says(&[hello(), started("init")].concat());
        while liar.terminal.send(&TerminalMessage::Signal(10), &[]).is_ok() {}
    });
    is_an_error(&outcome, "deaf");
    assert!(matches!(outcome, Outcome::Agent(AgentError::Deaf)), "{outcome:?}");
    assert!(begun.elapsed() < LONG, "{:?}", begun.elapsed());
}

#[test]
fn an_agent_that_hangs_up_is_lost_whenever_it_does() {
    for words in [vec![], hello(), [hello(), started("init")].concat()] {
        let begun = Instant::now();
        let (outcome, ()) = supervised(job(), move |liar| {
            liar.says(&words);
            liar.agent.shutdown(std::net::Shutdown::Both).unwrap();
        });
        is_an_error(&outcome, "hung up");
        assert!(begun.elapsed() < LAST_WORDS + SOON, "{:?}", begun.elapsed());
    }
}
