//! The image of real clients, and of the servers that they ask: programs as people install them, for the network's tests.

use crate::debian::Tree;

/// The Debian.
pub const TREE: Tree<'_> = Tree {
    variant: "essential",
    packages: &[
        "apt",
        "apt-utils",
        "bind9-dnsutils",
        "curl",
        "fcgiwrap",
        "git",
        "gpg",
        "gpg-agent",
        "iputils-ping",
        "netbase",
        "nginx",
        "ngtcp2-client",
        "ngtcp2-server",
        "openssh-client",
        "openssh-server",
        "openssl",
        "postgresql",
        "postgresql-client",
        "python3-websockets",
        "redis-server",
        "redis-tools",
        "spawn-fcgi",
    ],
    hooks: &[],
};
