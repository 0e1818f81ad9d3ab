//! Whoever is asked for names (RFC 1035): one name is this machine's, and no other is known.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

/// A name server on an address of the loopback that nobody else has.
pub struct NameServer {
    asked: Arc<AtomicUsize>,
}

const ADDRESS: &str = "127.0.0.153";

/// How long an answer takes.
const FAR: Duration = Duration::from_millis(20);

impl NameServer {
    /// The name that it knows.
    pub const NAME: &str = "registry.test";

    /// The one there is, which is started by whoever asks first: no two have one address.
    pub fn here() -> &'static Self {
        static HERE: OnceLock<NameServer> = OnceLock::new();
        HERE.get_or_init(Self::start)
    }

    fn start() -> Self {
        let socket = UdpSocket::bind((ADDRESS, 53)).expect("port 53 of an address of the loopback");
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = asked.clone();
        thread::spawn(move || {
            let mut question = [0; 512];
            while let Ok((length, who)) = socket.recv_from(&mut question) {
                counter.fetch_add(1, Ordering::Relaxed);
                if let Some(answer) = question.get(..length).and_then(answer) {
                    // Nobody else's is so near: whoever asks has to wait.
                    thread::sleep(FAR);
                    let _ = socket.send_to(&answer, who);
                }
            }
        });
        Self { asked }
    }

    /// Its address.
    pub fn address(&self) -> &str {
        ADDRESS
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// The name's address of version 4 or 6.
fn answer(question: &[u8]) -> Option<Vec<u8>> {
    const HEADER: usize = 12;
    let mut at = HEADER;
    let mut labels = Vec::new();
    while let length @ 1.. = usize::from(*question.get(at)?) {
        labels.push(String::from_utf8_lossy(question.get(at + 1..=at + length)?).into_owned());
        at += length + 1;
    }
    // The name's end, its type and its class.
    let end = at + 5;
    let kind = *question.get(at + 2)?;
    let address: &[u8] = match kind {
        1 => &[127, 0, 0, 1],
        28 => &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        _ => &[],
    };
    let is_known = labels.join(".") == NameServer::NAME;
    let has_answer = is_known && !address.is_empty();
    let mut answer = question.get(..2)?.to_vec();
    answer.extend([0x81, if is_known { 0x80 } else { 0x83 }]);
    answer.extend([0, 1, 0, u8::from(has_answer), 0, 0, 0, 0]);
    answer.extend(question.get(HEADER..end)?);
    if has_answer {
        // The name again, an address, of the Internet, good for a minute.
        answer.extend([0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 60, 0, u8::try_from(address.len()).ok()?]);
        answer.extend(address);
    }
    Some(answer)
}
