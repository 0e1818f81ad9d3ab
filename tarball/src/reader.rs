//! Tar archives as a sequence of entries: POSIX.1-2017 pax interchange format (ustar, `x` headers), the
//! older v7 and GNU forms (`L`, `K`, `S`), and the PAX keywords of star and GNU tar that images use.
//!
//! Owns: headers, their extensions, and where an entry's data lies. Never does: keep file data, follow
//! a name, or believe a number: every length is checked before memory follows it. Where tars disagree,
//! this reads as Go's `archive/tar` does, because that is what image layers are made and read with:
//! global headers (`g`) are passed over, types without data ignore their size.

mod header;
mod pax;
mod sparse;

pub use header::EntryKind;
pub use sparse::Segment;

use crate::error::TarError;
use header::{BLOCK, Block, Header};
use pax::PaxRecords;
use std::collections::BTreeMap;
use std::io::{self, BufRead};

/// The longest extension (a long name, or one `x` header), in bytes: Go's limit too. The longest name
/// Linux takes is 4 KiB, the longest extended attribute 64 KiB.
const MAX_EXTENSION_BYTES: u64 = 1 << 20;

/// Where an archive is read from: in order, but able to pass over data.
pub trait TarInput: BufRead {
    /// Passes over `count` bytes; fewer only where the input ends. Reads them, where nothing better is known.
    ///
    /// # Errors
    /// Any of reading; `UnexpectedEof` where the input ends before.
    fn skip(&mut self, mut count: u64) -> io::Result<()> {
        while count > 0 {
            let available = self.fill_buf()?.len();
            if available == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let step = available.min(usize::try_from(count).unwrap_or(usize::MAX));
            self.consume(step);
            count -= step as u64;
        }
        Ok(())
    }

    /// Marks `count` bytes as used, as `consume` does; an image has them at `position`.
    fn consume_placed(&mut self, count: usize, position: u64) {
        let _ = position;
        self.consume(count);
    }
}

/// An input that can only be read through.
#[derive(Debug)]
pub struct Stream<R>(pub R);

impl<R: BufRead> io::Read for Stream<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl<R: BufRead> BufRead for Stream<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.0.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.0.consume(count);
    }
}

impl<R: BufRead> TarInput for Stream<R> {}

/// One entry. Its data, where it has any, is read with [`TarReader::data`] before the next entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name, as it stands there.
    pub path: Vec<u8>,
    /// Its link's target.
    pub link: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits with set-user-ID, set-group-ID and sticky.
    pub mode: u16,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Modification time.
    pub mtime: Mtime,
    /// Extended attributes, by their full names.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// The file's size once unpacked, in bytes.
    pub size: u64,
    /// Where the stored data belongs in a sparse file, ascending; `None` for an ordinary file.
    pub segments: Option<Vec<Segment>>,
    /// Where the stored data begins, in bytes from the archive's begin.
    pub data_offset: u64,
    /// How many bytes of data are stored.
    pub stored: u64,
}

/// A modification time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mtime {
    /// Seconds since the Unix epoch, rounded down.
    pub seconds: i64,
    /// And this many nanoseconds.
    pub nanoseconds: u32,
}

/// Reads an archive.
#[derive(Debug)]
pub struct TarReader<I> {
    input: I,
    offset: u64,
    data_left: u64,
    padding: u64,
}

impl<I: TarInput> TarReader<I> {
    /// Reads `input` from its begin.
    pub fn new(input: I) -> Self {
        Self { input, offset: 0, data_left: 0, padding: 0 }
    }

    /// The input, wherever reading stands.
    pub fn into_input(self) -> I {
        self.input
    }

    /// The next entry, past what was not read of the one before; `None` at the end of the archive.
    ///
    /// # Errors
    /// Any [`TarError`]; nothing can be read after one.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, TarError> {
        let mut extensions = Extensions::default();
        loop {
            self.finish_entry()?;
            let Some(block) = self.header_block()? else {
                return if extensions.any { Err(self.truncated()) } else { Ok(None) };
            };
            let header = Header::parse(&block, self.offset - BLOCK)?;
            match header.kind() {
                b'L' => extensions.path = Some(self.name_extension(&header)?),
                b'K' => extensions.link = Some(self.name_extension(&header)?),
                b'x' | b'X' => {
                    let at = self.offset;
                    extensions.pax = pax::parse(&self.extension(&header)?, at)?;
                }
                b'g' => {
                    self.skip(header.size)?;
                    self.skip_padding_of(header.size)?;
                    continue;
                }
                _ => return self.entry(&header, &block, extensions).map(Some),
            }
            extensions.any = true;
        }
    }

    /// The data of the entry last given, as far as it was not read: call, use, [`Self::consume`].
    /// Empty at its end.
    ///
    /// # Errors
    /// [`TarError::Truncated`] and those of reading.
    pub fn data(&mut self) -> Result<&[u8], TarError> {
        if self.data_left == 0 {
            return Ok(&[]);
        }
        let offset = self.offset;
        let bytes = self.input.fill_buf().map_err(|error| TarError::read(&error))?;
        if bytes.is_empty() {
            return Err(TarError::Truncated { offset });
        }
        let length = bytes.len().min(usize::try_from(self.data_left).unwrap_or(usize::MAX));
        Ok(bytes.get(..length).unwrap_or(bytes))
    }

    /// Marks `count` bytes of the data as used.
    pub fn consume(&mut self, count: usize) {
        let count = count.min(usize::try_from(self.data_left).unwrap_or(usize::MAX));
        self.input.consume(count);
        self.data_left -= count as u64;
        self.offset += count as u64;
    }

    /// The same for bytes that were written to an image, at `position`.
    pub fn consume_placed(&mut self, count: usize, position: u64) {
        let count = count.min(usize::try_from(self.data_left).unwrap_or(usize::MAX));
        self.input.consume_placed(count, position);
        self.data_left -= count as u64;
        self.offset += count as u64;
    }

    fn entry(
        &mut self,
        header: &Header,
        block: &Block,
        extensions: Extensions,
    ) -> Result<Entry, TarError> {
        let at = self.offset - BLOCK;
        let Extensions { path, link, pax, .. } = extensions;
        let path = pax.path.or(path).unwrap_or_else(|| header.path(block));
        let link = pax.link.or(link).unwrap_or_else(|| header.link.clone());
        let kind = header.entry_kind(&path, at)?;
        let stored = match kind {
            EntryKind::File => pax.size.unwrap_or(header.size),
            _ => 0,
        };
        let mut entry = Entry {
            path,
            link,
            kind,
            mode: header.mode,
            uid: owner(pax.uid.unwrap_or(header.uid), at)?,
            gid: owner(pax.gid.unwrap_or(header.gid), at)?,
            mtime: pax.mtime.unwrap_or(Mtime { seconds: header.mtime, nanoseconds: 0 }),
            xattrs: pax.xattrs,
            device: header.device,
            size: stored,
            segments: None,
            data_offset: 0,
            stored,
        };
        self.data_left = stored;
        self.padding = stored.wrapping_neg() % BLOCK;
        if header.kind() == b'S' {
            let map = sparse::read_gnu(self, block)?;
            entry.attach(map, at)?;
        } else if kind == EntryKind::File
            && let Some(claim) = pax.sparse.claim(at)?
        {
            entry.path = claim.name.unwrap_or(entry.path);
            let segments = match claim.segments {
                Some(segments) => segments,
                None => sparse::read_pax_1_0(self)?,
            };
            entry.stored = self.data_left;
            entry.attach(sparse::Map { size: claim.size, segments }, at)?;
        }
        entry.data_offset = self.offset;
        Ok(entry)
    }

    /// One header; `None` at two blocks of zeroes, or where the archive ends without them.
    fn header_block(&mut self) -> Result<Option<Block>, TarError> {
        let at = self.offset;
        let Some(block) = self.block()? else { return Ok(None) };
        if block.iter().any(|&byte| byte != 0) {
            return Ok(Some(block));
        }
        match self.block()? {
            Some(second) if second.iter().any(|&byte| byte != 0) => {
                Err(TarError::LoneZeroBlock { offset: at })
            }
            _ => Ok(None),
        }
    }

    /// One block; `None` where the input ends exactly before it.
    fn block(&mut self) -> Result<Option<Block>, TarError> {
        let mut block: Block = [0; 512];
        let mut filled = 0;
        while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.input.read(rest) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(self.truncated()),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(TarError::read(&error)),
            }
        }
        self.offset += BLOCK;
        Ok(Some(block))
    }

    /// A block that belongs to the entry's data or header and so must be there.
    fn required_block(&mut self) -> Result<Block, TarError> {
        self.block()?.ok_or_else(|| self.truncated())
    }

    /// A block at the begin of the entry's data.
    fn data_block(&mut self) -> Result<Block, TarError> {
        let left = self.data_left.checked_sub(BLOCK).ok_or_else(|| self.truncated())?;
        self.data_left = left;
        self.required_block()
    }

    fn extension(&mut self, header: &Header) -> Result<Vec<u8>, TarError> {
        if header.size > MAX_EXTENSION_BYTES {
            return Err(TarError::ExtensionTooLong { offset: self.offset, bytes: header.size });
        }
        let mut bytes = Vec::new();
        let read = io::Read::take(&mut self.input, header.size);
        io::Read::read_to_end(&mut { read }, &mut bytes).map_err(|error| TarError::read(&error))?;
        self.offset += bytes.len() as u64;
        if (bytes.len() as u64) < header.size {
            return Err(self.truncated());
        }
        self.skip_padding_of(header.size)?;
        Ok(bytes)
    }

    fn name_extension(&mut self, header: &Header) -> Result<Vec<u8>, TarError> {
        let mut name = self.extension(header)?;
        if let Some(end) = name.iter().position(|&byte| byte == 0) {
            name.truncate(end);
        }
        Ok(name)
    }

    fn finish_entry(&mut self) -> Result<(), TarError> {
        let left = self.data_left;
        let padding = std::mem::take(&mut self.padding);
        self.data_left = 0;
        self.skip(left)?;
        self.skip(padding)
    }

    fn skip_padding_of(&mut self, size: u64) -> Result<(), TarError> {
        self.skip(size.wrapping_neg() % BLOCK)
    }

    fn skip(&mut self, count: u64) -> Result<(), TarError> {
        match self.input.skip(count) {
            Ok(()) => {
                self.offset = self.offset.saturating_add(count);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(self.truncated()),
            Err(error) => Err(TarError::read(&error)),
        }
    }

    fn truncated(&self) -> TarError {
        TarError::Truncated { offset: self.offset }
    }
}

impl Entry {
    fn attach(&mut self, map: sparse::Map, at: u64) -> Result<(), TarError> {
        map.check(self.stored, at)?;
        self.size = map.size;
        self.segments = Some(map.segments);
        Ok(())
    }
}

/// What stood before an entry's own header.
#[derive(Default)]
struct Extensions {
    any: bool,
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    pax: PaxRecords,
}

fn owner(id: u64, offset: u64) -> Result<u32, TarError> {
    // The last value is chown(2)'s "leave it", and no one's id.
    u32::try_from(id)
        .ok()
        .filter(|&id| id != u32::MAX)
        .ok_or(TarError::Number { field: "owner".into(), offset })
}
