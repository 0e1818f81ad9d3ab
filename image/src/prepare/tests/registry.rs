//! Images of registries, by a fetcher that answers from memory as well, or as badly, as it is told.

use super::{Here, check, layers, oci_files, platform, sha256};
use crate::digest::Digest;
use crate::fetch::{
    Access, Ask, FetchError, FetchFailure, Fetched, Fetcher, Line, Pull, Remote, Security, Words,
};
use crate::inventory::{inventory, needed};
use crate::layer::Limits;
use crate::layer::tests::Archive;
use crate::prepare::{Image, ImageError, LayerError, Request, at_hand, prepare};
use crate::source::SourceError;
use crate::store::{Removed, Store};
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

const NAME: &str = "registry.example/test:v1";

/// A registry in memory.
#[derive(Default)]
struct Registry {
    tags: HashMap<String, Digest>,
    blobs: HashMap<Digest, Vec<u8>>,
    /// What was asked of which host, a line each.
    asked: Vec<String>,
    /// How many bytes of a layer come before the connection ends; each is used once.
    cuts: Vec<usize>,
    /// Layers: so many bytes come, and it is said that all have.
    pretended: Option<usize>,
    /// Hosts that are not there.
    away: Vec<String>,
}

#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Registry>>);

struct FakeLine(Fake, Access);

impl Fetcher for Fake {
    fn open(&self, access: &Access) -> Result<Box<dyn Line>, FetchFailure> {
        Ok(Box::new(FakeLine(self.clone(), access.clone())))
    }
}

impl Line for FakeLine {
    fn ask(&mut self, ask: &Ask, output: &File, _: &AtomicBool) -> Result<Fetched, FetchFailure> {
        let mut registry = self.0.0.lock().unwrap();
        let host = &self.1.host;
        if registry.away.contains(host) {
            return Err(FetchError::NoAddress.into());
        }
        let missing = || FetchError::NotFound { status: 404, words: Words::default() };
        match ask {
            Ask::Greeting => Ok(Fetched { length: 0, digest: None }),
            Ask::Manifest { version, limit } => {
                registry.asked.push(format!("{host} manifest {}", short(version)));
                let digest = registry.tags.get(version).cloned();
                let digest = digest.or_else(|| version.parse().ok()).ok_or_else(missing)?;
                let bytes = registry.blobs.get(&digest).ok_or_else(missing)?;
                assert!(bytes.len() as u64 <= *limit);
                output.write_all_at(bytes, 0).unwrap();
                Ok(Fetched { length: bytes.len() as u64, digest: Some(digest) })
            }
            Ask::Signature { .. } => Err(missing().into()),
            Ask::Digest { version } => {
                let digest = registry.tags.get(version).cloned();
                Ok(Fetched { length: 0, digest })
            }
            Ask::Blob { digest, from, length } => {
                registry
                    .asked
                    .push(format!("{host} blob {} from {from}", short(&digest.to_string())));
                let bytes = registry.blobs.get(digest).cloned().ok_or_else(missing)?;
                if let Some(count) = registry.pretended.filter(|_| bytes.starts_with(&[0x1f, 0x8b]))
                {
                    output.write_all_at(&vec![7; count], 0).unwrap();
                    return Ok(Fetched { length: *length, digest: None });
                }
                let begin = usize::try_from(*from).unwrap();
                let cut = is_compressed(&bytes).then(|| registry.cuts.pop()).flatten();
                let end = cut.map_or(bytes.len(), |cut| bytes.len().min(begin + cut));
                output.write_all_at(&bytes[begin..end], *from).unwrap();
                if end < bytes.len() || bytes.len() as u64 != *length {
                    let (got, expected) = (end as u64, *length);
                    return Err(FetchError::Cut { got, expected }.into());
                }
                Ok(Fetched { length: *length, digest: None })
            }
        }
    }
}

/// Whether this is a layer: gzip's magic, or zstd's.
fn is_compressed(blob: &[u8]) -> bool {
    blob.starts_with(&[0x1f, 0x8b]) || blob.starts_with(&[0x28, 0xb5])
}

fn short(version: &str) -> String {
    version.chars().take(12).collect()
}

impl Fake {
    /// A registry with one image of these layers behind a nested index.
    fn with(layers: &[Vec<u8>]) -> Self {
        let fake = Self::default();
        fake.tag("v1", layers);
        fake
    }

    /// A tag means an image of these layers from now on.
    fn tag(&self, tag: &str, layers: &[Vec<u8>]) {
        let mut registry = self.0.lock().unwrap();
        let files = oci_files(layers);
        let top = files.iter().find(|(name, _)| name == "index.json").unwrap().1.clone();
        registry.tags.insert(tag.to_owned(), sha256(&top));
        registry.blobs.insert(sha256(&top), top);
        registry.blobs.extend(files.into_iter().map(|(_, blob)| (sha256(&blob), blob)));
    }

    fn compressed(&self) -> Vec<Digest> {
        let registry = self.0.lock().unwrap();
        let layers = registry.blobs.iter().filter(|(_, blob)| is_compressed(blob));
        layers.map(|(digest, _)| digest.clone()).collect()
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().asked)
    }

    fn blobs_asked(&self) -> usize {
        self.asked().iter().filter(|line| line.contains(" blob ")).count()
    }
}

fn access(host: &str) -> Access {
    Access {
        host: host.to_owned(),
        repository: "test".to_owned(),
        security: Security::Verified,
        credentials: None,
        proxy: None,
    }
}

fn pull(fake: &Fake, store: &Path, name: &str, pull: Pull) -> Result<Image, ImageError> {
    pull_from(fake, store, name, pull, &["registry.example"])
}

fn pull_from(
    fake: &Fake,
    store: &Path,
    name: &str,
    pull: Pull,
    hosts: &[&str],
) -> Result<Image, ImageError> {
    let places: Vec<Access> = hosts.iter().map(|host| access(host)).collect();
    let request = Request {
        reference: &name.parse().unwrap(),
        platform: &platform(),
        limits: &Limits::default(),
        policy: &crate::Policy::open(),
        remote: Some(Remote { fetcher: fake, places: &places, lookaside: None, pull }),
        name: None,
        progress: &|_| {},
    };
    prepare(&request, &Store::open(store).unwrap(), &Here::default())
}

#[track_caller]
fn check_all(image: Image, layers: &[Vec<u8>]) {
    check(image, &layers.iter().collect::<Vec<_>>());
}

/// What failed of a layer.
#[track_caller]
fn layer_error(result: Result<Image, ImageError>) -> LayerError {
    match result.unwrap_err() {
        ImageError::Layer { source, .. } => *source,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn source_error(result: Result<Image, ImageError>) -> SourceError {
    match result.unwrap_err() {
        ImageError::Source { source, .. } => *source,
        other => panic!("{other:?}"),
    }
}

fn downloads(store: &Path) -> usize {
    std::fs::read_dir(store.join("store/downloads")).map_or(0, Iterator::count)
}

#[test]
fn a_second_run_asks_nobody() {
    let (scratch, layers) = (tempfile::tempdir().unwrap(), layers());
    let fake = Fake::with(&layers);
    check_all(pull(&fake, scratch.path(), NAME, Pull::Missing).unwrap(), &layers);
    let asked = fake.asked();
    // Two indexes, one manifest, one configuration, three layers.
    assert_eq!(asked.len(), 7, "{asked:?}");
    assert_eq!(downloads(scratch.path()), 0);
    let store = Store::open(scratch.path()).unwrap();
    assert!(at_hand(&NAME.parse().unwrap(), &platform(), &store).is_some());
    for policy in [Pull::Missing, Pull::Never] {
        check_all(pull(&fake, scratch.path(), NAME, policy).unwrap(), &layers);
        assert!(fake.asked().is_empty());
    }
    // Asked again, it is the documents that are asked for, and no layer.
    check_all(pull(&fake, scratch.path(), NAME, Pull::Always).unwrap(), &layers);
    assert_eq!(fake.blobs_asked(), 0);
}

#[test]
fn what_the_connection_cut_is_taken_up_where_it_ended() {
    let (scratch, layers) = (tempfile::tempdir().unwrap(), layers());
    let fake = Fake::with(&layers);
    fake.0.lock().unwrap().cuts = vec![10, 0, 20];
    check_all(pull(&fake, scratch.path(), NAME, Pull::Missing).unwrap(), &layers);
    let asked = fake.asked();
    let resumed = asked.iter().filter(|line| line.contains("blob") && !line.ends_with("from 0"));
    assert_eq!(resumed.count(), 2, "{asked:?}");
}

#[test]
fn what_a_killed_run_has_fetched_is_not_fetched_again() {
    let (scratch, layers) = (tempfile::tempdir().unwrap(), layers());
    let fake = Fake::with(&layers);
    // More cuts that bring nothing than anybody has patience for.
    fake.0.lock().unwrap().cuts = vec![0; 20];
    fake.0.lock().unwrap().cuts.push(20);
    let error = layer_error(pull(&fake, scratch.path(), NAME, Pull::Missing));
    assert!(matches!(error, LayerError::Fetch(_)), "{error:?}");
    assert!(downloads(scratch.path()) > 0);
    fake.0.lock().unwrap().cuts.clear();
    fake.asked();
    check_all(pull(&fake, scratch.path(), NAME, Pull::Missing).unwrap(), &layers);
    let asked = fake.asked();
    assert!(asked.iter().any(|line| line.ends_with("from 20")), "{asked:?}");
    assert_eq!(downloads(scratch.path()), 0);
}

/// Killed between a layer's last step and its download's removal; and beside one that is still at it.
#[test]
fn what_was_fetched_for_a_layer_that_is_there_is_removed() {
    let (scratch, layers) = (tempfile::tempdir().unwrap(), layers());
    let fake = Fake::with(&layers);
    check_all(pull(&fake, scratch.path(), NAME, Pull::Missing).unwrap(), &layers);
    let store = Store::open(scratch.path()).unwrap();
    let blobs = fake.compressed();
    let mut left: Vec<_> = blobs.iter().map(|blob| store.download(blob).unwrap()).collect();
    assert_eq!(downloads(scratch.path()), layers.len());
    let _at_work = left.pop();
    drop(left);
    pull(&fake, scratch.path(), NAME, Pull::Always).unwrap();
    assert_eq!(downloads(scratch.path()), 1);
}

#[test]
fn a_registry_that_lies_changes_nothing() {
    let (scratch, layers) = (tempfile::tempdir().unwrap(), layers());
    let fake = Fake::with(&layers);
    let blobs = fake.0.lock().unwrap().blobs.clone();
    let compressed = super::gzip(&layers[0]);
    let spoil = |digest: &Digest| {
        let mut registry = fake.0.lock().unwrap();
        registry.blobs = blobs.clone();
        *registry.blobs.get_mut(digest).unwrap().last_mut().unwrap() ^= 1;
    };
    spoil(&sha256(&compressed));
    let error = layer_error(pull(&fake, scratch.path(), NAME, Pull::Missing));
    assert!(matches!(error, LayerError::BlobDigest { .. }), "{error:?}");
    assert_eq!(downloads(scratch.path()), 0, "what is wrong is not kept");
    // A manifest that is another than the index says.
    let files = oci_files(&layers);
    let manifest = files
        .iter()
        .map(|(_, blob)| blob)
        .find(|blob| String::from_utf8_lossy(blob).contains("\"layers\": [{"));
    spoil(&sha256(manifest.unwrap()));
    let scratch = tempfile::tempdir().unwrap();
    let error = source_error(pull(&fake, scratch.path(), NAME, Pull::Missing));
    assert!(matches!(error, SourceError::Digest { .. }), "{error:?}");
    assert!(Store::open(scratch.path()).unwrap().names().unwrap().is_empty());
    // What is named by a digest is that, or nothing.
    let by_digest = format!("registry.example/test@{}", sha256(b"something else"));
    let mut registry = fake.0.lock().unwrap();
    let any = blobs.values().next().unwrap().clone();
    registry.blobs.insert(sha256(b"something else"), any);
    drop(registry);
    let error = source_error(pull(&fake, scratch.path(), &by_digest, Pull::Missing));
    assert!(matches!(error, SourceError::Digest { .. }), "{error:?}");
    fake.0.lock().unwrap().blobs = blobs.clone();
    check_all(pull(&fake, scratch.path(), NAME, Pull::Missing).unwrap(), &layers);
}

/// Neither is waited for without end, nor taken.
#[test]
fn who_fetches_is_not_believed_that_all_has_come() {
    for (count, too_much) in [(0, false), (100_000, true)] {
        let (scratch, layers) = (tempfile::tempdir().unwrap(), layers());
        let fake = Fake::with(&layers);
        fake.0.lock().unwrap().pretended = Some(count);
        let error = layer_error(pull(&fake, scratch.path(), NAME, Pull::Missing));
        let LayerError::Fetch(FetchFailure::Registry(error)) = error else { panic!("{error:?}") };
        assert_eq!(matches!(error, FetchError::TooLong(_)), too_much, "{error:?}");
        assert_eq!(matches!(error, FetchError::Cut { .. }), !too_much, "{error:?}");
    }
}

#[test]
fn a_mirror_is_asked_first_and_the_registry_counts() {
    let (scratch, layers) = (tempfile::tempdir().unwrap(), layers());
    let fake = Fake::with(&layers);
    let hosts = ["mirror.example", "registry.example"];
    fake.0.lock().unwrap().away = vec!["mirror.example".into()];
    check_all(pull_from(&fake, scratch.path(), NAME, Pull::Missing, &hosts).unwrap(), &layers);
    assert!(fake.asked().iter().all(|line| line.starts_with("registry.example")));
    fake.0.lock().unwrap().away = vec!["registry.example".into()];
    check_all(pull_from(&fake, scratch.path(), NAME, Pull::Always, &hosts).unwrap(), &layers);
    fake.0.lock().unwrap().away = hosts.map(str::to_owned).to_vec();
    let error = source_error(pull_from(&fake, scratch.path(), NAME, Pull::Always, &hosts));
    let SourceError::Fetch { host, .. } = error else { panic!("{error:?}") };
    assert_eq!(host, "registry.example");
    // What the store has is there nevertheless.
    check_all(pull_from(&fake, scratch.path(), NAME, Pull::Missing, &hosts).unwrap(), &layers);
}

#[test]
fn never_is_never() {
    let scratch = tempfile::tempdir().unwrap();
    let fake = Fake::with(&layers());
    let error = source_error(pull(&fake, scratch.path(), NAME, Pull::Never));
    assert!(matches!(error, SourceError::NotPulled(_)), "{error:?}");
    assert!(fake.asked().is_empty());
}

#[test]
fn a_tag_that_moved_is_seen_by_who_asks_always() {
    let (scratch, old) = (tempfile::tempdir().unwrap(), layers());
    let fake = Fake::with(&old);
    pull(&fake, scratch.path(), NAME, Pull::Missing).unwrap();
    let new = vec![Archive::new().file("new", b"new").bytes()];
    fake.tag("v1", &new);
    check_all(pull(&fake, scratch.path(), NAME, Pull::Missing).unwrap(), &old);
    check_all(pull(&fake, scratch.path(), NAME, Pull::Always).unwrap(), &new);
    check_all(pull(&fake, scratch.path(), NAME, Pull::Never).unwrap(), &new);
}

#[test]
fn what_nobody_names_is_removed_and_nothing_else() {
    let (scratch, layers) = (tempfile::tempdir().unwrap(), layers());
    let fake = Fake::with(&layers[..2]);
    fake.tag("v2", &layers[1..]);
    let other = "registry.example/test:v2";
    for name in [NAME, other] {
        pull(&fake, scratch.path(), name, Pull::Missing).unwrap();
    }
    let store = Store::open(scratch.path()).unwrap();
    let images = inventory(&store, &platform()).unwrap();
    assert_eq!(images.len(), 2);
    assert!(images.iter().all(|image| image.layers.len() == 2 && image.bytes() > 0));
    let all = || Ok(needed(&inventory(&store, &platform())?));
    // Somebody prepares an image: nothing is removed.
    let hold = store.hold().unwrap();
    assert_eq!(store.collect(None, &all).unwrap(), None);
    drop(hold);
    let Removed { layers: count, .. } = store.collect(None, &all).unwrap().unwrap();
    assert_eq!(count, 0);
    let gone = images.iter().find(|image| image.named.name == NAME).unwrap();
    store.forget(&gone.named).unwrap();
    let only = needed(std::slice::from_ref(gone));
    let removed = store.collect(Some(&only), &all).unwrap().unwrap();
    assert_eq!(removed.layers, 1, "the other layer is the other image's too");
    assert!(removed.bytes >= 4096);
    check_all(pull(&fake, scratch.path(), other, Pull::Never).unwrap(), &layers[1..]);
    let error = source_error(pull(&fake, scratch.path(), NAME, Pull::Never));
    assert!(matches!(error, SourceError::NotPulled(_)), "{error:?}");
    assert_eq!(store.collect(None, &|| Ok(Default::default())).unwrap().unwrap().layers, 2);
}

#[test]
fn a_layer_that_is_gone_is_fetched_again() {
    let (scratch, layers) = (tempfile::tempdir().unwrap(), layers());
    let fake = Fake::with(&layers);
    pull(&fake, scratch.path(), NAME, Pull::Missing).unwrap();
    std::fs::remove_dir_all(scratch.path().join("store/layers")).unwrap();
    let store = Store::open(scratch.path()).unwrap();
    assert!(at_hand(&NAME.parse().unwrap(), &platform(), &store).is_none());
    fake.asked();
    check_all(pull(&fake, scratch.path(), NAME, Pull::Missing).unwrap(), &layers);
    assert_eq!(fake.blobs_asked(), 3);
}
