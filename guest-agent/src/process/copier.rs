//! A process in a container that makes an archive of what is there, or puts one there (`cofferdam cp`).
//!
//! The agent's own program, executed from an open file under all that holds the container's, with what capabilities
//! the launcher gives it. What it meets by name is the container's, and leads nowhere else.

use super::program::c_strings;
use crate::sys;
use protocol::{Failure, Program};
use rustix::fs::Mode;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::os::fd::BorrowedFd;
use std::path::Path;
use tarball::{CopyError, Into, Options};

/// The name under which it runs, and is recognised.
pub const COPIER_NAME: &str = "/cofferdam-copier";

const BUFFER_BYTES: usize = 128 << 10;

/// Its arguments: which of both, how, and what on.
///
/// # Errors
/// Where a path is none.
pub fn arguments(program: Program, args: &[String]) -> Result<Vec<CString>, Failure> {
    let word = match program {
        Program::Pack { follow: true } => "pack-followed",
        Program::Unpack { tree: true, owners: false } => "unpack-tree",
        Program::Unpack { tree: true, owners: true } => "unpack-tree-owned",
        Program::Unpack { tree: false, owners: false } => "unpack",
        Program::Unpack { tree: false, owners: true } => "unpack-owned",
        _ => "pack",
    };
    let path = args.first().map(String::as_str).unwrap_or_default();
    c_strings(&[COPIER_NAME.to_owned(), word.to_owned(), path.to_owned()], "the path")
}

/// Does it. What goes wrong is said on standard error.
pub fn run(arguments: &[String]) -> ! {
    let [_, word, path] = arguments else { sys::exit_now(127) };
    let Err(error) = copy(word, Path::new(path)) else { sys::exit_now(0) };
    let chain = std::iter::successors(Some(&error as &dyn std::error::Error), |it| it.source());
    let chain: Vec<String> = chain.map(ToString::to_string).collect();
    let _ = writeln!(io::stderr(), "{}", chain.join(": "));
    sys::exit_now(1)
}

fn copy(word: &str, path: &Path) -> Result<(), CopyError> {
    if let Some(how) = word.strip_prefix("pack") {
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, stream(rustix::stdio::stdout())?);
        tarball::pack(path, how == "-followed", &mut out)?;
        return out.flush().map_err(CopyError::Write);
    }
    // Devices and pipes have the modes that they had.
    rustix::process::umask(Mode::empty());
    let into = if word.contains("-tree") { Into::Place(None) } else { Into::Directory };
    let options = Options { owners: word.ends_with("-owned"), follow: true };
    let input = BufReader::with_capacity(BUFFER_BYTES, stream(rustix::stdio::stdin())?);
    tarball::unpack(input, path, into, options).map(drop)
}

/// A stream without the buffer that the standard library's has.
fn stream(stream: BorrowedFd<'_>) -> Result<File, CopyError> {
    stream.try_clone_to_owned().map(File::from).map_err(CopyError::Write)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_has_its_word() {
        let programs = [
            Program::Pack { follow: false },
            Program::Pack { follow: true },
            Program::Unpack { tree: false, owners: false },
            Program::Unpack { tree: false, owners: true },
            Program::Unpack { tree: true, owners: false },
            Program::Unpack { tree: true, owners: true },
        ];
        let words = programs.map(|program| arguments(program, &["/p".to_owned()]).unwrap());
        let all: std::collections::HashSet<_> =
            words.iter().map(|words| words[1].clone()).collect();
        assert_eq!(all.len(), programs.len());
        assert!(words.iter().all(|words| words.len() == 3 && words[2].as_bytes() == b"/p"));
        assert!(arguments(programs[0], &["\0".to_owned()]).is_err());
    }
}
