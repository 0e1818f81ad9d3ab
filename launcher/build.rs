//! Compiles the allow-lists of system calls (`src/jail/filter/*.list`) to BPF, so that no process of ours
//! spends its start on it, and no list with a mistake in it is ever built.

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, sock_filter,
};
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::path::Path;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What stands in a filter for the process's own id, which only the process itself knows.
const SELF: u64 = 0x5e1f_5e1f;
/// ENOSYS: what a program that is not ours is told where its list has no such call.
const NO_SUCH_CALL: u32 = 38;
/// The instruction that begins every question about a call: which one it is.
const LOAD_NUMBER: u16 = 0x20;

fn main() -> Result<()> {
    let folder = Path::new("src/jail/filter");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut constants = format!("const SELF: u32 = {SELF:#x};\n");
    let mut lists: Vec<_> = std::fs::read_dir(folder)?.collect::<std::io::Result<_>>()?;
    lists.sort_by_key(std::fs::DirEntry::path);
    for path in lists.iter().map(std::fs::DirEntry::path) {
        let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".list"))
        else {
            continue;
        };
        println!("cargo::rerun-if-changed={}", path.display());
        let text = with_others(folder, &std::fs::read_to_string(&path)?)?;
        let program = compile(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        let constant = name.to_uppercase().replace('-', "_");
        let instructions = program.len();
        writeln!(constants, "pub(super) static {constant}: [sock_filter; {instructions}] = [")?;
        for sock_filter { code, jt, jf, k } in program {
            writeln!(
                constants,
                "    sock_filter {{ code: {code}, jt: {jt}, jf: {jf}, k: {k:#x} }},"
            )?;
        }
        constants.push_str("];\n");
    }
    let target = std::env::var("OUT_DIR")?;
    std::fs::write(Path::new(&target).join("filters.rs"), constants)?;
    Ok(())
}

/// A list's text, in which `all of NAME` is replaced by what that list has.
fn with_others(folder: &Path, text: &str) -> Result<String> {
    let mut whole = String::new();
    for line in text.lines() {
        match line.strip_prefix("all of ") {
            Some(name) => {
                whole.push_str(&std::fs::read_to_string(folder.join(format!("{name}.list")))?);
            }
            None => whole.push_str(line),
        }
        whole.push('\n');
    }
    Ok(whole)
}

/// A list's filter: what is not on it ends the process, or as the list's `otherwise` line says.
fn compile(text: &str) -> Result<BpfProgram> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    let mut otherwise = SeccompAction::KillProcess;
    let mut program = BpfProgram::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let place = || format!("line {}: {line:?}", index + 1);
        if line == "otherwise enosys" {
            otherwise = SeccompAction::Errno(NO_SUCH_CALL);
        } else if line.starts_with("on ") {
            // For the tests: on which accelerator there is such a thread.
        } else if let Some(name) = line.strip_prefix("refuse ") {
            program
                .extend(refuse(number_of(name).map_err(|error| format!("{}: {error}", place()))?)?);
        } else if !line.is_empty() {
            let (call, _cases) =
                line.split_once(':').ok_or_else(|| format!("{}: which cases need it?", place()))?;
            let (number, rule) = rule(call).map_err(|error| format!("{}: {error}", place()))?;
            let known = rules.entry(number).or_default();
            // An empty list of rules is how the library says "whatever the arguments".
            match rule {
                Some(rule) => known.push(rule),
                None if known.is_empty() => {}
                None => return Err(format!("{}: stands there twice", place()).into()),
            }
        }
    }
    program.extend(search(rules.into_iter().collect(), &otherwise)?);
    Ok(program)
}

/// The filter of some rules, which are sorted by number: a binary search down to a few, which are compared one
/// after the other. The kernel goes through a filter once for every number there is when it is loaded.
fn search(
    mut rules: Vec<(i64, Vec<SeccompRule>)>,
    otherwise: &SeccompAction,
) -> Result<BpfProgram> {
    const FEW: usize = 4;
    const JUMP: u16 = 0x05;
    const JUMP_IF_NOT_BELOW: u16 = 0x35;
    if rules.len() <= FEW {
        let rules = rules.into_iter().collect();
        let (allow, arch) = (SeccompAction::Allow, TargetArch::x86_64);
        return Ok(SeccompFilter::new(rules, otherwise.clone(), allow, arch)?.try_into()?);
    }
    let upper = rules.split_off(rules.len() / 2);
    let middle = u32::try_from(upper.first().map_or(0, |(number, _)| *number))?;
    let (lower, upper) = (search(rules, otherwise)?, search(upper, otherwise)?);
    let mut program = vec![
        step(LOAD_NUMBER, 0, 0, 0),
        step(JUMP_IF_NOT_BELOW, 0, 1, middle),
        step(JUMP, 0, 0, u32::try_from(lower.len())?),
    ];
    program.extend(lower.into_iter().chain(upper));
    Ok(program)
}

/// Answers a call as a kernel does that does not know it.
fn refuse(call: i64) -> Result<[sock_filter; 3]> {
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    Ok([
        step(LOAD_NUMBER, 0, 0, 0),
        step(JUMP_IF_EQUAL, 0, 1, u32::try_from(call)?),
        step(RETURN, 0, 0, SeccompAction::Errno(NO_SUCH_CALL).into()),
    ])
}

fn step(code: u16, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

fn number_of(name: &str) -> Result<i64> {
    let number = name.parse::<syscalls::Sysno>().map_err(|_| format!("there is no call {name}"))?;
    Ok(number.id().into())
}

/// `NAME [ARGUMENT[&MASK]=VALUE]...`: the call's number, and what its arguments must be.
fn rule(call: &str) -> Result<(i64, Option<SeccompRule>)> {
    let mut words = call.split_whitespace();
    let number = number_of(words.next().ok_or("no call is named")?)?;
    let conditions = words.map(condition).collect::<Result<Vec<_>>>()?;
    let rule = if conditions.is_empty() { None } else { Some(SeccompRule::new(conditions)?) };
    Ok((number, rule))
}

fn condition(word: &str) -> Result<SeccompCondition> {
    let (left, value) = word.split_once('=').ok_or("a condition is ARGUMENT[&MASK]=VALUE")?;
    let value = if value == "self" { SELF } else { number(value)? };
    let (argument, operator) = match left.split_once('&') {
        Some((argument, mask)) => (argument, SeccompCmpOp::MaskedEq(number(mask)?)),
        None => (left, SeccompCmpOp::Eq),
    };
    // What is compared are flags, commands and ids: 32 bits, whatever the register holds above.
    Ok(SeccompCondition::new(argument.parse()?, SeccompCmpArgLen::Dword, operator, value)?)
}

fn number(text: &str) -> Result<u64> {
    let hexadecimal = text.strip_prefix("0x").map(|digits| u64::from_str_radix(digits, 16));
    Ok(hexadecimal.unwrap_or_else(|| text.parse())?)
}
