//! Credentials of registries, as Docker (`~/.docker/config.json`) and podman (containers-auth.json(5)) keep them.
//!
//! Owns: the JSON, and which entry is for which repository. Never does: read a file or run a helper. No error
//! quotes the file: its secrets are printed nowhere.

use crate::fetch::Credentials;
use crate::reference::name::DEFAULT_REGISTRY;
use base64::Engine;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What Docker keeps Docker Hub's credentials under.
const HUB_KEY: &str = "https://index.docker.io/v1/";
/// The user's name that says that the password is an identity token: docker-credential-helpers'.
const TOKEN_USER: &str = "<token>";

/// A file of credentials.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialFile {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    auths: BTreeMap<String, Entry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    creds_store: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    cred_helpers: BTreeMap<String, String>,
    /// What others keep there: written again as it was.
    #[serde(flatten)]
    others: Map<String, Value>,
}

#[derive(Clone, Default, Deserialize, Serialize)]
struct Entry {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    auth: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    identitytoken: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    username: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    password: String,
    #[serde(flatten)]
    others: Map<String, Value>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Entry(..)")
    }
}

/// What a file says of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Who asks there.
    Credentials(Credentials),
    /// The program `docker-credential-NAME` knows: it is to be asked for the server.
    Helper {
        /// The helper's name.
        name: String,
        /// What it knows the registry as.
        server: String,
    },
}

/// A file that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// It is no such JSON.
    #[error("malformed file of credentials, at line {line}, column {column}")]
    Json {
        /// Where.
        line: usize,
        /// Where in the line.
        column: usize,
    },
    /// An entry's secret is not what it should be.
    #[error("the credentials of {0:?} are not base64 of NAME:PASSWORD")]
    Auth(String),
    /// A helper's answer is not what it should be.
    #[error("the credential helper's answer is not JSON with Username and Secret")]
    Helper,
    /// A helper's name would be a path.
    #[error("{0:?} is no name of a credential helper")]
    HelperName(String),
}

impl CredentialFile {
    /// Reads a file's text.
    ///
    /// # Errors
    /// [`CredentialError::Json`].
    pub fn parse(json: &[u8]) -> Result<Self, CredentialError> {
        serde_json::from_slice(json)
            .map_err(|error| CredentialError::Json { line: error.line(), column: error.column() })
    }

    /// What it says of a repository of a registry; `None` where it says nothing.
    ///
    /// # Errors
    /// [`CredentialError::Auth`] and [`CredentialError::HelperName`].
    pub fn find(&self, registry: &str, repository: &str) -> Result<Option<Found>, CredentialError> {
        let server = if registry == DEFAULT_REGISTRY { HUB_KEY } else { registry };
        let helper = self.cred_helpers.get(registry).or_else(|| self.cred_helpers.get(server));
        if let Some(name) = helper {
            return found_helper(name, server).map(Some);
        }
        if let Some((key, entry)) = self.entry(registry, repository)
            && let Some(credentials) = entry.credentials(key)?
        {
            return Ok(Some(Found::Credentials(credentials)));
        }
        self.creds_store.as_ref().map(|name| found_helper(name, server)).transpose()
    }

    /// The helper that keeps credentials for a registry, and what it knows it as; `None` where the file does.
    ///
    /// # Errors
    /// [`CredentialError::HelperName`].
    pub fn helper(&self, registry: &str) -> Result<Option<(String, String)>, CredentialError> {
        let server = if registry == DEFAULT_REGISTRY { HUB_KEY } else { registry };
        let own = self.cred_helpers.get(registry).or_else(|| self.cred_helpers.get(server));
        let Some(name) = own.or(self.creds_store.as_ref()) else { return Ok(None) };
        match found_helper(name, server)? {
            Found::Helper { name, server } => Ok(Some((name, server))),
            Found::Credentials(_) => Ok(None),
        }
    }

    /// Keeps credentials for a registry.
    pub fn keep(&mut self, registry: &str, credentials: &Credentials) {
        let entry = match credentials {
            Credentials::Password { user, password } => {
                let auth =
                    base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
                Entry { auth, ..Entry::default() }
            }
            Credentials::IdentityToken(token) => {
                Entry { identitytoken: token.clone(), ..Entry::default() }
            }
        };
        self.forget(registry);
        let key = if registry == DEFAULT_REGISTRY { HUB_KEY } else { registry };
        self.auths.insert(key.to_owned(), entry);
    }

    /// Forgets what it has for a registry. Whether there was anything.
    pub fn forget(&mut self, registry: &str) -> bool {
        let before = self.auths.len();
        self.auths.retain(|key, _| registry_of(key) != registry);
        self.auths.len() < before
    }

    /// The entry for a repository: the one that says most of it.
    fn entry(&self, registry: &str, repository: &str) -> Option<(&String, &Entry)> {
        let mut scope = format!("{registry}/{repository}");
        while let Some((shorter, _)) = scope.rsplit_once('/') {
            if let Some(found) = self.auths.get_key_value(&scope) {
                return Some(found);
            }
            scope.truncate(shorter.len());
        }
        self.auths.iter().find(|(key, _)| registry_of(key) == registry)
    }
}

/// The registry that a key means: some are URLs.
fn registry_of(key: &str) -> &str {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let host = bare.unwrap_or(key);
    let host = host.split_once('/').map_or(host, |(host, path)| match path {
        "" | "v1" | "v1/" | "v2" | "v2/" => host,
        // Of one repository alone.
        _ if bare.is_none() => key,
        _ => host,
    });
    match host {
        "index.docker.io" | "registry-1.docker.io" => DEFAULT_REGISTRY,
        other => other,
    }
}

fn found_helper(name: &str, server: &str) -> Result<Found, CredentialError> {
    if name.is_empty() || name.contains(['/', '\0']) || name.len() > 200 {
        return Err(CredentialError::HelperName(name.chars().take(200).collect()));
    }
    Ok(Found::Helper { name: name.to_owned(), server: server.to_owned() })
}

impl Entry {
    fn credentials(&self, key: &str) -> Result<Option<Credentials>, CredentialError> {
        let malformed = || CredentialError::Auth(key.chars().take(200).collect());
        if !self.identitytoken.is_empty() {
            return Ok(Some(Credentials::IdentityToken(self.identitytoken.clone())));
        }
        if !self.auth.is_empty() {
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(self.auth.trim())
                .map_err(|_| malformed())?;
            let text = String::from_utf8(bytes).map_err(|_| malformed())?;
            let (user, password) = text.split_once(':').ok_or_else(malformed)?;
            // Some versions of Docker end it in zeroes.
            let password = password.trim_end_matches('\0');
            return Ok(Some(named(user, password)));
        }
        let known = !self.username.is_empty();
        Ok(known.then(|| named(&self.username, &self.password)))
    }
}

fn named(user: &str, password: &str) -> Credentials {
    let (user, password) = (user.to_owned(), password.to_owned());
    Credentials::Password { user, password }
}

/// What a credential helper's answer to `get` says.
///
/// # Errors
/// [`CredentialError::Helper`].
pub fn of_helper(answer: &[u8]) -> Result<Credentials, CredentialError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Answer {
        username: String,
        secret: String,
    }
    let answer: Answer = serde_json::from_slice(answer).map_err(|_| CredentialError::Helper)?;
    Ok(match answer.username.as_str() {
        TOKEN_USER => Credentials::IdentityToken(answer.secret),
        _ => named(&answer.username, &answer.secret),
    })
}

/// What a credential helper is told by `store`.
pub fn to_helper(server: &str, credentials: &Credentials) -> Vec<u8> {
    let (user, secret) = match credentials {
        Credentials::Password { user, password } => (user.as_str(), password),
        Credentials::IdentityToken(token) => (TOKEN_USER, token),
    };
    let all = serde_json::json!({ "ServerURL": server, "Username": user, "Secret": secret });
    all.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(json: &str) -> CredentialFile {
        CredentialFile::parse(json.as_bytes()).unwrap()
    }

    /// Whose credentials a repository has.
    fn user(file: &CredentialFile, registry: &str, repository: &str) -> Option<String> {
        match file.find(registry, repository).unwrap()? {
            Found::Credentials(Credentials::Password { user, password }) => {
                Some(format!("{user}={password}"))
            }
            Found::Credentials(Credentials::IdentityToken(token)) => Some(format!("token {token}")),
            Found::Helper { name, server } => Some(format!("{name} {server}")),
        }
    }

    #[test]
    fn as_docker_keeps_them() {
        // a:b, and c:d:e with the zeroes of old.
        let file = file(
            r#"{"auths": {"https://index.docker.io/v1/": {"auth": "YTpi"},
                          "http://old.example/v1/": {"auth": "YzpkOmUAAA=="},
                          "token.example": {"auth": "YTpi", "identitytoken": "T"},
                          "plain.example": {"username": "u", "password": "p"},
                          "stored.example": {}},
                "credHelpers": {"gcr.io": "gcloud"}, "HttpHeaders": {"X": "y"}}"#,
        );
        assert_eq!(user(&file, "docker.io", "library/debian").unwrap(), "a=b");
        assert_eq!(user(&file, "old.example", "x").unwrap(), "c=d:e");
        assert_eq!(user(&file, "token.example", "x").unwrap(), "token T");
        assert_eq!(user(&file, "plain.example", "x").unwrap(), "u=p");
        assert_eq!(user(&file, "gcr.io", "x").unwrap(), "gcloud gcr.io");
        assert_eq!(user(&file, "stored.example", "x"), None);
        assert_eq!(user(&file, "other.example", "x"), None);
    }

    #[test]
    fn what_says_most_of_a_repository_counts() {
        let file = file(
            r#"{"auths": {"quay.io": {"auth": "YTpi"}, "quay.io/team": {"auth": "YzpkOmU="},
                          "quay.io/team/app": {"username": "app", "password": ""}}}"#,
        );
        assert_eq!(user(&file, "quay.io", "team/app").unwrap(), "app=");
        assert_eq!(user(&file, "quay.io", "team/apple").unwrap(), "c=d:e");
        assert_eq!(user(&file, "quay.io", "teams").unwrap(), "a=b");
    }

    #[test]
    fn a_store_is_asked_for_what_is_not_there() {
        let file = file(r#"{"auths": {"a.example": {"auth": "YTpi"}}, "credsStore": "pass"}"#);
        assert_eq!(user(&file, "a.example", "x").unwrap(), "a=b");
        assert_eq!(user(&file, "docker.io", "x").unwrap(), format!("pass {HUB_KEY}"));
        let file = CredentialFile { creds_store: Some("../x".into()), ..CredentialFile::default() };
        assert!(matches!(file.find("a", "b"), Err(CredentialError::HelperName(_))));
    }

    #[test]
    fn what_is_kept_is_found_and_what_is_not_ours_stays() {
        let mut file = file(r#"{"auths": {"https://a.example/v2/": {"auth": "YTpi"}}, "x": [1]}"#);
        let credentials = named("u", "p");
        file.keep("a.example", &credentials);
        file.keep("docker.io", &Credentials::IdentityToken("T".into()));
        let text = serde_json::to_string(&file).unwrap();
        let again = CredentialFile::parse(text.as_bytes()).unwrap();
        assert_eq!(user(&again, "a.example", "r").unwrap(), "u=p");
        assert_eq!(user(&again, "docker.io", "library/r").unwrap(), "token T");
        assert!(text.contains(r#""x":[1]"#) && !text.contains("/v2/"), "{text}");
        assert!(file.forget("a.example") && !file.forget("a.example"));
        assert_eq!(user(&file, "a.example", "r"), None);
    }

    #[test]
    fn no_secret_is_printed() {
        let file = file(r#"{"auths": {"a.example": {"auth": "!secret"}}}"#);
        let error = file.find("a.example", "b").unwrap_err();
        assert!(!format!("{error} {error:?} {file:?}").contains("secret"));
        let error = CredentialFile::parse(br#"{"auths": "secret"}"#).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"));
        assert!(!format!("{:?}", named("u", "secret")).contains("secret"));
    }

    #[test]
    fn helpers_answers() {
        let answer = br#"{"ServerURL":"x","Username":"u","Secret":"s"}"#;
        assert_eq!(of_helper(answer).unwrap(), named("u", "s"));
        let answer = br#"{"Username":"<token>","Secret":"s"}"#;
        assert_eq!(of_helper(answer).unwrap(), Credentials::IdentityToken("s".into()));
        assert_eq!(of_helper(b"credentials not found"), Err(CredentialError::Helper));
    }
}
