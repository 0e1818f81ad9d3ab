//! What the agent's channel may say to the launcher, and the other way round.

use protocol::frame::Decoder;
use protocol::handshake::Hello;
use protocol::{Event, Request};
use serde::de::DeserializeOwned;

/// A guest's answers: a greeting, then events, however the bytes are cut.
pub fn event(bytes: &[u8]) {
    messages::<Hello>(bytes, 1);
    messages::<Event>(bytes, usize::MAX);
}

/// A launcher's requests.
pub fn request(bytes: &[u8]) {
    messages::<Request>(bytes, usize::MAX);
}

fn messages<M: DeserializeOwned>(bytes: &[u8], most: usize) {
    // The first byte says in how large pieces the rest arrives.
    let Some((piece, bytes)) = bytes.split_first() else { return };
    let mut decoder = Decoder::default();
    for part in bytes.chunks(usize::from(*piece).max(1)) {
        decoder.push(part);
        for _ in 0..most {
            match decoder.next::<M>() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}
