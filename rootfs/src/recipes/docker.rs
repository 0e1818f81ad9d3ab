//! A Debian with Docker's own daemon and client, for a privileged container of a sandbox: Docker in Docker.

use crate::debian::Tree;

/// The Debian.
pub const TREE: Tree<'_> = Tree {
    variant: "essential",
    // busybox: of which a first image can be made where no registry is reached.
    packages: &["busybox-static", "ca-certificates", "docker.io", "iproute2", "iptables"],
    hooks: &[],
};
