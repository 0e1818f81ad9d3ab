//! `load` and `save`: images from an archive to the store, and from the store to an archive.
//!
//! Owns: files that are there whole or not at all. Never does: parse a layer; a process of its own does.

use crate::cli::archive::{LoadArgs, SaveArgs};
use crate::cli::images::RegistryArgs;
use crate::error::{Explain, Failure, say};
use crate::images::meant_by;
use crate::jail::{self, Reach};
use crate::pull::{self, Means};
use crate::registries;
use image::manifest::Platform;
use image::reference::name::ImageName;
use image::{ArchivedImage, SaveError, Store, StoredImage, archived, inventory};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Read};
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
    Keep(#[source] io::Error),
}

impl Explain for ArchiveError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Terminal("standard input") => Some("--input FILE, or < FILE".into()),
            Self::Terminal(_) => Some("--output FILE, or > FILE".into()),
            Self::NoName(_) => Some("--name NAME gives it one".into()),
            Self::Several { .. } => Some("leave --name out: each has its own".into()),
            Self::Open(..) | Self::Keep(_) => None,
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
    let input = Input::of(args.input.as_deref())?;
    jail::confine_launcher(false).map_err(Failure::plain)?;
    // Made first, so that it is there to be left open. Where it cannot be, the store says so.
    let _ = std::fs::create_dir_all(&args.state_dir);
    let mut reach = Reach::default();
    if let Input::File(path) = &input {
        reach.read.push(path.to_path_buf());
    }
    reach.execute.push("/proc/self/exe".into());
    reach.write.push(args.state_dir.clone());
    reach.devices.push("/dev/null".into());
    jail::close_launcher_in(&reach).map_err(Failure::plain)?;
    pull::end_on_signals("interrupted: what was loaded so far stays")?;

    let store = Store::open(&args.state_dir)?;
    // What is read but once is kept as long as this is.
    let kept = store.scratch()?;
    let path = match input {
        Input::File(path) => path.to_owned(),
        Input::Stream(mut stream) => {
            io::copy(&mut stream, &mut kept.file()).map_err(ArchiveError::Keep)?;
            kept.path()
        }
    };
    let images = named(&path, name)?;
    let means = Means { policy, registries: None, at_hand: None };
    let mut loaded = String::new();
    for ArchivedImage { reference, names } in &images {
        for name in names {
            pull::keep(reference, name, &store, &means, args.quiet)?;
            let _ = writeln!(loaded, "{name}");
            if !args.quiet {
                say(&format!("{} is loaded", name.familiar()));
            }
        }
    }
    Ok(loaded)
}

/// Where an archive is read from.
enum Input<'a> {
    /// A file, which can be read as often as it takes.
    File(&'a Path),
    /// What can be read but once: standard input, or a pipe.
    Stream(Box<dyn Read>),
}

impl<'a> Input<'a> {
    fn of(path: Option<&'a Path>) -> Result<Self, ArchiveError> {
        let Some(path) = path else {
            let input = io::stdin();
            return if input.is_terminal() {
                Err(ArchiveError::Terminal("standard input"))
            } else {
                Ok(Self::Stream(Box::new(input)))
            };
        };
        // What is not there says so where it is read.
        if std::fs::metadata(path).map_or(true, |it| it.is_file() || it.is_dir()) {
            return Ok(Self::File(path));
        }
        let file = File::open(path).map_err(|error| ArchiveError::Open(path.to_owned(), error))?;
        Ok(Self::Stream(Box::new(file)))
    }
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
    let mut images: Vec<StoredImage> = Vec::new();
    for wanted in &args.images {
        let meant = meant_by(wanted, &all);
        if meant.is_empty() {
            return Err(crate::images::ImagesError::NotFound(wanted.clone()).into());
        }
        let is_new = |it: &&StoredImage| !images.iter().any(|known| known.named == it.named);
        let meant: Vec<_> = meant.into_iter().filter(is_new).cloned().collect();
        images.extend(meant);
    }
    match &args.output {
        Some(path) => image::save_to(&store, &images, path)?,
        None => image::save(&store, &images, BufWriter::new(io::stdout()))?,
    }
    Ok(())
}
