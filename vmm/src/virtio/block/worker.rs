//! The thread that serves an active disk: takes requests from the queue, does them one after the
//! other, and interrupts the driver when it wants to know.

use super::SERIAL_BYTES;
use super::extents::Extents;
use super::request::{Limits, Parsed, Request, Status};
use crate::virtio::buffers::Buffers;
use crate::virtio::stop::Stop;
use crate::virtio::sys::event_descriptor;
use crate::virtio::{Memory, VirtQueue};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::sync::Arc;

/// What the thread works on.
pub struct Worker {
    /// The disk's bytes.
    pub disk: Arc<Extents>,
    /// Its serial number, padded with zeroes.
    pub serial: [u8; SERIAL_BYTES],
    /// Whether the guest may write.
    pub writable: bool,
    /// Guest memory.
    pub memory: Memory,
    /// The queue.
    pub queue: VirtQueue,
    /// The order to end.
    pub stop: Arc<Stop>,
}

impl Worker {
    /// Serves until told to stop, then gives the queue back.
    pub fn run(mut self) -> VirtQueue {
        // Requests may have been waiting since before this thread was.
        self.serve_available();
        while self.wait() {
            self.serve_available();
        }
        self.queue
    }

    /// Waits for a notification; false when the thread is to end.
    fn wait(&self) -> bool {
        let mut watched = [
            PollFd::new(&*self.stop, PollFlags::IN),
            PollFd::from_borrowed_fd(event_descriptor(&self.queue.notify), PollFlags::IN),
        ];
        while let Err(errno) = poll(&mut watched, None) {
            if errno != Errno::INTR {
                return false;
            }
        }
        let [stop, notify] = &watched;
        // A notification source that broke can never be waited for.
        let broken = PollFlags::ERR | PollFlags::NVAL;
        if !stop.revents().is_empty() || notify.revents().intersects(broken) {
            return false;
        }
        let _ = self.queue.notify.read();
        true
    }

    fn serve_available(&mut self) {
        let memory = Arc::clone(&self.memory);
        loop {
            self.queue.mute(&memory);
            while !self.stop.is_told()
                && let Some(mut chain) = self.queue.take(&memory)
            {
                let buffers = Buffers::of_chain(&memory, &mut chain);
                let written = buffers.map_or(0, |buffers| self.answer(buffers));
                self.queue.give_back(&memory, chain.head_index(), written);
                // After each one: the driver gets on while the next waits for the host's disk.
                self.queue.interrupt_if_wanted(&memory);
            }
            if self.stop.is_told() || !self.queue.unmute(&memory) {
                return;
            }
        }
    }

    /// Does one request; gives how many bytes of the chain were written.
    fn answer(&self, buffers: Buffers<'_>) -> u32 {
        let limits = Limits { length: self.disk.len(), writable: self.writable };
        let Some(Parsed { request, status }) = Parsed::read(buffers, limits) else { return 0 };
        let (result, data) = match request {
            Ok(request) => self.perform(request),
            Err(refused) => (refused, 0),
        };
        status.write(&[result as u8]);
        u32::try_from(data + 1).unwrap_or(u32::MAX)
    }

    fn perform(&self, request: Request<'_>) -> (Status, usize) {
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
