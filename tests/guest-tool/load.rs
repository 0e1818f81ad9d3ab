//! What measuring the network asks for, inside guests and outside: `guest-tool load …`.
//!
//! ```text
//!   serve PORT                       sends back what comes, to any number at a time, from one thread
//!   rounds ADDRESS:PORT COUNT        a byte there and back so often; says the median and the 99th percentile, in ns
//!   connections ADDRESS:PORT COUNT   so many one after the other, with a byte there and back on each
//!   keep ADDRESS:PORT COUNT          opens so many, some at a time, with a byte there and back on each, says so, and keeps them
//! ```

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);
/// Rounds before those that count.
const WARM_UP: usize = 20;
const EVENTS: usize = 64;
/// Threads that open what is kept.
const OPENERS: usize = 100;
const LISTENER: u64 = u64::MAX;

/// Does one of the above.
pub fn run(words: &[&str]) -> io::Result<()> {
    let wrong = || io::Error::from(io::ErrorKind::InvalidInput);
    let number = |word: &str| word.parse::<usize>().map_err(|_| wrong());
    let address = |word: &str| word.parse::<SocketAddr>().map_err(|_| wrong());
    match words {
        ["serve", port] => serve(port.parse().map_err(|_| wrong())?),
        ["rounds", to, count] => rounds(address(to)?, number(count)?),
        ["connections", to, count] => {
            (0..number(count)?).try_for_each(|_| open(address(to)?).map(drop))
        }
        ["keep", to, count] => {
            let kept = open_many(address(to)?, number(count)?)?;
            writeln!(io::stdout(), "kept {}", kept.len())?;
            loop {
                thread::park();
            }
        }
        _ => Err(wrong()),
    }
}

/// A connection on which a byte has come back.
fn open(to: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_nodelay(true)?;
    round(&mut stream)?;
    Ok(stream)
}

/// So many of them, by several threads: one after the other has a guest woken for each step of each.
fn open_many(to: SocketAddr, count: usize) -> io::Result<Vec<TcpStream>> {
    thread::scope(|scope| {
        let share = move |number| count / OPENERS + usize::from(number < count % OPENERS);
        let some =
            move |number| (0..share(number)).map(|_| open(to)).collect::<io::Result<Vec<_>>>();
        let openers: Vec<_> =
            (0..OPENERS).map(|number| scope.spawn(move || some(number))).collect();
        let failed = |_| io::Error::other("an opener has panicked");
        let kept = openers.into_iter().map(|it| it.join().map_err(failed)?);
        Ok(kept.collect::<io::Result<Vec<_>>>()?.into_iter().flatten().collect())
    })
}

fn round(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(&[1])?;
    stream.read_exact(&mut [0])
}

fn rounds(to: SocketAddr, count: usize) -> io::Result<()> {
    let mut stream = open(to)?;
    (0..WARM_UP).try_for_each(|_| round(&mut stream))?;
    let timed = |_| {
        let begun = Instant::now();
        round(&mut stream)?;
        Ok(begun.elapsed().as_nanos())
    };
    let mut took = (0..count).map(timed).collect::<io::Result<Vec<_>>>()?;
    took.sort_unstable();
    let at = |hundredth: usize| took.get(took.len() * hundredth / 100).copied().unwrap_or(0);
    writeln!(io::stdout(), "median {} p99 {}", at(50), at(99))
}

/// One thread, however many have come: a thread for each would be what is measured.
fn serve(port: u16) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut streams = HashMap::new();
    let mut next = 0;
    writeln!(io::stdout(), "serves")?;
    let (mut events, mut block) = (Vec::with_capacity(EVENTS), vec![0; 1 << 16]);
    loop {
        events.clear();
        match epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        for event in &events {
            let of = event.data.u64();
            if of == LISTENER {
                let (stream, _) = listener.accept()?;
                stream.set_nodelay(true)?;
                epoll::add(&epoll, &stream, EventData::new_u64(next), EventFlags::IN)?;
                streams.insert(next, stream);
                next += 1;
            } else if let Some(stream) = streams.get_mut(&of)
                && !answered(stream, &mut block)
            {
                streams.remove(&of);
            }
        }
    }
}

/// Whether more may come.
fn answered(stream: &mut TcpStream, block: &mut [u8]) -> bool {
    match stream.read(block) {
        Ok(0) | Err(_) => false,
        Ok(count) => stream.write_all(block.get(..count).unwrap_or_default()).is_ok(),
    }
}
