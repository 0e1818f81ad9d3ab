//! The fetch process: speaks to one registry, and has nothing but sockets, the authorities it may trust, and the
//! file that each answer goes into.

use super::channel::{Channel, ChannelError};
use super::{Child, Listen, Reach, Role, spawn};
use image::Fetcher;
use image::fetch::{Access, Ask, FetchError, FetchFailure, Fetched, Line};
use image::layer::Quoted;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long a process that has nothing to say any more may take to end.
const LAST_MOMENTS: Duration = Duration::from_secs(1);
/// How often it is looked whether the answer is still wanted, and still comes.
const PACE: Duration = Duration::from_millis(100);
/// How long nothing may come. The process has shorter limits of its own for most there is to wait for.
const SILENCE: Duration = Duration::from_secs(150);
/// More than any bundle of certificates has, in bytes.
const MAX_AUTHORITIES_BYTES: u64 = 16 << 20;

/// Asks each registry from a process of its own.
#[derive(Debug, Default)]
pub struct JailedFetcher {
    /// For each host that is asked: the files with the certificates of those that may vouch for it.
    pub authorities: Vec<(String, Vec<File>)>,
}

struct JailedLine(Child);

impl Fetcher for JailedFetcher {
    fn open(&self, access: &Access) -> Result<Box<dyn Line>, FetchFailure> {
        let known = self.authorities.iter().find(|(host, _)| *host == access.host);
        let files = known.map(|(_, files)| files.as_slice()).unwrap_or_default();
        let files: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
        let child = spawn(Role::Fetch, access, &files).map_err(process)?;
        Ok(Box::new(JailedLine(child)))
    }
}

impl Line for JailedLine {
    fn ask(
        &mut self,
        ask: &Ask,
        output: &File,
        stop: &AtomicBool,
    ) -> Result<Fetched, FetchFailure> {
        let Self(child) = self;
        if child.channel().send(ask, &[output.as_fd()]).is_err() {
            return Err(ended(child));
        }
        let length = || output.metadata().map_or(0, |metadata| metadata.len());
        let mut seen = (length(), Instant::now());
        while !crate::wait::readable_within(child.channel(), PACE).map_err(process)? {
            let now = length();
            if now != seen.0 {
                seen = (now, Instant::now());
            }
            let silent = seen.1.elapsed() > SILENCE;
            if silent || stop.load(Ordering::Relaxed) {
                child.end(Duration::ZERO);
                return Err(if silent {
                    FetchError::Timeout.into()
                } else {
                    FetchFailure::Stopped
                });
            }
        }
        match child.channel().receive::<Result<Fetched, FetchError>>() {
            Ok((answer, _)) => Ok(answer?),
            Err(_) => Err(ended(child)),
        }
    }
}

fn process(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> FetchFailure {
    FetchFailure::Process(error.into())
}

fn ended(child: &mut Child) -> FetchFailure {
    let status = child.end(LAST_MOMENTS).map_or("killed".to_owned(), |status| status.to_string());
    let words = child.last_words().map(|words| format!(": {words}")).unwrap_or_default();
    process(format!("it ended without an answer ({status}){words}"))
}

/// What such a process reaches by name, beside what it is handed: who knows names, and any TCP port. Whoever starts
/// one reaches that too.
pub fn reach() -> Reach<'static> {
    let read = ["/etc/resolv.conf", "/etc/hosts"].map(Into::into).to_vec();
    Reach { read, network: Some(Listen::On(Vec::new())), ..Reach::default() }
}

/// What the process does, to its end.
///
/// # Errors
/// Where the launcher cannot be heard or told; that it is gone is how the process learns that it is done.
pub fn run(channel: Channel) -> Result<(), ChannelError> {
    let (access, files) = channel.receive::<Access>()?;
    let mut client =
        read(files).and_then(|authorities| registry::Client::new(access, &authorities));
    loop {
        let (ask, descriptors) = channel.receive::<Ask>()?;
        let Ok([output]) = <[OwnedFd; 1]>::try_from(descriptors) else {
            return Err(ChannelError::Closed);
        };
        let answer = match &mut client {
            Ok(client) => client.ask(&ask, &File::from(output)),
            Err(error) => Err(error.clone()),
        };
        channel.send(&answer, &[])?;
    }
}

/// The authorities' certificates, as they stand in their files. Others of our processes have the same open files, and
/// with them one position: none is moved.
fn read(files: Vec<OwnedFd>) -> Result<Vec<Vec<u8>>, FetchError> {
    let read = |file: OwnedFd| {
        let file = File::from(file);
        let length = file.metadata()?.len().min(MAX_AUTHORITIES_BYTES);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    };
    let why = |error: std::io::Error| FetchError::Tls(Quoted::new(error.to_string().as_bytes()));
    files.into_iter().map(|file| read(file).map_err(why)).collect()
}
