//! Exit codes: Docker's, so that scripts written for `docker run` go on working.
//!
//! Owns: which number stands for what. Never does: exits.
//!
//! | code | meaning |
//! |---|---|
//! | the container's own | its init process exited with it |
//! | 128 + n | signal n ended its init process |
//! | 124 | `--timeout` ended it (as timeout(1) says it; Docker has no such flag) |
//! | 125 | cofferdam itself could not do it, or the guest was lost |
//! | 126 | the program is there but cannot be invoked |
//! | 127 | the program is not there |

use protocol::{ExitStatus, FailureKind};

/// `--timeout` ended the run.
pub const TIMED_OUT: u8 = 124;
/// Ours: bad arguments, no image, no VM, a lost guest.
pub const LAUNCHER: u8 = 125;
/// The program is there but cannot be invoked.
pub const CANNOT_INVOKE: u8 = 126;
/// The program is not there.
pub const NOT_FOUND: u8 = 127;

/// What kind of failure it was: it decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FailureClass {
    /// Ours: 125.
    #[default]
    Launcher,
    /// The program cannot be invoked: 126.
    CannotInvoke,
    /// The program is not there: 127.
    NotFound,
}

impl FailureClass {
    /// Its exit code.
    pub fn exit_code(self) -> u8 {
        match self {
            FailureClass::Launcher => LAUNCHER,
            FailureClass::CannotInvoke => CANNOT_INVOKE,
            FailureClass::NotFound => NOT_FOUND,
        }
    }
}

impl From<FailureKind> for FailureClass {
    /// What the agent's claim means for the exit code.
    fn from(kind: FailureKind) -> Self {
        match kind {
            FailureKind::CannotInvoke => FailureClass::CannotInvoke,
            FailureKind::NotFound => FailureClass::NotFound,
            FailureKind::Setup => FailureClass::Launcher,
        }
    }
}

/// The exit code for how the container's init process ended.
pub fn of_status(status: ExitStatus) -> u8 {
    status.exit_code()
}
