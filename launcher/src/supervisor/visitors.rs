//! Whoever comes to a sandbox by its socket: for a further process or container of their own, to know what it uses, for its
//! own streams, or for its end.
//!
//! Owns: who came, what they are told, and the names of their processes. Never does: decide what becomes of the sandbox;
//! what they wish of that is its supervisor's to do. Whoever goes away leaves their process behind, as with Docker.

use super::asked::{self, Asked, First, Means};
use super::visitor::{Errand, Partly, Visitor};
use super::{Gate, Orders, SIGNALS};
use crate::agent_client::{AgentClient, AgentError};
use crate::control::Control;
use crate::error::say;
use crate::jail::channel::Channel;
use crate::layers_disk::LayersDisk;
use crate::outcome::Outcome;
use crate::session::{
    ControlRequest, Ending, LimitChanges, Patience, StreamKind, SupervisorMessage, TerminalMessage,
};
use crate::streams::Line;
use network::{Counts, Order};
use protocol::{Event, ExitStatus, ProcessId, ProcessRef, ProcessSpec, Request};
use rustix::event::{PollFd, PollFlags};
use std::os::fd::OwnedFd;

/// So many at a time.
const MOST: usize = 256;
/// The names of the agent's watch over Docker, and of its gate. Whoever comes has a process of another.
const OWN: [&str; 2] = [WATCH, GATE];
const WATCH: &str = "docker-ports";
const GATE: &str = "gate";
const NOT_RUNNING: &str = "the container does not run";
const LIMITING: &str = "it is being given other limits already";
const PAUSED: &str = "the sandbox is paused";
const PAUSED_HINT: &str = "cofferdam unpause lets it go on";
/// What a process ends with whose sandbox is gone.
const KILLED: u8 = 137;

/// Whom what is wanted is passed on to.
pub struct Ways<'w, 'o> {
    /// The sandbox's own container, where it runs.
    pub first: Option<First<'w>>,
    /// The agent.
    pub agent: &'w AgentClient,
    /// Whoever carries its network, if it has one.
    pub orders: Option<&'w mut Orders<'o>>,
    /// The streams of its first process are not those of a terminal here: others may have them.
    pub streams: Option<StreamKind>,
    /// Its containers stand still.
    pub is_paused: bool,
    /// What is wished of the sandbox itself.
    pub wishes: &'w mut Vec<Wish>,
}

/// What somebody wishes of the sandbox itself.
#[derive(Debug)]
pub enum Wish {
    /// That it ends: by this signal, or its own, with so much patience.
    Stop(Option<u8>, Patience),
    /// That its first process is sent this signal.
    Signal(u8),
    /// That its container has other limits.
    Limit(LimitChanges),
    /// That it is called so.
    Rename(String),
    /// That its terminal has this size.
    Resize(protocol::TerminalSize),
    /// That all containers stand still, or go on.
    Pause(bool),
    /// That its streams are theirs, too, by these.
    Attach(Vec<OwnedFd>),
}

/// All of them, and where more come in.
#[derive(Debug)]
pub struct Visitors {
    control: Control,
    /// Those who come by the container's own sockets, of these paths.
    gate: Gate,
    paths: Vec<String>,
    line: Line,
    layers: LayersDisk,
    come: u64,
    /// How often the agent has been asked to measure, and has not answered.
    unanswered: u32,
    /// It has been asked for other limits, likewise.
    is_limiting: bool,
    all: Vec<Visitor>,
}

impl Visitors {
    /// Nobody yet.
    pub fn new(control: Control, line: Line, layers: LayersDisk) -> Self {
        let (gate, paths, all) = (Gate::default(), Vec::new(), Vec::new());
        Self { control, gate, paths, line, layers, come: 0, unanswered: 0, is_limiting: false, all }
    }

    /// The same, where others come by the container's own sockets, of these paths.
    #[must_use]
    pub fn with_gate(self, gate: Gate, paths: Vec<String>) -> Self {
        Self { gate, paths, ..self }
    }

    /// What is to be watched: where somebody comes in, then everybody who is there, then the gate.
    pub fn watched(&self) -> impl Iterator<Item = PollFd<'_>> {
        let there = self.all.iter().filter_map(|visitor| visitor.channel.as_ref());
        let there = there.map(|channel| PollFd::new(channel, PollFlags::IN));
        let control = std::iter::once(PollFd::new(&self.control, PollFlags::IN));
        control.chain(there).chain(self.gate.watched(&self.line))
    }

    /// Hears those that are ready, in the order in which they were watched.
    ///
    /// # Errors
    /// Those of the agent, to which all is passed on.
    pub fn hear(&mut self, ready: &[bool], ways: &mut Ways<'_, '_>) -> Result<(), AgentError> {
        let (comes, there) = ready.split_first().unwrap_or((&false, &[]));
        let mut there = there.iter();
        let is_ready = |visitor: &Visitor| visitor.channel.is_some() && there.next() == Some(&true);
        let ready: Vec<bool> = self.all.iter().map(is_ready).collect();
        let at_gate: Vec<bool> = there.copied().collect();
        if at_gate.contains(&true) {
            self.gate.hear(&at_gate, &mut self.line);
        }
        for index in (0..ready.len()).filter(|&index| ready.get(index) == Some(&true)) {
            self.hear_one(index, ways)?;
        }
        self.all.retain(|visitor| visitor.channel.is_some() || visitor.process().is_some());
        if *comes && let Some(channel) = self.control.accept() {
            let mut visitor = Visitor::new(Some(channel));
            if self.all.len() < MOST {
                self.all.push(visitor);
            } else {
                visitor.end(refused(&format!("{MOST} others are being served already")));
            }
        }
        Ok(())
    }

    fn hear_one(&mut self, index: usize, ways: &mut Ways<'_, '_>) -> Result<(), AgentError> {
        let Some(visitor) = self.all.get_mut(index) else { return Ok(()) };
        match &visitor.errand {
            Errand::Unsaid => {
                let asked = visitor.channel.as_ref().map(Channel::receive::<ControlRequest>);
                let Some(Ok((request, files))) = asked else {
                    visitor.channel = None;
                    return Ok(());
                };
                self.serve(index, request, files, ways)
            }
            Errand::Process { process, .. } => {
                let process = process.clone();
                let request = match visitor.hear() {
                    Some(TerminalMessage::Signal(signal)) if SIGNALS.contains(&signal) => {
                        Request::Signal { process, signal }
                    }
                    Some(TerminalMessage::Resize(size)) => Request::Resize { process, size },
                    _ => return Ok(()),
                };
                ways.agent.request(&request)
            }
            Errand::Streams => {
                match visitor.hear() {
                    Some(TerminalMessage::Signal(signal)) if SIGNALS.contains(&signal) => {
                        ways.wishes.push(Wish::Signal(signal));
                    }
                    Some(TerminalMessage::Resize(size)) => ways.wishes.push(Wish::Resize(size)),
                    _ => {}
                }
                Ok(())
            }
            Errand::Measures(_)
            | Errand::Pause(_)
            | Errand::Limits
            | Errand::End
            | Errand::Over => {
                visitor.hear();
                Ok(())
            }
        }
    }

    /// Does what somebody came for, or has it done.
    fn serve(
        &mut self,
        index: usize,
        request: ControlRequest,
        files: Vec<OwnedFd>,
        ways: &mut Ways<'_, '_>,
    ) -> Result<(), AgentError> {
        let Some(visitor) = self.all.get_mut(index) else { return Ok(()) };
        match (request, ways.first) {
            (ControlRequest::Wait, _) => visitor.errand = Errand::End,
            (ControlRequest::Stop { signal, patience }, _) => {
                let signal = signal.filter(|signal| SIGNALS.contains(signal));
                ways.wishes.push(Wish::Stop(signal, patience));
                visitor.errand = Errand::End;
            }
            (_, None) => visitor.end(refused(NOT_RUNNING)),
            (ControlRequest::Signal(signal), _) => {
                if SIGNALS.contains(&signal) {
                    ways.wishes.push(Wish::Signal(signal));
                }
                visitor.end(Ending::new(0, None, None));
            }
            (ControlRequest::Pause(wanted), _) if wanted == ways.is_paused => {
                visitor.end(refused(if wanted {
                    "it is paused already"
                } else {
                    "it is not paused"
                }));
            }
            (ControlRequest::Pause(wanted), _) => {
                ways.wishes.push(Wish::Pause(wanted));
                visitor.errand = Errand::Pause(wanted);
            }
            (ControlRequest::Rename(name), _) => {
                ways.wishes.push(Wish::Rename(name));
                visitor.end(Ending::new(0, None, None));
            }
            // Two at once would be in force in any order.
            (ControlRequest::Update(_), _) if self.is_limiting => visitor.end(refused(LIMITING)),
            (ControlRequest::Update(changes), _) => {
                self.is_limiting = true;
                ways.wishes.push(Wish::Limit(changes));
                visitor.errand = Errand::Limits;
            }
            (ControlRequest::Attach { input }, _) => attach(visitor, input, ways),
            (ControlRequest::Measure, Some((_, first))) => {
                let network = if ways.orders.is_some() { None } else { Some(None) };
                visitor.errand = Errand::Measures(Partly { usage: None, network });
                if let Some(orders) = &mut ways.orders {
                    orders.give(Order::Count);
                }
                self.unanswered += 1;
                return ways.agent.request(&Request::Measure(first.id.clone()));
            }
            (_, Some(_)) if ways.is_paused => {
                visitor.end(Ending { hint: Some(PAUSED_HINT.to_owned()), ..refused(PAUSED) });
            }
            (request, Some(first)) => {
                return self.start(index, (request, files), first, ways.agent);
            }
        }
        Ok(())
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
        let Some(visitor) = self.all.get_mut(index) else { return Ok(()) };
        let means = Means { line: &mut self.line, layers: &mut self.layers, number: self.come };
        let Asked { process, kind, ours, request } = match means.ask(request, &files, first) {
            Ok(asked) => asked,
            Err(why) => {
                visitor.end(refused(&why));
                return Ok(());
            }
        };
        if let Err(excess) = request.encode() {
            visitor.end(refused(&excess.to_string()));
            return Ok(());
        }
        if let Some(kind) = kind
            && !visitor.hand(&SupervisorMessage::Streams(kind), &ours)
        {
            visitor.channel = None;
            return Ok(());
        }
        let is_container = matches!(request, Request::Start(_));
        visitor.errand = Errand::Process { process, is_container };
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
            self.all.iter_mut().for_each(|visitor| visitor.learn(more));
            return Ok(None);
        }
        if let Event::Limited(failure) = &event {
            if !std::mem::take(&mut self.is_limiting) {
                return Ok(Some(event));
            }
            // Whoever asked may be gone.
            if let Some(first) = self.all.iter_mut().find(|it| matches!(it.errand, Errand::Limits))
            {
                first.end(match failure {
                    None => Ending::new(0, None, None),
                    Some(words) => refused(words),
                });
            }
            return Ok(None);
        }
        let of = match &event {
            Event::Started { process, .. }
            | Event::Failed { process, .. }
            | Event::Exited { process, .. } => process,
            Event::PoweringOff | Event::Measured { .. } | Event::Frozen(_) | Event::Limited(_) => {
                return Ok(Some(event));
            }
        };
        let Some(visitor) = self.all.iter_mut().find(|visitor| visitor.process() == Some(of))
        else {
            return Ok(Some(event));
        };
        let is_own = visitor.channel.is_none() && OWN.contains(&of.process.as_str());
        match event {
            Event::Started { .. } => visitor.tell(&SupervisorMessage::Started),
            Event::Failed { failure, .. } => {
                let message = format!("cannot start the process: {}", failure.message);
                if is_own {
                    say(&message);
                }
                let code = Outcome::NotStarted(failure).exit_code();
                visitor.end(Ending::new(code, Some(message), None));
            }
            Event::Exited { status: ExitStatus::Signal(signal), .. }
                if !SIGNALS.contains(&signal) =>
            {
                return Err(AgentError::NoSuchSignal(signal));
            }
            Event::Exited { status, out_of_memory, .. } => {
                // Of a further process of the first container it says nothing: it counts for all of that.
                let is_container =
                    matches!(visitor.errand, Errand::Process { is_container: true, .. });
                let out_of_memory = out_of_memory && is_container;
                visitor.end(Outcome::Exited { status, out_of_memory }.ending());
            }
            Event::PoweringOff | Event::Measured { .. } | Event::Frozen(_) | Event::Limited(_) => {}
        }
        Ok(None)
    }

    /// Whether all containers stand still, for those who wanted that, or that they go on.
    pub fn paused(&mut self, is_paused: bool) {
        for visitor in &mut self.all {
            if let Errand::Pause(wanted) = visitor.errand {
                visitor.end(match wanted == is_paused {
                    true => Ending::new(0, None, None),
                    false => refused("some of its processes do not stand still yet"),
                });
            }
        }
    }

    /// What has passed through the sandbox's network, for all who want to know.
    pub fn counted(&mut self, counts: Counts) {
        let more = Partly { usage: None, network: Some(Some(counts)) };
        self.all.iter_mut().for_each(|visitor| visitor.learn(more));
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
        self.start_own(WATCH, init, spec, agent)?;
        Ok(Some(said))
    }

    /// Has the agent's gate started in the first container, and lets those in who come by that.
    ///
    /// # Errors
    /// Those of the agent.
    pub fn open_gate(
        &mut self,
        (init, first): First<'_>,
        agent: &AgentClient,
    ) -> Result<(), AgentError> {
        if !self.gate.is_wanted() {
            return Ok(());
        }
        let Ok((spec, told)) = asked::gate(&mut self.line, first, &self.paths) else {
            self.gate.close();
            return Ok(());
        };
        self.start_own(GATE, init, spec, agent)?;
        self.gate.open(told);
        Ok(())
    }

    /// Has a program of the agent's own started in the first container, for nobody who is there.
    fn start_own(
        &mut self,
        name: &str,
        init: &ProcessRef,
        spec: ProcessSpec,
        agent: &AgentClient,
    ) -> Result<(), AgentError> {
        let Ok(name) = ProcessId::try_from(name.to_owned()) else { return Ok(()) };
        let process = ProcessRef { process: name, ..init.clone() };
        let errand = Errand::Process { process: process.clone(), is_container: false };
        self.all.push(Visitor { channel: None, errand });
        agent.request(&Request::Run { process, spec: Box::new(spec) })
    }

    /// Nobody reaches the container any more. Who comes to the sandbox itself waits until it is known how it ended.
    pub fn close(&mut self) {
        self.gate.close();
    }

    /// The sandbox has ended, so, and all that ran in it: whoever is there is told, and whoever has come meanwhile.
    pub fn end(mut self, ending: &Ending) {
        let come = std::iter::from_fn(|| self.control.accept_waiting());
        self.all.extend(come.map(|channel| Visitor::new(Some(channel))));
        for visitor in &mut self.all {
            visitor.end(match visitor.errand {
                Errand::Streams | Errand::End => ending.clone(),
                Errand::Unsaid if visitor.wants_the_end() => ending.clone(),
                Errand::Unsaid | Errand::Pause(_) | Errand::Limits => refused(NOT_RUNNING),
                Errand::Over => continue,
                _ => Ending::new(KILLED, None, None),
            });
        }
    }
}

/// Gives somebody the sandbox's own streams, by others of their own.
fn attach(visitor: &mut Visitor, input: bool, ways: &mut Ways<'_, '_>) {
    let Some(kind) = ways.streams else {
        return visitor.end(refused("its streams are those of the cofferdam that runs it"));
    };
    let kind = kind.with_input(input);
    let (theirs, ours) = match crate::streams::pairs(kind.count()) {
        Ok(pairs) => pairs,
        Err(errno) => return visitor.end(refused(&format!("cannot make its streams: {errno}"))),
    };
    if !visitor.hand(&SupervisorMessage::Streams(kind), &theirs) {
        visitor.channel = None;
        return;
    }
    visitor.tell(&SupervisorMessage::Started);
    visitor.errand = Errand::Streams;
    ways.wishes.push(Wish::Attach(ours));
}

fn refused(why: &str) -> Ending {
    Ending::new(crate::exit_code::LAUNCHER, Some(why.to_owned()), None)
}

#[cfg(test)]
mod tests;
