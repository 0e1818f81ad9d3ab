//! The image whose programs work on files where that is measured.

use crate::debian::Tree;

/// The Debian.
pub const TREE: Tree<'_> = Tree { variant: "essential", packages: &["fio", "git"], hooks: &[] };
