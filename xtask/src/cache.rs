//! Results that are slow to make, each in a directory named by the digest of its inputs.
//!
//! A directory appears whole or not at all: it is made beside its place and renamed. Whoever makes one
//! holds the lock of its kind, so that two builds do not make it twice. What nobody asked for in a
//! month goes when something new comes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

use crate::progress;
use crate::workspace::Workspace;

const KEPT_UNUSED: Duration = Duration::from_secs(30 * 24 * 3600);

/// Gives the directory of `kind` for `digest`; where there is none, `make` fills it first.
///
/// # Errors
/// Those of `make` and of the file system.
pub fn entry(
    workspace: &Workspace,
    kind: &str,
    digest: &str,
    make: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let shelf = workspace.cache.join(kind);
    let place = shelf.join(digest);
    if place.is_dir() {
        mark_used(&place)?;
        return Ok(place);
    }
    let _lock = lock(&shelf.join("lock"))?;
    if place.is_dir() {
        return Ok(place);
    }
    // Of a build that was interrupted, for these inputs or others: nobody else is at work in here.
    let unfinished = shelf.join("unfinished");
    remove(&unfinished)?;
    fs::create_dir(&unfinished).with_context(|| format!("cannot make {}", unfinished.display()))?;
    make(&unfinished)?;
    fs::rename(&unfinished, &place)
        .with_context(|| format!("cannot put {} in its place", place.display()))?;
    mark_used(&place)?;
    remove_unused(&shelf)?;
    Ok(place)
}

/// A directory's time says when it was last asked for.
fn mark_used(place: &Path) -> Result<()> {
    let marked = File::open(place).and_then(|directory| directory.set_modified(SystemTime::now()));
    marked.with_context(|| format!("cannot mark {} as used", place.display()))
}

fn remove_unused(shelf: &Path) -> Result<()> {
    for entry in fs::read_dir(shelf)? {
        let entry = entry?;
        let known = entry.metadata()?;
        let is_old = known.modified()?.elapsed().is_ok_and(|age| age > KEPT_UNUSED);
        if known.is_dir() && is_old {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes a directory tree, if it is there.
///
/// # Errors
/// Those of the file system.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Takes the lock that is the file `path`, for as long as what it gives lives.
///
/// # Errors
/// Those of the file system.
pub fn lock(path: &Path) -> Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let file = File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
    if file.try_lock().is_err() {
        progress::say(&format!("waiting for another build, which holds {}", path.display()));
        file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests;
