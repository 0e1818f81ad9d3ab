//! OpenPGP, as far as it takes to know whether a document was signed by a key of a policy's: what `gpg --sign` writes and
//! `gpg --export` gives (RFC 9580).
//!
//! Owns: which keys of a file may sign now, as the file's owner says it: not one that has expired or was revoked, no subkey
//! that the owner has not bound. Never does: know whom a key belongs to, sign, or decrypt.
//!
//! RSA from 2048 bits, Ed25519, ECDSA on P-256 and P-384; SHA-2. The arithmetic is ring's. A library of all of OpenPGP would
//! be some hundred crates, and a twentieth of this program, for one question.

mod packet;
mod signature;
#[cfg(test)]
mod tests;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::read::{DeflateDecoder, ZlibDecoder};
use packet::{
    COMPRESSED, LITERAL, MARKER, ONE_PASS, PUBLIC_KEY, PUBLIC_SUBKEY, Reader, SECRET_KEY,
    SECRET_SUBKEY, SIGNATURE, USER_ATTRIBUTE, USER_ID, packets,
};
use signature::{MAY_SIGN, OF_BYTES, PublicKey, Signature};
use std::io::Read;

/// The longest document, uncompressed: those that are signed for images have some hundred bytes.
const MAX_DOCUMENT_BYTES: u64 = 64 << 10;
/// The most signatures of one document that are looked at.
const MAX_SIGNATURES: usize = 16;

/// Keys that may sign.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Keyring(Vec<Usable>);

/// A key that may sign, until a time in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Usable {
    key: PublicKey,
    until: Option<u64>,
}

impl Keyring {
    /// The keys of a file, armored or not.
    ///
    /// # Errors
    /// What is wrong with it: also where none of them may sign.
    pub(super) fn parse(file: &[u8]) -> Result<Self, String> {
        let bytes = unarmored(file).ok_or("its armor is malformed")?;
        let packets = packets(&bytes).ok_or("it is no OpenPGP key")?;
        let mut usable = Vec::new();
        let mut owner: Option<Owner> = None;
        for (kind, body) in &packets {
            match *kind {
                SECRET_KEY | SECRET_SUBKEY => return Err("it holds a secret key".to_owned()),
                PUBLIC_KEY => {
                    usable.extend(owner.take().into_iter().flat_map(Owner::usable));
                    owner = PublicKey::of(body).map(Owner::new);
                }
                kind => {
                    if let Some(owner) = &mut owner {
                        owner.says(kind, body);
                    }
                }
            }
        }
        usable.extend(owner.into_iter().flat_map(Owner::usable));
        if usable.is_empty() {
            return Err(
                "no key in it may sign: of RSA, Ed25519, P-256 or P-384, not revoked".to_owned()
            );
        }
        Ok(Self(usable))
    }

    /// All keys of both.
    pub(super) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The document in a signed message, where one of these keys has signed it, at a time in seconds since 1970.
    ///
    /// # Errors
    /// Why it does not count.
    pub(super) fn opened(&self, message: &[u8], now: u64) -> Result<Vec<u8>, String> {
        let (document, signatures) = parts(message).ok_or("what came is no signed message")?;
        let mut why = "none is by a key of the policy's";
        for signature in signatures.iter().filter(|it| it.kind == OF_BYTES) {
            for Usable { key, until } in &self.0 {
                if !key.has_signed(&document, signature) {
                    continue;
                }
                if until.is_some_and(|until| until <= now) {
                    why = "the key that has signed it has expired";
                } else if !signature.is_good_at(now) {
                    why = "its signature has expired";
                } else {
                    return Ok(document);
                }
            }
        }
        Err(why.to_owned())
    }
}

/// A primary key, and what it says of itself and its subkeys.
struct Owner {
    primary: Stated,
    subkeys: Vec<Stated>,
    /// What the next signatures are of, in the form in which it is signed; `None` of what is not known.
    at: Option<Vec<u8>>,
    /// Whether the last key is one that is understood.
    in_subkey: bool,
}

/// A key, and the newest that its owner says of it.
struct Stated {
    key: PublicKey,
    said: Option<Signature>,
    revoked: bool,
}

impl Stated {
    fn new(key: PublicKey) -> Self {
        Self { key, said: None, revoked: false }
    }

    fn hears(&mut self, signature: Signature) {
        if self.said.as_ref().is_none_or(|said| said.created <= signature.created) {
            self.said = Some(signature);
        }
    }

    fn usable(self, unless_said: bool) -> Option<Usable> {
        let said = self.said.as_ref();
        let flags = said.and_then(|said| said.key_flags);
        let may = flags.map_or(unless_said, |flags| flags & MAY_SIGN != 0);
        let lasts = said.and_then(|said| said.key_lasts);
        let until = lasts.map(|lasts| u64::from(self.key.created) + u64::from(lasts));
        (may && !self.revoked).then_some(Usable { key: self.key, until })
    }
}

impl Owner {
    fn new(key: PublicKey) -> Self {
        let at = Some(Vec::new());
        Self { primary: Stated::new(key), subkeys: Vec::new(), at, in_subkey: false }
    }

    fn says(&mut self, kind: u8, body: &[u8]) {
        let counted = |mark: u8| {
            let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
            [&[mark], &length.to_be_bytes()[..], body].concat()
        };
        match kind {
            USER_ID | USER_ATTRIBUTE => {
                self.at = Some(counted(if kind == USER_ID { 0xb4 } else { 0xd1 }));
                self.in_subkey = false;
            }
            PUBLIC_SUBKEY => {
                let key = PublicKey::of(body);
                self.at = key.as_ref().map(PublicKey::signed_form);
                self.in_subkey = key.is_some();
                self.subkeys.extend(key.map(Stated::new));
            }
            SIGNATURE => {
                if let (Some(at), Some(signature)) = (&self.at, Signature::of(body)) {
                    let signed = [self.primary.key.signed_form(), at.clone()].concat();
                    self.hears(&signed, signature);
                }
            }
            _ => {}
        }
    }

    /// Believes what the primary key has signed.
    fn hears(&mut self, signed: &[u8], signature: Signature) {
        let alone = self.primary.key.signed_form();
        let of = match signature.kind {
            // Of the key itself, whatever stands before.
            0x1f | 0x20 => &alone[..],
            _ => signed,
        };
        if !self.primary.key.has_signed(of, &signature) {
            return;
        }
        let subkey = self.subkeys.last_mut().filter(|_| self.in_subkey);
        match (signature.kind, subkey) {
            (0x10..=0x13, None) | (0x1f, _) => self.primary.hears(signature),
            (0x20, _) => self.primary.revoked = true,
            (0x18, Some(subkey)) => subkey.hears(signature),
            (0x28, Some(subkey)) => subkey.revoked = true,
            _ => {}
        }
    }

    fn usable(self) -> Vec<Usable> {
        let Self { primary, subkeys, .. } = self;
        if primary.revoked {
            return Vec::new();
        }
        let own_end = primary.said.as_ref().and_then(|said| said.key_lasts);
        let own_end = own_end.map(|lasts| u64::from(primary.key.created) + u64::from(lasts));
        let ends_with_owner = |usable: Usable| {
            let until = match (usable.until, own_end) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
            Usable { until, ..usable }
        };
        // A subkey may sign where its owner says so; a primary key that says nothing may.
        let subkeys = subkeys.into_iter().filter_map(|subkey| subkey.usable(false));
        let all = primary.usable(true).into_iter().chain(subkeys);
        all.map(ends_with_owner).collect()
    }
}

/// The document of a signed message, and its signatures.
fn parts(message: &[u8]) -> Option<(Vec<u8>, Vec<Signature>)> {
    let bytes = unarmored(message)?;
    let mut all = packets(&bytes)?;
    let uncompressed;
    if let [(COMPRESSED, body)] = all.as_slice() {
        uncompressed = inflated(body)?;
        all = packets(&uncompressed)?;
    }
    let (mut document, mut signatures) = (None, Vec::new());
    for (kind, body) in &all {
        match *kind {
            LITERAL if document.is_none() => {
                let mut reader = Reader(body);
                reader.byte()?;
                let name = reader.number(1)?;
                reader.take(name + 4)?;
                document = Some(reader.0.to_vec());
            }
            SIGNATURE if signatures.len() < MAX_SIGNATURES => {
                signatures.extend(Signature::of(body));
            }
            ONE_PASS | MARKER => {}
            _ => return None,
        }
    }
    Some((document?, signatures))
}

fn inflated(body: &[u8]) -> Option<Vec<u8>> {
    let (how, compressed) = body.split_first()?;
    let mut bytes = Vec::new();
    let read = match how {
        1 => DeflateDecoder::new(compressed).take(MAX_DOCUMENT_BYTES + 1).read_to_end(&mut bytes),
        2 => ZlibDecoder::new(compressed).take(MAX_DOCUMENT_BYTES + 1).read_to_end(&mut bytes),
        _ => return None,
    };
    (read.ok()? as u64 <= MAX_DOCUMENT_BYTES).then_some(bytes)
}

/// What is in ASCII armor, one block after the other, or the bytes as they are.
fn unarmored(bytes: &[u8]) -> Option<Vec<u8>> {
    const BEGIN: &str = "-----BEGIN PGP ";
    // A packet's first byte has its highest bit set.
    if bytes.first().is_none_or(|byte| byte & 0x80 != 0) {
        return Some(bytes.to_vec());
    }
    let text = std::str::from_utf8(bytes).ok()?.replace('\r', "");
    let mut all = Vec::new();
    for block in text.split(BEGIN).skip(1) {
        let (_, body) = block.split_once("\n\n")?;
        let (body, _) = body.split_once("\n-----END PGP ")?;
        // The last line is a checksum, which protects from nobody.
        let lines = body.lines().filter(|line| !line.starts_with('='));
        all.extend(BASE64.decode(lines.map(str::trim).collect::<String>()).ok()?);
    }
    (!all.is_empty()).then_some(all)
}
