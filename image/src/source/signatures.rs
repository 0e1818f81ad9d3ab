//! The signatures of an image: those that stand beside it in its registry (cosign's scheme, a tag made of the digest), and
//! GPG's, which are kept aside, each a file.
//!
//! Owns: where they are, and that each document is what its digest says. Never does: believe one; that is the policy's
//! ([`crate::policy`]).

use super::SourceError;
use super::registry::Asking;
use crate::digest::{Algorithm, Digest};
use crate::fetch::{Access, Aside, Ask, FetchError, FetchFailure, Remote};
use crate::manifest::{Descriptor, Document, MAX_DOCUMENT_BYTES, Platform};
use crate::policy::{Signature, SignaturesWanted};
use crate::reference::name::ImageName;
use crate::registries::lookaside;
use crate::store::{Store, StoreError, open_regular};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::io::{self, Read};
use std::path::Path;

const PAYLOAD_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// A payload is some hundred bytes.
const MAX_PAYLOAD_BYTES: u64 = 64 << 10;
/// More signatures of one image are not looked at.
const MAX_SIGNATURES: usize = 64;

/// Asks for these signatures of what has these digests, and keeps them; gives the documents that they or their lists are.
///
/// # Errors
/// Where somebody cannot be asked. None there is no error.
pub(crate) fn fetch(
    name: &ImageName,
    digests: &[Digest],
    wanted: SignaturesWanted,
    store: &Store,
    remote: Remote<'_>,
) -> Result<Vec<Digest>, SourceError> {
    let mut found = Vec::new();
    if wanted.sigstore {
        found.extend(attached(name, digests, store, remote)?);
    }
    match remote.lookaside.filter(|_| wanted.gpg) {
        Some(Aside::Server(access)) => {
            found.extend(kept_aside(name, digests, store, remote, access)?);
        }
        Some(Aside::Directory(directory)) => {
            found.extend(kept_here(name, digests, store, directory)?)
        }
        None => {}
    }
    Ok(found)
}

/// GPG's signatures, each a document.
fn kept_aside(
    name: &ImageName,
    digests: &[Digest],
    store: &Store,
    remote: Remote<'_>,
    access: &Access,
) -> Result<Vec<Digest>, SourceError> {
    let line = remote.fetcher.open(access).map_err(SourceError::of_fetch(access))?;
    let mut asking = Asking { name, access, line, store, wanted: &Platform::native() };
    let mut found = Vec::new();
    for digest in digests {
        for number in 1..=MAX_SIGNATURES {
            let digest = digest.clone();
            let ask = Ask::Signature { digest, number, limit: MAX_PAYLOAD_BYTES };
            match asking.newest(&ask) {
                Err(error) if is_absent(&error) => break,
                other => found.push(other?.0),
            }
        }
    }
    Ok(found)
}

/// The same, where they are files below a directory of this machine.
fn kept_here(
    name: &ImageName,
    digests: &[Digest],
    store: &Store,
    directory: &Path,
) -> Result<Vec<Digest>, SourceError> {
    let mut found = Vec::new();
    for digest in digests {
        for number in 1..=MAX_SIGNATURES {
            let path = lookaside::path(name.repository(), digest, number);
            let path = directory.join(path.trim_start_matches('/'));
            let read = |source| SourceError::Read { path: path.clone(), source };
            let file = match open_regular(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                other => other.map_err(read)?,
            };
            let mut bytes = Vec::new();
            let file = file.ok_or_else(|| SourceError::NotAFile(path.clone()))?;
            file.take(MAX_PAYLOAD_BYTES).read_to_end(&mut bytes).map_err(read)?;
            let own = Digest::of(Algorithm::Sha256, &bytes);
            store.keep_document(&own, &bytes)?;
            found.push(own);
        }
    }
    Ok(found)
}

fn is_absent(error: &SourceError) -> bool {
    let SourceError::Fetch { source, .. } = error else { return false };
    matches!(**source, FetchFailure::Registry(FetchError::NotFound { .. }))
}

/// The lists of those that stand beside the image.
fn attached(
    name: &ImageName,
    digests: &[Digest],
    store: &Store,
    remote: Remote<'_>,
) -> Result<Vec<Digest>, SourceError> {
    let (mut failed, mut answered) = (None, false);
    for access in remote.places {
        let line = remote.fetcher.open(access).map_err(SourceError::of_fetch(access));
        let asked = line.and_then(|line| {
            let mut asking = Asking { name, access, line, store, wanted: &Platform::native() };
            let mut lists = Vec::new();
            for digest in digests {
                lists.extend(list(&mut asking, digest)?);
            }
            Ok(lists)
        });
        match asked {
            // A mirror may have the image and not what stands beside it.
            Ok(lists) if lists.is_empty() => answered = true,
            Ok(lists) => return Ok(lists),
            Err(error) => failed = Some(error),
        }
    }
    failed.filter(|_| !answered).map_or(Ok(Vec::new()), Err)
}

/// The document that lists the signatures of what has this digest, which are in the store from now on.
fn list(asking: &mut Asking<'_>, digest: &Digest) -> Result<Option<Digest>, SourceError> {
    let version = format!("{}-{}.sig", digest.algorithm().name(), digest.hex());
    let ask = Ask::Manifest { version, limit: MAX_DOCUMENT_BYTES };
    let (own, json) = match asking.newest(&ask) {
        Err(error) if is_absent(&error) => return Ok(None),
        other => other?,
    };
    for payload in payloads(&json) {
        let (digest, length) = (payload.digest.clone(), payload.size);
        asking.document(&Ask::Blob { digest: digest.clone(), from: 0, length }, &digest)?;
    }
    Ok(Some(own))
}

/// What a list names: no list has none.
fn payloads(json: &[u8]) -> Vec<Descriptor> {
    let Ok(Document::Manifest { layers, .. }) = Document::parse(json) else { return Vec::new() };
    let fits = |layer: &Descriptor| {
        layer.media_type == PAYLOAD_TYPE
            && layer.size <= MAX_PAYLOAD_BYTES
            && layer.annotation(SIGNATURE).is_some()
    };
    layers.into_iter().filter(fits).take(MAX_SIGNATURES).collect()
}

/// The documents that these lists name.
///
/// # Errors
/// Where the store cannot be read.
pub(crate) fn named_by(lists: &[Digest], store: &Store) -> Result<Vec<Digest>, StoreError> {
    let mut named = Vec::new();
    for list in lists {
        let json = store.document(list)?.unwrap_or_default();
        named.extend(payloads(&json).into_iter().map(|payload| payload.digest));
    }
    Ok(named)
}

/// The signatures that the store has, by the documents that list them.
///
/// # Errors
/// Where the store cannot be read.
pub(crate) fn kept(lists: &[Digest], store: &Store) -> Result<Vec<Signature>, StoreError> {
    let mut signatures = Vec::new();
    for list in lists {
        let json = store.document(list)?.unwrap_or_default();
        if Document::parse(&json).is_err() {
            signatures.push(Signature::Gpg(json));
            continue;
        }
        for payload in payloads(&json) {
            let signature = payload.annotation(SIGNATURE).and_then(|it| BASE64.decode(it).ok());
            let payload = store.document(&payload.digest)?;
            if let (Some(payload), Some(signature)) = (payload, signature) {
                signatures.push(Signature::Sigstore { payload, signature });
            }
        }
    }
    Ok(signatures)
}
