//! Which ends of the guest's have a port outside: one for all that datagrams go to from there (RFC 4787, REQ-1), so that
//! whoever was told of it by one is found there by another.
//!
//! Owns: a flow of each end that still has the port. Never does: open a socket.

use super::FlowId;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

/// The ends that have a port.
#[derive(Debug, Default)]
pub struct Mapped {
    /// Most have one flow, and no set.
    one: HashMap<SocketAddr, FlowId>,
    more: HashMap<SocketAddr, HashSet<FlowId>>,
}

impl Mapped {
    /// A flow of this end.
    pub fn of(&self, guest: &SocketAddr) -> Option<FlowId> {
        self.one.get(guest).copied()
    }

    /// Adds one.
    pub fn add(&mut self, guest: SocketAddr, id: FlowId) {
        if *self.one.entry(guest).or_insert(id) != id {
            self.more.entry(guest).or_default().insert(id);
        }
    }

    /// Takes one away; another takes its place, if there is one.
    pub fn remove(&mut self, guest: &SocketAddr, id: FlowId) {
        let is_first = self.of(guest) == Some(id);
        let more = self.more.get_mut(guest);
        let next = more.as_ref().and_then(|more| more.iter().next()).copied();
        // Whoever takes its place is no further one any more.
        let leaves = if is_first { next } else { Some(id) };
        if let (Some(more), Some(leaves)) = (more, leaves) {
            more.remove(&leaves);
        }
        match next.filter(|_| is_first) {
            Some(next) => drop(self.one.insert(*guest, next)),
            None if is_first => drop(self.one.remove(guest)),
            None => {}
        }
        if self.more.get(guest).is_some_and(HashSet::is_empty) {
            self.more.remove(guest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_has_a_port_as_long_as_one_of_its_flows() {
        let mut mapped = Mapped::default();
        let guest = |port: u16| SocketAddr::from(([192, 0, 0, 2], port));
        let ids = [1, 2, 3].map(FlowId::of);
        ids.iter().for_each(|&id| mapped.add(guest(1), id));
        mapped.add(guest(2), FlowId::of(4));
        for (gone, left) in [(1, vec![2, 3]), (3, vec![2]), (2, vec![])] {
            mapped.remove(&guest(1), FlowId::of(gone));
            let of = mapped.of(&guest(1));
            assert_eq!(of.is_some(), !left.is_empty());
            assert!(of.is_none_or(|id| left.contains(&id.number())));
        }
        assert_eq!(mapped.of(&guest(2)), Some(FlowId::of(4)));
        mapped.remove(&guest(2), FlowId::of(4));
        assert!(mapped.one.is_empty() && mapped.more.is_empty());
    }
}
