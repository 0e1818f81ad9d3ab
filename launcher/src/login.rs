//! `login` and `logout`: credentials tried at their registry, and kept where Docker and podman look for them.
//!
//! Owns: asking for them. This process is not walled in, because it may have to start a credential helper; what the
//! registry answers is read by a fetch process, which is.

use crate::cli::login::{LoginArgs, LogoutArgs};
use crate::error::{Explain, Failure};
use crate::registries::{Keeping, Registries};
use image::fetch::{Ask, Credentials, FetchFailure, Pull};
use rustix::termios::{LocalModes, OptionalActions};
use std::fs::File;
use std::io::{BufRead, IsTerminal, Read, Write};
use std::sync::atomic::AtomicBool;

/// The longest name or password, in bytes.
const MAX_WORD_BYTES: u64 = 16 << 10;

/// Why nobody is logged in or out.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// Who it is was not said.
    #[error("no {0} was given")]
    Nothing(&'static str),
    /// There is no way to ask.
    #[error("standard input is no terminal, where a password could be asked for")]
    NoTerminal,
    /// The registry does not take it.
    #[error("{registry} does not take these credentials")]
    Refused {
        /// Who.
        registry: String,
        /// What it says.
        #[source]
        source: FetchFailure,
    },
    /// There were none.
    #[error("no credentials are kept for {0}")]
    NotKept(String),
}

impl Explain for LoginError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NoTerminal => Some("--username USER --password-stdin".to_owned()),
            _ => None,
        }
    }
}

/// Tries credentials, and keeps those that are taken; gives what to print on standard output.
///
/// # Errors
/// Where they are not taken, or cannot be kept.
pub fn login(args: &LoginArgs) -> Result<String, Failure> {
    let keeping = Keeping::find(&args.registry, args.how.authfile.as_deref())?;
    let credentials = credentials(args)?;
    let registries = Registries::to_log_in(&args.registry, credentials.clone(), &args.how)?;
    let remote = registries.remote(Pull::Always);
    // The answer's body is of no interest.
    let nowhere = File::options().write(true).open("/dev/null").map_err(Failure::plain)?;
    for access in remote.places {
        let asked = remote
            .fetcher
            .open(access)
            .and_then(|mut line| line.ask(&Ask::Greeting, &nowhere, &AtomicBool::new(false)));
        asked.map_err(|source| LoginError::Refused { registry: args.registry.clone(), source })?;
    }
    let place = keeping.keep(&credentials)?;
    Ok(format!("logged in to {}; credentials are kept in {place}\n", args.registry))
}

/// Forgets credentials; gives what to print on standard output.
///
/// # Errors
/// Where there are none, or what keeps them cannot be written.
pub fn logout(args: &LogoutArgs) -> Result<String, Failure> {
    let keeping = Keeping::find(&args.registry, args.how.authfile.as_deref())?;
    if keeping.forget()? {
        return Ok(format!("logged out of {}\n", args.registry));
    }
    Err(LoginError::NotKept(args.registry.clone()).into())
}

fn credentials(args: &LoginArgs) -> Result<Credentials, Failure> {
    let stdin = std::io::stdin();
    if !args.password_stdin && !stdin.is_terminal() {
        return Err(LoginError::NoTerminal.into());
    }
    let user = match (&args.username, args.password_stdin) {
        (Some(user), _) => user.clone(),
        (None, true) => return Err(LoginError::Nothing("--username").into()),
        (None, false) => asked("user name: ")?,
    };
    let password = if args.password_stdin {
        let mut text = String::new();
        stdin.lock().take(MAX_WORD_BYTES).read_to_string(&mut text).map_err(Failure::plain)?;
        text.trim_end_matches(['\n', '\r']).to_owned()
    } else {
        unseen(|| asked("password: "))?
    };
    let known = [("user name", &user), ("password", &password)];
    if let Some((what, _)) = known.into_iter().find(|(_, word)| word.is_empty()) {
        return Err(LoginError::Nothing(what).into());
    }
    Ok(Credentials::Password { user, password })
}

fn asked(question: &str) -> Result<String, Failure> {
    let mut stderr = std::io::stderr();
    let _ = stderr.write_all(question.as_bytes()).and_then(|()| stderr.flush());
    let mut line = String::new();
    let stdin = std::io::stdin();
    stdin.lock().take(MAX_WORD_BYTES).read_line(&mut line).map_err(Failure::plain)?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// What is typed meanwhile is not shown.
fn unseen<T>(ask: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    let stdin = rustix::stdio::stdin();
    let before = rustix::termios::tcgetattr(stdin).map_err(Failure::plain)?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    rustix::termios::tcsetattr(stdin, OptionalActions::Flush, &silent).map_err(Failure::plain)?;
    let answer = ask();
    // Where it cannot be put back, nothing else can be done about it either.
    let _ = rustix::termios::tcsetattr(stdin, OptionalActions::Now, &before);
    let _ = std::io::stderr().write_all(b"\n");
    answer
}
