//! What KVM counted of a machine's vCPUs, out of the files that it has for that.
//!
//! Specification: Linux' `Documentation/virt/kvm/api.rst`, KVM_GET_STATS_FD. Whoever hands the files over is in the guest's
//! reach: what they hold is bounded, and what does not hold together is not counted.

use rustix::io::{Errno, pread};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

/// How often each thing happened, by KVM's name for it, to all vCPUs together.
pub type KvmCounts = BTreeMap<String, u64>;

/// A file that is longer is none of KVM's.
const MAX_FILE_BYTES: usize = 64 << 10;
/// More figures than this are not read.
const MAX_FIGURES: usize = 512;
const MAX_NAME_BYTES: usize = 64;
const HEADER_BYTES: usize = 24;
/// A description without the name that it ends in.
const DESCRIPTION_BYTES: usize = 16;
/// The bits of a figure's flags that say what it is: a count of no unit that only grows has none.
const KIND: u32 = 0xff;

/// The sum of all files' counts; nothing where there is no file that can be read.
pub fn read(files: &[OwnedFd]) -> Option<KvmCounts> {
    let mut sum = KvmCounts::new();
    for file in files {
        for (name, count) in parse(&contents(file).ok()?)? {
            let known = sum.entry(name).or_default();
            *known = known.saturating_add(count);
        }
    }
    (!sum.is_empty()).then_some(sum)
}

/// By position: where the file is something that could be waited for, that fails.
fn contents(file: &OwnedFd) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0; MAX_FILE_BYTES];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match pread(file, rest, filled as u64) {
            Ok(0) => break,
            Ok(count) => filled = filled.saturating_add(count),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// One file's counts; nothing where it does not hold together.
pub fn parse(bytes: &[u8]) -> Option<KvmCounts> {
    let at = |place: usize| Some(u32::from_le_bytes(*bytes.get(place..)?.first_chunk()?));
    let size = |place: usize| usize::try_from(at(place)?).ok();
    let (name_bytes, figures) = (size(4)?, size(8)?);
    let (descriptions, data) = (size(16)?, size(20)?);
    if name_bytes == 0
        || name_bytes > MAX_NAME_BYTES
        || figures > MAX_FIGURES
        || descriptions < HEADER_BYTES
    {
        return None;
    }
    let mut counts = KvmCounts::new();
    for number in 0..figures {
        let start = descriptions.checked_add(number * (DESCRIPTION_BYTES + name_bytes))?;
        let flags = at(start)?;
        let count = u16::from_le_bytes(*bytes.get(start.checked_add(6)?..)?.first_chunk()?);
        if flags & KIND != 0 || count != 1 {
            continue;
        }
        let place = data.checked_add(size(start.checked_add(8)?)?)?;
        let value = u64::from_le_bytes(*bytes.get(place..)?.first_chunk()?);
        let name = bytes.get(start + DESCRIPTION_BYTES..)?.get(..name_bytes)?;
        counts.insert(checked_name(name)?, value);
    }
    Some(counts)
}

/// A name of the kernel's own kind, which ends where the first zero is.
fn checked_name(field: &[u8]) -> Option<String> {
    let name = field.split(|byte| *byte == 0).next()?;
    let is_ours = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_';
    let sound = !name.is_empty() && name.iter().all(is_ours);
    sound.then(|| String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    const NAME_BYTES: usize = 16;

    /// A file of these figures: name, flags, how many values, the first of them.
    fn file(figures: &[(&str, u32, u16, u64)]) -> Vec<u8> {
        let descriptions = HEADER_BYTES + 8;
        let data = descriptions + figures.len() * (DESCRIPTION_BYTES + NAME_BYTES);
        let mut bytes = Vec::new();
        for field in [0, NAME_BYTES, figures.len(), HEADER_BYTES, descriptions, data] {
            bytes.extend(u32::try_from(field).unwrap().to_le_bytes());
        }
        bytes.extend(b"kvm-1\0\0\0");
        for (place, (name, flags, count, _)) in figures.iter().enumerate() {
            bytes.extend(flags.to_le_bytes());
            bytes.extend([0, 0]);
            bytes.extend(count.to_le_bytes());
            bytes.extend(u32::try_from(place * 8).unwrap().to_le_bytes());
            bytes.extend([0; 4]);
            let mut field = name.as_bytes().to_vec();
            field.resize(NAME_BYTES, 0);
            bytes.extend(field);
        }
        figures.iter().for_each(|(_, _, _, value)| bytes.extend(value.to_le_bytes()));
        bytes
    }

    #[test]
    fn counts_are_read_and_nothing_else_is() {
        let bytes = file(&[
            ("exits", 0, 1, 41),
            ("guest_mode", 0x41, 1, 1),
            ("io_exits", 0, 1, 7),
            ("hist", 3, 9, 2),
        ]);
        let expected = KvmCounts::from([("exits".to_owned(), 41), ("io_exits".to_owned(), 7)]);
        assert_eq!(parse(&bytes), Some(expected));
    }

    #[test]
    fn vcpus_are_summed_and_a_stranger_is_not_read() {
        let kept = |bytes: &[u8]| {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(bytes).unwrap();
            OwnedFd::from(file)
        };
        let bytes = file(&[("exits", 0, 1, 41)]);
        let sum = read(&[kept(&bytes), kept(&bytes)]);
        assert_eq!(sum, Some(KvmCounts::from([("exits".to_owned(), 82)])));
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[kept(&file(&[("../x", 0, 1, 1)]))]), None);
        let (pipe, _other) = rustix::pipe::pipe().unwrap();
        assert_eq!(read(&[pipe]), None, "nobody waits for a pipe");
    }

    proptest! {
        #[test]
        fn any_file_is_borne(at in 0usize..200, bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut file = file(&[("exits", 0, 1, 41), ("io_exits", 0, 1, 7)]);
            for (place, byte) in bytes.into_iter().enumerate() {
                if let Some(known) = file.get_mut(at + place) {
                    *known = byte;
                }
            }
            let _ = parse(&file);
        }
    }
}
