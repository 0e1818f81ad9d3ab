//! `system df`: what the state directory takes, and how much of it nobody needs; `system limit`: how much images may.
//!
//! Owns: the sums. Never does: remove anything.

use crate::cli::images::{DfArgs, LimitArgs};
use crate::error::Failure;
use crate::plan::size::{self, SIZE_HINT};
use crate::pull::progress::bytes;
use crate::state::Sandboxes;
use crate::table::table;
use crate::volumes::Volumes;
use image::inventory::layer_bytes;
use image::manifest::Platform;
use image::{Store, inventory};
use serde::Serialize;

/// One kind of thing that takes room.
#[derive(Serialize)]
struct Row {
    kind: &'static str,
    count: usize,
    /// Of disk, in bytes.
    bytes: u64,
    /// What nobody needs, in bytes; and by which command it goes.
    reclaimable_bytes: u64,
    by: &'static str,
}

/// What `system limit` prints on standard output: the limit that there is from now on.
///
/// # Errors
/// Where the size is none, and where the store cannot be read or written.
pub fn limit(args: &LimitArgs) -> Result<String, Failure> {
    let store = Store::open(&args.state_dir)?;
    match args.size.as_deref() {
        None => {}
        Some("none") => store.set_limit(None)?,
        Some(size) => {
            let bytes = size::parse(size).map_err(|error| {
                Failure::plain(error).with_hint(format!("{SIZE_HINT}; or none"))
            })?;
            store.set_limit(Some(bytes))?;
        }
    }
    let limit = store.limit()?;
    Ok(limit.map_or_else(|| "none".to_owned(), size::show) + "\n")
}

/// What `system df` prints on standard output.
///
/// # Errors
/// Where the state directory cannot be read.
pub fn df(args: &DfArgs) -> Result<String, Failure> {
    let store = Store::open(&args.state_dir)?;
    let images = inventory(&store, &Platform::native())?;
    let usage = store.usage()?;
    let needed = layer_bytes(&images).min(usage.layer_bytes);
    let sandboxes = Sandboxes::open(&args.state_dir)?;
    let (mut count, mut disks, mut ended) = (0, 0, 0);
    for record in sandboxes.list()? {
        let disk = sandboxes.disk_bytes(&record.id);
        count += 1;
        disks += disk;
        if record.status.is_final() {
            ended += disk;
        }
    }
    let (volumes, _) = Volumes::open(&args.state_dir)?.list()?;
    let in_volumes = volumes.iter().map(|it| it.used_bytes);
    let idle = volumes.iter().filter(|it| !it.in_use).map(|it| it.used_bytes);
    let row = |kind, count, bytes, reclaimable_bytes, by| Row {
        kind,
        count,
        bytes,
        reclaimable_bytes,
        by,
    };
    let rows = [
        row("images", images.len(), needed, 0, "cofferdam rmi"),
        row(
            "other layers",
            0,
            usage.layer_bytes - needed,
            usage.layer_bytes - needed,
            "cofferdam image prune",
        ),
        row(
            "downloads",
            usage.downloads,
            usage.download_bytes,
            usage.download_bytes,
            "cofferdam image prune",
        ),
        row("sandboxes", count, disks, ended, "cofferdam rm"),
        row("volumes", volumes.len(), in_volumes.sum(), idle.sum(), "cofferdam volume prune"),
    ];
    if args.json {
        return serde_json::to_string_pretty(&rows).map(|it| it + "\n").map_err(Failure::plain);
    }
    let heading = ["WHAT", "COUNT", "SIZE", "RECLAIMABLE", "BY"].map(str::to_owned);
    let lines = rows.iter().map(|row| {
        let count = if row.count == 0 { "-".to_owned() } else { row.count.to_string() };
        let reclaimable = bytes(row.reclaimable_bytes);
        [row.kind.to_owned(), count, bytes(row.bytes), reclaimable, row.by.to_owned()]
    });
    Ok(table(&std::iter::once(heading).chain(lines).collect::<Vec<_>>()))
}
