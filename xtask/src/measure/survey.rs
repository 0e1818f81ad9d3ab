//! What is measured but not guarded by `make test`: it takes minutes. Peers, memory and sizes, streams.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde_json::{Map, Value};

use super::{
    NOT_COUNTED, docker, figures, files, fragments, heading, known, memory, network, peers, pulls,
    streams, write,
};
use crate::build::Built;
use crate::images::{self, Image};
use crate::progress::{self, Task};
use crate::workspace::Workspace;
use crate::{kernel, program, reference_host};

/// What can be measured alone.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// The guest kernel's start and one run, which `make test` guards
    Run,
    /// The same run under others
    Peers,
    /// Bytes and answers
    Streams,
    /// Memory, and sizes
    Memory,
    /// What each fragment of the guest kernel's configuration costs: a kernel is built for each
    Fragments,
    /// Images from a registry, under others too: a dozen are made, which takes gigabytes
    Images,
    /// Work on files, on each kind of place that a container can have them
    Files,
    /// A job with Docker, without a sandbox too
    Docker,
    /// The network, under others too
    Network,
}

/// A script, and where what it says is kept.
struct Survey {
    name: &'static str,
    script: &'static str,
    results: &'static str,
    /// How often everything in it is repeated, where it is.
    runs: u32,
    /// Several times what it takes: one that stands still is not waited for longer.
    limit_s: u32,
    /// So long, or with a guest that is interrupted so often, that the installed emulator does not get through it.
    stands_still: bool,
}

const PEERS: Survey = Survey {
    name: "`true`, from exec to exit, under cofferdam and its peers",
    script: "tests/reference-host/peers",
    results: "tests/reference-host/peers.json",
    runs: 3,
    limit_s: 900,
    stands_still: false,
};

const MEMORY: Survey = Survey {
    name: "memory of idle sandboxes",
    script: "tests/reference-host/memory",
    results: "tests/reference-host/memory.json",
    runs: 1,
    limit_s: 300,
    stands_still: false,
};

const STREAMS: Survey = Survey {
    name: "bytes and answers through vsock",
    script: "tests/reference-host/stream-cost",
    results: "tests/reference-host/stream-cost.json",
    runs: 3,
    limit_s: 300,
    stands_still: false,
};

const FILES: Survey = Survey {
    name: "work on files",
    script: "tests/reference-host/files-cost",
    results: "tests/reference-host/files-cost.json",
    runs: 1,
    limit_s: 500,
    stands_still: false,
};

const DOCKER: Survey = Survey {
    name: "a job with Docker",
    script: "tests/reference-host/docker-cost",
    results: "tests/reference-host/docker-cost.json",
    runs: 1,
    limit_s: 3000,
    stands_still: true,
};

const NETWORK: Survey = Survey {
    name: "the network of a guest, under cofferdam and its peers",
    script: "tests/reference-host/network-cost",
    results: "tests/reference-host/network-cost.json",
    runs: 3,
    limit_s: 3600,
    stands_still: true,
};

const IMAGES: Survey = Survey {
    name: "images, from a registry",
    script: "tests/reference-host/image-cost",
    results: "tests/reference-host/image-cost.json",
    runs: 3,
    limit_s: 14_000,
    stands_still: false,
};

/// Measures and keeps this part; gives what is over its budget.
///
/// # Errors
/// Those of the scripts, one that left something out, and a machine that stood still each time.
pub fn part(
    workspace: &Workspace,
    built: &Built,
    commit: &str,
    (part, images): (Part, &[String]),
) -> Result<Vec<String>> {
    let Image { oci, docker_archive } = images::small(workspace)?;
    let vmlinux = kernel::vmlinux(workspace)?;
    let one = |what: &Survey, arguments: &[&Path], document: &Document<'_>| {
        survey(workspace, what, arguments, commit, document)
    };
    match part {
        Part::Run => {}
        Part::Fragments => fragments::measure(workspace, commit)?,
        Part::Peers => {
            let arguments = [&*built.cofferdam, &oci, &docker_archive, &vmlinux];
            one(&PEERS, &arguments, &peers::document)?;
        }
        Part::Streams => one(&STREAMS, &[&built.cofferdam, &oci], &streams::document)?,
        Part::Files => {
            let image = images::Name::Files.build(workspace)?;
            // No more: in a machine that is emulated in one, an exit takes a moment that is not counted.
            let tree = kernel::sources(workspace)?.path.join("fs/xfs");
            // Each place in a machine of its own: one that stands still takes no other with it.
            let mut said = String::new();
            for place in files::PLACES {
                let arguments = [&*built.cofferdam, &image.oci, &tree, Path::new(place)];
                said.push_str(&counted(workspace, &FILES, &arguments)?);
                said.push('\n');
            }
            keep(workspace, &FILES, &said, commit, &files::document)?;
        }
        Part::Docker => {
            let image = images::Name::Docker.build(workspace)?.oci;
            let mut said = String::new();
            for place in docker::PLACES {
                let arguments = [&*built.cofferdam, &image, Path::new(place)];
                said.push_str(&counted(workspace, &DOCKER, &arguments)?);
                said.push('\n');
            }
            keep(workspace, &DOCKER, &said, commit, &docker::document)?;
        }
        Part::Network => {
            let tool = program::guest_tool(workspace)?;
            let arguments = [&*built.cofferdam, &oci, &vmlinux, &tool];
            one(&NETWORK, &arguments, &network::document)?;
            let picture = network::picture(&known(workspace, NETWORK.results)?)?;
            fs::write(workspace.root.join(network::PICTURE), picture)?;
        }
        Part::Images => {
            let made = workspace.root.join("target/real-images");
            let wanted = |name: &&str| images.is_empty() || images.iter().any(|it| it == name);
            let names: Vec<&str> = pulls::names().into_iter().filter(wanted).collect();
            let arguments = [&*built.cofferdam, &*made].into_iter();
            let arguments: Vec<&Path> = arguments.chain(names.iter().map(Path::new)).collect();
            let before = known_if_measured(workspace, &IMAGES)?;
            let document = |text: &str| pulls::document(text, &names, commit, &before);
            one(&IMAGES, &arguments, &document)?;
        }
        Part::Memory => {
            let sizes = sizes(built, &vmlinux)?;
            let document = |text: &str| memory::document(text, &sizes);
            one(&MEMORY, &[&built.cofferdam, &oci], &document)?;
            return memory::over_budget(&known(workspace, MEMORY.results)?);
        }
    }
    Ok(Vec::new())
}

type Table = fn(&Value) -> Result<String>;
type Document<'a> = dyn Fn(&str) -> Result<Map<String, Value>> + 'a;

fn survey(
    workspace: &Workspace,
    what: &Survey,
    arguments: &[&Path],
    commit: &str,
    document: &Document<'_>,
) -> Result<()> {
    let text = counted(workspace, what, arguments)?;
    keep(workspace, what, &text, commit, document)
}

/// What a script says.
fn counted(workspace: &Workspace, what: &Survey, arguments: &[&Path]) -> Result<String> {
    let emulator = what.stands_still.then(|| reference_host::emulator(workspace)).transpose()?;
    let task = Task::begin(what.name);
    let text = reference_host::count(what.limit_s, || {
        let mut command = Command::new(workspace.root.join(what.script));
        command.current_dir(&workspace.root).args(arguments).env("RUNS", what.runs.to_string());
        command.envs(emulator.iter().map(|emulator| ("EMULATOR", emulator)));
        command
    })?;
    task.end();
    text.with_context(|| format!("{}: {NOT_COUNTED}", what.name))
}

fn keep(
    workspace: &Workspace,
    what: &Survey,
    text: &str,
    commit: &str,
    document: &Document<'_>,
) -> Result<()> {
    let mut kept = heading(what.name, commit, figures::line(text, "host kernel")?)?;
    kept.extend(document(text).with_context(|| format!("{} left something out", what.script))?);
    write(workspace, what.results, &Value::Object(kept))?;
    progress::say(what.results);
    Ok(())
}

/// Bytes of what is shipped, and of the kernel in it.
fn sizes(built: &Built, vmlinux: &Path) -> Result<Vec<(&'static str, u64)>> {
    let bytes = |path: &Path| {
        let metadata = fs::metadata(path);
        metadata.map(|it| it.len()).with_context(|| format!("cannot look at {}", path.display()))
    };
    Ok(vec![
        ("cofferdam", bytes(&built.cofferdam)?),
        ("cofferdam, the guest kernel in it", bytes(vmlinux)?),
        ("cofferdam-image.tar", bytes(&built.image)?),
        ("cofferdam-tcg-image.tar", bytes(&built.tcg_image)?),
    ])
}

/// README's tables, from what is kept; of what was never measured, none.
///
/// # Errors
/// Where a document lacks something.
pub fn tables(workspace: &Workspace) -> Result<String> {
    let mut tables = String::new();
    let table: [(_, Table); 7] = [
        (PEERS, peers::table),
        (STREAMS, streams::table),
        (NETWORK, network::table),
        (IMAGES, pulls::table),
        (FILES, files::table),
        (DOCKER, docker::table),
        (MEMORY, memory::tables),
    ];
    for (survey, table) in table {
        match known_if_measured(workspace, &survey)? {
            Value::Null => {}
            document => tables.push_str(&table(&document)?),
        }
    }
    Ok(tables)
}

/// What is kept; null of what was never measured.
fn known_if_measured(workspace: &Workspace, survey: &Survey) -> Result<Value> {
    let is_measured = workspace.root.join(survey.results).exists();
    if is_measured { known(workspace, survey.results) } else { Ok(Value::Null) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who sees the picture sees what was measured.
    #[test]
    fn the_picture_is_drawn_of_the_results_beside_it() {
        let workspace = Workspace::find().unwrap();
        let document = known_if_measured(&workspace, &NETWORK).unwrap();
        if document != Value::Null {
            let drawn = fs::read_to_string(workspace.root.join(network::PICTURE)).unwrap();
            assert_eq!(drawn, network::picture(&document).unwrap());
        }
    }
}
