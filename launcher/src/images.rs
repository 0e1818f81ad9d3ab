//! `images`, `rmi` and `image …`: what the store knows of images, shown and removed.

use crate::cli::images::{ImagesArgs, InspectArgs, PruneArgs, RmiArgs};
use crate::error::{Explain, Failure, say};
use crate::pull::progress::bytes;
use crate::table::{ago, shortened, table};
use image::inventory::needed;
use image::manifest::Platform;
use image::reference::name::ImageName;
use image::store::{NamedImage, Removed};
use image::{Store, StoredImage, inventory};
use serde_json::json;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const NAME_COLUMN: usize = 60;
const SHORT_ID: usize = 12;

/// What was named is not, or not one, of the store's images.
#[derive(Debug, thiserror::Error)]
pub enum ImagesError {
    /// There is none.
    #[error("no image is called {0:?}")]
    NotFound(String),
    /// There are several.
    #[error("{wanted:?} means several images: {found}")]
    Several {
        /// What was typed.
        wanted: String,
        /// What that may mean.
        found: String,
    },
}

impl Explain for ImagesError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotFound(_) => "cofferdam images lists them".to_owned(),
            Self::Several { .. } => "name one of them, or all by --force".to_owned(),
        })
    }
}

/// What `images` prints on standard output.
///
/// # Errors
/// Where the store cannot be read.
pub fn images(args: &ImagesArgs) -> Result<String, Failure> {
    let store = Store::open(&args.state_dir)?;
    let mut images = inventory(&store, &Platform::native())?;
    if let Some(wanted) = &args.wanted {
        let name: ImageName = wanted.parse().map_err(image::reference::ReferenceError::from)?;
        // Without a tag, the whole repository.
        let tagged = name.familiar() == *wanted || name.to_string() == *wanted;
        images.retain(|image| match image.named.name.parse::<ImageName>() {
            Ok(known) if tagged => known == name,
            Ok(known) => known.familiar_repository() == name.familiar_repository(),
            Err(_) => false,
        });
    }
    if args.json {
        let all: Vec<_> = images.iter().map(summary).collect();
        return Ok(format!("{:#}\n", json!(all)));
    }
    if args.quiet {
        let mut ids: Vec<_> = images.iter().map(|image| id(&image.named, args.no_trunc)).collect();
        ids.dedup();
        return Ok(ids.into_iter().map(|id| id + "\n").collect());
    }
    Ok(listing(&images, args))
}

fn listing(images: &[StoredImage], args: &ImagesArgs) -> String {
    let width = if args.no_trunc { usize::MAX } else { NAME_COLUMN };
    let row = |image: &StoredImage| {
        let (repository, tag, digest) = parts(&image.named);
        let pulled = UNIX_EPOCH + Duration::from_millis(image.named.pulled_ms);
        let age = SystemTime::now().duration_since(pulled).unwrap_or_default();
        let missing = image.layers.iter().any(|(_, bytes)| bytes.is_none());
        let size = bytes(image.bytes()) + if missing { " (parts missing)" } else { "" };
        let id = id(&image.named, args.no_trunc);
        [shortened(&repository, width), shortened(&tag, width), digest, id, ago(age), size]
    };
    let heading = ["REPOSITORY", "TAG", "DIGEST", "IMAGE ID", "PULLED", "SIZE"].map(str::to_owned);
    let rows: Vec<[String; 6]> = std::iter::once(heading).chain(images.iter().map(row)).collect();
    if args.digests {
        return table(&rows);
    }
    let without =
        |[repository, tag, _, id, pulled, size]: [String; 6]| [repository, tag, id, pulled, size];
    table(&rows.into_iter().map(without).collect::<Vec<_>>())
}

/// Repository, tag and digest, as Docker prints them.
fn parts(named: &NamedImage) -> (String, String, String) {
    let digest = named.digest.to_string();
    match named.name.parse::<ImageName>() {
        Ok(name) => {
            let tag = name.tag().unwrap_or("<none>").to_owned();
            (name.familiar_repository(), tag, digest)
        }
        Err(_) => (named.name.clone(), String::new(), digest),
    }
}

fn id(named: &NamedImage, whole: bool) -> String {
    if whole {
        named.config.to_string()
    } else {
        named.config.hex().chars().take(SHORT_ID).collect()
    }
}

fn summary(image: &StoredImage) -> serde_json::Value {
    let layers: Vec<_> = image
        .layers
        .iter()
        .map(|(key, bytes)| json!({ "diff_id": key.diff_id, "blob": key.blob, "bytes": bytes }))
        .collect();
    json!({
        "name": image.named.name,
        "id": image.named.config,
        "digest": image.named.digest,
        "manifest": image.named.manifest,
        "created": image.created,
        "pulled_ms": image.named.pulled_ms,
        "bytes": image.bytes(),
        "layers": layers,
    })
}

/// What `image inspect` prints: all that is known of each.
///
/// # Errors
/// Where the store cannot be read, or has no such image.
pub fn inspect(args: &InspectArgs) -> Result<String, Failure> {
    let store = Store::open(&args.state_dir)?;
    let images = inventory(&store, &Platform::native())?;
    let mut shown = Vec::new();
    for wanted in &args.images {
        let meant = meant_by(wanted, &images);
        let first = meant.first().ok_or_else(|| ImagesError::NotFound(wanted.clone()))?;
        if meant.iter().any(|image| image.named.config != first.named.config) {
            return Err(several(wanted, &meant).into());
        }
        let mut all = summary(first);
        all["config"] = first.config.clone();
        shown.push(all);
    }
    Ok(format!("{:#}\n", json!(shown)))
}

/// Removes names, and what no other name needs; gives what to print on standard output.
///
/// # Errors
/// At the first that is not there, or cannot be removed.
pub fn rmi(args: &RmiArgs) -> Result<String, Failure> {
    let store = Store::open(&args.state_dir)?;
    let mut done = String::new();
    for wanted in &args.images {
        let images = inventory(&store, &Platform::native())?;
        let meant: Vec<StoredImage> = meant_by(wanted, &images).into_iter().cloned().collect();
        if meant.is_empty() {
            return Err(ImagesError::NotFound(wanted.clone()).into());
        }
        if meant.len() > 1 && !args.force {
            return Err(several(wanted, &meant.iter().collect::<Vec<_>>()).into());
        }
        for image in &meant {
            store.forget(&image.named)?;
            let _ = writeln!(done, "untagged: {}", crate::error::clean(&image.named.name));
        }
        let rest = || Ok(needed(&inventory(&store, &Platform::native())?));
        match store.collect(Some(&needed(&meant)), &rest)? {
            Some(Removed { layers, bytes: freed }) => {
                let _ = writeln!(done, "removed: {layers} layers, {}", bytes(freed));
            }
            None => say_held(),
        }
    }
    Ok(done)
}

/// Removes what no image with a name needs; gives what to print on standard output.
///
/// # Errors
/// Where the store cannot be read or changed.
pub fn prune(args: &PruneArgs) -> Result<String, Failure> {
    let store = Store::open(&args.state_dir)?;
    let mut done = String::new();
    if args.all {
        for named in store.names()? {
            store.forget(&named)?;
            let _ = writeln!(done, "untagged: {}", crate::error::clean(&named.name));
        }
    }
    let needed = || Ok(needed(&inventory(&store, &Platform::native())?));
    match store.collect(None, &needed)? {
        Some(Removed { layers, bytes: freed }) => {
            let _ = writeln!(done, "removed: {layers} layers, {}", bytes(freed));
        }
        None => say_held(),
    }
    Ok(done)
}

fn say_held() {
    say(
        "another cofferdam is preparing an image: layers stay until the next cofferdam image prune",
    );
}

/// The images that a word means: by name, or by the beginning of their id.
pub(crate) fn meant_by<'a>(wanted: &str, images: &'a [StoredImage]) -> Vec<&'a StoredImage> {
    if let Ok(name) = wanted.parse::<ImageName>() {
        let named = images.iter().filter(|image| image.named.name == name.to_string());
        let named: Vec<_> = named.collect();
        if !named.is_empty() {
            return named;
        }
    }
    let hex = wanted.strip_prefix("sha256:").unwrap_or(wanted);
    let is_id = hex.len() >= 2 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    let fits = |image: &&StoredImage| is_id && image.named.config.hex().starts_with(hex);
    images.iter().filter(fits).collect()
}

fn several(wanted: &str, meant: &[&StoredImage]) -> ImagesError {
    let names: Vec<&str> = meant.iter().take(20).map(|image| image.named.name.as_str()).collect();
    ImagesError::Several { wanted: wanted.to_owned(), found: names.join(", ") }
}
