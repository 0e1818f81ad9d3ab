//! Directories outside of the machine: one virtio-fs, in whose root each stands under its number.
//!
//! Never looks into them.

use crate::disks::{FileSystem, attach};
use crate::error::{OsError, Tried};
use protocol::SHARES_TAG;
use rustix::mount::MountAttrFlags;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Where it is mounted.
pub const PLACE: &str = "/run/cofferdam/shares";

/// The file system, and whether it is mounted.
#[derive(Debug, Default)]
pub struct Shares(Mutex<bool>);

impl Shares {
    /// Whether it is mounted.
    pub fn is_mounted(&self) -> bool {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Mounts it where it is not yet.
    ///
    /// # Errors
    /// What the kernel says, for example of a machine that has none.
    pub fn mount(&self) -> Result<(), OsError> {
        let mut mounted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !*mounted {
            fs::create_dir_all(PLACE).tried("make", PLACE)?;
            let shares = FileSystem::open("virtiofs")?.set("source", SHARES_TAG)?;
            attach(&shares.mount(MountAttrFlags::empty())?, Path::new(PLACE))?;
            *mounted = true;
        }
        Ok(())
    }
}
