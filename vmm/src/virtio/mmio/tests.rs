// Registers are halves of 64-bit values.
#![allow(clippy::cast_possible_truncation)]

use super::*;
use crate::memory;
use crate::threads::Threads;
use crate::virtio::interrupt::CONFIG_BIT;
use crate::virtio::{ActivateError, DeviceId, DeviceState, Entropy};
use proptest::prelude::*;
use std::sync::Mutex;
use vm_memory::{Bytes, GuestAddress};

const MEMORY_BYTES: u64 = 1 << 20;
const DESCRIPTORS: u64 = 0x1000;
const AVAILABLE: u64 = 0x2000;
const USED: u64 = 0x3000;
const VERSION_1: u64 = 1 << 32;
const KEPT: DeviceState = DeviceState::Block { bytes: 4096, writable: true };

/// Where the queues of each activation are: descriptors, available ring, used ring, and their size.
type Seen = Arc<Mutex<Vec<Vec<([u64; 3], u16)>>>>;

/// A device that only keeps its queues, and tells what it was activated with.
#[derive(Debug, Default)]
struct Keeper {
    queues: Vec<VirtQueue>,
    seen: Seen,
}

impl VirtioDevice for Keeper {
    fn id(&self) -> DeviceId {
        DeviceId::Block
    }
    fn features(&self) -> u64 {
        0x5
    }
    fn queue_sizes(&self) -> &[u16] {
        &[8, 16]
    }
    fn config_space(&self) -> &[u8] {
        &[1, 2, 3, 4, 5]
    }
    fn activate(&mut self, activation: Activation) -> Result<(), ActivateError> {
        let place = |VirtQueue { queue, .. }: &VirtQueue| {
            ([queue.desc_table(), queue.avail_ring(), queue.used_ring()], queue.size())
        };
        self.seen.lock().unwrap().push(activation.queues.iter().map(place).collect());
        self.queues = activation.queues;
        Ok(())
    }
    fn reset(&mut self) -> Vec<VirtQueue> {
        std::mem::take(&mut self.queues)
    }
    fn save(&self) -> DeviceState {
        KEPT
    }
}

fn keeper() -> (MmioTransport, Seen) {
    let device = Keeper::default();
    let seen = device.seen.clone();
    let memory = memory::create(MEMORY_BYTES).unwrap();
    (MmioTransport::new(Box::new(device), memory).unwrap(), seen)
}

fn read(transport: &MmioTransport, at: u64) -> u32 {
    let mut word = [0xaa; 4];
    transport.read(at, &mut word);
    u32::from_le_bytes(word)
}

fn write(transport: &mut MmioTransport, at: u64, value: u32) {
    transport.write(at, &value.to_le_bytes());
}

fn negotiate(transport: &mut MmioTransport, features: u64) {
    write(transport, offset::STATUS, 1);
    write(transport, offset::STATUS, 3);
    for half in [0, 1] {
        write(transport, offset::DRIVER_FEATURES_SELECT, half);
        write(transport, offset::DRIVER_FEATURES, (features >> (32 * half)) as u32);
    }
    write(transport, offset::STATUS, 11);
}

fn set_queue(transport: &mut MmioTransport, queue: u32, size: u32, base: u64) {
    write(transport, offset::QUEUE_SELECT, queue);
    write(transport, offset::QUEUE_SIZE, size);
    for (at, address) in [
        (offset::QUEUE_DESCRIPTORS, base + DESCRIPTORS),
        (offset::QUEUE_DRIVER, base + AVAILABLE),
        (offset::QUEUE_DEVICE, base + USED),
    ] {
        write(transport, at, address as u32);
        write(transport, at + 4, (address >> 32) as u32);
    }
    write(transport, offset::QUEUE_READY, 1);
}

fn activate(transport: &mut MmioTransport, queues: u32) {
    negotiate(transport, VERSION_1);
    for queue in 0..queues {
        set_queue(transport, queue, 8, u64::from(queue) << 16);
    }
    write(transport, offset::STATUS, 15);
}

#[test]
fn a_driver_that_follows_the_specification_gets_an_active_device() {
    let (mut transport, seen) = keeper();
    assert_eq!(read(&transport, offset::MAGIC), 0x7472_6976);
    assert_eq!((read(&transport, offset::VERSION), read(&transport, offset::DEVICE_ID)), (2, 2));
    assert_eq!(read(&transport, offset::DEVICE_FEATURES), 0x2000_0005);
    write(&mut transport, offset::DEVICE_FEATURES_SELECT, 1);
    assert_eq!(read(&transport, offset::DEVICE_FEATURES), 1);
    write(&mut transport, offset::QUEUE_SELECT, 1);
    assert_eq!(read(&transport, offset::QUEUE_SIZE_MAX), 16);
    write(&mut transport, offset::QUEUE_SELECT, 2);
    assert_eq!(read(&transport, offset::QUEUE_SIZE_MAX), 0);
    activate(&mut transport, 2);
    assert_eq!(read(&transport, offset::STATUS), 15);
    let place = |base| ([base + DESCRIPTORS, base + AVAILABLE, base + USED], 8);
    assert_eq!(*seen.lock().unwrap(), [[place(0), place(1 << 16)]]);
    assert_eq!(transport.save().driver_features, VERSION_1);
    assert_eq!(read(&transport, offset::QUEUE_READY), 1);
    write(&mut transport, offset::STATUS, 0);
    assert_eq!((read(&transport, offset::STATUS), read(&transport, offset::QUEUE_READY)), (0, 0));
}

#[test]
fn features_that_make_no_sense_are_not_accepted() {
    for features in [0, 1, VERSION_1 | 2, VERSION_1 << 1] {
        let (mut transport, seen) = keeper();
        negotiate(&mut transport, features);
        assert_eq!(read(&transport, offset::STATUS), 3, "{features:#x}");
        set_queue(&mut transport, 0, 8, 0);
        set_queue(&mut transport, 1, 8, 0x1_0000);
        write(&mut transport, offset::STATUS, 7);
        assert_eq!(read(&transport, offset::STATUS), 3, "ready without features");
        assert!(seen.lock().unwrap().is_empty());
    }
}

#[test]
fn features_are_fixed_once_accepted() {
    let (mut transport, seen) = keeper();
    negotiate(&mut transport, VERSION_1 | 1);
    write(&mut transport, offset::DRIVER_FEATURES_SELECT, 0);
    write(&mut transport, offset::DRIVER_FEATURES, 4);
    set_queue(&mut transport, 0, 8, 0);
    set_queue(&mut transport, 1, 8, 0x1_0000);
    write(&mut transport, offset::STATUS, 15);
    assert_eq!(seen.lock().unwrap().len(), 1);
    assert_eq!(transport.save().driver_features, VERSION_1 | 1);
}

#[test]
fn queues_that_cannot_be_served_are_seen_at_activation() {
    let end = MEMORY_BYTES;
    let bad = [(3, 0), (0, 0), (32, 0), (8, 1), (8, end), (8, end - USED), (8, u64::MAX << 20)];
    for (size, base) in bad {
        let (mut transport, seen) = keeper();
        negotiate(&mut transport, VERSION_1);
        set_queue(&mut transport, 0, 8, 0x1_0000);
        set_queue(&mut transport, 1, size, base);
        write(&mut transport, offset::STATUS, 15);
        assert_eq!(read(&transport, offset::STATUS), 15 | status::NEEDS_RESET, "{size} {base:#x}");
        assert_eq!(read(&transport, offset::INTERRUPT_STATUS), CONFIG_BIT);
        assert_eq!(transport.line().read().unwrap(), 1);
        assert!(seen.lock().unwrap().is_empty());
    }
}

#[test]
fn a_ring_that_begins_where_no_memory_is_is_seen_though_it_ends_in_memory() {
    let memory = memory::create(4 << 30).unwrap();
    let device = Keeper::default();
    let seen = device.seen.clone();
    let mut transport = MmioTransport::new(Box::new(device), memory).unwrap();
    negotiate(&mut transport, VERSION_1);
    set_queue(&mut transport, 0, 8, 0);
    set_queue(&mut transport, 1, 8, (4 << 30) - DESCRIPTORS - 64);
    write(&mut transport, offset::STATUS, 15);
    assert_eq!(read(&transport, offset::STATUS), 15 | status::NEEDS_RESET);
    assert!(seen.lock().unwrap().is_empty());
}

#[test]
fn a_queue_left_out_is_seen_at_activation() {
    let (mut transport, seen) = keeper();
    activate(&mut transport, 1);
    assert_eq!(read(&transport, offset::STATUS) & status::NEEDS_RESET, status::NEEDS_RESET);
    assert!(seen.lock().unwrap().is_empty());
}

#[test]
fn a_notification_reaches_its_queue_alone() {
    let (mut transport, _) = keeper();
    write(&mut transport, offset::QUEUE_NOTIFY, 1);
    write(&mut transport, offset::QUEUE_NOTIFY, 2);
    let counts = [0, 1].map(|queue: usize| transport.notify_events()[queue].read().ok());
    assert_eq!(counts, [None, Some(1)]);
}

#[test]
fn acknowledged_bits_go_and_others_stay() {
    let (mut transport, _) = keeper();
    transport.signals.interrupts.store(3, Ordering::SeqCst);
    write(&mut transport, offset::INTERRUPT_ACK, 1);
    assert_eq!(read(&transport, offset::INTERRUPT_STATUS), 2);
}

#[test]
fn the_config_space_is_read_at_any_width_and_ends_in_zeroes() {
    let (mut transport, _) = keeper();
    let mut byte = [0xff; 1];
    transport.read(offset::CONFIG + 1, &mut byte);
    assert_eq!(byte, [2]);
    let mut wide = [0xff; 8];
    transport.read(offset::CONFIG + 3, &mut wide);
    assert_eq!(wide, [4, 5, 0, 0, 0, 0, 0, 0]);
    transport.read(offset::CONFIG + 0xeff, &mut wide);
    assert_eq!(wide, [0; 8]);
    transport.write(offset::CONFIG, &[9; 4]);
    transport.read(offset::CONFIG, &mut byte);
    assert_eq!(byte, [1]);
}

fn provide(memory: &Memory, slot: u16, buffer: u64, length: u32) {
    let at = DESCRIPTORS + 16 * u64::from(slot);
    memory.write_obj(buffer, GuestAddress(at)).unwrap();
    memory.write_obj(length, GuestAddress(at + 8)).unwrap();
    memory.write_obj([2u16, 0], GuestAddress(at + 12)).unwrap();
    memory.write_obj(slot, GuestAddress(AVAILABLE + 4 + 2 * u64::from(slot))).unwrap();
    memory.write_obj(slot + 1, GuestAddress(AVAILABLE + 2)).unwrap();
}

fn used_index(memory: &Memory, wanted: u16) -> u16 {
    let read = || memory.read_obj::<u16>(GuestAddress(USED + 2)).unwrap();
    for _ in 0..500 {
        if read() == wanted {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    read()
}

#[test]
fn a_serving_device_is_saved_and_made_again_with_its_positions() {
    let memory = memory::create(MEMORY_BYTES).unwrap();
    let mut first =
        MmioTransport::new(Box::new(Entropy::new(Threads::unconfined()).unwrap()), memory.clone())
            .unwrap();
    activate(&mut first, 1);
    provide(&memory, 0, 0x5000, 32);
    write(&mut first, offset::QUEUE_NOTIFY, 0);
    assert_eq!(used_index(&memory, 1), 1);

    let state = first.save();
    assert_eq!(state.queues[0].next_available, 1);
    assert_eq!(state.queues[0].next_used, 1);
    assert_eq!((state.status, state.interrupts), (15, 1));

    // The saved one goes on serving …
    provide(&memory, 1, 0x5100, 32);
    write(&mut first, offset::QUEUE_NOTIFY, 0);
    assert_eq!(used_index(&memory, 2), 2);
    let state = first.save();
    drop(first);

    // … and one made from its state goes on where it was.
    let mut second =
        MmioTransport::new(Box::new(Entropy::new(Threads::unconfined()).unwrap()), memory.clone())
            .unwrap();
    second.restore(&state).unwrap();
    assert_eq!(second.save(), state);
    provide(&memory, 2, 0x5200, 32);
    write(&mut second, offset::QUEUE_NOTIFY, 0);
    assert_eq!(used_index(&memory, 3), 3);
    assert_ne!(memory.read_obj::<[u8; 32]>(GuestAddress(0x5200)).unwrap(), [0; 32]);
}

#[test]
fn a_state_of_another_device_is_refused() {
    let (mut transport, _) = keeper();
    let memory = memory::create(MEMORY_BYTES).unwrap();
    let mut entropy =
        MmioTransport::new(Box::new(Entropy::new(Threads::unconfined()).unwrap()), memory).unwrap();
    let one = entropy.restore(&transport.save());
    assert!(matches!(one, Err(RestoreError::Queues { found: 2, expected: 1 })));
    let mut state = transport.save();
    for other in [
        DeviceState::Vsock,
        DeviceState::Block { bytes: 8192, writable: true },
        DeviceState::Block { bytes: 4096, writable: false },
    ] {
        state.device = other;
        let refusal = transport.restore(&state);
        assert!(matches!(refusal, Err(RestoreError::Device { expected: KEPT, .. })), "{other:?}");
    }
    negotiate(&mut transport, VERSION_1);
    let state = MmioState { driver_features: VERSION_1 | 2, ..transport.save() };
    let refusal = transport.restore(&state);
    assert!(matches!(refusal, Err(RestoreError::Features { accepted, .. }) if accepted & 2 != 0));
}

#[test]
fn a_driver_that_breaks_its_queue_is_asked_for_a_reset() {
    let memory = memory::create(MEMORY_BYTES).unwrap();
    let mut entropy =
        MmioTransport::new(Box::new(Entropy::new(Threads::unconfined()).unwrap()), memory.clone())
            .unwrap();
    activate(&mut entropy, 1);
    memory.write_obj(5000u16, GuestAddress(AVAILABLE + 2)).unwrap();
    write(&mut entropy, offset::QUEUE_NOTIFY, 0);
    for _ in 0..500 {
        if read(&entropy, offset::STATUS) & status::NEEDS_RESET != 0 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let state = entropy.save();
    assert_eq!((state.status, state.interrupts), (15 | status::NEEDS_RESET, CONFIG_BIT));
    assert_eq!(entropy.line().read().unwrap(), 1);
    let mut again =
        MmioTransport::new(Box::new(Entropy::new(Threads::unconfined()).unwrap()), memory).unwrap();
    again.restore(&state).unwrap();
    assert_eq!(again.save(), state);
    write(&mut entropy, offset::STATUS, 0);
    assert_eq!(read(&entropy, offset::STATUS), 0);
}

/// Whether rings at these places are what a driver may set up.
fn is_honest((addresses, size): ([u64; 3], u16)) -> bool {
    let fits = |address: u64, bytes: u64, align: u64| {
        address.is_multiple_of(align)
            && address.checked_add(bytes).is_some_and(|end| end <= MEMORY_BYTES)
    };
    let entries = u64::from(size);
    size.is_power_of_two()
        && size <= 16
        && fits(addresses[0], 16 * entries, 16)
        && fits(addresses[1], 6 + 2 * entries, 2)
        && fits(addresses[2], 6 + 8 * entries, 4)
}

proptest! {
    #[test]
    fn whatever_a_driver_does_only_queues_in_memory_are_handed_over(
        accesses in prop::collection::vec(
            (0u64..0x48, prop_oneof![0u32..20, Just(0x2_0000u32), any::<u32>()]), 1..80
        )
    ) {
        let (mut transport, seen) = keeper();
        negotiate(&mut transport, VERSION_1);
        set_queue(&mut transport, 0, 8, 0);
        for (register, value) in accesses {
            write(&mut transport, 4 * register, value);
            read(&transport, 4 * register);
        }
        for queues in seen.lock().unwrap().iter() {
            prop_assert_eq!(queues.len(), 2);
            prop_assert!(queues.iter().all(|place| is_honest(*place)), "{:x?}", queues);
        }
    }

    #[test]
    fn no_state_makes_a_device_serve_what_is_not_memory(
        status in any::<u32>(), size in any::<u16>(),
        addresses in prop::array::uniform3(prop_oneof![0u64..0x2_0000, any::<u64>()]),
        positions in any::<(u16, u16)>(),
    ) {
        let (mut transport, seen) = keeper();
        let queue = QueueState {
            size,
            ready: true,
            descriptor_table: addresses[0],
            available_ring: addresses[1],
            used_ring: addresses[2],
            next_available: positions.0,
            next_used: positions.1,
        };
        let state = MmioState {
            status,
            device_features_select: 0,
            driver_features_select: 0,
            driver_features: VERSION_1,
            queue_select: !0,
            queues: vec![queue; 2],
            interrupts: 0,
            device: KEPT,
        };
        transport.restore(&state).unwrap();
        prop_assert!(is_honest((addresses, size)) || seen.lock().unwrap().is_empty());
    }
}
