//! How registries are reached from here: what the user's files and environment say, read before this process
//! walls itself in.
//!
//! Owns: where those files are, as Docker and podman have it, and the running of credential helpers. Never does:
//! speak to a registry.
//!
//! | what | where, the first that is there |
//! |---|---|
//! | settings | `$CONTAINERS_REGISTRIES_CONF`, `~/.config/containers/registries.conf`, `/etc/containers/registries.conf` |
//! | credentials | `--authfile`, `$REGISTRY_AUTH_FILE`; else all of `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`, `$XDG_RUNTIME_DIR/containers/auth.json`, `~/.config/containers/auth.json` |
//! | places of GPG signatures | `*.yaml` of `~/.config/containers/registries.d`, or else of `/etc/containers/registries.d` |
//! | policy | `--policy`; else `~/.config/containers/policy.json`, `/etc/containers/policy.json` |
//! | authorities | `$SSL_CERT_FILE`, or the system's bundle; and `/etc/{docker,containers}/certs.d/HOST/*.crt` |
//! | proxy | `$HTTPS_PROXY`, `$ALL_PROXY`, and `$NO_PROXY` |

mod credential_helper;
mod keeping;

pub use keeping::Keeping;

use crate::cli::images::RegistryArgs;
use crate::error::Explain;
use crate::jail::fetch::JailedFetcher;
use image::fetch::{Access, Aside, Credentials, Proxy, Pull, Remote, Security};
use image::policy::{MAX_KEY_BYTES, Policy, PolicyError};
use image::reference::name::ImageName;
use image::registries::credentials::{CredentialError, CredentialFile, Found};
use image::registries::{Endpoint, Lookaside, LookasideError, Lookasides, Settings, SettingsError};
use std::ffi::OsString;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// The longest file of settings or credentials, and answer of a helper, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// The most certificates' files of one host.
const MAX_AUTHORITIES: usize = 64;
/// Where systems keep the certificates of those they trust.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
const CERTS_D: [&str; 2] = ["/etc/containers/certs.d", "/etc/docker/certs.d"];

/// Why it is not known how to reach a registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistriesError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It is no registry.
    #[error("{0:?} is no registry: HOST[:PORT] is wanted")]
    NoRegistry(String),
    /// A file cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// There is no place for credentials.
    #[error("there is nowhere to keep credentials: neither --authfile nor a home directory")]
    NoPlace,
    /// The settings say no, or nothing of sense.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A file of credentials is malformed.
    #[error("cannot use the credentials in {path}")]
    Credentials {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: CredentialError,
    },
    /// A file of places of signatures is malformed.
    #[error("cannot use {path}")]
    Lookasides {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: LookasideError,
    },
    /// A policy is malformed.
    #[error("cannot use the policy {path}")]
    Policy {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: PolicyError,
    },
    /// A credential helper failed.
    #[error("the credential helper {name} failed: {why}")]
    Helper {
        /// Its program.
        name: String,
        /// What it says.
        why: String,
    },
}

impl Explain for RegistriesError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Helper { .. } => Some(
                "inside a container, the helper must be there too; or keep the credentials in a file (--authfile)"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

/// How one image's registries are reached.
#[derive(Debug)]
pub struct Registries {
    fetcher: JailedFetcher,
    places: Vec<Access>,
    lookaside: Option<Aside>,
}

impl Registries {
    /// Reads what the user says. Call it before this process is walled in.
    ///
    /// # Errors
    /// Any [`RegistriesError`].
    pub fn of(name: &ImageName, args: &RegistryArgs) -> Result<Self, RegistriesError> {
        let here = Here::ask();
        let mut settings = here.settings()?;
        args.insecure_registry.iter().for_each(|registry| settings.allow_insecure(registry));
        let files = here.credential_files(args.authfile.as_deref())?;
        let mut fetcher = JailedFetcher::default();
        let mut places = Vec::new();
        for endpoint in settings.endpoints(name)? {
            let credentials = credentials_for(&files, &endpoint)?;
            fetcher.authorities.push((endpoint.host.clone(), here.authorities(&endpoint)));
            places.push(access(endpoint, credentials, here.proxy.clone()));
        }
        Ok(Self { fetcher, places, lookaside: None })
    }

    /// The same, where its GPG signatures are wanted too.
    ///
    /// # Errors
    /// Any [`RegistriesError`].
    pub fn and_signatures(
        mut self,
        name: &ImageName,
        args: &RegistryArgs,
    ) -> Result<Self, RegistriesError> {
        let here = Here::ask();
        let lookasides = here.lookasides()?;
        let Some(found) = lookasides.of(name) else { return Ok(self) };
        self.lookaside = Some(match found {
            Lookaside::Directory(directory) => Aside::Directory(directory.clone()),
            Lookaside::Server(found) => {
                let insecure = found.is_plain || args.insecure_registry.contains(&found.host);
                let (host, repository) = (found.host.clone(), found.repository(name));
                let endpoint = Endpoint { registry: host.clone(), host, repository, insecure };
                self.fetcher.authorities.push((endpoint.host.clone(), here.authorities(&endpoint)));
                Aside::Server(access(endpoint, None, here.proxy.clone()))
            }
        });
        Ok(self)
    }

    /// The directory of this machine that signatures are read from, where there is one.
    pub fn directory(&self) -> Option<&Path> {
        match &self.lookaside {
            Some(Aside::Directory(directory)) => Some(directory),
            _ => None,
        }
    }

    /// How a registry is asked whether it takes these credentials.
    ///
    /// # Errors
    /// Any [`RegistriesError`].
    pub fn to_log_in(
        registry: &str,
        credentials: Credentials,
        args: &RegistryArgs,
    ) -> Result<Self, RegistriesError> {
        // Of the whole registry, no repository is asked for.
        let name: ImageName = format!("{registry}/any")
            .parse()
            .map_err(|_| RegistriesError::NoRegistry(registry.to_owned()))?;
        let mut args = args.clone();
        args.authfile = Some("/dev/null".into());
        let mut registries = Self::of(&name, &args)?;
        // Mirrors have credentials of their own.
        registries.places.drain(..registries.places.len().saturating_sub(1));
        for access in &mut registries.places {
            access.credentials = Some(credentials.clone());
        }
        Ok(registries)
    }

    /// The same, as an image is asked for.
    pub fn remote(&self, pull: Pull) -> Remote<'_> {
        let (places, lookaside) = (&self.places, self.lookaside.as_ref());
        Remote { fetcher: &self.fetcher, places, lookaside, pull }
    }
}

fn access(endpoint: Endpoint, credentials: Option<Credentials>, proxy: Option<Proxy>) -> Access {
    let Endpoint { host, repository, insecure, .. } = endpoint;
    let security = if insecure { Security::Insecure } else { Security::Verified };
    Access { host, repository, security, credentials, proxy }
}

/// Which images are accepted here. Call it before this process is walled in.
///
/// # Errors
/// Where the policy cannot be read: then nothing is accepted.
pub fn policy(args: &RegistryArgs) -> Result<Policy, RegistriesError> {
    let here = Here::ask();
    let found = match &args.policy {
        Some(path) => Some((path.clone(), read(path)?)),
        None => {
            let own = here.at_home(".config/containers/policy.json");
            first_there(own.into_iter().chain(["/etc/containers/policy.json".into()]))?
        }
    };
    let Some((path, text)) = found else { return Ok(Policy::open()) };
    let mut policy = Policy::parse(&text)
        .map_err(|source| RegistriesError::Policy { path: path.clone(), source })?;
    policy.read_keys(key).map_err(|source| RegistriesError::Policy { path, source })?;
    Ok(policy)
}

/// A file with a key, as far as one goes.
fn key(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_KEY_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What the environment says.
struct Here {
    home: Option<PathBuf>,
    docker_config: Option<PathBuf>,
    runtime_dir: Option<PathBuf>,
    auth_file: Option<PathBuf>,
    registries_conf: Option<PathBuf>,
    ssl_cert_file: Option<PathBuf>,
    proxy: Option<Proxy>,
}

impl Here {
    fn ask() -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let path = |name: &str| variable(name).map(PathBuf::from);
        let text = |name: &str| {
            let lower = name.to_lowercase();
            variable(name)
                .or_else(|| variable(&lower))
                .and_then(|value: OsString| value.into_string().ok())
        };
        let url = text("HTTPS_PROXY").or_else(|| text("ALL_PROXY"));
        let except = text("NO_PROXY").unwrap_or_default();
        Self {
            home: path("HOME"),
            docker_config: path("DOCKER_CONFIG"),
            runtime_dir: path("XDG_RUNTIME_DIR"),
            auth_file: path("REGISTRY_AUTH_FILE"),
            registries_conf: path("CONTAINERS_REGISTRIES_CONF"),
            ssl_cert_file: path("SSL_CERT_FILE"),
            proxy: url.map(|url| Proxy { url, except }),
        }
    }

    fn at_home(&self, path: &str) -> Option<PathBuf> {
        Some(self.home.as_ref()?.join(path))
    }

    fn settings(&self) -> Result<Settings, RegistriesError> {
        let named = self.registries_conf.clone();
        let usual = [
            self.at_home(".config/containers/registries.conf"),
            Some("/etc/containers/registries.conf".into()),
        ];
        let text = match named {
            Some(path) => Some(read(&path)?),
            None => first_there(usual.into_iter().flatten())?.map(|(_, text)| text),
        };
        let Some(text) = text else { return Ok(Settings::default()) };
        Ok(Settings::parse(&String::from_utf8_lossy(&text))?)
    }

    /// Where signatures are kept, as all files of a directory say.
    fn lookasides(&self) -> Result<Lookasides, RegistriesError> {
        let usual = [
            self.at_home(".config/containers/registries.d"),
            Some("/etc/containers/registries.d".into()),
        ];
        let listing = usual.into_iter().flatten().find_map(|it| std::fs::read_dir(it).ok());
        let files = listing.into_iter().flatten().flatten().map(|entry| entry.path());
        let mut files: Vec<PathBuf> = files
            .filter(|it| it.extension().is_some_and(|extension| extension == "yaml"))
            .collect();
        files.sort();
        let mut lookasides = Lookasides::default();
        for path in files {
            let text = read(&path)?;
            let read = lookasides.read(&String::from_utf8_lossy(&text));
            read.map_err(|source| RegistriesError::Lookasides { path, source })?;
        }
        Ok(lookasides)
    }

    /// The files of credentials that there are, in the order in which they count.
    fn credential_files(
        &self,
        named: Option<&Path>,
    ) -> Result<Vec<(PathBuf, CredentialFile)>, RegistriesError> {
        let named = named.or(self.auth_file.as_deref());
        if let Some(path) = named {
            return Ok(vec![parse_credentials(path.to_owned(), &read(path)?)?]);
        }
        let docker = self.docker_config.as_ref().map(|directory| directory.join("config.json"));
        let usual = [
            docker.or_else(|| self.at_home(".docker/config.json")),
            self.runtime_dir.as_ref().map(|directory| directory.join("containers/auth.json")),
            self.at_home(".config/containers/auth.json"),
        ];
        let mut files = Vec::new();
        for path in usual.into_iter().flatten() {
            if let Some((path, text)) = first_there(std::iter::once(path))? {
                files.push(parse_credentials(path, &text)?);
            }
        }
        Ok(files)
    }

    /// Those who may vouch for a host. What is not there, or is no file, vouches for nobody.
    fn authorities(&self, endpoint: &Endpoint) -> Vec<File> {
        if endpoint.insecure {
            return Vec::new();
        }
        let bundle = match &self.ssl_cert_file {
            Some(path) => File::open(path).ok(),
            None => BUNDLES.iter().find_map(|path| File::open(path).ok()),
        };
        let own = CERTS_D.iter().flat_map(|directory| {
            let directory = Path::new(directory).join(&endpoint.registry);
            let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
            entries.map(|entry| entry.path())
        });
        let own = own.filter(|path| path.extension().is_some_and(|extension| extension == "crt"));
        bundle
            .into_iter()
            .chain(own.filter_map(|path| File::open(path).ok()))
            .take(MAX_AUTHORITIES)
            .collect()
    }
}

fn credentials_for(
    files: &[(PathBuf, CredentialFile)],
    endpoint: &Endpoint,
) -> Result<Option<Credentials>, RegistriesError> {
    for (path, file) in files {
        let found = file.find(&endpoint.registry, &endpoint.repository);
        match found.map_err(|source| RegistriesError::Credentials { path: path.clone(), source })? {
            Some(Found::Credentials(credentials)) => return Ok(Some(credentials)),
            Some(Found::Helper { name, server }) => {
                if let Some(credentials) = credential_helper::ask(&name, &server)? {
                    return Ok(Some(credentials));
                }
            }
            None => {}
        }
    }
    Ok(None)
}

fn parse_credentials(
    path: PathBuf,
    text: &[u8],
) -> Result<(PathBuf, CredentialFile), RegistriesError> {
    if text.iter().all(u8::is_ascii_whitespace) {
        return Ok((path, CredentialFile::default()));
    }
    match CredentialFile::parse(text) {
        Ok(file) => Ok((path, file)),
        Err(source) => Err(RegistriesError::Credentials { path, source }),
    }
}

fn first_there(
    paths: impl Iterator<Item = PathBuf>,
) -> Result<Option<(PathBuf, Vec<u8>)>, RegistriesError> {
    for path in paths {
        match read(&path) {
            Err(RegistriesError::Read { source, .. })
                if matches!(
                    source.kind(),
                    // Closed to this user: another's home, that sudo or an engine has left in $HOME.
                    ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::PermissionDenied
                ) => {}
            read => return read.map(|text| Some((path, text))),
        }
    }
    Ok(None)
}

fn read(path: &Path) -> Result<Vec<u8>, RegistriesError> {
    let failed = |source| RegistriesError::Read { path: path.to_owned(), source };
    let file = image::store::open_regular(path).map_err(failed)?;
    let file = match file {
        Some(file) => file,
        // A link, as secrets are mounted; followed here, because the user put it there.
        None => File::open(path).map_err(failed)?,
    };
    let mut text = Vec::new();
    file.take(MAX_FILE_BYTES).read_to_end(&mut text).map_err(failed)?;
    Ok(text)
}
