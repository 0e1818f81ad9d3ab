//! Signatures of version 4, and public keys: what they are made of, and whether one is by the other (RFC 9580, 5.2 and 5.5).

use super::packet::Reader;
use ring::digest;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RsaPublicKeyComponents,
    UnparsedPublicKey,
};

const VERSION: u8 = 4;
/// Key flag: it may sign data.
pub(super) const MAY_SIGN: u8 = 2;
/// A signature of a document, byte for byte.
pub(super) const OF_BYTES: u8 = 0;

const RSA: u8 = 1;
const RSA_SIGN_ONLY: u8 = 3;
const ECDSA: u8 = 19;
const EDDSA_LEGACY: u8 = 22;
const ED25519_KEY: u8 = 27;

const P256_OID: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384_OID: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const ED25519_OID: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01];

/// The hashes that still stand for what they are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

/// A signature. Nothing of it is believed.
#[derive(Debug)]
pub(super) struct Signature {
    pub(super) kind: u8,
    pub(super) created: u32,
    /// For how many seconds it is good.
    pub(super) lasts: Option<u32>,
    /// For how many seconds the key is good that it is of.
    pub(super) key_lasts: Option<u32>,
    /// What the key may do that it is of.
    pub(super) key_flags: Option<u8>,
    algorithm: u8,
    hash: Hash,
    /// Its part that is signed too.
    hashed: Vec<u8>,
    numbers: Vec<u8>,
}

impl Signature {
    /// Reads one; `None` of one that is not understood in all that has to be.
    pub(super) fn of(body: &[u8]) -> Option<Self> {
        let mut reader = Reader(body);
        let (version, kind) = (reader.byte()?, reader.byte()?);
        let (algorithm, hash) = (reader.byte()?, reader.byte()?);
        let hashed_bytes = reader.number(2)?;
        let subpackets = reader.take(hashed_bytes)?;
        let hashed = body.get(..6 + hashed_bytes)?.to_vec();
        let unhashed_bytes = reader.number(2)?;
        reader.take(unhashed_bytes)?;
        // The left of the hash, which helps nobody here.
        reader.take(2)?;
        let hash = match hash {
            8 => Hash::Sha256,
            9 => Hash::Sha384,
            10 => Hash::Sha512,
            _ => return None,
        };
        let numbers = reader.0.to_vec();
        let (created, lasts, key_lasts, key_flags) = (0, None, None, None);
        let mut signature =
            Self { kind, created, lasts, key_lasts, key_flags, algorithm, hash, hashed, numbers };
        signature.read_subpackets(subpackets)?;
        (version == VERSION && signature.created > 0).then_some(signature)
    }

    fn read_subpackets(&mut self, subpackets: &[u8]) -> Option<()> {
        let mut reader = Reader(subpackets);
        while !reader.0.is_empty() {
            let first = reader.number(1)?;
            let length = match first {
                0..192 => first,
                192..255 => ((first - 192) << 8) + reader.number(1)? + 192,
                _ => reader.number(4)?,
            };
            let mut subpacket = Reader(reader.take(length)?);
            let kind = subpacket.byte()?;
            match kind & 0x7f {
                2 => self.created = subpacket.time()?,
                3 => self.lasts = Some(subpacket.time()?).filter(|&seconds| seconds > 0),
                9 => self.key_lasts = Some(subpacket.time()?).filter(|&seconds| seconds > 0),
                27 => self.key_flags = Some(subpacket.byte().unwrap_or(0)),
                // Who it is by, what is preferred, notes, reasons: none of it makes it count for more.
                4..=8 | 10..=12 | 16 | 20..=26 | 28..=35 | 39 => {}
                // Critical, and not known.
                _ if kind & 0x80 != 0 => return None,
                _ => {}
            }
        }
        Some(())
    }

    /// Whether it was good at a time, in seconds since 1970.
    pub(super) fn is_good_at(&self, now: u64) -> bool {
        self.lasts.is_none_or(|lasts| u64::from(self.created) + u64::from(lasts) > now)
    }
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PublicKey {
    pub(super) created: u32,
    material: Material,
    body: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    Ed25519(Vec<u8>),
    P256(Vec<u8>),
    P384(Vec<u8>),
}

impl PublicKey {
    /// Reads a key's packet; `None` of a kind that is not known here.
    pub(super) fn of(body: &[u8]) -> Option<Self> {
        let mut reader = Reader(body);
        let (version, created, algorithm) = (reader.byte()?, reader.time()?, reader.byte()?);
        let material = match algorithm {
            RSA | RSA_SIGN_ONLY => {
                let (modulus, exponent) = (reader.integer()?.to_vec(), reader.integer()?.to_vec());
                Material::Rsa { modulus, exponent }
            }
            ED25519_KEY => Material::Ed25519(reader.take(32)?.to_vec()),
            ECDSA | EDDSA_LEGACY => {
                let bytes = reader.number(1)?;
                let (curve, point) = (reader.take(bytes)?, reader.integer()?);
                match (algorithm, curve) {
                    (ECDSA, P256_OID) => Material::P256(point.to_vec()),
                    (ECDSA, P384_OID) => Material::P384(point.to_vec()),
                    (EDDSA_LEGACY, ED25519_OID) => {
                        Material::Ed25519(point.strip_prefix(&[0x40])?.to_vec())
                    }
                    _ => return None,
                }
            }
            _ => return None,
        };
        (version == VERSION).then(|| Self { created, material, body: body.to_vec() })
    }

    /// What is signed of a key.
    pub(super) fn signed_form(&self) -> Vec<u8> {
        let length = u16::try_from(self.body.len()).unwrap_or(u16::MAX);
        [&[0x99], &length.to_be_bytes()[..], &self.body].concat()
    }

    /// Whether it has made a signature of these bytes.
    pub(super) fn has_signed(&self, bytes: &[u8], signature: &Signature) -> bool {
        self.verifies(bytes, signature).is_some()
    }

    fn verifies(&self, bytes: &[u8], signature: &Signature) -> Option<()> {
        let Signature { hashed, hash, algorithm, numbers, .. } = signature;
        let length = u32::try_from(hashed.len()).ok()?;
        let signed = [bytes, hashed, &[VERSION, 0xff], &length.to_be_bytes()].concat();
        let mut numbers = Reader(numbers);
        let verified = match (&self.material, algorithm, hash) {
            (Material::Rsa { modulus, exponent }, &(RSA | RSA_SIGN_ONLY), hash) => {
                let number = padded(numbers.integer()?, modulus.len())?;
                let key = RsaPublicKeyComponents { n: modulus, e: exponent };
                let how = match hash {
                    Hash::Sha256 => &RSA_PKCS1_2048_8192_SHA256,
                    Hash::Sha384 => &RSA_PKCS1_2048_8192_SHA384,
                    Hash::Sha512 => &RSA_PKCS1_2048_8192_SHA512,
                };
                key.verify(how, &signed, &number)
            }
            (Material::P256(point), &ECDSA, Hash::Sha256) => {
                let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
                key.verify(&signed, &pair(&mut numbers, 32)?)
            }
            (Material::P384(point), &ECDSA, Hash::Sha384) => {
                let key = UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point);
                key.verify(&signed, &pair(&mut numbers, 48)?)
            }
            (Material::Ed25519(point), &(EDDSA_LEGACY | ED25519_KEY), hash) => {
                let by = match hash {
                    Hash::Sha256 => &digest::SHA256,
                    Hash::Sha384 => &digest::SHA384,
                    Hash::Sha512 => &digest::SHA512,
                };
                let number = match *algorithm {
                    ED25519_KEY => numbers.take(64)?.to_vec(),
                    _ => pair(&mut numbers, 32)?,
                };
                let hash = digest::digest(by, &signed);
                UnparsedPublicKey::new(&ED25519, point).verify(hash.as_ref(), &number)
            }
            _ => return None,
        };
        verified.ok()
    }
}

/// Two numbers, one behind the other.
fn pair(numbers: &mut Reader<'_>, bytes: usize) -> Option<Vec<u8>> {
    let (one, two) = (numbers.integer()?, numbers.integer()?);
    Some([padded(one, bytes)?, padded(two, bytes)?].concat())
}

/// A number with zeroes before it, so that it has so many bytes.
fn padded(number: &[u8], bytes: usize) -> Option<Vec<u8>> {
    let zeroes = bytes.checked_sub(number.len())?;
    Some([&vec![0; zeroes], number].concat())
}
