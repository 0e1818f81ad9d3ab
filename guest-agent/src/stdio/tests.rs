use super::*;
use rustix::pipe::{PipeFlags, pipe_with};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

/// A relay at work between a process and the launcher, whose ends are in the test's hands.
struct Relayed {
    process: Option<File>,
    launcher: Option<UnixStream>,
    /// As the input's relay of a terminal keeps its connection open.
    kept: OwnedFd,
    ended: Arc<Ended>,
    relay: JoinHandle<()>,
}

/// Starts one between the process's end of a pipe and the launcher's of a connection.
fn relayed(process: OwnedFd, relay: impl FnOnce(&OwnedFd, &Ended) + Send + 'static) -> Relayed {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let ended = Ended::new().unwrap();
    let own = Arc::clone(&ended);
    let connection = OwnedFd::from(ours);
    let kept = connection.try_clone().unwrap();
    let relay = std::thread::spawn(move || relay(&connection, &own));
    Relayed { process: Some(process.into()), launcher: Some(theirs), kept, ended, relay }
}

fn output() -> Relayed {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    relayed(writer, move |connection, ended| relay_output(&reader, connection, ended))
}

fn input() -> Relayed {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    relayed(reader, move |connection, ended| {
        relay_input(connection, &writer, ended, Shutdown::Both);
    })
}

/// Bytes of every value, longer than a pipe and a buffer.
fn bytes() -> Vec<u8> {
    (0..1_000_003u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

#[test]
fn output_arrives_whole_and_then_its_end() {
    let Relayed { process, launcher, kept, relay, .. } = output();
    let writer = std::thread::spawn(move || process.unwrap().write_all(&bytes()));
    let mut received = Vec::new();
    launcher.unwrap().read_to_end(&mut received).unwrap();
    assert_eq!(received, bytes());
    writer.join().unwrap().unwrap();
    relay.join().unwrap();
    drop(kept);
}

#[test]
fn a_reader_that_has_gone_breaks_the_pipe_before_the_next_write() {
    let Relayed { mut process, launcher, relay, .. } = output();
    drop(launcher);
    relay.join().unwrap();
    let error = process.as_mut().unwrap().write(b"x").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
}

#[test]
fn a_reader_that_merely_sends_nothing_more_still_reads() {
    let Relayed { mut process, launcher, relay, .. } = output();
    let mut launcher = launcher.unwrap();
    launcher.shutdown(std::net::Shutdown::Write).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    process.as_mut().unwrap().write_all(b"late").unwrap();
    drop(process);
    let mut received = String::new();
    launcher.read_to_string(&mut received).unwrap();
    assert_eq!(received, "late");
    relay.join().unwrap();
}

#[test]
fn what_others_who_keep_the_pipe_open_write_is_given_on_for_two_seconds() {
    let Relayed { mut process, launcher, ended, relay, .. } = output();
    let pipe = process.as_mut().unwrap();
    pipe.write_all(b"last words").unwrap();
    let began = Instant::now();
    ended.tell();
    std::thread::sleep(Duration::from_millis(300));
    pipe.write_all(b" and later ones").unwrap();
    let mut received = String::new();
    launcher.unwrap().read_to_string(&mut received).unwrap();
    assert_eq!(received, "last words and later ones");
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    relay.join().unwrap();
    drop(process);
}

#[test]
fn whoever_writes_on_for_ever_is_heard_for_two_seconds() {
    let Relayed { process, launcher, ended, relay, .. } = output();
    let mut process = process.unwrap();
    let writer = std::thread::spawn(move || while process.write_all(&[7; 4096]).is_ok() {});
    let mut launcher = launcher.unwrap();
    launcher.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    ended.tell();
    let began = Instant::now();
    let mut buffer = vec![0; 1 << 16];
    while launcher.read(&mut buffer).unwrap() > 0 {
        assert!(began.elapsed() < LINGER * 3, "it is still heard");
    }
    relay.join().unwrap();
    writer.join().unwrap();
}

#[test]
fn last_words_are_given_on_however_slowly_they_are_taken() {
    let Relayed { mut process, launcher, ended, relay, .. } = output();
    let process_end = process.as_mut().unwrap();
    set_nonblocking(&process_end.try_clone().unwrap().into()).unwrap();
    let (mut written, mut refused) = (0, 0);
    while refused < 20 {
        match process_end.write(&[7; 4096]) {
            Ok(count) => (written, refused) = (written + count, 0),
            Err(_) => {
                refused += 1;
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
    ended.tell();
    std::thread::sleep(LINGER + Duration::from_millis(200));
    let mut received = Vec::new();
    launcher.unwrap().read_to_end(&mut received).unwrap();
    assert_eq!(received.len(), written);
    relay.join().unwrap();
    drop(process);
}

#[test]
fn the_end_of_a_terminals_input_leaves_its_output_alone() {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let ended = Ended::new().unwrap();
    ended.tell();
    let connection = OwnedFd::from(ours);
    relay_input(&connection, &writer, &ended, Shutdown::Read);
    UnixStream::from(connection).write_all(b"last words").unwrap();
    let mut received = String::new();
    theirs.read_to_string(&mut received).unwrap();
    assert_eq!(received, "last words");
    drop(reader);
}

#[test]
fn input_arrives_whole_and_then_its_end() {
    let Relayed { process, launcher, relay, .. } = input();
    let writer = std::thread::spawn(move || launcher.unwrap().write_all(&bytes()));
    let mut received = Vec::new();
    process.unwrap().read_to_end(&mut received).unwrap();
    assert_eq!(received, bytes());
    writer.join().unwrap().unwrap();
    relay.join().unwrap();
}

#[test]
fn input_that_nobody_reads_is_closed_at_once() {
    let Relayed { process, launcher, relay, .. } = input();
    drop(process);
    let mut launcher = launcher.unwrap();
    assert_eq!(launcher.read(&mut [0]).unwrap(), 0);
    relay.join().unwrap();
    assert!(launcher.write_all(&[0; 4096]).is_err());
}

#[test]
fn input_ends_with_its_process() {
    let Relayed { process, launcher, ended, relay, .. } = input();
    ended.tell();
    relay.join().unwrap();
    assert_eq!(launcher.unwrap().read(&mut [0]).unwrap(), 0);
    drop(process);
}

#[test]
fn whoever_is_slow_slows_the_other_side() {
    let Relayed { mut process, launcher, relay, .. } = output();
    let process_end = process.as_mut().unwrap();
    set_nonblocking(&process_end.try_clone().unwrap().into()).unwrap();
    let mut written = 0;
    // Until the socket's buffer, the relay's and the pipe's are full, and stay so.
    let mut refused = 0;
    while refused < 20 {
        match process_end.write(&[7; 4096]) {
            Ok(count) => (written, refused) = (written + count, 0),
            Err(_) => {
                refused += 1;
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        assert!(written < 64 << 20, "nothing slows the writer");
    }
    drop(process);
    let mut received = Vec::new();
    launcher.unwrap().read_to_end(&mut received).unwrap();
    assert_eq!(received.len(), written);
    relay.join().unwrap();
}
