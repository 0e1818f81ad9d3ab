//! Reading what a detached sandbox has said, and what it says while it is read.
//!
//! Owns: the way through the files, whatever is done with them meanwhile. Never does: believe them.

use super::{Entry, MOST_FILES, file};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The longest entry that is read, in bytes: what comes by a stream at once, and what stands before it.
const MOST_ENTRY_BYTES: u64 = 1 << 20;

/// A way through a log, from some entry on.
#[derive(Debug)]
pub struct Reader {
    directory: PathBuf,
    current: Option<Open>,
    /// So many lines are passed over first.
    passed_over: usize,
    /// The entry that is read, as far as it is there.
    line: Vec<u8>,
    /// What it was within is gone, and perhaps more after it.
    lost_the_way: bool,
}

#[derive(Debug)]
struct Open {
    file: BufReader<File>,
    inode: u64,
}

impl Reader {
    /// One that begins with the oldest entry, or with the first of so many last lines.
    ///
    /// # Errors
    /// Where a file that is there cannot be read.
    pub fn open(directory: &Path, last: Option<usize>) -> io::Result<Self> {
        let mut reader = Self {
            directory: directory.to_owned(),
            current: None,
            passed_over: 0,
            line: Vec::new(),
            lost_the_way: false,
        };
        let Some(mut wanted) = last else {
            reader.current = oldest(directory)?;
            return Ok(reader);
        };
        for ago in 0..MOST_FILES {
            let Some(open) = open(directory, ago)? else { break };
            let lines = lines(open.file)?;
            reader.passed_over = lines.saturating_sub(wanted);
            reader.current = self::open(directory, ago)?;
            wanted = wanted.saturating_sub(lines);
            if wanted == 0 {
                break;
            }
        }
        Ok(reader)
    }

    /// The next entry; `None` where there is none yet. What is none of ours is passed over.
    ///
    /// # Errors
    /// Those of reading.
    pub fn entry(&mut self) -> io::Result<Option<Entry<'_>>> {
        loop {
            if !self.next_line()? {
                return Ok(None);
            }
            let Some(Entry { is_whole, .. }) = Entry::parse(&self.line) else { continue };
            if self.passed_over == 0 {
                return Ok(Entry::parse(&self.line));
            }
            self.passed_over -= usize::from(is_whole);
        }
    }

    /// Whether entries were thrown away unread since this was asked last: they were written faster than read.
    pub fn has_missed_some(&mut self) -> bool {
        std::mem::take(&mut self.lost_the_way)
    }

    /// Reads the next line whole; whether there is one.
    fn next_line(&mut self) -> io::Result<bool> {
        if self.line.ends_with(b"\n") {
            self.line.clear();
        }
        loop {
            let Some(current) = &mut self.current else {
                self.current = oldest(&self.directory)?;
                if self.current.is_none() {
                    return Ok(false);
                }
                continue;
            };
            let room = MOST_ENTRY_BYTES.saturating_sub(self.line.len() as u64);
            let count = current.file.by_ref().take(room).read_until(b'\n', &mut self.line)?;
            if self.line.ends_with(b"\n") {
                return Ok(true);
            }
            if room == 0 {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "an entry is too long"));
            }
            if count > 0 {
                continue;
            }
            let inode = current.inode;
            let Newer { next, is_adjacent } = newer(&self.directory, inode)?;
            // What was cut short there is nothing any more.
            let Some(next) = next else { return Ok(false) };
            // Something may have been written since it was at its end, before it was let go.
            if current.file.fill_buf()?.is_empty() {
                self.line.clear();
                self.current = Some(next);
                self.lost_the_way |= !is_adjacent;
            }
        }
    }
}

/// How many lines there are.
fn lines(mut file: BufReader<File>) -> io::Result<usize> {
    let mut count = 0;
    let mut line = Vec::new();
    loop {
        line.clear();
        if file.by_ref().take(MOST_ENTRY_BYTES).read_until(b'\n', &mut line)? == 0 {
            return Ok(count);
        }
        count += usize::from(Entry::parse(&line).is_some_and(|entry| entry.is_whole));
    }
}

fn open(directory: &Path, ago: u32) -> io::Result<Option<Open>> {
    let mut options = OpenOptions::new();
    // Nothing that stands in its place is waited for.
    options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let opened = options.open(file(directory, ago)).and_then(|file| {
        let metadata = file.metadata()?;
        Ok((metadata.is_file(), Open { file: BufReader::new(file), inode: metadata.ino() }))
    });
    match opened {
        Ok((true, open)) => Ok(Some(open)),
        Ok((false, _)) => Err(io::Error::new(io::ErrorKind::InvalidData, "it is no regular file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn oldest(directory: &Path) -> io::Result<Option<Open>> {
    let count = (0..MOST_FILES).take_while(|&ago| file(directory, ago).exists()).count();
    let ago = u32::try_from(count).unwrap_or(MOST_FILES).checked_sub(1);
    ago.map_or(Ok(None), |ago| open(directory, ago))
}

/// What there is after a file.
struct Newer {
    /// `None` where that is the newest.
    next: Option<Open>,
    /// Nothing was between the two.
    is_adjacent: bool,
}

/// The file after the one with this number of the file system's.
fn newer(directory: &Path, inode: u64) -> io::Result<Newer> {
    let mut next = None;
    for ago in 0..MOST_FILES {
        let Some(open) = open(directory, ago)? else { break };
        if open.inode == inode {
            return Ok(Newer { next, is_adjacent: true });
        }
        next = Some(open);
    }
    // It is gone: what is there now is all newer.
    Ok(Newer { next, is_adjacent: false })
}
