use std::process::Command;

use super::*;
use crate::layer::{LayerBuilder, Owner};

/// Read by skopeo, a client that is not ours.
#[test]
fn skopeo_reads_the_image_and_its_configuration() {
    let scratch = tempfile::tempdir().unwrap();
    let tar = scratch.path().join("layer.tar");
    let mut builder = LayerBuilder::new(fs::File::create(&tar).unwrap());
    builder.file("etc/hostname", 0o644, Owner::ROOT, b"here\n").unwrap();
    builder.finish().unwrap();
    let config = ImageConfig { user: "1000".into(), env: vec!["A=b".into()], ..Default::default() };
    let directory = scratch.path().join("image");
    write(&directory, "latest", &config, &[Layer::open(&tar).unwrap()]).unwrap();

    let output = Command::new("skopeo")
        .args(["inspect", "--config"])
        .arg(format!("oci:{}:latest", directory.display()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(read["config"]["User"], "1000");
    assert_eq!(read["config"]["Env"], json!(["A=b"]));
}
