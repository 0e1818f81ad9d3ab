//! PID 1 of the guest: starts containers and relays their streams.
fn main() {}
