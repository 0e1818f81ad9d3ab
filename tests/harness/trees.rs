//! The tree that a container sees of an image, beside the one that umoci makes of it.
//!
//! Owns: what of a container's tree is the image's. Never does: tell of a tree itself (`guest-tool tree`).

use super::World;
use std::collections::BTreeSet;
use std::process::Command;

/// What is not the image's in a container: its writable root, what an engine writes or mounts there; and directories
/// that an upper layer has files in and no entry for, which are made there as Docker makes them.
const ELSEWHERE: [&str; 7] = [".", "etc", "dev", "proc", "sys", "part", "bin"];
/// Where all below is an engine's.
const MOUNTED_OVER: [&str; 3] = ["dev/", "proc/", "sys/"];
/// umoci leaves out an attribute that has no value.
const WITHOUT_VALUE: &str = " user.empty=";

/// What `guest-tool tree` tells of an image that umoci unpacked, out of a registry without TLS.
pub fn by_umoci(world: &World, name: &str) -> String {
    let place = world.scratch_file("tree");
    let (at, tool) = (place.display(), &world.images.tool);
    let script = format!(
        "mkdir {at}
         skopeo copy --quiet --src-tls-verify=false docker://{name} oci:{at}/image:v1 >&2
         umoci unpack --image {at}/image:v1 {at}/bundle >&2
         {tool} tree {at}/bundle/rootfs
         rm -r {at}"
    );
    let output = Command::new("sh").args(["-ec", &script]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The lines that only one of two trees has.
pub fn differing(ours: &str, theirs: &str) -> Vec<String> {
    let (ours, theirs) = (compared(ours), compared(theirs));
    assert!(theirs.len() > 10, "{theirs:#?}");
    ours.symmetric_difference(&theirs).cloned().collect()
}

fn compared(tree: &str) -> BTreeSet<String> {
    let is_the_images = |line: &&str| {
        let name = line.split(' ').next().unwrap_or_default();
        !ELSEWHERE.contains(&name) && !MOUNTED_OVER.iter().any(|place| name.starts_with(place))
    };
    let lines = tree.trim().lines().filter(is_the_images);
    lines.map(|line| line.replace(WITHOUT_VALUE, "")).collect()
}
