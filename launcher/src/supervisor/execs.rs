//! Further processes of a sandbox, and further containers, each for somebody who came by its socket; and what a sandbox
//! uses, for who wants to know.
//!
//! Owns: who came, what they are told, and the names of their processes. Never does: let them have a say in the
//! sandbox's own end. Whoever goes away leaves their process behind, as with Docker.

use super::asked::{self, Asked, First, Means};
use super::{Orders, SIGNALS};
use crate::agent_client::{AgentClient, AgentError};
use crate::control::Control;
use crate::error::say;
use crate::jail::channel::{Channel, ChannelError};
use crate::layers_disk::LayersDisk;
use crate::outcome::Outcome;
use crate::session::{ControlRequest, Ending, Measured, SupervisorMessage, TerminalMessage};
use crate::streams::Line;
use network::{Counts, Order};
use protocol::{Event, ExitStatus, ProcessId, ProcessRef, Request, Usage};
use rustix::event::{PollFd, PollFlags};
use std::os::fd::{AsFd, OwnedFd};

/// So many at a time.
const MOST: usize = 64;
/// The name of the agent's watch over Docker. Whoever comes has a process of another.
const WATCH: &str = "docker-ports";
/// What a process ends with whose sandbox is gone.
const KILLED: u8 = 137;

/// Somebody who came, until they go and their process has ended.
#[derive(Debug)]
struct Exec {
    /// Whoever came, as long as they are there. They go where they are heard, and nowhere else: until then everybody has
    /// the place at which they were watched.
    channel: Option<Channel>,
    /// Their process, once it was asked for.
    process: Option<ProcessRef>,
    /// It is a container's first process.
    is_container: bool,
    /// They have been told how it ended, and have nothing more to say.
    is_over: bool,
    /// What they want to know, as far as it is known.
    measures: Option<Partly>,
}

/// What a sandbox uses, as far as it is known. Whether there is a network is always.
#[derive(Debug, Clone, Copy, Default)]
struct Partly {
    usage: Option<Usage>,
    network: Option<Option<Counts>>,
}

/// Whom what is wanted is passed on to.
pub struct Ways<'w, 'o> {
    /// The sandbox's own container, where it runs.
    pub first: Option<First<'w>>,
    /// The agent.
    pub agent: &'w AgentClient,
    /// Whoever carries its network, if it has one.
    pub orders: Option<&'w mut Orders<'o>>,
}

impl Exec {
    fn tell(&self, message: &SupervisorMessage) {
        if let Some(channel) = &self.channel {
            // A handful of messages fit whether they are read or not. Who is gone is noticed where it is read.
            let _ = channel.send(message, &[]);
        }
    }

    /// Somebody who has come, or nobody, for whom a process of the sandbox's own is.
    fn new(channel: Option<Channel>) -> Self {
        Self { channel, process: None, is_container: false, is_over: false, measures: None }
    }

    /// Takes in what they want to know, and tells it once it is all there.
    fn learn(&mut self, more: Partly) {
        let Some(known) = &mut self.measures else { return };
        known.usage = known.usage.or(more.usage);
        known.network = known.network.or(more.network);
        if let Partly { usage: Some(usage), network: Some(network) } = *known {
            self.measures = None;
            self.tell(&SupervisorMessage::Measured(Box::new(Measured { usage, network })));
        }
    }

    /// The last message.
    fn end(&mut self, ending: Ending) {
        self.tell(&SupervisorMessage::Ended(ending));
        self.process = None;
        self.is_over = true;
    }
}

/// All of them, and where more come in.
#[derive(Debug)]
pub struct Execs {
    control: Control,
    line: Line,
    layers: LayersDisk,
    come: u64,
    /// How often the agent has been asked to measure, and has not answered.
    unanswered: u32,
    all: Vec<Exec>,
}

impl Execs {
    /// Nobody yet.
    pub fn new(control: Control, line: Line, layers: LayersDisk) -> Self {
        Self { control, line, layers, come: 0, unanswered: 0, all: Vec::new() }
    }

    /// What is to be watched: where somebody comes in, then everybody who is there.
    pub fn watched(&self) -> impl Iterator<Item = PollFd<'_>> {
        let there = self.all.iter().filter_map(|exec| exec.channel.as_ref());
        let there = there.map(|channel| PollFd::new(channel, PollFlags::IN));
        std::iter::once(PollFd::new(&self.control, PollFlags::IN)).chain(there)
    }

    /// Hears those that are ready, in the order in which they were watched.
    ///
    /// # Errors
    /// Those of the agent, to which all is passed on.
    pub fn hear(&mut self, ready: &[bool], ways: &mut Ways<'_, '_>) -> Result<(), AgentError> {
        let (comes, there) = ready.split_first().unwrap_or((&false, &[]));
        let mut there = there.iter();
        let is_ready = |exec: &Exec| exec.channel.is_some() && there.next() == Some(&true);
        let ready: Vec<bool> = self.all.iter().map(is_ready).collect();
        for index in (0..ready.len()).filter(|&index| ready.get(index) == Some(&true)) {
            self.hear_one(index, ways)?;
        }
        self.all.retain(|exec| exec.channel.is_some() || exec.process.is_some());
        if *comes && let Some(channel) = self.control.accept() {
            let mut exec = Exec::new(Some(channel));
            if self.all.len() < MOST {
                self.all.push(exec);
            } else {
                exec.end(refused(&format!("{MOST} further processes run already")));
            }
        }
        Ok(())
    }

    fn hear_one(&mut self, index: usize, ways: &mut Ways<'_, '_>) -> Result<(), AgentError> {
        let Some(exec) = self.all.get_mut(index) else { return Ok(()) };
        let Some(channel) = &exec.channel else { return Ok(()) };
        if exec.is_over {
            // What was on its way when it ended.
            if !matches!(
                channel.receive::<TerminalMessage>(),
                Ok(_) | Err(ChannelError::Malformed(_))
            ) {
                exec.channel = None;
            }
            return Ok(());
        }
        let Some(process) = exec.process.clone() else {
            return match (channel.receive::<ControlRequest>(), ways.first) {
                (Ok((ControlRequest::Measure, _)), Some((_, first))) => {
                    let network = if ways.orders.is_some() { None } else { Some(None) };
                    exec.measures = Some(Partly { usage: None, network });
                    if let Some(orders) = &mut ways.orders {
                        orders.give(Order::Count);
                    }
                    self.unanswered += 1;
                    ways.agent.request(&Request::Measure(first.id.clone()))
                }
                (Ok(asked), Some(first)) => self.start(index, asked, first, ways.agent),
                (Ok(_), None) => {
                    exec.end(refused("the container does not run"));
                    Ok(())
                }
                (Err(_), _) => {
                    exec.channel = None;
                    Ok(())
                }
            };
        };
        let request = match channel.receive::<TerminalMessage>() {
            Ok((TerminalMessage::Signal(signal), _)) if SIGNALS.contains(&signal) => {
                Request::Signal { process, signal }
            }
            Ok((TerminalMessage::Resize(size), _)) => Request::Resize { process, size },
            Ok(_) | Err(ChannelError::Malformed(_) | ChannelError::TooLong) => return Ok(()),
            Err(_) => {
                exec.channel = None;
                return Ok(());
            }
        };
        ways.agent.request(&request)
    }

    /// Hands over our ends of the streams, and has the process started.
    fn start(
        &mut self,
        index: usize,
        (request, files): (ControlRequest, Vec<OwnedFd>),
        first: First<'_>,
        agent: &AgentClient,
    ) -> Result<(), AgentError> {
        self.come += 1;
        let Some(exec) = self.all.get_mut(index) else { return Ok(()) };
        let means = Means { line: &mut self.line, layers: &mut self.layers, number: self.come };
        let Asked { process, kind, ours, request } = match means.ask(request, &files, first) {
            Ok(asked) => asked,
            Err(why) => {
                exec.end(refused(&why));
                return Ok(());
            }
        };
        if let Err(excess) = request.encode() {
            exec.end(refused(&excess.to_string()));
            return Ok(());
        }
        let files: Vec<_> = ours.iter().map(AsFd::as_fd).collect();
        let told =
            exec.channel.as_ref().map(|it| it.send(&SupervisorMessage::Streams(kind), &files));
        if !matches!(told, Some(Ok(()))) {
            exec.channel = None;
            return Ok(());
        }
        exec.is_container = matches!(request, Request::Start(_));
        exec.process = Some(process);
        agent.request(&request)
    }

    /// Takes in an event; gives it back where it is of none of these processes.
    ///
    /// # Errors
    /// Where it is of one, and cannot be.
    pub fn event(&mut self, event: Event) -> Result<Option<Event>, AgentError> {
        if let Event::Measured { usage, .. } = event {
            let more = Partly { usage: Some(usage), network: None };
            // Whoever asked may be gone, or have had another's answer; that nobody asked is for the caller to count.
            let Some(left) = self.unanswered.checked_sub(1) else { return Ok(Some(event)) };
            self.unanswered = left;
            self.all.iter_mut().for_each(|exec| exec.learn(more));
            return Ok(None);
        }
        let of = match &event {
            Event::Started { process, .. }
            | Event::Failed { process, .. }
            | Event::Exited { process, .. } => process,
            Event::PoweringOff | Event::Measured { .. } => return Ok(Some(event)),
        };
        let Some(exec) = self.all.iter_mut().find(|exec| exec.process.as_ref() == Some(of)) else {
            return Ok(Some(event));
        };
        let is_watch = exec.channel.is_none() && of.process.as_str() == WATCH;
        match event {
            Event::Started { .. } => exec.tell(&SupervisorMessage::Started),
            Event::Failed { failure, .. } => {
                let message = format!("cannot start the process: {}", failure.message);
                if is_watch {
                    say(&message);
                }
                let code = Outcome::NotStarted(failure).exit_code();
                exec.end(Ending::new(code, Some(message), None));
            }
            Event::Exited { status: ExitStatus::Signal(signal), .. }
                if !SIGNALS.contains(&signal) =>
            {
                return Err(AgentError::NoSuchSignal(signal));
            }
            Event::Exited { status, out_of_memory, .. } => {
                // Of a further process of the first container it says nothing: it counts for all of that.
                let out_of_memory = out_of_memory && exec.is_container;
                exec.end(Outcome::Exited { status, out_of_memory }.ending());
            }
            Event::PoweringOff | Event::Measured { .. } => {}
        }
        Ok(None)
    }

    /// What has passed through the sandbox's network, for all who want to know.
    pub fn counted(&mut self, counts: Counts) {
        let more = Partly { usage: None, network: Some(Some(counts)) };
        self.all.iter_mut().for_each(|exec| exec.learn(more));
    }

    /// Has the agent's watch over a Docker daemon started in the first container; gives what it says, where it can be
    /// heard.
    ///
    /// # Errors
    /// Those of the agent.
    pub fn watch_docker(
        &mut self,
        (init, first): First<'_>,
        agent: &AgentClient,
    ) -> Result<Option<OwnedFd>, AgentError> {
        let Ok((spec, said)) = asked::docker_watch(&mut self.line, first) else { return Ok(None) };
        let Ok(name) = ProcessId::try_from(WATCH.to_owned()) else { return Ok(None) };
        let process = ProcessRef { process: name, ..init.clone() };
        self.all.push(Exec { process: Some(process.clone()), ..Exec::new(None) });
        agent.request(&Request::Run { process, spec: Box::new(spec) })?;
        Ok(Some(said))
    }

    /// The sandbox has ended, and all that ran in it.
    pub fn end(mut self) {
        self.all.iter_mut().for_each(|exec| exec.end(Ending::new(KILLED, None, None)));
    }
}

fn refused(why: &str) -> Ending {
    Ending::new(crate::exit_code::LAUNCHER, Some(why.to_owned()), None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{ContainerId, Failure, FailureKind};
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    /// Two who ask at once are both told by the first answer, and one who asked may be gone: the others are no lies.
    #[test]
    fn as_many_answers_are_believed_as_were_asked_for() {
        let scratch = tempfile::tempdir().unwrap();
        let control = Control::listen(scratch.path()).unwrap();
        let (line, _machines) = Line::pair().unwrap();
        let (agent, _guest) = UnixStream::pair().unwrap();
        let agent = AgentClient::new(agent.into());
        let mut execs = Execs::new(control, line, LayersDisk::of(4096).unwrap().0);
        let spec = crate::container_spec::tests::spec(&["image"]);
        let init = ProcessRef { container: Some(spec.id.clone()), process: spec.init_id.clone() };
        let reach = || crate::control::reach(scratch.path()).unwrap().unwrap();
        let clients = [reach(), reach()];
        let mut ways = Ways { first: Some((&init, &spec)), agent: &agent, orders: None };
        execs.hear(&[true], &mut ways).unwrap();
        execs.hear(&[true, false], &mut ways).unwrap();
        clients.iter().for_each(|it| it.send(&ControlRequest::Measure, &[]).unwrap());
        execs.hear(&[false, true, true], &mut ways).unwrap();
        let answer = || Event::Measured { container: spec.id.clone(), usage: Usage::default() };
        assert_eq!(execs.event(answer()).unwrap(), None);
        for client in &clients {
            let told = client.receive::<SupervisorMessage>().unwrap().0;
            assert!(matches!(told, SupervisorMessage::Measured(_)), "{told:?}");
        }
        assert_eq!(execs.event(answer()).unwrap(), None, "the other was asked for, too");
        assert_eq!(execs.event(answer()).unwrap(), Some(answer()));
    }

    /// Between two looks at who is ready, the agent may have told of the end of one of them.
    #[test]
    fn nobody_is_heard_in_place_of_another_who_has_ended() {
        let scratch = tempfile::tempdir().unwrap();
        let control = Control::listen(scratch.path()).unwrap();
        let (line, _machines) = Line::pair().unwrap();
        let (agent, _guest) = UnixStream::pair().unwrap();
        let agent = AgentClient::new(agent.into());
        let mut execs = Execs::new(control, line, LayersDisk::of(4096).unwrap().0);
        let reach = || crate::control::reach(scratch.path()).unwrap().unwrap();
        let (first, _second) = (reach(), reach());
        let mut ways = Ways { first: None, agent: &agent, orders: None };
        execs.hear(&[true], &mut ways).unwrap();
        execs.hear(&[true, false], &mut ways).unwrap();
        let container = ContainerId::try_from("abcdef".to_owned()).unwrap();
        let process = ProcessId::try_from("exec-1".to_owned()).unwrap();
        let process = ProcessRef { container: Some(container), process };
        execs.all[0].process = Some(process.clone());
        assert_eq!(execs.watched().count(), 3);
        let failure = Failure { kind: FailureKind::Setup, message: String::new() };
        assert_eq!(execs.event(Event::Failed { process, failure }).unwrap(), None);
        // The first was ready; the second says nothing, and would be waited for.
        first.send(&TerminalMessage::OutputEnded, &[]).unwrap();
        let (done, told) = channel();
        std::thread::spawn(move || {
            let mut ways = Ways { first: None, agent: &agent, orders: None };
            execs.hear(&[false, true, false], &mut ways).unwrap();
            done.send(execs.watched().count()).unwrap();
        });
        assert_eq!(told.recv_timeout(Duration::from_secs(10)), Ok(3));
    }
}
