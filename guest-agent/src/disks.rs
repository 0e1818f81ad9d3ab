//! The sandbox's disks: finds them by their virtio-blk serial numbers, makes a partition of each file system
//! on them, and mounts each once, for all containers: layers, where writes go, and volumes.
//!
//! Never joins layers to a root file system; that is [`crate::rootfs`].

use crate::error::{OsError, Tried};
use crate::sys;
use protocol::{DiskExtent, LAYERS_DISK_SERIAL, UPPER_DISK_SERIAL};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount,
};
use std::collections::HashMap;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Where layers are mounted, each under its partition's number.
const LAYERS: &str = "/run/cofferdam/layers";
/// Where the file systems of the writable disk are mounted, each under its partition's number.
const WRITABLE: &str = "/run/cofferdam/writable";
/// Where the memory is mounted that takes writes in a disk's place.
const MEMORY: &str = "/run/cofferdam/memory";
/// The kernel's limit on partitions of one disk.
const MAX_PARTITIONS: usize = 255;
const SECTOR_BYTES: u64 = 512;

/// Why a disk is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// No disk has this serial number.
    #[error("no disk has the serial number {0:?}")]
    Absent(&'static str),
    /// An extent that no partition can have.
    #[error("{length} bytes at {offset} of a disk are no stretch of whole sectors")]
    Extent {
        /// Its offset.
        offset: u64,
        /// Its length.
        length: u64,
    },
    /// More file systems than a disk can have partitions.
    #[error("more than {MAX_PARTITIONS} file systems on one disk")]
    TooMany,
    /// An operation failed.
    #[error(transparent)]
    Os(#[from] OsError),
}

/// The disks, and what of them is mounted.
#[derive(Debug, Default)]
pub struct Disks {
    mounted: Mutex<Mounted>,
}

#[derive(Debug)]
struct Mounted {
    layers: Disk,
    writable: Disk,
    memory: bool,
}

impl Default for Mounted {
    fn default() -> Self {
        Self {
            layers: Disk::new(LAYERS_DISK_SERIAL),
            writable: Disk::new(UPPER_DISK_SERIAL),
            memory: false,
        }
    }
}

/// A disk, and what of it is mounted.
#[derive(Debug)]
struct Disk {
    serial: &'static str,
    /// The open disk and its name, once it has been looked for.
    found: Option<(File, PathBuf)>,
    mounted: HashMap<ExtentKey, PathBuf>,
}

type ExtentKey = (u64, u64);

impl Disk {
    fn new(serial: &'static str) -> Self {
        Self { serial, found: None, mounted: HashMap::new() }
    }

    /// Where the file system at this place is mounted: mounts it where it is not yet.
    fn mounted(
        &mut self,
        extent: DiskExtent,
        below: &str,
        mount: impl FnOnce(&str) -> Result<OwnedFd, OsError>,
    ) -> Result<PathBuf, DiskError> {
        let key = (extent.offset, extent.length);
        if let Some(path) = self.mounted.get(&key) {
            return Ok(path.clone());
        }
        let number = self.mounted.len() + 1;
        if number > MAX_PARTITIONS {
            return Err(DiskError::TooMany);
        }
        let (disk, device) = match &mut self.found {
            Some(found) => found,
            none => {
                let device = find_disk(self.serial)?;
                let disk = File::open(&device).tried("open", device.display())?;
                none.insert((disk, device))
            }
        };
        let partition = add_partition(disk, device, number, extent)?;
        let target = Path::new(below).join(number.to_string());
        fs::create_dir_all(&target).tried("make", target.display())?;
        attach(&mount(&partition.to_string_lossy())?, &target)?;
        self.mounted.insert(key, target.clone());
        Ok(target)
    }
}

impl Disks {
    fn lock(&self) -> MutexGuard<'_, Mounted> {
        self.mounted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a layer is mounted: mounts it where it is not yet.
    ///
    /// # Errors
    /// Any [`DiskError`].
    pub fn layer(&self, extent: DiskExtent) -> Result<PathBuf, DiskError> {
        self.lock().layers.mounted(extent, LAYERS, |partition| {
            FileSystem::open("erofs")?
                .set("source", partition)?
                .flag("ro")?
                .mount(MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NODEV)
        })
    }

    /// Where a file system of the writable disk is mounted: mounts it where it is not yet.
    ///
    /// # Errors
    /// Any [`DiskError`].
    pub fn writable(&self, extent: DiskExtent) -> Result<PathBuf, DiskError> {
        self.lock().writable.mounted(extent, WRITABLE, |partition| {
            // No thread that fills the inode tables of a sparse disk with zeroes, and none that reads
            // the bitmaps of all of it, of which a short run needs one or two. What is freed goes back.
            FileSystem::open("ext4")?
                .set("source", partition)?
                .flag("discard")?
                .flag("noinit_itable")?
                .flag("no_prefetch_block_bitmaps")?
                .mount(MountAttrFlags::MOUNT_ATTR_NOATIME)
        })
    }

    /// Where memory is mounted that takes writes in a disk's place: mounts it where it is not yet, of this size.
    ///
    /// # Errors
    /// Any [`DiskError`].
    pub fn memory(&self, bytes: Option<u64>) -> Result<PathBuf, DiskError> {
        let mut mounted = self.lock();
        let target = PathBuf::from(MEMORY);
        if !mounted.memory {
            fs::create_dir_all(&target).tried("make", target.display())?;
            let mut memory =
                FileSystem::open("tmpfs")?.set("source", "memory")?.set("mode", "755")?;
            if let Some(bytes) = bytes {
                memory = memory.set("size", &bytes.to_string())?;
            }
            attach(&memory.mount(MountAttrFlags::MOUNT_ATTR_NOATIME)?, &target)?;
            mounted.memory = true;
        }
        Ok(target)
    }

    /// The file systems of the writable disk that are mounted.
    pub fn all_writable(&self) -> Vec<PathBuf> {
        self.lock().writable.mounted.values().cloned().collect()
    }
}

/// The device node of the disk with this serial number.
fn find_disk(serial: &'static str) -> Result<PathBuf, DiskError> {
    const BLOCK: &str = "/sys/block";
    for entry in fs::read_dir(BLOCK).tried("list", BLOCK)? {
        let name = entry.tried("list", BLOCK)?.file_name();
        if !name.to_string_lossy().starts_with("vd") {
            continue;
        }
        let found = fs::read_to_string(Path::new(BLOCK).join(&name).join("serial"));
        if found.is_ok_and(|text| text.trim_end() == serial) {
            return Ok(Path::new("/dev").join(name));
        }
    }
    Err(DiskError::Absent(serial))
}

fn add_partition(
    disk: &File,
    device: &Path,
    number: usize,
    extent: DiskExtent,
) -> Result<PathBuf, DiskError> {
    let DiskExtent { offset, length } = extent;
    let bad = DiskError::Extent { offset, length };
    if offset % SECTOR_BYTES != 0 || length % SECTOR_BYTES != 0 || length == 0 {
        return Err(bad);
    }
    let (Ok(start), Ok(bytes)) = (i64::try_from(offset), i64::try_from(length)) else {
        return Err(bad);
    };
    let index = i32::try_from(number).map_err(|_| DiskError::TooMany)?;
    let partition = PathBuf::from(format!("{}{number}", device.display()));
    sys::add_partition(disk, index, start, bytes).tried("make a partition of", device.display())?;
    Ok(partition)
}

/// A file system that is being configured: fsopen(2) and its kin.
pub struct FileSystem {
    context: OwnedFd,
    kind: &'static str,
}

impl FileSystem {
    /// Begins.
    ///
    /// # Errors
    /// The kernel has no such file system.
    pub fn open(kind: &'static str) -> Result<Self, OsError> {
        let context =
            fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).tried("open the file system", kind)?;
        Ok(Self { context, kind })
    }

    /// Sets an option that has a value.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn set(self, key: &str, value: &str) -> Result<Self, OsError> {
        fsconfig_set_string(&self.context, key, value)
            .tried("configure", format_args!("{} with {key}={value}", self.kind))?;
        Ok(self)
    }

    /// Sets an option that has none.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn flag(self, key: &str) -> Result<Self, OsError> {
        fsconfig_set_flag(&self.context, key)
            .tried("configure", format_args!("{} with {key}", self.kind))?;
        Ok(self)
    }

    /// Makes the mount; nothing sees it until it is attached.
    ///
    /// # Errors
    /// The kernel refuses the configuration as a whole.
    pub fn mount(self, attributes: MountAttrFlags) -> Result<OwnedFd, OsError> {
        fsconfig_create(&self.context).tried("create", self.kind)?;
        fsmount(&self.context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).tried("mount", self.kind)
    }
}

/// Puts a mount where it can be seen.
///
/// # Errors
/// What move_mount(2) says.
pub fn attach(mount: &OwnedFd, target: &Path) -> Result<(), OsError> {
    move_mount(mount, "", rustix::fs::CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .tried("mount", target.display())
}
