//! The unsafe code of the questions: a system call without a wrapper.

/// LANDLOCK_CREATE_RULESET_VERSION: ask for the version, make nothing.
const VERSION_QUERY: u32 = 1;

/// The version of the kernel's Landlock, or its errno.
pub(super) fn landlock_abi() -> Result<i64, std::io::Error> {
    // SAFETY: with this flag the kernel reads no memory: the attribute is null and of size 0.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<u8>(),
            0usize,
            VERSION_QUERY,
        )
    };
    if version < 0 { Err(std::io::Error::last_os_error()) } else { Ok(version) }
}
