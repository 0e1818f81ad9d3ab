//! From an address to what is there: device windows in memory, and the few I/O ports of a PC without
//! firmware. Where nothing is, reads give all ones and writes are lost.

use crate::arch::layout;
use crate::serial::SerialPort;
use crate::sys;
use crate::virtio::Memory;
use crate::virtio::MmioTransport;
use crate::vm_exit::{PANIC_MARK, RESET_FLAG_ADDRESS, STOP_PORT, STOP_VALUE, VmExit};
use std::sync::{Mutex, MutexGuard, PoisonError};
use vm_memory::{Bytes, GuestAddress};

const NOTHING: u8 = 0xff;
const SERIAL_REGISTERS: u16 = 8;

/// All that a vCPU can reach beside memory.
pub(crate) struct Bus {
    memory: Memory,
    devices: Vec<Mutex<MmioTransport>>,
    serial: Option<Mutex<SerialPort>>,
}

impl Bus {
    /// A bus with these devices in their slots' order.
    pub(crate) fn new(
        memory: Memory,
        devices: Vec<MmioTransport>,
        serial: Option<SerialPort>,
    ) -> Self {
        let devices = devices.into_iter().map(Mutex::new).collect();
        Self { memory, devices, serial: serial.map(Mutex::new) }
    }

    /// A vCPU reads memory that is not there.
    pub(crate) fn read(&self, address: u64, data: &mut [u8]) {
        match self.device(address) {
            Some((device, at)) => device.read(at, data),
            None => data.fill(NOTHING),
        }
    }

    /// A vCPU writes to memory that is not there.
    pub(crate) fn write(&self, address: u64, data: &[u8]) {
        if let Some((mut device, at)) = self.device(address) {
            device.write(at, data);
        }
    }

    /// A vCPU reads a port.
    pub(crate) fn read_port(&self, port: u16, data: &mut [u8]) {
        data.fill(NOTHING);
        let Some(byte) = data.first_mut() else { return };
        if port == layout::KEYBOARD_PORT {
            *byte = layout::KEYBOARD_STATUS;
        } else if let Some((mut serial, register)) = self.serial(port) {
            *byte = serial.read(register);
        }
    }

    /// A vCPU writes to a port; where that ends the machine, gives why.
    pub(crate) fn write_port(&self, port: u16, data: &[u8]) -> Option<VmExit> {
        match (port, data) {
            (STOP_PORT, [STOP_VALUE]) => return Some(VmExit::Stopped),
            (layout::KEYBOARD_PORT, [layout::KEYBOARD_RESET]) => {
                return Some(self.unless_panicked(VmExit::Reset));
            }
            _ => {}
        }
        if let Some((mut serial, register)) = self.serial(port) {
            for byte in data {
                // It fails only where an interrupt cannot be raised, and then it is pending already.
                let _ = serial.write(register, *byte);
            }
        }
        None
    }

    /// Why the machine stopped, given how: a panic before that left its mark.
    pub(crate) fn unless_panicked(&self, exit: VmExit) -> VmExit {
        match self.memory.read_obj::<u16>(GuestAddress(RESET_FLAG_ADDRESS)) {
            Ok(PANIC_MARK) => VmExit::Panicked,
            _ => exit,
        }
    }

    /// Ends every device's threads.
    pub(crate) fn stop_devices(&self) {
        for device in &self.devices {
            lock(device).stop();
        }
    }

    fn device(&self, address: u64) -> Option<(MutexGuard<'_, MmioTransport>, u64)> {
        let (index, at) = layout::device_at(address)?;
        Some((lock(self.devices.get(index)?), at))
    }

    fn serial(&self, port: u16) -> Option<(MutexGuard<'_, SerialPort>, u8)> {
        let register = port.checked_sub(layout::SERIAL_PORT)?;
        let register = u8::try_from(register).ok().filter(|_| register < SERIAL_REGISTERS)?;
        Some((lock(self.serial.as_ref()?), register))
    }
}

impl Drop for Bus {
    /// Gives guest memory back to the host: nothing runs any more that could reach it.
    fn drop(&mut self) {
        sys::discard(&self.memory);
    }
}

/// A device whose thread panicked is no less there for the other vCPUs.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory;
    use crate::threads::Threads;
    use crate::virtio::Entropy;

    fn bus() -> Bus {
        let memory = memory::create(1 << 20).unwrap();
        let entropy = Entropy::new(Threads::unconfined()).unwrap();
        let entropy = MmioTransport::new(Box::new(entropy), memory.clone()).unwrap();
        Bus::new(memory, vec![entropy], None)
    }

    #[test]
    fn each_way_to_end_is_its_own() {
        let bus = bus();
        assert_eq!(bus.write_port(STOP_PORT, &[STOP_VALUE]), Some(VmExit::Stopped));
        assert_eq!(bus.write_port(STOP_PORT, &[STOP_VALUE + 1]), None);
        assert_eq!(bus.write_port(STOP_PORT, &[STOP_VALUE, 0]), None);
        assert_eq!(bus.write_port(0x64, &[0xfe]), Some(VmExit::Reset));
        assert_eq!(bus.unless_panicked(VmExit::TripleFault), VmExit::TripleFault);
        bus.memory.write_obj(PANIC_MARK, GuestAddress(RESET_FLAG_ADDRESS)).unwrap();
        assert_eq!(bus.write_port(0x64, &[0xfe]), Some(VmExit::Panicked));
        assert_eq!(bus.unless_panicked(VmExit::TripleFault), VmExit::Panicked);
        assert_eq!(bus.write_port(STOP_PORT, &[STOP_VALUE]), Some(VmExit::Stopped));
    }

    #[test]
    fn where_nothing_is_there_are_ones() {
        let bus = bus();
        let mut data = [0; 4];
        bus.read(0xd000_1000, &mut data);
        assert_eq!(data, [0xff; 4]);
        bus.read_port(0x3f8, &mut data[..1]);
        assert_eq!(data[0], 0xff);
        bus.read(0xd000_0000, &mut data);
        assert_eq!(&data, b"virt");
    }
}
