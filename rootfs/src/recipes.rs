//! What is in each image: one file per image.

pub mod bench;
pub mod clients;
pub mod demo;
pub mod docker;
pub mod files;
pub mod job;
pub mod outer;
pub mod small;
