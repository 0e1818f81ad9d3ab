//! `cofferdam completion` and `cofferdam man`, and what they write: both are made of the command line's own description.

use super::Cli;
use crate::error::Failure;
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::path::PathBuf;

/// What was typed after `completion`.
#[derive(Debug, Clone, Args)]
pub struct CompletionArgs {
    /// Which shell
    pub shell: Shell,
}

/// What was typed after `man`.
#[derive(Debug, Clone, Args)]
pub struct ManArgs {
    /// A directory that is there
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
}

/// The script by which a shell completes words.
pub fn completion(args: &CompletionArgs) -> String {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "cofferdam", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// Writes a page for each command.
///
/// # Errors
/// Where one cannot be written.
pub fn man(args: &ManArgs) -> Result<(), Failure> {
    clap_mangen::generate_to(Cli::command(), &args.directory).map_err(|error| {
        Failure::plain(error)
            .with_context(format!("cannot write manual pages to {}", args.directory.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shell_has_a_script_with_all_commands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell, Shell::Elvish] {
            let script = completion(&CompletionArgs { shell });
            for command in Cli::command().get_subcommands() {
                assert!(script.contains(command.get_name()), "{shell}: {}", command.get_name());
            }
        }
    }

    #[test]
    fn each_command_has_a_page() {
        let place = tempfile::tempdir().unwrap();
        man(&ManArgs { directory: place.path().to_owned() }).unwrap();
        for command in Cli::command().get_subcommands() {
            let page = place.path().join(format!("cofferdam-{}.1", command.get_name()));
            let text = std::fs::read_to_string(page).unwrap();
            assert!(text.contains(".SH NAME"), "{}", command.get_name());
        }
        let gone = ManArgs { directory: place.path().join("gone") };
        let refused = man(&gone).unwrap_err().to_string();
        assert!(refused.starts_with("cofferdam: cannot write manual pages to "), "{refused}");
    }
}
