//! Where an image's GPG signatures are kept, in the format of containers-registries.d(5):
//!
//! ```yaml
//!   docker:
//!     registry.example/team:                 # or *.example.com; the longest that fits counts
//!       lookaside: https://registry.example/signatures
//!   default-docker:
//!     lookaside: https://signatures.example
//! ```
//! Of YAML this reads what such files are written in: mappings by indentation, plain and quoted words, comments. Anything
//! else is an error, and guessed at never. `sigstore` is the older word for `lookaside`.

use super::settings::fits;
use crate::digest::Digest;
use crate::layer::Quoted;
use crate::reference::name::ImageName;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The most places of one directory of files.
const MAX_PLACES: usize = 10_000;

/// Why a file says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookasideError {
    /// It is not what is read here of YAML.
    #[error("malformed line {0}")]
    Line(usize),
    /// There are too many.
    #[error("over {MAX_PLACES} places")]
    TooMany,
    /// A place is none that can be asked.
    #[error(
        "{0} is no place of signatures: https://HOST/PATH, http://HOST/PATH or file:///PATH is wanted"
    )]
    Place(Quoted),
}

/// Where signatures are kept, by what they are of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lookasides {
    default: Option<Lookaside>,
    scopes: BTreeMap<String, Lookaside>,
}

/// A place of signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookaside {
    /// A server's.
    Server(Server),
    /// A directory here.
    Directory(PathBuf),
}

/// A server that has signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its host, and its port where that is not the scheme's own.
    pub host: String,
    /// What comes before a repository there; may be nothing.
    pub path: String,
    /// Whether it is asked without TLS: a signature says by itself who made it.
    pub is_plain: bool,
}

impl Lookaside {
    fn of(url: &str) -> Result<Self, LookasideError> {
        let wrong = || LookasideError::Place(Quoted::new(url.as_bytes()));
        if let Some(path) = url.strip_prefix("file://") {
            let whole =
                path.starts_with('/') && path.bytes().all(|it| it.is_ascii_graphic() && it != b'%');
            return if whole { Ok(Self::Directory(path.into())) } else { Err(wrong()) };
        }
        let (is_plain, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (false, rest),
            (None, Some(rest)) => (true, rest),
            (None, None) => return Err(wrong()),
        };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let path = path.trim_matches('/');
        let is_word = |text: &str, more: &str| {
            text.bytes().all(|it| it.is_ascii_alphanumeric() || more.as_bytes().contains(&it))
        };
        if host.is_empty() || !is_word(host, ".-:[]") || !is_word(path, ".-_~/+%") {
            return Err(wrong());
        }
        Ok(Self::Server(Server { host: host.to_owned(), path: path.to_owned(), is_plain }))
    }
}

impl Server {
    /// Where a repository's are, there.
    pub fn repository(&self, name: &ImageName) -> String {
        match self.path.as_str() {
            "" => name.repository().to_owned(),
            path => format!("{path}/{}", name.repository()),
        }
    }
}

impl Lookasides {
    /// Reads a file more.
    ///
    /// # Errors
    /// Any [`LookasideError`].
    pub fn read(&mut self, text: &str) -> Result<(), LookasideError> {
        let (mut section, mut scope) = (String::new(), None);
        let mut indentation = 0;
        for (number, line) in (1..).zip(text.lines()) {
            let Some((indented, line)) = words(line) else { continue };
            let wrong = || LookasideError::Line(number);
            if indented == 0 {
                section = key(line).ok_or_else(wrong)?;
                scope = None;
                continue;
            }
            let value = line.split_once(": ");
            match (section.as_str(), value) {
                // Attributes of a scope, which are further in than it.
                ("docker", Some((name, value))) if scope.is_some() && indented > indentation => {
                    if let (Some(scope), true) = (&scope, is_lookaside(name)) {
                        let place = Lookaside::of(unquoted(value.trim()))?;
                        self.scopes.insert(String::clone(scope), place);
                    }
                }
                ("docker", None) => {
                    (scope, indentation) = (Some(key(line).ok_or_else(wrong)?), indented);
                }
                ("default-docker", Some((name, value))) => {
                    if is_lookaside(name) {
                        self.default = Some(Lookaside::of(unquoted(value.trim()))?);
                    }
                }
                _ => return Err(wrong()),
            }
        }
        if self.scopes.len() > MAX_PLACES { Err(LookasideError::TooMany) } else { Ok(()) }
    }

    /// Where an image's signatures are kept: what says most of it counts.
    pub fn of(&self, name: &ImageName) -> Option<&Lookaside> {
        let whole = format!("{}/{}", name.registry(), name.repository());
        let fitting = self.scopes.iter().filter(|(scope, _)| fits(scope, &whole));
        fitting.max_by_key(|(scope, _)| scope.len()).map(|(_, it)| it).or(self.default.as_ref())
    }
}

/// Where a signature of what has this digest is, on a host, from 1.
pub fn path(repository: &str, digest: &Digest, number: usize) -> String {
    format!("/{repository}@{}={}/signature-{number}", digest.algorithm().name(), digest.hex())
}

fn is_lookaside(name: &str) -> bool {
    matches!(unquoted(name.trim()), "lookaside" | "sigstore")
}

/// A line's indentation and what follows, without a comment; nothing of a line without words.
fn words(line: &str) -> Option<(usize, &str)> {
    let line = match line.find(" #") {
        Some(at) => line.get(..at)?,
        None => line,
    };
    let text = line.trim();
    let says = !text.is_empty() && !text.starts_with('#') && text != "---";
    says.then(|| (line.len() - line.trim_start().len(), text))
}

/// The name of a mapping that begins with this line.
fn key(line: &str) -> Option<String> {
    let name = unquoted(line.strip_suffix(':')?.trim());
    let fits = !name.is_empty()
        && name.bytes().all(|it| it.is_ascii_graphic() && !b"{}[],&!|>'\"%@`".contains(&it));
    fits.then(|| name.to_owned())
}

fn unquoted(word: &str) -> &str {
    let within = |quote| word.strip_prefix(quote)?.strip_suffix(quote);
    within('"').or_else(|| within('\'')).unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Lookasides, LookasideError> {
        let mut lookasides = Lookasides::default();
        lookasides.read(text).map(|()| lookasides)
    }

    const RED_HAT: &str = "# As it comes with RHEL.\ndocker:\n     registry.redhat.io:\n         \
        sigstore: https://registry.redhat.io/containers/sigstore\n";

    #[test]
    fn the_longest_that_fits_counts() {
        let mut all = read(RED_HAT).unwrap();
        let more = "default-docker:\n  use-sigstore-attachments: true\n  lookaside: \"https://s.example/\" # all\n\
            docker:\n  \"r.example:5000\":\n    lookaside: http://r.example:81\n  r.example:5000/team/app:\n    \
            lookaside-staging: file:///tmp\n    lookaside: https://r.example/x/y/\n  '*.corp.example':\n    \
            lookaside: https://corp.example/sigs\n";
        all.read(more).unwrap();
        for (name, expected) in [
            (
                "registry.redhat.io/ubi9/ubi",
                "https registry.redhat.io containers/sigstore/ubi9/ubi",
            ),
            ("debian", "https s.example library/debian"),
            ("r.example:5000/other", "http r.example:81 other"),
            ("r.example:5000/team/app:v1", "https r.example x/y/team/app"),
            ("r.example:5000/team/application", "http r.example:81 team/application"),
            ("a.b.corp.example/c", "https corp.example sigs/c"),
        ] {
            let name = name.parse().unwrap();
            let Some(Lookaside::Server(found)) = all.of(&name) else { panic!("{name}") };
            let scheme = if found.is_plain { "http" } else { "https" };
            assert_eq!(format!("{scheme} {} {}", found.host, found.repository(&name)), expected);
        }
        let debian = "debian".parse().unwrap();
        assert_eq!(read(RED_HAT).unwrap().of(&debian), None);
        let here = read("default-docker:\n  lookaside: file:///var/lib/sigs\n").unwrap();
        assert_eq!(here.of(&debian), Some(&Lookaside::Directory("/var/lib/sigs".into())));
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for (text, line) in [
            ("docker", 1),
            ("docker:\n  lookaside: https://a", 2),
            ("docker:\n  - a", 2),
            ("docker: {a: b}", 1),
            ("docker:\n  a: &b\n    lookaside: https://a", 2),
            ("other:\n  a:\n", 2),
            ("docker:\n\n  a:\n  lookaside: https://a", 4),
        ] {
            assert_eq!(read(text), Err(LookasideError::Line(line)), "{text:?}");
        }
        for place in [
            "file://var/lib/sigs",
            "file:/var",
            "file:///a%20b",
            "https://",
            "https://a b/c",
            "https://a@b/c",
            "a",
        ] {
            let text = format!("default-docker:\n  lookaside: {place}\n");
            assert!(matches!(read(&text), Err(LookasideError::Place(_))), "{place}");
        }
    }
}
