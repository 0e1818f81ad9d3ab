//! What a guest wanted and was refused: each is told once, and all are counted.
//!
//! Owns: what was told already, as far as a bound. Never does: let a guest decide how much is told.

use crate::config::Transport;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::net::SocketAddr;

/// More than this are not told.
const MOST_TOLD: usize = 32;

/// Something that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Where it was to go. An echo has no port.
    pub to: SocketAddr,
    /// By what; `None` for an echo.
    pub transport: Option<Transport>,
    /// The name that the guest had asked for, where that is known.
    pub name: Option<String>,
}

/// All that was refused.
#[derive(Debug, Default)]
pub struct Refusals {
    told: HashSet<(SocketAddr, Option<Transport>)>,
    count: u64,
}

impl Refusals {
    /// Something is refused: what is to be told of it.
    pub fn add(
        &mut self,
        to: SocketAddr,
        transport: Option<Transport>,
        name: Option<&str>,
    ) -> Option<Refusal> {
        self.count += 1;
        let is_new = self.told.len() < MOST_TOLD && self.told.insert((to, transport));
        is_new.then(|| Refusal { to, transport, name: name.map(str::to_owned) })
    }

    /// How often something was.
    pub fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_once_and_not_without_end() {
        let mut refusals = Refusals::default();
        let to = |port: u16| SocketAddr::from(([10, 0, 0, 1], port));
        let told = refusals.add(to(1), Some(Transport::Tcp), Some("a.b")).unwrap();
        assert_eq!((told.to, told.name.as_deref()), (to(1), Some("a.b")));
        assert_eq!(refusals.add(to(1), Some(Transport::Tcp), None), None);
        assert!(refusals.add(to(1), None, None).is_some());
        let more = (2..1000).filter_map(|port| refusals.add(to(port), Some(Transport::Udp), None));
        assert_eq!(more.count(), MOST_TOLD - 2);
        assert_eq!(refusals.count(), 3 + 998);
    }
}
