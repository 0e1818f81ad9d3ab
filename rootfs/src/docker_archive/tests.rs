use std::fs;
use std::process::Command;

use super::*;
use crate::layer::{LayerBuilder, Owner};

/// skopeo verifies the layer against its diff ID while it copies.
#[test]
fn skopeo_takes_the_archive_and_finds_its_layer_intact() {
    let scratch = tempfile::tempdir().unwrap();
    let tar = scratch.path().join("layer.tar");
    let mut builder = LayerBuilder::new(File::create(&tar).unwrap());
    builder.directory("state", 0o700, Owner { uid: 1000, gid: 1000 }).unwrap();
    builder.symlink("link", "state").unwrap();
    builder.finish().unwrap();
    let archive = scratch.path().join("image.tar");
    let mut out = File::create(&archive).unwrap();
    let layers = [Layer::open(&tar).unwrap()];
    write("test:latest", &ImageConfig::default(), &layers, &mut out).unwrap();

    let copy = scratch.path().join("copy");
    let output = Command::new("skopeo")
        .args(["--insecure-policy", "copy", "--quiet"])
        .arg(format!("docker-archive:{}:test:latest", archive.display()))
        .arg(format!("dir:{}", copy.display()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let layer = fs::read(copy.join(&layers[0].sha256)).unwrap();
    assert_eq!(layer, fs::read(&tar).unwrap());
}
