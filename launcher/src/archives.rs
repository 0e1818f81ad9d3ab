//! `load` and `save`: images from an archive to the store, and from the store to an archive.
//!
//! Owns: files that are there whole or not at all. Never does: parse a layer; a process of its own does.

mod spool;

use crate::cli::archive::{LoadArgs, SaveArgs};
use crate::cli::images::RegistryArgs;
use crate::error::{Explain, Failure, say};
use crate::images::meant_by;
use crate::jail::{self, Reach};
use crate::pull::{self, Means};
use crate::registries;
use image::manifest::Platform;
use image::reference::name::ImageName;
use image::{ArchivedImage, SaveError, Store, archived, inventory};
use spool::Spool;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

/// Why nothing was loaded, or saved.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A terminal where an archive belongs.
    #[error("{0} is a terminal, and an archive is no text")]
    Terminal(&'static str),
    /// Nobody could ask for it.
    #[error("{0:?} has an image that it gives no name")]
    NoName(PathBuf),
    /// One name for several.
    #[error("{path:?} has {count} images, and --name names one")]
    Several {
        /// The archive.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// It cannot be opened.
    #[error("cannot open {0:?}")]
    Open(PathBuf, #[source] io::Error),
    /// It cannot be read to its end, or kept meanwhile.
    #[error("cannot keep the archive that comes")]
    Spool(#[source] io::Error),
    /// The file cannot be written.
    #[error("cannot write {0:?}")]
    Write(PathBuf, #[source] io::Error),
}

impl Explain for ArchiveError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Terminal("standard input") => Some("--input FILE, or < FILE".into()),
            Self::Terminal(_) => Some("--output FILE, or > FILE".into()),
            Self::NoName(_) => Some("--name NAME gives it one".into()),
            Self::Several { .. } => Some("leave --name out: each has its own".into()),
            Self::Open(..) | Self::Spool(_) | Self::Write(..) => None,
        }
    }
}

impl Explain for SaveError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing(_) | Self::Recipe(..) | Self::Digest { .. } => {
                Some("remove the image (cofferdam rmi), and pull or load it again".into())
            }
            Self::Store(error) => error.hint(),
            Self::Write(_) => None,
        }
    }
}

/// `cofferdam load`; gives what to print on standard output: what was loaded, a line each.
///
/// # Errors
/// At the first image that is not to be had.
pub fn load(args: &LoadArgs) -> Result<String, Failure> {
    let policy = registries::policy(&RegistryArgs {
        policy: args.policy.clone(),
        ..RegistryArgs::default()
    })?;
    let name: Option<ImageName> = match &args.name {
        Some(name) => Some(name.parse().map_err(image::reference::ReferenceError::from)?),
        None => None,
    };
    let stream = stream(args.input.as_deref())?;
    jail::confine_launcher(false).map_err(Failure::plain)?;
    // Made first, so that it is there to be left open. Where it cannot be, the store says so.
    let _ = std::fs::create_dir_all(&args.state_dir);
    let mut reach = Reach::default();
    reach.read.extend(args.input.clone().filter(|_| stream.is_none()));
    reach.execute.push("/proc/self/exe".into());
    reach.write.push(args.state_dir.clone());
    reach.devices.push("/dev/null".into());
    jail::close_launcher_in(&reach).map_err(Failure::plain)?;
    pull::end_on_signals("interrupted: what was loaded so far stays")?;

    let store = Store::open(&args.state_dir)?;
    let spool = stream.map(|stream| Spool::of(&args.state_dir, stream)).transpose();
    let spool = spool.map_err(ArchiveError::Spool)?;
    let path = spool.as_ref().map(Spool::path).or(args.input.as_deref()).unwrap_or(Path::new("-"));
    let images = named(path, name)?;
    let means = Means { policy, registries: None };
    let mut loaded = String::new();
    for ArchivedImage { reference, names } in &images {
        for name in names {
            pull::keep(reference, name, &store, &means, args.quiet)?;
            let _ = writeln!(loaded, "{name}");
            say(&format!("{} is loaded", name.familiar()));
        }
    }
    Ok(loaded)
}

/// What can be read but once: standard input, or a file that is a pipe.
fn stream(input: Option<&Path>) -> Result<Option<Box<dyn Read>>, Failure> {
    let Some(path) = input else {
        let input = io::stdin();
        return if input.is_terminal() {
            Err(ArchiveError::Terminal("standard input").into())
        } else {
            Ok(Some(Box::new(input)))
        };
    };
    // What is not there says so where it is read.
    if std::fs::metadata(path).map_or(true, |it| it.is_file() || it.is_dir()) {
        return Ok(None);
    }
    let opened = File::open(path).map_err(|error| ArchiveError::Open(path.to_owned(), error))?;
    Ok(Some(Box::new(opened)))
}

/// The images of an archive, each with a name.
fn named(path: &Path, name: Option<ImageName>) -> Result<Vec<ArchivedImage>, Failure> {
    let mut images = archived(path).map_err(Failure::plain)?;
    if let Some(name) = name {
        let count = images.len();
        let [image] = images.as_mut_slice() else {
            return Err(ArchiveError::Several { path: path.to_owned(), count }.into());
        };
        image.names = vec![name];
    }
    if images.iter().any(|image| image.names.is_empty()) {
        return Err(ArchiveError::NoName(path.to_owned()).into());
    }
    Ok(images)
}

/// `cofferdam save`.
///
/// # Errors
/// Where an image is not there, or cannot be written: a file that was named is then as it was.
pub fn save(args: &SaveArgs) -> Result<(), Failure> {
    if args.output.is_none() && io::stdout().is_terminal() {
        return Err(ArchiveError::Terminal("standard output").into());
    }
    let store = Store::open(&args.state_dir)?;
    let all = inventory(&store, &Platform::native())?;
    let mut images = Vec::new();
    for wanted in &args.images {
        let meant = meant_by(wanted, &all);
        if meant.is_empty() {
            return Err(crate::images::ImagesError::NotFound(wanted.clone()).into());
        }
        images.extend(meant.into_iter().cloned());
    }
    let Some(path) = &args.output else {
        let mut out = BufWriter::new(io::stdout());
        image::save(&store, &images, &mut out)?;
        return out.flush().map_err(Failure::plain);
    };
    let cannot = |error| ArchiveError::Write(path.clone(), error);
    let unfinished = beside(path);
    let file = File::create(&unfinished).map_err(cannot)?;
    let saved = image::save(&store, &images, BufWriter::new(&file))
        .map_err(Failure::from)
        .and_then(|()| Ok(file.sync_data().map_err(cannot)?))
        .and_then(|()| Ok(std::fs::rename(&unfinished, path).map_err(cannot)?));
    if saved.is_err() {
        let _ = std::fs::remove_file(&unfinished);
    }
    saved
}

/// A file that nobody else writes, in the same directory.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    path.with_file_name(format!(".{name}.{}.part", std::process::id()))
}
