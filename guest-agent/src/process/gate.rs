//! A process in a container that leads connections from outside to Unix sockets there (`cofferdam run --publish-socket`).
//!
//! The agent's own program, executed from an open file under all that holds the container's, as its root and with no
//! capability: who listens there sees a client that may do what root of the container may, and no more. A filter that knows
//! no vsock stops it too.

use super::joined::{in_thread, join};
use super::program::c_strings;
use crate::sys;
use protocol::Failure;
use protocol::port::HOST_CID;
use std::ffi::CString;
use std::io::{self, BufRead, Read};
use std::os::unix::net::UnixStream;

/// The name under which it runs, and is recognised.
pub const GATE_NAME: &str = "/cofferdam-gate";
/// The longest line that it is told.
const MOST_LINE_BYTES: u64 = 64;

/// Its arguments: the sockets' paths.
///
/// # Errors
/// Where one is none.
pub fn arguments(paths: &[String]) -> Result<Vec<CString>, Failure> {
    c_strings(&[&[GATE_NAME.to_owned()], paths].concat(), "the sockets")
}

/// Leads whom it is told of, until nobody tells any more.
pub fn run(arguments: &[String]) -> ! {
    let paths = arguments.get(1..).unwrap_or_default();
    let mut told = io::stdin().lock();
    loop {
        let mut line = String::new();
        match told.by_ref().take(MOST_LINE_BYTES).read_line(&mut line) {
            Ok(count) if count > 0 => {}
            Ok(_) | Err(_) => sys::exit_now(0),
        }
        let Some((port, path)) = read(&line, paths) else { sys::exit_now(1) };
        let path = path.to_owned();
        // Where there is no room for a thread, whoever came waits in vain: better that all do.
        if in_thread(move || lead(port, &path)).is_none() {
            sys::exit_now(1);
        }
    }
}

/// A port, and the path that it leads to.
fn read<'p>(line: &str, paths: &'p [String]) -> Option<(u32, &'p str)> {
    let (port, number) = line.strip_suffix('\n')?.split_once(' ')?;
    let number: usize = number.parse().ok()?;
    Some((port.parse().ok()?, paths.get(number)?))
}

/// Takes whoever came first: they see it then where nobody listens.
fn lead(port: u32, path: &str) {
    let Ok(near) = sys::connect_vsock(HOST_CID, port) else { return };
    if let Ok(far) = UnixStream::connect(path) {
        join(near, far.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_a_port_and_a_path() {
        let paths = ["/a".to_owned(), "/b".to_owned()];
        assert_eq!(read("1040 1\n", &paths), Some((1040, "/b")));
        for wrong in ["", "\n", "1040\n", "1040 2\n", "1040 0", "-1 0\n", "1040 x\n", "1 0 \n"] {
            assert_eq!(read(wrong, &paths), None, "{wrong:?}");
        }
    }
}
