//! The files that the guest knows, each by a number that it was given.
//!
//! Each is held open, to be looked at and no more (`O_PATH`), as long as there are descriptors for it; of the others it
//! is known where they were found last, and one that is not there any more is stale: the guest's kernel looks it up
//! again then. So a guest may know as many files as its memory holds, and this process has a limit.

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::collections::{HashMap, VecDeque};
use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The number of the directory in which each share stands under its own.
pub(crate) const TOP: u64 = 1;
/// The most files that a guest may know.
const MOST_KNOWN: usize = 1 << 21;
/// How a file is opened to be looked at.
pub(crate) const LOOK: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What makes two findings one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    share: usize,
    device: u64,
    inode: u64,
}

impl Identity {
    pub fn new(share: usize, stat: &Stat) -> Self {
        Self { share, device: stat.st_dev, inode: stat.st_ino }
    }
}

/// A file that the guest knows, open to be looked at.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub number: u64,
    pub share: usize,
    pub identity: Identity,
    pub kind: FileType,
    pub file: Arc<OwnedFd>,
}

#[derive(Debug)]
struct Known {
    identity: Identity,
    kind: FileType,
    /// Where it was found last; none of a share's root.
    place: Option<(u64, CString)>,
    /// How often the guest was told of it, and has not forgotten it again.
    lookups: u64,
    /// How often it is open for more than to be looked at: then it is not closed here either.
    uses: u32,
    file: Option<Arc<OwnedFd>>,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Inodes(Mutex<Table>);

#[derive(Debug)]
struct Table {
    known: HashMap<u64, Known>,
    numbers: HashMap<Identity, u64>,
    /// Those that are open, longest first; one that is not any more may still stand in it.
    open: VecDeque<u64>,
    most_open: usize,
    next: u64,
}

impl Inodes {
    /// None; at most so many will be open.
    pub fn new(most_open: usize) -> Self {
        Self(Mutex::new(Table {
            known: HashMap::new(),
            numbers: HashMap::new(),
            open: VecDeque::new(),
            most_open: most_open.max(1),
            next: TOP + 1,
        }))
    }

    /// No step under the lock leaves half of a change, whatever panics.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the root of a share, which is known for good. Gives its number.
    pub fn add_root(&self, share: usize, file: OwnedFd, stat: &Stat) -> u64 {
        let mut table = self.lock();
        let known = Known {
            identity: Identity::new(share, stat),
            kind: FileType::from_raw_mode(stat.st_mode),
            place: None,
            lookups: u64::MAX,
            uses: 1,
            file: Some(Arc::new(file)),
        };
        table.add(known)
    }

    /// The guest is told of a file that was found in a directory.
    ///
    /// # Errors
    /// ENFILE where it knows too many.
    pub fn found(
        &self,
        parent: &Node,
        name: &CStr,
        file: OwnedFd,
        stat: &Stat,
    ) -> Result<Node, Errno> {
        let identity = Identity::new(parent.share, stat);
        let kind = FileType::from_raw_mode(stat.st_mode);
        let place = Some((parent.number, name.to_owned()));
        let mut table = self.lock();
        // What has another kind is another file, by whose end a number of the file system's became free.
        let number = table.numbers.get(&identity).copied();
        let number =
            number.filter(|number| table.known.get(number).is_some_and(|it| it.kind == kind));
        if let Some(number) = number {
            if let Some(known) = table.known.get_mut(&number) {
                known.lookups = known.lookups.saturating_add(1);
                // A share's root stays one, also where it is found in another directory.
                known.place = known.place.take().and(place);
                if known.file.is_none() {
                    known.file = Some(Arc::new(file));
                    table.opened(number);
                }
            }
            return table.node(number);
        }
        if table.known.len() >= MOST_KNOWN {
            return Err(Errno::NFILE);
        }
        let file = Some(Arc::new(file));
        let number = table.add(Known { identity, kind, place, lookups: 1, uses: 0, file });
        table.node(number)
    }

    /// A file by its number.
    ///
    /// # Errors
    /// ESTALE of one that the guest was not told of, or that is not where it was any more.
    pub fn node(&self, number: u64) -> Result<Node, Errno> {
        self.lock().node(number)
    }

    /// The guest has forgotten it, so many times.
    pub fn forget(&self, number: u64, count: u64) {
        let mut table = self.lock();
        let Some(known) = table.known.get_mut(&number) else { return };
        if known.place.is_none() {
            return;
        }
        known.lookups = known.lookups.saturating_sub(count);
        if known.lookups == 0 {
            let identity = known.identity;
            table.known.remove(&number);
            if table.numbers.get(&identity) == Some(&number) {
                table.numbers.remove(&identity);
            }
        }
    }

    /// It is at another place from now on.
    pub fn moved(&self, identity: Identity, parent: u64, name: &CStr) {
        let mut table = self.lock();
        let number = table.numbers.get(&identity).copied();
        if let Some(known) = number.and_then(|number| table.known.get_mut(&number)) {
            known.place = known.place.take().and(Some((parent, name.to_owned())));
        }
    }

    /// It is open for more than to be looked at, once more or once less.
    pub fn used(&self, number: u64, more: bool) {
        if let Some(known) = self.lock().known.get_mut(&number) {
            known.uses =
                if more { known.uses.saturating_add(1) } else { known.uses.saturating_sub(1) };
        }
    }

    /// How many are known, and how many of them open.
    #[cfg(test)]
    pub fn counts(&self) -> (usize, usize) {
        let table = self.lock();
        let open = table.known.values().filter(|known| known.file.is_some());
        (table.known.len(), open.count())
    }
}

impl Table {
    fn add(&mut self, known: Known) -> u64 {
        let number = self.next;
        self.next += 1;
        self.numbers.insert(known.identity, number);
        self.known.insert(number, known);
        self.opened(number);
        number
    }

    /// One more is open: of those that are open longest, some are not any more.
    fn opened(&mut self, number: u64) {
        self.open.push_back(number);
        let mut tries = self.open.len();
        while self.open.len() > self.most_open && tries > 0 {
            tries -= 1;
            let Some(oldest) = self.open.pop_front() else { return };
            match self.known.get_mut(&oldest) {
                Some(known) if oldest == number || known.uses > 0 => self.open.push_back(oldest),
                Some(known) => known.file = None,
                None => {}
            }
        }
    }

    fn node(&mut self, number: u64) -> Result<Node, Errno> {
        let known = self.known.get(&number).ok_or(Errno::STALE)?;
        let file = match &known.file {
            Some(file) => Arc::clone(file),
            None => self.open_again(number)?,
        };
        let known = self.known.get(&number).ok_or(Errno::STALE)?;
        let Identity { share, .. } = known.identity;
        Ok(Node { number, share, identity: known.identity, kind: known.kind, file })
    }

    /// Opens what was closed here, and on its way those above it that were.
    fn open_again(&mut self, number: u64) -> Result<Arc<OwnedFd>, Errno> {
        let mut closed = vec![number];
        let mut above = loop {
            let last = closed.last().copied().unwrap_or(number);
            let place = self.known.get(&last).and_then(|known| known.place.as_ref());
            let &(parent, _) = place.ok_or(Errno::STALE)?;
            let known = self.known.get(&parent).ok_or(Errno::STALE)?;
            if let Some(file) = &known.file {
                break Arc::clone(file);
            }
            // A guest may have moved a directory into itself, as far as is known here.
            if closed.len() > self.known.len() {
                return Err(Errno::STALE);
            }
            closed.push(parent);
        };
        while let Some(number) = closed.pop() {
            let known = self.known.get_mut(&number).ok_or(Errno::STALE)?;
            let (_, name) = known.place.as_ref().ok_or(Errno::STALE)?;
            let file = rustix::fs::openat(&*above, name, LOOK, Mode::empty());
            let file = file.map_err(|_| Errno::STALE)?;
            let stat = rustix::fs::fstat(&file)?;
            let is_it = Identity::new(known.identity.share, &stat) == known.identity
                && FileType::from_raw_mode(stat.st_mode) == known.kind;
            if !is_it {
                return Err(Errno::STALE);
            }
            above = Arc::new(file);
            known.file = Some(Arc::clone(&above));
            self.opened(number);
        }
        Ok(above)
    }
}
