//! Every line of a list of system calls names a case that there is: a case holds the lines that name it, and
//! nobody would miss one that names none.

use super::tree;

const LISTS: &str = "launcher/src/jail/filter";
const CASES: &str = "tests/cases/filters.rs";

/// Checks all lists.
pub fn check_all() -> Vec<String> {
    let cases = tree::read(CASES);
    let folder = std::fs::read_dir(tree::root().join(LISTS));
    let entries = folder.unwrap_or_else(|error| panic!("{LISTS}: {error}"));
    let mut complaints = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".list") {
            let text = tree::read(&format!("{LISTS}/{name}"));
            complaints.extend(check(&text, &cases).into_iter().map(|it| format!("{name}: {it}")));
        }
    }
    complaints
}

fn check(list: &str, cases: &str) -> Vec<String> {
    let lines = list.lines().map(|line| line.split('#').next().unwrap_or_default());
    let named = lines.filter_map(|line| line.split_once(" : ")).flat_map(|(call, named)| {
        named
            .split(',')
            .map(move |case| (call.trim(), case.trim().rsplit("::").next().unwrap_or("")))
    });
    let missing = named.filter(|(_, case)| !cases.contains(&format!("\nfn {case}(")));
    missing.map(|(call, case)| format!("{call} is needed by {case:?}, which is no case")).collect()
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn a_line_that_names_no_case_is_seen() {
        let cases = "\nfn a_run(world: &World) {}\n";
        assert!(check("read : a_run # why\nwrite 1=2 : kvm::a_run\n", cases).is_empty());
        assert_eq!(check("read : a_walk\nwrite : a_run, tcg::b\n", cases).len(), 2);
    }
}
