//! A disk's bytes: stretches of open files, one after the other, read and written in place.
//!
//! Some disks grow while they are served: more files come by a line, which is looked at when the driver reads what is not
//! there yet.
//!
//! Positional I/O straight between file and guest memory; a transfer may cross from one stretch to
//! the next. Checks bounds again by itself, so that no mistake in a request reaches beyond a stretch.

use super::{BLOCK_BYTES, SERIAL_BYTES};
use crate::config::DiskConfig;
use crate::virtio::buffers::Slices;
use crate::virtio::{line, sys};
use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

/// The length of a disk that grows, in bytes: 1 TiB, of which only what is there can be read.
pub const GROWN_BYTES: u64 = 1 << 40;
/// The most extents of a disk that has grown.
const MAX_EXTENTS: usize = 1 << 14;

/// Why no disk can be made of a configuration.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// A thread to serve it could not be started.
    #[error("cannot start a thread to serve a disk")]
    Threads(#[source] io::Error),
    /// It has no extents.
    #[error("the disk {serial:?} has no extents")]
    Empty {
        /// The disk's serial number.
        serial: String,
    },
    /// The serial number is not 1 to 20 bytes of printable ASCII.
    #[error("{0:?} is no serial number of at most {SERIAL_BYTES} characters")]
    Serial(String),
    /// An extent points at no open file.
    #[error("extent {index} of the disk {serial:?} has no open file")]
    NoFile {
        /// The disk's serial number.
        serial: String,
        /// Which extent.
        index: usize,
    },
    /// An extent is empty, not a multiple of 4096 bytes long, or does not lie within its file.
    #[error(
        "extent {index} of the disk {serial:?}: {length} bytes at {offset} do not suit a file of {size} bytes"
    )]
    Bounds {
        /// The disk's serial number.
        serial: String,
        /// Which extent.
        index: usize,
        /// Where it begins in the file.
        offset: u64,
        /// How long it is.
        length: u64,
        /// How long the file is.
        size: u64,
    },
    /// Its line points at no open file.
    #[error("the disk {serial:?} is to grow, and no line came for that")]
    NoLine {
        /// The disk's serial number.
        serial: String,
    },
    /// An extent's file could not be looked at.
    #[error("cannot look at extent {index} of the disk {serial:?}")]
    File {
        /// The disk's serial number.
        serial: String,
        /// Which extent.
        index: usize,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

#[derive(Debug)]
struct Extent {
    file: OwnedFd,
    /// Where it begins on the disk.
    start: u64,
    /// Where it begins in the file.
    offset: u64,
    length: u64,
}

/// A disk's bytes.
#[derive(Debug)]
pub struct Extents {
    table: RwLock<Table>,
    /// What the driver is told.
    length: u64,
}

/// What is there.
#[derive(Debug, Default)]
struct Table {
    extents: Vec<Extent>,
    length: u64,
    /// Where more may come from.
    line: Option<OwnedFd>,
}

/// One part of a transfer, within one extent.
struct Piece<'d> {
    file: &'d OwnedFd,
    offset: u64,
    length: u64,
}

impl Extents {
    /// Looks at each extent's file and takes a descriptor of its own for it.
    ///
    /// # Errors
    /// Any [`DiskError`].
    pub fn open(config: &DiskConfig, files: &[OwnedFd]) -> Result<Self, DiskError> {
        let serial = || config.serial.clone();
        let printable = config.serial.bytes().all(|byte| byte.is_ascii_graphic());
        if config.serial.is_empty() || config.serial.len() > SERIAL_BYTES || !printable {
            return Err(DiskError::Serial(serial()));
        }
        if config.extents.is_empty() {
            return Err(DiskError::Empty { serial: serial() });
        }
        let mut disk = Table::default();
        for (index, extent) in config.extents.iter().enumerate() {
            let (offset, length) = (extent.offset, extent.length);
            let file = files
                .get(extent.file.0 as usize)
                .ok_or_else(|| DiskError::NoFile { serial: serial(), index })?;
            let file_error = |source| DiskError::File { serial: serial(), index, source };
            let file = file.try_clone().map_err(file_error)?;
            // A seek and not fstat, because that also tells the size of a block device.
            let size = rustix::fs::seek(&file, rustix::fs::SeekFrom::End(0))
                .map_err(|errno| file_error(errno.into()))?;
            let inside = offset.checked_add(length).is_some_and(|end| end <= size);
            let end = disk.length.checked_add(length);
            let (Some(end), true) = (end, inside && length > 0 && length % BLOCK_BYTES == 0) else {
                return Err(DiskError::Bounds { serial: serial(), index, offset, length, size });
            };
            disk.extents.push(Extent { file, start: disk.length, offset, length });
            disk.length = end;
        }
        let mut length = disk.length;
        if let Some(slot) = config.more {
            let line = slot.of(files).ok_or_else(|| DiskError::NoLine { serial: serial() })?;
            let line = line.try_clone();
            disk.line = Some(line.map_err(|source| DiskError::File {
                serial: serial(),
                index: 0,
                source,
            })?);
            length = GROWN_BYTES;
        }
        Ok(Self { table: RwLock::new(disk), length })
    }

    /// What is there, as far as this end of a stretch, if that is there by now.
    fn table(&self, end: Option<u64>) -> RwLockReadGuard<'_, Table> {
        // Each change is whole before its lock is let go.
        let read = || self.table.read().unwrap_or_else(PoisonError::into_inner);
        let table = read();
        if table.line.is_none() || end.is_none_or(|end| end <= table.length) {
            return table;
        }
        drop(table);
        self.table.write().unwrap_or_else(PoisonError::into_inner).hear();
        read()
    }

    /// How many bytes the disk has.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Fills guest memory from the disk.
    ///
    /// # Errors
    /// Those of the host's file, also where the file has become shorter.
    pub fn read(&self, position: u64, mut to: Slices<'_>) -> io::Result<()> {
        let length = to.len() as u64;
        for piece in self.table(position.checked_add(length)).pieces(position, length)? {
            transfer(piece, &mut to, sys::read_at)?;
        }
        Ok(())
    }

    /// Puts guest memory on the disk.
    ///
    /// # Errors
    /// Those of the host's file.
    pub fn write(&self, position: u64, mut from: Slices<'_>) -> io::Result<()> {
        for piece in self.table(None).pieces(position, from.len() as u64)? {
            transfer(piece, &mut from, sys::write_at)?;
        }
        Ok(())
    }

    /// Waits until what was written is on stable storage.
    ///
    /// # Errors
    /// Those of the host's file.
    pub fn flush(&self) -> io::Result<()> {
        self.table(None)
            .extents
            .iter()
            .try_for_each(|extent| Ok(rustix::fs::fdatasync(&extent.file)?))
    }

    /// Gives space back to the host. Where the host cannot, nothing happens: a discard is advice.
    ///
    /// # Errors
    /// Those of the host's file.
    pub fn discard(&self, position: u64, length: u64) -> io::Result<()> {
        for piece in self.table(None).pieces(position, length)? {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            match allocate(&piece, flags) {
                Ok(()) | Err(Errno::OPNOTSUPP) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Makes bytes read as zero; with `unmap` their space is given back.
    ///
    /// # Errors
    /// Those of the host's file.
    pub fn write_zeroes(&self, position: u64, length: u64, unmap: bool) -> io::Result<()> {
        let how = if unmap { FallocateFlags::PUNCH_HOLE } else { FallocateFlags::ZERO_RANGE };
        for piece in self.table(None).pieces(position, length)? {
            match allocate(&piece, how | FallocateFlags::KEEP_SIZE) {
                Ok(()) => {}
                // A tmpfs, for one, has no ZERO_RANGE.
                Err(Errno::OPNOTSUPP) => write_zero_bytes(&piece)?,
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }
}

impl Table {
    /// Takes in what has come by the line.
    fn hear(&mut self) {
        while let Some(open) = &self.line {
            match line::receive(open) {
                Ok(Some((length, file))) => {
                    let end = self.length.checked_add(length).filter(|end| *end <= GROWN_BYTES);
                    let fits =
                        length > 0 && length % BLOCK_BYTES == 0 && self.extents.len() < MAX_EXTENTS;
                    let Some(end) = end.filter(|_| fits) else {
                        // Whoever sends this is not understood, and what would follow would stand elsewhere.
                        self.line = None;
                        return;
                    };
                    self.extents.push(Extent { file, start: self.length, offset: 0, length });
                    self.length = end;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Ok(None) | Err(_) => self.line = None,
            }
        }
    }

    fn pieces(&self, position: u64, length: u64) -> io::Result<impl Iterator<Item = Piece<'_>>> {
        let end = position.checked_add(length).filter(|end| *end <= self.length);
        let end = end.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let first = self.extents.partition_point(|extent| extent.start + extent.length <= position);
        let touched = self.extents.iter().skip(first).take_while(move |extent| extent.start < end);
        Ok(touched.map(move |extent| {
            let from = position.max(extent.start);
            let to = end.min(extent.start + extent.length);
            let offset = extent.offset + (from - extent.start);
            Piece { file: &extent.file, offset, length: to - from }
        }))
    }
}

type Transfer = fn(std::os::fd::BorrowedFd<'_>, &Slices<'_>, u64) -> io::Result<usize>;

fn transfer(piece: Piece<'_>, memory: &mut Slices<'_>, how: Transfer) -> io::Result<()> {
    let length = usize::try_from(piece.length).map_err(io::Error::other)?;
    let mut memory = memory.take_front(length);
    let mut offset = piece.offset;
    while !memory.is_empty() {
        match how(piece.file.as_fd(), &memory, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                memory.take_front(count);
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn allocate(piece: &Piece<'_>, flags: FallocateFlags) -> Result<(), Errno> {
    rustix::io::retry_on_intr(|| {
        rustix::fs::fallocate(piece.file, flags, piece.offset, piece.length)
    })
}

fn write_zero_bytes(piece: &Piece<'_>) -> io::Result<()> {
    static ZEROES: [u8; 64 * 1024] = [0; 64 * 1024];
    let mut done = 0;
    while done < piece.length {
        let left = usize::try_from(piece.length - done).unwrap_or(usize::MAX);
        let bytes = ZEROES.get(..left).unwrap_or(&ZEROES);
        let count = rustix::io::retry_on_intr(|| {
            rustix::io::pwritev(piece.file, &[IoSlice::new(bytes)], piece.offset + done)
        })?;
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        done += count as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::file_of;
    use super::*;
    use crate::config::{FdSlot, FileExtent};
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    /// A disk of one block that grows, and the line by which it does.
    fn growing() -> (Extents, OwnedFd) {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .unwrap();
        let extents = vec![FileExtent { file: FdSlot(0), offset: 0, length: 4096 }];
        let more = Some(FdSlot(1));
        let config = DiskConfig { serial: "layers".into(), extents, writable: false, more };
        (Extents::open(&config, &[file_of(&[1; 4096]).into(), theirs]).unwrap(), ours)
    }

    /// The bytes of a stretch that is there: the first and the last.
    fn read(disk: &Extents, position: u64, length: u64) -> Option<Vec<u8>> {
        let table = disk.table(position.checked_add(length));
        let mut bytes = Vec::new();
        for piece in table.pieces(position, length).ok()? {
            let mut part = vec![0; usize::try_from(piece.length).unwrap()];
            rustix::io::pread(piece.file, &mut part[..], piece.offset).unwrap();
            bytes.extend(part);
        }
        Some(bytes)
    }

    #[test]
    fn what_comes_by_the_line_is_found_when_it_is_read() {
        let (disk, line) = growing();
        assert_eq!(disk.len(), GROWN_BYTES);
        assert_eq!(read(&disk, 0, 4096), Some(vec![1; 4096]));
        assert_eq!(read(&disk, 4096, 512), None);
        for byte in [2, 3] {
            line::send(line.as_fd(), 8192, file_of(&[byte; 8192]).as_fd()).unwrap();
        }
        let across = read(&disk, 4096 + 8191, 2);
        assert_eq!(across, Some(vec![2, 3]));
        assert_eq!(read(&disk, 4095, 2), Some(vec![1, 2]));
        assert_eq!(read(&disk, 4096 + 16384 - 1, 2), None, "half of it is not there");
        assert_eq!(read(&disk, GROWN_BYTES - 512, 512), None);
        assert_eq!(read(&disk, u64::MAX - 1, 512), None);
        drop(line);
        assert_eq!(read(&disk, 1 << 30, 512), None);
        assert_eq!(read(&disk, 4095, 2), Some(vec![1, 2]), "what was there stays");
    }

    #[test]
    fn what_makes_no_sense_ends_the_line() {
        for length in [0, 512, 4097, GROWN_BYTES, u64::MAX - 4095] {
            let (disk, line) = growing();
            line::send(line.as_fd(), length, file_of(&[2; 8192]).as_fd()).unwrap();
            line::send(line.as_fd(), 8192, file_of(&[3; 8192]).as_fd()).unwrap();
            assert_eq!(read(&disk, 4096, 512), None, "{length}");
            assert!(
                line::send(line.as_fd(), 4096, file_of(&[3; 4096]).as_fd()).is_err(),
                "{length}"
            );
            assert_eq!(read(&disk, 0, 512), Some(vec![1; 512]));
        }
    }
}
