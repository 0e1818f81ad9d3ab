//! `volume create|ls|inspect|rm|prune`.

use super::{Listed, VolumeError, Volumes};
use crate::cli::volume::{
    VolumeArgs, VolumeCommand, VolumeCreateArgs, VolumeInspectArgs, VolumeLsArgs, VolumePruneArgs,
    VolumeRmArgs,
};
use crate::error::{Failure, say};
use crate::plan::disk_size;
use crate::plan::volume::VolumeName;
use crate::pull::progress::bytes;
use crate::sandbox::random_word;
use crate::table::{ago, table};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Does it; gives what to print on standard output.
///
/// # Errors
/// At the first volume that is not there, or cannot be used.
pub fn main(args: &VolumeArgs) -> Result<String, Failure> {
    match &args.command {
        VolumeCommand::Create(args) => create(args),
        VolumeCommand::Ls(args) => ls(args),
        VolumeCommand::Inspect(args) => inspect(args),
        VolumeCommand::Rm(args) => rm(args),
        VolumeCommand::Prune(args) => prune(args),
    }
}

fn create(args: &VolumeCreateArgs) -> Result<String, Failure> {
    let layout = disk_size::resolve("--size", args.size.as_deref())?;
    let name = match &args.name {
        Some(name) => name.parse::<VolumeName>()?,
        None => random_word()?.parse()?,
    };
    let volumes = Volumes::open(&args.state_dir)?;
    if !volumes.create(&name, &layout)? {
        // As Docker has it, that is well, but for one that is known to be another.
        let known = volumes.look_at(&name)?.record.bytes;
        if args.size.is_some() && known != layout.bytes() {
            return Err(VolumeError::OtherSize { name, bytes: known }.into());
        }
    }
    Ok(format!("{name}\n"))
}

fn ls(args: &VolumeLsArgs) -> Result<String, Failure> {
    let (listed, unreadable) = Volumes::open(&args.state_dir)?.list()?;
    unreadable.into_iter().for_each(|error| say(&Failure::from(error).message()));
    if args.json {
        return Ok(format!("{:#}\n", json!(listed.iter().map(summary).collect::<Vec<_>>())));
    }
    if args.quiet {
        return Ok(listed.iter().map(|volume| format!("{}\n", volume.name)).collect());
    }
    let heading = ["NAME", "USED", "SIZE", "IN USE", "CREATED"].map(str::to_owned);
    let row = |volume: &Listed| {
        let created = UNIX_EPOCH + Duration::from_millis(volume.record.created_ms);
        let age = SystemTime::now().duration_since(created).unwrap_or_default();
        [
            volume.name.to_string(),
            bytes(volume.used_bytes),
            bytes(volume.record.bytes),
            if volume.in_use { "yes" } else { "no" }.to_owned(),
            ago(age),
        ]
    };
    Ok(table(&std::iter::once(heading).chain(listed.iter().map(row)).collect::<Vec<_>>()))
}

fn summary(volume: &Listed) -> Value {
    json!({
        "name": volume.name,
        "created_ms": volume.record.created_ms,
        "bytes": volume.record.bytes,
        "used_bytes": volume.used_bytes,
        "in_use": volume.in_use,
    })
}

fn inspect(args: &VolumeInspectArgs) -> Result<String, Failure> {
    let volumes = Volumes::open(&args.state_dir)?;
    let mut shown = Vec::new();
    for name in &args.names {
        shown.push(summary(&volumes.look_at(&called(name)?)?));
    }
    Ok(format!("{:#}\n", json!(shown)))
}

fn rm(args: &VolumeRmArgs) -> Result<String, Failure> {
    let volumes = Volumes::open(&args.state_dir)?;
    volumes.sweep()?;
    let mut done = String::new();
    for name in &args.names {
        match called(name).and_then(|name| volumes.remove(&name)) {
            Ok(()) => {
                let _ = writeln!(done, "{}", crate::error::clean(name));
            }
            Err(VolumeError::NotFound(_)) if args.force => {}
            Err(error) => {
                // What was removed is said all the same.
                crate::command::print(&done)?;
                return Err(error.into());
            }
        }
    }
    Ok(done)
}

fn prune(args: &VolumePruneArgs) -> Result<String, Failure> {
    let volumes = Volumes::open(&args.state_dir)?;
    volumes.sweep()?;
    let (listed, unreadable) = volumes.list()?;
    unreadable.into_iter().for_each(|error| say(&Failure::from(error).message()));
    let (mut done, mut freed) = (String::new(), 0);
    for volume in listed.iter().filter(|volume| !volume.in_use) {
        match volumes.remove(&volume.name) {
            Ok(()) => {
                let _ = writeln!(done, "{}", volume.name);
                freed += volume.used_bytes;
            }
            // Somebody has taken, or removed, it meanwhile.
            Err(VolumeError::InUse(_) | VolumeError::NotFound(_)) => {}
            Err(error) => say(&Failure::from(error).message()),
        }
    }
    let _ = writeln!(done, "removed: {}", bytes(freed));
    Ok(done)
}

/// A name as somebody typed it. One that no volume can have is none that is there.
fn called(name: &str) -> Result<VolumeName, VolumeError> {
    name.parse().map_err(|_| VolumeError::NotFound(name.to_owned()))
}
