//! `load` and `save`: what comes out is what went in, for others too.

use crate::cases;
use crate::harness::{Output, Running, World, leftovers};
use serde_json::Value;
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

cases! {
    Tcg: what_is_saved_is_what_was_loaded, one_pipe_from_store_to_store, several_images_are_one_archive,
        what_is_damaged_is_not_saved, what_cannot_be_loaded_is_said, a_store_that_others_fill_is_enough;
}

/// A shell script with what it is to have as `$1` and further; gives its output.
fn sh(script: &str, words: &[&str]) -> String {
    let mut command = Command::new("sh");
    command.args(["-ec", script, "sh"]).args(words);
    Running::start(command, None).wait().exits(0).text()
}

fn with_state(world: &World, state: &Path, words: &[&str]) -> Output {
    world.command(&[words, &["--state-dir", &state.display().to_string()]].concat())
}

/// The image with everything in it, as skopeo makes an archive of it.
fn layered(world: &World, kind: &str) -> String {
    let file = world.scratch_file("layered.tar").display().to_string();
    sh(
        "skopeo copy --quiet \"$1\" \"$2:$3:layered:v1\" >&2",
        &[&world.images.layered, kind, &file],
    );
    file
}

fn tree(world: &World, state: &Path, image: &str) -> String {
    let sandbox =
        world.sandbox().state(state).image(image).flags(&["--privileged", "--pull", "never"]);
    sandbox.run(&["guest-tool", "tree", "/part"]).exits(0).text()
}

/// What skopeo reads of an archive, having compared every digest: the configuration's, and the layers'.
fn digests(archive: &str) -> (String, Vec<String>) {
    let json = sh(
        "d=$(mktemp -d) && skopeo copy --quiet \"docker-archive:$1\" \"oci:$d/o:x\" >&2 && skopeo inspect --config --raw \"docker-archive:$1\"; rm -r $d",
        &[archive],
    );
    let config: Value = serde_json::from_str(&json).unwrap();
    let ids = config["rootfs"]["diff_ids"].as_array().unwrap().iter();
    (json, ids.map(|id| id.as_str().unwrap().to_owned()).collect())
}

/// Each of three layers byte for byte, whiteouts, links, holes, attributes and all; and the configuration.
fn what_is_saved_is_what_was_loaded(world: &World) {
    for kind in ["docker-archive", "oci-archive"] {
        let (state, archive) = (world.fresh_state(), layered(world, kind));
        // An OCI layout has a tag and no name.
        let name = ["--name", "layered:v1"];
        let loaded =
            with_state(world, &state, &[&["load", "--input", &archive], &name[..]].concat());
        loaded.prints("docker.io/library/layered:v1");
        let image = tree(world, &state, "layered:v1");
        assert_eq!(image, tree(world, &world.state(), &world.images.layered));
        let saved = world.scratch_file("saved.tar").display().to_string();
        with_state(world, &state, &["save", "-o", &saved, "layered:v1"]).prints("");
        let (config, layers) = digests(&saved);
        assert_eq!(layers.len(), 3);
        if kind == "docker-archive" {
            assert_eq!((config, layers), digests(&archive));
        }
        assert_eq!(tree(world, &world.fresh_state(), &format!("docker-archive:{saved}")), image);
        let again = world.fresh_state();
        with_state(world, &again, &["load", "-i", &saved]).prints("docker.io/library/layered:v1");
        assert_eq!(tree(world, &again, "layered:v1"), image);
    }
}

/// Standard output, standard input, and no file left that was needed in between.
fn one_pipe_from_store_to_store(world: &World) {
    let (from, to) = (world.fresh_state(), world.fresh_state());
    let archive = layered(world, "docker-archive");
    with_state(world, &from, &["load", "-q", "-i", &archive]).exits(0);
    let [program, from, target] =
        [&world.product, &from, &to].map(|path| path.display().to_string());
    let script = "\"$1\" save layered:v1 --state-dir \"$2\" | \"$1\" load --state-dir \"$3\"";
    let said = sh(script, &[&program, &from, &target]);
    let by_name = "mkfifo \"$3/pipe\"; \"$1\" save layered:v1 --state-dir \"$2\" > \"$3/pipe\" & \"$1\" load -i \"$3/pipe\" --state-dir \"$3\"";
    assert_eq!(sh(by_name, &[&program, &from, &target]).trim(), said.trim());
    assert_eq!(said.trim(), "docker.io/library/layered:v1");
    assert!(leftovers::files(&to.join("store/partial")).is_empty());
    assert!(!tree(world, &to, "layered:v1").is_empty());
}

fn several_images_are_one_archive(world: &World) {
    let (state, archive) = (world.fresh_state(), layered(world, "docker-archive"));
    let plain = world.images.docker_archive.trim_start_matches("docker-archive:");
    with_state(world, &state, &["load", "-q", "-i", &archive]).exits(0);
    with_state(world, &state, &["load", "-q", "-i", plain])
        .prints("docker.io/library/plain:latest");
    with_state(world, &state, &["load", "-q", "-i", plain, "--name", "other:v2"]).exits(0);
    let saved = world.file("saved.tar", "another").display().to_string();
    let twice = ["save", "-o", &saved, "plain", "layered:v1", "other:v2", "plain"];
    with_state(world, &state, &twice).exits(0);
    let names: Value =
        serde_json::from_str(&sh("tar -xOf \"$1\" manifest.json", &[&saved])).unwrap();
    let tags: Vec<&Value> = names.as_array().unwrap().iter().map(|it| &it["RepoTags"]).collect();
    assert_eq!(
        Value::from(tags.into_iter().cloned().collect::<Vec<_>>()),
        serde_json::json!([["plain:latest", "other:v2"], ["layered:v1"]])
    );
    let again = world.fresh_state();
    let loaded = with_state(world, &again, &["load", "-i", &saved]);
    loaded.prints(
        "docker.io/library/plain:latest\ndocker.io/library/other:v2\ndocker.io/library/layered:v1",
    );
    let several = with_state(world, &again, &["load", "-i", &saved, "--name", "one"]);
    several.exits(125).complains(&["has 2 images, and --name names one", "hint: leave --name out"]);
    assert_eq!(with_state(world, &again, &["images", "-q"]).exits(0).text().lines().count(), 2);
}

/// A byte of a file's data, or of what tells how the archive was made: there is an error, and no file.
fn what_is_damaged_is_not_saved(world: &World) {
    let archive = layered(world, "docker-archive");
    for (place, said) in [
        (SeekFrom::Start(4096 + 100), "the store is damaged"),
        (SeekFrom::End(-32), "how it was made is not known"),
    ] {
        let state = world.fresh_state();
        with_state(world, &state, &["load", "-q", "-i", &archive]).exits(0);
        let layers = leftovers::files(&state).into_iter().map(|name| state.join(name));
        let layers: Vec<PathBuf> =
            layers.filter(|path| path.extension().is_some_and(|it| it == "erofs")).collect();
        // The lowest has busybox in it.
        let largest = layers.iter().max_by_key(|path| path.metadata().unwrap().len()).unwrap();
        sh("chmod u+w \"$1\"", &[&largest.display().to_string()]);
        let mut file = fs::OpenOptions::new().write(true).open(largest).unwrap();
        file.seek(place).unwrap();
        file.write_all(b"damaged").unwrap();
        let directory = world.fresh_state();
        let saved = directory.join("saved.tar").display().to_string();
        let output = with_state(world, &state, &["save", "-o", &saved, "layered:v1"]);
        output.exits(125).complains(&[said, "hint: remove the image"]);
        assert!(leftovers::files(&directory).is_empty(), "{:?}", leftovers::files(&directory));
        fs::write(&saved, "what was there").unwrap();
        with_state(world, &state, &["save", "-o", &saved, "layered:v1"]).exits(125);
        assert_eq!(fs::read(&saved).unwrap(), b"what was there");
        assert_eq!(leftovers::files(&directory).len(), 1, "{:?}", leftovers::files(&directory));
    }
}

fn what_cannot_be_loaded_is_said(world: &World) {
    let state = world.fresh_state();
    let refused = |words: &[&str], said: &[&str]| {
        with_state(world, &state, words).exits(125).complains(said);
    };
    refused(&["load", "-i", "/no/such/file"], &["cannot read /no/such/file"]);
    let text = world.file("text", "no archive at all").display().to_string();
    refused(&["load", "-i", &text], &["cannot use the archive"]);
    refused(&["load", "-i", &text, "--name", "no name"], &["\"no name\""]);
    refused(&["save", "nothing"], &["no image is called \"nothing\"", "hint: cofferdam images"]);
    let oci = world.images.oci_archive.trim_start_matches("oci-archive:").to_owned();
    refused(&["load", "-i", &oci], &["has an image that it gives no name", "hint: --name NAME"]);
    with_state(world, &state, &["load", "-i", &oci, "--name", "plain"]).exits(0);
    world.sandbox().state(&state).image("plain").run(&["echo", "runs"]).prints("runs");
    assert!(leftovers::files(&state.join("store/partial")).is_empty());
}

/// Many launchers, one store that they only read.
fn a_store_that_others_fill_is_enough(world: &World) {
    let state = world.fresh_state();
    let plain = world.images.docker_archive.trim_start_matches("docker-archive:");
    with_state(world, &state, &["load", "-q", "-i", plain]).exits(0);
    let run = world.sandbox().state(&state).image("plain");
    let mut command = Command::new("unshare");
    let mount = "mount --bind \"$0/store\" \"$0/store\" && mount -o remount,bind,ro \"$0/store\" && exec \"$@\"";
    command.args(["--mount", "sh", "-c", mount]).arg(&state).arg(&world.product);
    command.args(run.arguments(&["sh", "-c", "echo written > /file && cat /file"]));
    Running::start(command, None).wait().prints("written");
}
