//! Which names an address has, as far as the guest's own name servers have told.
//!
//! Owns: what they told, for as long as it holds. Never does: ask; or believe anybody else: an answer of a server that the
//! guest has chosen itself never comes here.

mod answer;

pub use answer::{Answer, read, read_all};

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How long an address holds beyond what is told: whoever has asked still has to connect.
const GRACE: Duration = Duration::from_secs(30);
/// No longer than this, whatever is told.
const MOST_LASTING: Duration = Duration::from_secs(24 * 3600);
/// The most addresses that are known at a time.
const MOST_ADDRESSES: usize = 4096;
/// The most names of one address.
const MOST_NAMES: usize = 64;

/// A name of an address.
#[derive(Debug)]
struct Name {
    name: String,
    /// It was itself asked for, and does not only stand between that and the address.
    is_asked: bool,
    until: Instant,
}

/// The names of addresses.
#[derive(Debug, Default)]
pub struct Names(HashMap<IpAddr, Vec<Name>>);

impl Names {
    /// Takes in what a name server has told.
    pub fn learn(&mut self, answer: Answer, now: Instant) {
        if self.0.len() >= MOST_ADDRESSES {
            self.0.retain(|_, names| names.iter().any(|name| name.until > now));
        }
        for (address, seconds) in answer.addresses {
            if self.0.len() >= MOST_ADDRESSES && !self.0.contains_key(&address) {
                continue;
            }
            let lasts = Duration::from_secs(seconds.into()).min(MOST_LASTING) + GRACE;
            let names = self.0.entry(address).or_default();
            names.retain(|name| name.until > now);
            for (index, name) in answer.names.iter().enumerate() {
                let (is_asked, until) = (index == 0, now + lasts);
                let is_it = |it: &Name| it.name == *name && it.is_asked == is_asked;
                if let Some(known) = names.iter_mut().find(|it| is_it(it)) {
                    known.until = known.until.max(until);
                } else if names.len() < MOST_NAMES {
                    names.push(Name { name: name.clone(), is_asked, until });
                }
            }
        }
    }

    /// The names of an address now, and whether each was asked for itself.
    pub fn of(&self, address: IpAddr, now: Instant) -> impl Iterator<Item = (&str, bool)> {
        let names = self.0.get(&address).into_iter().flatten();
        names.filter(move |name| name.until > now).map(|name| (name.name.as_str(), name.is_asked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_holds_as_long_as_it_was_told() {
        let (mut names, now) = (Names::default(), Instant::now());
        let address = IpAddr::from([1, 1, 1, 1]);
        let answer = |names: &[&str], ttl| Answer {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            addresses: vec![(address, ttl)],
        };
        names.learn(answer(&["a", "b"], 60), now);
        names.learn(answer(&["c"], 5), now);
        let at = |names: &Names, seconds| {
            let then = now + Duration::from_secs(seconds);
            names
                .of(address, then)
                .map(|(name, asked)| format!("{name} {asked}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(at(&names, 0), ["a true", "b false", "c true"]);
        assert_eq!(at(&names, 40), ["a true", "b false"]);
        assert_eq!(at(&names, 91), [""; 0]);
        names.learn(answer(&["a"], 600), now + Duration::from_secs(50));
        assert_eq!(at(&names, 300), ["a true"]);
        assert!(names.of([2, 2, 2, 2].into(), now).next().is_none());
    }

    #[test]
    fn no_more_is_kept_than_a_bound() {
        let (mut names, now) = (Names::default(), Instant::now());
        for number in 0..10_000u32 {
            let addresses = vec![(IpAddr::from(number.to_be_bytes()), 10)];
            names.learn(Answer { names: vec!["a".into()], addresses }, now);
            let one = vec![(IpAddr::from([0, 0, 0, 0]), 10)];
            names.learn(Answer { names: vec![number.to_string()], addresses: one }, now);
        }
        assert_eq!(names.0.len(), MOST_ADDRESSES);
        assert_eq!(names.of([0, 0, 0, 0].into(), now).count(), MOST_NAMES);
        let later = now + Duration::from_secs(60);
        let addresses = vec![(IpAddr::from([9, 9, 9, 9]), 10)];
        names.learn(Answer { names: vec!["b".into()], addresses }, later);
        assert_eq!(names.0.len(), 1);
    }
}
