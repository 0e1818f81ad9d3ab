//! The bench's image: a Debian with the programs whose work is measured, the same for every layer.

use crate::debian::Tree;

/// The Debian.
pub const TREE: Tree<'_> = Tree {
    variant: "essential",
    // mount: under QEMU, where nothing else comes before its shell.
    packages: &["fio", "gcc", "libc6-dev", "mount", "openssl", "stress-ng", "sysbench"],
    hooks: &[],
};
