//! Names of entries, made safe: components, relative to the layer's root.

use super::error::EntryError;

const MAX_PATH_BYTES: usize = 4096;
const MAX_NAME_BYTES: usize = 255;
const WHITEOUT_PREFIX: &[u8] = b".wh.";
const OPAQUE_MARKER: &[u8] = b".wh..wh..opq";
const AUFS_PREFIX: &[u8] = b".wh..wh.";

/// The components of an entry's path: leading `/` and `.` components are gone, `..` is refused.
/// Empty for the root.
pub(crate) fn components(path: &[u8]) -> Result<Vec<&[u8]>, EntryError> {
    if path.is_empty() {
        return Err(EntryError::EmptyName);
    }
    if path.len() > MAX_PATH_BYTES {
        return Err(EntryError::PathTooLong);
    }
    if path.contains(&0) {
        return Err(EntryError::NulByte);
    }
    let mut components = Vec::new();
    for component in path.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => return Err(EntryError::ParentComponent),
            name if name.len() > MAX_NAME_BYTES => return Err(EntryError::NameTooLong),
            name => components.push(name),
        }
    }
    Ok(components)
}

/// What an entry's path asks for (OCI image specification 1.1, layer.md, "Whiteouts").
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Role<'a> {
    /// To be there. The root where there are no components.
    Plain(Vec<&'a [u8]>),
    /// To hide `name` of lower layers.
    Whiteout { directory: Vec<&'a [u8]>, name: &'a [u8] },
    /// To hide all that lower layers have in a directory.
    Opaque { directory: Vec<&'a [u8]> },
    /// Nothing: what AUFS kept for itself.
    Ignored,
}

impl<'a> Role<'a> {
    pub(super) fn of(path: &'a [u8]) -> Result<Self, EntryError> {
        let mut all = components(path)?;
        if let Some((OPAQUE_MARKER, directory)) = all.split_last().map(|(last, rest)| (*last, rest))
            && !directory.iter().any(|name| name.starts_with(WHITEOUT_PREFIX))
        {
            return Ok(Self::Opaque { directory: directory.to_vec() });
        }
        if all.iter().any(|name| name.starts_with(AUFS_PREFIX)) {
            return Ok(Self::Ignored);
        }
        let Some((last, directory)) = all.split_last() else { return Ok(Self::Plain(all)) };
        if directory.iter().any(|name| name.starts_with(WHITEOUT_PREFIX)) {
            return Err(EntryError::Whiteout);
        }
        match last.strip_prefix(WHITEOUT_PREFIX) {
            Some(b"" | b"." | b"..") => Err(EntryError::Whiteout),
            Some(name) => {
                all.pop();
                Ok(Self::Whiteout { directory: all, name })
            }
            None => Ok(Self::Plain(all)),
        }
    }
}
