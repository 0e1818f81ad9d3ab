//! Directories: blocks, each with a table of entries and then their names, in the order of the names.

use super::super::tree::{Directory, NodeId, Tree};
use super::format::{self, BLOCK, BLOCK_BYTES};
use super::layout::Layout;

/// `struct erofs_dirent`: inode, where the name begins, type.
const ENTRY_BYTES: usize = 12;

/// The names of a directory in the order of their bytes, `.` and `..` among them.
fn names(directory: &Directory, own: NodeId) -> Vec<(&[u8], NodeId)> {
    let mut names: Vec<(&[u8], NodeId)> = vec![(b".", own), (b"..", directory.parent)];
    names.extend(directory.entries.iter().map(|(name, &id)| (&**name, id)));
    names.sort_unstable_by_key(|&(name, _)| name);
    names
}

/// How many of the names fit into the next block, and how many bytes they take there.
fn next_block(names: &[(&[u8], NodeId)]) -> (usize, usize) {
    let mut bytes = 0;
    for (count, (name, _)) in names.iter().enumerate() {
        let more = ENTRY_BYTES + name.len();
        if bytes + more > BLOCK {
            return (count, bytes);
        }
        bytes += more;
    }
    (names.len(), bytes)
}

/// How many bytes a directory takes.
pub(super) fn size(directory: &Directory, own: NodeId) -> u64 {
    let names = names(directory, own);
    let mut left = names.as_slice();
    let mut size = 0;
    loop {
        let (count, bytes) = next_block(left);
        left = left.get(count..).unwrap_or(&[]);
        if left.is_empty() || count == 0 {
            return size + bytes as u64;
        }
        size += BLOCK_BYTES;
    }
}

/// Its bytes.
pub(super) fn encode(tree: &Tree, layout: &Layout, own: NodeId, directory: &Directory) -> Vec<u8> {
    let names = names(directory, own);
    let mut left = names.as_slice();
    let mut out: Vec<u8> = Vec::new();
    while !left.is_empty() {
        out.resize(out.len().next_multiple_of(BLOCK), 0);
        let (count, _) = next_block(left);
        let (now, later) = left.split_at(count);
        if now.is_empty() {
            break; // A name that fits into no block: names are checked to be 255 bytes at most.
        }
        left = later;
        let mut name_at = count * ENTRY_BYTES;
        for (name, id) in now {
            let kind = tree.node(*id).map_or(0, |n| format::file_type(&n.kind).in_directory);
            out.extend(layout.nid(*id).to_le_bytes());
            out.extend(u16::try_from(name_at).unwrap_or(u16::MAX).to_le_bytes());
            out.extend([kind, 0]);
            name_at += name.len();
        }
        for (name, _) in now {
            out.extend_from_slice(name);
        }
    }
    out
}

/// The names of a directory, `.` and `..` not among them, and the numbers of their inodes; `None` where its bytes are no
/// directory.
pub(super) fn decode(body: &[u8]) -> Option<Vec<(Box<[u8]>, u64)>> {
    let mut entries = Vec::new();
    for block in body.chunks(BLOCK) {
        let names_at = usize::from(format::u16_at(block, 8)?);
        if names_at % ENTRY_BYTES != 0 || names_at == 0 {
            return None;
        }
        let (heads, _) = block.split_at_checked(names_at)?;
        let mut heads = heads.chunks(ENTRY_BYTES).peekable();
        while let Some(head) = heads.next() {
            let from = usize::from(format::u16_at(head, 8)?);
            let to = heads.peek().and_then(|next| format::u16_at(next, 8)).map(usize::from);
            let name = match to {
                Some(to) => block.get(from..to)?,
                // The last name of a block that is not the last may be followed by zeroes.
                None => block.get(from..)?.split(|&byte| byte == 0).next()?,
            };
            let number = u64::from_le_bytes(*head.first_chunk()?);
            match name {
                b"." | b".." => {}
                name if is_name(name) => entries.push((name.into(), number)),
                _ => return None,
            }
        }
    }
    Some(entries)
}

fn is_name(name: &[u8]) -> bool {
    (1..=255).contains(&name.len()) && !name.contains(&b'/') && !name.contains(&0)
}
