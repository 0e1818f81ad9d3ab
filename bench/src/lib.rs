//! What was measured at each layer: in which order it is measured, what its samples say, the record that is
//! kept of it, and the reports that are made of the record.
//!
//! ```text
//!   Schedule ─▶ (who runs a step is not ours) ─▶ samples ─▶ Record ─▶ Summary ─▶ Comparison
//!                                                             │          │           │
//!                                                            JSON        └─ report: terminal, Markdown, HTML
//! ```
//!
//! Owns the arithmetic and the words. It starts no process, reads no clock and opens no file.

mod comparison;
mod record;
pub mod report;
mod schedule;
mod summary;
mod surface;

pub use comparison::{Change, Comparison, Verdict};
pub use record::{
    Better, Cell, Ended, Layer, MAX_RECORD_BYTES, Machine, Record, RecordError, Unit, Workload,
};
pub use schedule::{Schedule, Step};
pub use summary::{MAX_SAMPLES, Outliers, Summary};
pub use surface::{Counts, Reached, Surface, per_unit};
