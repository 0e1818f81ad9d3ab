//! What a machine is made of, whoever runs it: open files and numbers.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use vmm::{DiskConfig, FdSlot, FileExtent, Heard};

/// A stretch of an open file.
#[derive(Debug, Clone)]
pub struct Stretch {
    /// The file.
    pub file: Arc<File>,
    /// Where the stretch begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub length: u64,
}

/// One end of a stream that the guest may connect to once.
#[derive(Debug)]
pub struct Offer {
    /// The host port.
    pub port: u32,
    /// The machine's end of the stream.
    pub stream: OwnedFd,
}

/// Where that goes which is heard of the guest kernel.
#[derive(Debug)]
pub struct ConsoleSink {
    /// How much is heard.
    pub heard: Heard,
    /// Where it goes.
    pub file: OwnedFd,
}

/// What a machine is made of.
#[derive(Debug)]
pub struct MachineParts {
    /// The guest kernel.
    pub kernel: Stretch,
    /// The initramfs.
    pub initramfs: Stretch,
    /// The read-only layers, in the order in which they stand on the layers' disk.
    pub layers: Vec<Stretch>,
    /// What the writable disk consists of: where writes go, then volumes.
    pub writable: Vec<Stretch>,
    /// The machine's end of the connection to whoever shares directories.
    pub shares: Option<OwnedFd>,
    /// The machine's end of the link to whoever carries its network.
    pub network: Option<OwnedFd>,
    /// Guest memory, in MiB.
    pub memory_mib: u32,
    /// Virtual CPUs.
    pub vcpus: u8,
    /// What is heard of the kernel, and where that goes.
    pub console: ConsoleSink,
    /// Whether what KVM counts is wanted.
    pub counted: bool,
    /// The streams that the guest may connect to from the start.
    pub offers: Vec<Offer>,
    /// The machine's end of the line by which more are offered.
    pub line: OwnedFd,
    /// The machine's end of the line by which layers are added.
    pub layers_line: OwnedFd,
}

/// The open files that go with a configuration, in the order of their slots.
#[derive(Debug, Default)]
pub struct FileTable<'a> {
    files: Vec<BorrowedFd<'a>>,
}

impl<'a> FileTable<'a> {
    /// Adds a file and gives its slot.
    pub fn add(&mut self, file: BorrowedFd<'a>) -> FdSlot {
        self.files.push(file);
        #[allow(clippy::cast_possible_truncation, reason = "a message carries at most 253 files")]
        let index = (self.files.len() - 1) as u32;
        FdSlot(index)
    }

    /// Adds a stretch of a file.
    pub fn add_stretch(&mut self, stretch: &'a Stretch) -> FileExtent {
        let file = self.add(stretch.file.as_fd());
        FileExtent { file, offset: stretch.offset, length: stretch.length }
    }

    /// The files.
    pub fn files(&self) -> &[BorrowedFd<'a>] {
        &self.files
    }
}

impl MachineParts {
    /// The machine's disks, in the order the guest finds them.
    pub fn disks<'a>(&'a self, table: &mut FileTable<'a>) -> [DiskConfig; 2] {
        let layers = self.layers.iter().map(|layer| table.add_stretch(layer)).collect();
        let upper = self.writable.iter().map(|stretch| table.add_stretch(stretch)).collect();
        let more = Some(table.add(self.layers_line.as_fd()));
        let disk = |serial: &str, extents, writable, more| DiskConfig {
            serial: serial.to_owned(),
            extents,
            writable,
            more,
        };
        [
            disk(protocol::LAYERS_DISK_SERIAL, layers, false, more),
            disk(protocol::UPPER_DISK_SERIAL, upper, true, None),
        ]
    }

    /// The ports offered from the start, their streams added to the table in the same order, and the line after them.
    pub fn offered_ports<'a>(&'a self, table: &mut FileTable<'a>) -> Vec<u32> {
        let add = |offer: &'a Offer| {
            table.add(offer.stream.as_fd());
            offer.port
        };
        let ports = self.offers.iter().map(add).collect();
        table.add(self.line.as_fd());
        ports
    }
}
