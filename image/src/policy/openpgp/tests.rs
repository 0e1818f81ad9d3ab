//! Keys and signatures as GnuPG makes them (Debian's package gpg).

use super::*;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

const DOCUMENT: &[u8] = b"{\"critical\": \"words\"}\n";
const YEAR: u64 = 365 * 24 * 3600;

/// A person with keys of their own.
struct Person(tempfile::TempDir);

impl Drop for Person {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf")
            .args(["--kill", "all"])
            .env("GNUPGHOME", self.0.path())
            .status();
    }
}

impl Person {
    fn new() -> Self {
        // Its agent's socket has to have a short name.
        Self(tempfile::Builder::new().prefix("gpg").tempdir_in("/tmp").unwrap())
    }

    /// One whose keys are made by these words of `--quick-gen-key`.
    fn with_key(words: &[&str]) -> Self {
        let person = Self::new();
        person.gpg(&[&["--quick-gen-key", "Somebody"], words].concat(), b"");
        person
    }

    fn gpg(&self, words: &[&str], input: &[u8]) -> Vec<u8> {
        let file = self.0.path().join("input");
        fs::write(&file, input).unwrap();
        let mut command = Command::new("gpg");
        command.args([
            "--batch",
            "--quiet",
            "--yes",
            "--passphrase",
            "",
            "--pinentry-mode",
            "loopback",
        ]);
        command.args(words).env("GNUPGHOME", self.0.path()).stdin(fs::File::open(file).unwrap());
        let output = command.stderr(Stdio::piped()).output().expect("gpg of the package gpg");
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn keyring(&self) -> Keyring {
        Keyring::parse(&self.gpg(&["--export"], b"")).unwrap()
    }

    fn sign(&self, words: &[&str]) -> Vec<u8> {
        self.gpg(&[words, &["--sign"]].concat(), DOCUMENT)
    }

    fn fingerprint(&self) -> String {
        let listed = String::from_utf8(self.gpg(&["--list-keys", "--with-colons"], b"")).unwrap();
        let line = listed.lines().find(|line| line.starts_with("fpr:")).unwrap();
        line.trim_matches(|sign| sign == ':').rsplit(':').next().unwrap().to_owned()
    }
}

fn now() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

/// Who signs in most tests.
static ANYBODY: LazyLock<Person> =
    LazyLock::new(|| Person::with_key(&["ed25519", "sign", "never"]));

#[test]
fn what_gpg_signs_is_opened() {
    for algorithm in ["ed25519", "rsa2048", "nistp256", "nistp384"] {
        let person = Person::with_key(&[algorithm, "sign", "never"]);
        let (ours, theirs) = (person.keyring(), ANYBODY.keyring());
        for hash in ["SHA256", "SHA384", "SHA512"] {
            // Each curve of ECDSA with its own hash alone.
            if matches!(
                (algorithm, hash),
                ("nistp256", "SHA384" | "SHA512") | ("nistp384", "SHA256" | "SHA512")
            ) {
                continue;
            }
            let message = person.sign(&["--digest-algo", hash]);
            assert_eq!(ours.opened(&message, now()).as_deref(), Ok(DOCUMENT), "{algorithm} {hash}");
            assert_eq!(
                theirs.opened(&message, now()),
                Err("none is by a key of the policy's".to_owned())
            );
        }
    }
}

#[test]
fn however_it_is_packed() {
    let keys = ANYBODY.keyring();
    for words in [
        &["--compress-algo", "none"][..],
        &["--compress-algo", "zip"],
        &["--compress-algo", "zlib"],
        &["--armor"],
    ] {
        assert_eq!(keys.opened(&ANYBODY.sign(words), now()).as_deref(), Ok(DOCUMENT), "{words:?}");
    }
    let armored = ANYBODY.gpg(&["--export", "--armor"], b"");
    assert_eq!(Keyring::parse(&armored), Ok(keys.clone()));
    // Two files in one, as people concatenate them.
    let other = Person::with_key(&["rsa2048", "sign", "never"]);
    let both = [armored, other.gpg(&["--export", "--armor"], b"")].concat();
    let both = Keyring::parse(&both).unwrap();
    assert_eq!(both.opened(&other.sign(&[]), now()).as_deref(), Ok(DOCUMENT));
    assert_eq!(both.opened(&ANYBODY.sign(&[]), now()).as_deref(), Ok(DOCUMENT));
}

#[test]
fn no_byte_of_it_can_be_changed() {
    let keys = ANYBODY.keyring();
    let message = ANYBODY.sign(&["--compress-algo", "none"]);
    let opened = |message: &[u8]| keys.opened(message, now());
    for at in 0..message.len() {
        let mut changed = message.clone();
        changed[at] ^= 1;
        // What says who it is by, when, and how it begins may be, and it still is what was signed.
        if let Ok(document) = opened(&changed) {
            assert_eq!(document, DOCUMENT, "byte {at}");
        }
    }
    let place = message.windows(DOCUMENT.len()).position(|window| window == DOCUMENT).unwrap();
    for at in place..place + DOCUMENT.len() {
        let mut changed = message.clone();
        changed[at] ^= 1;
        assert!(opened(&changed).is_err(), "byte {at}");
    }
    (0..message.len()).for_each(|length| assert!(opened(&message[..length]).is_err(), "{length}"));
}

#[test]
fn a_subkey_signs_where_its_owner_has_bound_it() {
    let person = Person::with_key(&["ed25519", "cert", "never"]);
    let owner = person.gpg(&["--export"], b"");
    assert!(Keyring::parse(&owner).unwrap_err().starts_with("no key in it may sign"));
    person.gpg(&["--quick-add-key", &person.fingerprint(), "rsa2048", "sign", "never"], b"");
    let message = person.sign(&[]);
    assert_eq!(person.keyring().opened(&message, now()).as_deref(), Ok(DOCUMENT));
    // Somebody puts it behind a key of their own, without that key's word.
    let packets = packets_of(&person.gpg(&["--export"], b""));
    let subkey = packets.iter().position(|packet| packet[0] >> 2 & 15 == PUBLIC_SUBKEY).unwrap();
    let mut other = ANYBODY.gpg(&["--export"], b"");
    other.extend(packets[subkey..].concat());
    let none = Err("none is by a key of the policy's".to_owned());
    assert_eq!(Keyring::parse(&other).unwrap().opened(&message, now()), none);
}

/// The packets as they stand in a file that GnuPG wrote.
fn packets_of(bytes: &[u8]) -> Vec<Vec<u8>> {
    let (mut all, mut left) = (Vec::new(), bytes);
    while let Some(&head) = left.first() {
        let bytes = 1usize << (head & 3);
        let length = left[1..=bytes].iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte));
        let (packet, rest) = left.split_at(1 + bytes + length);
        all.push(packet.to_vec());
        left = rest;
    }
    all
}

#[test]
fn what_has_expired_does_not_count() {
    let person = Person::with_key(&["ed25519", "sign", "1y"]);
    let keys = person.keyring();
    let message = person.sign(&[]);
    assert_eq!(keys.opened(&message, now()).as_deref(), Ok(DOCUMENT));
    let expired = Err("the key that has signed it has expired".to_owned());
    assert_eq!(keys.opened(&message, now() + YEAR + 60), expired);
    let message = ANYBODY.sign(&["--default-sig-expire", "1y"]);
    let keys = ANYBODY.keyring();
    assert_eq!(keys.opened(&message, now()).as_deref(), Ok(DOCUMENT));
    assert_eq!(
        keys.opened(&message, now() + YEAR + 60),
        Err("its signature has expired".to_owned())
    );
}

#[test]
fn a_revoked_key_is_none() {
    let person = Person::with_key(&["ed25519", "sign", "never"]);
    let place = person.0.path().join("openpgp-revocs.d").join(person.fingerprint() + ".rev");
    // GnuPG puts a colon before, lest it be used by mistake.
    let revocation = fs::read_to_string(place).unwrap().replace(":-----BEGIN", "-----BEGIN");
    person.gpg(&["--import"], revocation.as_bytes());
    let file = person.gpg(&["--export"], b"");
    assert!(Keyring::parse(&file).unwrap_err().starts_with("no key in it may sign"));
    // Another's revocation says nothing about a key.
    let revoked = packets_of(&file).into_iter().find(|packet| packet[0] >> 2 & 15 == SIGNATURE);
    let mut own = packets_of(&ANYBODY.gpg(&["--export"], b""));
    own.insert(1, revoked.unwrap());
    assert!(Keyring::parse(&own.concat()).is_ok());
}

#[test]
fn what_is_too_weak_or_no_key_is_refused() {
    let message = ANYBODY.sign(&["--digest-algo", "SHA1", "--allow-weak-digest-algos"]);
    assert!(ANYBODY.keyring().opened(&message, now()).is_err());
    let secret = ANYBODY.gpg(&["--export-secret-keys"], b"");
    assert_eq!(Keyring::parse(&secret), Err("it holds a secret key".to_owned()));
    let detached = ANYBODY.gpg(&["--detach-sign"], DOCUMENT);
    let none = Err("what came is no signed message".to_owned());
    assert_eq!(ANYBODY.keyring().opened(&detached, now()), none);
    for (words, why) in [
        (&b""[..], "no key in it"),
        (b"words", "its armor is malformed"),
        (b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n!\n-----END PGP", "its armor is malformed"),
        (&[0x99, 1], "it is no OpenPGP key"),
    ] {
        assert!(Keyring::parse(words).unwrap_err().starts_with(why), "{words:?}");
    }
}

#[test]
fn a_document_that_swells_is_not_read() {
    let large = ANYBODY.gpg(&["--compress-algo", "zlib", "--sign"], &vec![b'a'; 1 << 20]);
    assert!(large.len() < 8192);
    assert!(ANYBODY.keyring().opened(&large, now()).is_err());
    assert!(Path::new(ANYBODY.0.path()).exists());
}
