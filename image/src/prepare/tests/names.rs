//! By what names images, configurations and layers are told from each other.

use super::{
    Here, check, config, gzip, layers, oci_image, platform, run, sha256, source_error, write_files,
    zstd,
};
use crate::layer::Limits;
use crate::layer::tests::Archive;
use crate::prepare::{Request, prepare};
use crate::source::SourceError;
use crate::store::Store;
use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;

/// What `docker save` writes, both layers compressed.
fn compressed_archive(layers: &[Vec<u8>], config_name: &str) -> Vec<u8> {
    let manifest = format!(
        r#"[{{"Config": "{config_name}", "RepoTags": ["test:v1"], "Layers": ["1.tar", "2.tar"]}}]"#
    );
    Archive::new()
        .file("1.tar", &zstd(&layers[0]))
        .file("2.tar", &gzip(&layers[1]))
        .file(config_name, &config(&layers[..2]))
        .file("manifest.json", manifest.as_bytes())
        .bytes()
}

fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_second_run_reads_no_compressed_layer_of_a_docker_archive() {
    let scratch = tempfile::tempdir().unwrap();
    let layers = layers();
    let both: Vec<&Vec<u8>> = layers[..2].iter().collect();
    let path = scratch.path().join("docker.tar");
    fs::write(&path, compressed_archive(&layers, "c.json")).unwrap();
    let reference = format!("docker-archive:{}", path.display());
    let unpacker = Here::default();
    check(run(&reference, scratch.path(), &unpacker).unwrap(), &both);

    // Progress is told of whatever is read.
    let again = || {
        let told = std::cell::Cell::new(0);
        let request = Request {
            reference: &reference.parse().unwrap(),
            platform: &platform(),
            limits: &Limits::default(),
            policy: &crate::Policy::open(),
            remote: None,
            name: None,
            progress: &|_| told.set(told.get() + 1),
        };
        let store = Store::open(scratch.path()).unwrap();
        check(prepare(&request, &store, &unpacker).unwrap(), &both);
        told.get()
    };
    assert_eq!(again(), 0);
    // What was cut, or is no record, is none.
    let records = files(&scratch.path().join("store/recorded"));
    assert_eq!(records.len(), 2);
    fs::write(&records[0], "").unwrap();
    fs::write(&records[1], "sha256:half").unwrap();
    assert!(again() > 0);
    assert_eq!(again(), 0);
    // A record that names what the store lacks helps nobody, and harms nobody.
    fs::write(&records[0], sha256(b"other").to_string()).unwrap();
    assert!(again() > 0);
    // Another file, or the same in another state, is not known.
    fs::File::options().append(true).open(&path).unwrap().set_len(1 << 20).unwrap();
    assert!(again() > 0);
    assert_eq!(again(), 0);
    assert_eq!(unpacker.calls.load(Ordering::Relaxed), 2);
}

#[test]
fn a_configuration_is_what_its_name_says() {
    let scratch = tempfile::tempdir().unwrap();
    let layers = layers();
    let right = sha256(&config(&layers[..2]));
    let wrong = sha256(b"");
    let path = scratch.path().join("docker.tar");
    let run_named = |name: &str| {
        fs::write(&path, compressed_archive(&layers, name)).unwrap();
        run(&format!("docker-archive:{}", path.display()), scratch.path(), &Here::default())
    };
    for form in ["HEX.json", "blobs/sha256/HEX"] {
        run_named(&form.replace("HEX", right.hex())).unwrap();
        let error = source_error(run_named(&form.replace("HEX", wrong.hex())).unwrap_err());
        assert!(matches!(error, SourceError::Digest { .. }), "{error:?}");
    }
    run_named("any.json").unwrap();
}

/// A layout of images that have no names, each of its own layer and with `more` in its descriptor.
fn unnamed(root: &Path, images: &[(usize, &str)]) {
    let mut blobs = Vec::new();
    let mut descriptors = Vec::new();
    for (layer, more) in images {
        let (image, described) = oci_image(&layers()[*layer..=*layer], more);
        blobs.extend(image);
        descriptors.push(described);
    }
    let index = format!(r#"{{"manifests": [{}]}}"#, descriptors.join(",")).into_bytes();
    let mut files = vec![("index.json".to_owned(), index)];
    for blob in blobs {
        files.push((format!("blobs/sha256/{}", sha256(&blob).hex()), blob));
    }
    write_files(root, &files);
}

#[test]
fn images_that_nothing_tells_apart_are_several() {
    let amd64 = r#", "platform": {"os": "linux", "architecture": "amd64"}"#;
    let arm64 = r#", "platform": {"os": "linux", "architecture": "arm64"}"#;
    let run_unnamed = |images: &[(usize, &str)]| {
        let scratch = tempfile::tempdir().unwrap();
        unnamed(scratch.path(), images);
        let reference = format!("oci:{}", scratch.path().display());
        run(&reference, scratch.path(), &Here::default())
    };
    for both in ["", amd64] {
        let error = source_error(run_unnamed(&[(0, both), (1, both)]).unwrap_err());
        let SourceError::Several { found, .. } = error else { panic!("{error:?}") };
        assert_eq!(found.matches("@sha256:").count(), 2, "{found}");
        // The same image twice is one.
        check(run_unnamed(&[(1, both), (1, both)]).unwrap(), &[&layers()[1]]);
    }
    for others in [arm64, ""] {
        check(run_unnamed(&[(0, others), (1, amd64)]).unwrap(), &[&layers()[1]]);
    }
    // Those that are for nobody in particular do not trouble the one that is.
    check(run_unnamed(&[(0, ""), (1, amd64), (2, "")]).unwrap(), &[&layers()[1]]);
}
