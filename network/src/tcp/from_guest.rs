//! What comes from the guest: bytes, FIN.

use super::held::Held;
use super::{OUR_SCALE, Outside};
use smoltcp::wire::{TcpControl, TcpRepr, TcpSeqNumber};
use std::io::{self, ErrorKind};

/// One direction of a connection.
#[derive(Debug)]
pub struct FromGuest {
    /// What it sends next.
    pub wanted: TcpSeqNumber,
    /// The last that it was told of that.
    acknowledged: TcpSeqNumber,
    /// Behind what waits no more comes.
    pub ended: bool,
    /// The end has been passed on.
    pub end_passed: bool,
    /// So far it was told that it may send.
    promised: TcpSeqNumber,
    /// What is not outside yet.
    waiting: Held,
    /// By which the windows that it is told are shifted.
    scale: u8,
    /// The most that waits.
    window: usize,
}

impl FromGuest {
    /// A direction in which this comes first. Windows are shifted only where the guest knows of that.
    pub fn new(wanted: TcpSeqNumber, window: usize, scaled: bool) -> Self {
        let scale = if scaled { OUR_SCALE } else { 0 };
        Self {
            wanted,
            acknowledged: wanted,
            ended: false,
            end_passed: false,
            promised: wanted,
            waiting: Held::default(),
            scale,
            window: window.min(usize::from(u16::MAX) << scale),
        }
    }

    /// Takes what is new of a segment, passing on at once what can be. False where the guest is to be told at once what is
    /// wanted.
    ///
    /// # Errors
    /// Those of the socket outside.
    pub fn hear(&mut self, segment: &TcpRepr<'_>, outside: &mut dyn Outside) -> io::Result<bool> {
        let is_end = segment.control == TcpControl::Fin;
        if segment.payload.is_empty() && !is_end {
            // Something that lies elsewhere asks where we are.
            return Ok(segment.seq_number == self.wanted);
        }
        if segment.seq_number > self.wanted || self.ended {
            return Ok(false);
        }
        let Some(new) = segment.payload.get(self.wanted - segment.seq_number..) else {
            return Ok(false);
        };
        if new.is_empty() && !is_end {
            // It has not heard that all of that has come.
            return Ok(false);
        }
        let mut taken = 0;
        while self.waiting.is_empty() && taken < new.len() {
            match outside.write(new.get(taken..).unwrap_or_default()) {
                Ok(count) => taken += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let rest = new.get(taken..).unwrap_or_default();
        let kept = rest.len().min(self.window.saturating_sub(self.waiting.len()));
        self.waiting.extend(rest.get(..kept).unwrap_or_default());
        taken += kept;
        self.wanted += taken;
        let is_all = taken == new.len();
        if is_end && is_all {
            self.wanted += 1;
            self.ended = true;
        }
        Ok(is_all)
    }

    /// Gives outside what waits, and the end behind it.
    ///
    /// # Errors
    /// Those of the socket outside, but that there is no room.
    pub fn give(&mut self, outside: &mut dyn Outside) -> io::Result<()> {
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

    /// Whether the guest does not know yet what has come, or may send so much more that it is worth a word.
    pub fn is_news(&self) -> bool {
        self.acknowledged != self.wanted || self.grows()
    }

    /// Whether that is so little, of segments of `mss`, that it may wait (RFC 9293, 3.8.6.3).
    pub fn may_wait(&self, mss: usize) -> bool {
        self.wanted - self.acknowledged < 2 * mss && !self.grows()
    }

    fn grows(&self) -> bool {
        !self.ended && self.edge() - self.promised >= self.window / 2
    }

    /// Up to where the guest may send.
    fn edge(&self) -> TcpSeqNumber {
        let edge = self.wanted + self.window.saturating_sub(self.waiting.len());
        edge.max(self.promised)
    }

    /// A segment for the guest, which knows afterwards what is in it. The window of a SYN is not shifted.
    pub fn segment<'b>(
        &mut self,
        control: TcpControl,
        at: TcpSeqNumber,
        payload: &'b [u8],
    ) -> TcpRepr<'b> {
        let scale = if control == TcpControl::Syn { 0 } else { self.scale };
        let room = (self.edge() - self.wanted) >> scale;
        self.acknowledged = self.wanted;
        self.promised = self.edge();
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
