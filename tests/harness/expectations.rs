//! Lists of what was seen, kept in `tests/expectations/`: what is seen now equals them, no more and no less.

use super::World;
use std::collections::BTreeSet;

impl World {
    /// Holds what was seen here against the list of this name for this accelerator.
    #[track_caller]
    pub fn sees_what_is_listed(&self, name: &str, seen: &BTreeSet<String>) {
        let name = format!("tests/expectations/{name}-{}.list", self.accelerator.name());
        let listed = std::fs::read_to_string(super::workspace().join(&name)).unwrap_or_default();
        let listed: BTreeSet<String> =
            listed.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
        let more: Vec<_> = seen.difference(&listed).collect();
        let less: Vec<_> = listed.difference(seen).collect();
        assert!(
            more.is_empty() && less.is_empty(),
            "{name}: not listed: {more:#?}; not seen: {less:#?}"
        );
    }
}
