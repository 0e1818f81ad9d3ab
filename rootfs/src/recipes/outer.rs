//! The outer images: `cofferdam:latest` holds the static binary and nothing else to run;
//! `cofferdam:tcg` stands on a small Debian with QEMU, for places without a KVM.

use std::io::Write;
use std::path::Path;

use anyhow::Result;

use crate::debian::Tree;
use crate::image_config::ImageConfig;
use crate::layer::{LayerBuilder, Owner};

/// Who the launcher is in there.
const USER: Owner = Owner { uid: 1000, gid: 1000 };
const STATE_DIRECTORY: &str = "var/lib/cofferdam";
const CA_ROOTS: &str = "etc/ssl/certs/ca-certificates.crt";

/// The Debian beneath `cofferdam:tcg`: packages extracted and never configured, then cut down to one
/// emulator and a shell.
pub const TCG_TREE: Tree<'_> = Tree {
    variant: "extract",
    packages: &["base-files", "coreutils", "dash", "qemu-system-x86"],
    hooks: &[include_str!("../../tcg/prune.sh")],
};

/// Writes the layer that holds the launcher at `binary`.
///
/// # Errors
/// Those of reading `binary` and this machine's CA roots, and of writing.
pub fn write_layer(binary: &Path, out: &mut impl Write) -> Result<()> {
    let mut layer = LayerBuilder::new(out);
    for path in ["etc", "etc/ssl", "etc/ssl/certs", "var", "var/lib"] {
        layer.directory(path, 0o755, Owner::ROOT)?;
    }
    layer.directory(STATE_DIRECTORY, 0o700, USER)?;
    layer.directory("tmp", 0o1777, Owner::ROOT)?;
    layer.copy_of(CA_ROOTS, 0o644, &Path::new("/").join(CA_ROOTS))?;
    layer.copy_of("cofferdam", 0o755, binary)?;
    Ok(layer.finish()?)
}

/// How both run.
#[must_use]
pub fn config() -> ImageConfig {
    ImageConfig {
        env: vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into()],
        entrypoint: vec!["/cofferdam".into()],
        user: format!("{}:{}", USER.uid, USER.gid),
        // Without a mount of the user's, an engine gives a volume with the directory's owner.
        volumes: vec![format!("/{STATE_DIRECTORY}")],
        ..ImageConfig::default()
    }
}
