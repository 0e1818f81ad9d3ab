//! The volumes of one run.

use super::{Held, VolumeError, Volumes};
use crate::plan::VolumeMount;
use crate::plan::volume::VolumeName;
use ext4::Layout;
use std::path::Path;

/// Each once, in the order in which they stand on the sandbox's writable disk.
#[derive(Debug, Default)]
pub struct OfRun {
    names: Vec<VolumeName>,
    held: Vec<Held>,
}

impl OfRun {
    /// Takes those that are mounted; one that is not there is made, of this layout.
    ///
    /// # Errors
    /// [`VolumeError`].
    pub fn hold(
        state_dir: &Path,
        mounts: &[VolumeMount],
        layout: &Layout,
    ) -> Result<Self, VolumeError> {
        let mut names: Vec<_> = mounts.iter().filter_map(|mount| mount.volume.clone()).collect();
        if names.is_empty() {
            return Ok(Self::default());
        }
        // In one order for all: two runs with the same volumes do not each wait for the other.
        names.sort();
        names.dedup();
        let volumes = Volumes::open(state_dir)?;
        let mut held = Vec::new();
        for name in &names {
            volumes.create(name, layout)?;
            held.push(volumes.hold(name)?);
        }
        Ok(Self { names, held })
    }

    /// How long their disks are, in bytes.
    pub fn lengths(&self) -> Vec<u64> {
        self.held.iter().map(|held| held.length).collect()
    }

    /// Which of them one is.
    pub fn place(&self, name: &VolumeName) -> Option<usize> {
        self.names.iter().position(|known| known == name)
    }

    /// Gives them to a machine.
    pub fn give(self) -> Vec<Held> {
        self.held
    }
}
