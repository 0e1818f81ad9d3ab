//! How an archive is made again of the image that was made of it: `save` gives what was pulled, byte for byte, and the
//! store keeps file data once.
//!
//! ```text
//!   EROFS image │ recipe, deflated │ zeroes │ trailer: magic, where the recipe is, how long it and the archive are
//!               └─ literal bytes (headers, paddings, tails) and stretches of the image, in the archive's order
//! ```
//!
//! It stands behind the file system, which knows nothing of it. Whoever unpacks a layer writes it, so a reader believes
//! nothing: bounds are checked, and the archive's digest has to be the one that names the layer.

use super::limits::Limits;
use flate2::Compression;
use flate2::bufread::DeflateDecoder;
use flate2::write::DeflateEncoder;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use tarball::TarInput;

/// More than this, deflated, is not kept in memory while a layer is unpacked: such a layer has no recipe.
const MAX_RECIPE_BYTES: usize = 64 << 20;
/// Literal bytes are gathered up to this.
const LITERAL_BYTES: usize = 64 << 10;
const MAGIC: &[u8; 8] = b"cfd-rcp1";
/// Magic, offset, length, archive's length.
pub(super) const TRAILER_BYTES: usize = 32;

const LITERAL: u8 = 1;
const STRETCH: u8 = 2;

/// A recipe in the making.
pub(super) struct Recipe {
    /// Nothing, once it has become too long.
    deflated: Option<DeflateEncoder<Vec<u8>>>,
    literal: Vec<u8>,
    /// A stretch that may go on: where it begins, and how long it is.
    stretch: (u64, u64),
    archive_bytes: u64,
}

impl Recipe {
    pub(super) fn new() -> Self {
        let deflated = Some(DeflateEncoder::new(Vec::new(), Compression::fast()));
        Self { deflated, literal: Vec::new(), stretch: (0, 0), archive_bytes: 0 }
    }

    /// The archive goes on with these bytes.
    fn literal(&mut self, bytes: &[u8]) {
        self.end_stretch();
        self.archive_bytes += bytes.len() as u64;
        self.literal.extend_from_slice(bytes);
        if self.literal.len() >= LITERAL_BYTES {
            self.end_literal();
        }
    }

    /// The archive goes on with so many bytes, which the image has at `position`.
    fn stretch(&mut self, position: u64, length: u64) {
        self.end_literal();
        self.archive_bytes += length;
        if self.stretch.0 + self.stretch.1 == position && self.stretch.1 > 0 {
            self.stretch.1 += length;
        } else {
            self.end_stretch();
            self.stretch = (position, length);
        }
    }

    fn end_literal(&mut self) {
        let literal = std::mem::take(&mut self.literal);
        if !literal.is_empty() {
            self.put(&[&[LITERAL], &(literal.len() as u64).to_le_bytes()[..], &literal]);
            self.literal = literal;
            self.literal.clear();
        }
    }

    fn end_stretch(&mut self) {
        let (position, length) = std::mem::take(&mut self.stretch);
        if length > 0 {
            self.put(&[&[STRETCH], &position.to_le_bytes(), &length.to_le_bytes()]);
        }
    }

    fn put(&mut self, parts: &[&[u8]]) {
        let Some(deflated) = &mut self.deflated else { return };
        let written = parts.iter().try_for_each(|part| deflated.write_all(part));
        if written.is_err() || deflated.get_ref().len() > MAX_RECIPE_BYTES {
            self.deflated = None;
        }
    }

    /// All of it, and how long the archive is; nothing where it is too long.
    pub(super) fn finish(mut self) -> Option<(Vec<u8>, u64)> {
        self.end_literal();
        self.end_stretch();
        let deflated = self.deflated?.finish().ok()?;
        (deflated.len() <= MAX_RECIPE_BYTES).then_some((deflated, self.archive_bytes))
    }
}

/// The trailer of an image whose recipe begins at `offset`.
pub(super) fn trailer(offset: u64, length: u64, archive_bytes: u64) -> [u8; TRAILER_BYTES] {
    let mut bytes = [0; TRAILER_BYTES];
    let fields = [u64::from_le_bytes(*MAGIC), offset, length, archive_bytes];
    for (place, field) in bytes.chunks_exact_mut(8).zip(fields) {
        place.copy_from_slice(&field.to_le_bytes());
    }
    bytes
}

/// An archive that is read, and what a recipe learns from that.
pub(super) struct Recorded<I> {
    input: I,
    recipe: Recipe,
}

impl<I: TarInput> Recorded<I> {
    pub(super) fn new(input: I) -> Self {
        Self { input, recipe: Recipe::new() }
    }

    /// Reads what is left, and gives the recipe of all of it.
    pub(super) fn into_recipe(mut self) -> io::Result<Recipe> {
        loop {
            let count = self.fill_buf()?.len();
            if count == 0 {
                return Ok(self.recipe);
            }
            self.consume(count);
        }
    }
}

impl<I: TarInput> Read for Recorded<I> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(into)?;
        self.recipe.literal(into.get(..count).unwrap_or_default());
        Ok(count)
    }
}

impl<I: TarInput> BufRead for Recorded<I> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.input.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        // What was just given is given again, with nothing read for it.
        if let Ok(bytes) = self.input.fill_buf() {
            self.recipe.literal(bytes.get(..count).unwrap_or(bytes));
        }
        self.input.consume(count);
    }
}

impl<I: TarInput> TarInput for Recorded<I> {
    fn consume_placed(&mut self, count: usize, position: u64) {
        self.recipe.stretch(position, count as u64);
        self.input.consume(count);
    }
}

/// Why an archive cannot be made again.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// The layer has no recipe.
    #[error("how it was made is not known: it was unpacked by an older cofferdam, or is too large")]
    Absent,
    /// The image cannot be read.
    #[error("cannot read the layer")]
    Read(#[from] io::Error),
    /// Its trailer names a place that is not there.
    #[error("the layer's recipe is damaged")]
    Damaged,
}

/// An archive that is made again, to be read once. What is damaged shows as an error of `InvalidData` or in the digest.
pub struct Archive<'a> {
    image: &'a File,
    recipe: BufReader<DeflateDecoder<BufReader<Stretch<'a>>>>,
    /// How many bytes of the image may be named.
    image_bytes: u64,
    step: Step,
    left: u64,
}

/// What comes next.
enum Step {
    Nothing,
    Literal(u64),
    Stretch(u64, u64),
}

/// A stretch of a file, read in order.
struct Stretch<'a> {
    file: &'a File,
    position: u64,
    left: u64,
}

impl Read for Stretch<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = into.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.file.read_at(into.get_mut(..most).unwrap_or_default(), self.position)?;
        self.position += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

impl<'a> Archive<'a> {
    /// The archive that a layer's image was made of; the image is `length` bytes long.
    ///
    /// # Errors
    /// [`RecipeError`].
    pub fn of(image: &'a File, length: u64) -> Result<Self, RecipeError> {
        let at = length.checked_sub(TRAILER_BYTES as u64).ok_or(RecipeError::Absent)?;
        let mut trailer = [0; TRAILER_BYTES];
        image.read_exact_at(&mut trailer, at)?;
        let field = |index: usize| {
            let bytes = trailer.as_chunks::<8>().0.get(index).copied().unwrap_or_default();
            u64::from_le_bytes(bytes)
        };
        if field(0) != u64::from_le_bytes(*MAGIC) {
            return Err(RecipeError::Absent);
        }
        let (offset, recipe_bytes) = (field(1), field(2));
        if offset.checked_add(recipe_bytes).is_none_or(|end| end > at) {
            return Err(RecipeError::Damaged);
        }
        // What no layer may have, none has had.
        if field(3) > Limits::default().archive_bytes {
            return Err(RecipeError::Damaged);
        }
        let stretch = Stretch { file: image, position: offset, left: recipe_bytes };
        let recipe = BufReader::new(DeflateDecoder::new(BufReader::new(stretch)));
        Ok(Self { image, recipe, image_bytes: offset, step: Step::Nothing, left: field(3) })
    }

    /// How long what is left of it is to be, in bytes.
    pub fn len(&self) -> u64 {
        self.left
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// The next step; nothing at the end.
    fn next_step(&mut self) -> io::Result<bool> {
        let mut word = [0; 8];
        let mut number =
            |recipe: &mut dyn Read| recipe.read_exact(&mut word).map(|()| u64::from_le_bytes(word));
        let mut kind = [0];
        if self.recipe.read(&mut kind)? == 0 {
            return Ok(false);
        }
        self.step = match kind {
            [LITERAL] => Step::Literal(number(&mut self.recipe)?),
            [STRETCH] => {
                let (position, length) = (number(&mut self.recipe)?, number(&mut self.recipe)?);
                if position.checked_add(length).is_none_or(|end| end > self.image_bytes) {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                Step::Stretch(position, length)
            }
            _ => return Err(io::ErrorKind::InvalidData.into()),
        };
        // Steps that lead nowhere could be without end.
        if let Step::Literal(0) | Step::Stretch(_, 0) = self.step {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(true)
    }
}

impl Read for Archive<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = |left: u64| usize::try_from(left).unwrap_or(usize::MAX);
        if into.is_empty() {
            return Ok(0);
        }
        while let Step::Nothing | Step::Literal(0) | Step::Stretch(_, 0) = self.step {
            if !self.next_step()? {
                // One that ends early, or never does, is damaged: its length is known.
                return if self.left == 0 {
                    Ok(0)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
        let room = into.len();
        let count = match &mut self.step {
            Step::Literal(left) => {
                let into = into.get_mut(..room.min(most(*left))).unwrap_or_default();
                let count = self.recipe.read(into)?;
                *left -= count as u64;
                count
            }
            Step::Stretch(position, left) => {
                let into = into.get_mut(..room.min(most(*left))).unwrap_or_default();
                let count = self.image.read_at(into, *position)?;
                (*position, *left) = (*position + count as u64, *left - count as u64);
                count
            }
            Step::Nothing => 0,
        };
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left = self.left.checked_sub(count as u64).ok_or(io::ErrorKind::InvalidData)?;
        Ok(count)
    }
}
