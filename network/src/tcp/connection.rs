//! One connection of a guest's: a state machine of segments in, bytes through, segments out.
//!
//! What goes to the guest is kept until it is acknowledged, and sent again from there on if nobody acknowledges it: in
//! between is a queue, where what follows a lost segment is as a rule lost, too. What comes from the guest is taken in order,
//! as far as there is room; the rest it sends again.

use super::held::Held;
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
/// What a guest bears that does not say (RFC 9293, 3.7.1).
const DEFAULT_MSS: usize = 536;
/// How much is read from outside at a time.
const READ_BYTES: usize = 64 << 10;
/// By how much our windows are shifted.
const OUR_SCALE: u8 = 7;
/// The largest shift there is (RFC 7323, 2.3).
const MOST_SCALE: u8 = 14;

/// Where segments for the guest go. Ports are whoever's it is to fill in.
pub type Out<'a> = &'a mut dyn FnMut(&TcpRepr<'_>);

/// A socket outside that never waits: what it cannot do now is [`ErrorKind::WouldBlock`].
pub trait Outside {
    /// Takes bytes that have come; 0 where no more will.
    ///
    /// # Errors
    /// Where none has come, or the connection is lost.
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize>;
    /// Gives bytes.
    ///
    /// # Errors
    /// Where there is no room, or the connection is lost.
    fn write(&mut self, from: &[u8]) -> io::Result<usize>;
    /// Says that no more bytes follow.
    fn end(&mut self);
}

/// What a connection may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most bytes of a stream that are kept, in each direction.
    pub window: usize,
    /// The most of them in a segment.
    pub mss: u16,
}

/// What is to be watched for outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wants {
    /// That bytes have come.
    pub read: bool,
    /// That there is room for more.
    pub write: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The guest has asked, and nobody has answered outside.
    Asked,
    /// The guest is told of the answer.
    Open,
    /// Both sides have ended; the guest may not know.
    Lingering,
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
    again_at: Option<Instant>,
    tries: u32,
}

/// What goes to the guest: SYN, bytes, FIN.
#[derive(Debug)]
struct ToGuest {
    /// The guest has acknowledged what is before.
    acknowledged: TcpSeqNumber,
    /// What is sent next.
    next: TcpSeqNumber,
    /// What was ever sent ends here.
    most: TcpSeqNumber,
    /// Our SYN is not acknowledged yet.
    opening: bool,
    held: Held,
    /// Behind what is held no more comes, but FIN.
    ended: bool,
    end_acknowledged: bool,
    /// So much more than what is acknowledged the guest takes.
    window: usize,
    /// The segment that said so.
    window_by: (TcpSeqNumber, TcpSeqNumber),
    /// By which the guest's windows are shifted; `None` where it knows nothing of that.
    scale: Option<u8>,
    mss: usize,
}

/// What comes from the guest.
#[derive(Debug)]
struct FromGuest {
    /// What it sends next.
    wanted: TcpSeqNumber,
    /// The last that it was told of that.
    acknowledged: TcpSeqNumber,
    /// So far it was told that it may send.
    promised: TcpSeqNumber,
    /// What is not outside yet.
    waiting: Held,
    ended: bool,
    end_passed: bool,
}

impl Connection {
    /// A connection that a guest asks for by this segment. `first` is our first sequence number.
    pub fn asked(syn: &TcpRepr<'_>, first: u32, limits: Limits) -> Self {
        let first = TcpSeqNumber(first.cast_signed());
        let mss = syn.max_seg_size.map_or(DEFAULT_MSS, usize::from);
        let wanted = syn.seq_number + 1;
        // What is not shifted has no more than 16 bits.
        let most =
            syn.window_scale.map_or(usize::from(u16::MAX), |_| usize::from(u16::MAX) << OUR_SCALE);
        let limits = Limits { window: limits.window.min(most), ..limits };
        Self {
            state: State::Asked,
            limits,
            to_guest: ToGuest {
                acknowledged: first,
                next: first,
                most: first,
                opening: true,
                held: Held::default(),
                ended: false,
                end_acknowledged: false,
                window: usize::from(syn.window_len),
                window_by: (syn.seq_number, first),
                scale: syn.window_scale.map(|scale| scale.min(MOST_SCALE)),
                mss: mss.clamp(1, usize::from(limits.mss).max(1)),
            },
            from_guest: FromGuest {
                wanted,
                acknowledged: wanted,
                promised: wanted,
                waiting: Held::default(),
                ended: false,
                end_passed: false,
            },
            again_at: None,
            tries: 0,
        }
    }

    /// Whoever the guest asked for has answered.
    pub fn answered(&mut self, now: Instant, out: Out<'_>) {
        if self.state == State::Asked {
            self.state = State::Open;
            self.again_at = Some(now + FIRST_PATIENCE);
            self.say_syn(out);
        }
    }

    /// Says to the guest that there is no connection, or no more.
    pub fn refuse(&mut self, out: Out<'_>) {
        if self.state != State::Over {
            self.state = State::Over;
            self.say(TcpControl::Rst, self.to_guest.next, &[], out);
        }
    }

    /// Whether nothing more is to be said.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// What is to be watched for outside.
    pub fn wants(&self) -> Wants {
        let open = self.state == State::Open && !self.to_guest.opening;
        let FromGuest { waiting, ended, end_passed, .. } = &self.from_guest;
        Wants {
            read: open && !self.to_guest.ended && self.room_inside() > 0,
            write: open && (!waiting.is_empty() || (*ended && !*end_passed)),
        }
    }

    /// When [`Connection::remind`] is to be called.
    pub fn again_at(&self) -> Option<Instant> {
        self.again_at.filter(|_| matches!(self.state, State::Open | State::Lingering))
    }

    /// Takes in a segment of the guest's.
    pub fn hear(
        &mut self,
        segment: &TcpRepr<'_>,
        outside: &mut dyn Outside,
        now: Instant,
        out: Out<'_>,
    ) {
        match (self.state, segment.control) {
            (State::Asked | State::Over, TcpControl::Rst) => self.state = State::Over,
            (State::Asked | State::Over, _) => {}
            // Only one that stands exactly where the next is wanted is believed (RFC 5961, 3.2).
            (_, TcpControl::Rst) if segment.seq_number == self.from_guest.wanted => {
                self.state = State::Over;
            }
            (_, TcpControl::Syn) if self.to_guest.opening => self.say_syn(out),
            (_, TcpControl::Rst | TcpControl::Syn) | (State::Lingering, _) => self.acknowledge(out),
            (State::Open, _) => {
                if self.to_guest.hear(segment) {
                    self.tries = 0;
                    self.again_at = (self.to_guest.length() > 0).then(|| now + FIRST_PATIENCE);
                }
                if self.to_guest.opening {
                    return;
                }
                let is_all = self.from_guest.hear(segment, self.limits.window);
                self.pass(outside, now, out);
                let told = self.from_guest.acknowledged == self.from_guest.wanted;
                if !self.is_over() && (!told || !is_all) {
                    self.acknowledge(out);
                }
            }
        }
    }

    /// Moves what can be moved: outside what waits, to the guest what has come.
    pub fn pass(&mut self, outside: &mut dyn Outside, now: Instant, out: Out<'_>) {
        if self.state != State::Open || self.to_guest.opening {
            return;
        }
        let given = self.from_guest.give(outside);
        if given.and_then(|()| self.take_from_outside(outside)).is_err() {
            self.refuse(out);
            return;
        }
        while let Some((offset, length, fin)) = self.to_guest.unsent() {
            self.send(offset, length, fin, out);
            self.again_at.get_or_insert(now + FIRST_PATIENCE);
        }
        if self.to_guest.length() > 0 {
            self.again_at.get_or_insert(now + FIRST_PATIENCE);
        }
        let edge = self.from_guest.edge(self.limits.window);
        if edge - self.from_guest.promised >= self.limits.window / 2 {
            self.acknowledge(out);
        }
        if self.to_guest.end_acknowledged && self.from_guest.end_passed {
            if self.from_guest.acknowledged != self.from_guest.wanted {
                self.acknowledge(out);
            }
            self.state = State::Lingering;
            self.again_at = Some(now + LINGER);
        }
    }

    /// Sends again what was not acknowledged in time, or asks whether there is room by now.
    pub fn remind(&mut self, now: Instant, out: Out<'_>) {
        if self.again_at().is_none_or(|at| now < at) {
            return;
        }
        if self.state == State::Lingering {
            self.state = State::Over;
            return;
        }
        self.tries += 1;
        if self.tries > MOST_TRIES {
            self.refuse(out);
            return;
        }
        self.again_at = Some(now + FIRST_PATIENCE * (1 << self.tries.min(MOST_DOUBLED)));
        if self.to_guest.opening {
            self.say_syn(out);
            return;
        }
        let ToGuest { held, mss, window, ended, .. } = &self.to_guest;
        let length = held.len().min(*mss).min((*window).max(1));
        let fin = *ended && length == held.len();
        self.send(0, length, fin, out);
        // What follows is sent anew once this is acknowledged.
        self.to_guest.next = self.to_guest.acknowledged + length + usize::from(fin);
    }

    /// How much more may be held for the guest.
    fn room_inside(&self) -> usize {
        self.to_guest.window.min(self.limits.window).saturating_sub(self.to_guest.held.len())
    }

    fn take_from_outside(&mut self, outside: &mut dyn Outside) -> io::Result<()> {
        while !self.to_guest.ended && self.room_inside() > 0 {
            let most = self.room_inside().min(READ_BYTES);
            match self.to_guest.held.fill(most, |into| outside.read(into)) {
                Ok(0) => self.to_guest.ended = true,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends a piece of what is held, and where it ends.
    fn send(&mut self, offset: usize, length: usize, fin: bool, out: Out<'_>) {
        let at = self.to_guest.acknowledged + offset;
        let control = if fin { TcpControl::Fin } else { TcpControl::Psh };
        let bytes = self.to_guest.held.from(offset);
        let bytes = bytes.get(..length).unwrap_or_default();
        let end = at + bytes.len() + usize::from(fin);
        let segment =
            self.from_guest.segment(control, at, bytes, (self.to_guest.scale, self.limits.window));
        out(&segment);
        self.from_guest.told(self.limits.window);
        self.to_guest.next = end;
        self.to_guest.most = self.to_guest.most.max(end);
    }

    fn acknowledge(&mut self, out: Out<'_>) {
        self.say(TcpControl::None, self.to_guest.next, &[], out);
    }

    fn say(&mut self, control: TcpControl, at: TcpSeqNumber, bytes: &[u8], out: Out<'_>) {
        out(&self.from_guest.segment(
            control,
            at,
            bytes,
            (self.to_guest.scale, self.limits.window),
        ));
        self.from_guest.told(self.limits.window);
    }

    fn say_syn(&mut self, out: Out<'_>) {
        let scale = self.to_guest.scale.map(|_| OUR_SCALE);
        let at = self.to_guest.acknowledged;
        // A window that comes with SYN is not shifted.
        let mut segment =
            self.from_guest.segment(TcpControl::Syn, at, &[], (None, self.limits.window));
        segment.window_scale = scale;
        segment.max_seg_size = Some(self.limits.mss);
        out(&segment);
        self.to_guest.next = at + 1;
        self.to_guest.most = at + 1;
    }
}

impl ToGuest {
    /// How many sequence numbers are not acknowledged.
    fn length(&self) -> usize {
        let end = usize::from(self.ended && !self.end_acknowledged);
        usize::from(self.opening) + self.held.len() + end
    }

    /// Whether a segment acknowledges something, which is dropped then.
    fn hear(&mut self, segment: &TcpRepr<'_>) -> bool {
        let Some(ack) = segment.ack_number.filter(|ack| *ack <= self.most) else { return false };
        if ack < self.acknowledged || (self.opening && ack == self.acknowledged) {
            return false;
        }
        let (seq_before, ack_before) = self.window_by;
        if segment.seq_number > seq_before
            || (segment.seq_number == seq_before && ack >= ack_before)
        {
            self.window = usize::from(segment.window_len) << self.scale.unwrap_or(0);
            self.window_by = (segment.seq_number, ack);
        }
        if ack == self.acknowledged {
            return false;
        }
        let mut count = ack - self.acknowledged;
        if self.opening {
            self.opening = false;
            count -= 1;
        }
        let bytes = count.min(self.held.len());
        self.held.drop_front(bytes);
        self.end_acknowledged |= count > bytes;
        self.acknowledged = ack;
        self.next = self.next.max(ack);
        true
    }

    /// What can be sent now: from where in what is held, how much of it, and whether it ends there.
    fn unsent(&self) -> Option<(usize, usize, bool)> {
        if self.end_acknowledged {
            return None;
        }
        let offset = self.next - self.acknowledged;
        // FIN has been sent.
        let left = self.held.len().checked_sub(offset)?;
        let length = left.min(self.mss).min(self.window.saturating_sub(offset));
        let fin = self.ended && length == left;
        (length > 0 || fin).then_some((offset, length, fin))
    }
}

impl FromGuest {
    /// Takes what is new of a segment. False where the guest is to be told at once what is wanted.
    fn hear(&mut self, segment: &TcpRepr<'_>, window: usize) -> bool {
        let is_end = segment.control == TcpControl::Fin;
        if segment.payload.is_empty() && !is_end {
            // Something that lies elsewhere asks where we are.
            return segment.seq_number == self.wanted;
        }
        if segment.seq_number > self.wanted || self.ended {
            return false;
        }
        let Some(new) = segment.payload.get(self.wanted - segment.seq_number..) else {
            return false;
        };
        let room = window.saturating_sub(self.waiting.len());
        let taken = new.get(..new.len().min(room)).unwrap_or_default();
        self.waiting.extend(taken);
        self.wanted += taken.len();
        let is_all = taken.len() == new.len();
        if is_end && is_all {
            self.wanted += 1;
            self.ended = true;
        }
        is_all
    }

    /// Gives outside what waits, and the end behind it.
    fn give(&mut self, outside: &mut dyn Outside) -> io::Result<()> {
        while !self.waiting.is_empty() {
            match outside.write(self.waiting.from(0)) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.waiting.drop_front(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.ended && !self.end_passed {
            self.end_passed = true;
            outside.end();
        }
        Ok(())
    }

    /// Up to where the guest may send.
    fn edge(&self, window: usize) -> TcpSeqNumber {
        let edge = self.wanted + window.saturating_sub(self.waiting.len());
        edge.max(self.promised)
    }

    /// That is what the guest knows now.
    fn told(&mut self, window: usize) {
        self.acknowledged = self.wanted;
        self.promised = self.edge(window);
    }

    /// A segment for the guest.
    fn segment<'b>(
        &self,
        control: TcpControl,
        at: TcpSeqNumber,
        payload: &'b [u8],
        (scale, window): (Option<u8>, usize),
    ) -> TcpRepr<'b> {
        let room = (self.edge(window) - self.wanted) >> scale.map_or(0, |_| OUR_SCALE);
        TcpRepr {
            src_port: 0,
            dst_port: 0,
            control,
            seq_number: at,
            ack_number: Some(self.wanted),
            window_len: u16::try_from(room).unwrap_or(u16::MAX),
            window_scale: None,
            max_seg_size: None,
            sack_permitted: false,
            sack_ranges: [None; 3],
            timestamp: None,
            payload,
        }
    }
}
