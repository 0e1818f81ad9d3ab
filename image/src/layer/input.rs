//! A layer's bytes, uncompressed. What they are compressed with is told by how they begin, because
//! media types lie: docker-archives hold all kinds under one name.

use super::error::UnpackError;
use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use std::io::{self, BufRead, Read};

/// The largest zstd window: zstd's own limit where it is not told otherwise. It is what decoding keeps
/// in memory.
const MAX_ZSTD_WINDOW_BYTES: u64 = 128 << 20;

/// How some bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, RFC 1952; any number of members.
    Gzip,
    /// Zstandard, RFC 8878; any number of frames.
    Zstd,
}

impl Compression {
    /// How many bytes [`Compression::of`] wants to see.
    pub const MAGIC_BYTES: usize = 6;

    /// What bytes that begin so are compressed with; `None` where it is something that is not known.
    pub fn of(begin: &[u8]) -> Option<Self> {
        match begin {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Self::Zstd),
            // xz and bzip2, which Docker takes for other purposes.
            [0xfd, b'7', b'z', b'X', b'Z', 0] | [b'B', b'Z', b'h', b'1'..=b'9', ..] => None,
            _ => Some(Self::None),
        }
    }
}

/// Uncompresses what `R` reads.
pub(super) enum Decoder<R: BufRead> {
    None(R),
    Gzip(Box<MultiGzDecoder<R>>),
    Zstd(Box<ZstdReader<R>>),
}

impl<R: BufRead> Decoder<R> {
    pub(super) fn new(mut input: R) -> Result<Self, UnpackError> {
        // Buffers are filled whole, or to the end: the begin is all there.
        let begin = input.fill_buf().map_err(|error| UnpackError::input(&error))?;
        match Compression::of(begin) {
            Some(Compression::None) => Ok(Self::None(input)),
            Some(Compression::Gzip) => Ok(Self::Gzip(Box::new(MultiGzDecoder::new(input)))),
            Some(Compression::Zstd) => Ok(Self::Zstd(Box::new(ZstdReader::new(input)))),
            None => Err(UnpackError::Compression),
        }
    }
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::None(input) => input.read(into),
            Self::Gzip(decoder) => decoder.read(into),
            Self::Zstd(decoder) => decoder.read(into),
        }
    }
}

/// Frame after frame.
pub(super) struct ZstdReader<R> {
    input: R,
    frame: FrameDecoder,
    in_frame: bool,
}

impl<R: BufRead> ZstdReader<R> {
    fn new(input: R) -> Self {
        let mut frame = FrameDecoder::new();
        frame.set_max_window_size(MAX_ZSTD_WINDOW_BYTES);
        Self { input, frame, in_frame: false }
    }

    /// Begins the next frame that is not to be skipped; `false` at the end.
    fn next_frame(&mut self) -> io::Result<bool> {
        while !self.input.fill_buf()?.is_empty() {
            match self.frame.reset(&mut self.input) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let length = u64::from(length);
                    let skipped =
                        io::copy(&mut Read::take(&mut self.input, length), &mut io::sink())?;
                    if skipped < length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
        }
        Ok(false)
    }

    fn end_frame(&mut self) -> io::Result<()> {
        self.in_frame = false;
        let stated = self.frame.get_checksum_from_data();
        if stated.is_some() && stated != self.frame.get_calculated_checksum() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "zstd: wrong checksum"));
        }
        Ok(())
    }
}

impl<R: BufRead> Read for ZstdReader<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.in_frame {
                self.in_frame = self.next_frame()?;
                if !self.in_frame {
                    return Ok(0);
                }
            }
            while self.frame.can_collect() == 0 && !self.frame.is_finished() {
                self.frame
                    .decode_blocks(&mut self.input, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            }
            if self.frame.can_collect() > 0 {
                return self.frame.read(into);
            }
            self.end_frame()?;
        }
    }
}

/// Reads at most so much, and then fails with `FileTooLarge`.
#[derive(Debug)]
pub(super) struct Limited<R> {
    pub(super) inner: R,
    pub(super) left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(into)?;
        self.left = self
            .left
            .checked_sub(count as u64)
            .ok_or_else(|| io::Error::from(io::ErrorKind::FileTooLarge))?;
        Ok(count)
    }
}
