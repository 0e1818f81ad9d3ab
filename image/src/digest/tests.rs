use super::{Algorithm, Digest, HashingReader};
use std::io::Read;

const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn known_digests() {
    assert_eq!(Digest::of(Algorithm::Sha256, b"").to_string(), EMPTY);
    let long = Digest::of(Algorithm::Sha512, b"abc");
    assert!(long.hex().starts_with("ddaf35a193617aba") && long.hex().ends_with("a54ca49f"));
    assert_eq!(long.to_string().parse::<Digest>().unwrap(), long);
}

#[test]
fn only_digests_parse() {
    for text in [
        "",
        "sha256:",
        "sha256",
        &EMPTY.to_uppercase(),
        &EMPTY[..EMPTY.len() - 1],
        &format!("{EMPTY}0"),
        &EMPTY.replace("sha256", "sha512"),
        &EMPTY.replace("e3", "g3"),
        "sha256:../../../../../../../../../../../../../../../../../../../../../e",
        "md5:d41d8cd98f00b204e9800998ecf8427e",
    ] {
        assert!(text.parse::<Digest>().is_err(), "{text}");
    }
}

#[test]
fn a_reader_hashes_what_passes() {
    let mut reader = HashingReader::new(&b"some bytes"[..], Algorithm::Sha256);
    let mut all = Vec::new();
    reader.read_to_end(&mut all).unwrap();
    assert_eq!(reader.finish(), (Digest::of(Algorithm::Sha256, b"some bytes"), 10));
}
