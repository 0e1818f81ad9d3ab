use super::serve::BYTES_PER_CHAIN;
use super::*;
use crate::memory;
use crate::threads::Threads;
use crate::virtio::stop::Stop;
use crate::virtio::test_driver::{self, Driver};
use crate::virtio::{Interrupt, Memory};
use std::time::{Duration, Instant};
use virtio_queue::{Queue, QueueT};
use vm_memory::{Bytes, GuestAddress};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

const DESCRIPTORS: u64 = 0x1000;
const AVAILABLE: u64 = 0x2000;
const USED: u64 = 0x3000;
const WRITABLE: u16 = 2;
const NEXT: u16 = 1;

struct Guest {
    memory: Memory,
    notify: EventFd,
    call: EventFd,
}

fn serving() -> (Entropy, Guest) {
    let memory = memory::create(1 << 20).unwrap();
    let mut queue = Queue::new(8).unwrap();
    queue.try_set_desc_table_address(GuestAddress(DESCRIPTORS)).unwrap();
    queue.try_set_avail_ring_address(GuestAddress(AVAILABLE)).unwrap();
    queue.try_set_used_ring_address(GuestAddress(USED)).unwrap();
    queue.set_ready(true);
    let notify = EventFd::new(0).unwrap();
    let call = EventFd::new(EFD_NONBLOCK).unwrap();
    let guest = Guest {
        memory: memory.clone(),
        notify: notify.try_clone().unwrap(),
        call: call.try_clone().unwrap(),
    };
    let notify = Arc::new(notify);
    let queues = vec![VirtQueue { queue, notify, interrupt: Interrupt::call(call) }];
    let mut device = Entropy::new(Threads::unconfined()).unwrap();
    device.activate(Activation { memory, queues, features: 0 }).unwrap();
    (device, guest)
}

impl Guest {
    fn descriptor(&self, slot: u64, buffer: u64, length: u32, flags: u16, next: u16) {
        let at = DESCRIPTORS + 16 * slot;
        self.memory.write_obj(buffer, GuestAddress(at)).unwrap();
        self.memory.write_obj(length, GuestAddress(at + 8)).unwrap();
        self.memory.write_obj([flags, next], GuestAddress(at + 12)).unwrap();
    }

    /// Makes the chains at these heads available and waits for as many to be used.
    fn run(&self, heads: &[u16]) -> Vec<(u32, u32)> {
        for (at, head) in (0..).zip(heads) {
            self.memory.write_obj(*head, GuestAddress(AVAILABLE + 4 + 2 * at)).unwrap();
        }
        let count = u16::try_from(heads.len()).unwrap();
        self.memory.write_obj(count, GuestAddress(AVAILABLE + 2)).unwrap();
        self.notify.write(1).unwrap();
        let begin = Instant::now();
        let used = || self.memory.read_obj::<u16>(GuestAddress(USED + 2)).unwrap();
        while used() < count && begin.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let entry = |at: u64| self.memory.read_obj(GuestAddress(USED + 4 + 8 * at)).unwrap();
        (0..u64::from(used())).map(|at| <[u32; 2]>::into(entry(at))).collect()
    }
}

#[test]
fn buffers_are_filled_and_the_driver_is_told() {
    let (mut device, guest) = serving();
    guest.descriptor(0, 0x8000, 64, WRITABLE | NEXT, 1);
    guest.descriptor(1, 0x9000, 1000, WRITABLE, 0);
    assert_eq!(guest.run(&[0]), [(0, 1064)]);
    let mut bytes = [0; 1000];
    guest.memory.read_slice(&mut bytes, GuestAddress(0x9000)).unwrap();
    assert!(bytes.iter().filter(|byte| **byte == 0).count() < 30);
    assert_eq!(device.reset().len(), 1);
    assert_eq!(guest.call.read().unwrap(), 1);
}

#[test]
fn a_chain_gets_no_more_than_its_limit() {
    let (_device, guest) = serving();
    guest.descriptor(0, 0x8000, 0x8_0000, WRITABLE, 0);
    assert_eq!(guest.run(&[0]), [(0, u32::try_from(BYTES_PER_CHAIN).unwrap())]);
    let beyond = GuestAddress(0x8000 + BYTES_PER_CHAIN as u64);
    assert_eq!(guest.memory.read_obj::<u64>(beyond).unwrap(), 0);
}

#[test]
fn hostile_chains_come_back_empty_and_honest_ones_are_still_served() {
    let (_device, guest) = serving();
    guest.descriptor(0, 0x8000, 64, 0, 0); // nothing writable
    guest.descriptor(1, u64::MAX - 7, 64, WRITABLE, 0);
    guest.descriptor(2, 0xf_fff0, 64, WRITABLE, 0);
    guest.descriptor(3, 0x8000, 64, WRITABLE | NEXT, 3); // a circle
    guest.descriptor(4, 0x8000, 8, WRITABLE, 0);
    let used = guest.run(&[0, 1, 2, 3, 4]);
    assert_eq!(used, [(0, 0), (1, 0), (2, 0), (3, 0), (4, 8)]);
}

#[test]
fn a_reset_gives_the_queue_back_where_it_was() {
    let (mut device, guest) = serving();
    guest.descriptor(0, 0x8000, 64, WRITABLE, 0);
    guest.run(&[0]);
    let queues = device.reset();
    assert_eq!((queues[0].queue.next_avail(), queues[0].queue.next_used()), (1, 1));
    assert_eq!(device.reset().len(), 0);
    device.activate(Activation { memory: guest.memory.clone(), queues, features: 0 }).unwrap();
    assert_eq!(device.reset().len(), 1);
}

/// A driver can make chains faster than they are filled.
#[test]
fn between_two_chains_the_thread_looks_whether_to_stop() {
    let memory = test_driver::memory(1 << 20);
    let mut driver = Driver::new(&memory, 0, 8);
    (0..8).for_each(|_| _ = driver.add(&[(0x8000, 64, true)]));
    let mut queue = driver.queue();
    let stop = Stop::new().unwrap();
    stop.tell();
    serve::serve(&memory, &mut queue, &stop);
    assert_eq!(queue.queue.next_avail(), 0, "a chain was taken after the order to stop");
    serve::serve(&memory, &mut queue, &Stop::new().unwrap());
    assert_eq!(queue.queue.next_avail(), 8);
}

#[test]
fn another_number_of_queues_is_refused() {
    let memory = memory::create(1 << 20).unwrap();
    let activation = Activation { memory, queues: Vec::new(), features: 0 };
    let refusal = Entropy::new(Threads::unconfined()).unwrap().activate(activation);
    assert!(matches!(refusal, Err(ActivateError::QueueCount { got: 0, expected: 1 })));
}
