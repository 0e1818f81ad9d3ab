//! One 512-byte header: fields and their numbers.

use crate::error::TarError;

/// The unit of a tar archive, in bytes.
pub(super) const BLOCK: u64 = 512;
/// One unit.
pub(super) type Block = [u8; 512];

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// Another name for a file that stands earlier in the archive.
    HardLink,
    /// A symbolic link.
    SymbolicLink,
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
}

#[derive(Debug)]
pub(super) struct Header {
    type_flag: u8,
    pub(super) mode: u16,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) size: u64,
    pub(super) mtime: i64,
    pub(super) link: Vec<u8>,
    pub(super) device: (u32, u32),
}

impl Header {
    pub(super) fn parse(block: &Block, offset: u64) -> Result<Self, TarError> {
        check_sum(block, offset)?;
        let number = |from: usize, length: usize, field: &'static str| {
            number(bytes(block, from, length))
                .ok_or(TarError::Number { field: field.into(), offset })
        };
        let unsigned = |from, length, field: &'static str| {
            u64::try_from(number(from, length, field)?)
                .map_err(|_| TarError::Number { field: field.into(), offset })
        };
        let type_flag = block[156];
        let device = if matches!(type_flag, b'3' | b'4') {
            let part = |from, field: &'static str| {
                u32::try_from(unsigned(from, 8, field)?)
                    .map_err(|_| TarError::Number { field: field.into(), offset })
            };
            (part(329, "devmajor")?, part(337, "devminor")?)
        } else {
            (0, 0)
        };
        let mode = number(100, 8, "mode")?;
        Ok(Self {
            type_flag,
            mode: u16::try_from(mode & 0o7777).unwrap_or(0),
            uid: unsigned(108, 8, "uid")?,
            gid: unsigned(116, 8, "gid")?,
            size: unsigned(124, 12, "size")?,
            mtime: number(136, 12, "mtime")?,
            link: text(bytes(block, 157, 100)).to_vec(),
            device,
        })
    }

    /// The type flag, with the oldest spelling of a regular file made one with today's.
    pub(super) fn kind(&self) -> u8 {
        match self.type_flag {
            0 | b'7' => b'0',
            flag => flag,
        }
    }

    pub(super) fn entry_kind(&self, path: &[u8], offset: u64) -> Result<EntryKind, TarError> {
        Ok(match self.kind() {
            // Before directories had a type of their own, a slash told them.
            b'0' if path.ends_with(b"/") => EntryKind::Directory,
            b'0' | b'S' => EntryKind::File,
            b'1' => EntryKind::HardLink,
            b'2' => EntryKind::SymbolicLink,
            b'3' => EntryKind::CharacterDevice,
            b'4' => EntryKind::BlockDevice,
            b'5' => EntryKind::Directory,
            b'6' => EntryKind::Fifo,
            type_flag => return Err(TarError::UnsupportedType { type_flag, offset }),
        })
    }

    pub(super) fn path(&self, block: &Block) -> Vec<u8> {
        let name = text(bytes(block, 0, 100));
        // Not the version behind the magic, which some tars leave empty. GNU's magic is another.
        let prefix = match (bytes(block, 257, 6), bytes(block, 508, 4)) {
            (b"ustar\0", b"tar\0") => text(bytes(block, 345, 131)),
            (b"ustar\0", _) => text(bytes(block, 345, 155)),
            _ => &[],
        };
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }
}

fn check_sum(block: &Block, offset: u64) -> Result<(), TarError> {
    let stated = number(bytes(block, 148, 8));
    let blank = |index: usize, byte: u8| if (148..156).contains(&index) { b' ' } else { byte };
    let unsigned: i64 =
        block.iter().enumerate().map(|(index, &byte)| i64::from(blank(index, byte))).sum();
    // Some old tars summed signed characters.
    let signed: i64 = block
        .iter()
        .enumerate()
        .map(|(index, &byte)| i64::from(blank(index, byte).cast_signed()))
        .sum();
    if stated == Some(unsigned) || stated == Some(signed) {
        Ok(())
    } else {
        Err(TarError::Checksum { offset })
    }
}

/// A field of a block. All callers name constants within it.
pub(super) fn bytes(block: &Block, from: usize, length: usize) -> &[u8] {
    block.get(from..from + length).unwrap_or(&[])
}

/// A field up to its first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or(field)
}

/// A number: octal digits between blanks and NULs (empty is 0), or GNU's base-256 two's complement.
pub(super) fn number(field: &[u8]) -> Option<i64> {
    let (&first, rest) = field.split_first()?;
    if first & 0x80 != 0 {
        let negative = first & 0x40 != 0;
        let mut value = i128::from(first & 0x3f) - if negative { 0x40 } else { 0 };
        for &byte in rest {
            value = value.checked_mul(256)?.checked_add(i128::from(byte))?;
        }
        return i64::try_from(value).ok();
    }
    let trimmed = field.trim_ascii_start();
    let digits = trimmed.split(|byte| matches!(byte, 0 | b' ')).next()?;
    digits.iter().try_fold(0i64, |value, byte| {
        let digit = byte.checked_sub(b'0').filter(|&digit| digit < 8)?;
        value.checked_mul(8)?.checked_add(i64::from(digit))
    })
}
