//! The threads that serve an active disk. They share its queue: whoever is free takes the next request.
//!
//! ```text
//!   locked: take a chain ──▶ the host's disk, nothing locked ──▶ locked: give it back, interrupt
//! ```
//! One thread works at first. Another is called when requests wait that nobody takes, or before one
//! that may take the host long (a flush, above all), so that somebody still hears the driver. A request
//! that was begun is finished, whatever comes: a queue given back has no chain half done.

use super::SERIAL_BYTES;
use super::extents::Extents;
use super::request::{Limits, Parsed, Request, Status};
use crate::threads::{Tasks, Working};
use crate::virtio::buffers::Buffers;
use crate::virtio::queue::Chain;
use crate::virtio::stop::Stop;
use crate::virtio::sys::event_descriptor;
use crate::virtio::wakeups::Wakeups;
use crate::virtio::{ActivateError, Memory, VirtQueue};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

/// How many threads a disk has.
pub const THREADS: usize = 4;
/// So many requests may wait for a thread that is free soon: most are done faster than another wakes up.
const WAITING_MAX: u16 = 2;

/// What the threads work on.
#[derive(Debug)]
pub struct Work {
    /// The disk's bytes.
    pub disk: Arc<Extents>,
    /// Its serial number, padded with zeroes.
    pub serial: [u8; SERIAL_BYTES],
    /// Whether the guest may write.
    pub writable: bool,
    /// Guest memory.
    pub memory: Memory,
}

/// The threads that serve one disk.
#[derive(Debug)]
pub struct Workers {
    work: Work,
    crew: Tasks,
    stop: Arc<Stop>,
    wakeups: Wakeups,
    /// Wakes a thread that waits, when another has found more than it can do.
    more: EventFd,
    shared: Mutex<Shared>,
}

#[derive(Debug)]
struct Shared {
    queue: VirtQueue,
    threads: Vec<Working<()>>,
    /// How many threads wait for the driver.
    waiting: usize,
}

impl Workers {
    /// Starts to serve a queue, on threads of a crew that has [`THREADS`] of them.
    ///
    /// # Errors
    /// Where there is no descriptor for it.
    pub(crate) fn start(
        work: Work,
        queue: VirtQueue,
        crew: &Tasks,
    ) -> Result<Arc<Self>, ActivateError> {
        let stop = Arc::new(Stop::new().map_err(ActivateError::Watch)?);
        let more = EventFd::new(EFD_NONBLOCK | EFD_CLOEXEC).map_err(ActivateError::Watch)?;
        let events = [event_descriptor(&queue.notify), event_descriptor(&more)];
        let wakeups = Wakeups::of(&events, &stop).map_err(ActivateError::Watch)?;
        let shared = Mutex::new(Shared { queue, threads: Vec::new(), waiting: 0 });
        let crew = crew.clone();
        let workers = Arc::new(Self { work, crew, stop, wakeups, more, shared });
        workers.set_to_work(&mut workers.lock());
        Ok(workers)
    }

    /// Lets each thread finish its request, and gives the queue back.
    pub fn stop(self: Arc<Self>) -> Option<VirtQueue> {
        self.stop.tell();
        // A thread may call another until it sees the order: none is left when none is known.
        while let Some(thread) = self.take_thread() {
            // What panicked in it ended its work, too.
            thread.join();
        }
        let shared = Arc::into_inner(self)?.shared;
        Some(shared.into_inner().unwrap_or_else(PoisonError::into_inner).queue)
    }

    fn take_thread(&self) -> Option<Working<()>> {
        self.lock().threads.pop()
    }

    fn set_to_work(self: &Arc<Self>, shared: &mut Shared) {
        let workers = Arc::clone(self);
        shared.threads.push(self.crew.hand(move || workers.run()));
    }

    fn run(self: Arc<Self>) {
        loop {
            while let Some(chain) = self.take() {
                self.serve(chain);
            }
            if !self.wakeups.wait() {
                return;
            }
            self.lock().waiting -= 1;
        }
    }

    /// Takes a request. Without one, or told to stop, the thread is one of those that wait.
    fn take(self: &Arc<Self>) -> Option<Chain<'_>> {
        let memory = &self.work.memory;
        let mut shared = self.lock();
        loop {
            let chain = if self.stop.is_told() { None } else { shared.queue.take(memory) };
            if let Some(chain) = chain {
                if shared.waiting > 0 {
                    shared.queue.unmute(memory);
                } else {
                    // Nobody would hear the driver: whoever is done first looks by itself.
                    shared.queue.mute(memory);
                }
                if shared.queue.pending(memory) > WAITING_MAX {
                    self.call_another(&mut shared);
                }
                return Some(chain);
            }
            if self.stop.is_told() || !shared.queue.unmute(memory) {
                shared.waiting += 1;
                return None;
            }
        }
    }

    /// Gets another thread to work: one that waits, or one that has not been needed yet.
    fn call_another(self: &Arc<Self>, shared: &mut Shared) {
        if shared.waiting > 0 {
            let _ = self.more.write(1);
        } else if shared.threads.len() < THREADS {
            self.set_to_work(shared);
        }
    }

    fn serve(self: &Arc<Self>, mut chain: Chain<'_>) {
        let memory = &self.work.memory;
        let head = chain.head_index();
        let written = match Buffers::of_chain(memory, &mut chain) {
            Ok(buffers) => self.answer(buffers),
            Err(_) => 0,
        };
        let mut shared = self.lock();
        shared.queue.give_back(memory, head, written);
        // After each one: the driver gets on while the next waits for the host's disk.
        shared.queue.interrupt_if_wanted(memory);
    }

    /// Does one request; gives how many bytes of the chain were written.
    fn answer(self: &Arc<Self>, buffers: Buffers<'_>) -> u32 {
        let limits = Limits { length: self.work.disk.len(), writable: self.work.writable };
        let Some(Parsed { request, status }) = Parsed::read(buffers, limits) else { return 0 };
        let (result, data) = match request {
            Ok(request) => {
                if request.may_take_long() {
                    self.leave_an_ear();
                }
                self.work.perform(request)
            }
            Err(refused) => (refused, 0),
        };
        status.write(&[result as u8]);
        u32::try_from(data + 1).unwrap_or(u32::MAX)
    }

    /// Sees to it that the driver is heard, and what it has said served, while this thread is away.
    fn leave_an_ear(self: &Arc<Self>) {
        let mut shared = self.lock();
        if shared.waiting == 0 || shared.queue.pending(&self.work.memory) > 0 {
            self.call_another(&mut shared);
        }
    }

    /// How many threads have been set to work.
    #[cfg(test)]
    pub fn thread_count(&self) -> usize {
        self.lock().threads.len()
    }

    /// No step under the lock leaves half of a change, whatever panics.
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work {
    /// Does a request; gives how it ended and how many bytes of data were written to the chain.
    pub fn perform(&self, request: Request<'_>) -> (Status, usize) {
        let mut data = 0;
        let result = match request {
            Request::Read { position, to } => {
                data = to.len();
                self.disk.read(position, to)
            }
            Request::Write { position, from } => self.disk.write(position, from),
            Request::Flush if self.writable => self.disk.flush(),
            Request::Flush => Ok(()),
            Request::GetId(to) => {
                data = to.write(&self.serial);
                Ok(())
            }
            Request::Discard(ranges) => {
                ranges.iter().try_for_each(|range| self.disk.discard(range.position, range.length))
            }
            Request::WriteZeroes(ranges) => ranges.iter().try_for_each(|range| {
                self.disk.write_zeroes(range.position, range.length, range.unmap)
            }),
        };
        match result {
            Ok(()) => (Status::Ok, data),
            Err(_) => (Status::IoError, 0),
        }
    }
}
