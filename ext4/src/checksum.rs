//! CRC-32C as ext4 uses it: begun from a seed, and never inverted.

use crc::{Algorithm, Crc, Table};

/// What a checksum begins with that has no other seed.
pub const START: u32 = u32::MAX;

static CRC: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&Algorithm {
    width: 32,
    poly: 0x1edc_6f41,
    init: START,
    refin: true,
    refout: true,
    xorout: 0,
    check: 0x1cf9_6d7c,
    residue: 0,
});

/// The checksum of some bytes that follow those of which `seed` is the checksum.
pub fn of(seed: u32, bytes: &[u8]) -> u32 {
    // It takes what to begin with as it is before reflection.
    let mut digest = CRC.digest_with_initial(seed.reverse_bits());
    digest.update(bytes);
    digest.finalize()
}

/// The seed of what belongs to an inode whose generation is 0.
pub fn of_inode(seed: u32, inode: u32) -> u32 {
    of(of(seed, &inode.to_le_bytes()), &[0; 4])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_castagnolis_without_the_last_inversion_and_goes_on() {
        assert_eq!(!of(START, b"123456789"), 0xe306_9283);
        assert_eq!(of(of(START, b"1234"), b"56789"), of(START, b"123456789"));
    }
}
