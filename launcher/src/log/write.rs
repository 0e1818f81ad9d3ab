//! Writing what a detached sandbox says, and beginning a new file where one is full.
//!
//! Owns: the newest file. Never does: fail whoever writes. What finds no room is counted, and the file stays whole: once
//! there is room again, it says how much is missing.

use super::{Limits, Stream, file};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A log that is written.
#[derive(Debug)]
pub struct Log {
    directory: PathBuf,
    limits: Limits,
    newest: File,
    /// How long that is.
    length: u64,
    /// So many bytes of output found no room.
    missing: u64,
    entries: Vec<u8>,
}

impl Log {
    /// Goes on writing in this directory.
    ///
    /// # Errors
    /// Where no file can be made there.
    pub fn open(directory: &Path, limits: Limits) -> io::Result<Self> {
        let newest = newest(directory)?;
        let length = newest.metadata()?.len();
        let (directory, entries) = (directory.to_owned(), Vec::new());
        Ok(Self { directory, limits, newest, length, missing: 0, entries })
    }

    /// Writes what came by a stream.
    pub fn write(&mut self, stream: Stream, bytes: &[u8]) {
        let time = humantime::format_rfc3339_nanos(SystemTime::now()).to_string();
        self.entries.clear();
        if self.missing > 0 {
            let note = format!("cofferdam: {} bytes of output found no room here\n", self.missing);
            push(&mut self.entries, &time, Stream::Stderr, note.as_bytes());
        }
        push(&mut self.entries, &time, stream, bytes);
        match self.append() {
            Ok(()) => self.missing = 0,
            Err(_) => self.missing = self.missing.saturating_add(bytes.len() as u64),
        }
    }

    fn append(&mut self) -> io::Result<()> {
        let more = self.entries.len() as u64;
        if self.length > 0 && self.length.saturating_add(more) > self.limits.bytes {
            self.turn()?;
        }
        let written = self.newest.write_all(&self.entries);
        match written {
            Ok(()) => self.length += more,
            // Of an entry that does not fit, nothing stays. Where that cannot be done either, a reader passes it over.
            Err(_) => self.newest.set_len(self.length)?,
        }
        written
    }

    /// Begins a new file.
    fn turn(&mut self) -> io::Result<()> {
        for ago in (0..self.limits.files.saturating_sub(1)).rev() {
            match std::fs::rename(file(&self.directory, ago), file(&self.directory, ago + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if self.limits.files == 1 {
            std::fs::remove_file(file(&self.directory, 0))?;
        }
        self.newest = newest(&self.directory)?;
        self.length = 0;
        Ok(())
    }
}

fn newest(directory: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // Whoever may read what a container writes is its owner.
    options.append(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    options.open(file(directory, 0))
}

/// Adds bytes as entries: one for each line, and one for what is none yet.
fn push(entries: &mut Vec<u8>, time: &str, stream: Stream, bytes: &[u8]) {
    for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
        let (text, tag) = match piece.strip_suffix(b"\n") {
            Some(line) => (line, 'F'),
            None => (piece, 'P'),
        };
        // Writing to a vector cannot fail.
        let _ = write!(entries, "{time} {} {tag} ", stream.name());
        entries.extend_from_slice(text);
        entries.push(b'\n');
    }
}
