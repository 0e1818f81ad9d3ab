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
//! | policy | `--policy`; else `~/.config/containers/policy.json`, `/etc/containers/policy.json` |
//! | authorities | `$SSL_CERT_FILE`, or the system's bundle; and `/etc/{docker,containers}/certs.d/HOST/*.crt` |
//! | proxy | `$HTTPS_PROXY`, `$ALL_PROXY`, and `$NO_PROXY` |

use crate::cli::images::RegistryArgs;
use crate::error::Explain;
use crate::jail::fetch::JailedFetcher;
use image::fetch::{Access, Credentials, Proxy, Pull, Remote, Security};
use image::policy::{Policy, PolicyError};
use image::reference::name::ImageName;
use image::registries::credentials::{self, CredentialError, CredentialFile, Found};
use image::registries::{Endpoint, Settings, SettingsError};
use std::ffi::OsString;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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
            let security = if endpoint.insecure { Security::Insecure } else { Security::Verified };
            let authorities = here.authorities(&endpoint);
            fetcher.authorities.push((endpoint.host.clone(), authorities));
            let (host, repository) = (endpoint.host, endpoint.repository);
            let proxy = here.proxy.clone();
            places.push(Access { host, repository, security, credentials, proxy });
        }
        Ok(Self { fetcher, places })
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
        Remote { fetcher: &self.fetcher, places: &self.places, pull }
    }
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
    Policy::parse(&text).map_err(|source| RegistriesError::Policy { path, source })
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
                if let Some(credentials) = ask_helper(&name, &server)? {
                    return Ok(Some(credentials));
                }
            }
            None => {}
        }
    }
    Ok(None)
}

/// Where credentials for a registry are kept.
#[derive(Debug)]
pub struct Keeping {
    registry: String,
    path: PathBuf,
    file: CredentialFile,
}

impl Keeping {
    /// Finds the place: what the user names, or else Docker's.
    ///
    /// # Errors
    /// Where there is none, or what is there cannot be read.
    pub fn find(registry: &str, named: Option<&Path>) -> Result<Self, RegistriesError> {
        let here = Here::ask();
        let docker = here.docker_config.as_ref().map(|directory| directory.join("config.json"));
        let named = named.map(Path::to_owned).or_else(|| here.auth_file.clone());
        let path = named.or(docker).or_else(|| here.at_home(".docker/config.json"));
        let path = path.ok_or(RegistriesError::NoPlace)?;
        let there = first_there(std::iter::once(path.clone()))?;
        let file = there.map(|(path, text)| parse_credentials(path, &text)).transpose()?;
        let file = file.map(|(_, file)| file).unwrap_or_default();
        Ok(Self { registry: registry.to_owned(), path, file })
    }

    /// Keeps credentials, with a helper where one is named; says where.
    ///
    /// # Errors
    /// Where they cannot be kept.
    pub fn keep(mut self, credentials: &Credentials) -> Result<String, RegistriesError> {
        if let Some((name, server)) = self.helper()? {
            run_helper(&name, "store", &credentials::to_helper(&server, credentials))?;
            return Ok(format!("docker-credential-{name}"));
        }
        self.file.keep(&self.registry, credentials);
        self.write()?;
        Ok(self.path.display().to_string())
    }

    /// Forgets credentials. Whether there were any.
    ///
    /// # Errors
    /// Where they cannot be forgotten.
    pub fn forget(mut self) -> Result<bool, RegistriesError> {
        if let Some((name, server)) = self.helper()? {
            if ask_helper(&name, &server)?.is_none() {
                return Ok(false);
            }
            return run_helper(&name, "erase", server.as_bytes()).map(|_| true);
        }
        let found = self.file.forget(&self.registry);
        if found {
            self.write()?;
        }
        Ok(found)
    }

    fn helper(&self) -> Result<Option<(String, String)>, RegistriesError> {
        let found = self.file.helper(&self.registry);
        found.map_err(|source| RegistriesError::Credentials { path: self.path.clone(), source })
    }

    /// In place of what is there, whole, and for nobody else to read.
    fn write(&self) -> Result<(), RegistriesError> {
        let failed = |source| RegistriesError::Write { path: self.path.clone(), source };
        let json = serde_json::to_vec_pretty(&self.file).map_err(|error| failed(error.into()))?;
        // Where it is a link, what it leads to is replaced.
        let place = std::fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        if let Some(directory) = place.parent().filter(|path| !path.as_os_str().is_empty()) {
            std::fs::create_dir_all(directory).map_err(failed)?;
        }
        let new = place.with_extension(format!("new-{}", std::process::id()));
        let write = || {
            let mut options = File::options();
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let mut file = options.write(true).create_new(true).open(&new)?;
            file.write_all(&json)?;
            file.sync_all()?;
            std::fs::rename(&new, &place)
        };
        write().map_err(|error| {
            let _ = std::fs::remove_file(&new);
            failed(error)
        })
    }
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

/// Asks a credential helper; `None` where it knows nobody (docker-credential-helpers' protocol).
fn ask_helper(name: &str, server: &str) -> Result<Option<Credentials>, RegistriesError> {
    match run_helper(name, "get", server.as_bytes()) {
        Ok(answer) => credentials::of_helper(&answer).map(Some).map_err(|error| {
            RegistriesError::Helper { name: name.to_owned(), why: error.to_string() }
        }),
        Err(RegistriesError::Helper { why, .. }) if why.contains("credentials not found") => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Has a credential helper do something; gives what it says.
fn run_helper(name: &str, verb: &str, input: &[u8]) -> Result<Vec<u8>, RegistriesError> {
    let program = format!("docker-credential-{name}");
    let failed = |why: String| RegistriesError::Helper { name: program.clone(), why };
    let io = |error: std::io::Error| failed(error.to_string());
    let mut command = Command::new(&program);
    command.arg(verb).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(io)?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not listen may know nevertheless.
        let _ = stdin.write_all(input);
    }
    let mut answer = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(MAX_FILE_BYTES).read_to_end(&mut answer).map_err(io)?;
    }
    let status = child.wait().map_err(io)?;
    if status.success() {
        return Ok(answer);
    }
    let words = String::from_utf8_lossy(&answer).trim().chars().take(200).collect::<String>();
    Err(failed(if words.is_empty() { status.to_string() } else { words }))
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
