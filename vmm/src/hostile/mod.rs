//! A guest that lies to its devices, and a QEMU that does: for tests and fuzzing alone.
//!
//! Owns: a machine's devices without a KVM around them ([`machine`]), and what can be done to them, from
//! bytes ([`operations`], [`frontend`]) or by name (the tests). Never does: decide what a device does; it asks
//! whether one still does it.

#![allow(clippy::expect_used, reason = "what is checked here fails by a panic")]
#![allow(clippy::cast_possible_truncation, reason = "small numbers, and halves of large ones")]

pub(crate) mod frontend;
mod machine;
pub(crate) mod operations;

#[cfg(feature = "fuzzing")]
pub(crate) use machine::{DEVICES, Machine};

#[cfg(test)]
mod tests;
