//! Whole images, made by hand in every format, through the store with an unpacker of this process.

mod names;
mod processes;
mod registry;
mod room;
mod trees;

use super::{
    Image, ImageError, LayerError, LayerProgress, Request, UnpackFailure, Unpacker, prepare,
};
use crate::digest::{Algorithm, Digest};
use crate::layer::tests::{Archive, unpack_bytes};
use crate::layer::{Limits, MergeJob, UnpackJob, UnpackReport};
use crate::manifest::Platform;
use crate::source::SourceError;
use crate::store::Store;
use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

type Merged = Result<u64, UnpackFailure>;

fn merged(job: &MergeJob, layers: &[&File], output: &File) -> Merged {
    Ok(crate::layer::merge(job, layers.iter().copied(), output)?)
}

/// Unpacks here, and counts.
#[derive(Default)]
struct Here {
    calls: AtomicUsize,
}

impl Unpacker for Here {
    fn unpack(
        &self,
        job: &UnpackJob,
        input: &File,
        output: &File,
    ) -> Result<UnpackReport, UnpackFailure> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        Ok(crate::layer::unpack(job, input, output)?)
    }

    fn merge(&self, job: &MergeJob, layers: &[&File], output: &File) -> Merged {
        merged(job, layers, output)
    }
}

/// Does as it is told, and says as it likes.
struct Liar(fn(&mut UnpackReport, &File));

impl Unpacker for Liar {
    fn unpack(
        &self,
        job: &UnpackJob,
        input: &File,
        output: &File,
    ) -> Result<UnpackReport, UnpackFailure> {
        let mut report = crate::layer::unpack(job, input, output)?;
        self.0(&mut report, output);
        Ok(report)
    }

    fn merge(&self, job: &MergeJob, layers: &[&File], output: &File) -> Merged {
        merged(job, layers, output)
    }
}

fn platform() -> Platform {
    Platform { os: "linux".into(), architecture: "amd64".into() }
}

fn run(reference: &str, store: &Path, unpacker: &dyn Unpacker) -> Result<Image, ImageError> {
    let request = Request {
        reference: &reference.parse().unwrap(),
        platform: &platform(),
        limits: &Limits::default(),
        policy: &crate::Policy::open(),
        remote: None,
        name: None,
        progress: &|_| {},
    };
    prepare(&request, &Store::open(store).unwrap(), unpacker)
}

fn sha256(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, bytes)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

/// A layer as it lies in a layout: the third by zstd, the others by gzip.
fn compressed((index, layer): (usize, &Vec<u8>)) -> Vec<u8> {
    if index == 2 { zstd(layer) } else { gzip(layer) }
}

/// Three layers.
fn layers() -> Vec<Vec<u8>> {
    vec![
        Archive::new().file("a", &[1; 50_000]).bytes(),
        Archive::new().file("b", b"two").file(".wh.a", b"").bytes(),
        Archive::new().directory("c").bytes(),
    ]
}

fn config(layers: &[Vec<u8>]) -> Vec<u8> {
    let ids: Vec<String> = layers.iter().map(|l| format!("\"{}\"", sha256(l))).collect();
    format!(
        r#"{{"os": "linux", "architecture": "amd64", "config": {{"Cmd": ["run"]}},
            "rootfs": {{"type": "layers", "diff_ids": [{}]}}}}"#,
        ids.join(",")
    )
    .into_bytes()
}

fn descriptor(kind: &str, blob: &[u8], more: &str) -> String {
    let kind = format!("application/vnd.oci.image.{kind}");
    format!(
        r#"{{"mediaType": "{kind}", "digest": "{}", "size": {} {more}}}"#,
        sha256(blob),
        blob.len()
    )
}

/// An image's blobs, and the descriptor of its manifest.
fn oci_image(layers: &[Vec<u8>], more: &str) -> (Vec<Vec<u8>>, String) {
    oci_image_claiming(layers, layers, more)
}

/// The same for an image that says it has other layers than it has.
fn oci_image_claiming(
    layers: &[Vec<u8>],
    claimed: &[Vec<u8>],
    more: &str,
) -> (Vec<Vec<u8>>, String) {
    let config = config(claimed);
    let mut blobs: Vec<Vec<u8>> = layers.iter().enumerate().map(compressed).collect();
    // Media types lie: one of them says gzip of what is zstd.
    let layers: Vec<String> =
        blobs.iter().map(|blob| descriptor("layer.v1.tar+gzip", blob, "")).collect();
    let manifest = format!(
        r#"{{"schemaVersion": 2, "config": {}, "layers": [{}]}}"#,
        descriptor("config.v1+json", &config, ""),
        layers.join(",")
    )
    .into_bytes();
    let described = descriptor("manifest.v1+json", &manifest, more);
    blobs.extend([config, manifest]);
    (blobs, described)
}

/// The files of an OCI image layout with one named image, for two platforms behind a nested index.
fn oci_files(layers: &[Vec<u8>]) -> Vec<(String, Vec<u8>)> {
    let on = |architecture: &str| {
        format!(r#", "platform": {{"os": "linux", "architecture": "{architecture}"}}"#)
    };
    let (mut blobs, ours) = oci_image(layers, &on("amd64"));
    let (_, other) = oci_image(&[], &on("arm64"));
    let inner = format!(r#"{{"schemaVersion": 2, "manifests": [{other}, {ours}]}}"#).into_bytes();
    let name = r#", "annotations": {"org.opencontainers.image.ref.name": "v1"}"#;
    let outer = descriptor("index.v1+json", &inner, name);
    blobs.push(inner);
    let index = format!(r#"{{"schemaVersion": 2, "manifests": [{outer}]}}"#).into_bytes();
    let mut files = vec![
        ("oci-layout".to_owned(), br#"{"imageLayoutVersion": "1.0.0"}"#.to_vec()),
        ("index.json".to_owned(), index),
    ];
    for blob in blobs {
        files.push((format!("blobs/sha256/{}", sha256(&blob).hex()), blob));
    }
    files
}

fn write_files(root: &Path, files: &[(String, Vec<u8>)]) {
    for (name, content) in files {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

fn archive_of(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    files
        .iter()
        .fold(Archive::new(), |archive, (name, content)| archive.file(name, content))
        .bytes()
}

/// What `docker save` writes, with a link between equal layers, and one layer compressed.
fn docker_archive(layers: &[Vec<u8>]) -> Vec<u8> {
    let config = config(&[layers[0].clone(), layers[1].clone(), layers[0].clone()]);
    let manifest = r#"[{"Config": "c.json", "RepoTags": ["test:v1"],
                        "Layers": ["1/layer.tar", "2/layer.tar", "3/layer.tar"]},
                       {"Config": "none.json", "RepoTags": ["other:v1"], "Layers": []}]"#;
    Archive::new()
        .directory("1")
        .file("1/layer.tar", &layers[0])
        .file("2/layer.tar", &gzip(&layers[1]))
        .symlink("3/layer.tar", "../1/layer.tar")
        .file("c.json", &config)
        .file("manifest.json", manifest.as_bytes())
        .bytes()
}

fn check(image: Image, layers: &[&Vec<u8>]) {
    assert_eq!(image.config.cmd, ["run"]);
    assert_eq!(image.layers.len(), layers.len());
    assert_eq!(image.tree.is_some(), layers.len() > 1);
    for (mut prepared, layer) in image.layers.into_iter().zip(layers) {
        let (report, expected) = unpack_bytes(layer).unwrap();
        let mut found = Vec::new();
        // Whoever merged it has read it by the same file position.
        prepared.image.file.rewind().unwrap();
        prepared.image.file.read_to_end(&mut found).unwrap();
        assert!(found == expected);
        assert_eq!(
            (prepared.key.diff_id, prepared.image.length),
            (report.diff_id, found.len() as u64)
        );
    }
}

#[test]
fn every_format_and_nothing_twice() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    let layers = layers();
    let all: Vec<&Vec<u8>> = layers.iter().collect();
    write_files(&at("oci"), &oci_files(&layers));
    fs::write(at("oci.tar"), archive_of(&oci_files(&layers))).unwrap();
    fs::write(at("docker.tar"), docker_archive(&layers)).unwrap();

    let unpacker = Here::default();
    let calls = || unpacker.calls.load(Ordering::Relaxed);
    for reference in ["oci:DIR/oci", "oci:DIR/oci:v1", "oci-archive:DIR/oci.tar:v1"] {
        let reference = reference.replace("DIR", scratch.path().to_str().unwrap());
        check(run(&reference, &at("state"), &unpacker).unwrap(), &all);
        assert_eq!(calls(), 3, "{reference}");
    }
    let reference = format!("docker-archive:{}:test:v1", at("docker.tar").display());
    for _ in 0..2 {
        let image = run(&reference, &at("state"), &unpacker).unwrap();
        check(image, &[&layers[0], &layers[1], &layers[0]]);
        // One plain layer more; the compressed one is the same blob as the layout's.
        assert_eq!(calls(), 4);
    }
}

#[test]
fn a_second_run_reads_no_layer() {
    let scratch = tempfile::tempdir().unwrap();
    let files = oci_files(&layers());
    write_files(scratch.path(), &files);
    let reference = format!("oci:{}", scratch.path().display());
    run(&reference, scratch.path(), &Here::default()).unwrap();
    for blob in layers().iter().enumerate().map(compressed) {
        let name = format!("blobs/sha256/{}", sha256(&blob).hex());
        fs::remove_file(scratch.path().join(name)).unwrap();
    }
    let second = run(&reference, scratch.path(), &Here::default()).unwrap();
    check(second, &layers().iter().collect::<Vec<_>>());
}

#[test]
fn digests_select_in_a_layout() {
    let scratch = tempfile::tempdir().unwrap();
    let files = oci_files(&layers());
    write_files(scratch.path(), &files);
    let top = sha256(&files.last().unwrap().1);
    let by = |digest: &Digest| format!("oci:{}@{digest}", scratch.path().display());
    run(&by(&top), scratch.path(), &Here::default()).unwrap();
    let error = run(&by(&sha256(b"")), scratch.path(), &Here::default()).unwrap_err();
    assert!(matches!(source_error(error), SourceError::NoSuchImage { .. }));
}

/// Runs an image whose files were changed, and gives the error.
fn run_changed(
    change: impl Fn(&mut Vec<(String, Vec<u8>)>),
    unpacker: &dyn Unpacker,
) -> ImageError {
    let scratch = tempfile::tempdir().unwrap();
    let mut files = oci_files(&layers());
    change(&mut files);
    write_files(scratch.path(), &files);
    let reference = format!("oci:{}", scratch.path().display());
    let error = run(&reference, scratch.path(), unpacker).unwrap_err();
    let partial = fs::read_dir(scratch.path().join("store/partial")).unwrap();
    assert_eq!(partial.count(), 0);
    error
}

fn layer_error(error: ImageError) -> LayerError {
    match error {
        ImageError::Layer { source, .. } => *source,
        other => panic!("{other:?}"),
    }
}

fn source_error(error: ImageError) -> SourceError {
    match error {
        ImageError::Source { source, .. } => *source,
        other => panic!("{other:?}"),
    }
}

#[test]
fn damaged_images_are_refused() {
    let here = Here::default();
    // The files: layout, index, three layers, configuration, manifest, inner index.
    let flipped = |index: usize| {
        run_changed(
            |files| {
                let blob = &mut files[index].1;
                let middle = blob.len() / 2;
                blob[middle] ^= 1;
            },
            &here,
        )
    };
    for index in 5..8 {
        let error = source_error(flipped(index));
        assert!(matches!(error, SourceError::Digest { .. }), "{index}: {error:?}");
    }
    // A damaged layer is told by its digest, whatever else is wrong with it.
    assert!(matches!(layer_error(flipped(3)), LayerError::BlobDigest { .. }));
    let short = run_changed(|files| files[3].1.truncate(100), &here);
    assert!(matches!(layer_error(short), LayerError::Source(SourceError::Size { .. })));
    let gone = run_changed(|files| drop(files.remove(3)), &here);
    assert!(matches!(layer_error(gone), LayerError::Source(SourceError::Read { .. })));
    let no_index = run_changed(|files| drop(files.remove(1)), &here);
    assert!(matches!(source_error(no_index), SourceError::NoLayout(_)));
    let huge = run_changed(|files| files[1].1.resize(5 << 20, b' '), &here);
    assert!(matches!(source_error(huge), SourceError::Size { .. }));
}

#[test]
fn reports_are_not_believed() {
    let lie = |lie| layer_error(run_changed(|_| {}, &Liar(lie)));
    let other = lie(|report, _| report.diff_id = sha256(b"other"));
    assert!(matches!(other, LayerError::DiffId { .. }));
    let longer = lie(|report, _| report.image_bytes += 4096);
    assert!(matches!(longer, LayerError::ImageLength { .. }));
    let uneven = lie(|report, output| {
        report.image_bytes += 1;
        output.set_len(report.image_bytes).unwrap();
    });
    assert!(matches!(uneven, LayerError::ImageLength { .. }));
}

#[test]
fn a_subverted_unpacker_spoils_no_other_image() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    let good = layers();
    write_files(&at("good"), &oci_files(&good));
    // An image that claims the good one's first layer and has other bytes. They subvert the process
    // that unpacks them, so that it reports what is claimed.
    let evil = vec![Archive::new().file("evil", b"").bytes()];
    let (blobs, manifest) = oci_image_claiming(&evil, &good[..1], "");
    let index = format!(r#"{{"manifests": [{manifest}]}}"#).into_bytes();
    let mut files = vec![("index.json".to_owned(), index)];
    for blob in blobs {
        files.push((format!("blobs/sha256/{}", sha256(&blob).hex()), blob));
    }
    write_files(&at("evil"), &files);
    let subverted = Liar(|report, _| report.diff_id = sha256(&layers()[0]));
    let evil = run(&format!("oci:{}", at("evil").display()), &at("state"), &subverted).unwrap();
    assert_eq!(evil.layers[0].key.diff_id, sha256(&good[0]));
    let image = run(&format!("oci:{}", at("good").display()), &at("state"), &Here::default());
    check(image.unwrap(), &good.iter().collect::<Vec<_>>());
}

#[test]
fn several_share_the_work() {
    let scratch = tempfile::tempdir().unwrap();
    write_files(scratch.path(), &oci_files(&layers()));
    let reference = format!("oci:{}", scratch.path().display());
    let unpacker = Here::default();
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let image = run(&reference, scratch.path(), &unpacker).unwrap();
                check(image, &layers().iter().collect::<Vec<_>>());
            });
        }
    });
    assert_eq!(unpacker.calls.load(Ordering::Relaxed), 3);
}

#[test]
fn progress_is_told() {
    struct Slow;
    impl Unpacker for Slow {
        fn unpack(
            &self,
            job: &UnpackJob,
            mut input: &File,
            output: &File,
        ) -> Result<UnpackReport, UnpackFailure> {
            input.seek(SeekFrom::Start(job.offset + 10)).unwrap();
            std::thread::sleep(Duration::from_millis(300));
            Ok(crate::layer::unpack(job, input, output)?)
        }

        fn merge(&self, job: &MergeJob, layers: &[&File], output: &File) -> Merged {
            merged(job, layers, output)
        }
    }
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("docker.tar");
    fs::write(&path, docker_archive(&layers())).unwrap();
    let told: RefCell<Vec<LayerProgress>> = RefCell::default();
    let request = Request {
        reference: &format!("docker-archive:{}:test:v1", path.display()).parse().unwrap(),
        platform: &platform(),
        limits: &Limits::default(),
        policy: &crate::Policy::open(),
        remote: None,
        name: None,
        progress: &|progress| told.borrow_mut().push(progress),
    };
    let store = Store::open(scratch.path()).unwrap();
    prepare(&request, &store, &Slow).unwrap();
    let told = told.into_inner();
    let of = |index: usize| told.iter().filter(move |progress| progress.index == index);
    for index in 0..3 {
        assert!(of(index).any(|progress| progress.done_bytes == 0));
        assert!(of(index).any(|progress| progress.done_bytes == progress.total_bytes));
        assert!(of(index).all(|progress| progress.count == 3));
    }
    assert!(of(1).any(|progress| progress.done_bytes == 10), "{told:?}");
}
