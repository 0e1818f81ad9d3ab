//! The lists of system calls as they stand in the launcher's source, for the cases that they name.

use std::path::{Path, PathBuf};

/// One list.
#[derive(Debug)]
pub struct FilterList {
    /// The name of its file, without what follows the dot.
    pub name: String,
    /// Its lines.
    pub calls: Vec<ListedCall>,
}

/// One line of a list.
#[derive(Debug)]
pub struct ListedCall {
    /// The call.
    pub name: String,
    /// The cases that need it: `CASE`, or `ACCELERATOR::CASE`.
    pub cases: Vec<String>,
}

impl ListedCall {
    /// Whether it says that this case needs it.
    pub fn is_needed_by(&self, accelerator: &str, case: &str) -> bool {
        let full = format!("{accelerator}::{case}");
        self.cases.iter().any(|named| *named == case || *named == full)
    }
}

/// Those of the lists that hold on this accelerator.
pub fn all_lists(accelerator: &str) -> Vec<FilterList> {
    let folder = super::workspace().join("launcher/src/jail/filter");
    let entries = std::fs::read_dir(&folder).expect("the launcher's lists");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|it| it == "list"));
    paths.sort();
    assert!(paths.len() > 10, "too few lists in {}", folder.display());
    paths.iter().filter_map(|path| read(path, accelerator)).collect()
}

fn read(path: &Path, accelerator: &str) -> Option<FilterList> {
    let text = std::fs::read_to_string(path).expect("a list");
    let lines = || text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let elsewhere =
        lines().filter_map(|line| line.strip_prefix("on ")).any(|only| only != accelerator);
    let name = path.file_stem()?.to_str()?.to_owned();
    let own = lines().filter_map(|line| line.split_once(':')).map(|(call, cases)| ListedCall {
        name: call.split_whitespace().next().unwrap_or_default().to_owned(),
        cases: cases.split(',').map(|case| case.trim().to_owned()).collect(),
    });
    // What is another list's too is held by the cases that that one names.
    let others = lines().filter_map(|line| line.strip_prefix("all of "));
    let others =
        others.filter_map(|other| read(&path.with_file_name(format!("{other}.list")), accelerator));
    let others =
        others.flat_map(|list| list.calls).map(|call| ListedCall { cases: Vec::new(), ..call });
    let calls = own.chain(others).collect();
    (!elsewhere).then_some(FilterList { name, calls })
}
