//! `cofferdam`: the launcher, and every process a sandbox is made of.

use launcher::jail::Role;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    match arguments.next().and_then(|name| Role::of(&name)) {
        Some(role) => launcher::jail::main(role),
        None => launcher::command::main(),
    }
}
