//! What a container's init process still lacks when libcontainer has made its namespaces and its
//! root: loopback, room for nested cgroups, the guest's devices.

use super::become_process::Remaining;
use crate::cgroup;
use crate::disks::{FileSystem, attach};
use crate::early::CGROUP_ROOT;
use crate::error::{OsError, Tried};
use crate::sys;
use rustix::fs::CWD;
use rustix::mount::{MountAttrFlags, MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::path::Path;

/// What is mounted below a container's /dev.
const BELOW_DEV: [&str; 3] = ["/dev/pts", "/dev/shm", "/dev/mqueue"];
/// Where a container's first processes live, so that its root cgroup may have children with
/// controllers: the kernel allows no processes beside them. Docker in Docker uses the same name.
const INIT_CGROUP: &str = "/sys/fs/cgroup/init";
/// Who may have every device finds these, too, as in Docker. They cost a start more than a container
/// that never sees them should pay, so the kernel makes none by itself.
const LOOP_DEVICES: u32 = 8;
const LOOP_CONTROL: &str = "/dev/loop-control";

/// Makes what remains.
///
/// # Errors
/// The first operation that fails.
pub fn complete(remaining: &Remaining) -> Result<(), OsError> {
    if remaining.new_network {
        sys::bring_loopback_up().tried("bring up", "the loopback interface")?;
    }
    if remaining.nested_cgroups {
        fs::create_dir(INIT_CGROUP).tried("make", INIT_CGROUP)?;
        fs::write(format!("{INIT_CGROUP}/cgroup.procs"), "0").tried("enter", INIT_CGROUP)?;
        cgroup::delegate(CGROUP_ROOT, &[CGROUP_ROOT])?;
    }
    if remaining.all_devices {
        mount_all_devices(&remaining.below_dev)?;
    }
    Ok(())
}

/// Puts the guest's own devtmpfs over /dev, so that every device is there, new ones too, and moves
/// what was mounted below /dev over to it.
fn mount_all_devices(asked: &[String]) -> Result<(), OsError> {
    let mut below: Vec<(&str, OwnedFd)> = Vec::new();
    for path in outermost(BELOW_DEV.into_iter().chain(asked.iter().map(String::as_str))) {
        let mount = open_tree(CWD, path, OpenTreeFlags::OPEN_TREE_CLOEXEC).tried("open", path)?;
        below.push((path, mount));
    }
    let devices = FileSystem::open("devtmpfs")?
        .set("source", "devtmpfs")?
        .mount(MountAttrFlags::MOUNT_ATTR_NOSUID)?;
    attach(&devices, Path::new("/dev"))?;
    add_loop_devices()?;
    for (path, mount) in below {
        fs::create_dir_all(path).tried("make", path)?;
        move_mount(&mount, "", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .tried("move a mount to", path)?;
    }
    Ok(())
}

/// Adds the loop devices that are not there yet, where the kernel knows any: it may be the user's own.
fn add_loop_devices() -> Result<(), OsError> {
    let control = match File::open(LOOP_CONTROL) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        opened => opened.tried("open", LOOP_CONTROL)?,
    };
    for number in 0..LOOP_DEVICES {
        match sys::add_loop_device(&control, number) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            added => added.tried("add a loop device by", LOOP_CONTROL)?,
        }
    }
    Ok(())
}

/// Each path but those below, or the same as, an earlier one: they move with it.
fn outermost<'a>(paths: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut sorted: Vec<&str> = paths.collect();
    sorted.sort_by_key(|path| Path::new(path).components().count());
    let mut outermost: Vec<&str> = Vec::new();
    for path in sorted {
        if !outermost.iter().any(|above| Path::new(path).starts_with(above)) {
            outermost.push(path);
        }
    }
    outermost
}

#[cfg(test)]
mod tests {
    use super::outermost;

    #[test]
    fn a_mount_below_another_moves_with_it() {
        let paths = ["/dev/pts", "/dev/shm", "/dev/x/y", "/dev/shm", "/dev/x", "/dev/shmem"];
        let found = outermost(paths.into_iter());
        assert_eq!(found, ["/dev/pts", "/dev/shm", "/dev/x", "/dev/shmem"]);
    }
}
