//! Builds and runs all of cofferdam.
fn main() {}
