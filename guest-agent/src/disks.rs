//! The sandbox's disks: finds them by their virtio-blk serial numbers, makes a partition of each
//! layer, and mounts layers and the writable disk once each, for all containers.
//!
//! Never joins layers to a root file system; that is [`crate::rootfs`].

use crate::error::{OsError, Tried};
use crate::sys;
use protocol::{LAYERS_DISK_SERIAL, LayerExtent, UPPER_DISK_SERIAL};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount,
};
use std::collections::HashMap;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Where layers are mounted, each under its partition's number.
const LAYERS: &str = "/run/cofferdam/layers";
/// Where the writable disk is mounted.
pub const UPPER: &str = "/run/cofferdam/upper";
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
    #[error("the layer at {offset}, {length} bytes long, is no stretch of whole sectors")]
    Extent {
        /// Its offset.
        offset: u64,
        /// Its length.
        length: u64,
    },
    /// More layers than a disk can have partitions.
    #[error("more than {MAX_PARTITIONS} layers")]
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

#[derive(Debug, Default)]
struct Mounted {
    layers_disk: Option<(File, PathBuf)>,
    layers: HashMap<ExtentKey, PathBuf>,
    upper: bool,
}

type ExtentKey = (u64, u64);

impl Disks {
    /// Where a layer is mounted: mounts it where it is not yet.
    ///
    /// # Errors
    /// Any [`DiskError`].
    pub fn layer(&self, extent: LayerExtent) -> Result<PathBuf, DiskError> {
        let mut mounted = self.mounted.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (extent.offset, extent.length);
        if let Some(path) = mounted.layers.get(&key) {
            return Ok(path.clone());
        }
        let number = mounted.layers.len() + 1;
        if number > MAX_PARTITIONS {
            return Err(DiskError::TooMany);
        }
        if mounted.layers_disk.is_none() {
            let device = find_disk(LAYERS_DISK_SERIAL)?;
            let disk = File::open(&device).tried("open", device.display())?;
            mounted.layers_disk = Some((disk, device));
        }
        let Some((disk, device)) = &mounted.layers_disk else {
            return Err(DiskError::Absent(LAYERS_DISK_SERIAL));
        };
        let partition = add_partition(disk, device, number, extent)?;
        let target = Path::new(LAYERS).join(number.to_string());
        fs::create_dir_all(&target).tried("make", target.display())?;
        let mount = FileSystem::open("erofs")?
            .set("source", &partition.to_string_lossy())?
            .flag("ro")?
            .mount(MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NODEV)?;
        attach(&mount, &target)?;
        mounted.layers.insert(key, target.clone());
        Ok(target)
    }

    /// Where the writable disk is mounted: mounts it where it is not yet.
    ///
    /// # Errors
    /// Any [`DiskError`].
    pub fn upper(&self) -> Result<&'static Path, DiskError> {
        let mut mounted = self.mounted.lock().unwrap_or_else(PoisonError::into_inner);
        let target = Path::new(UPPER);
        if !mounted.upper {
            let device = find_disk(UPPER_DISK_SERIAL)?;
            fs::create_dir_all(target).tried("make", target.display())?;
            // No thread that fills the inode tables of a sparse disk with zeroes, and none that reads
            // the bitmaps of all of it, of which a short run needs one or two. What is freed goes back.
            let mount = FileSystem::open("ext4")?
                .set("source", &device.to_string_lossy())?
                .flag("discard")?
                .flag("noinit_itable")?
                .flag("no_prefetch_block_bitmaps")?
                .mount(MountAttrFlags::MOUNT_ATTR_NOATIME)?;
            attach(&mount, target)?;
            mounted.upper = true;
        }
        Ok(target)
    }

    /// Whether the writable disk is mounted.
    pub fn is_upper_mounted(&self) -> bool {
        self.mounted.lock().unwrap_or_else(PoisonError::into_inner).upper
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
    extent: LayerExtent,
) -> Result<PathBuf, DiskError> {
    let LayerExtent { offset, length } = extent;
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
