//! Peers: engines, runtimes of bundles and QEMU, each a layer of its own name where it is installed.

use super::bundle::{Bundle, BundleError, Runtime};
use super::qemu::{Qemu, QemuError};
use super::scratch::{Scratch, ScratchError};
use super::{Layer, file_name, is_installed};
use crate::accelerator::{Choice, ChooseError, choose};
use crate::cli::BenchArgs;
use crate::error::Explain;
use std::sync::Arc;

/// What runs OCI bundles.
const RUNTIMES: [&str; 4] = ["crun", "runc", "runsc", "youki"];
/// What is called `qemu` in a list of peers.
const QEMU: &str = "qemu-system-x86_64";

/// The peers that were named.
#[derive(Debug, Default)]
pub struct Peers {
    /// Those that are installed.
    pub layers: Vec<Layer>,
    /// Those that are not.
    pub absent: Vec<String>,
}

/// Why a peer cannot be a layer.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// It has no means to read an image.
    #[error("{0} knows no images, and is given no tree")]
    NoBundle(String),
    /// What was given is no bundle.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// There is no place for what it needs.
    #[error(transparent)]
    Scratch(#[from] ScratchError),
    /// QEMU has nothing to boot.
    #[error(transparent)]
    Qemu(#[from] QemuError),
    /// Nobody would run QEMU's machine.
    #[error(transparent)]
    Accelerator(#[from] ChooseError),
}

impl Explain for PeerError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NoBundle(_) => Some(
                "--bundle DIR names an OCI bundle of the image, as `umoci unpack` makes one".into(),
            ),
            Self::Qemu(QemuError::NoMke2fs) => Some("install the package e2fsprogs".into()),
            Self::Accelerator(error) => error.hint(),
            Self::Bundle(_) | Self::Scratch(_) | Self::Qemu(_) => None,
        }
    }
}

/// Resolves those that were named, and prepares what they need.
///
/// # Errors
/// [`PeerError`].
pub fn peers(args: &BenchArgs) -> Result<Peers, PeerError> {
    let mut peers = Peers::default();
    let mut tree: Option<(Bundle, Arc<Scratch>)> = None;
    for peer in &args.peers {
        let name = file_name(peer);
        let program = if peer == "qemu" { QEMU } else { peer };
        if !is_installed(program) {
            peers.absent.push(peer.clone());
            continue;
        }
        let is_qemu = file_name(program).starts_with("qemu");
        if !is_qemu && !RUNTIMES.contains(&name) {
            peers.layers.push(Layer::container(name, peer, args));
            continue;
        }
        let (bundle, scratch) = match &tree {
            Some(tree) => tree,
            None => tree.insert(taken(name, args)?),
        };
        let (program, scratch) = (program.to_owned(), Arc::clone(scratch));
        peers.layers.push(if is_qemu {
            let path = std::env::var("PATH").unwrap_or_default();
            let is_kvm = matches!(choose(args.accel, &path)?, Choice::Kvm(_));
            Layer::Qemu(Qemu::prepare(program, is_kvm, bundle, scratch)?)
        } else {
            Layer::Runtime(Runtime { program, bundle: bundle.clone(), scratch })
        });
    }
    Ok(peers)
}

/// The bundle that was named, and a place for what is made of it.
fn taken(peer: &str, args: &BenchArgs) -> Result<(Bundle, Arc<Scratch>), PeerError> {
    let directory = args.bundle.as_deref();
    let bundle = Bundle::read(directory.ok_or_else(|| PeerError::NoBundle(peer.to_owned()))?)?;
    Ok((bundle, Arc::new(Scratch::take(&args.state_dir)?)))
}
