//! The unpack process: one layer's bytes in, one file-system image out, and nothing else open.

use super::channel::{Channel, ChannelError};
use super::{Role, spawn};
use image::layer::{UnpackError, UnpackJob, UnpackReport};
use image::{UnpackFailure, Unpacker};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// How long a process that has answered, or cannot, may take to end.
const LAST_MOMENTS: Duration = Duration::from_secs(1);

/// Unpacks each layer in a process of its own.
#[derive(Debug, Clone, Copy)]
pub struct JailedUnpacker;

impl Unpacker for JailedUnpacker {
    fn unpack(
        &self,
        job: &UnpackJob,
        input: &File,
        output: &File,
    ) -> Result<UnpackReport, UnpackFailure> {
        let failed =
            |error: Box<dyn std::error::Error + Send + Sync>| UnpackFailure::Process(error);
        let mut child = spawn(Role::Unpack, job, &[input.as_fd(), output.as_fd()])
            .map_err(|error| failed(error.into()))?;
        let answer = child.channel().receive::<Result<UnpackReport, UnpackError>>();
        // It has ended, by itself or now, before its output is believed.
        let end = child.end(LAST_MOMENTS);
        match (answer, end) {
            (Ok((report, _)), _) => Ok(report?),
            (Err(_), Some(status)) => {
                let words = child.last_words().map(|words| format!(": {words}"));
                let words = words.unwrap_or_default();
                Err(failed(format!("it ended without an answer ({status}){words}").into()))
            }
            (Err(error), None) => Err(failed(error.into())),
        }
    }
}

/// What the process does, to its end.
///
/// # Errors
/// Where the launcher cannot be heard or told.
pub fn run(channel: Channel) -> Result<(), ChannelError> {
    let (job, descriptors) = channel.receive()?;
    let Ok([input, output]) = <[OwnedFd; 2]>::try_from(descriptors) else {
        return Err(ChannelError::Closed);
    };
    let report = image::layer::unpack(&job, &File::from(input), &File::from(output));
    channel.send(&report, &[])
}
