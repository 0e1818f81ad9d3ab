//! What differs from one processor family to the next, behind names that do not.

#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(target_arch = "x86_64")]
pub use x86_64::ArchError;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86_64::*;
