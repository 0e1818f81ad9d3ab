//! The disk of all layers of a sandbox that runs, as it grows: containers of other images come to it.
//!
//! Owns: where on the disk the next layers stand, and the line by which they get there. Never does: read one.

use crate::container_spec::{ExtentsError, extents};
use protocol::DiskExtent;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::os::fd::{AsFd, OwnedFd};
use vmm::virtio::block::GROWN_BYTES;

/// Why layers were not added.
#[derive(Debug, thiserror::Error)]
pub enum LayersError {
    /// They make no disk.
    #[error(transparent)]
    Extents(#[from] ExtentsError),
    /// Files and lengths are not as many.
    #[error("{files} files came for {lengths} lengths")]
    Count {
        /// So many files.
        files: usize,
        /// So many lengths.
        lengths: usize,
    },
    /// The machine does not take them.
    #[error("the machine takes no more layers just now")]
    Line(#[source] Errno),
}

/// The disk.
#[derive(Debug)]
pub struct LayersDisk {
    line: OwnedFd,
    end: u64,
}

impl LayersDisk {
    /// One on which so many bytes stand already; and the machine's end of its line.
    ///
    /// # Errors
    /// Where no line can be made.
    pub fn of(end: u64) -> Result<(Self, OwnedFd), Errno> {
        let (line, machines) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self { line, end }, machines))
    }

    /// Puts files on it, of these lengths, as they make file systems of these; gives where those stand.
    ///
    /// # Errors
    /// [`LayersError`].
    pub fn add(
        &mut self,
        files: &[OwnedFd],
        lengths: &[u64],
        file_systems: &[u64],
    ) -> Result<Vec<DiskExtent>, LayersError> {
        if files.len() != lengths.len() {
            return Err(LayersError::Count { files: files.len(), lengths: lengths.len() });
        }
        let (of_files, stood) = (extents(lengths)?, self.end);
        let mut places = extents(file_systems)?;
        let bytes = |extents: &[DiskExtent]| {
            extents.last().map_or(0, |it| it.offset.saturating_add(it.length))
        };
        let all = bytes(&of_files);
        if bytes(&places) > all || stood.saturating_add(all) > GROWN_BYTES {
            return Err(ExtentsError::TooLong.into());
        }
        for (file, length) in files.iter().zip(lengths) {
            vmm::virtio::line::send(self.line.as_fd(), *length, file.as_fd())
                .map_err(LayersError::Line)?;
            // What is there stays there, whatever becomes of the next.
            self.end += length;
        }
        places.iter_mut().for_each(|place| place.offset += stood);
        Ok(places)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stands_behind_the_last() {
        let (mut disk, machines) = LayersDisk::of(8192).unwrap();
        let file = || OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let files = [file(), file()];
        let at = |offset, length| DiskExtent { offset, length };
        assert_eq!(disk.add(&files, &[4096, 8192], &[12288]).unwrap(), [at(8192, 12288)]);
        let two = disk.add(&files, &[4096, 4096], &[4096, 4096]).unwrap();
        assert_eq!(two, [at(20480, 4096), at(24576, 4096)]);
        assert!(disk.add(&files, &[4096], &[4096]).is_err());
        assert!(disk.add(&files, &[4096, 4096], &[12288]).is_err(), "beyond what came");
        assert!(disk.add(&files, &[4096, 4095], &[4096]).is_err());
        assert!(disk.add(&files, &[4096, GROWN_BYTES], &[4096]).is_err());
        drop(machines);
        assert!(matches!(disk.add(&files, &[4096, 4096], &[8192]), Err(LayersError::Line(_))));
    }
}
