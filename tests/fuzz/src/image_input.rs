//! What an image archive, its documents and its layers may say.

use image::config::ImageConfig;
use image::digest::HashingReader;
use image::fetch::Credentials;
use image::layer::{self, Archive, Limits, MergeJob, UnpackError};
use image::manifest::{self, Document, Platform};
use image::policy::Policy;
use image::registries::Settings;
use image::registries::credentials::{self, CredentialFile, Found};
use image::{Algorithm, Reference};
use std::io::{self, Cursor, Read};
use std::str::FromStr;
use std::sync::LazyLock;

/// As small as still reaches every limit.
const LIMITS: Limits = Limits {
    entries: 4096,
    archive_bytes: 4 << 20,
    metadata_bytes: 256 << 10,
    image_bytes: 16 << 20,
    written_bytes: 4 << 20,
    steps: 1 << 16,
};

/// A layer: compressed or not, tar, to a file system image. A second unpacking gives the same.
pub fn layer(bytes: &[u8]) {
    let unpack = || {
        let mut output = Cursor::new(Vec::new());
        layer::unpack_stream(bytes, &mut output, Algorithm::Sha256, &LIMITS)
            .ok()
            .map(|report| (report, output.into_inner()))
    };
    if let Some((report, output)) = unpack() {
        assert_eq!(report.image_bytes, output.len() as u64, "the image is as long as was said");
        let file = crate::scratch::with(&output);
        let archive = Archive::of(&file, report.image_bytes).expect("an image has a recipe");
        let mut hashing = HashingReader::new(archive, Algorithm::Sha256);
        io::copy(&mut hashing, &mut io::sink()).expect("it is whole");
        assert_eq!(hashing.finish().0, report.diff_id, "the archive is made again");
        assert_eq!(Some((report, output)), unpack(), "the same layer makes the same image");
    }
}

/// A layer's image as the store may have it once it was changed there: bytes of a sound one, each at its place. What is
/// merged of it is sound.
pub fn image(bytes: &[u8]) {
    static SOUND: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let layer = include_bytes!("../corpus/layer/tree-gnu");
        let mut image = Cursor::new(Vec::new());
        let unpacked = layer::unpack_stream(&layer[..], &mut image, Algorithm::Sha256, &LIMITS);
        unpacked.expect("a sound layer");
        image.into_inner()
    });
    let mut image = SOUND.clone();
    for &[low, high, byte] in bytes.as_chunks().0 {
        if let Some(place) = image.get_mut(usize::from(u16::from_le_bytes([low, high]))) {
            *place = byte;
        }
    }
    let merged = |image: &[u8]| {
        let job = MergeJob { lengths: vec![image.len() as u64], uuid: [1; 16], limits: LIMITS };
        let mut output = Cursor::new(Vec::new());
        let length = layer::merge(&job, [Cursor::new(image)], &mut output)?;
        let output = output.into_inner();
        assert_eq!(length, output.len() as u64, "the tree is as long as was said");
        Ok::<_, UnpackError>(output)
    };
    if let Ok(tree) = merged(&image) {
        let again = merged(&[tree, image].concat());
        assert!(matches!(again, Ok(_) | Err(UnpackError::Limit { .. })), "{:?}", again.err());
    }
}

/// How a layer's archive is made again, as whoever unpacked it may say: eight bytes of how long that is, and the recipe.
pub fn recipe(bytes: &[u8]) {
    const IMAGE_BYTES: usize = 8192;
    let Some((length, recipe)) = bytes.split_first_chunk::<8>() else { return };
    let mut image = vec![7; IMAGE_BYTES];
    for (index, part) in recipe.chunks(1000).enumerate() {
        // A block of deflate's that is not compressed (RFC 1951, 3.2.4).
        let is_last = (index + 1) * 1000 >= recipe.len();
        let count = u16::try_from(part.len()).unwrap_or_default();
        image.push(u8::from(is_last));
        image.extend(count.to_le_bytes());
        image.extend((!count).to_le_bytes());
        image.extend(part);
    }
    let recipe_bytes = (image.len() - IMAGE_BYTES) as u64;
    image.extend(b"cfd-rcp1");
    [IMAGE_BYTES as u64, recipe_bytes].iter().for_each(|field| image.extend(field.to_le_bytes()));
    image.extend(length);
    let file = crate::scratch::with(&image);
    let archive = match Archive::of(&file, image.len() as u64) {
        Ok(archive) => archive,
        Err(_) => {
            let said = u64::from_le_bytes(*length);
            assert!(said > Limits::default().archive_bytes, "its trailer is well formed");
            return;
        }
    };
    let said = archive.len();
    if let Ok(read) = io::copy(&mut archive.take(1 << 20), &mut io::sink()) {
        assert!(read == said || read == 1 << 20, "{read} of {said} bytes");
    }
}

/// An index or a manifest.
pub fn document(bytes: &[u8]) {
    let _ = Document::parse(bytes);
}

/// `manifest.json` of a docker-archive.
pub fn docker_archive_manifest(bytes: &[u8]) {
    let _ = manifest::parse_docker_archive(bytes);
}

/// An image's configuration.
pub fn config(bytes: &[u8]) {
    let _ = ImageConfig::parse(bytes, &Platform::native());
}

/// What is typed for an image.
pub fn reference(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(reference) = Reference::from_str(text) {
        let shown = reference.to_string();
        assert_eq!(
            Reference::from_str(&shown).ok(),
            Some(reference),
            "{shown:?} is read as itself"
        );
    }
}

/// A file of credentials: what is kept in one that could be read is found again.
pub fn credentials(bytes: &[u8]) {
    let _ = credentials::of_helper(bytes);
    let Ok(mut file) = CredentialFile::parse(bytes) else { return };
    let _ = file.find("registry.example", "a/b");
    let (user, password) = ("user".to_owned(), "word".to_owned());
    let kept = Credentials::Password { user, password };
    file.keep("registry.example", &kept);
    file.forget("docker.io");
    if let Ok(Some(Found::Credentials(found))) = file.find("registry.example", "") {
        assert_eq!(found, kept, "what is kept is found");
    }
}

/// Settings of registries: wherever they lead, it is a place that could be asked.
pub fn registries_conf(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(settings) = Settings::parse(text) else { return };
    for name in ["debian", "registry.example/a/b:c"] {
        let name = name.parse().expect("a name");
        for endpoint in settings.endpoints(&name).unwrap_or_default() {
            let place = format!("{}/{}", endpoint.host, endpoint.repository);
            assert!(!place.contains(['?', '#', '@', ' ', '\\']), "{place:?} is a place");
        }
    }
}

/// A policy: it has an answer for every image, the same twice.
pub fn policy(bytes: &[u8]) {
    let Ok(policy) = Policy::parse(bytes) else { return };
    for reference in
        ["debian", "registry.example:5000/a/b:c", "oci:/images/a:b", "docker-archive:a"]
    {
        let reference = Reference::from_str(reference).expect("a reference");
        let answer = policy.accepts(&reference, &[], &[]);
        assert_eq!(answer, policy.accepts(&reference, &[], &[]), "one answer");
        if policy.may_be_asked_for(&reference).is_err() {
            assert!(answer.is_err(), "what may not be asked for is not accepted");
        }
    }
}

/// An archive that holds an image: where its files lie.
pub fn archive(bytes: &[u8]) {
    let file = crate::scratch::with(bytes);
    let Ok(index) = image::archive::Index::read(&file) else { return };
    for name in ["manifest.json", "index.json", "oci-layout"] {
        if let Ok(extent) = index.find(name) {
            let end = extent.offset.checked_add(extent.length);
            assert!(end.is_some_and(|end| end <= bytes.len() as u64), "{name} lies in the archive");
        }
    }
}
