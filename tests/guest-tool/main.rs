//! What test cases need inside a guest and busybox does not have.
//!
//! ```text
//!   guest-tool xattr PATH NAME        prints an extended attribute as hexadecimal digits
//! ```

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["xattr", path, name] => xattr(path, name),
        _ => {
            eprintln!("guest-tool: no such job: {arguments:?}");
            ExitCode::from(2)
        }
    }
}

#[allow(clippy::print_stdout, reason = "its purpose")]
fn xattr(path: &str, name: &str) -> ExitCode {
    let mut value = [0u8; 4096];
    match rustix::fs::lgetxattr(path, name, &mut value) {
        Ok(length) => {
            let digits: String = value.iter().take(length).map(|b| format!("{b:02x}")).collect();
            println!("{digits}");
            ExitCode::SUCCESS
        }
        Err(errno) => {
            eprintln!("guest-tool: {name} of {path}: {errno}");
            ExitCode::FAILURE
        }
    }
}
