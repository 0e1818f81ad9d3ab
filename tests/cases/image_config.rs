//! What an image's configuration says is honoured, and what is typed goes before it; and every form
//! an image comes in.

use crate::cases;
use crate::harness::World;

cases! {
    Guest: what_is_typed_goes_first, archives, the_image_says_how_it_runs;
    Tcg: an_image_that_was_tampered_with_is_refused;
}

fn the_image_says_how_it_runs(world: &World) {
    world.sandbox().image(&world.images.configured).run(&[]).prints("1234\n2345\n/srv/work\nyes");
}

fn what_is_typed_goes_first(world: &World) {
    let flags = ["-u", "0", "-w", "/tmp", "-e", "OVERRIDDEN=typed"];
    let sandbox = world.sandbox().image(&world.images.configured).flags(&flags);
    sandbox.run(&["id -u; pwd; echo $OVERRIDDEN $FROM_IMAGE"]).prints("0\n/tmp\ntyped yes");
    // With another entry point the image's arguments are not for it.
    let sandbox = world.sandbox().image(&world.images.configured).flags(&["--entrypoint", "echo"]);
    sandbox.run(&[]).prints("");
}

fn archives(world: &World) {
    for image in [&world.images.oci_archive, &world.images.docker_archive] {
        world.sandbox().image(image).run(&["echo", "from an archive"]).prints("from an archive");
    }
}

fn an_image_that_was_tampered_with_is_refused(world: &World) {
    let copy = world.scratch_file("tampered");
    let from = world.images.plain.trim_start_matches("oci:");
    let copied = std::process::Command::new("cp").args(["-r", from]).arg(&copy).status().unwrap();
    assert!(copied.success());
    let blobs = std::fs::read_dir(copy.join("blobs/sha256")).unwrap().flatten();
    let layer = blobs.max_by_key(|blob| blob.metadata().unwrap().len()).unwrap().path();
    let mut bytes = std::fs::read(&layer).unwrap();
    // A byte in the middle of busybox.
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&layer, bytes).unwrap();
    let state = world.fresh_state();
    let sandbox = world.sandbox().state(&state).image(&format!("oci:{}", copy.display()));
    sandbox.run(&["true"]).exits(125).complains(&["digest"]);
    sandbox.run(&["true"]).exits(125);
}
