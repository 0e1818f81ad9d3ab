//! Images as people make them, of Debian packages, put into a registry by the tools that people have.
//!
//! They take minutes and gigabytes: for `make soak` alone.

use crate::harness::registry::{Door, Registry};
use crate::harness::{World, trees, workspace};
use std::process::Command;

/// As many as `tests/real-images/fill` puts there.
const IMAGES: usize = 13;

/// A container sees of each what umoci makes of it.
pub fn are_what_umoci_makes(world: &World) {
    let registry = Registry::start(world, Door::Plain);
    // Kept: what is made once is made.
    let place = workspace().join("target/real-images");
    let place = place.to_str().unwrap();
    let ours = |script: &str, arguments: &[&str]| {
        let script = workspace().join("tests/real-images").join(script);
        let output = Command::new(script).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    ours("make", &[place]);
    let filled = ours("fill", &[place, &registry.host()]);
    let (state, host) = (world.fresh_state(), registry.host());
    let tool = format!("{}:/guest-tool:ro", world.images.tool);
    let flags = ["--privileged", "--insecure-registry", &host, "-v", &tool, "--boot-timeout=300"];
    let mut different = Vec::new();
    for line in filled.lines() {
        let name = line.split(' ').next().unwrap();
        let sandbox = world.sandbox().state(&state).image(name).flags(&flags);
        let ours = sandbox.run(&["/guest-tool", "tree", "/"]).exits(0).text();
        // umoci knows no Zstandard; it is the same image.
        let theirs = trees::by_umoci(world, &name.replace("real/zstd", "real/nginx"));
        let found = trees::differing(&ours, &theirs);
        different.extend(found.into_iter().map(|file| format!("{name}: {file}")));
    }
    assert_eq!(filled.lines().count(), IMAGES, "{filled}");
    assert_eq!(different, [""; 0]);
}
