//! What the outer images hold, and what they must not.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::build::Built;
use crate::{process, progress};

const USER: &str = "1000:1000";
const STATE_DIRECTORY: &str = "var/lib/cofferdam";
const LAUNCHER: &str = "cofferdam";
const CA_ROOTS: &str = "etc/ssl/certs/ca-certificates.crt";
const EMULATOR: &str = "usr/bin/qemu-system-x86_64";

/// One Docker archive.
struct Listing {
    config: Value,
    entries: Vec<Entry>,
}

/// One line of `tar -tv --numeric-owner`.
#[derive(Debug)]
struct Entry {
    mode: String,
    owner: String,
    path: String,
}

/// Checks both images.
///
/// # Errors
/// With each thing that is not as it should be.
pub fn check(built: &Built) -> Result<()> {
    let mut complaints = Vec::new();
    for (archive, is_small) in [(&built.image, true), (&built.tcg_image, false)] {
        let found = Listing::read(archive)?;
        for complaint in found.complaints(is_small) {
            complaints.push(format!("{}: {complaint}", archive.display()));
        }
        let name = archive.file_name().unwrap_or_default().to_string_lossy();
        progress::say(&format!("{name}: {} entries, user {USER}", found.entries.len()));
    }
    ensure!(complaints.is_empty(), "{}", complaints.join("\n"));
    Ok(())
}

impl Listing {
    fn read(archive: &Path) -> Result<Self> {
        let member =
            |name: &str| process::capture(Command::new("tar").arg("-xOf").arg(archive).arg(name));
        let manifest: Value = serde_json::from_str(&member("manifest.json")?)?;
        let config = manifest[0]["Config"].as_str().context("no configuration")?;
        let config = serde_json::from_str(&member(config)?)?;
        let mut entries = Vec::new();
        for layer in manifest[0]["Layers"].as_array().context("no layers")? {
            let mut list = Command::new("sh");
            list.args(["-c", "tar -xOf \"$0\" \"$1\" | tar -tv --numeric-owner"]);
            list.arg(archive).arg(layer.as_str().context("a layer without a name")?);
            entries.extend(process::capture(&mut list)?.lines().filter_map(Entry::parse));
        }
        Ok(Self { config, entries })
    }

    fn complaints(&self, is_small: bool) -> Vec<String> {
        let mut complaints = Vec::new();
        let config = &self.config["config"];
        if config["User"] != USER {
            complaints.push(format!("its user is {}", config["User"]));
        }
        if config["Entrypoint"] != serde_json::json!([format!("/{LAUNCHER}")]) {
            complaints.push(format!("its entry point is {}", config["Entrypoint"]));
        }
        let state: Vec<&Entry> =
            self.entries.iter().filter(|it| it.path == STATE_DIRECTORY).collect();
        match state[..] {
            [only] if only.mode == "drwx------" && only.owner == "1000/1000" => {}
            _ => complaints.push(format!("its state directory is {state:?}")),
        }
        let privileged = |entry: &&Entry| !entry.is_directory() && entry.mode.contains(['s', 'S']);
        for entry in self.entries.iter().filter(privileged) {
            complaints.push(format!("{} changes who runs it: {}", entry.path, entry.mode));
        }
        let files: BTreeSet<&str> = self
            .entries
            .iter()
            .filter(|it| !it.is_directory())
            .map(|it| it.path.as_str())
            .collect();
        let needed: &[&str] =
            if is_small { &[LAUNCHER, CA_ROOTS] } else { &[LAUNCHER, CA_ROOTS, EMULATOR] };
        for path in needed.iter().filter(|path| !files.contains(*path)) {
            complaints.push(format!("{path} is missing"));
        }
        if is_small {
            let more = files.iter().filter(|path| !needed.contains(path));
            complaints.extend(more.map(|path| format!("{path} has no business in it")));
        }
        complaints
    }
}

impl Entry {
    fn is_directory(&self) -> bool {
        self.mode.starts_with('d')
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let (mode, owner) = (words.next()?.to_owned(), words.next()?.to_owned());
        // Size, date and time.
        let path = words.nth(3)?.trim_start_matches("./").trim_end_matches('/').to_owned();
        Some(Self { mode, owner, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images;
    use crate::workspace::Workspace;
    use serde_json::json;
    use std::fs::{self, File};

    /// The real recipe, with another launcher.
    fn written() -> Listing {
        let folder = tempfile::tempdir().unwrap();
        let (dist, binary) = (folder.path().to_path_buf(), folder.path().join("binary"));
        fs::write(&binary, "a program").unwrap();
        let archive = folder.path().join("image.tar");
        let mut out = File::create(&archive).unwrap();
        let nowhere = folder.path().join("nowhere");
        let (root, cache, target) = (nowhere.clone(), nowhere.clone(), nowhere);
        let workspace = Workspace { root, dist, cache, target };
        images::write_outer(&workspace, &binary, None, &mut out).unwrap();
        Listing::read(&archive).unwrap()
    }

    #[test]
    fn the_small_image_holds_the_launcher_and_no_more() {
        assert_eq!(written().complaints(true), [""; 0]);
    }

    #[test]
    fn the_other_must_have_an_emulator() {
        assert_eq!(written().complaints(false), [format!("{EMULATOR} is missing")]);
    }

    #[test]
    fn what_is_not_as_it_should_be_is_seen() {
        let mut listing = written();
        listing.config["config"]["User"] = json!("");
        listing.config["config"]["Entrypoint"] = json!(["/bin/sh"]);
        for entry in &mut listing.entries {
            if entry.path == STATE_DIRECTORY {
                entry.owner = "0/0".into();
            }
        }
        // A directory only hands its group on.
        for line in [
            "-rwsr-xr-x 0/0 17 2026-01-01 00:00 bin/su",
            "drwxrwsr-x 0/50 0 2026-01-01 00:00 ./var/local/",
        ] {
            listing.entries.push(Entry::parse(line).unwrap());
        }
        listing.entries.retain(|entry| entry.path != CA_ROOTS);
        let complaints = listing.complaints(true);
        assert_eq!(complaints.len(), 6, "{complaints:?}");
    }
}
