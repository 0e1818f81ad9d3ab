//! Archives that are made again; what is damaged is no archive.

use super::{Archive, made_again, unpack_bytes};
use crate::layer::RecipeError;
use proptest::prelude::*;
use std::io::Write;

fn image() -> Vec<u8> {
    let layer = Archive::new().directory("d").file("d/large", &[7; 20_000]).file("d/small", b"x");
    unpack_bytes(&layer.bytes()).unwrap().1
}

/// What file data takes is not taken twice.
#[test]
fn a_recipe_is_short() {
    let random: Vec<u8> =
        (0..1u32 << 20).map(|it| it.wrapping_mul(2_654_435_761).to_be_bytes()[1]).collect();
    let layer = Archive::new().file("random", &random).bytes();
    let image = unpack_bytes(&layer).unwrap().1;
    assert!(image.len() < (1 << 20) + 5 * 4096, "{}", image.len());
}

#[test]
fn an_image_without_one_says_so() {
    for image in [Vec::new(), vec![0; 4096]] {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&image).unwrap();
        let archive = crate::layer::Archive::of(&file, image.len() as u64);
        assert!(matches!(archive.map(|_| ()), Err(RecipeError::Absent)));
    }
}

proptest! {
    #[test]
    fn whatever_is_changed_it_ends_as_long_as_it_says_or_fails(at in 0usize..40_000, to in any::<u8>()) {
        let mut changed = image();
        let at = at % changed.len();
        changed[at] = to;
        let _ = made_again(&changed);
    }

    #[test]
    fn whatever_stands_there_ends(tail in prop::collection::vec(any::<u8>(), 0..200), offset in any::<u64>(), length in any::<u64>(), archive in any::<u64>()) {
        let mut image = image();
        let at = image.len() - 32 - tail.len();
        image[at..at + tail.len()].copy_from_slice(&tail);
        let end = image.len();
        for (index, field) in [offset % 50_000, length % 50_000, archive].into_iter().enumerate() {
            let at = end - 24 + 8 * index;
            image[at..at + 8].copy_from_slice(&field.to_le_bytes());
        }
        let _ = made_again(&image);
    }
}
