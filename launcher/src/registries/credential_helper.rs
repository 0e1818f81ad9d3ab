//! Credential helpers: programs of the user's that know credentials (docker-credential-helpers' protocol).

use super::{MAX_FILE_BYTES, RegistriesError};
use image::fetch::Credentials;
use image::registries::credentials;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

/// Asks a credential helper; `None` where it knows nobody (docker-credential-helpers' protocol).
pub(super) fn ask(name: &str, server: &str) -> Result<Option<Credentials>, RegistriesError> {
    match run(name, "get", server.as_bytes()) {
        Ok(answer) => credentials::of_helper(&answer).map(Some).map_err(|error| {
            RegistriesError::Helper { name: name.to_owned(), why: error.to_string() }
        }),
        Err(RegistriesError::Helper { why, .. }) if why.contains("credentials not found") => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Has a credential helper do something; gives what it says.
pub(super) fn run(name: &str, verb: &str, input: &[u8]) -> Result<Vec<u8>, RegistriesError> {
    let program = format!("docker-credential-{name}");
    let failed = |why: String| RegistriesError::Helper { name: program.clone(), why };
    let io = |error: std::io::Error| failed(error.to_string());
    let mut command = Command::new(&program);
    command.arg(verb).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(io)?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not listen may know nevertheless.
        let _ = stdin.write_all(input);
    }
    let mut answer = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(MAX_FILE_BYTES).read_to_end(&mut answer).map_err(io)?;
    }
    let status = child.wait().map_err(io)?;
    if status.success() {
        return Ok(answer);
    }
    let words = String::from_utf8_lossy(&answer).trim().chars().take(200).collect::<String>();
    Err(failed(if words.is_empty() { status.to_string() } else { words }))
}
