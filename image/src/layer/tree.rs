//! The tree a layer's entries make, held in memory without any file data.
//!
//! Owns: what becomes of entries that meet — later ones replace earlier ones of the same path, save
//! that a directory met by a directory keeps what is in it — and of whiteouts, which hide what lower
//! layers have and nothing of their own layer, wherever in the archive they stand.
//!
//! A directory that takes the place of a file of its own layer is joined with what lower layers have
//! there, as it is in Docker: what that file hid, or a whiteout before it, shows again.
//!
//! A directory that no entry names but that one lies in is *implied*: 0755 and root's, as Docker makes
//! it. Where a lower layer has it with other attributes, overlayfs shows the implied ones, as Docker's
//! overlay2 driver does too; containerd copies the lower ones, which is better, but needs a layer's
//! parents, and a layer here is one image however many others lie below it.

use super::error::{EntryError, Limited, UnpackError};
use super::limits::Limits;
use std::collections::BTreeMap;
use tarball::Mtime;

const MAX_LINKS: usize = 40;
/// What a node and its name cost besides the name's bytes, in round numbers.
const NODE_BYTES: u64 = 64;
/// What an extended attribute costs besides its name and value.
const XATTR_BYTES: u64 = 64;

/// An index into a [`Tree`]'s nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NodeId(usize);

/// The root directory.
pub(super) const ROOT: NodeId = NodeId(0);

/// One inode.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) kind: NodeKind,
    pub(super) attributes: Attributes,
}

/// What every inode has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) mode: u16,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Mtime,
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Attributes {
    /// What they cost in memory.
    fn cost(&self) -> u64 {
        let each = |(name, value): (&Vec<u8>, &Vec<u8>)| (name.len() + value.len()) as u64;
        self.xattrs.iter().map(|xattr| each(xattr) + XATTR_BYTES).sum()
    }
}

/// What an inode is.
#[derive(Debug)]
pub(super) enum NodeKind {
    Directory(Directory),
    File(FileData),
    SymbolicLink(Vec<u8>),
    CharacterDevice {
        major: u32,
        minor: u32,
    },
    BlockDevice {
        major: u32,
        minor: u32,
    },
    Fifo,
    /// Hides what lower layers have under its name.
    Whiteout,
}

/// A directory.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) entries: BTreeMap<Box<[u8]>, NodeId>,
    pub(super) parent: NodeId,
    /// Hides what lower layers have in it.
    pub(super) opaque: bool,
}

/// Where a regular file's data is in the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileData {
    pub(super) size: u64,
    pub(super) layout: FileLayout,
}

/// How it lies there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FileLayout {
    /// Consecutive blocks; a tail that is not empty lies beside the inode instead.
    Flat { block: u32, tail: Box<[u8]> },
    /// Chunks of a power of two blocks, or holes.
    Chunked { chunk_bits: u8, table: Box<[u32]> },
}

/// The tree.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    metadata_bytes: u64,
    steps: u64,
    limits: Limits,
}

impl Tree {
    pub(super) fn new(limits: &Limits) -> Self {
        let nodes = vec![implied_directory(ROOT)];
        Self { nodes, metadata_bytes: 0, steps: 0, limits: limits.clone() }
    }

    pub(super) fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id.0)
    }

    /// One more than the largest index.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Takes whiteouts out of opaque directories, where they have nothing to hide: overlayfs lists what
    /// is in such a directory as it is. An opaque root hides nothing, so its whiteouts do.
    pub(super) fn drop_idle_whiteouts(&mut self) {
        let hides = |node: &Node| {
            matches!(
                node.kind,
                NodeKind::Whiteout | NodeKind::CharacterDevice { major: 0, minor: 0 }
            )
        };
        let whiteouts: Vec<bool> = self.nodes.iter().map(hides).collect();
        for node in self.nodes.iter_mut().skip(1) {
            if let NodeKind::Directory(directory) = &mut node.kind
                && directory.opaque
            {
                directory.entries.retain(|_, id| whiteouts.get(id.0) == Some(&false));
            }
        }
    }

    /// Counts bytes that will be kept in memory until the image is whole.
    pub(super) fn charge(&mut self, bytes: u64) -> Result<(), UnpackError> {
        self.metadata_bytes = self.metadata_bytes.saturating_add(bytes);
        let limit = self.limits.metadata_bytes;
        if self.metadata_bytes > limit {
            return Err(UnpackError::Limit { what: Limited::MetadataBytes, limit });
        }
        Ok(())
    }

    /// Counts names that were walked along.
    fn walked(&mut self, steps: usize) -> Result<(), UnpackError> {
        self.steps = self.steps.saturating_add(steps as u64);
        let limit = self.limits.steps;
        if self.steps > limit {
            return Err(UnpackError::Limit { what: Limited::Steps, limit });
        }
        Ok(())
    }

    /// Puts `kind` at a path.
    pub(super) fn put(
        &mut self,
        components: &[&[u8]],
        kind: NodeKind,
        attributes: Attributes,
    ) -> Result<(), Failure> {
        let is_directory = matches!(kind, NodeKind::Directory(_));
        self.charge(attributes.cost())?;
        let Some((name, parents)) = components.split_last() else {
            return match self.nodes.first_mut() {
                Some(root) if is_directory => {
                    root.attributes = attributes;
                    Ok(())
                }
                _ => Err(EntryError::ReplacesRoot.into()),
            };
        };
        let parent = self.directory_at(parents)?;
        let existing = self.child(parent, name);
        let mut opaque = false;
        if let Some(node) = existing.and_then(|id| self.nodes.get_mut(id.0)) {
            match node.kind {
                NodeKind::Directory(_) if is_directory => {
                    node.attributes = attributes;
                    return Ok(());
                }
                NodeKind::Whiteout => opaque = true,
                _ => {}
            }
        }
        let mut node = Node { kind, attributes };
        if let NodeKind::Directory(directory) = &mut node.kind {
            directory.parent = parent;
            directory.opaque |= opaque;
        }
        let id = self.add(node)?;
        Ok(self.name(parent, name, id)?)
    }

    /// Gives what is at `target` another name.
    pub(super) fn link(&mut self, components: &[&[u8]], target: &[&[u8]]) -> Result<(), Failure> {
        let Some((target_name, target_parents)) = target.split_last() else {
            return Err(EntryError::LinkToDirectory.into());
        };
        let found = self
            .find_directory(target_parents)?
            .and_then(|parent| self.child(parent, target_name))
            .and_then(|id| Some((id, self.node(id)?)));
        let id = match found {
            None => return Err(EntryError::LinkTargetMissing.into()),
            Some((id, node)) => match node.kind {
                NodeKind::Whiteout => return Err(EntryError::LinkTargetMissing.into()),
                NodeKind::Directory(_) => return Err(EntryError::LinkToDirectory.into()),
                _ => id,
            },
        };
        let Some((name, parents)) = components.split_last() else {
            return Err(EntryError::ReplacesRoot.into());
        };
        let parent = self.directory_at(parents)?;
        Ok(self.name(parent, name, id)?)
    }

    /// Hides `name` of lower layers.
    pub(super) fn whiteout(&mut self, directory: &[&[u8]], name: &[u8]) -> Result<(), Failure> {
        let parent = self.directory_at(directory)?;
        let existing = self.child(parent, name).and_then(|id| self.nodes.get_mut(id.0));
        match existing.map(|node| &mut node.kind) {
            Some(NodeKind::Directory(own)) => own.opaque = true,
            Some(_) => {}
            None => {
                let id =
                    self.add(Node { kind: NodeKind::Whiteout, attributes: Attributes::default() })?;
                self.name(parent, name, id)?;
            }
        }
        Ok(())
    }

    /// Hides all that lower layers have in a directory.
    pub(super) fn opaque(&mut self, directory: &[&[u8]]) -> Result<(), Failure> {
        let id = self.directory_at(directory)?;
        if let Some(directory) = self.directory_mut(id) {
            directory.opaque = true;
        }
        Ok(())
    }

    /// Puts what an upper layer has under a name over what is there. Gives the directory to go on with, of one.
    pub(super) fn lay(
        &mut self,
        parent: NodeId,
        name: &[u8],
        mut node: Node,
    ) -> Result<NodeId, UnpackError> {
        let existing = self.child(parent, name);
        if let NodeKind::Directory(directory) = &mut node.kind {
            directory.parent = parent;
            // What it hides is gone: nothing lies below a merged tree.
            if !std::mem::take(&mut directory.opaque)
                && let Some(id) = existing
                && let Some(Node { kind: NodeKind::Directory(_), attributes }) =
                    self.nodes.get_mut(id.0)
            {
                *attributes = node.attributes;
                return Ok(id);
            }
        }
        self.charge(node.attributes.cost())?;
        let id = self.add(node)?;
        self.name(parent, name, id)?;
        Ok(id)
    }

    /// Takes away what lower layers have under a name.
    pub(super) fn hide(&mut self, parent: NodeId, name: &[u8]) {
        if let Some(directory) = self.directory_mut(parent) {
            directory.entries.remove(name);
        }
    }

    /// What the root has, as an upper layer says it.
    pub(super) fn lay_root(&mut self, attributes: Attributes) {
        if let Some(root) = self.nodes.first_mut() {
            root.attributes = attributes;
        }
    }

    fn add(&mut self, node: Node) -> Result<NodeId, UnpackError> {
        let limit = self.limits.entries;
        if self.nodes.len() as u64 >= limit {
            return Err(UnpackError::Limit { what: Limited::Entries, limit });
        }
        let own = match &node.kind {
            NodeKind::SymbolicLink(target) => target.len(),
            _ => 0,
        };
        self.charge(NODE_BYTES + own as u64)?;
        self.nodes.push(node);
        Ok(NodeId(self.nodes.len() - 1))
    }

    /// Gives an inode a name, in place of whatever has it.
    pub(super) fn name(
        &mut self,
        parent: NodeId,
        name: &[u8],
        id: NodeId,
    ) -> Result<(), UnpackError> {
        self.charge(NODE_BYTES + name.len() as u64)?;
        if let Some(directory) = self.directory_mut(parent) {
            directory.entries.insert(name.into(), id);
        }
        Ok(())
    }

    fn child(&self, parent: NodeId, name: &[u8]) -> Option<NodeId> {
        match &self.node(parent)?.kind {
            NodeKind::Directory(directory) => directory.entries.get(name).copied(),
            _ => None,
        }
    }

    fn directory_mut(&mut self, id: NodeId) -> Option<&mut Directory> {
        match &mut self.nodes.get_mut(id.0)?.kind {
            NodeKind::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    /// The directory at a path; made where it is not there.
    fn directory_at(&mut self, components: &[&[u8]]) -> Result<NodeId, Failure> {
        let mut walk = Walk::new(self, components)?;
        while let Some(name) = walk.next_name(self) {
            let opaque = match self.child(walk.at, &name) {
                Some(id) if walk.enter(self, id)? => continue,
                existing => existing.is_some(),
            };
            let mut node = implied_directory(walk.at);
            if let NodeKind::Directory(directory) = &mut node.kind {
                directory.opaque = opaque;
            }
            let id = self.add(node)?;
            self.name(walk.at, &name, id)?;
            walk.at = id;
        }
        Ok(walk.at)
    }

    fn find_directory(&mut self, components: &[&[u8]]) -> Result<Option<NodeId>, Failure> {
        let mut walk = Walk::new(self, components)?;
        while let Some(name) = walk.next_name(self) {
            match self.child(walk.at, &name) {
                Some(id) if walk.enter(self, id)? => {}
                _ => return Ok(None),
            }
        }
        Ok(Some(walk.at))
    }
}

/// A walk down a path, through symbolic links of the same layer, never above the root.
struct Walk {
    at: NodeId,
    /// The last is the next.
    pending: Vec<Vec<u8>>,
    links: usize,
}

impl Walk {
    fn new(tree: &mut Tree, components: &[&[u8]]) -> Result<Self, UnpackError> {
        tree.walked(components.len())?;
        let pending = components.iter().rev().map(|name| name.to_vec()).collect();
        Ok(Self { at: ROOT, pending, links: 0 })
    }

    fn next_name(&mut self, tree: &Tree) -> Option<Vec<u8>> {
        while let Some(name) = self.pending.pop() {
            if name != b".." {
                return Some(name);
            }
            if let Some(NodeKind::Directory(directory)) = tree.node(self.at).map(|node| &node.kind)
            {
                self.at = directory.parent;
            }
        }
        None
    }

    /// Goes into a directory, or on where a link points. `false` where there is nothing to go into but
    /// a directory may be made.
    fn enter(&mut self, tree: &mut Tree, id: NodeId) -> Result<bool, Failure> {
        let mut steps = 0;
        match tree.node(id).map(|node| &node.kind) {
            Some(NodeKind::Directory(_)) => self.at = id,
            Some(NodeKind::SymbolicLink(target)) => {
                self.links += 1;
                if self.links > MAX_LINKS {
                    return Err(EntryError::TooManyLinks.into());
                }
                if target.starts_with(b"/") {
                    self.at = ROOT;
                }
                for name in target.split(|&byte| byte == b'/').rev() {
                    steps += 1;
                    match name {
                        b"" | b"." => {}
                        name if name.len() > 255 => return Err(EntryError::NameTooLong.into()),
                        name => self.pending.push(name.to_vec()),
                    }
                }
            }
            Some(NodeKind::Whiteout) | None => return Ok(false),
            Some(_) => return Err(EntryError::NotADirectory.into()),
        }
        tree.walked(steps)?;
        Ok(true)
    }
}

/// An entry that has no place, or a layer that is too large.
#[derive(Debug)]
pub(super) enum Failure {
    Entry(EntryError),
    Layer(UnpackError),
}

impl From<EntryError> for Failure {
    fn from(error: EntryError) -> Self {
        Self::Entry(error)
    }
}

impl From<UnpackError> for Failure {
    fn from(error: UnpackError) -> Self {
        Self::Layer(error)
    }
}

impl Directory {
    /// An empty one.
    pub(super) fn new(opaque: bool) -> Self {
        Self { entries: BTreeMap::new(), parent: ROOT, opaque }
    }
}

impl NodeId {
    /// Its index.
    pub(super) fn index(self) -> usize {
        self.0
    }
}

fn implied_directory(parent: NodeId) -> Node {
    Node {
        kind: NodeKind::Directory(Directory { entries: BTreeMap::new(), parent, opaque: false }),
        attributes: Attributes { mode: 0o755, ..Attributes::default() },
    }
}
