//! Where `login` keeps credentials, and `logout` forgets them: Docker's file, or the helper that it names.
//!
//! Owns: that the file is replaced whole, and is for nobody else to read.

use super::credential_helper::{ask, run};
use super::{Here, RegistriesError, first_there, parse_credentials};
use image::fetch::Credentials;
use image::registries::CredentialFile;
use image::registries::credentials;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

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
            run(&name, "store", &credentials::to_helper(&server, credentials))?;
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
            if ask(&name, &server)?.is_none() {
                return Ok(false);
            }
            return run(&name, "erase", server.as_bytes()).map(|_| true);
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
