//! Who vouches for an image: sigstore's signatures by a key (`sigstoreSigned` of containers-policy.json, cosign's format), and
//! GPG's (`signedBy`, "simple signing").
//!
//! A signature is of a small document, which names the manifest that it vouches for by digest, and what whoever signed it
//! calls the image. It comes from the image's registry or a place beside it, and may say anything: it counts where a key of
//! the policy's has made it, and for what it names.
//!
//! Specifications: containers-policy.json(5); cosign's SIGNATURE_SPEC.md; containers-signature(5); RFC 5480 for the key.

use super::openpgp::Keyring;
use crate::digest::Digest;
use crate::layer::Quoted;
use crate::reference::name::ImageName;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use serde::Deserialize;
use std::path::PathBuf;

/// A key's file is some hundred bytes.
pub const MAX_KEY_BYTES: u64 = 64 << 10;
/// The most keys of one rule.
const MAX_KEYS: usize = 64;
/// A public key on the curve P-256 (SubjectPublicKeyInfo, in DER): what comes before its point is always the same.
const P256_KEY: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// An uncompressed point.
const POINT_BYTES: usize = 65;
/// What cosign calls its documents.
const KIND: &str = "cosign container image signature";
/// What those call theirs that GPG signs.
const GPG_KIND: &str = "atomic container signature";

/// What a rule asks: a signature by one of these keys, for a name like this.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "SignedJson")]
pub struct Signed {
    files: Vec<PathBuf>,
    keys: Keys,
    identity: Identity,
}

/// Whose signatures count.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Keys {
    Sigstore(Vec<PublicKey>),
    Gpg(Keyring),
}

/// The same of GPG's.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "GpgJson")]
pub struct GpgSigned(pub(super) Signed);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GpgJson {
    key_type: String,
    key_path: Option<PathBuf>,
    key_paths: Option<Vec<PathBuf>>,
    key_data: Option<String>,
    #[serde(default)]
    signed_identity: Identity,
}

impl TryFrom<GpgJson> for GpgSigned {
    type Error = String;

    fn try_from(json: GpgJson) -> Result<Self, String> {
        if json.key_type != "GPGKeys" {
            return Err("signedBy has another keyType than GPGKeys".to_owned());
        }
        let files: Vec<_> =
            json.key_path.into_iter().chain(json.key_paths.unwrap_or_default()).collect();
        let mut keyring = Keyring::default();
        if let Some(text) = &json.key_data {
            let bytes = BASE64.decode(text).map_err(|_| "keyData is no base64".to_owned())?;
            keyring.extend(Keyring::parse(&bytes)?);
        }
        match files.len() + usize::from(json.key_data.is_some()) {
            0 => Err("signedBy names no key".to_owned()),
            1..=MAX_KEYS => {
                let (keys, identity) = (Keys::Gpg(keyring), json.signed_identity);
                Ok(Self(Signed { files, keys, identity }))
            }
            _ => Err(format!("signedBy names more than {MAX_KEYS} files of keys")),
        }
    }
}

/// A public key on the curve P-256: its point.
#[derive(Clone, PartialEq, Eq)]
struct PublicKey([u8; POINT_BYTES]);

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("PublicKey(..)")
    }
}

/// What a signature is to call the image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Identity {
    /// As it was asked for; one that was asked for by digest, its repository.
    #[default]
    MatchRepoDigestOrExact,
    /// As it was asked for.
    MatchExact,
    /// Its repository, whatever the tag.
    MatchRepository,
    /// This name.
    ExactReference { docker_reference: String },
    /// This repository.
    ExactRepository { docker_repository: String },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SignedJson {
    key_path: Option<PathBuf>,
    key_paths: Option<Vec<PathBuf>>,
    key_data: Option<String>,
    key_datas: Option<Vec<String>>,
    #[serde(default)]
    signed_identity: Identity,
}

impl TryFrom<SignedJson> for Signed {
    type Error = String;

    fn try_from(json: SignedJson) -> Result<Self, String> {
        let files: Vec<_> =
            json.key_path.into_iter().chain(json.key_paths.unwrap_or_default()).collect();
        let data = json.key_data.into_iter().chain(json.key_datas.unwrap_or_default());
        let mut keys = Vec::new();
        for text in data {
            let pem = BASE64.decode(text).map_err(|_| "keyData is no base64".to_owned())?;
            keys.push(PublicKey::of_pem(&pem)?);
        }
        match files.len() + keys.len() {
            0 => Err("sigstoreSigned names no key".to_owned()),
            1..=MAX_KEYS => {
                Ok(Self { files, keys: Keys::Sigstore(keys), identity: json.signed_identity })
            }
            _ => Err(format!("sigstoreSigned names more than {MAX_KEYS} keys")),
        }
    }
}

impl PublicKey {
    /// The first public key of a PEM file.
    fn of_pem(pem: &[u8]) -> Result<Self, String> {
        let wrong = || "a key is no public key on the curve P-256 (PEM)".to_owned();
        let text = std::str::from_utf8(pem).map_err(|_| wrong())?;
        let (_, rest) = text.split_once("-----BEGIN PUBLIC KEY-----").ok_or_else(wrong)?;
        let (body, _) = rest.split_once("-----END PUBLIC KEY-----").ok_or_else(wrong)?;
        let body: String = body.split_whitespace().collect();
        let der = BASE64.decode(body).map_err(|_| wrong())?;
        let point = der.strip_prefix(&P256_KEY).and_then(|point| point.try_into().ok());
        point.map(Self).ok_or_else(wrong)
    }

    fn has_signed(&self, payload: &[u8], signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, self.0);
        key.verify(payload, signature).is_ok()
    }
}

/// A signature, as it came: nothing of it is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signature {
    /// In cosign's format.
    Sigstore {
        /// What was signed.
        payload: Vec<u8>,
        /// By ECDSA, in DER.
        signature: Vec<u8>,
    },
    /// A signed message of OpenPGP's.
    Gpg(Vec<u8>),
}

#[derive(Deserialize)]
struct PayloadJson {
    critical: CriticalJson,
}

#[derive(Deserialize)]
struct CriticalJson {
    identity: IdentityJson,
    image: ImageJson,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct IdentityJson {
    #[serde(rename = "docker-reference")]
    docker_reference: String,
}

#[derive(Deserialize)]
struct ImageJson {
    #[serde(rename = "docker-manifest-digest")]
    docker_manifest_digest: Digest,
}

impl Signed {
    /// Reads the keys that stand in files.
    pub(super) fn read_keys(
        &mut self,
        read: &mut dyn FnMut(&std::path::Path) -> std::io::Result<Vec<u8>>,
    ) -> Result<(), (PathBuf, String)> {
        for file in std::mem::take(&mut self.files) {
            let bytes = read(&file).map_err(|error| (file.clone(), error.to_string()))?;
            match &mut self.keys {
                Keys::Sigstore(keys) => PublicKey::of_pem(&bytes).map(|key| keys.push(key)),
                Keys::Gpg(keys) => Keyring::parse(&bytes).map(|more| keys.extend(more)),
            }
            .map_err(|words| (file, words))?;
        }
        Ok(())
    }

    /// Whether one of these signatures vouches for the image that was asked for by `name`, and has these digests.
    ///
    /// # Errors
    /// Why none does: of several the last one's reason.
    pub(super) fn vouched(
        &self,
        name: Option<&ImageName>,
        digests: &[Digest],
        signatures: &[Signature],
    ) -> Result<(), String> {
        let mut why = "there is none".to_owned();
        for signature in signatures {
            match self.vouches(name, digests, signature) {
                Ok(()) => return Ok(()),
                Err(words) => why = words,
            }
        }
        Err(why)
    }

    fn vouches(
        &self,
        name: Option<&ImageName>,
        digests: &[Digest],
        signature: &Signature,
    ) -> Result<(), String> {
        // Nothing of the document is read before it is known who wrote it.
        let (document, kind) = match (&self.keys, signature) {
            (Keys::Sigstore(keys), Signature::Sigstore { payload, signature })
                if keys.iter().any(|key| key.has_signed(payload, signature)) =>
            {
                (payload.clone(), KIND)
            }
            (Keys::Gpg(keys), Signature::Gpg(message)) => {
                let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
                (keys.opened(message, now)?, GPG_KIND)
            }
            _ => return Err("none is by a key of the policy's".to_owned()),
        };
        let PayloadJson { critical } = serde_json::from_slice(&document)
            .map_err(|_| "what was signed is no such document".to_owned())?;
        if critical.kind != kind {
            return Err("what was signed is of another kind".to_owned());
        }
        if !digests.contains(&critical.image.docker_manifest_digest) {
            return Err("what was signed is another image".to_owned());
        }
        let reference = critical.identity.docker_reference;
        if self.identity.fits(name, &reference) {
            Ok(())
        } else {
            Err(format!("what was signed is called {}", Quoted::new(reference.as_bytes())))
        }
    }
}

impl Identity {
    fn fits(&self, asked: Option<&ImageName>, signed: &str) -> bool {
        let Ok(name) = signed.parse::<ImageName>() else { return false };
        let same_repository = |other: &ImageName| {
            (name.registry(), name.repository()) == (other.registry(), other.repository())
        };
        // A name without a tag means no tag here: what was signed for all of a repository names no image of it.
        let says_tag = signed.rsplit('/').next().is_some_and(|last| last.contains(':'));
        let exact = |other: &ImageName| {
            same_repository(other) && says_tag && name.tag().is_some() && name.tag() == other.tag()
        };
        match self {
            Self::ExactReference { docker_reference } => docker_reference == signed,
            Self::ExactRepository { docker_repository } => {
                docker_repository.parse::<ImageName>().is_ok_and(|it| same_repository(&it))
            }
            Self::MatchRepository => asked.is_some_and(same_repository),
            Self::MatchExact => asked.is_some_and(exact),
            Self::MatchRepoDigestOrExact => asked.is_some_and(|asked| match asked.digest() {
                Some(_) => same_repository(asked),
                None => exact(asked),
            }),
        }
    }
}

#[cfg(test)]
mod tests;
