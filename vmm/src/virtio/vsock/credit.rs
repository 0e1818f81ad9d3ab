//! Credit: how many bytes each side may still send (VirtIO 1.2 §5.10.6.3). Pure; counters are modulo 2³².

use super::RECEIVE_BUFFER_BYTES;
use std::num::Wrapping;

/// What the device may send to the guest.
#[derive(Debug, Default)]
pub struct SendCredit {
    sent: Wrapping<u32>,
    buffer_bytes: u32,
    forwarded: Wrapping<u32>,
}

impl SendCredit {
    /// Notes what a packet from the guest says. Nonsense only takes credit away.
    pub fn update(&mut self, buffer_bytes: u32, forwarded: u32) {
        self.buffer_bytes = buffer_bytes;
        self.forwarded = Wrapping(forwarded);
    }

    /// How many bytes may be sent now.
    pub fn room(&self) -> u32 {
        self.buffer_bytes.saturating_sub((self.sent - self.forwarded).0)
    }

    /// Notes that bytes were sent.
    pub fn spend(&mut self, count: u32) {
        self.sent += count;
    }
}

/// What the guest may send to the device.
#[derive(Debug, Default)]
pub struct ReceiveCredit {
    received: Wrapping<u32>,
    forwarded: Wrapping<u32>,
    told: Wrapping<u32>,
}

impl ReceiveCredit {
    /// Notes that bytes came; false where the guest had no credit for them.
    pub fn receive(&mut self, count: u32) -> bool {
        let kept = (self.received - self.forwarded).0;
        let fits = count <= RECEIVE_BUFFER_BYTES.saturating_sub(kept);
        if fits {
            self.received += count;
        }
        fits
    }

    /// Notes that bytes left for the host.
    pub fn forward(&mut self, count: u32) {
        self.forwarded += count;
    }

    /// Whether the guest should be told of room: when it believes to have less than half, and there
    /// is a quarter more, or all of it, than it believes.
    pub fn is_owed(&self) -> bool {
        let believed = RECEIVE_BUFFER_BYTES.saturating_sub((self.received - self.told).0);
        let news = (self.forwarded - self.told).0;
        let drained = self.received == self.forwarded;
        believed < RECEIVE_BUFFER_BYTES / 2
            && (news >= RECEIVE_BUFFER_BYTES / 4 || drained)
            && news > 0
    }

    /// The count to tell the guest; it is told then.
    pub fn tell(&mut self) -> u32 {
        self.told = self.forwarded;
        self.forwarded.0
    }
}
