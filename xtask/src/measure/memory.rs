//! What sandboxes that do nothing take of the host's memory, and how large what is shipped is. Pure.

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};

/// How many at once.
const SANDBOXES: [u64; 2] = [1, 10];
/// Name in the document, how the process calls itself, and what README calls it.
const PROCESSES: &[(&str, &str, &str)] = &[
    ("launcher", "./cofferdam", "launcher"),
    ("vmm", "cofferdam-vmm", "VMM, without guest memory"),
];
/// What no later change may exceed, KiB: our processes' share for each sandbox of so many, and what the guest touches.
const BUDGETS_KIB: &[(u64, f64, f64)] = &[(1, 6144.0, 65536.0), (10, 4096.0, 65536.0)];

/// One process's line.
#[derive(Debug)]
struct Process<'t> {
    sandboxes: u64,
    name: &'t str,
    /// KiB: the share, what is its own, and guest memory.
    pss: f64,
    private: f64,
    guest: f64,
}

impl<'t> Process<'t> {
    /// `sandboxes 10 process 134 NAME pss 2052 private 984 guest 0`
    fn parse(line: &'t str) -> Option<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        let [
            "sandboxes",
            sandboxes,
            "process",
            _,
            name,
            "pss",
            pss,
            "private",
            private,
            "guest",
            guest,
        ] = words[..]
        else {
            return None;
        };
        Some(Self {
            sandboxes: sandboxes.parse().ok()?,
            name,
            pss: pss.parse().ok()?,
            private: private.parse().ok()?,
            guest: guest.parse().ok()?,
        })
    }
}

/// What the script said, as a document, with the sizes of these files in bytes: means of each kind of process, KiB.
///
/// # Errors
/// Where there are not as many processes of each kind as sandboxes, or others.
pub fn document(text: &str, sizes: &[(&str, u64)]) -> Result<Map<String, Value>> {
    let all: Vec<Process<'_>> = text.lines().filter_map(Process::parse).collect();
    let mut counts = Map::new();
    for sandboxes in SANDBOXES {
        let mut kinds = Map::new();
        let mut guest_kib = 0.0;
        for (key, called, _) in PROCESSES {
            let of: Vec<&Process<'_>> =
                all.iter().filter(|it| it.sandboxes == sandboxes && it.name == *called).collect();
            ensure!(of.len() as u64 == sandboxes, "{sandboxes} sandboxes, but {called}: {of:?}");
            let mean = |value: fn(&Process<'_>) -> f64| {
                (of.iter().map(|it| value(it)).sum::<f64>() / sandboxes as f64).round()
            };
            guest_kib += mean(|it| it.guest);
            let kind = json!({ "pss": mean(|it| it.pss), "private": mean(|it| it.private) });
            kinds.insert((*key).to_owned(), kind);
        }
        ensure!(guest_kib > 0.0, "no mapping looks like guest memory");
        kinds.insert("guest_memory_touched".to_owned(), json!(guest_kib));
        counts.insert(sandboxes.to_string(), Value::Object(kinds));
    }
    let known = |it: &Process<'_>| PROCESSES.iter().any(|(_, called, _)| *called == it.name);
    ensure!(all.iter().all(known), "a process that nobody expects: {all:?}");
    let sizes: Map<String, Value> =
        sizes.iter().map(|(name, bytes)| ((*name).to_owned(), json!(bytes))).collect();
    Ok(Map::from_iter([
        ("kib_each_of_so_many_sandboxes".to_owned(), Value::Object(counts)),
        ("size_bytes".to_owned(), Value::Object(sizes)),
    ]))
}

/// What is over its budget.
///
/// # Errors
/// Where the document lacks something.
pub fn over_budget(document: &Value) -> Result<Vec<String>> {
    let mut over = Vec::new();
    for (sandboxes, processes_budget, guest_budget) in BUDGETS_KIB {
        let mut pss = 0.0;
        for (key, _, _) in PROCESSES {
            pss += kib(document, *sandboxes, &[key, "pss"])?;
        }
        let guest = kib(document, *sandboxes, &["guest_memory_touched"])?;
        for (what, kib, budget) in
            [("our processes", pss, processes_budget), ("guest memory", guest, guest_budget)]
        {
            if kib > *budget {
                over.push(format!(
                    "{what} of each of {sandboxes}: {kib:.0} KiB, budget {budget:.0} KiB"
                ));
            }
        }
    }
    Ok(over)
}

fn kib(document: &Value, sandboxes: u64, path: &[&str]) -> Result<f64> {
    let mut value = &document["kib_each_of_so_many_sandboxes"][sandboxes.to_string()];
    for key in path {
        value = &value[*key];
    }
    value.as_f64().with_context(|| format!("no {path:?} of {sandboxes} sandboxes"))
}

/// README's tables.
///
/// # Errors
/// Where the document lacks something.
pub fn tables(document: &Value) -> Result<String> {
    let mut tables =
        "\n| memory of an idle sandbox, MiB | one alone | each of ten |\n|---|---|---|\n"
            .to_owned();
    let mut row = |name: &str, path: &[&str]| -> Result<()> {
        let mut cells = String::new();
        for sandboxes in SANDBOXES {
            cells.push_str(&format!(" {:.1} |", kib(document, sandboxes, path)? / 1024.0));
        }
        tables.push_str(&format!("| {name} |{cells}\n"));
        Ok(())
    };
    for (key, _, name) in PROCESSES {
        row(&format!("{name}: its share (PSS)"), &[key, "pss"])?;
        row(&format!("{name}: private"), &[key, "private"])?;
    }
    row("guest memory touched: kernel, agent, container", &["guest_memory_touched"])?;
    tables.push_str("\n| shipped | MiB |\n|---|---|\n");
    let sizes = document["size_bytes"].as_object().context("no sizes")?;
    for (name, bytes) in sizes {
        let bytes = bytes.as_f64().context("a size that is no number")?;
        tables.push_str(&format!("| `{name}` | {:.1} |\n", bytes / f64::from(1 << 20)));
    }
    Ok(tables)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(vmm_pss: u64) -> String {
        let mut text = "host kernel 6.1\n".to_owned();
        for sandboxes in SANDBOXES {
            for pid in 0..sandboxes {
                text.push_str(&format!(
                    "sandboxes {sandboxes} process 1{pid} ./cofferdam pss 512 private 256 guest 0\n\
                     sandboxes {sandboxes} process 2{pid} cofferdam-vmm pss {vmm_pss} private 256 guest 51200\n"
                ));
            }
        }
        text
    }

    #[test]
    fn means_and_sizes_are_in_the_tables() {
        let document = Value::Object(document(&said(1024), &[("cofferdam", 3 << 19)]).unwrap());
        let tables = tables(&document).unwrap();
        assert!(tables.contains("| launcher: its share (PSS) | 0.5 | 0.5 |\n"), "{tables}");
        assert!(
            tables.contains("container | 50.0 | 50.0 |\n")
                && tables.contains("| `cofferdam` | 1.5 |")
        );
        assert_eq!(over_budget(&document).unwrap(), [""; 0]);
    }

    #[test]
    fn a_process_too_many_or_too_large_is_noticed() {
        let other = "sandboxes 1 process 3 cofferdam-unpack pss 1 private 1 guest 0\n";
        for text in [said(1024) + other, said(1024).replace("./cofferdam pss", "exe pss")] {
            assert!(document(&text, &[]).is_err(), "{text}");
        }
        let large = Value::Object(document(&said(3800), &[]).unwrap());
        let over = over_budget(&large).unwrap();
        assert_eq!(over, ["our processes of each of 10: 4312 KiB, budget 4096 KiB"]);
    }
}
