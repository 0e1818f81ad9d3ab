//! What is noted of a sandbox while it runs, for others to read: in its record.
//!
//! Owns: which there are. Never does: write one.

use crate::state::Health;

/// One.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// Its container has been started.
    Started,
    /// Its containers stand still, or go on.
    Paused(bool),
    /// Whether its container is well.
    Health(Health),
    /// It is called so from now on.
    Name(String),
}

/// Where they are kept.
pub type Notes<'a> = Box<dyn FnMut(Note) + 'a>;
