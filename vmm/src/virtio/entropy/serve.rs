//! The entropy source's thread: from the queue to the host's random bytes and back.

use crate::virtio::buffers::Buffers;
use crate::virtio::stop::Stop;
use crate::virtio::wakeups::Wakeups;
use crate::virtio::{Memory, VirtQueue};
use rustix::rand::{GetRandomFlags, getrandom};
use vm_memory::GuestMemoryMmap;

/// One chain gets so many bytes at most, however long it is: a driver that wants more asks again.
pub(super) const BYTES_PER_CHAIN: usize = 4096;
/// Reads of this size are never cut short or interrupted (getrandom(2)).
const BYTES_PER_READ: usize = 256;

/// Serves until told to stop. Gives the queue back, its positions kept.
pub(super) fn until_stop(
    memory: &Memory,
    mut queue: VirtQueue,
    wakeups: &Wakeups,
    stop: &Stop,
) -> VirtQueue {
    // Chains may have been waiting since before this thread was.
    serve(memory, &mut queue, stop);
    while wakeups.wait() {
        serve(memory, &mut queue, stop);
    }
    queue
}

/// Fills every chain there is, as long as nobody says stop: a driver can make chains for ever.
pub(super) fn serve(memory: &GuestMemoryMmap<()>, queue: &mut VirtQueue, stop: &Stop) {
    let mut served = false;
    loop {
        queue.mute(memory);
        while !stop.is_told()
            && let Some(mut chain) = queue.take(memory)
        {
            let head = chain.head_index();
            let filled = Buffers::of_chain(memory, &mut chain).map_or(0, fill);
            queue.give_back(memory, head, filled);
            served = true;
        }
        if stop.is_told() || !queue.unmute(memory) {
            break;
        }
    }
    if served {
        queue.interrupt_if_wanted(memory);
    }
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
