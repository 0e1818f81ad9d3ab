//! The file system's thread: from its queues to whoever answers, and back.

use super::Responder;
use crate::virtio::stop::Stop;
use crate::virtio::wakeups::Wakeups;
use crate::virtio::{Memory, VirtQueue};
use vm_memory::GuestMemoryMmap;

/// Serves until told to stop. Gives the queues back, their positions kept.
pub(super) fn until_stop(
    memory: &Memory,
    mut queues: Vec<VirtQueue>,
    responder: &dyn Responder,
    wakeups: &Wakeups,
    stop: &Stop,
) -> Vec<VirtQueue> {
    loop {
        // Chains may have been waiting since before this thread was.
        for queue in &mut queues {
            serve(memory, queue, responder, stop);
        }
        if !wakeups.wait() {
            return queues;
        }
    }
}

/// Answers every request there is, as long as nobody says stop: a driver can make requests for ever.
fn serve(
    memory: &GuestMemoryMmap<()>,
    queue: &mut VirtQueue,
    responder: &dyn Responder,
    stop: &Stop,
) {
    loop {
        queue.mute(memory);
        while !stop.is_told()
            && let Some(chain) = queue.take(memory)
        {
            let head = chain.head_index();
            let written = responder.answer(memory, chain);
            queue.give_back(memory, head, written);
            // Whoever waits for this answer asks for nothing else before it has it.
            queue.interrupt_if_wanted(memory);
        }
        if stop.is_told() || !queue.unmute(memory) {
            return;
        }
    }
}
