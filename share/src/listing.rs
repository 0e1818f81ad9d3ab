//! All that a directory has, a piece at a time.

use crate::inodes::Node;
use crate::tree::{Tree, stat_of};
use fuse_backend_rs::api::filesystem::{DirEntry, Entry};
use rustix::fs::{RawDir, RawDirEntry, SeekFrom};
use rustix::io::Errno;
use std::io;
use std::mem::MaybeUninit;
use std::sync::atomic::Ordering;

/// The most that is read of a directory at a time, in bytes; and the least, which holds an entry with the longest name.
const PIECE_BYTES: std::ops::RangeInclusive<usize> = 512..=32 << 10;
/// How many times as long as the kernel's line for an entry the guest's is at most: of the shortest name, with all that is
/// told of the file, and without.
const TOLD_TIMES: usize = 7;
const PLAIN_TIMES: usize = 2;
/// A place that no directory has.
const NOWHERE: u64 = u64::MAX;

/// One thing in a directory: what it is called, and what the guest is told of it, where it asks.
pub(crate) type Add<'a> = &'a mut dyn FnMut(DirEntry<'_>, Option<Entry>) -> io::Result<usize>;

/// What of a directory is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// From where on; 0 is all.
    pub offset: u64,
    /// How much room there is for it, in bytes.
    pub size: u32,
    /// Whether the guest is to be told of each file too.
    pub told: bool,
}

impl Tree {
    /// Adds what a directory has, in order, as much as there is room for.
    ///
    /// No more is read than there is room for, and the next request goes on where this one ended: the place that an old
    /// tmpfs gives an entry is how many are before it, and to go back to one would pass over others once some are removed.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn list(&self, number: u64, handle: u64, wanted: Wanted, add: Add<'_>) -> io::Result<()> {
        let open = self.opened(handle, number)?;
        // Until all that is read below has been told, nobody knows where the kernel goes on.
        if open.position.swap(NOWHERE, Ordering::Relaxed) != wanted.offset {
            rustix::fs::seek(&open.file, SeekFrom::Start(wanted.offset))?;
        }
        let times = if wanted.told { TOLD_TIMES } else { PLAIN_TIMES };
        let room = usize::try_from(wanted.size).unwrap_or(usize::MAX) / times;
        let mut piece = [const { MaybeUninit::uninit() }; *PIECE_BYTES.end()];
        let (piece, _) = piece.split_at_mut(room.clamp(*PIECE_BYTES.start(), *PIECE_BYTES.end()));
        let mut directory = RawDir::new(&open.file, piece);
        let mut added = false;
        while let Some(found) = directory.next() {
            let found = found?;
            let cookie = found.next_entry_cookie();
            match self.add(&open.node, &found, wanted.told, add) {
                Ok(Added::Nothing) => {}
                Ok(Added::It) => added = true,
                // Whoever asks for the rest names the entry from which on.
                Ok(Added::Full) => return Ok(()),
                Err(error) if !added => return Err(error),
                Err(_) => return Ok(()),
            }
            if directory.is_buffer_empty() {
                open.position.store(cookie, Ordering::Relaxed);
                if added {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Adds one thing.
    fn add(
        &self,
        directory: &Node,
        found: &RawDirEntry<'_>,
        told: bool,
        add: Add<'_>,
    ) -> io::Result<Added> {
        let name = found.file_name();
        let is_dots = matches!(name.to_bytes(), b"." | b"..");
        let entry = match told && !is_dots {
            false => None,
            true => match self.look_up(directory, name) {
                Ok((_, entry)) => Some(entry),
                // Gone in this moment: it is not there.
                Err(Errno::NOENT) => return Ok(Added::Nothing),
                // Of this one nothing is said.
                Err(_) => None,
            },
        };
        let ino = match &entry {
            Some(entry) => entry.attr.st_ino,
            None => self.number_listed(directory, found.ino())?,
        };
        let known = entry.as_ref().map(|entry| entry.inode);
        let line = DirEntry {
            ino,
            offset: found.next_entry_cookie(),
            type_: found.file_type().as_raw_mode() >> 12,
            name: name.to_bytes(),
        };
        let added = add(line, told.then(|| entry.unwrap_or_default()));
        if !matches!(added, Ok(1..))
            && let Some(number) = known
        {
            self.inodes.forget(number, 1);
        }
        Ok(if added? == 0 { Added::Full } else { Added::It })
    }

    /// A number that a directory lists, as the guest knows those of its file system.
    fn number_listed(&self, directory: &Node, inode: u64) -> Result<u64, Errno> {
        let mut stat = stat_of(&directory.file)?;
        stat.st_ino = inode;
        Ok(self.inode_number(&stat))
    }
}

/// What became of one thing.
enum Added {
    /// It is told.
    It,
    /// There is no room for it.
    Full,
    /// There is nothing to tell.
    Nothing,
}
