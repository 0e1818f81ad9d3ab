//! Merged trees: made once, found again, done without where none can be, and gone with their image.

use super::{Here, Image, Merged, layers, merged, oci_files, platform, sha256, write_files};
use crate::inventory::{inventory, needed};
use crate::layer::{MergeJob, UnpackError, UnpackJob, UnpackReport};
use crate::prepare::{ImageError, LayerError, Request, UnpackFailure, Unpacker, prepare};
use crate::{Limits, Policy, Store};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts the trees that it makes, or does something else instead.
struct Merging {
    trees: AtomicUsize,
    instead: Option<fn(&File) -> Merged>,
}

impl Merging {
    fn instead(instead: Option<fn(&File) -> Merged>) -> Self {
        Self { trees: AtomicUsize::new(0), instead }
    }
}

impl Unpacker for Merging {
    fn unpack(
        &self,
        job: &UnpackJob,
        input: &File,
        output: &File,
    ) -> Result<UnpackReport, UnpackFailure> {
        Here::default().unpack(job, input, output)
    }

    fn merge(&self, job: &MergeJob, layers: &[&File], output: &File) -> Merged {
        self.trees.fetch_add(1, Ordering::Relaxed);
        match self.instead {
            Some(instead) => instead(output),
            None => merged(job, layers, output),
        }
    }
}

fn image(place: &Path, unpacker: &Merging) -> Result<Image, ImageError> {
    write_files(&place.join("image"), &oci_files(&layers()));
    let request = Request {
        reference: &format!("oci:{}", place.join("image").display()).parse().unwrap(),
        platform: &platform(),
        limits: &Limits::default(),
        policy: &Policy::open(),
        remote: None,
        name: Some(&"three".parse().unwrap()),
        progress: &|_| {},
    };
    prepare(&request, &Store::open(place).unwrap(), unpacker)
}

fn trees(place: &Path) -> Vec<PathBuf> {
    let Ok(listing) = fs::read_dir(place.join("store/trees")) else { return Vec::new() };
    listing.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_tree_is_made_once_and_found_again() {
    let scratch = tempfile::tempdir().unwrap();
    let unpacker = Merging::instead(None);
    for made in [1, 1] {
        let image = image(scratch.path(), &unpacker).unwrap();
        let layers: u64 = image.layers.iter().map(|layer| layer.image.length).sum();
        let tree = image.tree.as_ref().unwrap().length;
        assert_eq!(image.file_systems(), [tree + layers]);
        assert_eq!(image.into_files().count(), 4);
        assert_eq!(unpacker.trees.load(Ordering::Relaxed), made);
    }
    // One that was cut is none.
    let tree = trees(scratch.path()).remove(0);
    fs::remove_file(&tree).unwrap();
    fs::write(&tree, [1; 100]).unwrap();
    let again = image(scratch.path(), &unpacker).unwrap().tree.unwrap();
    assert_eq!(unpacker.trees.load(Ordering::Relaxed), 2);
    let mut magic = [0; 4];
    again.file.read_exact_at(&mut magic, 1024).unwrap();
    assert_eq!(u32::from_le_bytes(magic), 0xe0f5_e1e2);
}

#[test]
fn it_goes_with_its_image() {
    let scratch = tempfile::tempdir().unwrap();
    drop(image(scratch.path(), &Merging::instead(None)).unwrap());
    let store = Store::open(scratch.path()).unwrap();
    let images = || inventory(&store, &platform()).unwrap();
    let before = images();
    let (_, bytes) = before[0].tree.clone().unwrap();
    assert_eq!(bytes, Some(fs::metadata(&trees(scratch.path())[0]).unwrap().len()));
    store.collect(None, &|| Ok(needed(&images()))).unwrap().unwrap();
    assert_eq!(trees(scratch.path()).len(), 1, "an image with a name needs it");
    store.forget(&before[0].named).unwrap();
    store.collect(Some(&needed(&before)), &|| Ok(needed(&images()))).unwrap().unwrap();
    assert!(trees(scratch.path()).is_empty());
}

#[test]
fn layers_over_the_limits_of_a_tree_are_shown_one_over_the_other() {
    let scratch = tempfile::tempdir().unwrap();
    let unpacker = Merging::instead(Some(|_| {
        let (what, limit) = (crate::layer::Limited::MetadataBytes, 1);
        Err(UnpackFailure::Layer(UnpackError::Limit { what, limit }))
    }));
    let image = image(scratch.path(), &unpacker).unwrap();
    assert!(image.tree.is_none());
    assert_eq!(image.file_systems().len(), 3);
    assert!(trees(scratch.path()).is_empty());
}

#[test]
fn what_failed_or_lies_makes_no_tree() {
    let instead: [fn(&File) -> Merged; 3] = [
        |_| Err(UnpackFailure::Layer(UnpackError::Image("an inode".into()))),
        |output| {
            output.write_all_at(&[1; 4096], 0).unwrap();
            Ok(8192)
        },
        |_| Ok(0),
    ];
    for instead in instead {
        let scratch = tempfile::tempdir().unwrap();
        let error = image(scratch.path(), &Merging::instead(Some(instead))).unwrap_err();
        assert!(matches!(error, ImageError::Tree { .. }), "{error:?}");
        assert!(trees(scratch.path()).is_empty());
        let store = Store::open(scratch.path()).unwrap();
        assert!(inventory(&store, &platform()).unwrap().is_empty(), "it got no name");
    }
}

/// Its layers may be there and no room for more.
#[test]
fn a_store_without_room_is_told() {
    let scratch = tempfile::tempdir().unwrap();
    drop(image(scratch.path(), &Merging::instead(None)).unwrap());
    fs::remove_file(&trees(scratch.path())[0]).unwrap();
    let store = Store::open(scratch.path()).unwrap();
    store.set_limit(Some(store.usage().unwrap().layer_bytes)).unwrap();
    let error = image(scratch.path(), &Merging::instead(None)).unwrap_err();
    let ImageError::Tree { source, .. } = error else { panic!("{error:?}") };
    assert!(
        matches!(*source, LayerError::Store(crate::store::StoreError::Limit { .. })),
        "{source:?}"
    );
}

/// Layers that are written in another form, or again in other bytes, have another tree.
#[test]
fn a_tree_is_of_its_layers_alone() {
    use crate::store::{LayerKey, TreeKey};
    let key = |name: &[u8]| LayerKey { diff_id: sha256(name), blob: sha256(name) };
    let (one, two) = (key(b"one"), key(b"two"));
    let of = |layers: &[(&LayerKey, u64)]| TreeKey::of(layers.iter().copied());
    assert_eq!(of(&[(&one, 4096)]), None);
    let both = of(&[(&one, 4096), (&two, 4096)]);
    assert!(both.is_some());
    assert_ne!(both, of(&[(&two, 4096), (&one, 4096)]));
    assert_ne!(both, of(&[(&one, 8192), (&two, 4096)]));
}
