//! Where in a container something is mounted.

/// Why a path cannot be that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// It is not absolute.
    Relative,
    /// It holds "..".
    Climbing,
    /// It would hide the container's root file system.
    Root,
}

/// The path in its shortest form.
///
/// # Errors
/// [`Unfit`].
pub fn shortest(path: &str) -> Result<String, Unfit> {
    if !path.starts_with('/') {
        return Err(Unfit::Relative);
    }
    let parts: Vec<&str> =
        path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        Err(Unfit::Climbing)
    } else if parts.is_empty() {
        Err(Unfit::Root)
    } else {
        Ok(format!("/{}", parts.join("/")))
    }
}
