//! One connection of a guest's: a state machine of segments in, bytes through, segments out.
//!
//! What goes to the guest is kept until it is acknowledged, and sent again from there on if nobody acknowledges it: in
//! between is a queue, where what follows a lost segment is as a rule lost, too. What comes from the guest is taken in order,
//! as far as there is room; the rest it sends again.

use super::delayed_ack::DelayedAck;
use super::from_guest::FromGuest;
use super::to_guest::{Said, ToGuest};
use super::{Inside, Limits, OUR_SCALE, Outside, READ_BYTES};
use smoltcp::wire::{TcpControl, TcpRepr, TcpSeqNumber};
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

/// The time after which something is sent again first; doubled each time (RFC 6298, whose second is for the Internet).
const FIRST_PATIENCE: Duration = Duration::from_millis(200);
/// It is not doubled more often.
const MOST_DOUBLED: u32 = 6;
/// A guest that has said nothing of what it was sent so often is gone.
const MOST_TRIES: u32 = 10;
/// How long one that has ended answers a guest that has not heard of it.
const LINGER: Duration = Duration::from_secs(2);

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The guest has asked, and nobody has answered outside.
    Asked,
    /// The guest is asked.
    Called,
    /// Both sides are there, or have been.
    Open,
    /// Both sides have ended; the guest may not know.
    Lingering,
    /// Nothing more is to be said; the guest has said so itself, or was told so, before both sides had ended.
    Reset,
    /// Nothing more is to be said.
    Over,
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    state: State,
    limits: Limits,
    to_guest: ToGuest,
    from_guest: FromGuest,
    ack: DelayedAck,
    again_at: Option<Instant>,
    tries: u32,
}

impl Connection {
    /// A connection that a guest asks for by this segment. `first` is our first sequence number.
    pub fn asked(syn: &TcpRepr<'_>, first: u32, limits: Limits) -> Self {
        let wanted = syn.seq_number + 1;
        let mut to_guest = ToGuest::new(TcpSeqNumber(first.cast_signed()));
        to_guest.agree(syn, limits);
        let from_guest = FromGuest::new(wanted, limits.window, syn.window_scale.is_some());
        let ack = DelayedAck::new();
        Self { state: State::Asked, limits, to_guest, from_guest, ack, again_at: None, tries: 0 }
    }

    /// A connection that the guest is asked for, now.
    pub fn called(first: u32, limits: Limits, now: Instant, inside: &mut dyn Inside) -> Self {
        let to_guest = ToGuest::new(TcpSeqNumber(first.cast_signed()));
        let from_guest = FromGuest::new(TcpSeqNumber(0), limits.window, false);
        let again_at = Some(now + FIRST_PATIENCE);
        let (state, ack) = (State::Called, DelayedAck::new());
        let mut called = Self { state, limits, to_guest, from_guest, ack, again_at, tries: 0 };
        called.say_syn(inside);
        called
    }

    /// Whoever the guest asked for has answered.
    pub fn answered(&mut self, now: Instant, inside: &mut dyn Inside) {
        if self.state == State::Asked {
            self.state = State::Open;
            self.again_at = Some(now + FIRST_PATIENCE);
            self.say_syn(inside);
        }
    }

    /// Says to the guest that there is no connection, or no more.
    pub fn refuse(&mut self, inside: &mut dyn Inside) {
        if !self.is_over() {
            self.state = State::Reset;
            self.say(TcpControl::Rst, inside);
        }
    }

    /// The number of the SYN by which the guest has asked, while it has said nothing more.
    pub fn asked_by(&self) -> TcpSeqNumber {
        TcpSeqNumber(self.from_guest.wanted.0.wrapping_sub(1))
    }

    /// How far it is.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether nothing more is to be said.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over | State::Reset)
    }

    /// Whether the guest has not agreed to it yet.
    pub fn is_opening(&self) -> bool {
        self.to_guest.opening
    }

    /// When [`Connection::remind`] is to be called.
    pub fn again_at(&self) -> Option<Instant> {
        let next = [self.again_at, self.ack.due()].into_iter().flatten().min();
        next.filter(|_| self.is_timed())
    }

    fn is_timed(&self) -> bool {
        matches!(self.state, State::Called | State::Open | State::Lingering)
    }

    /// Takes in a segment of the guest's. What it is told of that, [`Connection::settle`] says.
    pub fn hear(
        &mut self,
        segment: &TcpRepr<'_>,
        outside: &mut dyn Outside,
        now: Instant,
        inside: &mut dyn Inside,
    ) {
        match (self.state, segment.control) {
            (State::Over | State::Reset, _) => {}
            (State::Asked, TcpControl::Rst) => self.state = State::Reset,
            (State::Asked, _) => {}
            (State::Called, control) => self.hear_of_call(segment, control, now),
            // Only one that stands exactly where the next is wanted is believed (RFC 5961, 3.2).
            (_, TcpControl::Rst) if segment.seq_number == self.from_guest.wanted => {
                if self.from_guest.ended {
                    // It hears nothing more. What it has sent may still be on its way outside.
                    self.to_guest.give_up();
                } else {
                    self.state = State::Reset;
                }
            }
            (_, TcpControl::Syn) if self.to_guest.opening => self.say_syn(inside),
            (_, TcpControl::Rst | TcpControl::Syn) | (State::Lingering, _) => {
                self.say(TcpControl::None, inside);
            }
            (State::Open, _) => self.hear_open(segment, outside, now, inside),
        }
    }

    fn hear_of_call(&mut self, segment: &TcpRepr<'_>, control: TcpControl, now: Instant) {
        let is_answer = segment.ack_number == Some(self.to_guest.acknowledged + 1);
        match control {
            TcpControl::Rst if is_answer => self.state = State::Reset,
            TcpControl::Syn if is_answer => {
                let scaled = segment.window_scale.is_some();
                self.to_guest.agree(segment, self.limits);
                self.to_guest.hear(segment);
                // Of a SYN, not shifted: it is said again with the guest's first segment.
                self.to_guest.agree(segment, self.limits);
                let wanted = segment.seq_number + 1;
                // It waits to hear of it, and of how much it may send.
                self.from_guest = FromGuest::new(wanted, self.limits.window, scaled);
                self.state = State::Open;
                self.tries = 0;
                self.again_at = Some(now + FIRST_PATIENCE);
            }
            _ => {}
        }
    }

    fn hear_open(
        &mut self,
        segment: &TcpRepr<'_>,
        outside: &mut dyn Outside,
        now: Instant,
        inside: &mut dyn Inside,
    ) {
        match self.to_guest.hear(segment) {
            Said::More => {
                self.tries = 0;
                self.again_at = (self.to_guest.length() > 0).then(|| now + FIRST_PATIENCE);
            }
            Said::Missing => self.send_again(inside),
            // It says that it still takes nothing: it is there, and is asked on and on (RFC 9293, 3.8.6.1).
            Said::Nothing if self.to_guest.is_shut() => self.tries = 0,
            Said::Nothing => {}
        }
        if self.to_guest.opening {
            return;
        }
        match self.from_guest.hear(segment, outside) {
            Ok(true) => {}
            Ok(false) => self.say(TcpControl::None, inside),
            Err(_) => self.refuse(inside),
        }
    }

    /// Moves what can be moved, outside what waits, to the guest what has come, and tells the guest what it is to know.
    /// Whether more could be moved if there were room inside.
    pub fn settle(
        &mut self,
        outside: &mut dyn Outside,
        now: Instant,
        inside: &mut dyn Inside,
    ) -> bool {
        if self.state != State::Open || self.to_guest.opening {
            return false;
        }
        let mut is_held_up = false;
        let sent = self.to_guest.most;
        let moved = self.from_guest.give(outside).and_then(|()| {
            is_held_up = self.bring(outside, inside)?;
            Ok(())
        });
        if moved.is_err() {
            self.refuse(inside);
            return false;
        }
        if self.to_guest.length() > 0 {
            self.again_at.get_or_insert(now + FIRST_PATIENCE);
        }
        self.acknowledge(self.to_guest.most != sent, now, inside);
        if self.to_guest.end_acknowledged && self.from_guest.end_passed {
            self.state = State::Lingering;
            self.again_at = Some(now + LINGER);
        }
        is_held_up
    }

    /// Tells the guest what has come, unless a reply has, or is likely to.
    fn acknowledge(&mut self, replied: bool, now: Instant, inside: &mut dyn Inside) {
        if !self.from_guest.is_news() {
            self.ack.settled(replied, now);
        } else if self.ack.owe(self.from_guest.may_wait(self.limits.mss.into()), now) {
            self.say(TcpControl::None, inside);
        }
    }

    /// Takes from outside, and sends on, turn by turn. Whether the guest's link is what it ends by.
    fn bring(&mut self, outside: &mut dyn Outside, inside: &mut dyn Inside) -> io::Result<bool> {
        let most = self.limits.most.max(self.to_guest.mss);
        loop {
            while let Some((offset, length, fin)) = self.to_guest.unsent(most) {
                if !inside.has_room() {
                    return Ok(true);
                }
                self.send(offset, length, fin, inside);
            }
            // A rest of each read would be a segment of its own.
            let whole = (READ_BYTES / most).max(1) * most;
            let room = self.to_guest.room(self.limits).min(whole);
            if self.to_guest.ended || room == 0 {
                return Ok(false);
            }
            match self.to_guest.held.fill(|into| outside.read(into, room)) {
                Ok(0) => self.to_guest.ended = true,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Tells the guest what it is owed by now; sends again what was not acknowledged in time, or asks whether there is room.
    pub fn remind(&mut self, now: Instant, inside: &mut dyn Inside) {
        if !self.is_timed() {
            return;
        }
        if self.ack.due().is_some() {
            self.acknowledge(false, now, inside);
        }
        if self.again_at.is_none_or(|at| now < at) {
            return;
        }
        if self.state == State::Lingering {
            self.state = State::Over;
            return;
        }
        if self.to_guest.length() == 0 {
            self.again_at = None;
            return;
        }
        self.tries += 1;
        if self.tries > MOST_TRIES {
            self.refuse(inside);
            return;
        }
        self.again_at = Some(now + FIRST_PATIENCE * (1 << self.tries.min(MOST_DOUBLED)));
        if self.to_guest.opening {
            self.say_syn(inside);
        } else {
            self.send_again(inside);
        }
    }

    /// Asks a guest that has long said nothing whether it is still there (RFC 9293, 3.8.4): it answers what it knows already.
    pub fn probe(&mut self, inside: &mut dyn Inside) {
        if self.state == State::Open && !self.to_guest.opening {
            let at = TcpSeqNumber(self.to_guest.acknowledged.0.wrapping_sub(1));
            let segment = self.from_guest.segment(TcpControl::None, at, &[]);
            inside.segment(&segment, self.to_guest.mss);
        }
    }

    fn send_again(&mut self, inside: &mut dyn Inside) {
        let (length, fin) = self.to_guest.again();
        self.send(0, length, fin, inside);
        // What follows is sent anew once this is acknowledged.
        self.to_guest.next = self.to_guest.acknowledged + length + usize::from(fin);
    }

    /// Sends a piece of what is held, and where it ends.
    fn send(&mut self, offset: usize, length: usize, fin: bool, inside: &mut dyn Inside) {
        let at = self.to_guest.acknowledged + offset;
        let control = if fin { TcpControl::Fin } else { TcpControl::Psh };
        let bytes = self.to_guest.held.from(offset);
        let bytes = bytes.get(..length).unwrap_or_default();
        let end = at + bytes.len() + usize::from(fin);
        inside.segment(&self.from_guest.segment(control, at, bytes), self.to_guest.mss);
        self.to_guest.next = end;
        self.to_guest.most = self.to_guest.most.max(end);
    }

    fn say(&mut self, control: TcpControl, inside: &mut dyn Inside) {
        let segment = self.from_guest.segment(control, self.to_guest.next, &[]);
        inside.segment(&segment, self.to_guest.mss);
    }

    fn say_syn(&mut self, inside: &mut dyn Inside) {
        let at = self.to_guest.acknowledged;
        let is_call = self.state == State::Called;
        let mut segment = self.from_guest.segment(TcpControl::Syn, at, &[]);
        segment.ack_number = segment.ack_number.filter(|_| !is_call);
        segment.window_scale = (is_call || self.to_guest.scale.is_some()).then_some(OUR_SCALE);
        segment.max_seg_size = Some(self.limits.mss);
        inside.segment(&segment, self.to_guest.mss);
        self.to_guest.next = at + 1;
        self.to_guest.most = at + 1;
    }
}
