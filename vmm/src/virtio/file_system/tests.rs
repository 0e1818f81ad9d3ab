use super::{FileSystem, QUEUE_SIZES, Responder, config_space};
use crate::threads::Threads;
use crate::virtio::queue::Chain;
use crate::virtio::test_driver::{Driver, memory};
use crate::virtio::{Activation, VirtioDevice};
use std::sync::Arc;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// Says of each request how long it is.
#[derive(Debug)]
struct Measure;

impl Responder for Measure {
    fn answer(&self, memory: &GuestMemoryMmap<()>, chain: Chain<'_>) -> u32 {
        let length: u32 = chain.clone().readable().map(|part| part.len()).sum();
        for part in chain.writable() {
            memory.write_obj(length, part.addr()).unwrap();
        }
        4
    }
}

#[test]
fn a_driver_finds_it_by_its_name() {
    let space = config_space("shares");
    assert_eq!(&space[..8], b"shares\0\0");
    assert_eq!(space[36..], 1u32.to_le_bytes());
    assert_eq!(config_space(&"x".repeat(99))[..36], [b'x'; 36]);
}

#[test]
fn both_queues_are_answered_and_given_back() {
    let mut device = FileSystem::new("x", Arc::new(Measure), Threads::unconfined()).unwrap();
    for _ in 0..2 {
        let memory = memory(4 << 20);
        let mut drivers: Vec<Driver> =
            [0, 0x10_0000].map(|base| Driver::new(&memory, base, QUEUE_SIZES[0])).into();
        let queues = drivers.iter().map(Driver::queue).collect();
        device.activate(Activation { memory: memory.clone(), queues, features: 0 }).unwrap();
        for driver in &mut drivers {
            driver.add(&[(0x30_0000, 7, false), (0x30_1000, 4, true)]);
            assert_eq!(driver.wait_used().1, 4);
            assert_eq!(memory.read_obj::<u32>(GuestAddress(0x30_1000)).unwrap(), 7);
        }
        assert_eq!(device.reset().len(), 2);
    }
    assert!(device.reset().is_empty());
}

#[test]
fn another_number_of_queues_is_refused() {
    let mut device = FileSystem::new("x", Arc::new(Measure), Threads::unconfined()).unwrap();
    let memory = memory(1 << 20);
    let queues = vec![Driver::new(&memory, 0, 8).queue()];
    assert!(device.activate(Activation { memory, queues, features: 0 }).is_err());
}
