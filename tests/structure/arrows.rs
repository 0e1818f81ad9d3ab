//! Which crate may stand on which: the picture in ARCHITECTURE.md, as a table.

use super::tree;
use std::collections::BTreeMap;
use toml::{Table, Value};

/// Each crate, and the crates of this workspace that it may depend on. Nothing else is allowed, so
/// that for example `vmm` cannot come to know of images, containers or the agent.
const ARROWS: [(&str, &[&str]); 16] = [
    (
        "launcher",
        &[
            "bench", "ext4", "image", "network", "payload", "protocol", "registry", "share",
            "tarball", "vmm",
        ],
    ),
    ("guest-agent", &["protocol", "tarball"]),
    ("xtask", &["payload", "rootfs"]),
    ("bench", &[]),
    ("network", &[]),
    ("rootfs", &[]),
    ("vmm", &[]),
    ("registry", &["image"]),
    ("share", &["vmm"]),
    ("image", &["tarball"]),
    ("protocol", &[]),
    ("payload", &[]),
    ("ext4", &[]),
    ("tarball", &[]),
    ("tests", &["ext4", "network", "payload", "protocol", "vmm"]),
    (
        "tests/fuzz",
        &[
            "bench", "image", "launcher", "network", "payload", "protocol", "registry", "share",
            "tarball", "vmm",
        ],
    ),
];

const KINDS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

/// Checks every manifest of the workspace.
pub fn check_workspace() -> Vec<String> {
    let members = members();
    let mut complaints = Vec::new();
    for (member, _) in ARROWS {
        if !members.contains_key(member) {
            complaints.push(format!("{member} has arrows but is not in the workspace"));
        }
    }
    for (member, manifest) in &members {
        let names: Vec<&str> = members.keys().map(String::as_str).collect();
        complaints.extend(check(member, manifest, &names));
    }
    complaints
}

/// Checks that every crate inherits the workspace's licence and lints, and that it has one.
pub fn check_licences() -> Vec<String> {
    let root = parse(&tree::read("Cargo.toml"));
    let licence = root["workspace"]["package"].get("license").and_then(Value::as_str);
    let mut complaints = Vec::new();
    if licence != Some("Apache-2.0") {
        complaints.push(format!("the workspace's licence is {licence:?}"));
    }
    if !tree::read("LICENSE").contains("Apache License") {
        complaints.push("LICENSE does not hold the licence that the workspace names".to_owned());
    }
    complaints.extend(members().iter().flat_map(|(member, manifest)| inherits(member, manifest)));
    complaints
}

fn members() -> BTreeMap<String, Table> {
    let root = parse(&tree::read("Cargo.toml"));
    let listed = root["workspace"]["members"].as_array().cloned().unwrap_or_default();
    let names = listed.iter().filter_map(Value::as_str);
    names.map(|name| (name.to_owned(), parse(&tree::read(&format!("{name}/Cargo.toml"))))).collect()
}

fn parse(text: &str) -> Table {
    text.parse().unwrap_or_else(|error| panic!("a manifest is no TOML: {error}"))
}

fn check(member: &str, manifest: &Table, members: &[&str]) -> Vec<String> {
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == member) else {
        return vec![format!("{member} is in the workspace but has no arrows in this test")];
    };
    let mut tables: Vec<&Table> =
        KINDS.iter().filter_map(|kind| manifest.get(*kind)?.as_table()).collect();
    for target in
        manifest.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values)
    {
        tables.extend(KINDS.iter().filter_map(|kind| target.get(kind)?.as_table()));
    }
    let mut complaints = Vec::new();
    for (name, wanted) in tables.into_iter().flatten() {
        // `other = { package = "vmm" }` and `other = { path = "../vmm" }` are arrows too.
        let package = wanted.get("package").and_then(Value::as_str);
        let path = wanted.get("path").and_then(Value::as_str).and_then(|it| it.rsplit('/').next());
        for target in [Some(name.as_str()), package, path].into_iter().flatten() {
            if members.contains(&target) && !allowed.contains(&target) {
                complaints.push(format!("{member} depends on {target}, which it must not know"));
            }
        }
    }
    complaints
}

fn inherits(member: &str, manifest: &Table) -> Vec<String> {
    let inherited = |value: Option<&Value>| {
        value.and_then(|it| it.get("workspace")).and_then(Value::as_bool) == Some(true)
    };
    let mut complaints = Vec::new();
    if !inherited(manifest.get("package").and_then(|it| it.get("license"))) {
        complaints.push(format!("{member} does not take the workspace's licence"));
    }
    let lints = manifest.get("lints").and_then(|it| it.get("workspace")).and_then(Value::as_bool);
    if lints != Some(true) {
        complaints.push(format!("{member} does not take the workspace's lints"));
    }
    complaints
}

mod tests {
    use super::{check, inherits, parse};

    const MEMBERS: [&str; 3] = ["vmm", "protocol", "launcher"];

    #[test]
    fn a_forbidden_arrow_is_seen_wherever_it_stands() {
        for text in [
            "[dependencies]\nprotocol.workspace = true",
            "[dev-dependencies]\nprotocol = { path = \"../protocol\" }",
            "[dependencies]\nother = { package = \"protocol\", path = \"x\" }",
            "[dependencies]\nother = { path = \"../protocol\" }",
            "[target.'cfg(unix)'.dependencies]\nprotocol.workspace = true",
        ] {
            assert!(!check("vmm", &parse(text), &MEMBERS).is_empty(), "{text}");
        }
    }

    #[test]
    fn an_allowed_arrow_and_a_stranger_are_not_complained_of() {
        let text = "[dependencies]\nprotocol.workspace = true\nserde = \"1\"";
        assert!(check("launcher", &parse(text), &MEMBERS).is_empty());
    }

    #[test]
    fn a_crate_that_nobody_drew_is_seen() {
        assert!(!check("new", &parse(""), &MEMBERS).is_empty());
    }

    #[test]
    fn a_crate_without_licence_or_lints_is_seen() {
        assert_eq!(inherits("x", &parse("[package]\nname = \"x\"")).len(), 2);
        let text = "[package]\nlicense.workspace = true\n[lints]\nworkspace = true";
        assert!(inherits("x", &parse(text)).is_empty());
    }
}
