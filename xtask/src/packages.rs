//! The Debian packages that building, testing and running need: one list, a reason each.

use std::collections::BTreeSet;
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
    ("e2fsprogs", "the disk template"),
    ("busybox-static", "the small test image, the reference host"),
    ("mmdebstrap", "the demo's image and the TCG image"),
    ("podman", "the outer container"),
    ("uidmap", "podman and mmdebstrap where the user is not root"),
    ("runc", "podman's runtime where cgroups are of the old or the mixed kind"),
    ("crun", "podman's runtime elsewhere"),
    ("skopeo", "tests read our images with it"),
    ("docker.io", "tests of the outer container under dockerd; moby's kernel check"),
    ("iptables", "dockerd's bridge"),
    ("apparmor", "dockerd loads its profile with it"),
    ("qemu-system-x86", "the fallback without a KVM; the reference host"),
    ("linux-image-cloud-amd64", "the reference host's kernel"),
    ("kmod", "the reference host: finding its modules"),
    ("iproute2", "the reference host: its loopback; dockerd's tests"),
    ("cpio", "the reference host's initramfs"),
    ("erofs-utils", "tests check our file-system images with fsck.erofs"),
    ("tmux", "tests of terminals"),
];

/// Those of [`NEEDED`] that are not installed.
///
/// # Errors
/// Where this is no Debian.
pub fn missing() -> Result<Vec<(&'static str, &'static str)>> {
    let listing = process::capture(Command::new("dpkg-query").args([
        "-W",
        "-f",
        "${db:Status-Abbrev} ${Package}\\n",
    ]))?;
    let installed: BTreeSet<&str> =
        listing.lines().filter_map(|line| line.strip_prefix("ii ")).map(str::trim).collect();
    Ok(NEEDED.iter().filter(|(name, _)| !installed.contains(name)).copied().collect())
}
