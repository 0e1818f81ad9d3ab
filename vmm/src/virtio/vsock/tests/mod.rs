//! The socket device, tested in two halves: its table against a model, and whole against sockets.
#![allow(clippy::cast_possible_truncation, reason = "small numbers of a test")]

mod device;
mod model;
mod muxer;
mod pipe;
