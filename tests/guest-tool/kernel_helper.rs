//! What runs when the guest's kernel has been made to start this program as a helper of its own: with every
//! capability, in the guest's first namespaces, its root the initramfs.
//!
//! Owns: how a container tells such a helper its job (`NAME.job` beside it) and hears of it (`NAME.report`,
//! made beforehand, so that both see one file). Never does: brings about that the kernel starts it.

use crate::{deeds, witness};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// What the guest's own root is seen as from the initramfs: the agent's root is mounted over it, and the
/// way up from a root leads to what is mounted there.
pub const GUEST: &str = "/../";

/// Whether the program goes by a name that means this.
pub fn is_meant(name: &str) -> bool {
    Path::new(name).file_name().is_some_and(|it| it.as_encoded_bytes().starts_with(b"helper"))
}

/// Does the job and reports.
pub fn run(name: &str) -> io::Result<()> {
    let mut report = File::options().write(true).truncate(true).open(format!("{name}.report"))?;
    let job = fs::read_to_string(format!("{name}.job"))?;
    let words: Vec<&str> = job.split_whitespace().collect();
    let outcome = match words[..] {
        ["witness", known, secret] => witness::report(Path::new(GUEST), [known, secret]),
        ["puppet"] => deeds::puppet(1),
        ["usurp", port] => deeds::usurp(Path::new(GUEST), port),
        ["hierarchy", agent] => deeds::hierarchy(Path::new(GUEST), agent),
        _ => Err(io::Error::other(format!("no such job: {job:?}"))),
    };
    let text = outcome.unwrap_or_else(|error| format!("failed: {error}"));
    writeln!(report, "{text}\ndone")
}
