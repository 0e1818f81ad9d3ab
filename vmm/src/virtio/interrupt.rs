//! How a device interrupts its driver, whatever carries it.

use super::sys::event_descriptor;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use vmm_sys_util::eventfd::EventFd;

/// The bit of InterruptStatus that says a used ring has moved (VirtIO 1.2 §4.2.2).
pub const USED_RING_BIT: u32 = 1;
/// The bit of InterruptStatus that says the config space, or the device's status, has changed.
pub const CONFIG_BIT: u32 = 2;
const NO_WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// What a device's threads say in registers of its MMIO window.
#[derive(Debug, Default)]
pub struct Signals {
    /// The InterruptStatus register.
    pub interrupts: AtomicU32,
    /// The status register's DEVICE_NEEDS_RESET.
    pub needs_reset: AtomicBool,
    /// Another process raises the interrupt, and cannot say so here.
    lent: AtomicBool,
}

impl Signals {
    /// The InterruptStatus register. Of what another process raises it says always that a used ring may have moved:
    /// the driver looks, and finds what there is.
    pub fn status(&self) -> u32 {
        let lent = if self.lent.load(Ordering::SeqCst) { USED_RING_BIT } else { 0 };
        self.interrupts.load(Ordering::SeqCst) | lent
    }

    /// As when new.
    pub fn reset(&self) {
        self.interrupts.store(0, Ordering::SeqCst);
        self.needs_reset.store(false, Ordering::SeqCst);
        self.lent.store(false, Ordering::SeqCst);
    }
}

/// One line to the driver: an eventfd, and with MMIO the registers beside it.
#[derive(Debug, Clone)]
pub struct Interrupt {
    event: Arc<EventFd>,
    signals: Option<Arc<Signals>>,
}

impl Interrupt {
    /// An interrupt that MMIO carries: the registers, then the eventfd that KVM turns into an edge.
    pub fn mmio(event: Arc<EventFd>, signals: Arc<Signals>) -> Self {
        Self { event, signals: Some(signals) }
    }

    /// An interrupt that vhost-user carries: the queue's call eventfd, nothing else.
    pub fn call(event: EventFd) -> Self {
        Self { event: Arc::new(event), signals: None }
    }

    /// What another process interrupts the driver by, which serves the queue.
    pub fn lend(&self) -> &EventFd {
        if let Some(signals) = &self.signals {
            signals.lent.store(true, Ordering::SeqCst);
        }
        &self.event
    }

    /// Tells the driver that a used ring has moved.
    pub fn used_ring(&self) {
        match &self.signals {
            Some(signals) => self.raise(signals, USED_RING_BIT),
            // It came from outside: where its counter is full, a write might wait for ever.
            None if takes_a_write(&self.event) => {
                let _ = self.event.write(1);
            }
            None => {}
        }
    }

    /// Tells the driver that the device cannot go on (VirtIO 1.2 §2.1.2). vhost-user has no words for it.
    pub fn need_reset(&self) {
        if let Some(signals) = &self.signals {
            signals.needs_reset.store(true, Ordering::SeqCst);
            self.raise(signals, CONFIG_BIT);
        }
    }

    fn raise(&self, signals: &Signals, bit: u32) {
        signals.interrupts.fetch_or(bit, Ordering::SeqCst);
        // Ours does not block; its write fails only when its counter is full, with the edge pending.
        let _ = self.event.write(1);
    }
}

/// Whether a write neither waits nor fails: what came for an eventfd may be a pipe or a socket that nobody
/// reads any more, and a write to that may end the process.
fn takes_a_write(event: &EventFd) -> bool {
    let mut event = [PollFd::from_borrowed_fd(event_descriptor(event), PollFlags::OUT)];
    poll(&mut event, Some(&NO_WAIT)).is_ok() && event[0].revents() == PollFlags::OUT
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::virtio::sys::event_from;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    #[test]
    fn a_call_that_nobody_reads_is_not_written_to() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let call = event_from(ours.into());
        assert!(takes_a_write(&call));
        drop(theirs);
        assert!(!takes_a_write(&call), "a write there is SIGPIPE");
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        drop(reader);
        assert!(!takes_a_write(&event_from(writer)), "a write there is SIGPIPE");
    }

    #[test]
    fn a_call_that_takes_no_more_holds_nobody_up() {
        let call = EventFd::new(0).unwrap();
        call.write(u64::MAX - 1).unwrap();
        let (raised, end) = std::sync::mpsc::channel();
        let interrupt = Interrupt::call(call.try_clone().unwrap());
        std::thread::spawn(move || {
            interrupt.used_ring();
            raised.send(()).unwrap();
        });
        end.recv_timeout(Duration::from_secs(10)).expect("the interrupt waits");
        assert_eq!(call.read().unwrap(), u64::MAX - 1);
    }
}
