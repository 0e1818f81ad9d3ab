//! The Debian packages that building, testing and running need: one list, a reason each.

use std::collections::BTreeSet;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::process;

/// Name, and what wants it.
pub const NEEDED: &[(&str, &str)] = &[
    ("bc", "the kernel's build"),
    ("bison", "the kernel's build"),
    ("build-essential", "gcc and make: the kernel, and crates with C in them"),
    ("flex", "the kernel's build"),
    ("libelf-dev", "the kernel's build: objtool"),
    ("linux-source-6.12", "the guest kernel"),
    ("xz-utils", "unpacking its source"),
    ("ccache", "the kernel's second build"),
    ("ca-certificates", "the CA roots of the outer images"),
    ("e2fsprogs", "tests check our disks with e2fsck"),
    ("busybox-static", "the small test image, the reference host"),
    ("mmdebstrap", "the demo's image and the TCG image"),
    ("podman", "the outer container"),
    ("uidmap", "podman and mmdebstrap where the user is not root"),
    ("runc", "podman's runtime where cgroups are of the old or the mixed kind"),
    ("crun", "podman's runtime elsewhere"),
    ("skopeo", "tests read our images with it, and fill registries"),
    ("buildah", "real images, in make soak"),
    ("python3-pip", "testcontainers for Python, in make soak"),
    ("umoci", "tests compare the trees of images with its own"),
    ("docker-registry", "tests of images by name: a real registry"),
    ("openssl", "its certificates"),
    ("gpg", "tests of GPG signatures: GnuPG signs"),
    ("gpg-agent", "its keys"),
    ("tinyproxy-bin", "tests of registries behind a proxy"),
    ("docker.io", "tests of the outer container under dockerd; moby's kernel check"),
    ("dnsmasq-base", "tests of names in a sandbox: a real name server"),
    ("iptables", "dockerd's bridge"),
    ("apparmor", "compiling the profile of containers; dockerd loads its own with it"),
    ("qemu-system-x86", "the fallback without a KVM; the reference host"),
    ("linux-image-cloud-amd64", "the reference host's kernel"),
    ("iperf3", "make measure: streams and datagrams of the network"),
    ("passt", "make measure: a peer of the network"),
    ("slirp4netns", "make measure: a peer of the network"),
    ("kmod", "the reference host: finding its modules"),
    ("iproute2", "the reference host: its loopback; dockerd's tests"),
    ("cpio", "the reference host's initramfs"),
    ("erofs-utils", "tests check our file-system images with fsck.erofs"),
    ("secilc", "the form of SELinux's policy"),
    ("strace", "tests of what our processes ask the kernel for"),
    ("tmux", "tests of terminals"),
    ("valgrind", "the fuzz targets' inputs once more, in make soak"),
];

/// Packages that another may stand in for, and the program that is proof of it. Docker's own packages
/// bring two of them, and Debian's would remove those.
const STOOD_IN_FOR: &[(&str, &str)] =
    &[("docker.io", "dockerd"), ("python3-pip", "pip3"), ("runc", "runc")];

/// What is not installed.
#[derive(Default)]
pub struct Missing {
    /// To be installed.
    pub wanted: Vec<(&'static str, &'static str)>,
    /// Left alone, and the program of another package that does instead.
    pub left_out: Vec<(&'static str, PathBuf)>,
}

/// Those of [`NEEDED`] that are not installed.
///
/// # Errors
/// Where this is no Debian.
pub fn missing() -> Result<Missing> {
    let listing = process::capture(Command::new("dpkg-query").args([
        "-W",
        "-f",
        "${db:Status-Abbrev} ${Package}\\n",
    ]))?;
    let installed: BTreeSet<&str> =
        listing.lines().filter_map(|line| line.strip_prefix("ii ")).map(str::trim).collect();
    Ok(sorted(&installed, find_program))
}

fn sorted(installed: &BTreeSet<&str>, find: impl Fn(&str) -> Option<PathBuf>) -> Missing {
    let mut missing = Missing::default();
    for &(name, reason) in NEEDED.iter().filter(|(name, _)| !installed.contains(name)) {
        let stand_in = STOOD_IN_FOR.iter().find(|(package, _)| *package == name);
        match stand_in.and_then(|(_, program)| find(program)) {
            Some(path) => missing.left_out.push((name, path)),
            None => missing.wanted.push((name, reason)),
        }
    }
    missing
}

fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    // A user's PATH may leave out where daemons are.
    let folders = env::split_paths(&path).chain([Path::new("/usr/sbin").to_path_buf()]);
    folders.map(|folder| folder.join(name)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_own_packages_are_left_alone() {
        let all: BTreeSet<&str> = NEEDED.iter().map(|(name, _)| *name).collect();
        let without: BTreeSet<&str> =
            all.iter().copied().filter(|name| !["docker.io", "tmux"].contains(name)).collect();
        let has_dockerd =
            |name: &str| (name == "dockerd").then(|| PathBuf::from("/usr/bin/dockerd"));
        let missing = sorted(&without, has_dockerd);
        assert_eq!(missing.wanted, [("tmux", "tests of terminals")]);
        assert_eq!(missing.left_out, [("docker.io", PathBuf::from("/usr/bin/dockerd"))]);
        let missing = sorted(&without, |_| None);
        assert_eq!(missing.wanted.len(), 2);
        assert!(STOOD_IN_FOR.iter().all(|(package, _)| all.contains(package)));
    }
}
