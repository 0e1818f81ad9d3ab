//! The process that becomes QEMU: the jail is put on from outside, before QEMU's first instruction.

use super::channel::{Channel, ChannelError};
use serde::{Deserialize, Serialize};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
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
/// Where the launcher cannot be heard. Where QEMU cannot be executed, the error is written to
/// standard error and the process ends with 127, as a shell's would.
pub fn run(channel: Channel) -> Result<(), ChannelError> {
    let (command, descriptors) = channel.receive::<QemuCommand>()?;
    for descriptor in &descriptors {
        crate::sys::keep_across_exec(descriptor)?;
    }
    let arguments = command.arguments.iter().map(|argument| with_numbers(argument, &descriptors));
    let error = Command::new(&command.program).args(arguments).env_clear().exec();
    crate::command::report(&crate::error::Failure::plain(format!(
        "cannot execute {}: {error}",
        command.program
    )));
    std::process::exit(127);
}

fn with_numbers(argument: &str, descriptors: &[OwnedFd]) -> String {
    descriptors.iter().enumerate().fold(argument.to_owned(), |argument, (index, descriptor)| {
        argument.replace(&format!("{{fd:{index}}}"), &descriptor.as_raw_fd().to_string())
    })
}
