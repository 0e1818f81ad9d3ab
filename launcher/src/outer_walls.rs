//! The walls around the launcher, and those that it can put around its children: which are missing.
//!
//! Owns: what `--require-walls` requires. Never does: ask ([`crate::host`] does), or build a wall.

use crate::error::Explain;
use crate::host::process::{ProcessFacts, SeccompMode};
use crate::jail::walls::Walls;

/// What is true of this process and this place.
#[derive(Debug, Clone)]
pub struct Around {
    /// What the engine has put around this process, asked before it does so itself.
    pub process: ProcessFacts,
    /// Whether the root file system cannot be written to.
    pub readonly_root: bool,
    /// What processes of ours can wall themselves in with.
    pub own: Walls,
}

impl Around {
    /// Asks.
    pub fn ask() -> Self {
        let flags = rustix::fs::statvfs("/").map(|space| space.f_flag);
        let readonly = rustix::fs::StatVfsMountFlags::RDONLY;
        Self {
            process: ProcessFacts::ask(),
            readonly_root: flags.is_ok_and(|flags| flags.contains(readonly)),
            own: Walls::here(),
        }
    }
}

/// A wall that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// What is so.
    pub what: String,
    /// What helps.
    pub remedy: &'static str,
}

/// The walls that are missing. `emulated` where there is no hardware wall, and nobody has asked for that.
pub fn missing(around: &Around, emulated: bool) -> Vec<Missing> {
    let process = &around.process;
    let capabilities = process.capabilities.unwrap_or(u64::MAX);
    let mut missing = Vec::new();
    let mut want = |stands: bool, what: &str, remedy| {
        if !stands {
            missing.push(Missing { what: what.to_owned(), remedy });
        }
    };
    want(process.uid != 0, "the launcher is root (uid 0)", "--user 1000:1000");
    want(capabilities == 0, "the launcher has capabilities", "--cap-drop all");
    let bound = process.no_new_privileges == Some(true);
    want(bound, "the launcher may gain privileges", "--security-opt no-new-privileges");
    let filtered = matches!(process.seccomp, Some(SeccompMode::Filter(_) | SeccompMode::Strict));
    let profile = "the engine's default seccomp profile, or that of cofferdam seccomp-profile";
    want(filtered, "the engine filters no system calls", profile);
    want(around.readonly_root, "the root file system can be written to", "--read-only");
    let (kernel, newer) = ("a kernel with seccomp filters", "an engine or kernel with Landlock");
    want(around.own.seccomp, "no process can filter its own system calls", kernel);
    want(around.own.landlock > 0, "no process can close files to itself (Landlock)", newer);
    let hardware = "a working /dev/kvm, or --accel tcg to do without";
    want(!emulated, "there is no hardware wall: the machine is emulated", hardware);
    missing
}

/// Walls were required, and some are missing.
#[derive(Debug, thiserror::Error)]
#[error("--require-walls: {}", list(.0.iter().map(|wall| wall.what.as_str())))]
pub struct WallsMissing(pub Vec<Missing>);

impl Explain for WallsMissing {
    fn hint(&self) -> Option<String> {
        Some(format!("give it {}", list(self.0.iter().map(|wall| wall.remedy))))
    }
}

fn list<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Where every wall stands.
    pub(crate) fn walled() -> Around {
        Around {
            process: ProcessFacts {
                uid: 1000,
                gid: 1000,
                groups: Vec::new(),
                capabilities: Some(0),
                no_new_privileges: Some(true),
                seccomp: Some(SeccompMode::Filter(1)),
                label: Some("cofferdam (enforce)".to_owned()),
                descriptors: (None, None),
            },
            readonly_root: true,
            own: Walls { seccomp: true, landlock: 6 },
        }
    }

    #[test]
    fn where_all_stand_none_is_missing() {
        assert_eq!(missing(&walled(), false), []);
    }

    #[test]
    fn each_that_is_taken_away_is_named_alone() {
        type Take = fn(&mut Around);
        let taken: [(Take, &str); 8] = [
            (|it| it.process.uid = 0, "root (uid 0)"),
            (|it| it.process.capabilities = Some(1), "capabilities"),
            (|it| it.process.capabilities = None, "capabilities"),
            (|it| it.process.no_new_privileges = Some(false), "gain privileges"),
            (|it| it.process.seccomp = Some(SeccompMode::Off), "engine filters no"),
            (|it| it.readonly_root = false, "can be written to"),
            (|it| it.own.seccomp = false, "filter its own"),
            (|it| it.own.landlock = 0, "Landlock"),
        ];
        for (take, word) in taken {
            let mut around = walled();
            take(&mut around);
            let missing = missing(&around, false);
            assert_eq!(missing.len(), 1, "{word}: {missing:?}");
            assert!(missing[0].what.contains(word), "{missing:?}");
        }
        let emulated = missing(&walled(), true);
        assert!(emulated[0].what.contains("no hardware wall") && emulated.len() == 1);
    }

    #[test]
    fn all_that_is_missing_is_said_at_once() {
        let mut around = walled();
        (around.process.uid, around.readonly_root) = (0, false);
        let error = WallsMissing(missing(&around, false));
        let words = error.to_string();
        assert!(words.contains("uid 0") && words.contains("written to"), "{words}");
        assert!(error.hint().unwrap().contains("--read-only"));
    }
}
