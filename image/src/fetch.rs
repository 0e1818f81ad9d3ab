//! What is asked of a registry, and what comes of it: plain data, because another process does the asking.
//!
//! Owns: the questions, their answers, and the words for what went wrong. Never does: speak to a registry. A
//! [`Fetcher`] has that done where the Internet's bytes can do no harm, and nothing it brings is believed: a
//! digest names each document and blob, and whoever asked compares it.

use crate::digest::Digest;
use crate::layer::Quoted;
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

/// The longest text of a registry's that is kept, in bytes.
pub const MAX_WORDS_BYTES: u64 = 64 << 10;

/// How to speak to one repository of one registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// The host that is asked, and its port where that is not the scheme's own.
    pub host: String,
    /// The repository there.
    pub repository: String,
    /// How far the host is believed to be who it says.
    pub security: Security,
    /// Who asks.
    pub credentials: Option<Credentials>,
    /// The proxy between, as a URL; and which hosts are asked without it.
    pub proxy: Option<Proxy>,
}

/// How far a host is believed to be who it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Security {
    /// TLS, and a certificate that an authority vouches for.
    Verified,
    /// TLS with any certificate, or plain HTTP where there is no TLS: named insecure by the user.
    Insecure,
}

/// Who asks.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Credentials {
    /// A name and a password.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// A token that is exchanged for others (OAuth2's refresh token).
    IdentityToken(String),
}

impl fmt::Debug for Credentials {
    /// Nobody prints a secret by mistake.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { user, .. } => write!(out, "Password {{ user: {user:?}, .. }}"),
            Self::IdentityToken(_) => out.write_str("IdentityToken(..)"),
        }
    }
}

/// A proxy.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proxy {
    /// Its URL. It may hold a password.
    pub url: String,
    /// What is asked without it, as `NO_PROXY` has it.
    pub except: String,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Proxy(..)")
    }
}

/// One question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Whether who asks is let in at all.
    Greeting,
    /// An index or a manifest, by tag or digest.
    Manifest {
        /// Which.
        version: String,
        /// The most bytes it may have.
        limit: u64,
    },
    /// The digest that a tag has just now, and nothing else.
    Digest {
        /// The tag.
        version: String,
    },
    /// A GPG signature of what has a digest, at the place of them that the access means.
    Signature {
        /// The digest.
        digest: Digest,
        /// Which signature, from 1.
        number: usize,
        /// The most bytes it may have.
        limit: u64,
    },
    /// A configuration or a layer.
    Blob {
        /// Which.
        digest: Digest,
        /// How many bytes of it are there already: what is written begins behind them.
        from: u64,
        /// How many it has in all. More are not taken.
        length: u64,
    },
}

/// What came of it. The bytes are in the file that was given along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetched {
    /// How many bytes the file has now.
    pub length: u64,
    /// The digest that the registry says it has, where it says so.
    pub digest: Option<Digest>,
}

/// Why a registry's answer is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum FetchError {
    /// Its name leads nowhere.
    #[error("its name has no address")]
    NoAddress,
    /// It cannot be reached.
    #[error("cannot reach it: {0}")]
    Unreachable(Quoted),
    /// The proxy between does not lead there.
    #[error("the proxy does not lead there: {0}")]
    Proxy(Quoted),
    /// The TLS connection could not be made.
    #[error("no secure connection: {0}")]
    Tls(Quoted),
    /// It was waited for in vain.
    #[error("it did not answer in time")]
    Timeout,
    /// The connection ended too early.
    #[error("the connection ended after {got} of {expected} bytes")]
    Cut {
        /// How many bytes there are.
        got: u64,
        /// How many there should be.
        expected: u64,
    },
    /// It sends more than it may.
    #[error("it sends more than {0} bytes")]
    TooLong(u64),
    /// It wants to know who asks, or knows and does not want it.
    #[error("it refuses access ({status}){words}")]
    Refused {
        /// HTTP's status.
        status: u16,
        /// Whether it was told who asks.
        named: bool,
        /// What it says.
        words: Words,
    },
    /// It has no such thing.
    #[error("it has no such image ({status}){words}")]
    NotFound {
        /// HTTP's status.
        status: u16,
        /// What it says.
        words: Words,
    },
    /// It is asked too often.
    #[error("it is asked too often ({status}){words}")]
    TooOften {
        /// HTTP's status.
        status: u16,
        /// What it says.
        words: Words,
    },
    /// It answers with a status that is no answer.
    #[error("it answers with the status {status}{words}")]
    Status {
        /// HTTP's status.
        status: u16,
        /// What it says.
        words: Words,
    },
    /// What it says is not HTTP, or not what the distribution specification has.
    #[error("it does not answer as a registry does: {0}")]
    Protocol(Quoted),
    /// What it brought could not be written.
    #[error("cannot write what it sends: {0}")]
    Write(Quoted),
    /// There is no room for it.
    #[error("there is no room for what it sends")]
    NoRoom,
}

impl FetchError {
    /// Whether asking again may help.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Timeout | Self::Cut { .. } | Self::TooOften { .. } => true,
            Self::Status { status, .. } => *status >= 500,
            _ => false,
        }
    }
}

/// What a registry says about a refusal; may be nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Words(pub Option<Quoted>);

impl fmt::Display for Words {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |words| write!(out, ": {words}"))
    }
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum FetchFailure {
    /// The registry's doing.
    #[error(transparent)]
    Registry(#[from] FetchError),
    /// The asking process failed.
    #[error("the fetching process failed")]
    Process(#[source] Box<dyn Error + Send + Sync>),
    /// Nobody wants the answer any more.
    #[error("it is not wanted any more")]
    Stopped,
    /// There is nowhere to ask.
    #[error("no registry may be asked for it")]
    NoPlace,
}

impl FetchFailure {
    /// Whether asking again may help.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Registry(error) if error.is_passing())
    }
}

/// How registries are reached.
#[derive(Clone, Copy)]
pub struct Remote<'a> {
    /// Has them asked.
    pub fetcher: &'a dyn Fetcher,
    /// Where to ask, in the order in which to ask.
    pub places: &'a [Access],
    /// Where the image's GPG signatures are kept, where anybody has said so.
    pub lookaside: Option<&'a Aside>,
    /// When to ask.
    pub pull: Pull,
}

/// Where an image's GPG signatures are kept.
#[derive(Debug, Clone)]
pub enum Aside {
    /// A server has them.
    Server(Access),
    /// They lie below a directory of this machine.
    Directory(PathBuf),
}

/// When a registry is asked for an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pull {
    /// At every run: what a tag means may have changed.
    Always,
    /// Where the store does not have it.
    #[default]
    Missing,
    /// Never.
    Never,
}

/// Has registries asked. Called from several threads at once.
pub trait Fetcher: Send + Sync {
    /// A line to a registry. Nothing is asked yet.
    ///
    /// # Errors
    /// Where no process could be started.
    fn open(&self, access: &Access) -> Result<Box<dyn Line>, FetchFailure>;
}

/// A line to a registry, for one question after the other.
pub trait Line {
    /// Asks, and has what comes written to the end of `output`, which nobody else writes to. Ends early where
    /// `stop` becomes true.
    ///
    /// # Errors
    /// Why there is no answer. What was written until then stays, and is the beginning of what was asked for,
    /// as far as the registry can be believed.
    fn ask(&mut self, ask: &Ask, output: &File, stop: &AtomicBool)
    -> Result<Fetched, FetchFailure>;
}
