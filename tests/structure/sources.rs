//! The rules for a source file, and who is excepted from which, why.

use proc_macro2::{TokenStream, TokenTree};
use std::collections::BTreeSet;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
const FORBIDDEN_STEMS: [&str; 8] =
    ["util", "utils", "helper", "helpers", "common", "manager", "misc", "shared"];

/// Names of one processor's things: only `arch/` may say them, in any crate.
const X86_NAMES: [&str; 33] = [
    "x86_64", "x86", "cpuid", "msr", "msrs", "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rip",
    "rsp", "rflags", "efer", "cr0", "cr3", "cr4", "gdt", "idt", "tss", "mptable", "apic", "ioapic",
    "lapic", "pit", "pit2", "pic", "hpet", "tsc", "xsave", "regs", "sregs",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rule {
    FileLength,
    FunctionLength,
    X86Name,
}

/// One file's leave to break one rule, with the reason.
const EXCEPTIONS: [(&str, Rule, &str); 3] = [
    (
        "launcher/src/plan/tests.rs",
        Rule::FunctionLength,
        "one table: each command line that cannot be, beside the two lines that refuse it",
    ),
    (
        "guest-agent/src/seccomp/mod.rs",
        Rule::X86Name,
        "a filter is of numbers, which are one architecture's: it names the tables that it takes",
    ),
    (
        "guest-agent/src/seccomp/tests.rs",
        Rule::X86Name,
        "a filter is of numbers, which are one architecture's: its tests ask with such",
    ),
];

/// Checks one file.
pub fn check(path: &str, text: &str) -> Vec<String> {
    let excepted =
        |rule| EXCEPTIONS.iter().any(|(file, broken, _)| *file == path && *broken == rule);
    let findings = examine(path, text).into_iter();
    findings
        .filter(|(rule, _)| !rule.is_some_and(excepted))
        .map(|(_, complaint)| format!("{path}{complaint}"))
        .collect()
}

/// Exceptions that name a file which is gone or which keeps the rule.
pub fn unused_exceptions() -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, rule, reason) in EXCEPTIONS {
        let here = super::tree::root().join(path).is_file();
        let broken = here
            && examine(path, &super::tree::read(path))
                .iter()
                .any(|(broken, _)| *broken == Some(rule));
        if !broken || reason.len() < 10 {
            complaints
                .push(format!("the exception of {path} from {rule:?} is not needed any more"));
        }
    }
    complaints
}

type Finding = (Option<Rule>, String);

fn examine(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines = text.lines().count();
    if lines > FILE_LINES_MAX {
        let complaint = format!(" has {lines} lines, more than {FILE_LINES_MAX}");
        findings.push((Some(Rule::FileLength), complaint));
    }
    let mut parts = path.split('/');
    if let Some(part) = parts.find(|part| FORBIDDEN_STEMS.contains(&part.trim_end_matches(".rs"))) {
        findings.push((None, format!(": {part} says nothing about what is in it")));
    }
    // Tests beside the code are about the module they stand beside.
    if !path.ends_with("/tests.rs") && !opens_with_its_purpose(text) {
        findings.push((None, ":1: does not open with //! and what it owns".to_owned()));
    }
    match syn::parse_file(text) {
        Ok(file) => findings.extend(examine_syntax(path, text, &file)),
        Err(error) => findings.push((None, format!(": is not Rust: {error}"))),
    }
    findings
}

fn opens_with_its_purpose(text: &str) -> bool {
    text.lines().next().is_some_and(|line| line.strip_prefix("//!").is_some_and(|it| it.len() > 3))
}

fn examine_syntax(path: &str, text: &str, file: &syn::File) -> Vec<Finding> {
    let lines: Vec<&str> = text.lines().collect();
    let mut visitor = Visitor { functions: Vec::new() };
    visitor.visit_file(file);
    let mut findings = Vec::new();
    for (name, line, length) in visitor.functions {
        if length > FUNCTION_LINES_MAX {
            let complaint =
                format!(":{line}: {name} has {length} lines, more than {FUNCTION_LINES_MAX}");
            findings.push((Some(Rule::FunctionLength), complaint));
        }
    }
    let Ok(tokens) = text.parse::<TokenStream>() else { return findings };
    let mut names = Vec::new();
    collect_names(tokens, &mut names);
    for (line, _) in names.iter().filter(|(_, name)| name == "unsafe") {
        if !is_sys(path) {
            findings.push((None, format!(":{line}: unsafe outside a sys module")));
        }
        if !is_explained(&lines, *line) {
            findings.push((None, format!(":{line}: unsafe without a SAFETY: line before it")));
        }
    }
    if is_of_every_architecture(path) {
        let named: BTreeSet<_> = names.iter().filter(|(_, name)| is_x86_name(name)).collect();
        for (line, name) in named {
            let complaint =
                format!(":{line}: {name} is a name of x86-64, which only arch/ may say");
            findings.push((Some(Rule::X86Name), complaint));
        }
    }
    findings
}

/// The test crate speaks of the machine that it runs on.
fn is_of_every_architecture(path: &str) -> bool {
    path.contains("/src/") && !path.contains("/arch/") && !path.starts_with("tests/")
}

fn is_x86_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    X86_NAMES.iter().any(|it| name == *it || name.split('_').any(|part| part == *it))
}

fn is_sys(path: &str) -> bool {
    path.ends_with("/sys.rs") || path.contains("/sys/")
}

struct Visitor {
    functions: Vec<(String, usize, usize)>,
}

impl Visitor {
    fn function(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let first = signature.span().start().line;
        let length = block.span().end().line + 1 - first;
        self.functions.push((signature.ident.to_string(), first, length));
    }
}

/// Whether the comment that ends above this line, or on it, says `SAFETY:`; or, where what is unsafe is a
/// declaration, has a section of that name.
fn is_explained(lines: &[&str], line: usize) -> bool {
    let mut above = lines.get(..line.saturating_sub(1)).unwrap_or_default().iter().rev();
    // The unsafe expression may stand on a later line of its statement.
    let mut statement = 0;
    above.any(|text| {
        let text = text.trim();
        let comment = text.starts_with("//");
        if !comment && !text.starts_with("#[") {
            statement += if text.ends_with([';', '}']) { 99 } else { 1 };
        }
        if statement > 4 {
            // Past the statement that holds it: look no further up.
            return false;
        }
        comment && (text.contains("SAFETY:") || text.contains("# Safety"))
    })
}

impl<'ast> Visit<'ast> for Visitor {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.function(&item.sig, block);
        }
        visit::visit_trait_item_fn(self, item);
    }
}

/// Every word of the code itself, those of macros' arguments too, with its line: comments do not count, and
/// neither does a text.
fn collect_names(tokens: TokenStream, names: &mut Vec<(usize, String)>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => collect_names(group.stream(), names),
            TokenTree::Ident(ident) => {
                names.push((ident.span().start().line, ident.to_string()));
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

mod tests {
    use super::check;

    const HEAD: &str = "//! Owns a thing.\n";

    fn complaints(path: &str, body: &str) -> Vec<String> {
        check(path, &format!("{HEAD}{body}"))
    }

    #[test]
    fn a_clean_file_is_not_complained_of() {
        let body = "fn f() -> u8 {\n    1\n}\n";
        assert_eq!(complaints("vmm/src/a.rs", body), [""; 0]);
    }

    #[test]
    fn a_long_file_is_seen() {
        assert!(complaints("a.rs", &"\n".repeat(499)).is_empty());
        assert_eq!(complaints("a.rs", &"\n".repeat(500)).len(), 1);
    }

    #[test]
    fn a_long_function_is_seen_whatever_it_is_part_of() {
        let long = format!("fn f() {{\n{}}}\n", "    g();\n".repeat(69));
        let short = format!("fn f() {{\n{}}}\n", "    g();\n".repeat(68));
        assert!(complaints("a.rs", &short).is_empty());
        for body in [long.clone(), format!("impl A {{ {long} }}"), format!("trait A {{ {long} }}")]
        {
            assert_eq!(complaints("a.rs", &body).len(), 1, "{body}");
        }
    }

    #[test]
    fn unsafe_is_seen_outside_sys_and_without_a_reason() {
        let bare = "fn f() {\n    unsafe { g() }\n}\n";
        let explained = "fn f() {\n    // SAFETY: g is harmless.\n    unsafe { g() }\n}\n";
        assert_eq!(complaints("a.rs", bare).len(), 2);
        assert_eq!(complaints("a.rs", explained).len(), 1);
        assert_eq!(complaints("x/sys.rs", bare).len(), 1);
        assert!(complaints("x/sys.rs", explained).is_empty());
        assert!(complaints("x/sys/memory.rs", explained).is_empty());
        assert_eq!(complaints("x/sys.rs", "unsafe impl Send for A {}\n").len(), 1);
        // Wherever it stands.
        for body in [
            "unsafe fn f() {}\n",
            "unsafe trait A {}\n",
            "unsafe extern \"C\" {}\n",
            "#[unsafe(no_mangle)]\nfn f() {}\n",
            "fn f() { g!(unsafe { h() }); }\n",
            "macro_rules! g { () => { unsafe { h() } }; }\n",
        ] {
            assert_eq!(complaints("a.rs", body).len(), 2, "{body}");
            let explained = format!("// SAFETY: it is harmless.\n{body}");
            assert!(complaints("x/sys.rs", &explained).is_empty(), "{body}");
        }
        let declared = "/// # Safety\n/// Not on Sundays.\nunsafe fn f() {}\n";
        assert!(complaints("x/sys.rs", declared).is_empty());
        // One reason is for one block.
        let two =
            "fn f() {\n    // SAFETY: g is harmless.\n    unsafe { g() };\n    unsafe { g() }\n}\n";
        assert_eq!(complaints("x/sys.rs", two).len(), 1);
    }

    #[test]
    fn a_processors_names_are_seen_outside_arch() {
        for body in [
            "fn f() { let regs = 1; }",
            "fn f() { vcpu.get_sregs(); }",
            "use crate::arch::x86_64::layout;",
            "const IOAPIC_BASE: u8 = 0;",
            "fn f() { vm.create_pit2(); }",
            "fn f() { log!(it.rax); }",
            "const EFER: u8 = 0;",
        ] {
            assert_eq!(complaints("vmm/src/a.rs", body).len(), 1, "{body}");
            assert!(complaints("vmm/src/arch/x86_64/a.rs", body).is_empty(), "{body}");
            assert_eq!(complaints("image/src/a.rs", body).len(), 1, "{body}");
            assert!(complaints("tests/src/a.rs", body).is_empty(), "{body}");
        }
        let harmless = "// the regs\nfn description() -> &str { \"rax\" }";
        assert!(complaints("vmm/src/a.rs", harmless).is_empty());
    }

    #[test]
    fn a_file_that_does_not_say_what_it_owns_is_seen() {
        assert_eq!(check("a.rs", "fn f() {}\n").len(), 1);
        assert_eq!(check("a.rs", "//!\nfn f() {}\n").len(), 1);
        assert!(check("a/tests.rs", "fn f() {}\n").is_empty());
    }

    #[test]
    fn names_that_say_nothing_are_seen() {
        for path in ["a/util.rs", "a/helpers/b.rs", "common.rs", "a/manager.rs"] {
            assert_eq!(complaints(path, "").len(), 1, "{path}");
        }
    }
}
