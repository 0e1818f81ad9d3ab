//! What goes to the guest: SYN, bytes, FIN.

use super::held::Held;
use super::{DEFAULT_MSS, Limits};
use smoltcp::wire::{TcpRepr, TcpSeqNumber};

/// The largest shift of a window that there is (RFC 7323, 2.3).
const MOST_SCALE: u8 = 14;
/// So many acknowledgements of the same, one after the other, say that what follows was lost (RFC 5681, 3.2).
const REPEATED: u8 = 3;

/// What a segment has said of what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// That more of it has come.
    More,
    /// Nothing new.
    Nothing,
    /// Again and again that something is missing.
    Missing,
}

/// One direction of a connection.
#[derive(Debug)]
pub struct ToGuest {
    /// The guest has acknowledged what is before.
    pub acknowledged: TcpSeqNumber,
    /// What is sent next.
    pub next: TcpSeqNumber,
    /// What was ever sent ends here.
    pub most: TcpSeqNumber,
    /// Our SYN is not acknowledged yet.
    pub opening: bool,
    /// What is not acknowledged.
    pub held: Held,
    /// Behind what is held no more comes, but FIN.
    pub ended: bool,
    /// FIN is acknowledged.
    pub end_acknowledged: bool,
    /// By which the guest's windows are shifted; `None` where it knows nothing of that.
    pub scale: Option<u8>,
    /// The most bytes of a segment.
    pub mss: usize,
    /// So much more than what is acknowledged the guest takes.
    window: usize,
    /// The segment that said so.
    window_by: (TcpSeqNumber, TcpSeqNumber),
    repeated: u8,
}

impl ToGuest {
    /// A direction whose first sequence number this is.
    pub fn new(first: TcpSeqNumber) -> Self {
        Self {
            acknowledged: first,
            next: first,
            most: first,
            opening: true,
            held: Held::default(),
            ended: false,
            end_acknowledged: false,
            scale: None,
            mss: DEFAULT_MSS,
            window: 0,
            window_by: (first, first),
            repeated: 0,
        }
    }

    /// Takes in what the guest's SYN says of what it takes.
    pub fn agree(&mut self, syn: &TcpRepr<'_>, limits: Limits) {
        let mss = syn.max_seg_size.map_or(DEFAULT_MSS, usize::from);
        self.mss = mss.clamp(1, usize::from(limits.mss).max(1));
        self.scale = syn.window_scale.map(|scale| scale.min(MOST_SCALE));
        // The window of a SYN is not shifted.
        self.window = usize::from(syn.window_len);
        self.window_by = (syn.seq_number, syn.ack_number.unwrap_or(self.acknowledged));
    }

    /// How many sequence numbers are not acknowledged.
    pub fn length(&self) -> usize {
        let end = usize::from(self.ended && !self.end_acknowledged);
        usize::from(self.opening) + self.held.len() + end
    }

    /// Takes it that all has arrived, because nobody is there to hear of it.
    pub fn give_up(&mut self) {
        (self.held, self.ended, self.end_acknowledged) = (Held::default(), true, true);
        (self.acknowledged, self.next) = (self.most, self.most);
    }

    /// Whether the guest takes nothing at all.
    pub fn is_shut(&self) -> bool {
        self.window == 0
    }

    /// How much more may be held: one byte, if there is one, where the guest takes nothing. By it the guest is asked again,
    /// should its word that it takes more have been lost.
    pub fn room(&self, limits: Limits) -> usize {
        self.window.max(1).min(limits.window).saturating_sub(self.held.len())
    }

    /// Takes in what a segment acknowledges, which is dropped then.
    pub fn hear(&mut self, segment: &TcpRepr<'_>) -> Said {
        let Some(ack) = segment.ack_number.filter(|ack| *ack <= self.most) else {
            return Said::Nothing;
        };
        if ack < self.acknowledged || (self.opening && ack == self.acknowledged) {
            return Said::Nothing;
        }
        let (seq_before, ack_before) = self.window_by;
        let window_before = self.window;
        if segment.seq_number > seq_before
            || (segment.seq_number == seq_before && ack >= ack_before)
        {
            self.window = usize::from(segment.window_len) << self.scale.unwrap_or(0);
            self.window_by = (segment.seq_number, ack);
        }
        if ack == self.acknowledged {
            let is_repeated = segment.payload.is_empty()
                && self.window == window_before
                && self.next != self.acknowledged;
            self.repeated = if is_repeated { self.repeated.saturating_add(1) } else { 0 };
            return if self.repeated == REPEATED { Said::Missing } else { Said::Nothing };
        }
        self.repeated = 0;
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
        Said::More
    }

    /// What can be sent now, no more than so much at a time: from where in what is held, how much of it, and whether it
    /// ends there.
    pub fn unsent(&self, most: usize) -> Option<(usize, usize, bool)> {
        if self.end_acknowledged {
            return None;
        }
        let offset = self.next - self.acknowledged;
        // FIN has been sent.
        let left = self.held.len().checked_sub(offset)?;
        let length = left.min(most).min(self.window.saturating_sub(offset));
        let fin = self.ended && length == left;
        (length > 0 || fin).then_some((offset, length, fin))
    }

    /// What is sent again, or as a question for room: how much from the first that is not acknowledged, and whether it
    /// ends there.
    pub fn again(&self) -> (usize, bool) {
        let length = self.held.len().min(self.mss).min(self.window.max(1));
        (length, self.ended && length == self.held.len())
    }
}
