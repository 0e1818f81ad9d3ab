//! Files that come with this program: beside it, or where a package puts them.
//!
//! Owns: where they are looked for. Never does: open one.

use std::path::{Path, PathBuf};

/// Where a package puts them, from the program's own directory.
const SHARE: &str = "../share/cofferdam";

/// The image of a Docker daemon.
pub const DOCKER_IMAGE: [&str; 2] = ["cofferdam-docker.tar", "docker.tar"];
/// The kernel of `--kernel full`.
pub const FULL_KERNEL: [&str; 2] = ["cofferdam-kernel-full", "kernel-full"];

/// The file of these names, beside this program or in the package's place; where it is.
pub fn find(names: [&str; 2]) -> Option<PathBuf> {
    let program = std::fs::read_link("/proc/self/exe").ok()?;
    find_beside(program.parent()?, names)
}

fn find_beside(directory: &Path, [beside, shared]: [&str; 2]) -> Option<PathBuf> {
    let places = [directory.join(beside), directory.join(SHARE).join(shared)];
    places.into_iter().find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beside_comes_before_what_a_package_brought() {
        let place = tempfile::tempdir().unwrap();
        let (bin, share) = (place.path().join("bin"), place.path().join("share/cofferdam"));
        for directory in [&bin, &share] {
            std::fs::create_dir_all(directory).unwrap();
        }
        assert_eq!(find_beside(&bin, FULL_KERNEL), None);
        std::fs::write(share.join("kernel-full"), "").unwrap();
        let found = find_beside(&bin, FULL_KERNEL).unwrap();
        assert_eq!(found.canonicalize().unwrap(), share.join("kernel-full"));
        std::fs::write(bin.join("cofferdam-kernel-full"), "").unwrap();
        assert_eq!(find_beside(&bin, FULL_KERNEL), Some(bin.join("cofferdam-kernel-full")));
    }
}
