//! `cofferdam`: the launcher, and every process a sandbox is made of.

use launcher::jail::Role;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    match arguments.next().and_then(|name| Role::of(&name)) {
        Some(role) => {
            let walls = arguments.next();
            launcher::jail::main(role, walls.as_ref().and_then(|word| word.to_str()))
        }
        None => launcher::command::main(),
    }
}
