//! A place for a state directory that is soon full: a file system of its own, in memory.

use super::World;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// One that is mounted.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one.
    pub fn new(world: &World, size: &str) -> Self {
        let path = world.scratch_file("small-disk");
        std::fs::create_dir_all(&path).expect("a directory to mount on");
        let options = format!("size={size},mode=700");
        let mut mount = Command::new("mount");
        let mount = mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&path).status();
        assert!(
            mount.is_ok_and(|status| status.success()),
            "cannot mount a tmpfs: this is for root"
        );
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// How much room is left on it.
    pub fn room_bytes(&self) -> u64 {
        let of = rustix::fs::statvfs(&self.0).expect("it is mounted");
        of.f_bavail * of.f_frsize
    }

    /// Waits until much of it was taken, and no more is; whether that came to be.
    pub fn settles(&self) -> bool {
        const MUCH_BYTES: u64 = 12 << 20;
        const STILL: Duration = Duration::from_secs(2);
        const PATIENCE: Duration = Duration::from_secs(200);
        let (begun, at_first) = (Instant::now(), self.room_bytes());
        let mut last = (at_first, Instant::now());
        while last.1.elapsed() < STILL || at_first - last.0 < MUCH_BYTES {
            if begun.elapsed() > PATIENCE {
                return false;
            }
            std::thread::sleep(Duration::from_millis(50));
            let room = self.room_bytes().min(at_first);
            if room != last.0 {
                last = (room, Instant::now());
            }
        }
        true
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A process that ends just now may still have a file of it open.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
