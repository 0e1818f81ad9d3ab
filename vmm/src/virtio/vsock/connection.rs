//! One connection: its two directions, its credit, and what it has to say next. Pure but for the
//! stream it is given.
//!
//! ```text
//!   toward the host                              toward the guest
//!   Open ─ guest ends ─▶ Finishing ─ drained ─▶  Open ─ host's end of file ─▶ Finished
//!     │                      │         Finished    └─── guest takes no more ─▶ Refused
//!     └── host reads no more ▼            ▲
//!         Unread ──── guest ends ─────────┘      over: Finished there, not Open here
//! ```

use super::credit::{ReceiveCredit, SendCredit};
use super::packet::{FromGuest, Key, Operation, SHUTDOWN_RECEIVE, SHUTDOWN_SEND, ToGuest};
use super::stream::Stream;
use crate::virtio::buffers::Slices;
use std::collections::VecDeque;
use std::io;

/// The guest broke the protocol: the connection cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TowardHost {
    /// Bytes pass.
    Open,
    /// The guest will send no more; bytes are still kept.
    Finishing,
    /// All bytes were passed on, or nobody wants them, and no more will come.
    Finished,
    /// Nobody on the host reads any more: bytes are thrown away.
    Unread,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TowardGuest {
    /// Bytes pass.
    Open,
    /// The host will send no more, and all it sent was passed on.
    Finished,
    /// The guest takes no more.
    Refused,
}

/// What the host side's events say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Readiness {
    /// There are bytes, or there is an end.
    pub readable: bool,
    /// Bytes would be taken.
    pub writable: bool,
    /// Nobody is there any more; bytes may still be read.
    pub hung_up: bool,
}

/// One connection.
#[derive(Debug)]
pub struct Connection<S> {
    key: Key,
    stream: S,
    toward_host: TowardHost,
    toward_guest: TowardGuest,
    /// Bytes of the guest that the host has not taken yet: never more than its credit.
    kept: VecDeque<u8>,
    received: ReceiveCredit,
    sending: SendCredit,
    readable: bool,
    writable: bool,
    must_respond: bool,
    must_tell_credit: bool,
    credit_asked: bool,
    shutdown_told: u32,
}

impl<S: Stream> Connection<S> {
    /// A connection the guest asked for with `request`.
    pub fn accept(request: &FromGuest, stream: S) -> Self {
        let mut sending = SendCredit::default();
        sending.update(request.buffer_bytes, request.forwarded);
        Self {
            key: request.key,
            stream,
            toward_host: TowardHost::Open,
            toward_guest: TowardGuest::Open,
            kept: VecDeque::new(),
            received: ReceiveCredit::default(),
            sending,
            // To be found out by trying: edges before now were not seen.
            readable: true,
            writable: true,
            must_respond: true,
            must_tell_credit: false,
            credit_asked: false,
            shutdown_told: 0,
        }
    }

    /// Its name.
    pub fn key(&self) -> Key {
        self.key
    }

    /// How many bytes wait for a host that is still there.
    pub fn kept_bytes(&self) -> usize {
        self.kept.len()
    }

    /// Whether both directions are at their end.
    pub fn is_over(&self) -> bool {
        self.toward_host == TowardHost::Finished && self.toward_guest != TowardGuest::Open
    }

    /// Takes in a packet of an established connection.
    ///
    /// # Errors
    /// [`Violation`]: the guest must be sent a RST.
    pub fn hear(
        &mut self,
        operation: Operation,
        header: &FromGuest,
        payload: Slices<'_>,
    ) -> Result<(), Violation> {
        self.sending.update(header.buffer_bytes, header.forwarded);
        if self.sending.room() > 0 {
            self.credit_asked = false;
        }
        match operation {
            Operation::ReadWrite => self.take_bytes(payload)?,
            Operation::Shutdown => self.hear_shutdown(header.flags),
            Operation::CreditRequest => self.must_tell_credit = true,
            Operation::CreditUpdate => {}
            Operation::Request | Operation::Response | Operation::Reset => return Err(Violation),
        }
        Ok(())
    }

    /// Takes in what the host side's events say.
    pub fn host_event(&mut self, readiness: Readiness) {
        self.readable |= readiness.readable;
        self.writable |= readiness.writable;
        if readiness.hung_up {
            self.host_reads_no_more();
        } else if self.writable {
            self.drain();
        }
    }

    /// Whether [`Connection::speak`] may have a packet.
    pub fn wants_to_speak(&self) -> bool {
        let may_send = self.sending.room() > 0 || !self.credit_asked;
        self.must_respond
            || self.is_over()
            || self.shutdown_flags() != self.shutdown_told
            || self.owes_credit()
            || (self.toward_guest == TowardGuest::Open && self.readable && may_send)
    }

    /// The next packet for the guest, its bytes in `room`. After a RST there is no more.
    pub fn speak(&mut self, room: &mut Slices<'_>) -> Option<ToGuest> {
        if self.must_respond {
            self.must_respond = false;
            return Some(self.packet(Operation::Response));
        }
        if !self.is_over()
            && self.shutdown_flags() == self.shutdown_told
            && let Some(packet) = self.speak_bytes(room)
        {
            return Some(packet);
        }
        if self.is_over() {
            return Some(self.packet(Operation::Reset));
        }
        if self.shutdown_flags() != self.shutdown_told {
            self.shutdown_told = self.shutdown_flags();
            return Some(self.packet(Operation::Shutdown));
        }
        self.owes_credit().then(|| self.packet(Operation::CreditUpdate))
    }

    fn speak_bytes(&mut self, room: &mut Slices<'_>) -> Option<ToGuest> {
        if self.toward_guest != TowardGuest::Open || !self.readable || room.is_empty() {
            return None;
        }
        if self.sending.room() == 0 {
            let ask = !self.credit_asked;
            self.credit_asked = true;
            return ask.then(|| self.packet(Operation::CreditRequest));
        }
        let into = room.take_front(self.sending.room() as usize);
        match retry(|| self.stream.receive(&into)) {
            Ok(count) if count > 0 => {
                // No more than `into` has room for, which came of a u32.
                let length = u32::try_from(count).unwrap_or(u32::MAX);
                self.sending.spend(length);
                Some(ToGuest { length, ..self.packet(Operation::ReadWrite) })
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                None
            }
            // The end of file, or an error after which nothing can come.
            Ok(_) | Err(_) => {
                self.toward_guest = TowardGuest::Finished;
                None
            }
        }
    }

    fn take_bytes(&mut self, mut payload: Slices<'_>) -> Result<(), Violation> {
        let length = u32::try_from(payload.len()).map_err(|_| Violation)?;
        if !self.received.receive(length) {
            return Err(Violation);
        }
        match self.toward_host {
            TowardHost::Finishing | TowardHost::Finished => return Err(Violation),
            TowardHost::Unread => {
                self.received.forward(length);
                return Ok(());
            }
            TowardHost::Open => {}
        }
        while self.kept.is_empty() && self.writable && !payload.is_empty() {
            match retry(|| self.stream.send(&payload)) {
                Ok(count) => {
                    payload.take_front(count);
                    self.forwarded(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(_) => {
                    self.received.forward(u32::try_from(payload.len()).unwrap_or(u32::MAX));
                    self.host_reads_no_more();
                    return Ok(());
                }
            }
        }
        payload.append_to(&mut self.kept);
        Ok(())
    }

    fn hear_shutdown(&mut self, flags: u32) {
        if flags & SHUTDOWN_RECEIVE != 0 && self.toward_guest == TowardGuest::Open {
            self.toward_guest = TowardGuest::Refused;
            self.stream.end_receiving();
        }
        if flags & SHUTDOWN_SEND != 0 {
            match self.toward_host {
                TowardHost::Open => {
                    self.toward_host = TowardHost::Finishing;
                    self.drain();
                }
                TowardHost::Unread => self.toward_host = TowardHost::Finished,
                TowardHost::Finishing | TowardHost::Finished => {}
            }
        }
    }

    /// Passes on what is kept, and the end after it.
    fn drain(&mut self) {
        while self.writable && !self.kept.is_empty() {
            let (first, _) = self.kept.as_slices();
            match retry(|| self.stream.send_bytes(first)) {
                Ok(count) => {
                    self.kept.drain(..count.min(self.kept.len()));
                    self.forwarded(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(_) => return self.host_reads_no_more(),
            }
        }
        if self.kept.is_empty() && self.toward_host == TowardHost::Finishing {
            self.toward_host = TowardHost::Finished;
            self.stream.end_sending();
        }
    }

    fn host_reads_no_more(&mut self) {
        self.forwarded(self.kept.len());
        self.kept = VecDeque::new();
        match self.toward_host {
            TowardHost::Open => self.toward_host = TowardHost::Unread,
            TowardHost::Finishing => self.toward_host = TowardHost::Finished,
            TowardHost::Finished | TowardHost::Unread => {}
        }
    }

    fn forwarded(&mut self, count: usize) {
        // Never more than the credit, which is a u32.
        self.received.forward(u32::try_from(count).unwrap_or(u32::MAX));
    }

    fn owes_credit(&self) -> bool {
        let more_may_come = matches!(self.toward_host, TowardHost::Open | TowardHost::Unread);
        self.must_tell_credit || (more_may_come && self.received.is_owed())
    }

    /// What the guest should know of ends, as SHUTDOWN's flags.
    fn shutdown_flags(&self) -> u32 {
        let receive = self.toward_host == TowardHost::Unread;
        let send = self.toward_guest == TowardGuest::Finished;
        // What was told stays told: a flag is never taken back.
        self.shutdown_told
            | if receive { SHUTDOWN_RECEIVE } else { 0 }
            | if send { SHUTDOWN_SEND } else { 0 }
    }

    fn packet(&mut self, operation: Operation) -> ToGuest {
        self.must_tell_credit = false;
        let flags = if operation == Operation::Shutdown { self.shutdown_told } else { 0 };
        ToGuest { key: self.key, operation, length: 0, flags, forwarded: self.received.tell() }
    }
}

fn retry(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
