//! The process that becomes QEMU: the jail is put on from outside, before QEMU's first instruction.

use super::channel::Channel;
use super::filter::List;
use super::landlock::{Reach, close_in};
use super::walls::Walls;
use super::{JailError, filter_calls, step};
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What to execute. In an argument, `{fd:N}` stands for the number that the N-th open file of the
/// message has in the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QemuCommand {
    /// The program's path.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// Executes QEMU in this process. Comes back only with an error.
///
/// # Errors
/// Where the launcher cannot be heard, or the process not be walled in. Where QEMU cannot be executed, the
/// error is written to standard error and the process ends with 127, as a shell's would.
pub fn run(channel: Channel) -> Result<(), JailError> {
    let (command, descriptors) = channel.receive::<QemuCommand>()?;
    for descriptor in &descriptors {
        crate::sys::keep_across_exec(descriptor).map_err(step("keep what was handed over"))?;
    }
    let again = descriptors.iter().map(AsFd::as_fd).collect();
    close_in(Walls::here(), &Reach { again, ..reach(Path::new(&command.program)) })?;
    filter_calls(List::Qemu)?;
    #[cfg(feature = "trial")]
    super::trial::attempt("cofferdam-qemu");
    let arguments = command.arguments.iter().map(|argument| with_numbers(argument, &descriptors));
    let error = Command::new(&command.program).args(arguments).env_clear().exec();
    crate::error::report(&crate::error::Failure::plain(format!(
        "cannot execute {}: {error}",
        command.program
    )));
    std::process::exit(127);
}

/// What QEMU, and the linker that starts it, read: libraries, firmware, modules. The launcher, within whose
/// reach it is, leaves the same open.
pub fn reach(program: &Path) -> Reach<'static> {
    const READ: [&str; 3] = ["/etc/ld.so.cache", "/usr/share/qemu", "/usr/share/seabios"];
    const EXECUTE: [&str; 5] = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib"];
    let mut execute: Vec<PathBuf> = EXECUTE.map(PathBuf::from).into();
    execute.push(program.to_owned());
    Reach { read: READ.map(PathBuf::from).into(), execute, ..Reach::default() }
}

fn with_numbers(argument: &str, descriptors: &[OwnedFd]) -> String {
    descriptors.iter().enumerate().fold(argument.to_owned(), |argument, (index, descriptor)| {
        argument.replace(&format!("{{fd:{index}}}"), &descriptor.as_raw_fd().to_string())
    })
}
