//! The entropy source (VirtIO 1.2 §5.4), and the device to copy when writing a new one: this file is
//! its virtio face, `serve.rs` what it does with its queue.
//!
//! One thread waits for the driver or the end, fills buffers with the host's random bytes, and gives
//! the queue back when it is told to end.

mod serve;

use super::{ActivateError, Activation, DeviceId, DeviceState, VirtQueue, VirtioDevice};
use std::thread::JoinHandle;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

const QUEUE_SIZES: [u16; 1] = [64];
const THREAD: &str = "entropy";

/// An entropy source.
#[derive(Debug, Default)]
pub struct Entropy {
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    Serving {
        end: EventFd,
        thread: JoinHandle<VirtQueue>,
    },
}

impl VirtioDevice for Entropy {
    fn id(&self) -> DeviceId {
        DeviceId::Entropy
    }

    fn features(&self) -> u64 {
        0
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    fn config_space(&self) -> &[u8] {
        &[]
    }

    fn activate(&mut self, activation: Activation) -> Result<(), ActivateError> {
        let Activation { memory, queues, features: _ } = activation;
        let [queue]: [VirtQueue; 1] = queues.try_into().map_err(|queues: Vec<_>| {
            ActivateError::QueueCount { got: queues.len(), expected: QUEUE_SIZES.len() }
        })?;
        let end = EventFd::new(EFD_NONBLOCK).map_err(ActivateError::Watch)?;
        let threads_end = end.try_clone().map_err(ActivateError::Watch)?;
        let thread = std::thread::Builder::new()
            .name(THREAD.to_owned())
            .spawn(move || serve::until_end(&memory, queue, &threads_end))
            .map_err(|source| ActivateError::Thread { name: THREAD, source })?;
        self.state = State::Serving { end, thread };
        Ok(())
    }

    fn reset(&mut self) -> Vec<VirtQueue> {
        let State::Serving { end, thread } = std::mem::take(&mut self.state) else {
            return Vec::new();
        };
        let _ = end.write(1);
        thread.join().into_iter().collect()
    }

    fn save(&self) -> DeviceState {
        DeviceState::Entropy
    }
}

impl Drop for Entropy {
    fn drop(&mut self) {
        drop(self.reset());
    }
}

#[cfg(test)]
mod tests;
