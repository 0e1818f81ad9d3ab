//! The image of a run: from its reference to layers in the store, with progress for whoever waits.
//!
//! Owns: what the user sees meanwhile. Never does: parse a layer; the unpack processes do.

use crate::error::{Explain, Failure};
use crate::jail::unpack::JailedUnpacker;
use crate::plan::{ImageDefaults, RunPlan};
use image::layer::Limits;
use image::manifest::Platform;
use image::reference::ReferenceError;
use image::store::StoreError;
use image::{Image, ImageError, LayerProgress, Reference, Request, Store};
use std::cell::{Cell, RefCell};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

// Whatever image is prepared can be told to the agent.
const _: () = assert!(image::manifest::MAX_LAYERS <= protocol::limits::MAX_LAYERS);

const ROOM_HINT: &str =
    "free space on the volume of the state directory (--state-dir), or give it a larger one";

impl Explain for ImageError {
    fn hint(&self) -> Option<String> {
        self.is_out_of_room().then(|| ROOM_HINT.to_owned())
    }
}
impl Explain for StoreError {
    fn hint(&self) -> Option<String> {
        if self.is_out_of_room() {
            return Some(ROOM_HINT.to_owned());
        }
        Some("the state directory (--state-dir) must be a volume or tmpfs that this user may write to".to_owned())
    }
}
impl Explain for ReferenceError {
    fn hint(&self) -> Option<String> {
        Some(
            "an image is oci:DIR[:TAG], oci-archive:FILE[:TAG] or docker-archive:FILE[:NAME:TAG]"
                .to_owned(),
        )
    }
}

/// Where there is no terminal, a line is written this often.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Has the image of the plan in the store, and its layers open.
///
/// # Errors
/// Where it is not to be had.
pub fn image(plan: &RunPlan) -> Result<Image, Failure> {
    let reference: Reference = plan.image.parse()?;
    let store = Store::open(&plan.sandbox.state_dir)?;
    let progress = Progress::new(plan.sandbox.quiet);
    let request = Request {
        reference: &reference,
        platform: &Platform::native(),
        limits: &Limits::default(),
        progress: &|layer| progress.show(layer),
    };
    let image = image::prepare(&request, &store, &JailedUnpacker);
    progress.end();
    Ok(image?)
}

/// What the image says about running it.
pub fn defaults(image: &Image) -> ImageDefaults {
    let config = &image.config;
    ImageDefaults {
        entrypoint: config.entrypoint.clone(),
        cmd: config.cmd.clone(),
        env: config.env.clone(),
        user: config.user.clone(),
        working_dir: config.working_dir.clone(),
        stop_signal: config.stop_signal.clone(),
    }
}

/// Shows how far the layers are: one line that renews itself on a terminal, a line now and then
/// elsewhere.
struct Progress {
    quiet: bool,
    terminal: bool,
    layers: RefCell<Vec<LayerProgress>>,
    line_open: Cell<bool>,
    last: Cell<Option<Instant>>,
}

impl Progress {
    fn new(quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let (layers, line_open, last) = Default::default();
        Self { quiet, terminal, layers, line_open, last }
    }

    fn show(&self, now: LayerProgress) {
        if self.quiet {
            return;
        }
        let mut layers = self.layers.borrow_mut();
        layers.retain(|layer| layer.index != now.index);
        layers.push(now);
        let done: u64 = layers.iter().map(|layer| layer.done_bytes).sum();
        let total: u64 = layers.iter().map(|layer| layer.total_bytes).sum();
        let line =
            format!("unpacking {} of {} layers: {}", layers.len(), now.count, share(done, total));
        let mut stderr = std::io::stderr();
        // Where standard error is closed there is nobody to tell.
        if self.terminal {
            let _ = write!(stderr, "\r\x1b[Kcofferdam: {line}");
            self.line_open.set(true);
        } else if self.last.get().is_none_or(|last| last.elapsed() >= LINE_INTERVAL) {
            let _ = writeln!(stderr, "cofferdam: {line}");
            self.last.set(Some(Instant::now()));
        }
    }

    fn end(&self) {
        if self.line_open.get() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn share(done: u64, total: u64) -> String {
    const MIB: u64 = 1 << 20;
    format!("{} of {} MiB", done / MIB, total.div_ceil(MIB))
}
