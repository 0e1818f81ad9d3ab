//! The records of an `x` header: `LENGTH KEYWORD=VALUE\n`, POSIX pax, "Extended Header". A value may
//! hold any byte, newlines too, so records are taken by their length and never by lines.

use super::Mtime;
use super::sparse::{self, Segment};
use crate::error::TarError;
use std::collections::BTreeMap;

/// What of an `x` header counts here.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PaxRecords {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<Mtime>,
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) sparse: PaxSparse,
}

/// GNU tar's keywords for sparse files, as they stand there.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PaxSparse {
    name: Option<Vec<u8>>,
    size: Option<u64>,
    major: Option<u64>,
    minor: Option<u64>,
    /// Formats 0.0 and 0.1: offset, length, offset, length, …
    map: Vec<u64>,
}

/// A sparse file that the records tell of.
pub(super) struct Claim {
    pub(super) name: Option<Vec<u8>>,
    pub(super) size: u64,
    /// `None`: the map begins the entry's data (format 1.0).
    pub(super) segments: Option<Vec<Segment>>,
}

pub(super) fn parse(bytes: &[u8], offset: u64) -> Result<PaxRecords, TarError> {
    let malformed = || TarError::MalformedExtension { offset };
    let mut records = PaxRecords::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (record, after) = split_record(rest).ok_or_else(malformed)?;
        rest = after;
        let equals = record.iter().position(|&byte| byte == b'=').ok_or_else(malformed)?;
        let (keyword, value) = record.split_at(equals);
        records.take(keyword, value.get(1..).unwrap_or(&[])).ok_or_else(malformed)?;
    }
    Ok(records)
}

/// The first record, without its length and newline, and what follows it.
fn split_record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|&byte| byte == b' ')?;
    let length = usize::try_from(decimal(bytes.get(..space)?)?).ok()?;
    let (record, rest) = bytes.split_at_checked(length)?;
    Some((record.get(space + 1..)?.strip_suffix(b"\n")?, rest))
}

impl PaxRecords {
    /// `None` where the value is not what the keyword asks for.
    fn take(&mut self, keyword: &[u8], value: &[u8]) -> Option<()> {
        let name = || Some(value.to_vec()).filter(|value| !value.is_empty() && !value.contains(&0));
        let optional = || if value.is_empty() { Some(None) } else { decimal(value).map(Some) };
        match keyword {
            // An empty value takes back what a global header said: what the entry's own says counts.
            b"path" if value.is_empty() => self.path = None,
            b"path" => self.path = Some(name()?),
            b"linkpath" if value.is_empty() => self.link = None,
            b"linkpath" => self.link = Some(name()?),
            b"size" => self.size = optional()?,
            b"uid" => self.uid = optional()?,
            b"gid" => self.gid = optional()?,
            b"mtime" if value.is_empty() => self.mtime = None,
            b"mtime" => self.mtime = Some(time(value)?),
            b"GNU.sparse.name" => self.sparse.name = Some(name()?),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => self.sparse.size = optional()?,
            b"GNU.sparse.major" => self.sparse.major = optional()?,
            b"GNU.sparse.minor" => self.sparse.minor = optional()?,
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                let is_offset = self.sparse.map.len().is_multiple_of(2);
                (is_offset == (keyword == b"GNU.sparse.offset")).then_some(())?;
                self.sparse.map.push(decimal(value)?);
            }
            b"GNU.sparse.map" => {
                self.sparse.map = value
                    .split(|&byte| byte == b',')
                    .filter(|number| !number.is_empty())
                    .map(decimal)
                    .collect::<Option<_>>()?;
            }
            _ => {
                if let Some(name) = keyword.strip_prefix(b"SCHILY.xattr.") {
                    self.xattrs.insert(name.to_vec(), value.to_vec());
                }
            }
        }
        Some(())
    }
}

impl PaxSparse {
    /// Whether the entry is a sparse file, and of which format.
    pub(super) fn claim(self, offset: u64) -> Result<Option<Claim>, TarError> {
        let version = (self.major, self.minor);
        if version == (None, None) && self.size.is_none() && self.map.is_empty() {
            return Ok(None);
        }
        let size = self.size.ok_or(TarError::SparseMap { offset })?;
        let segments = match version {
            (None, None) | (Some(0), Some(0 | 1)) => {
                Some(sparse::pairs(&self.map).ok_or(TarError::SparseMap { offset })?)
            }
            (Some(1), Some(0)) => None,
            _ => return Err(TarError::SparseMap { offset }),
        };
        Ok(Some(Claim { name: self.name, size, segments }))
    }
}

/// A number in decimal digits and nothing else.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |value, byte| {
        let digit = byte.checked_sub(b'0').filter(|&digit| digit < 10)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// Seconds with any number of decimals, of which nine count, perhaps negative.
fn time(value: &[u8]) -> Option<Mtime> {
    let (negative, value) = match value.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let mut parts = value.splitn(2, |&byte| byte == b'.');
    let seconds = i64::try_from(decimal(parts.next()?)?).ok()?;
    let mut nanoseconds = 0u32;
    let decimals = parts.next().unwrap_or(&[]);
    if !decimals.iter().all(u8::is_ascii_digit) {
        return None;
    }
    for index in 0..9 {
        let digit = decimals.get(index).map_or(0, |byte| u32::from(byte - b'0'));
        nanoseconds = nanoseconds * 10 + digit;
    }
    Some(match (negative, nanoseconds) {
        (false, _) => Mtime { seconds, nanoseconds },
        (true, 0) => Mtime { seconds: -seconds, nanoseconds },
        // Times count upward from a second: -1.25 is three quarters after -2.
        (true, _) => Mtime { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds },
    })
}
