//! The keys that let go of a process without ending it: as Docker reads and writes them.
//!
//! Owns: how far they have been pressed. Never does: let go.

/// The usual ones.
pub const DEFAULT: &str = "ctrl-p,ctrl-q";

/// They are no keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no key: write one character, or ctrl- and a letter or one of @ [ \\ ] ^ _")]
pub struct KeyError(String);

/// Keys, as the bytes that a terminal sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetachKeys {
    keys: Vec<u8>,
    /// So many of them have been pressed, and are held back.
    pressed: usize,
}

/// What has become of bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Passed {
    /// These are the process's.
    pub bytes: Vec<u8>,
    /// It is let go of after them.
    pub is_detached: bool,
}

impl DetachKeys {
    /// Reads `ctrl-p,ctrl-q`; `None` where it is empty.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn parse(text: &str) -> Result<Option<Self>, KeyError> {
        if text.is_empty() {
            return Ok(None);
        }
        let keys: Result<Vec<u8>, KeyError> = text.split(',').map(key).collect();
        Ok(Some(Self { keys: keys?, pressed: 0 }))
    }

    /// Takes in what was typed. What may be their beginning is held back until it is known.
    pub fn pass(&mut self, typed: &[u8]) -> Passed {
        let mut bytes = Vec::with_capacity(typed.len());
        for &byte in typed {
            // What was held back and is not them may end with their beginning.
            while self.pressed > 0 && self.keys.get(self.pressed) != Some(&byte) {
                let held = self.keys.get(..self.pressed).unwrap_or_default();
                let next = (1..=held.len()).find(|&from| self.keys.starts_with(&held[from..]));
                let given = next.unwrap_or(held.len());
                bytes.extend_from_slice(&held[..given]);
                self.pressed = held.len() - given;
            }
            if self.keys.get(self.pressed) != Some(&byte) {
                bytes.push(byte);
                continue;
            }
            self.pressed += 1;
            if self.pressed == self.keys.len() {
                return Passed { bytes, is_detached: true };
            }
        }
        Passed { bytes, is_detached: false }
    }
}

fn key(text: &str) -> Result<u8, KeyError> {
    let wrong = || KeyError(text.to_owned());
    let of_control = text.strip_prefix("ctrl-");
    let [byte] = of_control.unwrap_or(text).as_bytes() else { return Err(wrong()) };
    match (of_control, byte) {
        (None, byte) if byte.is_ascii() => Ok(*byte),
        (Some(_), b'a'..=b'z') => Ok(byte - b'a' + 1),
        (Some(_), b'@' | b'['..=b'_') => Ok(byte - b'@'),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys(text: &str) -> DetachKeys {
        DetachKeys::parse(text).unwrap().unwrap()
    }

    #[test]
    fn they_are_read_as_docker_reads_them() {
        assert_eq!(keys(DEFAULT).keys, [16, 17]);
        assert_eq!(keys("ctrl-@,ctrl-[,ctrl-_,a,~").keys, [0, 27, 31, b'a', b'~']);
        assert_eq!(DetachKeys::parse(""), Ok(None));
        for wrong in [",", "ctrl-", "ctrl-1", "ctrl-A", "ab", "ü", "ctrl-p,"] {
            assert!(DetachKeys::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_only_begins_like_them_is_the_processes() {
        let mut it = keys("a,a,b");
        let passed = it.pass(b"xaaab");
        assert_eq!(passed, Passed { bytes: b"xa".to_vec(), is_detached: true });
        let mut it = keys(DEFAULT);
        assert_eq!(it.pass(b"\x10").bytes, b"");
        assert_eq!(it.pass(b"x").bytes, b"\x10x");
        assert!(!it.pass(b"\x10").is_detached);
        assert!(it.pass(b"\x11more").is_detached);
    }

    proptest! {
        /// However the bytes come, nothing is lost, and they are found where they are.
        #[test]
        fn nothing_is_lost(
            wanted in "[ab]{1,4}", typed in "[abc]{0,40}", piece in 1usize..5,
        ) {
            let written: Vec<String> = wanted.chars().map(|it| it.to_string()).collect();
            let mut it = keys(&written.join(","));
            let (mut bytes, mut is_detached) = (Vec::new(), false);
            for piece in typed.as_bytes().chunks(piece) {
                let passed = it.pass(piece);
                bytes.extend(passed.bytes);
                if passed.is_detached {
                    is_detached = true;
                    break;
                }
            }
            let expected = match typed.find(&wanted) {
                Some(at) => &typed[..at],
                None => &typed[..typed.len() - it.pressed],
            };
            prop_assert_eq!(is_detached, typed.contains(&wanted));
            prop_assert_eq!(String::from_utf8(bytes).unwrap(), expected);
        }
    }
}
