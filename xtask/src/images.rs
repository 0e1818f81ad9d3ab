//! The images: built by `rootfs`' recipes, kept in the cache.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use rootfs::debian::{self, Tree};
use rootfs::image_config::ImageConfig;
use rootfs::layer::{Layer, LayerBuilder, Owner};
use rootfs::recipes::{bench, clients, demo, docker, files, job, outer, small};
use rootfs::{docker_archive, oci_directory};

use crate::digest::Inputs;
use crate::progress::Task;
use crate::workspace::Workspace;
use crate::{cache, process};

const DEBIAN: &str = include_str!("../../rootfs/src/debian.rs");
const RECIPES: &[&str] = &[
    DEBIAN,
    include_str!("../../rootfs/src/docker_archive.rs"),
    include_str!("../../rootfs/src/image_config.rs"),
    include_str!("../../rootfs/src/layer.rs"),
    include_str!("../../rootfs/src/oci_directory.rs"),
    include_str!("../../rootfs/src/recipes/bench.rs"),
    include_str!("../../rootfs/src/recipes/demo.rs"),
    include_str!("../../rootfs/src/recipes/docker.rs"),
    include_str!("../../rootfs/src/recipes/small.rs"),
    demo::JOB,
];

/// One image in the two forms that programs ask for.
pub struct Image {
    /// For `oci:DIR`.
    pub oci: PathBuf,
    /// For `docker load`, which does not read the other.
    pub docker_archive: PathBuf,
}

/// What an image is built for.
#[derive(Clone, Copy, clap::ValueEnum)]
pub enum Name {
    /// Most tests.
    Small,
    /// The demo, and what tests its job.
    Demo,
    /// `cofferdam bench`.
    Bench,
    /// Docker in Docker.
    Docker,
    /// Measuring work on files
    Files,
    /// Real clients of the network, in `make soak`
    Clients,
    /// What the containers of a job of CI are of, in `make soak`
    Services,
    /// The same for those that may do all
    Machine,
}

impl Name {
    /// Those that tests and the demo use.
    pub const ALL: [Self; 4] = [Self::Small, Self::Demo, Self::Bench, Self::Docker];

    /// Builds it, where it is not in the cache.
    ///
    /// # Errors
    /// Those of writing, and of what the image is made by.
    pub fn build(self, workspace: &Workspace) -> Result<Image> {
        match self {
            Self::Small => small(workspace),
            Self::Demo => demo(workspace),
            Self::Bench => plain(workspace, "bench", &bench::TREE),
            Self::Docker => plain(workspace, "docker", &docker::TREE),
            Self::Files => plain(workspace, "files", &files::TREE),
            Self::Clients => plain(workspace, "clients", &clients::TREE),
            Self::Services => plain(workspace, "services", &job::SERVICES),
            Self::Machine => plain(workspace, "machine", &job::MACHINE),
        }
    }
}

/// The demo's image.
///
/// # Errors
/// Those of mmdebstrap and of writing.
pub fn demo(workspace: &Workspace) -> Result<Image> {
    let tree = debian_tree(workspace, "demo", &demo::TREE)?;
    image(workspace, "demo", &Inputs::default().identity(&tree)?.finish(), |scratch| {
        let job = scratch.join("job.tar");
        let mut layer = LayerBuilder::new(File::create(&job)?);
        layer.file(demo::JOB_PATH, 0o755, Owner::ROOT, demo::JOB.as_bytes())?;
        layer.finish()?;
        Ok((ImageConfig::debian(), vec![Layer::open(&tree)?, Layer::open(&job)?]))
    })
}

/// An image of a Debian as it is.
fn plain(workspace: &Workspace, name: &str, tree: &Tree<'_>) -> Result<Image> {
    let tree = debian_tree(workspace, name, tree)?;
    image(workspace, name, &Inputs::default().identity(&tree)?.finish(), |_| {
        Ok((ImageConfig::debian(), vec![Layer::open(&tree)?]))
    })
}

/// The small image that most tests use.
///
/// # Errors
/// Those of writing, and a missing busybox.
pub fn small(workspace: &Workspace) -> Result<Image> {
    let busybox = Inputs::default().identity(Path::new("/bin/busybox"))?.finish();
    image(workspace, "small", &busybox, |scratch| {
        let tar = scratch.join("layer.tar");
        let mut out = BufWriter::new(File::create(&tar)?);
        small::write_layer(&mut out)?;
        out.into_inner()?;
        Ok((small::config(), vec![Layer::open(&tar)?]))
    })
}

/// The Debian tree beneath `cofferdam:tcg`.
///
/// # Errors
/// Those of mmdebstrap.
pub fn tcg_tree(workspace: &Workspace) -> Result<PathBuf> {
    debian_tree(workspace, "tcg", &outer::TCG_TREE)
}

/// Writes an outer image with `cofferdam` in it, on `tree` or on nothing.
///
/// # Errors
/// Those of reading and writing.
pub fn write_outer(
    workspace: &Workspace,
    cofferdam: &Path,
    tree: Option<&Path>,
    out: &mut impl Write,
) -> Result<()> {
    let scratch = workspace.dist.join(".launcher-layer.tar");
    let mut layer = BufWriter::new(File::create(&scratch)?);
    outer::write_layer(cofferdam, &mut layer)?;
    layer.into_inner()?;
    let mut layers = Vec::new();
    if let Some(tree) = tree {
        layers.push(Layer::open(tree)?);
    }
    layers.push(Layer::open(&scratch)?);
    let tag = if tree.is_some() { "cofferdam:tcg" } else { "cofferdam:latest" };
    docker_archive::write(tag, &outer::config(), &layers, out)?;
    std::fs::remove_file(scratch)?;
    Ok(())
}

fn image(
    workspace: &Workspace,
    name: &str,
    inputs: &str,
    layers: impl FnOnce(&Path) -> Result<(ImageConfig, Vec<Layer>)>,
) -> Result<Image> {
    let mut digest = Inputs::default().text("image", name).text("inputs", inputs);
    for recipe in RECIPES {
        digest = digest.text("recipe", recipe);
    }
    let entry = cache::entry(workspace, "image", &digest.finish(), |place| {
        let task = Task::begin(&format!("image: {name}"));
        let scratch = place.join("scratch");
        std::fs::create_dir(&scratch)?;
        let (config, layers) = layers(&scratch)?;
        oci_directory::write(&place.join("oci"), "latest", &config, &layers)?;
        let mut archive = BufWriter::new(File::create(place.join("docker-archive.tar"))?);
        let tag = format!("cofferdam-{name}:latest");
        docker_archive::write(&tag, &config, &layers, &mut archive)?;
        archive.into_inner()?;
        std::fs::remove_dir_all(scratch)?;
        task.end();
        Ok(())
    })?;
    Ok(Image { oci: entry.join("oci"), docker_archive: entry.join("docker-archive.tar") })
}

/// A Debian as one tar file.
///
/// # Errors
/// Those of mmdebstrap.
pub fn debian_tree(workspace: &Workspace, name: &str, tree: &Tree<'_>) -> Result<PathBuf> {
    let suite = debian::suite()?;
    let digest = Inputs::default()
        .text("suite", &suite)
        .text("recipe", DEBIAN)
        .text("candidates", &candidates(tree.packages)?)
        .text("tree", &format!("{tree:?}"))
        .finish();
    let entry = cache::entry(workspace, "debian-tree", &digest, |place| {
        let task = Task::begin(&format!("{name}: a small Debian ({suite}) by mmdebstrap"));
        tree.write(&suite, &place.join("tree.tar"), &place.join("mmdebstrap.log"))?;
        task.end();
        Ok(())
    })?;
    Ok(entry.join("tree.tar"))
}

/// Which versions apt would install of `packages`: a tree is made again when there are newer ones.
fn candidates(packages: &[&str]) -> Result<String> {
    let mut policy = Command::new("apt-cache");
    let text = process::capture(policy.env("LC_ALL", "C").arg("policy").args(packages))?;
    let versions = text.lines().map(str::trim).filter_map(|line| line.strip_prefix("Candidate: "));
    Ok(versions.collect::<Vec<_>>().join(" "))
}
