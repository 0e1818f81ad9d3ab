//! The demo's image: a Debian with what its job needs, and the job.

use crate::debian::Tree;

/// The job, which tries each thing that needs root and says what came of it.
pub const JOB: &str = include_str!("../../demo/job.sh");
/// Where it stands in the image.
pub const JOB_PATH: &str = "usr/local/bin/demo-job";

/// The Debian beneath.
pub const TREE: Tree<'_> = Tree {
    variant: "essential",
    packages: &["mount", "e2fsprogs", "iproute2", "nftables"],
    hooks: &[],
};
