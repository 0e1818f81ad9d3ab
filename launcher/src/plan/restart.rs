//! `--restart`: when a sandbox that has ended is started again by itself.

use crate::error::Explain;
use std::str::FromStr;

/// When.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// Never.
    No,
    /// Whenever it was not stopped.
    Always,
    /// Where its exit code was not 0, and so often at most.
    OnFailure(Option<u32>),
}

/// A text that says nothing of that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("--restart {0:?} is no policy")]
pub struct RestartError(String);

impl Explain for RestartError {
    fn hint(&self) -> Option<String> {
        Some("no, always, unless-stopped, on-failure or on-failure:COUNT".to_owned())
    }
}

impl FromStr for Restart {
    type Err = RestartError;

    fn from_str(text: &str) -> Result<Self, RestartError> {
        let most = |text: &str| text.parse().ok().filter(|&most| most > 0);
        match (text, text.strip_prefix("on-failure:")) {
            ("no" | "", _) => Ok(Self::No),
            // The two differ where a daemon starts: there is none.
            ("always" | "unless-stopped", _) => Ok(Self::Always),
            ("on-failure", _) => Ok(Self::OnFailure(None)),
            (_, Some(count)) => match most(count) {
                Some(most) => Ok(Self::OnFailure(Some(most))),
                None => Err(RestartError(text.to_owned())),
            },
            _ => Err(RestartError(text.to_owned())),
        }
    }
}

impl Restart {
    /// Whether it is started again that ended with this code, after so many times.
    pub fn applies(self, code: u8, times: u32) -> bool {
        match self {
            Self::No => false,
            Self::Always => true,
            Self::OnFailure(most) => code != 0 && most.is_none_or(|most| times < most),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_dockers() {
        let applies =
            |text: &str, code, times| Restart::from_str(text).unwrap().applies(code, times);
        assert!(!applies("no", 1, 0));
        assert!(applies("always", 0, 1000) && applies("unless-stopped", 0, 0));
        assert!(applies("on-failure", 1, 1000) && !applies("on-failure", 0, 0));
        assert!(applies("on-failure:2", 137, 1) && !applies("on-failure:2", 1, 2));
        for wrong in ["never", "on-failure:", "on-failure:0", "on-failure:-1", "always:3"] {
            assert!(Restart::from_str(wrong).is_err(), "{wrong}");
        }
    }
}
