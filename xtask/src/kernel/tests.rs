//! What the finished configuration must hold, by lists that do not come from the fragments.

use std::collections::BTreeSet;

use super::configure::{Options, parse};
use super::*;

/// Ships with Debian's docker.io: the check that Docker's own documentation tells users to run.
const MOBY_CHECK: &str = "usr/share/docker.io/contrib/check-config.sh";

/// The check; where Docker is another than Debian's, out of the package that is not installed.
fn moby_check() -> PathBuf {
    let installed = Path::new("/").join(MOBY_CHECK);
    if installed.is_file() {
        return installed;
    }
    let workspace = Workspace::find().unwrap();
    let entry = cache::entry(&workspace, "moby-check", "1", |place| {
        process::capture(Command::new("apt-get").current_dir(place).args([
            "download",
            "-qq",
            "docker.io",
        ]))?;
        let script = format!(
            "dpkg-deb --fsys-tarfile docker.io_*.deb | tar -x --strip-components=4 ./{MOBY_CHECK} \
             && rm docker.io_*.deb"
        );
        process::capture(Command::new("sh").current_dir(place).args(["-c", &script])).map(drop)
    });
    entry.unwrap().join("check-config.sh")
}

fn finished() -> (PathBuf, Options) {
    finished_of(Flavour::Usual)
}

fn finished_of(flavour: Flavour) -> (PathBuf, Options) {
    let path = config(&Workspace::find().unwrap(), flavour).unwrap();
    let options = parse(&fs::read_to_string(&path).unwrap());
    (path, options)
}

/// The names in one of kernel-config's lists: first words, comments left out.
fn list(name: &str) -> BTreeSet<String> {
    let path = Workspace::find().unwrap().root.join("kernel-config/expectations").join(name);
    let text = fs::read_to_string(&path).unwrap();
    let names: BTreeSet<_> = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default())
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect();
    assert!(!names.is_empty(), "{} is empty", path.display());
    names
}

#[test]
fn what_we_promise_is_built_in() {
    let (_, options) = finished();
    let missing: Vec<_> = list("required.list")
        .into_iter()
        .filter(|name| {
            options.get(&format!("CONFIG_{name}")).cloned().flatten().as_deref() != Some("y")
        })
        .collect();
    assert!(missing.is_empty(), "missing: {missing:?}");
}

#[test]
fn what_must_not_be_there_is_not() {
    let (_, options) = finished();
    let present: Vec<_> = list("forbidden.list")
        .into_iter()
        .filter(|name| options.get(&format!("CONFIG_{name}")).cloned().flatten().is_some())
        .collect();
    assert!(present.is_empty(), "present: {present:?}");
}

/// moby's script, as it is: what it finds missing is exactly what we say is missing, and why.
#[test]
fn moby_misses_only_what_we_explain() {
    assert_eq!(moby_misses(Flavour::Usual), list("moby-missing.list"));
}

/// And the other flavour has all of that but what no kernel has, or none of ours may.
#[test]
fn moby_misses_nothing_in_the_full_one() {
    let expected = ["AUFS_FS", "MEMCG_SWAP", "RT_GROUP_SCHED"].map(str::to_owned);
    assert_eq!(moby_misses(Flavour::Full), BTreeSet::from(expected));
}

/// It lets no code in either, and what it has besides is what the usual one names as left out.
#[test]
fn the_full_one_has_what_the_usual_one_leaves_out() {
    let (_, options) = finished_of(Flavour::Full);
    let is_there =
        |name: &String| options.get(&format!("CONFIG_{name}")).cloned().flatten().is_some();
    let missing: Vec<_> = list("required.list").into_iter().filter(|it| !is_there(it)).collect();
    assert!(missing.is_empty(), "missing: {missing:?}");
    let present = list("forbidden.list").into_iter().filter(is_there).collect::<BTreeSet<_>>();
    assert_eq!(present, list("full-only.list"));
}

fn moby_misses(flavour: Flavour) -> BTreeSet<String> {
    let (path, _) = finished_of(flavour);
    let output = Command::new("bash").arg(moby_check()).arg(&path).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut verdicts = 0;
    let mut missing = BTreeSet::new();
    for line in text.lines() {
        // Its colours are escape sequences around the words.
        let Some(at) = line.find("CONFIG_") else { continue };
        let name: String = line[at + "CONFIG_".len()..]
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
            .collect();
        verdicts += usize::from(line.contains("enabled") || line.contains("missing"));
        if line.contains("missing") {
            missing.insert(name);
        }
    }
    assert!(verdicts > 50, "the check said little:\n{text}");
    missing
}

#[test]
fn no_option_stands_in_two_fragments() {
    let mut seen = BTreeSet::new();
    for fragment in fragments(&Workspace::find().unwrap()).unwrap() {
        for name in parse(&fs::read_to_string(&fragment).unwrap()).into_keys() {
            assert!(
                seen.insert(name.clone()),
                "{name} stands twice, also in {}",
                fragment.display()
            );
        }
    }
}

/// What a loader takes of a program, by its own headers: where to, and which bytes.
fn loaded(file: &[u8]) -> Vec<(u64, Vec<u8>)> {
    use object::elf::{FileHeader64, PT_LOAD, PT_NOTE};
    use object::read::elf::{FileHeader as _, ProgramHeader as _};
    let header = FileHeader64::<object::LittleEndian>::parse(file).unwrap();
    let endian = header.endian().unwrap();
    let segments = header.program_headers(endian, file).unwrap().iter();
    let taken = segments.filter(|it| [PT_LOAD, PT_NOTE].contains(&it.p_type(endian)));
    taken.map(|it| (it.p_vaddr(endian), it.data(endian, file).unwrap().to_vec())).collect()
}

#[test]
fn a_packed_program_loads_as_before_and_is_shorter() {
    let linked = fs::read("/proc/self/exe").unwrap();
    let packed = pack::pack(&linked).unwrap();
    let (mut before, mut after) = (loaded(&linked), loaded(&packed));
    before.sort();
    after.sort();
    assert!(before.len() > 3 && packed.len() < linked.len());
    assert!(before == after);
    assert!(pack::pack(&linked[..4096]).is_err() && pack::pack(b"no program").is_err());
}
