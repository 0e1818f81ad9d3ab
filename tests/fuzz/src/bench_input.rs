//! Records of benches, which come from strangers.

use bench::{Comparison, Record, report};

/// A record, and all that is made of one.
pub fn record(bytes: &[u8]) {
    let Ok(record) = Record::read(bytes) else { return };
    let text = record.to_json().expect("what was read is written");
    assert!(Record::read(text.as_bytes()).is_ok(), "what was written is read again");
    for columns in [1, 80] {
        let _ = report::terminal(&record, columns);
    }
    let _ = (report::markdown(&record), report::html(&record));
    let comparison = Comparison::of(&record, &record);
    let _ = report::changes(&comparison, &record, 80);
    assert!(!comparison.is_worse(), "nothing is worse than itself");
}
