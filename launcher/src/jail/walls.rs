//! What the kernel, and whatever filter the engine has put around this process, let a process of ours wall
//! itself in with.
//!
//! Owns: the question, and its answer's way to the children, which thus know what has to hold. Never does:
//! build a wall.

use crate::host::place::LandlockFacts;
use std::sync::OnceLock;

/// What a process can wall itself in with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walls {
    /// Filters of system calls.
    pub seccomp: bool,
    /// Landlock, in this version; 0 is none.
    pub landlock: u8,
}

static OF_THIS_PROCESS: OnceLock<Walls> = OnceLock::new();

impl Walls {
    /// Those of this process: asked for once, or, in a child, what the launcher found.
    pub fn here() -> Self {
        *OF_THIS_PROCESS.get_or_init(Self::ask)
    }

    /// Takes over what the launcher found. Before anybody asks.
    pub(super) fn inherit(argument: Option<&str>) {
        let found = argument.and_then(Self::from_argument);
        // A child without the word is none of our launcher's: it finds out itself.
        let _ = OF_THIS_PROCESS.set(found.unwrap_or_else(Self::ask));
    }

    fn ask() -> Self {
        let landlock = match LandlockFacts::ask() {
            LandlockFacts::Abi(version) => u8::try_from(version).unwrap_or(u8::MAX),
            _ => 0,
        };
        let walls = Self { seccomp: crate::sys::has_filters(), landlock };
        #[cfg(feature = "trial")]
        let walls = super::trial::fewer(walls);
        walls
    }

    /// The word that tells a child.
    pub(super) fn to_argument(self) -> String {
        format!("{},{}", u8::from(self.seccomp), self.landlock)
    }

    fn from_argument(argument: &str) -> Option<Self> {
        let (seccomp, landlock) = argument.split_once(',')?;
        Some(Self { seccomp: seccomp == "1", landlock: landlock.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_knows_what_the_launcher_found() {
        for walls in [Walls { seccomp: true, landlock: 0 }, Walls { seccomp: false, landlock: 6 }] {
            assert_eq!(Walls::from_argument(&walls.to_argument()), Some(walls));
        }
        assert_eq!(Walls::from_argument("1,x"), None);
        assert_eq!(Walls::from_argument(""), None);
    }
}
