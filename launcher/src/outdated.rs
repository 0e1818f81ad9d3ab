//! `images --outdated`: which tags mean another image by now than when they were pulled.
//!
//! Owns: the asking of each image's registry, in order, and what is said where one does not answer. Never does: pull.

use crate::cli::ImagesArgs;
use crate::error::{Explain, Failure, chain, say};
use crate::jail::{self, Reach};
use crate::registries::Registries;
use crate::table::{shortened, table};
use image::Store;
use image::fetch::{Ask, FetchFailure, Pull};
use image::reference::name::ImageName;
use image::store::NamedImage;
use serde_json::json;
use std::fs::File;
use std::sync::atomic::AtomicBool;

/// Not all could be asked for.
#[derive(Debug, thiserror::Error)]
#[error("of {asked} images, {failed} could not be asked for")]
pub struct NotAllAsked {
    asked: usize,
    failed: usize,
}

impl Explain for NotAllAsked {}

/// What a tag meant, and means.
struct Moved {
    name: ImageName,
    named: NamedImage,
    now: image::Digest,
}

/// What `images --outdated` prints on standard output.
///
/// # Errors
/// Where the store, or what the user says of registries, cannot be read.
pub fn outdated(args: &ImagesArgs) -> Result<String, Failure> {
    let store = Store::open(&args.state_dir)?;
    let mut asked = Vec::new();
    for named in store.names()? {
        // What was named by a digest is that for ever.
        let Ok(name) = named.name.parse::<ImageName>() else { continue };
        if name.digest().is_none() {
            let registries = Registries::of(&name, &args.registry)?;
            asked.push((name, named, registries));
        }
    }
    jail::confine_launcher(true).map_err(Failure::plain)?;
    let mut reach = Reach { execute: vec!["/proc/self/exe".into()], ..jail::fetch::reach() };
    reach.devices.push("/dev/null".into());
    jail::close_launcher_in(&reach).map_err(Failure::plain)?;
    let (mut moved, mut failed) = (Vec::new(), 0);
    let count = asked.len();
    for (name, named, registries) in asked {
        match digest_now(&name, &registries)? {
            Ok(now) if now == named.digest => {}
            Ok(now) => moved.push(Moved { name, named, now }),
            Err(error) => {
                failed += 1;
                say(&format!("cannot ask for {}: {error}", name.familiar()));
            }
        }
    }
    print_what_moved(&moved, args.json)?;
    if failed > 0 { Err(NotAllAsked { asked: count, failed }.into()) } else { Ok(String::new()) }
}

/// The digest that a tag has now, at the first of its places that says.
fn digest_now(
    name: &ImageName,
    registries: &Registries,
) -> Result<Result<image::Digest, String>, Failure> {
    let remote = registries.remote(Pull::Always);
    let nowhere = File::options().write(true).open("/dev/null").map_err(Failure::plain)?;
    let ask = Ask::Digest { version: name.version() };
    let mut error = FetchFailure::NoPlace.to_string();
    for access in remote.places {
        let answer = remote
            .fetcher
            .open(access)
            .and_then(|mut line| line.ask(&ask, &nowhere, &AtomicBool::new(false)));
        match answer.map(|fetched| fetched.digest) {
            Ok(Some(digest)) => return Ok(Ok(digest)),
            Ok(None) => error = format!("{} does not say which it is", access.host),
            Err(failure) => error = format!("{}: {}", access.host, chain(&failure)),
        }
    }
    Ok(Err(error))
}

/// Before anything is said of what failed.
fn print_what_moved(moved: &[Moved], as_json: bool) -> Result<(), Failure> {
    let text = if as_json {
        let all: Vec<_> = moved
            .iter()
            .map(|Moved { named, now, .. }| json!({ "name": named.name, "have": named.digest, "now": now }))
            .collect();
        format!("{:#}\n", json!(all))
    } else if moved.is_empty() {
        String::new()
    } else {
        let heading = ["IMAGE", "HERE", "NOW"].map(str::to_owned);
        let short = |digest: &image::Digest| digest.hex().chars().take(12).collect::<String>();
        let row = |Moved { name, named, now }: &Moved| {
            [shortened(&name.familiar(), 60), short(&named.digest), short(now)]
        };
        table(&std::iter::once(heading).chain(moved.iter().map(row)).collect::<Vec<_>>())
    };
    crate::command::print(&text)
}
