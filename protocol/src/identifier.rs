//! Names of containers and processes: checked once, where they enter.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The longest identifier, in bytes. It becomes a directory and a cgroup name in the guest.
pub const MAX_IDENTIFIER_BYTES: usize = 64;

/// Why a text is no identifier.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "identifier {0:?} is not 1 to 64 characters of [A-Za-z0-9_.-] that begin with a letter or digit"
)]
pub struct IdentifierError(pub String);

fn check(text: &str) -> Result<(), IdentifierError> {
    let well_formed = (1..=MAX_IDENTIFIER_BYTES).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
        && text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if well_formed { Ok(()) } else { Err(IdentifierError(text.chars().take(80).collect())) }
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text of the identifier.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdentifierError;
            fn try_from(text: String) -> Result<Self, IdentifierError> {
                check(&text)?;
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(identifier: $name) -> String {
                identifier.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

identifier! {
    /// Names one container of a sandbox.
    ContainerId
}
identifier! {
    /// Names one process that the launcher asked for: a container's init process, or a later one.
    ProcessId
}

/// A process and where it runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcessRef {
    /// The container it runs in; `None` for a process that runs in the guest with no container.
    pub container: Option<ContainerId>,
    /// Its own name, unique within its container (or among those with none).
    pub process: ProcessId,
}

impl fmt::Display for ProcessRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.container {
            Some(container) => write!(f, "{container}/{}", self.process),
            None => write!(f, "guest/{}", self.process),
        }
    }
}
