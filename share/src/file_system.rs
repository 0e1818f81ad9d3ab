//! The guest's requests, as the library reads them, each handed on.

use crate::contents::reopen;
use crate::inodes::TOP;
use crate::listing::{Add, Wanted};
use crate::names::masked;
use crate::sys;
use crate::tree::{Tree, stat_of};
use fuse_backend_rs::abi::fuse_abi::{
    CreateIn, FOPEN_IN_KILL_SUIDGID, FsOptions, OpenOptions, SetattrValid, WRITE_KILL_PRIV,
};
use fuse_backend_rs::api::filesystem::{
    Context, DirEntry, Entry, FileSystem, GetxattrReply, ListxattrReply, ZeroCopyReader,
    ZeroCopyWriter,
};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

/// What is wanted of the guest's kernel, where it can do it. Locks are its own affair: nobody outside sees them.
const WANTED: FsOptions = FsOptions::from_bits_truncate(
    FsOptions::ASYNC_READ.bits()
        | FsOptions::BIG_WRITES.bits()
        | FsOptions::MAX_PAGES.bits()
        | FsOptions::AUTO_INVAL_DATA.bits()
        | FsOptions::DO_READDIRPLUS.bits()
        | FsOptions::READDIRPLUS_AUTO.bits()
        | FsOptions::PARALLEL_DIROPS.bits()
        | FsOptions::ASYNC_DIO.bits()
        | FsOptions::HANDLE_KILLPRIV_V2.bits(),
);

fn maker(context: &Context) -> (u32, u32) {
    (context.uid, context.gid)
}

impl FileSystem for Tree {
    type Inode = u64;
    type Handle = u64;

    fn init(&self, _capable: FsOptions) -> io::Result<FsOptions> {
        self.close_all();
        Ok(WANTED)
    }

    fn destroy(&self) {
        self.close_all();
    }

    fn lookup(&self, _: &Context, parent: u64, name: &CStr) -> io::Result<Entry> {
        if parent == TOP {
            let node = self.share_named(name)?;
            return Ok(self.entry(&node, &stat_of(&node.file)?));
        }
        Ok(self.look_up(&self.node(parent)?, name)?.1)
    }

    fn forget(&self, _: &Context, inode: u64, count: u64) {
        self.inodes.forget(inode, count);
    }

    fn getattr(
        &self,
        _: &Context,
        inode: u64,
        handle: Option<u64>,
    ) -> io::Result<(libc::stat64, Duration)> {
        Ok(self.attributes(inode, handle)?)
    }

    fn setattr(
        &self,
        _: &Context,
        inode: u64,
        attributes: libc::stat64,
        handle: Option<u64>,
        which: SetattrValid,
    ) -> io::Result<(libc::stat64, Duration)> {
        Ok(self.set_attributes(inode, &attributes, handle, which)?)
    }

    fn readlink(&self, _: &Context, inode: u64) -> io::Result<Vec<u8>> {
        Ok(self.target(inode)?)
    }

    fn symlink(
        &self,
        context: &Context,
        target: &CStr,
        parent: u64,
        name: &CStr,
    ) -> io::Result<Entry> {
        Ok(self.make_link(parent, name, maker(context), target)?)
    }

    fn mknod(
        &self,
        context: &Context,
        inode: u64,
        name: &CStr,
        mode: u32,
        _device: u32,
        mask: u32,
    ) -> io::Result<Entry> {
        Ok(self.make_node(inode, name, maker(context), masked(mode, mask))?)
    }

    fn mkdir(
        &self,
        context: &Context,
        parent: u64,
        name: &CStr,
        mode: u32,
        mask: u32,
    ) -> io::Result<Entry> {
        Ok(self.make_directory(parent, name, maker(context), masked(mode, mask))?)
    }

    fn unlink(&self, _: &Context, parent: u64, name: &CStr) -> io::Result<()> {
        Ok(self.remove(parent, name, false)?)
    }

    fn rmdir(&self, _: &Context, parent: u64, name: &CStr) -> io::Result<()> {
        Ok(self.remove(parent, name, true)?)
    }

    fn rename(
        &self,
        _: &Context,
        old_parent: u64,
        old: &CStr,
        new_parent: u64,
        new: &CStr,
        flags: u32,
    ) -> io::Result<()> {
        Ok(Tree::rename(self, (old_parent, old), (new_parent, new), flags)?)
    }

    fn link(&self, _: &Context, inode: u64, parent: u64, name: &CStr) -> io::Result<Entry> {
        Ok(self.link_again(inode, parent, name)?)
    }

    fn open(
        &self,
        _: &Context,
        inode: u64,
        flags: u32,
        _fuse_flags: u32,
    ) -> io::Result<(Option<u64>, OpenOptions, Option<u32>)> {
        let handle = Tree::open(self, inode, flags)?;
        Ok((Some(handle), OpenOptions::empty(), None))
    }

    fn create(
        &self,
        context: &Context,
        parent: u64,
        name: &CStr,
        how: CreateIn,
    ) -> io::Result<(Entry, Option<u64>, OpenOptions, Option<u32>)> {
        let mode = masked(how.mode, how.umask);
        let (entry, handle) = Tree::create(self, parent, name, maker(context), (how.flags, mode))?;
        if how.fuse_flags & FOPEN_IN_KILL_SUIDGID != 0 {
            self.drop_privileges(&self.node(entry.inode)?)?;
        }
        Ok((entry, Some(handle), OpenOptions::empty(), None))
    }

    fn read(
        &self,
        _: &Context,
        inode: u64,
        handle: u64,
        target: &mut dyn ZeroCopyWriter,
        size: u32,
        offset: u64,
        _owner: Option<u64>,
        _flags: u32,
    ) -> io::Result<usize> {
        let open = self.opened(handle, inode)?;
        target.write_from(&mut *sys::lent(&open.file).own, size as usize, offset)
    }

    fn write(
        &self,
        _: &Context,
        inode: u64,
        handle: u64,
        source: &mut dyn ZeroCopyReader,
        size: u32,
        offset: u64,
        _owner: Option<u64>,
        delayed: bool,
        _flags: u32,
        fuse_flags: u32,
    ) -> io::Result<usize> {
        let open = self.opened(handle, inode)?;
        if fuse_flags & WRITE_KILL_PRIV != 0 {
            self.drop_privileges(&open.node)?;
        }
        if delayed && open.appends {
            // A page that was mapped has its place, whatever it was opened for.
            let mut file = File::from(reopen(&open.node, OFlags::WRONLY)?);
            return source.read_to(&mut file, size as usize, offset);
        }
        source.read_to(&mut *sys::lent(&open.file).own, size as usize, offset)
    }

    fn fsync(&self, _: &Context, inode: u64, only_data: bool, handle: u64) -> io::Result<()> {
        Ok(self.sync(inode, handle, only_data)?)
    }

    fn fsyncdir(&self, _: &Context, inode: u64, only_data: bool, handle: u64) -> io::Result<()> {
        Ok(self.sync(inode, handle, only_data)?)
    }

    fn fallocate(
        &self,
        _: &Context,
        inode: u64,
        handle: u64,
        mode: u32,
        offset: u64,
        length: u64,
    ) -> io::Result<()> {
        Ok(self.allocate(inode, handle, mode, (offset, length))?)
    }

    fn release(
        &self,
        _: &Context,
        _inode: u64,
        _flags: u32,
        handle: u64,
        _flush: bool,
        _flock: bool,
        _owner: Option<u64>,
    ) -> io::Result<()> {
        self.close(handle);
        Ok(())
    }

    fn statfs(&self, _: &Context, inode: u64) -> io::Result<libc::statvfs64> {
        if inode == TOP {
            return Ok(sys::no_file_system());
        }
        sys::file_system_of(self.node(inode)?.file.as_fd())
    }

    fn setxattr(
        &self,
        _: &Context,
        inode: u64,
        name: &CStr,
        value: &[u8],
        flags: u32,
    ) -> io::Result<()> {
        Ok(self.set_extended(inode, name, value, flags)?)
    }

    fn getxattr(
        &self,
        _: &Context,
        inode: u64,
        name: &CStr,
        size: u32,
    ) -> io::Result<GetxattrReply> {
        let value = self.extended(inode, name)?;
        match fitting(value.len(), size)? {
            Some(count) => Ok(GetxattrReply::Count(count)),
            None => Ok(GetxattrReply::Value(value)),
        }
    }

    fn listxattr(&self, _: &Context, inode: u64, size: u32) -> io::Result<ListxattrReply> {
        let names = self.all_extended(inode)?;
        match fitting(names.len(), size)? {
            Some(count) => Ok(ListxattrReply::Count(count)),
            None => Ok(ListxattrReply::Names(names)),
        }
    }

    fn removexattr(&self, _: &Context, inode: u64, name: &CStr) -> io::Result<()> {
        Ok(self.remove_extended(inode, name)?)
    }

    fn opendir(
        &self,
        _: &Context,
        inode: u64,
        _flags: u32,
    ) -> io::Result<(Option<u64>, OpenOptions)> {
        Ok((Some(self.open_directory(inode)?), OpenOptions::empty()))
    }

    fn readdir(
        &self,
        _: &Context,
        inode: u64,
        handle: u64,
        size: u32,
        offset: u64,
        add: &mut dyn FnMut(DirEntry<'_>) -> io::Result<usize>,
    ) -> io::Result<()> {
        let each: Add<'_> = &mut |line, _| add(line);
        self.list(inode, handle, Wanted { offset, size, told: false }, each)
    }

    fn readdirplus(
        &self,
        _: &Context,
        inode: u64,
        handle: u64,
        size: u32,
        offset: u64,
        add: &mut dyn FnMut(DirEntry<'_>, Entry) -> io::Result<usize>,
    ) -> io::Result<()> {
        let each: Add<'_> = &mut |line, entry| add(line, entry.unwrap_or_default());
        self.list(inode, handle, Wanted { offset, size, told: true }, each)
    }

    fn releasedir(&self, _: &Context, _inode: u64, _flags: u32, handle: u64) -> io::Result<()> {
        self.close(handle);
        Ok(())
    }

    fn lseek(
        &self,
        _: &Context,
        inode: u64,
        handle: u64,
        offset: u64,
        whence: u32,
    ) -> io::Result<u64> {
        Ok(self.seek(inode, handle, offset, whence)?)
    }
}

/// Whether an answer of this length is wanted: `Some` length where only that was asked for.
///
/// # Errors
/// ERANGE where it is too long.
fn fitting(length: usize, size: u32) -> Result<Option<u32>, Errno> {
    let length = u32::try_from(length).map_err(|_| Errno::RANGE)?;
    match size {
        0 => Ok(Some(length)),
        size if length > size => Err(Errno::RANGE),
        _ => Ok(None),
    }
}
