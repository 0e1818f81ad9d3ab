//! The body of an answer, into a file.
//!
//! Owns: where each byte goes, and that there are as many as there may be. Never does: hash them.

use crate::client::failed;
use image::fetch::FetchError;
use image::layer::Quoted;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

const BUFFER_BYTES: usize = 128 << 10;

/// How much is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// So many bytes.
    Exactly(u64),
    /// So many at most.
    AtMost(u64),
}

/// Writes a body to `output`, the first byte at `from`; leaves out its first `skip` bytes. Gives where it ends.
///
/// # Errors
/// Where it ends too early or too late, or cannot be written: what came until then is written.
pub(crate) fn write(
    mut body: impl Read,
    output: &File,
    from: u64,
    mut skip: u64,
    expected: Expected,
) -> Result<u64, FetchError> {
    let (Expected::Exactly(limit) | Expected::AtMost(limit)) = expected;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut at = from;
    loop {
        let count = match body.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(broken(error, at, limit)),
        };
        if count == 0 {
            break;
        }
        let skipped = usize::try_from(skip).unwrap_or(usize::MAX).min(count);
        skip -= skipped as u64;
        let bytes = buffer.get(skipped..count).unwrap_or_default();
        if at.saturating_add(bytes.len() as u64) > limit {
            return Err(FetchError::TooLong(limit));
        }
        output.write_all_at(bytes, at).map_err(not_written)?;
        at += bytes.len() as u64;
    }
    match expected {
        Expected::Exactly(expected) if at != expected => Err(FetchError::Cut { got: at, expected }),
        _ => Ok(at),
    }
}

/// A connection that ends within a body may be taken up again where it ended.
fn broken(error: io::Error, got: u64, expected: u64) -> FetchError {
    match failed(ureq::Error::from(error)) {
        FetchError::Unreachable(_) | FetchError::Protocol(_) => FetchError::Cut { got, expected },
        other => other,
    }
}

fn not_written(error: io::Error) -> FetchError {
    let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
    if full.contains(&error.kind()) {
        return FetchError::NoRoom;
    }
    FetchError::Write(Quoted::new(error.to_string().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(
        body: &[u8],
        from: u64,
        skip: u64,
        expected: Expected,
    ) -> (Result<u64, FetchError>, Vec<u8>) {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(b"....", 0).unwrap();
        let result = write(body, &file, from, skip, expected);
        let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        (result, bytes)
    }

    #[test]
    fn a_body_goes_on_where_the_file_ends() {
        let (result, bytes) = written(b"abcd", 4, 0, Expected::Exactly(8));
        assert_eq!((result, bytes.as_slice()), (Ok(8), &b"....abcd"[..]));
        let (result, bytes) = written(b"abcdefgh", 4, 4, Expected::Exactly(8));
        assert_eq!((result, bytes.as_slice()), (Ok(8), &b"....efgh"[..]));
    }

    #[test]
    fn too_few_and_too_many_bytes_are_told_apart() {
        let (result, bytes) = written(b"ab", 4, 0, Expected::Exactly(8));
        assert_eq!(result, Err(FetchError::Cut { got: 6, expected: 8 }));
        assert_eq!(bytes, b"....ab");
        let (result, bytes) = written(b"abcdefgh", 4, 0, Expected::Exactly(8));
        assert_eq!((result, bytes.as_slice()), (Err(FetchError::TooLong(8)), &b"...."[..]));
        assert_eq!(written(b"ab", 0, 0, Expected::AtMost(2)).0, Ok(2));
        assert_eq!(written(b"abc", 0, 0, Expected::AtMost(2)).0, Err(FetchError::TooLong(2)));
        assert_eq!(written(b"", 8, 2, Expected::Exactly(8)).0, Ok(8));
    }
}
