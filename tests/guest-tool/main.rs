//! What test cases need inside a guest and busybox does not have.
//!
//! ```text
//!   guest-tool xattr PATH NAME        prints an extended attribute as hexadecimal digits
//!   guest-tool ids                    prints its real and its effective user
//!   guest-tool noise PATH SEED MIB    writes a file of bytes that look random
//!   guest-tool hear PATH SEED MIB     reads it back; fails at the first byte that is another
//!   guest-tool canary DIRECTORY …     sings when it is asked, outside of guests too (`canary.rs`)
//!   guest-tool hurt PATH              writes over a file, and says as whom
//!   guest-tool hoard MIB              takes so much memory, and keeps it
//!   guest-tool multiply               forks until there can be no more processes, and leaves them there
//!   guest-tool killall5               kills whoever is not of its own session
//!   guest-tool echo PATH              says back what it hears at a Unix socket, and how much that was
//!   guest-tool tree DIRECTORY         tells of all files below (`tree.rs`)
//!   guest-tool posix DIRECTORY        tells what the file system there does (`posix.rs`)
//!   guest-tool as UID PROGRAM …       becomes a program as another user
//!   guest-tool witness KNOWN SECRET   says where it runs, and where those words are (`witness.rs`)
//!   guest-tool net …                  asks and serves over the network (`net.rs`)
//!   guest-tool load …                 the same for measuring (`load.rs`)
//!   guest-tool unguard | shocker PATH | vsock CID PORT | module | puppet PID     (`deeds.rs`)
//!   guest-tool knock CID FIRST LAST STEP                       many vsock ports (`deeds.rs`)
//!   helper…                           the same program, started by the guest's kernel (`kernel_helper.rs`)
//! ```

mod canary;
mod deeds;
mod kernel_helper;
mod load;
mod net;
mod posix;
mod sys;
mod tree;
mod witness;

use rustix::process::{Pid, Signal, getsid, kill_process};
use std::fs::File;
use std::io::{self, Read, Write};
use std::num::ParseIntError;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::str::FromStr;
use std::time::Duration;

const MIB: usize = 1 << 20;
const PAGE: usize = 4096;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (name, arguments) = arguments.split_first().unwrap_or((&"", &[]));
    match arguments[..] {
        ["nothing"] => ExitCode::SUCCESS,
        ["sleep"] => said(keep()),
        _ if kernel_helper::is_meant(name) => said(kernel_helper::run(name)),
        ["xattr", path, name] => xattr(path, name),
        ["ids"] => ids(),
        ["noise", path, seed, mib] => said(noise(path, seed, mib)),
        ["hear", path, seed, mib] => said(hear(path, seed, mib)),
        ["canary", directory, ref deed @ ..] => said(canary::live(Path::new(directory), deed)),
        ["hurt", path] => told(hurt(path)),
        ["hoard", mib] => said(hoard(mib)),
        ["net", ref words @ ..] => said(net::run(words)),
        ["load", ref words @ ..] => said(load::run(words)),
        ["echo", path] => said(echo(path)),
        ["multiply"] => said(multiply()),
        ["killall5"] => said(killall5()),
        ["as", user, program, ref arguments @ ..] => said(run_as(user, program, arguments)),
        ["witness", known, secret] => told(witness::report(Path::new("/"), [known, secret])),
        ["posix", directory] => told(posix::told(Path::new(directory))),
        ["tree", directory] => told(tree::tell(Path::new(directory))),
        ["unguard"] => told(deeds::unguard()),
        ["shocker", path] => told(deeds::shocker(path)),
        ["module"] => told(deeds::module()),
        ["vsock", cid, port] => told(number(cid).and_then(|cid| deeds::vsock(cid, number(port)?))),
        ["knock", cid, first, last, step] => told(knock([cid, first, last], step)),
        ["puppet", pid] => told(number(pid).and_then(deeds::puppet)),
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

#[allow(clippy::print_stdout, reason = "its purpose")]
fn told(outcome: io::Result<String>) -> ExitCode {
    said(outcome.map(|text| println!("{text}")))
}

/// Says back what each client says at a Unix socket, and at the end of that how many bytes it was.
fn echo(path: &str) -> io::Result<()> {
    for client in UnixListener::bind(path)?.incoming() {
        let mut client = client?;
        std::thread::spawn(move || -> io::Result<()> {
            let (mut bytes, mut all) = (vec![0; 64 << 10], 0);
            loop {
                match client.read(&mut bytes)? {
                    0 => return write!(client, "\n{all}"),
                    count => {
                        all += count;
                        client.write_all(&bytes[..count])?;
                    }
                }
            }
        });
    }
    Ok(())
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

fn knock(numbers: [&str; 3], step: &str) -> io::Result<String> {
    let [cid, first, last] = numbers.map(number);
    deeds::knock(cid?, first?, last?, number(step)?)
}

fn number<T: FromStr<Err = ParseIntError>>(word: &str) -> io::Result<T> {
    word.parse().map_err(io::Error::other)
}

/// Writes over a file, making it and its directories where they are not there; gives as whom.
fn hurt(path: &str) -> io::Result<String> {
    std::fs::create_dir_all(Path::new(path).parent().unwrap_or(Path::new("/")))?;
    std::fs::write(path, "hurt\n")?;
    Ok(format!("hurt by {}", rustix::process::geteuid().as_raw()))
}

fn hoard(mib: &str) -> io::Result<()> {
    // Piece by piece: one that is larger than the machine is refused at once.
    let memory: Vec<Vec<u8>> = (0..number::<usize>(mib)?).map(|_| vec![1; MIB]).collect();
    keep()?;
    drop(memory);
    Ok(())
}

/// Tells that there can be no more. Its children stay, and theirs take the place of who does not.
fn multiply() -> io::Result<()> {
    while !sys::fork()? {}
    loop {
        std::thread::sleep(Duration::from_secs(2));
        let _ = sys::fork();
    }
}

fn run_as(user: &str, program: &str, arguments: &[&str]) -> io::Result<()> {
    let mut command = Command::new(program);
    Err(command.args(arguments).uid(number(user)?).exec())
}

/// As sysvinit's: whoever is not of its own session is killed, but for PID 1.
fn killall5() -> io::Result<()> {
    let session = getsid(None)?;
    for entry in std::fs::read_dir("/proc")? {
        let Some(pid) = number(&entry?.file_name().to_string_lossy()).ok().and_then(Pid::from_raw)
        else {
            continue;
        };
        if pid != Pid::INIT && getsid(Some(pid)).is_ok_and(|it| it != session) {
            kill_process(pid, Signal::KILL)?;
        }
    }
    Ok(())
}

fn keep() -> io::Result<()> {
    std::thread::sleep(Duration::from_secs(600));
    Ok(())
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
