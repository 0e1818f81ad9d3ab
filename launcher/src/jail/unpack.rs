//! The unpack process: one layer's bytes in, one file-system image out; or the images of an image's layers in, and their
//! merged tree out. Nothing else is open.

use super::channel::{Channel, ChannelError};
use super::{Role, spawn};
use image::layer::{MergeJob, UnpackError, UnpackJob, UnpackReport, merge};
use image::{UnpackFailure, Unpacker};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// How long a process that has answered, or cannot, may take to end.
const LAST_MOMENTS: Duration = Duration::from_secs(1);

/// What a process is to do with the files that come with it, the last of which is written.
#[derive(Debug, Serialize, Deserialize)]
enum Job {
    Unpack(UnpackJob),
    Merge(MergeJob),
}

/// Does each job in a process of its own.
#[derive(Debug, Clone, Copy)]
pub struct JailedUnpacker;

impl Unpacker for JailedUnpacker {
    fn unpack(
        &self,
        job: &UnpackJob,
        input: &File,
        output: &File,
    ) -> Result<UnpackReport, UnpackFailure> {
        done(&Job::Unpack(job.clone()), &[input.as_fd(), output.as_fd()])
    }

    fn merge(&self, job: &MergeJob, layers: &[&File], output: &File) -> Result<u64, UnpackFailure> {
        let files: Vec<_> = layers.iter().copied().chain([output]).map(AsFd::as_fd).collect();
        done(&Job::Merge(job.clone()), &files)
    }
}

/// Has a process do a job.
fn done<R: DeserializeOwned>(job: &Job, files: &[BorrowedFd<'_>]) -> Result<R, UnpackFailure> {
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| UnpackFailure::Process(error);
    let mut child = spawn(Role::Unpack, job, files).map_err(|error| failed(error.into()))?;
    let answer = child.channel().receive::<Result<R, UnpackError>>();
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

/// What the process does, to its end.
///
/// # Errors
/// Where the launcher cannot be heard or told.
pub fn run(channel: Channel) -> Result<(), ChannelError> {
    let (job, descriptors): (Job, Vec<OwnedFd>) = channel.receive()?;
    let files: Vec<File> = descriptors.into_iter().map(File::from).collect();
    let Some((output, inputs)) = files.split_last() else { return Err(ChannelError::Closed) };
    match (job, inputs) {
        (Job::Unpack(job), [input]) => {
            channel.send(&image::layer::unpack(&job, input, output), &[])
        }
        (Job::Merge(job), layers) => channel.send(&merge(&job, layers, output), &[]),
        (Job::Unpack(_), _) => Err(ChannelError::Closed),
    }
}
