//! Which images are accepted: containers-policy.json(5), as podman and skopeo read it.
//!
//! ```json
//!   { "default": [{ "type": "reject" }],
//!     "transports": {
//!       "docker": { "docker.io/library": [{ "type": "insecureAcceptAnything" }],
//!                   "registry.example/team/app": [{ "type": "pinned", "digests": ["sha256:…"] }] },
//!       "oci":    { "/images": [{ "type": "insecureAcceptAnything" }] } } }
//! ```
//! `pinned` is ours: the image is one of these, by the digest of its index, its manifest or its configuration.
//! `sigstoreSigned` is a signature by a key in cosign's format, `signedBy` one by GPG.
//!
//! Owns: the format, and which rule is for which image: the one that says most of it. Never does: read a file.

mod openpgp;
mod signed;

pub use signed::{MAX_KEY_BYTES, Signature};

use crate::digest::Digest;
use crate::layer::Quoted;
use crate::reference::name::ImageName;
use crate::reference::{Reference, Selector};
use serde::Deserialize;
use signed::{GpgSigned, Signed};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The most rules.
const MAX_RULES: usize = 10_000;

/// What is accepted. Without one, everything is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    default: Vec<Requirement>,
    transports: HashMap<String, HashMap<String, Vec<Requirement>>>,
}

/// Which signatures of an image are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignaturesWanted {
    /// Those that stand beside it in its registry.
    pub sigstore: bool,
    /// Those that are kept aside.
    pub gpg: bool,
}

impl SignaturesWanted {
    /// Whether any are.
    pub fn any(self) -> bool {
        self.sigstore || self.gpg
    }
}

/// What a rule asks of an image. All that a rule asks must be so.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
enum Requirement {
    InsecureAcceptAnything,
    Reject,
    Pinned { digests: Vec<Digest> },
    SignedBy(GpgSigned),
    SigstoreSigned(Signed),
}

/// Why an image is not accepted, or a policy is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// It is no such JSON.
    #[error("malformed policy: {0}")]
    Malformed(Quoted),
    /// It has no rules, or too many, or an empty one.
    #[error("the policy has {0}")]
    Rules(&'static str),
    /// The image may not be used.
    #[error("the policy rejects it, by {0}")]
    Rejected(Rule),
    /// The image is another than those that may be used.
    #[error("the policy accepts other digests than its own, by {rule}: it is {found}")]
    NotPinned {
        /// Which rule.
        rule: Rule,
        /// What it has.
        found: Quoted,
    },
    /// Nobody vouches for the image.
    #[error("the policy asks for a signature, by {rule}: {why}")]
    NotSigned {
        /// Which rule.
        rule: Rule,
        /// What is wrong with those that there are.
        why: String,
    },
    /// A key cannot be used.
    #[error("the policy's key {path:?} cannot be used: {why}")]
    Key {
        /// Its file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
}

/// Which rule of a policy, for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    transport: &'static str,
    scope: Option<String>,
}

impl fmt::Display for Rule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.scope {
            None => out.write_str("its default"),
            Some(scope) if scope.is_empty() => {
                write!(out, "its rule for all of {:?}", self.transport)
            }
            Some(scope) => write!(out, "its rule for {scope:?}"),
        }
    }
}

#[derive(Deserialize)]
struct PolicyJson {
    default: Vec<Requirement>,
    #[serde(default)]
    transports: HashMap<String, HashMap<String, Vec<Requirement>>>,
}

impl Policy {
    /// Accepts everything.
    pub fn open() -> Self {
        Self { default: vec![Requirement::InsecureAcceptAnything], transports: HashMap::new() }
    }

    /// Reads a policy.
    ///
    /// # Errors
    /// [`PolicyError::Malformed`] and [`PolicyError::Rules`].
    pub fn parse(json: &[u8]) -> Result<Self, PolicyError> {
        let PolicyJson { default, transports } = serde_json::from_slice(json)
            .map_err(|error| PolicyError::Malformed(Quoted::new(error.to_string().as_bytes())))?;
        let all = || transports.values().flat_map(HashMap::values).chain([&default]);
        if all().count() > MAX_RULES {
            return Err(PolicyError::Rules("too many rules"));
        }
        // An empty rule asks for nothing, and whoever wrote it meant something.
        if all().any(Vec::is_empty) {
            return Err(PolicyError::Rules("a rule that asks for nothing"));
        }
        Ok(Self { default, transports })
    }

    /// Whether an image may be asked for at all.
    ///
    /// # Errors
    /// [`PolicyError::Rejected`], with the rule.
    pub fn may_be_asked_for(&self, reference: &Reference) -> Result<(), PolicyError> {
        let (rule, requirements) = self.rule_for(reference);
        match requirements.contains(&Requirement::Reject) {
            true => Err(PolicyError::Rejected(rule)),
            false => Ok(()),
        }
    }

    /// Reads the keys that it names by their files. Until then no signature by one of them counts.
    ///
    /// # Errors
    /// [`PolicyError::Key`], for the first that cannot be used.
    pub fn read_keys(
        &mut self,
        mut read: impl FnMut(&Path) -> io::Result<Vec<u8>>,
    ) -> Result<(), PolicyError> {
        let rules = self.transports.values_mut().flat_map(HashMap::values_mut);
        for requirement in rules.chain([&mut self.default]).flatten() {
            if let Requirement::SigstoreSigned(signed) | Requirement::SignedBy(GpgSigned(signed)) =
                requirement
            {
                let read = signed.read_keys(&mut read);
                read.map_err(|(path, why)| PolicyError::Key { path, why })?;
            }
        }
        Ok(())
    }

    /// Which signatures have to be known before it can be said that an image is accepted.
    pub fn asks_for(&self, reference: &Reference) -> SignaturesWanted {
        let (_, requirements) = self.rule_for(reference);
        SignaturesWanted {
            sigstore: requirements.iter().any(|it| matches!(it, Requirement::SigstoreSigned(_))),
            gpg: requirements.iter().any(|it| matches!(it, Requirement::SignedBy(_))),
        }
    }

    /// Whether an image that has these digests, and these signatures, is accepted.
    ///
    /// # Errors
    /// [`PolicyError::NotPinned`], [`PolicyError::NotSigned`], and those of [`Self::may_be_asked_for`].
    pub fn accepts(
        &self,
        reference: &Reference,
        own: &[Digest],
        signatures: &[Signature],
    ) -> Result<(), PolicyError> {
        self.may_be_asked_for(reference)?;
        let (rule, requirements) = self.rule_for(reference);
        let name = match reference {
            Reference::Registry(name) => Some(name),
            _ => None,
        };
        for requirement in requirements {
            match requirement {
                Requirement::Pinned { digests }
                    if !own.iter().any(|digest| digests.contains(digest)) =>
                {
                    let found = own.first().map(ToString::to_string).unwrap_or_default();
                    let found = Quoted::new(found.as_bytes());
                    return Err(PolicyError::NotPinned { rule, found });
                }
                Requirement::SigstoreSigned(signed) | Requirement::SignedBy(GpgSigned(signed)) => {
                    if let Err(why) = signed.vouched(name, own, signatures) {
                        return Err(PolicyError::NotSigned { rule, why });
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn rule_for(&self, reference: &Reference) -> (Rule, &[Requirement]) {
        let (transport, scopes) = scopes(reference);
        if let Some(rules) = self.transports.get(transport) {
            for scope in scopes {
                if let Some(requirements) = rules.get(&scope) {
                    return (Rule { transport, scope: Some(scope) }, requirements);
                }
            }
        }
        (Rule { transport, scope: None }, &self.default)
    }
}

/// For the fuzzer: reads a file of keys and a signed message, whatever they are.
pub fn read_hostile(bytes: &[u8]) {
    let keys = openpgp::Keyring::parse(bytes).unwrap_or_default();
    if let Err(why) = keys.opened(bytes, 0) {
        assert!(!why.is_empty(), "it is said why");
    }
}

/// What rules may be for an image, the one that says most of it first.
fn scopes(reference: &Reference) -> (&'static str, Vec<String>) {
    match reference {
        Reference::Registry(name) => ("docker", scopes_of_name(name)),
        Reference::OciLayout { path, selector } => ("oci", scopes_of_path(path, selector)),
        Reference::OciArchive { path, selector } => ("oci-archive", scopes_of_path(path, selector)),
        // As with podman: such an archive's place says nothing.
        Reference::DockerArchive { .. } => ("docker-archive", vec![String::new()]),
    }
}

fn scopes_of_name(name: &ImageName) -> Vec<String> {
    let mut scopes = vec![name.to_string()];
    let mut scope = format!("{}/{}", name.registry(), name.repository());
    loop {
        scopes.push(scope.clone());
        match scope.rsplit_once('/') {
            Some((shorter, _)) => scope.truncate(shorter.len()),
            None => break,
        }
    }
    // Of whatever is below a domain.
    let mut host = name.registry();
    while let Some((_, domain)) = host.split_once('.') {
        scopes.push(format!("*.{domain}"));
        host = domain;
    }
    scopes.push(String::new());
    scopes
}

fn scopes_of_path(path: &Path, selector: &Selector) -> Vec<String> {
    let mut scopes = Vec::new();
    if let Selector::Name(name) = selector {
        scopes.push(format!("{}:{name}", path.display()));
    }
    scopes.extend(path.ancestors().map(|path| path.display().to_string()));
    // A relative path's last ancestor is empty, which is what the transport's own rule is called.
    scopes.push(String::new());
    scopes
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const B: &str = "sha256:aaaac44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn policy(json: &str) -> Policy {
        Policy::parse(json.as_bytes()).unwrap()
    }

    fn reference(text: &str) -> Reference {
        text.parse().unwrap()
    }

    fn rejected(policy: &Policy, image: &str) -> Option<String> {
        let error = policy.may_be_asked_for(&reference(image)).err()?;
        Some(error.to_string())
    }

    #[test]
    fn without_a_policy_everything_is_accepted() {
        for image in ["debian", "oci:dir", "docker-archive:file"] {
            assert_eq!(Policy::open().accepts(&reference(image), &[], &[]), Ok(()));
        }
    }

    #[test]
    fn the_rule_that_says_most_counts() {
        let policy = policy(
            r#"{"default": [{"type": "reject"}],
                "transports": {
                  "docker": {"docker.io/library": [{"type": "insecureAcceptAnything"}],
                             "docker.io/library/bad": [{"type": "reject"}],
                             "docker.io/library/bad:but-this": [{"type": "insecureAcceptAnything"}],
                             "*.example.com": [{"type": "insecureAcceptAnything"}],
                             "b.example.com": [{"type": "reject"}]},
                  "oci": {"/images": [{"type": "insecureAcceptAnything"}],
                          "/images/bad": [{"type": "reject"}]},
                  "docker-archive": {"": [{"type": "insecureAcceptAnything"}]}}}"#,
        );
        for image in [
            "debian",
            "bad:but-this",
            "a.example.com/x",
            "a.b.example.com/x",
            "oci:/images/x:1",
            "docker-archive:x",
        ] {
            assert_eq!(rejected(&policy, image), None, "{image}");
        }
        let by = |rule: &str| Some(format!("the policy rejects it, by {rule}"));
        assert_eq!(rejected(&policy, "bad:1"), by("its rule for \"docker.io/library/bad\""));
        assert_eq!(rejected(&policy, "b.example.com/x"), by("its rule for \"b.example.com\""));
        assert_eq!(rejected(&policy, "example.com/x"), by("its default"));
        assert_eq!(rejected(&policy, "oci:/images/bad"), by("its rule for \"/images/bad\""));
        assert_eq!(rejected(&policy, "oci:images/x"), by("its default"));
        assert_eq!(rejected(&policy, "grafana/grafana"), by("its default"));
    }

    #[test]
    fn a_pinned_image_is_that_or_none() {
        let policy =
            policy(&format!(r#"{{"default": [{{"type": "pinned", "digests": ["{A}"]}}]}}"#));
        let debian = reference("debian");
        assert_eq!(policy.may_be_asked_for(&debian), Ok(()));
        let [a, b]: [Digest; 2] = [A.parse().unwrap(), B.parse().unwrap()];
        assert_eq!(policy.accepts(&debian, &[b.clone(), a], &[]), Ok(()));
        let error = policy.accepts(&debian, &[b], &[]).unwrap_err();
        assert!(
            error.to_string().contains("its default") && error.to_string().contains(B),
            "{error}"
        );
        assert!(policy.accepts(&debian, &[], &[]).is_err());
    }

    #[test]
    fn what_cannot_be_checked_is_refused() {
        let signed = policy(
            r#"{"default": [{"type": "insecureAcceptAnything"},
                            {"type": "sigstoreSigned", "keyPath": "/key", "signedIdentity": {"type": "matchRepository"}}],
                "transports": {"oci": {"": [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/gpg"}]}}}"#,
        );
        let error = signed.accepts(&reference("debian"), &[], &[]).unwrap_err();
        assert!(matches!(error, PolicyError::NotSigned { .. }), "{error}");
        let error = signed.accepts(&reference("oci:a"), &[], &[]).unwrap_err();
        assert!(matches!(error, PolicyError::NotSigned { .. }), "{error}");
        let key = signed.clone().read_keys(|_| Ok(b"no key".to_vec())).unwrap_err();
        let words = key.to_string();
        assert!(
            words.starts_with("the policy's key \"/") && words.contains("cannot be used"),
            "{words}"
        );
    }

    #[test]
    fn what_is_no_policy() {
        for json in [
            "",
            "{}",
            r#"{"default": [{"type": "other"}]}"#,
            r#"{"default": [{"type": "pinned", "digests": ["x"]}]}"#,
            r#"{"default": [{"type": "signedBy", "keyType": "GPGKeys"}]}"#,
            r#"{"default": [{"type": "signedBy", "keyType": "other", "keyPath": "/k"}]}"#,
            r#"{"default": [{"type": "signedBy", "keyType": "GPGKeys", "keyData": "AAAA"}]}"#,
        ] {
            assert!(
                matches!(Policy::parse(json.as_bytes()), Err(PolicyError::Malformed(_))),
                "{json}"
            );
        }
        assert!(matches!(Policy::parse(br#"{"default": []}"#), Err(PolicyError::Rules(_))));
    }
}
