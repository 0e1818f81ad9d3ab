//! The bench's image: a Debian with the programs whose work is measured, the same for every layer.

use crate::debian::Tree;
use crate::image_config::ImageConfig;

/// The Debian.
pub const TREE: Tree<'_> = Tree {
    variant: "essential",
    packages: &["fio", "gcc", "libc6-dev", "openssl", "stress-ng", "sysbench"],
    hooks: &[],
};

/// How it runs.
#[must_use]
pub fn config() -> ImageConfig {
    ImageConfig {
        env: vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into()],
        cmd: vec!["/bin/sh".into()],
        ..ImageConfig::default()
    }
}
