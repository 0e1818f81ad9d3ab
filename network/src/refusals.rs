//! What a guest wanted and was refused: each is told once.
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

/// Whoever hears of refusals.
pub type Tell = Box<dyn FnMut(&Refusal) + Send>;

/// All that was refused.
#[derive(Default)]
pub struct Refusals {
    told: HashSet<(SocketAddr, Option<Transport>)>,
    tell: Option<Tell>,
}

impl Refusals {
    /// Has somebody hear of them.
    pub fn tell(&mut self, tell: Tell) {
        self.tell = Some(tell);
    }

    /// Something is refused.
    pub fn add(&mut self, to: SocketAddr, transport: Option<Transport>, name: Option<&str>) {
        let is_new = self.told.len() < MOST_TOLD && self.told.insert((to, transport));
        if let Some(tell) = self.tell.as_mut().filter(|_| is_new) {
            tell(&Refusal { to, transport, name: name.map(str::to_owned) });
        }
    }
}

impl std::fmt::Debug for Refusals {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} refusals told", self.told.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[test]
    fn each_is_told_once_and_not_without_end() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let mut refusals = Refusals::default();
        let hears = Arc::clone(&told);
        refusals.tell(Box::new(move |it| hears.lock().unwrap().push(it.clone())));
        let to = |port: u16| SocketAddr::from(([10, 0, 0, 1], port));
        refusals.add(to(1), Some(Transport::Tcp), Some("a.b"));
        refusals.add(to(1), Some(Transport::Tcp), None);
        refusals.add(to(1), None, None);
        assert_eq!(told.lock().unwrap().len(), 2);
        assert_eq!(told.lock().unwrap()[0].name.as_deref(), Some("a.b"));
        (2..1000).for_each(|port| refusals.add(to(port), Some(Transport::Udp), None));
        assert_eq!(told.lock().unwrap().len(), MOST_TOLD);
    }
}
