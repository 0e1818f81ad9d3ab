//! The thread of an active socket device: joins queues and sockets with the muxer.
//!
//! Waits in one epoll instance for notifications, for sockets and for the order to stop, all by edges
//! but the last. One round takes a bounded number of chains, so that no queue and no socket starves
//! another. On the order to stop, what the guest had sent still goes to the host, as long as the host
//! takes it.

use super::connection::Readiness;
use super::linger::Linger;
use super::muxer::Muxer;
use super::offers::Offers;
use super::packet::{FromGuest, HEADER_BYTES, HEADER_LENGTH};
use super::stream::{Host, Socket};
use crate::virtio::buffers::Buffers;
use crate::virtio::stop::Stop;
use crate::virtio::sys::event_descriptor;
use crate::virtio::{Memory, VirtQueue};
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;
use virtio_queue::QueueT;

/// The most chains of each queue in one round.
const ROUND_CHAINS: usize = 64;
const NO_WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
/// `VIRTIO_VSOCK_EVENT_TRANSPORT_RESET` (VirtIO 1.2 §5.10.6.7).
const EVENT_TRANSPORT_RESET: u32 = 0;

/// Tokens of the epoll instance; connections have theirs from [`FIRST_CONNECTION`] on.
const TOKEN_STOP: u64 = 0;
const TOKEN_QUEUE: u64 = 1;
const FIRST_CONNECTION: u64 = 2;

/// The device's queues, by what they are for.
pub struct Queues {
    /// To the guest.
    pub receive: VirtQueue,
    /// From the guest.
    pub transmit: VirtQueue,
    /// Events to the guest; a vhost-user frontend keeps it to itself.
    pub event: Option<VirtQueue>,
}

impl Queues {
    /// Sorts queues, which come in the specification's order.
    pub fn of(queues: Vec<VirtQueue>) -> Option<Self> {
        let mut queues = queues.into_iter();
        Some(Self { receive: queues.next()?, transmit: queues.next()?, event: queues.next() })
    }

    fn all(&self) -> impl Iterator<Item = &VirtQueue> {
        [&self.receive, &self.transmit].into_iter().chain(&self.event)
    }
}

struct Offered {
    offers: Offers,
    epoll: Arc<OwnedFd>,
}

impl Host for Offered {
    type Stream = Socket;

    fn connect(&mut self, port: u32, id: u64) -> Option<Socket> {
        Socket::watch(self.offers.take(port)?, &self.epoll, FIRST_CONNECTION + id).ok()
    }
}

/// What the thread works on.
pub struct Worker {
    memory: Memory,
    queues: Queues,
    muxer: Muxer<Offered>,
    epoll: Arc<OwnedFd>,
    stop: Arc<Stop>,
    /// The driver has to hear that all connections are gone.
    must_tell_reset: bool,
}

enum Turn {
    Idle,
    Busy,
    Stop,
}

impl Worker {
    /// Watches queues and `stop`.
    ///
    /// # Errors
    /// Where an epoll instance cannot be made, or refuses a descriptor.
    pub fn new(
        memory: Memory,
        queues: Queues,
        offers: Offers,
        stop: Arc<Stop>,
    ) -> io::Result<Self> {
        use epoll::{EventData, EventFlags};
        let epoll = Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC)?);
        epoll::add(&*epoll, &*stop, EventData::new_u64(TOKEN_STOP), EventFlags::IN)?;
        for queue in queues.all() {
            let notify = event_descriptor(&queue.notify);
            let flags = EventFlags::IN | EventFlags::ET;
            epoll::add(&*epoll, notify, EventData::new_u64(TOKEN_QUEUE), flags)?;
        }
        // Queues that have a past were in use before this device was made.
        let must_tell_reset = queues.all().any(|queue| queue.queue.next_avail() != 0);
        let muxer = Muxer::new(Offered { offers, epoll: Arc::clone(&epoll) });
        Ok(Self { memory, queues, muxer, epoll, stop, must_tell_reset })
    }

    /// What a round of [`Worker::run`] does, without waiting.
    #[cfg(feature = "fuzzing")]
    pub fn round(&mut self) {
        self.wait(Some(&NO_WAIT));
        self.serve_round();
    }

    /// Serves until told to stop, then gives the queues back.
    pub fn run(mut self) -> Vec<VirtQueue> {
        let mut busy = true;
        loop {
            let timeout = if busy { Some(&NO_WAIT) } else { None };
            busy = match self.wait(timeout) {
                Turn::Stop => break,
                Turn::Busy | Turn::Idle => self.serve_round(),
            };
        }
        self.finish();
        let Queues { receive, transmit, event } = self.queues;
        [receive, transmit].into_iter().chain(event).collect()
    }

    /// Takes in events.
    fn wait(&mut self, timeout: Option<&Timespec>) -> Turn {
        let nothing = epoll::Event {
            flags: epoll::EventFlags::empty(),
            data: epoll::EventData::new_u64(TOKEN_QUEUE),
        };
        let mut events = [nothing; 64];
        let count = match epoll::wait(&*self.epoll, events.as_mut_slice(), timeout) {
            Ok(count) => count,
            Err(Errno::INTR) => return Turn::Busy,
            // An epoll instance that cannot be waited for will never say anything again.
            Err(_) => return Turn::Stop,
        };
        let mut turn = if count == 0 { Turn::Idle } else { Turn::Busy };
        for event in events.iter().take(count) {
            let (flags, token) = (event.flags, event.data.u64());
            match token {
                TOKEN_STOP => turn = Turn::Stop,
                TOKEN_QUEUE => {}
                _ => self.muxer.host_event(token - FIRST_CONNECTION, readiness(flags)),
            }
        }
        turn
    }

    /// One round over the queues; true where there may be more to do at once.
    fn serve_round(&mut self) -> bool {
        self.tell_reset();
        let more_transmitted = self.take_transmitted();
        let more_received = self.fill_received();
        more_transmitted || more_received
    }

    fn take_transmitted(&mut self) -> bool {
        let memory = Arc::clone(&self.memory);
        let queue = &mut self.queues.transmit;
        let mut taken = 0;
        queue.mute(&memory);
        while taken < ROUND_CHAINS && self.muxer.can_hear() {
            let Some(mut chain) = queue.take(&memory) else { break };
            if let Ok(buffers) = Buffers::of_chain(&memory, &mut chain) {
                hear(&mut self.muxer, buffers);
            }
            queue.give_back(&memory, chain.head_index(), 0);
            taken += 1;
        }
        if taken > 0 {
            queue.interrupt_if_wanted(&memory);
        }
        taken == ROUND_CHAINS || (self.muxer.can_hear() && queue.unmute(&memory))
    }

    fn fill_received(&mut self) -> bool {
        let memory = Arc::clone(&self.memory);
        let queue = &mut self.queues.receive;
        let could_hear = self.muxer.can_hear();
        let (mut taken, mut starved) = (0, false);
        while taken < ROUND_CHAINS && self.muxer.wants_to_speak() {
            let Some(mut chain) = queue.take(&memory) else {
                starved = true;
                break;
            };
            let mut room = Buffers::of_chain(&memory, &mut chain).unwrap_or_default().writable;
            let header = room.take_front(HEADER_BYTES);
            let mut written = 0;
            if header.len() == HEADER_BYTES {
                let Some(packet) = self.muxer.speak(&room) else {
                    queue.untake();
                    break;
                };
                header.write(&packet.encode());
                written = packet.length.saturating_add(HEADER_LENGTH);
            }
            queue.give_back(&memory, chain.head_index(), written);
            taken += 1;
        }
        if taken > 0 {
            queue.interrupt_if_wanted(&memory);
        }
        let more_came = starved && queue.unmute(&memory);
        let hears_again = !could_hear && self.muxer.can_hear();
        taken == ROUND_CHAINS || more_came || hears_again
    }

    fn tell_reset(&mut self) {
        let memory = Arc::clone(&self.memory);
        let Some(queue) = self.queues.event.as_mut().filter(|_| self.must_tell_reset) else {
            return;
        };
        if let Some(mut chain) = queue.take(&memory) {
            let room = Buffers::of_chain(&memory, &mut chain).unwrap_or_default().writable;
            let written = room.write(&EVENT_TRANSPORT_RESET.to_le_bytes());
            self.must_tell_reset = written != size_of::<u32>();
            queue.give_back(&memory, chain.head_index(), u32::try_from(written).unwrap_or(0));
            queue.interrupt_if_wanted(&memory);
        } else {
            queue.unmute(&memory);
        }
    }

    /// Passes on what the guest had sent before the order to stop.
    fn finish(&mut self) {
        self.muxer.close_to_new();
        // Nobody can add to the queue without end: the driver, or its machine, is standing still.
        let rounds = usize::from(self.queues.transmit.queue.size()) / ROUND_CHAINS + 1;
        for _ in 0..rounds {
            if !self.take_transmitted() {
                break;
            }
        }
        // The order to stop would end every wait from here on.
        let _ = epoll::delete(&*self.epoll, &*self.stop);
        let mut linger = Linger::new(Instant::now(), self.muxer.kept_bytes());
        while let Some(left) = linger.left(Instant::now(), self.muxer.kept_bytes()) {
            let Ok(left) = Timespec::try_from(left) else { break };
            if matches!(self.wait(Some(&left)), Turn::Stop) {
                break;
            }
        }
    }
}

fn hear(muxer: &mut Muxer<Offered>, buffers: Buffers<'_>) {
    let mut readable = buffers.readable;
    let Some(header) = readable.read_array::<HEADER_BYTES>() else { return };
    let header = FromGuest::decode(&header);
    let length = header.length as usize;
    let payload = (length <= readable.len()).then(|| readable.take_front(length));
    muxer.hear(&header, payload);
}

fn readiness(flags: epoll::EventFlags) -> Readiness {
    use epoll::EventFlags as Flags;
    Readiness {
        readable: flags.intersects(Flags::IN | Flags::RDHUP | Flags::HUP | Flags::ERR),
        writable: flags.intersects(Flags::OUT | Flags::HUP | Flags::ERR),
        hung_up: flags.contains(Flags::HUP),
    }
}
