//! The virtio-mmio transport (VirtIO 1.2 §4.2): one device behind one window of registers.
//!
//! Owns the registers, the notification and interrupt descriptors, and the device; does what the
//! pure [`registers`] say is to be done. A queue's notification normally never comes here: KVM turns
//! it into the queue's eventfd.

mod registers;

use super::interrupt::Signals;
use super::queue::queue_of;
use super::{
    Activation, DeviceState, Interrupt, Memory, MmioState, QueueState, VirtQueue, VirtioDevice,
};
use registers::{Effect, Offer, Registers, TRANSPORT_FEATURES};
pub(crate) use registers::{offset, status};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use virtio_bindings::virtio_ring::VIRTIO_RING_F_EVENT_IDX;
use virtio_queue::QueueT;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// The register that the driver writes a queue's index to: where KVM listens for it.
pub(crate) const QUEUE_NOTIFY: u64 = offset::QUEUE_NOTIFY;

/// Why a saved transport could not be made again.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The state is of another device.
    #[error("the state is of a device with {found} queues, this one has {expected}")]
    Queues {
        /// How many the state has.
        found: usize,
        /// How many the device has.
        expected: usize,
    },
    /// The state is of another kind of device, or of one that its driver would not know again.
    #[error("the state is of {found:?}, this device is {expected:?}")]
    Device {
        /// What the state is of.
        found: DeviceState,
        /// What the device is.
        expected: DeviceState,
    },
    /// The driver relies on what this device cannot do.
    #[error(
        "the driver accepted the features {accepted:#x}, of which this device offers {offered:#x}"
    )]
    Features {
        /// What the driver accepted.
        accepted: u64,
        /// What is offered.
        offered: u64,
    },
}

/// One device on virtio-mmio.
pub struct MmioTransport {
    device: Box<dyn VirtioDevice>,
    offer: Offer,
    registers: Registers,
    memory: Memory,
    notify: Vec<Arc<EventFd>>,
    line: Arc<EventFd>,
    signals: Arc<Signals>,
}

impl MmioTransport {
    /// Puts a device behind registers.
    ///
    /// # Errors
    /// Where no eventfd can be made.
    pub fn new(device: Box<dyn VirtioDevice>, memory: Memory) -> io::Result<Self> {
        let offer = Offer {
            id: device.id() as u32,
            features: device.features() | TRANSPORT_FEATURES,
            queue_sizes: device.queue_sizes().to_vec(),
        };
        let notify = offer
            .queue_sizes
            .iter()
            .map(|_| EventFd::new(EFD_NONBLOCK).map(Arc::new))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            registers: Registers::new(&offer),
            device,
            offer,
            memory,
            notify,
            line: Arc::new(EventFd::new(EFD_NONBLOCK)?),
            signals: Arc::default(),
        })
    }

    /// Readable when a queue was notified, by queue.
    pub fn notify_events(&self) -> &[Arc<EventFd>] {
        &self.notify
    }

    /// Written when the driver is to be interrupted.
    pub fn line(&self) -> &EventFd {
        &self.line
    }

    /// The driver reads its window.
    pub fn read(&self, at: u64, data: &mut [u8]) {
        if let Some(at) = at.checked_sub(offset::CONFIG) {
            let space =
                usize::try_from(at).ok().and_then(|at| self.device.config_space().get(at..));
            let bytes = space.unwrap_or_default().iter().chain(std::iter::repeat(&0));
            data.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            return;
        }
        data.fill(0);
        if let Ok(word) = <&mut [u8; 4]>::try_from(data) {
            *word = match at {
                offset::INTERRUPT_STATUS => self.signals.status(),
                offset::STATUS => self.status(),
                _ => self.registers.read(&self.offer, at),
            }
            .to_le_bytes();
        }
    }

    /// The driver writes to its window.
    pub fn write(&mut self, at: u64, data: &[u8]) {
        let Ok(word) = <[u8; 4]>::try_from(data) else { return };
        if at >= offset::CONFIG {
            return;
        }
        match self.registers.write(&self.offer, at, u32::from_le_bytes(word)) {
            Effect::None => {}
            Effect::Activate => self.activate(),
            Effect::Reset => {
                drop(self.device.reset());
                self.signals.reset();
            }
            Effect::Notify(queue) => {
                let event = usize::try_from(queue).ok().and_then(|queue| self.notify.get(queue));
                let _ = event.map(|event| event.write(1));
            }
            Effect::Acknowledge(bits) => {
                self.signals.interrupts.fetch_and(!bits, Ordering::SeqCst);
            }
        }
    }

    /// Ends the device's threads, once no vCPU runs any more.
    pub fn stop(&mut self) {
        drop(self.device.reset());
    }

    /// The whole of it as plain data; a device that serves goes on serving.
    pub fn save(&mut self) -> MmioState {
        let served = self.device.reset();
        for (register, served) in self.registers.queues.iter_mut().zip(&served) {
            register.next_available = served.queue.next_avail();
            register.next_used = served.queue.next_used();
        }
        let state = MmioState {
            status: self.status(),
            device_features_select: self.registers.device_features_select,
            driver_features_select: self.registers.driver_features_select,
            driver_features: self.registers.driver_features,
            queue_select: self.registers.queue_select,
            queues: self.registers.queues.clone(),
            interrupts: self.signals.interrupts.load(Ordering::SeqCst),
            device: self.device.save(),
        };
        if !served.is_empty() {
            self.hand_over(served);
        }
        state
    }

    /// Makes a new transport what a saved one was.
    ///
    /// # Errors
    /// Where the state is of another device. Addresses and positions in it are checked as a driver's
    /// are: a device that cannot serve them asks its driver for a reset.
    pub fn restore(&mut self, state: &MmioState) -> Result<(), RestoreError> {
        let (found, expected) = (state.queues.len(), self.offer.queue_sizes.len());
        if found != expected {
            return Err(RestoreError::Queues { found, expected });
        }
        drop(self.device.reset());
        let (found, expected) = (state.device, self.device.save());
        if found != expected {
            return Err(RestoreError::Device { found, expected });
        }
        // Until they are settled a driver may have written anything there.
        let settled = state.status & status::FEATURES_OK != 0;
        let (accepted, offered) = (state.driver_features, self.offer.features);
        if settled && accepted & !offered != 0 {
            return Err(RestoreError::Features { accepted, offered });
        }
        self.registers = Registers {
            status: state.status & status::DRIVERS,
            device_features_select: state.device_features_select,
            driver_features_select: state.driver_features_select,
            driver_features: state.driver_features,
            queue_select: state.queue_select,
            queues: state.queues.clone(),
        };
        let needs_reset = state.status & status::NEEDS_RESET != 0;
        self.signals.needs_reset.store(needs_reset, Ordering::SeqCst);
        self.signals.interrupts.store(state.interrupts, Ordering::SeqCst);
        if state.interrupts != 0 {
            // Its edge may have been lost with the interrupt controller it went to. Once more is harmless.
            let _ = self.line.write(1);
        }
        if self.registers.is_driver_ok() && !needs_reset {
            self.activate();
            // What was notified before the save is not in the new eventfds: look once at every queue.
            for event in &self.notify {
                let _ = event.write(1);
            }
        }
        Ok(())
    }

    fn activate(&mut self) {
        let queues = self.registers.queues.iter().zip(&self.offer.queue_sizes).zip(&self.notify);
        let queues: Option<Vec<_>> =
            queues.map(|((state, size), notify)| self.queue(*state, *size, notify)).collect();
        match queues {
            Some(queues) => self.hand_over(queues),
            None => self.interrupt().need_reset(),
        }
    }

    fn hand_over(&mut self, queues: Vec<VirtQueue>) {
        let (memory, features) = (self.memory.clone(), self.registers.driver_features);
        let activation = Activation { memory, queues, features };
        if self.device.activate(activation).is_err() {
            self.interrupt().need_reset();
        }
    }

    fn queue(&self, state: QueueState, size_max: u16, notify: &Arc<EventFd>) -> Option<VirtQueue> {
        let event_idx = self.registers.driver_features & (1 << VIRTIO_RING_F_EVENT_IDX) != 0;
        let queue = queue_of(state, size_max, event_idx, &self.memory)?;
        Some(VirtQueue { queue, notify: Arc::clone(notify), interrupt: self.interrupt() })
    }

    fn interrupt(&self) -> Interrupt {
        Interrupt::mmio(Arc::clone(&self.line), Arc::clone(&self.signals))
    }

    /// The status register: what the driver set, and what the device's threads say.
    fn status(&self) -> u32 {
        let needs_reset = self.signals.needs_reset.load(Ordering::SeqCst);
        self.registers.status | if needs_reset { status::NEEDS_RESET } else { 0 }
    }
}

#[cfg(test)]
mod round_trips;
#[cfg(test)]
mod tests;
