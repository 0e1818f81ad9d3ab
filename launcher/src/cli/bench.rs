//! `cofferdam bench`.

use super::{Accelerator, DEFAULT_STATE_DIR};
use clap::Args;
use std::path::PathBuf;

/// What was typed after `bench`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(
    override_usage = "cofferdam bench [FLAGS] IMAGE",
    after_help = "IMAGE has the programs that are measured (fio, gcc, openssl, stress-ng, sysbench): it is named as for \
                  cofferdam run.\nWhat has no such program fails by itself and alone."
)]
pub struct BenchArgs {
    /// Where to measure, of host, container, vm and nested; others are compared with the first [default: all, a container
    /// where the engine is installed]
    #[arg(long, value_name = "LAYERS", value_delimiter = ',')]
    pub layers: Vec<String>,
    /// What to measure, of start, processor, kernel, memory, files, compile and surface [default: all]
    #[arg(long, value_name = "GROUPS", value_delimiter = ',')]
    pub suite: Vec<String>,
    /// Samples of each workload at each layer, 1 to 1000
    #[arg(long, value_name = "COUNT", default_value = "10")]
    pub repeats: String,
    /// Rounds before them that are not kept
    #[arg(long, value_name = "COUNT", default_value = "1")]
    pub warmups: String,
    /// Write record.json, report.md and report.html here
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Say what has changed since this record; exit with 1 where anything costs more
    #[arg(long, value_name = "FILE")]
    pub compare: Option<PathBuf>,
    /// Who runs the VM
    #[arg(long, value_enum, default_value_t, value_name = "WHO")]
    pub accel: Accelerator,
    /// The engine that runs the container layer
    #[arg(long, value_name = "PROGRAM", default_value = "podman")]
    pub engine: String,
    /// Others that are layers too, where they are installed: podman, docker; crun, runc, qemu, which need --bundle
    #[arg(long, value_name = "PROGRAMS", value_delimiter = ',')]
    pub peers: Vec<String>,
    /// An OCI bundle of the image, as umoci unpack makes one, for peers that know no images
    #[arg(long, value_name = "DIR")]
    pub bundle: Option<PathBuf>,
    /// The image as engines know it [default: IMAGE]
    #[arg(long, value_name = "IMAGE")]
    pub engine_image: Option<String>,
    /// Where images and sandboxes live
    #[arg(long, value_name = "DIR", default_value = DEFAULT_STATE_DIR)]
    pub state_dir: PathBuf,
    /// What the workloads run in
    pub image: String,
}
