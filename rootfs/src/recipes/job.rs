//! What the test of a job of CI is made of: the outer container that it runs in, with what such jobs bring along, and the
//! image that the containers of its daemon are of.

use crate::debian::Tree;

/// The outer container: a client of Docker's, compose, a registry, and an emulator for places without a KVM.
pub const OUTER: Tree<'_> = Tree {
    variant: "essential",
    packages: &[
        "ca-certificates",
        "curl",
        "docker-compose",
        "docker-registry",
        "docker.io",
        "postgresql-client",
        "python3",
        "python3-psycopg2",
        "qemu-system-x86",
    ],
    // Where engines mount.
    hooks: &["cd \"$1\" && mkdir -p dist job place var/lib/cofferdam"],
};

/// A database, and what a web service is written in; without its compiler, for it is pushed and pulled.
pub const SERVICES: Tree<'_> = Tree {
    variant: "essential",
    packages: &["postgresql", "python3", "python3-psycopg2"],
    hooks: &[
        "cd \"$1\" && rm -rf usr/lib/*/libLLVM-* usr/lib/*/libz3.* var/lib/postgresql/*/main",
        "cd \"$1\" && rm -rf usr/lib/postgresql/*/lib/bitcode usr/lib/postgresql/*/lib/llvmjit*",
    ],
};

/// What wants more than most containers may: an init system, engines of containers, what loads filters.
pub const MACHINE: Tree<'_> = Tree {
    variant: "essential",
    packages: &[
        "busybox-static",
        "crun",
        "dbus",
        "docker.io",
        "e2fsprogs",
        "iproute2",
        "iptables",
        "mount",
        "podman",
        "procps",
        "systemd",
    ],
    hooks: &[],
};
