//! Registries' settings, in the format of containers-registries.conf(5), version 2.
//!
//! ```toml
//!   [[registry]]
//!   prefix = "docker.io/library"        # or *.example.com; the longest that fits counts
//!   location = "registry.example/hub"   # takes the prefix's place
//!   insecure = false
//!   blocked = false
//!   [[registry.mirror]]                 # asked first, in order
//!   location = "mirror.example:5000/hub"
//!   pull-from-mirror = "digest-only"    # or all, tag-only
//! ```
//! What search registries, short-name aliases and credential helpers are there is not looked at: a short name means
//! what Docker means by it, lest one image's name be another's.

use crate::layer::Quoted;
use crate::reference::name::{DEFAULT_REGISTRY, ImageName};
use serde::Deserialize;

/// Where Docker Hub's API is.
const HUB_HOST: &str = "registry-1.docker.io";
/// The most entries, and mirrors of one.
const MAX_ENTRIES: usize = 1000;

/// Why there is no asking a registry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The file is not what it should be.
    #[error("malformed settings of registries: {0}")]
    Malformed(Quoted),
    /// An entry says nothing of what it is for.
    #[error("an entry of the settings of registries has neither prefix nor location")]
    NoPrefix,
    /// There are too many.
    #[error("the settings of registries have over {MAX_ENTRIES} entries")]
    TooMany,
    /// The user does not want it.
    #[error("the settings of registries block {0}")]
    Blocked(String),
    /// What takes a prefix's place makes no name.
    #[error("the settings of registries lead from {from} to {to:?}, which names no repository")]
    Location {
        /// The image's name.
        from: String,
        /// What came of it.
        to: String,
    },
}

/// Where an image may be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The host of the registry's API, and its port where it is not the scheme's own.
    pub host: String,
    /// The registry as a name has it: what credentials are kept under.
    pub registry: String,
    /// The repository there.
    pub repository: String,
    /// Whether it need not show who it is.
    pub insecure: bool,
}

/// What the user says about registries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    entries: Vec<Entry>,
    insecure: Vec<String>,
}

#[derive(Deserialize)]
struct FileToml {
    #[serde(default)]
    registry: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Entry {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default, rename = "mirror-by-digest-only")]
    digest_only: bool,
    #[serde(default)]
    mirror: Vec<Mirror>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Mirror {
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default, rename = "pull-from-mirror")]
    pull: Pull,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Pull {
    #[default]
    All,
    DigestOnly,
    TagOnly,
}

impl Settings {
    /// Reads a settings file.
    ///
    /// # Errors
    /// [`SettingsError::Malformed`], [`SettingsError::NoPrefix`] and [`SettingsError::TooMany`].
    pub fn parse(text: &str) -> Result<Self, SettingsError> {
        let file: FileToml = toml::from_str(text)
            .map_err(|error| SettingsError::Malformed(Quoted::new(error.message().as_bytes())))?;
        let mut entries = file.registry;
        let too_many = |entry: &Entry| entry.mirror.len() > MAX_ENTRIES;
        if entries.len() > MAX_ENTRIES || entries.iter().any(too_many) {
            return Err(SettingsError::TooMany);
        }
        for entry in &mut entries {
            if entry.prefix.is_empty() {
                entry.prefix.clone_from(&entry.location);
            }
            if entry.prefix.is_empty() {
                return Err(SettingsError::NoPrefix);
            }
        }
        // The longest comes first: it counts.
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.prefix.len()));
        Ok(Self { entries, insecure: Vec::new() })
    }

    /// A registry, `HOST[:PORT]`, that need not show who it is, whatever the file says.
    pub fn allow_insecure(&mut self, registry: &str) {
        self.insecure.push(registry.to_owned());
    }

    /// Where an image may be asked for, in the order in which to ask.
    ///
    /// # Errors
    /// [`SettingsError::Blocked`] and [`SettingsError::Location`].
    pub fn endpoints(&self, name: &ImageName) -> Result<Vec<Endpoint>, SettingsError> {
        let whole = format!("{}/{}", name.registry(), name.repository());
        let named = self.endpoint(name.registry(), name.repository(), false);
        let Some(entry) = self.entries.iter().find(|entry| fits(&entry.prefix, &whole)) else {
            return Ok(vec![named]);
        };
        if entry.blocked {
            return Err(SettingsError::Blocked(whole));
        }
        let by_digest = name.digest().is_some();
        let wanted = |mirror: &&Mirror| match mirror.pull {
            Pull::All => !entry.digest_only || by_digest,
            Pull::DigestOnly => by_digest,
            Pull::TagOnly => !by_digest,
        };
        let mut endpoints = Vec::new();
        for mirror in entry.mirror.iter().filter(wanted) {
            endpoints.push(self.moved(entry, &whole, &mirror.location, mirror.insecure)?);
        }
        endpoints.push(match entry.location.as_str() {
            "" => Endpoint { insecure: named.insecure || entry.insecure, ..named },
            location => self.moved(entry, &whole, location, entry.insecure)?,
        });
        Ok(endpoints)
    }

    /// The image's place with the entry's prefix replaced.
    fn moved(
        &self,
        entry: &Entry,
        whole: &str,
        location: &str,
        insecure: bool,
    ) -> Result<Endpoint, SettingsError> {
        // Of a wildcard, the whole host is replaced.
        let length = match entry.prefix.strip_prefix("*.") {
            Some(_) => whole.find('/').unwrap_or(whole.len()),
            None => entry.prefix.len(),
        };
        let to = format!("{location}{}", whole.get(length..).unwrap_or_default());
        let place: ImageName = to
            .parse()
            .map_err(|_| SettingsError::Location { from: whole.to_owned(), to: to.clone() })?;
        Ok(self.endpoint(place.registry(), place.repository(), insecure))
    }

    fn endpoint(&self, registry: &str, repository: &str, insecure: bool) -> Endpoint {
        let host = if registry == DEFAULT_REGISTRY { HUB_HOST } else { registry };
        Endpoint {
            host: host.to_owned(),
            registry: registry.to_owned(),
            repository: repository.to_owned(),
            insecure: insecure || self.insecure.iter().any(|named| named == registry),
        }
    }
}

/// Whether a prefix covers a repository: it ends where one of its parts does.
pub(super) fn fits(prefix: &str, whole: &str) -> bool {
    if let Some(domain) = prefix.strip_prefix('*') {
        let host = whole.split('/').next().unwrap_or_default();
        return domain.starts_with('.') && host.len() > domain.len() && host.ends_with(domain);
    }
    let rest = whole.strip_prefix(prefix);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn settings(text: &str) -> Settings {
        Settings::parse(text).unwrap()
    }

    /// Where a name leads, one word for each place: what is insecure ends in `!`.
    fn places(settings: &Settings, name: &str) -> Vec<String> {
        let endpoints = settings.endpoints(&name.parse().unwrap()).unwrap();
        let place = |Endpoint { host, repository, insecure, .. }: &Endpoint| {
            format!("{host}/{repository}{}", if *insecure { "!" } else { "" })
        };
        endpoints.iter().map(place).collect()
    }

    #[test]
    fn without_settings_a_name_is_its_place() {
        let mut settings = Settings::default();
        assert_eq!(places(&settings, "debian"), ["registry-1.docker.io/library/debian"]);
        assert_eq!(places(&settings, "localhost:5000/a/b"), ["localhost:5000/a/b"]);
        settings.allow_insecure("localhost:5000");
        assert_eq!(places(&settings, "localhost:5000/a/b"), ["localhost:5000/a/b!"]);
        assert_eq!(places(&settings, "localhost:5001/a/b"), ["localhost:5001/a/b"]);
    }

    #[test]
    fn the_longest_prefix_counts() {
        let settings = settings(
            r#"
            unqualified-search-registries = ["elsewhere.example"]
            [[registry]]
            location = "docker.io"
            insecure = true
            [[registry]]
            prefix = "docker.io/library"
            location = "registry.example/hub"
            [[registry.mirror]]
            location = "one.example:5000"
            insecure = true
            [[registry.mirror]]
            location = "two.example/x"
            pull-from-mirror = "digest-only"
            "#,
        );
        let mirrored = ["one.example:5000/debian!", "registry.example/hub/debian"];
        assert_eq!(places(&settings, "debian:12"), mirrored);
        let by_digest = places(&settings, &format!("debian@{DIGEST}"));
        let [one, own] = mirrored;
        assert_eq!(by_digest, [one, "two.example/x/debian", own]);
        assert_eq!(
            places(&settings, "docker.io/librarian/a"),
            ["registry-1.docker.io/librarian/a!"]
        );
    }

    #[test]
    fn a_wildcard_covers_what_is_below_it() {
        let settings =
            settings("[[registry]]\nprefix = '*.example.com'\nlocation = 'mirror.example'");
        assert_eq!(places(&settings, "a.example.com/b"), ["mirror.example/b"]);
        assert_eq!(places(&settings, "a.b.example.com:5000/c/d"), ["a.b.example.com:5000/c/d"]);
        assert_eq!(places(&settings, "example.com/b"), ["example.com/b"]);
    }

    #[test]
    fn what_is_blocked_or_leads_nowhere_is_said() {
        let name = "bad.example/a".parse().unwrap();
        let blocked = settings("[[registry]]\nprefix = 'bad.example'\nblocked = true");
        assert_eq!(
            blocked.endpoints(&name),
            Err(SettingsError::Blocked("bad.example/a".to_owned()))
        );
        let nowhere = settings("[[registry]]\nprefix = 'bad.example'\nlocation = 'A B'");
        assert!(matches!(nowhere.endpoints(&name), Err(SettingsError::Location { .. })));
    }

    #[test]
    fn what_is_malformed_is_said() {
        assert!(matches!(Settings::parse("["), Err(SettingsError::Malformed(_))));
        assert!(matches!(Settings::parse("registry = 1"), Err(SettingsError::Malformed(_))));
        assert_eq!(Settings::parse("[[registry]]\ninsecure = true"), Err(SettingsError::NoPrefix));
        let many = "[[registry]]\nprefix = 'a'\n".repeat(MAX_ENTRIES + 1);
        assert_eq!(Settings::parse(&many), Err(SettingsError::TooMany));
    }
}
