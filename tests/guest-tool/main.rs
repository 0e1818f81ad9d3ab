//! What test cases need inside a guest and busybox does not have.
//!
//! ```text
//!   guest-tool xattr PATH NAME        prints an extended attribute as hexadecimal digits
//!   guest-tool ids                    prints its real and its effective user
//!   guest-tool noise PATH SEED MIB    writes a file of bytes that look random
//!   guest-tool hear PATH SEED MIB     reads it back; fails at the first byte that is another
//! ```

use std::fs::File;
use std::io::{self, Read, Write};
use std::process::ExitCode;

const MIB: usize = 1 << 20;
const PAGE: usize = 4096;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["xattr", path, name] => xattr(path, name),
        ["ids"] => ids(),
        ["noise", path, seed, mib] => said(noise(path, seed, mib)),
        ["hear", path, seed, mib] => said(hear(path, seed, mib)),
        _ => {
            eprintln!("guest-tool: no such job: {arguments:?}");
            ExitCode::from(2)
        }
    }
}

#[allow(clippy::print_stdout, reason = "its purpose")]
fn ids() -> ExitCode {
    let (real, effective) = (rustix::process::getuid(), rustix::process::geteuid());
    println!("{} {}", real.as_raw(), effective.as_raw());
    ExitCode::SUCCESS
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

fn said(outcome: io::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("guest-tool: {error}");
            ExitCode::FAILURE
        }
    }
}

fn noise(path: &str, seed: &str, mib: &str) -> io::Result<()> {
    let (mut file, mut noise) = (File::create(path)?, Noise::of(number(seed)?));
    for index in 0..number(mib)? {
        file.write_all(noise.mib(index))?;
    }
    file.sync_all()
}

fn hear(path: &str, seed: &str, mib: &str) -> io::Result<()> {
    let (mut file, mut noise) = (File::open(path)?, Noise::of(number(seed)?));
    let mut bytes = vec![0; MIB];
    for index in 0..number(mib)? {
        file.read_exact(&mut bytes)?;
        if bytes != noise.mib(index) {
            return Err(io::Error::other(format!("MiB {index} of {path} is not what was written")));
        }
    }
    match file.read(&mut bytes)? {
        0 => Ok(()),
        _ => Err(io::Error::other(format!("{path} is longer than it was written"))),
    }
}

fn number(word: &str) -> io::Result<u64> {
    word.parse().map_err(io::Error::other)
}

/// A MiB of bytes that look random, in which each page begins with a number that no other page of the
/// file begins with: an emulator makes each further MiB with next to no work.
struct Noise {
    seed: u64,
    bytes: Vec<u8>,
}

impl Noise {
    fn of(seed: u64) -> Self {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut bytes = Vec::with_capacity(MIB);
        while bytes.len() < MIB {
            // xorshift64*.
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
        }
        Self { seed, bytes }
    }

    fn mib(&mut self, index: u64) -> &[u8] {
        for (number, page) in (index << 8..).zip(self.bytes.chunks_mut(PAGE)) {
            page[..8].copy_from_slice(&(self.seed ^ number << 16).to_le_bytes());
        }
        &self.bytes
    }
}
