//! The thread of an active network device: joins queues and link.
//!
//! Waits in one epoll instance for notifications, for the link and for the order to stop, all by edges but the last.
//! One round takes a bounded number of packets and bytes each way, so that neither way starves the other, and
//! interrupts the driver once for all of them. Nothing is held from one round to the next: what the link does not take,
//! and what the driver has no room for, stays where it is.

use super::header::Header;
use super::link::{Link, Sent, Waiting};
use super::{HEADER_BYTES, PACKET_BYTES, feature};
use crate::virtio::buffers::{Buffers, Slices};
use crate::virtio::queue::Chain;
use crate::virtio::stop::Stop;
use crate::virtio::sys::{MAX_VECTORS, event_descriptor};
use crate::virtio::{Memory, VirtQueue};
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use virtio_queue::QueueT;
use vm_memory::GuestMemoryMmap;

/// The most packets each way in one round …
const ROUND_PACKETS: usize = 64;
/// … and bytes, but for the last packet's: a driver that hears of four of the largest is at work on them while the
/// next come.
const ROUND_BYTES: usize = 256 << 10;
const NO_WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// Tokens of the epoll instance.
const TOKEN_STOP: u64 = 0;
const TOKEN_RECEIVE: u64 = 1;
const TOKEN_TRANSMIT: u64 = 2;
const TOKEN_LINK: u64 = 3;

/// The device's queues, by what they are for.
pub struct Queues {
    /// To the guest.
    pub receive: VirtQueue,
    /// From the guest.
    pub transmit: VirtQueue,
}

/// What the thread works on.
pub struct Worker {
    memory: Memory,
    transmit: VirtQueue,
    receiver: Receiver,
    link: Link,
    epoll: Arc<OwnedFd>,
    stop: Arc<Stop>,
}

/// The way to the guest.
struct Receiver {
    queue: VirtQueue,
    features: u64,
    /// The driver has not given what the next packet needs, and will say when it has given more.
    awaits_buffers: bool,
    /// The chains of one packet: each head, and how many bytes it is given.
    chains: Vec<(u16, u32)>,
}

/// What a packet finds in guest memory.
enum Room<'m> {
    Enough(Slices<'m>),
    /// Less than it needs: the driver may give more.
    Later,
    /// Less than it needs, and no more can come.
    Never,
    /// What no honest driver gives; it has been given back.
    Spoiled,
}

/// Bounds a round.
#[derive(Default)]
struct Round {
    packets: usize,
    bytes: usize,
}

impl Round {
    fn count(&mut self, bytes: usize) {
        self.packets += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn is_over(&self) -> bool {
        self.packets >= ROUND_PACKETS || self.bytes >= ROUND_BYTES
    }
}

impl Worker {
    /// Watches queues, `connection` and `stop`, for a driver that accepted these features.
    ///
    /// # Errors
    /// Where an epoll instance cannot be made, or refuses a descriptor.
    pub fn new(
        memory: Memory,
        queues: Queues,
        features: u64,
        connection: Arc<OwnedFd>,
        stop: Arc<Stop>,
    ) -> io::Result<Self> {
        use epoll::{EventData, EventFlags};
        let Queues { receive, transmit } = queues;
        let epoll = Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC)?);
        epoll::add(&*epoll, &*stop, EventData::new_u64(TOKEN_STOP), EventFlags::IN)?;
        for (queue, token) in [(&receive, TOKEN_RECEIVE), (&transmit, TOKEN_TRANSMIT)] {
            let notify = event_descriptor(&queue.notify);
            let flags = EventFlags::IN | EventFlags::ET;
            epoll::add(&*epoll, notify, EventData::new_u64(token), flags)?;
        }
        let link = Link::watch(connection, &epoll, TOKEN_LINK)?;
        let chains = Vec::with_capacity(MAX_VECTORS);
        let receiver = Receiver { queue: receive, features, awaits_buffers: false, chains };
        Ok(Self { memory, transmit, receiver, link, epoll, stop })
    }

    /// What a round of [`Worker::run`] does, without waiting; true where the next would not wait either.
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn round(&mut self) -> bool {
        self.wait(Some(&NO_WAIT));
        self.serve_round()
    }

    /// Serves until told to stop, then gives the queues back.
    pub fn run(mut self) -> Vec<VirtQueue> {
        // Chains and packets may have been waiting since before this thread was.
        let mut busy = true;
        while self.wait(if busy { Some(&NO_WAIT) } else { None }) {
            busy = self.serve_round();
        }
        vec![self.receiver.queue, self.transmit]
    }

    /// Takes in events; false where it is time to stop.
    fn wait(&mut self, timeout: Option<&Timespec>) -> bool {
        let nothing = epoll::Event {
            flags: epoll::EventFlags::empty(),
            data: epoll::EventData::new_u64(TOKEN_TRANSMIT),
        };
        let mut events = [nothing; 4];
        let count = match epoll::wait(&*self.epoll, events.as_mut_slice(), timeout) {
            Ok(count) => count,
            Err(Errno::INTR) => 0,
            // An epoll instance that cannot be waited for will never say anything again.
            Err(_) => return false,
        };
        for event in events.iter().take(count) {
            let (flags, token) = (event.flags, event.data.u64());
            match token {
                TOKEN_RECEIVE => self.receiver.awaits_buffers = false,
                TOKEN_LINK => self.link.heard(flags),
                // Of what is to be sent each round looks by itself, and `stop` is asked below.
                _ => {}
            }
        }
        !self.stop.is_told()
    }

    /// One round over the queues; true where there may be more to do at once.
    fn serve_round(&mut self) -> bool {
        let more_transmitted = self.take_transmitted();
        let more_received = self.receiver.fill(&self.memory, &mut self.link);
        more_transmitted || more_received
    }

    fn take_transmitted(&mut self) -> bool {
        let (memory, queue) = (&*self.memory, &mut self.transmit);
        let mut round = Round::default();
        queue.mute(memory);
        while !round.is_over() && self.link.takes_packets() {
            let Some(mut chain) = queue.take(memory) else { break };
            let buffers = Buffers::of_chain(memory, &mut chain).unwrap_or_default();
            if send(&mut self.link, &buffers.readable) == Sent::Later {
                queue.untake();
                break;
            }
            queue.give_back(memory, chain.head_index(), 0);
            round.count(buffers.readable.len());
        }
        if round.packets > 0 {
            queue.interrupt_if_wanted(memory);
        }
        // While the link is full nobody listens to the driver: it is looked at when the link takes more.
        round.is_over() || (self.link.takes_packets() && queue.unmute(memory))
    }
}

/// Sends what may be a packet; what is none is lost, as on any wire.
fn send(link: &mut Link, bytes: &Slices<'_>) -> Sent {
    // More stretches than one call takes would be half a packet; Linux's have twenty at most.
    if PACKET_BYTES.contains(&bytes.len()) && bytes.count() <= MAX_VECTORS {
        link.send(bytes)
    } else {
        Sent::Done
    }
}

impl Receiver {
    /// One round's packets; true where there may be more.
    fn fill(&mut self, memory: &GuestMemoryMmap<()>, link: &mut Link) -> bool {
        if self.awaits_buffers || !link.has_packets() {
            return false;
        }
        let published = self.queue.queue.next_used();
        self.queue.mute(memory);
        let mut round = Round::default();
        while !round.is_over() && !self.awaits_buffers {
            // Each packet is looked at before it is received. To be received unseen it would need room for the longest:
            // 20 to 43 chains of Linux's, walked for a frame of 100 bytes, or held from one packet to the next. A look
            // costs some 0.3 µs, which is little for the longest; and the header is judged before the driver has it.
            let Some(packet) = link.peek() else { break };
            round.count(self.receive(memory, link, packet));
        }
        if self.queue.queue.next_used() != published {
            self.queue.interrupt_if_wanted_since(memory, published);
        }
        !self.awaits_buffers && link.has_packets()
    }

    /// Receives one packet, or drops it, or leaves it for later. Gives how many bytes came.
    fn receive(&mut self, memory: &GuestMemoryMmap<()>, link: &mut Link, packet: Waiting) -> usize {
        let Waiting { header: came, length } = packet;
        let header = Header::for_driver(came, self.features);
        let Some(header) = header.filter(|_| PACKET_BYTES.contains(&length)) else {
            link.discard();
            return 0;
        };
        let mut room = match self.gather(memory, length) {
            Room::Enough(room) => room,
            Room::Later => {
                self.awaits_buffers = true;
                return 0;
            }
            Room::Never => {
                link.discard();
                return 0;
            }
            Room::Spoiled => return 0,
        };
        let Ok(count) = link.receive(&room) else {
            self.untake_all();
            return 0;
        };
        let header = header.of_buffers(u16::try_from(self.chains.len()).unwrap_or(u16::MAX));
        if header != came {
            room.take_front(HEADER_BYTES).write(&header);
        }
        let mut rest = u32::try_from(count).unwrap_or(0);
        for (_, bytes) in &mut self.chains {
            *bytes = rest.min(*bytes);
            rest -= *bytes;
        }
        // All at once: a driver that saw the first would look for the others.
        self.queue.give_back_together(memory, &self.chains);
        count
    }

    /// Takes chains for a packet of this length: as many as it needs, or one of a driver that did not accept more.
    fn gather<'m>(&mut self, memory: &'m GuestMemoryMmap<()>, length: usize) -> Room<'m> {
        let merges = self.features & feature::MRG_RXBUF != 0;
        // Each stretch takes a descriptor: where they are as many as the queue has, the driver has given all it can.
        let most = MAX_VECTORS.min(usize::from(self.queue.queue.size()));
        let (mut room, mut buffers) = (Slices::default(), Buffers::default());
        let mut is_spoiled = false;
        self.chains.clear();
        let chains = &mut self.chains;
        let mut is_enough = |mut chain: Chain<'m>| {
            let is_one = buffers.refill(memory, &mut chain).is_ok();
            let bytes = if is_one { buffers.writable.len() } else { 0 };
            chains.push((chain.head_index(), u32::try_from(bytes).unwrap_or(u32::MAX)));
            is_spoiled = bytes == 0;
            if !is_spoiled {
                room.append(&mut buffers.writable);
            }
            is_spoiled || room.len() >= length || room.count() >= most || !merges
        };
        while !self.queue.take_until(memory, &mut is_enough) {
            // Before they are given up: the driver notifies of what comes behind them.
            if !self.queue.unmute(memory) {
                self.untake_all();
                return Room::Later;
            }
        }
        if is_spoiled {
            // Not the one alone: the others could not be given up from behind it.
            self.chains.iter_mut().for_each(|(_, bytes)| *bytes = 0);
            self.queue.give_back_together(memory, &self.chains);
            return Room::Spoiled;
        }
        if room.len() < length || room.count() > MAX_VECTORS {
            self.untake_all();
            return Room::Never;
        }
        Room::Enough(room)
    }

    fn untake_all(&mut self) {
        self.chains.drain(..).for_each(|_| self.queue.untake());
    }
}
