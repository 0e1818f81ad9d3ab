//! The entropy source's thread: from the queue to the host's random bytes and back.

use crate::virtio::buffers::Buffers;
use crate::virtio::sys::event_descriptor;
use crate::virtio::{Memory, VirtQueue};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::rand::{GetRandomFlags, getrandom};
use vm_memory::GuestMemoryMmap;
use vmm_sys_util::eventfd::EventFd;

/// One chain gets so many bytes at most, however long it is: a driver that wants more asks again.
pub(super) const BYTES_PER_CHAIN: usize = 4096;
/// Reads of this size are never cut short or interrupted (getrandom(2)).
const BYTES_PER_READ: usize = 256;

/// Serves until `end` is readable. Gives the queue back, its positions kept.
pub(super) fn until_end(memory: &Memory, mut queue: VirtQueue, end: &EventFd) -> VirtQueue {
    loop {
        let mut events = [&queue.notify, end]
            .map(|event| PollFd::from_borrowed_fd(event_descriptor(event), PollFlags::IN));
        match poll(&mut events, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return queue,
        }
        let [notified, ended] = events.map(|event| !event.revents().is_empty());
        if ended {
            return queue;
        }
        if notified {
            let _ = queue.notify.read();
            serve(memory, &mut queue);
        }
    }
}

/// Fills every chain there is.
fn serve(memory: &GuestMemoryMmap<()>, queue: &mut VirtQueue) {
    loop {
        queue.mute(memory);
        while let Some(mut chain) = queue.take(memory) {
            let head = chain.head_index();
            let filled = Buffers::of_chain(memory, &mut chain).map_or(0, fill);
            queue.give_back(memory, head, filled);
        }
        if !queue.unmute(memory) {
            break;
        }
    }
    queue.interrupt_if_wanted(memory);
}

/// Fills a chain up to its limit. Gives how many bytes it got.
fn fill(buffers: Buffers<'_>) -> u32 {
    let mut rest = buffers.writable;
    let mut filled = 0;
    while filled < BYTES_PER_CHAIN && !rest.is_empty() {
        let mut bytes = [0; BYTES_PER_READ];
        // It only fails where the host has no getrandom at all.
        let Ok(count) = getrandom(&mut bytes, GetRandomFlags::empty()) else { break };
        let target = rest.take_front(count);
        filled += target.write(bytes.get(..count).unwrap_or_default());
    }
    u32::try_from(filled).unwrap_or_default()
}
