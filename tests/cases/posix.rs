//! What file systems in there do, held against the outer one, behaviour by behaviour: `tests/expectations/posix-tcg.list` has what differs.

use crate::cases;
use crate::harness::World;
use std::collections::BTreeSet;
use std::process::Command;

cases! {
    Guest: file_systems_behave_as_outside;
}

/// Where in the sandbox each is.
const PLACES: [(&str, &str); 5] = [
    ("root", "/"),
    ("volume", "/volume"),
    ("directory", "/directory"),
    ("tmpfs", "/tmpfs"),
    ("share", "/share"),
];
const FLAGS: [&str; 6] = ["-v", "posix:/volume", "-v", "/directory", "--tmpfs", "/tmpfs"];

fn file_systems_behave_as_outside(world: &World) {
    let outside = world.fresh_state();
    let own = Command::new(&world.images.tool).arg("posix").arg(&outside).output().unwrap();
    let own = String::from_utf8(own.stdout).unwrap();
    let behaviours: Vec<&str> =
        own.lines().filter_map(|line| Some(line.split_once(": ")?.0)).collect();
    assert!(behaviours.len() > 20, "{own}");
    let script = PLACES.map(|(_, place)| format!("guest-tool posix {place}; echo =")).join("; ");
    let told = |flags: &[&str]| {
        let share = ["-v".to_owned(), format!("{}:/share", outside.display())];
        let sandbox = world.sandbox().state(&world.fresh_state()).flags(&FLAGS).flags(&share);
        let output = sandbox.flags(flags).sh(&script);
        output.exits(0).text()
    };
    let mut found = BTreeSet::new();
    for (how, flags) in [("", &[][..]), ("in memory, ", &["--storage", "memory"])] {
        let told = told(flags);
        let places = told.split("\n=").map(|part| part.trim_start_matches('\n'));
        for ((name, _), text) in PLACES.iter().zip(places) {
            for (behaviour, line) in behaviours.iter().zip(text.lines()) {
                let expected = format!("{behaviour}: yes");
                if line != expected {
                    found.insert(format!("{how}{name}: {line}"));
                }
            }
            assert_eq!(text.lines().count(), behaviours.len(), "{how}{name}: {text}");
        }
    }
    let alike = own.lines().filter(|line| line.ends_with(": yes")).count();
    assert!(alike + 3 > behaviours.len(), "the outer file system is an odd one: {own}");
    world.sees_what_is_listed("posix", &found);
}
