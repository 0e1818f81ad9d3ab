//! What a name server has answered: which addresses the name that it was asked for has. Every byte may be anybody's.

use domain::base::{Message, Rtype};
use domain::rdata::{A, Aaaa, Cname};
use std::net::IpAddr;

/// More names than this, one standing for the other, are not followed.
const MOST_NAMES: usize = 16;
/// More addresses than this of one name are not taken in.
const MOST_ADDRESSES: usize = 64;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The name that was asked for, and then each that it stands for, in small letters and without the last dot.
    pub names: Vec<String>,
    /// The addresses, and for how many seconds they hold.
    pub addresses: Vec<(IpAddr, u32)>,
}

/// Takes the messages that are whole off the beginning of a stream (RFC 1035, 4.2.2), and reads them.
pub fn read_all(stream: &mut Vec<u8>) -> Vec<Answer> {
    let mut answers = Vec::new();
    let mut rest = stream.as_slice();
    while let Some((length, after)) = rest.split_first_chunk::<2>()
        && let Some((message, after)) =
            after.split_at_checked(usize::from(u16::from_be_bytes(*length)))
    {
        answers.extend(read(message));
        rest = after;
    }
    let left = rest.len();
    stream.drain(..stream.len() - left);
    answers
}

/// Reads an answer; `None` where it is none, or tells of no address.
pub fn read(message: &[u8]) -> Option<Answer> {
    let message = Message::from_slice(message).ok()?;
    if !message.header().qr() || message.is_error() {
        return None;
    }
    let question = message.sole_question().ok()?;
    if !matches!(question.qtype(), Rtype::A | Rtype::AAAA | Rtype::ANY) {
        return None;
    }
    let mut names = vec![plain(question.qname())];
    let mut least = u32::MAX;
    // Each stands as a rule before what it stands for, but need not.
    while names.len() < MOST_NAMES
        && let Some((next, ttl)) = stands_for(message, names.last()?)
        && !names.contains(&next)
    {
        names.push(next);
        least = least.min(ttl);
    }
    let last = names.last()?;
    let mut addresses: Vec<(IpAddr, u32)> = Vec::new();
    let mut take = |owner: String, address: IpAddr, ttl: u32| {
        if owner == *last && addresses.len() < MOST_ADDRESSES {
            addresses.push((address, ttl.min(least)));
        }
    };
    for record in message.answer().ok()?.limit_to_in::<A>().flatten() {
        take(plain(record.owner()), record.data().addr().into(), record.ttl().as_secs());
    }
    for record in message.answer().ok()?.limit_to_in::<Aaaa>().flatten() {
        take(plain(record.owner()), record.data().addr().into(), record.ttl().as_secs());
    }
    (!addresses.is_empty()).then_some(Answer { names, addresses })
}

/// What a name stands for, by a message, and for how long.
fn stands_for(message: &Message<[u8]>, name: &str) -> Option<(String, u32)> {
    let records = message.answer().ok()?.limit_to_in::<Cname<_>>().flatten();
    let mut of_name = records.filter(|record| plain(record.owner()) == name);
    let record = of_name.next()?;
    Some((plain(record.data().cname()), record.ttl().as_secs()))
}

fn plain(name: &impl std::fmt::Display) -> String {
    let mut text = name.to_string().to_ascii_lowercase();
    while text.ends_with('.') {
        text.pop();
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::cast_possible_truncation, reason = "all are short")]

    use super::*;
    use proptest::prelude::*;

    /// A message: its question, and records of a type for a name.
    fn message(question: &str, records: &[(&str, u16, u32, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0, 7, 0x81, 0x80, 0, 1, 0, records.len() as u8, 0, 0, 0, 0];
        bytes.extend(wire(question));
        bytes.extend([0, 1, 0, 1]);
        for (owner, kind, ttl, data) in records {
            bytes.extend(wire(owner));
            bytes.extend(kind.to_be_bytes());
            bytes.extend([0, 1]);
            bytes.extend(ttl.to_be_bytes());
            bytes.extend((data.len() as u16).to_be_bytes());
            bytes.extend(*data);
        }
        bytes
    }

    fn wire(name: &str) -> Vec<u8> {
        let labels = name.split('.').filter(|label| !label.is_empty());
        let mut bytes: Vec<u8> = labels
            .flat_map(|label| [&[label.len() as u8][..], label.as_bytes()].concat())
            .collect();
        bytes.push(0);
        bytes
    }

    #[test]
    fn the_addresses_of_the_name_that_was_asked_for() {
        let simple = message("Example.COM", &[("example.com", 1, 60, &[1, 2, 3, 4])]);
        let expected = Answer {
            names: vec!["example.com".into()],
            addresses: vec![([1, 2, 3, 4].into(), 60)],
        };
        assert_eq!(read(&simple), Some(expected));
        let six = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        let chain = message(
            "a.x",
            &[
                ("c.z", 1, 300, &[9, 9, 9, 9]),
                ("b.y", 5, 30, &wire("c.z")),
                ("a.x", 5, 99, &wire("b.y")),
                ("c.z", 28, 5, &six),
                ("other.z", 1, 300, &[6, 6, 6, 6]),
            ],
        );
        let expected = Answer {
            names: ["a.x", "b.y", "c.z"].map(String::from).into(),
            addresses: vec![([9, 9, 9, 9].into(), 30), (six.into(), 5)],
        };
        assert_eq!(read(&chain), Some(expected));
    }

    #[test]
    fn a_stream_has_one_after_the_other() {
        let one = message("x.y", &[("x.y", 1, 1, &[1, 1, 1, 1])]);
        let framed = [&(one.len() as u16).to_be_bytes()[..], &one].concat();
        let mut stream = [&framed[..], &[0, 0], &framed, &framed[..9]].concat();
        assert_eq!(read_all(&mut stream).len(), 2);
        assert_eq!(stream, framed[..9]);
        stream.extend(&framed[9..]);
        assert_eq!(read_all(&mut stream).len(), 1);
        assert!(stream.is_empty());
    }

    #[test]
    fn what_is_no_answer_tells_nothing() {
        let record = ("x.y", 1, 1, &[1, 1, 1, 1][..]);
        let whole = message("x.y", &[record]);
        let mut question = whole.clone();
        question[2] &= 0x7f;
        let mut failed = whole.clone();
        failed[3] |= 3;
        assert!(read(&whole).is_some());
        assert_eq!(read(&question), None);
        assert_eq!(read(&failed), None);
        for end in 0..whole.len() {
            assert_eq!(read(&whole[..end]), None, "{end}");
        }
        let circle = [("x.y", 5, 1, &wire("z.y")[..]), ("z.y", 5, 1, &wire("x.y")[..])];
        assert_eq!(read(&message("x.y", &circle)), None);
        assert_eq!(read(&message("else.y", &[record])), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_borne(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            at in any::<prop::sample::Index>(),
        ) {
            read(&bytes);
            let chain = [("a.x", 5, 9, &wire("b.y")[..]), ("b.y", 1, 9, &[1, 2, 3, 4][..])];
            let mut real = message("a.x", &chain);
            let at = at.index(real.len());
            real.splice(at..(at + bytes.len() / 20).min(real.len()), bytes.iter().take(9).copied());
            read(&real);
        }
    }
}
