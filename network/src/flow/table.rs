//! The table of flows: found by what they are known by, or by a number that no other flow ever has.
//!
//! What a look costs does not depend on how many there are.

use super::mapped::Mapped;
use super::{Flow, Key};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

/// A flow's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId {
    index: u32,
    generation: u32,
}

impl FlowId {
    /// As one number, below 2⁶³.
    pub fn number(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// Of that number.
    pub fn of(number: u64) -> Self {
        let [index, generation] = [number, number >> 32].map(|half| half & u64::from(u32::MAX));
        let half = |number| u32::try_from(number).unwrap_or(u32::MAX);
        Self { index: half(index), generation: half(generation) }
    }
}

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    flow: Option<Flow>,
}

/// All flows.
#[derive(Debug)]
pub struct Table {
    most: usize,
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_key: HashMap<Key, FlowId>,
    mapped: Mapped,
    begun: u64,
}

impl Table {
    /// A table of so many flows at most.
    pub fn new(most: usize) -> Self {
        let (slots, free, by_key) = (Vec::new(), Vec::new(), HashMap::new());
        Self { most, slots, free, by_key, mapped: Mapped::default(), begun: 0 }
    }

    /// Whether there is no place for more.
    pub fn is_full(&self) -> bool {
        self.by_key.len() >= self.most
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// The most that there may be.
    pub fn most(&self) -> usize {
        self.most
    }

    /// How many there have been.
    pub fn begun(&self) -> u64 {
        self.begun
    }

    /// A socket by which datagrams of this end of the guest's go outside already.
    pub fn sibling(&self, guest: &SocketAddr) -> Option<BorrowedFd<'_>> {
        let id = self.mapped.of(guest)?;
        self.slots.get(usize::try_from(id.index).ok()?)?.flow.as_ref()?.socket()
    }

    /// The flow that is known by this.
    pub fn find(&self, key: &Key) -> Option<FlowId> {
        self.by_key.get(key).copied()
    }

    /// The flow of this number, if it is still there.
    pub fn get(&mut self, id: FlowId) -> Option<&mut Flow> {
        let slot = self.slots.get_mut(usize::try_from(id.index).ok()?)?;
        slot.flow.as_mut().filter(|_| slot.generation == id.generation)
    }

    /// Adds a flow that is not there yet, where there is place.
    pub fn add(&mut self, flow: Flow) -> Option<FlowId> {
        if self.is_full() || self.by_key.contains_key(&flow.key) {
            return None;
        }
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                let index = u32::try_from(self.slots.len()).ok()?;
                self.slots.push(Slot::default());
                index
            }
        };
        let slot = self.slots.get_mut(usize::try_from(index).ok()?)?;
        // Below 2³¹, so that a number has a bit left.
        slot.generation = slot.generation.wrapping_add(1) & (u32::MAX >> 1);
        let id = FlowId { index, generation: slot.generation };
        self.by_key.insert(flow.key, id);
        if flow.is_mapped() {
            self.mapped.add(flow.key.guest, id);
        }
        self.begun += 1;
        slot.flow = Some(flow);
        Some(id)
    }

    /// Takes a flow out.
    pub fn remove(&mut self, id: FlowId) -> Option<Flow> {
        self.get(id)?;
        let flow = self.slots.get_mut(usize::try_from(id.index).ok()?)?.flow.take()?;
        self.by_key.remove(&flow.key);
        if flow.is_mapped() {
            self.mapped.remove(&flow.key.guest, id);
        }
        self.free.push(id.index);
        Some(flow)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Datagrams, Kind, Way};
    use super::*;
    use crate::packet::Protocol;
    use std::time::Instant;

    fn flow(port: u16) -> Flow {
        let (guest, other) = (([192, 0, 0, 2], port).into(), ([1, 1, 1, 1], 53).into());
        let key = Key { protocol: Protocol::Udp, guest, other };
        let kind = Kind::Datagrams(Datagrams::new(Way::Published(0), other));
        Flow::new(key, kind, Instant::now())
    }

    #[test]
    fn a_number_is_one_flow_and_never_another() {
        let mut table = Table::new(2);
        let first = table.add(flow(1)).unwrap();
        assert_eq!(FlowId::of(first.number()), first);
        assert!(table.add(flow(1)).is_none(), "it is there");
        let second = table.add(flow(2)).unwrap();
        assert!(table.is_full() && table.add(flow(3)).is_none());
        let key = flow(1).key;
        assert_eq!(table.find(&key), Some(first));
        assert!(table.remove(first).is_some() && table.remove(first).is_none());
        assert_eq!(table.find(&key), None);
        let third = table.add(flow(3)).unwrap();
        assert_ne!(third, first);
        assert!(table.get(first).is_none(), "its place is another's");
        assert!(table.get(second).is_some() && table.get(third).is_some());
        assert_eq!(table.len(), 2);
        assert!(table.slots.len() == 2 && third.number() >> 63 == 0);
    }
}
