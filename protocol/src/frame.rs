//! The wire form of a message: its length as four little-endian bytes, then postcard.
//!
//! Pure: bytes in, messages out. A length is checked before anything is kept for it.

use serde::{Serialize, de::DeserializeOwned};

/// The longest message, in bytes, without its length prefix.
pub const MAX_FRAME_BYTES: usize = 1024 * 1024;
const PREFIX_BYTES: usize = 4;

/// Why bytes are no frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The length is over the limit.
    #[error("a message of {0} bytes is over the limit of {MAX_FRAME_BYTES}")]
    TooLong(usize),
    /// The payload is no such message.
    #[error("malformed message")]
    Malformed(#[source] postcard::Error),
    /// Bytes are left over after the message.
    #[error("{0} bytes follow the message within its frame")]
    TrailingBytes(usize),
}

/// Encodes a message with its length prefix.
///
/// # Errors
/// [`FrameError::TooLong`] where it exceeds [`MAX_FRAME_BYTES`].
pub fn encode<M: Serialize>(message: &M) -> Result<Vec<u8>, FrameError> {
    let mut bytes =
        postcard::to_extend(message, vec![0; PREFIX_BYTES]).map_err(FrameError::Malformed)?;
    let length = bytes.len() - PREFIX_BYTES;
    let prefix = u32::try_from(length)
        .ok()
        .filter(|_| length <= MAX_FRAME_BYTES)
        .ok_or(FrameError::TooLong(length))?;
    bytes[..PREFIX_BYTES].copy_from_slice(&prefix.to_le_bytes());
    Ok(bytes)
}

/// Collects bytes as they arrive and gives whole messages.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
}

impl Decoder {
    /// Adds bytes that arrived. Call [`Decoder::next`] until it gives `None` before adding more, and
    /// what is kept stays within one frame and one such addition.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message, if it has arrived.
    ///
    /// # Errors
    /// Any [`FrameError`]; the conversation cannot go on after one.
    #[allow(
        clippy::should_implement_trait,
        reason = "an iterator cannot have its items' type chosen"
    )]
    pub fn next<M: DeserializeOwned>(&mut self) -> Result<Option<M>, FrameError> {
        let Some(payload) = self.payload()? else { return Ok(None) };
        let (message, left) = postcard::take_from_bytes(payload).map_err(FrameError::Malformed)?;
        if !left.is_empty() {
            return Err(FrameError::TrailingBytes(left.len()));
        }
        let length = payload.len();
        self.bytes.drain(..PREFIX_BYTES + length);
        Ok(Some(message))
    }

    /// What the next whole message begins with, whatever it goes on with. The message stays.
    ///
    /// # Errors
    /// As [`Decoder::next`].
    pub(crate) fn peek<M: DeserializeOwned>(&self) -> Result<Option<M>, FrameError> {
        let Some(payload) = self.payload()? else { return Ok(None) };
        let (begin, _) = postcard::take_from_bytes(payload).map_err(FrameError::Malformed)?;
        Ok(Some(begin))
    }

    /// The next frame, if it has arrived whole.
    fn payload(&self) -> Result<Option<&[u8]>, FrameError> {
        let Some((prefix, rest)) = self.bytes.split_first_chunk::<PREFIX_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*prefix) as usize;
        if length > MAX_FRAME_BYTES {
            return Err(FrameError::TooLong(length));
        }
        Ok(rest.get(..length))
    }
}
