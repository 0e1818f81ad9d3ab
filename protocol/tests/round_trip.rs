//! What is encoded comes back, however it is cut on the way; and no bytes make the decoder fall over
//! or keep more than it was given.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "how a test fails"
)]

mod arbitrary;

use proptest::prelude::*;
use protocol::frame::{self, Decoder, FrameError, MAX_FRAME_BYTES};
use protocol::handshake::{Hello, Welcome};
use protocol::{ContainerId, Event, ExitStatus, IdentifierError, ProcessId, Request};
use std::fmt::Debug;

/// Feeds `bytes` in pieces whose ends are at `cuts`; gives every message that came out.
fn decode<M: serde::de::DeserializeOwned>(
    bytes: &[u8],
    cuts: &[prop::sample::Index],
) -> Result<Vec<M>, FrameError> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    ends.push(bytes.len());
    ends.sort_unstable();
    let (mut decoder, mut messages, mut from) = (Decoder::default(), Vec::new(), 0);
    for end in ends {
        decoder.push(&bytes[from..end]);
        from = end;
        while let Some(message) = decoder.next()? {
            messages.push(message);
        }
    }
    Ok(messages)
}

fn comes_back<M>(messages: &[M], cuts: &[prop::sample::Index])
where
    M: serde::Serialize + serde::de::DeserializeOwned + PartialEq + Debug,
{
    let bytes: Vec<u8> = messages.iter().flat_map(|it| frame::encode(it).unwrap()).collect();
    assert_eq!(decode::<M>(&bytes, cuts).unwrap(), messages);
}

fn cuts() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    prop::collection::vec(any::<prop::sample::Index>(), 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn requests_come_back(messages in prop::collection::vec(arbitrary::request(), 1..4), cuts in cuts()) {
        comes_back(&messages, &cuts);
    }

    #[test]
    fn events_come_back(messages in prop::collection::vec(arbitrary::event(), 1..6), cuts in cuts()) {
        comes_back(&messages, &cuts);
    }

    #[test]
    fn the_handshake_comes_back(
        versions in any::<(u32, u32)>(),
        texts in any::<(String, String)>(),
        times in any::<(u64, u64)>(),
        cuts in cuts(),
    ) {
        let hello = Hello {
            protocol_version: versions.0,
            agent_version: texts.0,
            kernel_release: texts.1,
            agent_started_ns: times.0,
        };
        comes_back(&[hello], &cuts);
        comes_back(&[Welcome { protocol_version: versions.1, realtime_ns: times.1 }], &cuts);
    }

    #[test]
    fn a_cut_message_is_waited_for(message in arbitrary::event(), cut in any::<prop::sample::Index>()) {
        let bytes = frame::encode(&message).unwrap();
        let mut decoder = Decoder::default();
        decoder.push(&bytes[..cut.index(bytes.len())]);
        prop_assert!(decoder.next::<Event>().unwrap().is_none());
        decoder.push(&bytes[cut.index(bytes.len())..]);
        prop_assert_eq!(decoder.next::<Event>().unwrap(), Some(message));
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let mut framed = u32::try_from(bytes.len()).unwrap().to_le_bytes().to_vec();
        framed.extend(&bytes);
        for text in [&bytes, &framed] {
            let mut decoder = Decoder::default();
            decoder.push(text);
            // Whatever it is; the identifiers and texts in it are held to their rules all the same.
            if let Ok(Some(Request::Signal { process, .. })) = decoder.next::<Request>() {
                prop_assert!(ProcessId::try_from(process.process.as_str().to_owned()).is_ok());
            }
            let mut decoder = Decoder::default();
            decoder.push(text);
            let _ = decoder.next::<Event>();
        }
    }

    #[test]
    fn an_identifier_is_what_its_rule_says(text in "\\PC{0,70}") {
        let first = text.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
        let rest = text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
        let right = first && rest && text.len() <= 64;
        prop_assert_eq!(ContainerId::try_from(text).is_ok(), right);
    }
}

/// The length alone is believed only so far as it is refused.
#[test]
fn an_oversized_length_is_refused_before_anything_is_kept_for_it() {
    for length in [MAX_FRAME_BYTES as u32 + 1, u32::MAX] {
        let mut decoder = Decoder::default();
        decoder.push(&length.to_le_bytes());
        let refused = decoder.next::<Event>();
        assert!(matches!(refused, Err(FrameError::TooLong(it)) if it == length as usize));
    }
}

/// A count within the message claims four thousand million texts: none of them is there.
#[test]
fn a_count_allocates_nothing() {
    let claim = [0xff, 0xff, 0xff, 0xff, 0x0f];
    let mut bytes = (claim.len() as u32).to_le_bytes().to_vec();
    bytes.extend(claim);
    let mut decoder = Decoder::default();
    decoder.push(&bytes);
    assert!(matches!(decoder.next::<Vec<String>>(), Err(FrameError::Malformed(_))));
}

#[test]
fn bytes_left_within_a_frame_are_refused() {
    let mut bytes = frame::encode(&Event::PoweringOff).unwrap();
    bytes.push(0);
    bytes[0] += 1;
    let mut decoder = Decoder::default();
    decoder.push(&bytes);
    assert!(matches!(decoder.next::<Event>(), Err(FrameError::TrailingBytes(1))));
}

#[test]
fn a_message_of_the_greatest_length_passes_and_a_longer_one_does_not() {
    // A text's length takes three bytes before it.
    let text = "x".repeat(MAX_FRAME_BYTES - 3);
    let bytes = frame::encode(&text).unwrap();
    assert_eq!(bytes.len(), 4 + MAX_FRAME_BYTES);
    let mut decoder = Decoder::default();
    decoder.push(&bytes);
    assert_eq!(decoder.next::<String>().unwrap(), Some(text.clone()));
    assert!(matches!(frame::encode(&(text + "x")), Err(FrameError::TooLong(_))));
}

#[test]
fn an_identifier_that_breaks_its_rule_ends_the_conversation() {
    let named = |name: &str| {
        // Event::Started of no container and a process of that name.
        let mut payload = vec![0, 0, u8::try_from(name.len()).unwrap()];
        payload.extend(name.as_bytes());
        payload.push(1);
        let mut bytes = u32::try_from(payload.len()).unwrap().to_le_bytes().to_vec();
        bytes.extend(payload);
        let mut decoder = Decoder::default();
        decoder.push(&bytes);
        decoder.next::<Event>()
    };
    assert!(matches!(named("good"), Ok(Some(Event::Started { .. }))));
    for bad in ["../up", "", "a/b", ".hidden", "a\0b"] {
        assert!(matches!(named(bad), Err(FrameError::Malformed(_))), "{bad:?}");
    }
}

#[test]
fn a_refused_identifier_is_named_but_not_at_any_length() {
    let IdentifierError(kept) = ContainerId::try_from("/".repeat(5000)).unwrap_err();
    assert_eq!(kept.len(), 80);
}

#[test]
fn exit_codes_are_a_shells() {
    assert_eq!(ExitStatus::Code(42).exit_code(), 42);
    assert_eq!(ExitStatus::Signal(9).exit_code(), 137);
    assert_eq!(ExitStatus::Signal(255).exit_code(), 255);
}
