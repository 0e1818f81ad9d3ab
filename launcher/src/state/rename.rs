//! Another name for a sandbox.
//!
//! Owns: that no two have one name, while it is given. Never does: write the record of one that runs: that is its supervisor's.

use super::{PATIENCE, Record, Sandboxes, StateError, lock_within, try_lock};
use protocol::ContainerId;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// A name that nobody has, and that nobody is given as long as this is held.
#[derive(Debug)]
pub struct FreeName {
    name: ContainerId,
    id: ContainerId,
    path: PathBuf,
    _naming: OwnedFd,
}

impl Sandboxes {
    /// Holds a name for a sandbox that is called otherwise.
    ///
    /// # Errors
    /// [`StateError::NameTaken`], and where there is no such sandbox.
    pub fn free_name(&self, wanted: &str, name: ContainerId) -> Result<FreeName, StateError> {
        let _naming = lock_within(&self.path, PATIENCE)?;
        let (id, path) = self.directory_of(wanted)?;
        let has_it = |it: &Record| it.name.as_deref() == Some(name.as_str());
        if let Some(other) = self.list()?.into_iter().find(has_it) {
            return Err(StateError::NameTaken { name: name.to_string(), id: other.id });
        }
        Ok(FreeName { name, id, path, _naming })
    }
}

impl FreeName {
    /// It.
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// Whose it is to be.
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// Gives it to one that has ended.
    ///
    /// # Errors
    /// [`StateError::Running`], and where its record cannot be written.
    pub fn give(self) -> Result<(), StateError> {
        let Some(_lock) = try_lock(&self.path)? else { return Err(StateError::Running(self.id)) };
        let mut record = Record::read(&self.path)?;
        record.name = Some(self.name.to_string());
        record.write(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_given_where_it_is_free() {
        let place = tempfile::tempdir().unwrap();
        let sandboxes = Sandboxes::open(place.path()).unwrap();
        let id = |text: &str| ContainerId::try_from(text.to_owned()).unwrap();
        let make = |own: &str, name: &str| {
            let record = Record::new(id(own), Some(name.to_owned()), String::new(), Vec::new());
            (sandboxes.create(&record).unwrap(), record)
        };
        let (one, record) = make("aa11", "one");
        let (_other, _) = make("bb22", "other");
        let taken = sandboxes.free_name("one", id("other"));
        assert!(matches!(taken, Err(StateError::NameTaken { .. })), "{taken:?}");
        let none = sandboxes.free_name("none", id("new"));
        assert!(matches!(none, Err(StateError::NotFound(_))), "{none:?}");
        let running = sandboxes.free_name("one", id("new")).unwrap().give();
        assert!(matches!(running, Err(StateError::Running(_))), "{running:?}");
        one.keep(&record).unwrap();
        sandboxes.free_name("one", id("new")).unwrap().give().unwrap();
        assert_eq!(sandboxes.record_of("new").unwrap().id, id("aa11"));
        assert!(matches!(sandboxes.record_of("one"), Err(StateError::NotFound(_))));
    }
}
