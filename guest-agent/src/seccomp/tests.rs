//! The filter is run by an interpreter written from the kernel's documentation, and compared with
//! what the profile says when it is read one rule after the other.

#![allow(clippy::cast_possible_truncation, reason = "halves of a word")]

use super::*;
use proptest::prelude::*;
use protocol::SeccompComparison;

const X86_64: u32 = AUDIT_ARCH_X86_64;

/// struct seccomp_data.
#[derive(Debug, Clone, Copy)]
struct Call {
    number: u32,
    architecture: u32,
    arguments: [u64; 6],
}

impl Call {
    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => self.architecture,
            16..64 => {
                let argument = self.arguments[(offset as usize - 16) / 8];
                if offset.is_multiple_of(8) { argument as u32 } else { (argument >> 32) as u32 }
            }
            _ => panic!("a load from {offset}"),
        }
    }
}

/// Documentation/networking/filter.rst. Panics on what the kernel would refuse.
fn interpret(filter: &[sock_filter], call: Call) -> u32 {
    let (mut at, mut loaded) = (0, 0u32);
    loop {
        let sock_filter { code, jt, jf, k } = filter[at];
        at += 1;
        let jump = |taken: bool| if taken { jt as usize } else { jf as usize };
        match code {
            0x20 => loaded = call.word(k),
            0x54 => loaded &= k,
            0x05 => at += k as usize,
            0x15 => at += jump(loaded == k),
            0x25 => at += jump(loaded > k),
            0x35 => at += jump(loaded >= k),
            0x06 => return k,
            other => panic!("instruction {other:#x}"),
        }
    }
}

fn rule(names: &[&str], action: SeccompAction, arguments: Vec<SeccompArgument>) -> SeccompRule {
    let names = names.iter().map(|&name| name.to_owned()).collect();
    SeccompRule { names, action, arguments }
}

fn profile(default_action: SeccompAction, rules: Vec<SeccompRule>) -> SeccompProfile {
    let architectures = vec!["SCMP_ARCH_X86".to_owned(), "SCMP_ARCH_X32".to_owned()];
    SeccompProfile { default_action, architectures, rules }
}

fn call(number: u32, arguments: [u64; 6]) -> Call {
    Call { number, architecture: X86_64, arguments }
}

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const EPERM: u32 = libc::SECCOMP_RET_ERRNO | 1;
const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | 38;
const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;

#[test]
fn names_mean_each_architectures_own_numbers() {
    let rules = vec![
        rule(&["read", "no_such_call"], SeccompAction::Allow, vec![]),
        rule(&["clone3"], SeccompAction::Errno(38), vec![]),
        rule(&["socketcall"], SeccompAction::Log, vec![]),
    ];
    let filter = compile(&profile(SeccompAction::Errno(1), rules)).unwrap();
    let on =
        |architecture, number| interpret(&filter, Call { number, architecture, arguments: [0; 6] });
    assert_eq!(on(X86_64, 0), ALLOW);
    assert_eq!(on(X86_64, 1), EPERM);
    assert_eq!(on(X86_64, 435), ENOSYS);
    assert_eq!(on(X86_64, 434), EPERM);
    assert_eq!(on(X86_64, 436), ENOSYS, "newer than the profile");
    assert_eq!(on(AUDIT_ARCH_I386, 3), ALLOW);
    assert_eq!(on(AUDIT_ARCH_I386, 0), EPERM);
    assert_eq!(on(AUDIT_ARCH_I386, 102), libc::SECCOMP_RET_LOG);
    assert_eq!(on(X86_64, X32_BIT), ALLOW);
    assert_eq!(on(X86_64, X32_BIT | 1), EPERM);
    assert_eq!(on(0xc000_00b7, 0), KILL, "arm64");
}

/// Even where the newest call that is named is named only to be refused, and only with a condition.
#[test]
fn calls_newer_than_a_refusing_profile_do_not_exist() {
    let rules = |action| {
        vec![rule(&["read"], SeccompAction::Allow, vec![]), rule(&["clone3"], action, vec![])]
    };
    for default in [SeccompAction::Errno(1), SeccompAction::KillProcess] {
        let filter = compile(&profile(default, rules(default))).unwrap();
        assert_eq!(interpret(&filter, call(435, [0; 6])), value(default));
        assert_eq!(interpret(&filter, call(436, [0; 6])), ENOSYS);
        assert_eq!(interpret(&filter, call(X32_BIT | 436, [0; 6])), ENOSYS);
    }
    for default in [SeccompAction::Allow, SeccompAction::Log] {
        let filter = compile(&profile(default, rules(SeccompAction::Errno(1)))).unwrap();
        assert_eq!(interpret(&filter, call(436, [0; 6])), value(default));
    }
    let nothing = compile(&profile(SeccompAction::Errno(1), vec![])).unwrap();
    assert_eq!(interpret(&nothing, call(1000, [0; 6])), EPERM, "a profile of no age");
}

#[test]
fn architectures_that_are_not_covered_are_killed() {
    let mut profile = profile(SeccompAction::Allow, vec![]);
    profile.architectures.clear();
    let filter = compile(&profile).unwrap();
    assert_eq!(interpret(&filter, call(0, [0; 6])), ALLOW);
    assert_eq!(interpret(&filter, call(X32_BIT, [0; 6])), KILL);
    let compat = Call { number: 3, architecture: AUDIT_ARCH_I386, arguments: [0; 6] };
    assert_eq!(interpret(&filter, compat), KILL);
}

#[test]
fn arguments_of_32_bit_calls_are_compared_by_their_low_halves() {
    let equal = SeccompArgument {
        index: 0,
        value: 0xffff_ffff_0000_0008,
        value_two: 0,
        comparison: SeccompComparison::Equal,
    };
    let rules = vec![rule(&["personality"], SeccompAction::Errno(1), vec![equal])];
    let filter = compile(&profile(SeccompAction::Allow, rules)).unwrap();
    let compat = Call { number: 136, architecture: AUDIT_ARCH_I386, arguments: [8, 0, 0, 0, 0, 0] };
    assert_eq!(interpret(&filter, compat), EPERM);
    assert_eq!(interpret(&filter, call(135, [8, 0, 0, 0, 0, 0])), ALLOW);
    assert_eq!(interpret(&filter, call(135, [equal.value, 0, 0, 0, 0, 0])), EPERM);
}

#[test]
fn conditions_come_before_what_holds_without() {
    let masked = SeccompArgument {
        index: 1,
        value: 0x7e02_0000,
        value_two: 0,
        comparison: SeccompComparison::MaskedEqual,
    };
    let rules = vec![
        rule(&["clone"], SeccompAction::Errno(38), vec![]),
        rule(&["clone"], SeccompAction::Allow, vec![masked]),
        rule(&["clone"], SeccompAction::Errno(1), vec![]),
    ];
    let filter = compile(&profile(SeccompAction::Errno(1), rules)).unwrap();
    assert_eq!(interpret(&filter, call(56, [0, 0x0011, 0, 0, 0, 0])), ALLOW);
    // The rule whose action is the default is passed over.
    assert_eq!(interpret(&filter, call(56, [0, 0x1000_0000, 0, 0, 0, 0])), ENOSYS);
}

#[test]
fn bad_conditions_and_endless_profiles_are_refused() {
    let argument =
        SeccompArgument { index: 6, value: 0, value_two: 0, comparison: SeccompComparison::Equal };
    let rules = vec![rule(&["read"], SeccompAction::Allow, vec![argument])];
    assert_eq!(compile(&profile(SeccompAction::Log, rules)), Err(SeccompError::Argument(6)));
    let argument = SeccompArgument { index: 5, ..argument };
    let many = vec![rule(&["read"], SeccompAction::Allow, vec![argument]); 600];
    assert!(matches!(compile(&profile(SeccompAction::Log, many)), Err(SeccompError::TooLong(_))));
}

/// What a profile says of a call, read one rule after the other.
fn read_out(
    profile: &SeccompProfile,
    (name, number): (&str, u32),
    arguments: [u64; 6],
) -> SeccompAction {
    use SeccompComparison as C;
    let holds = |argument: &SeccompArgument| {
        let (actual, value) = (arguments[argument.index as usize], argument.value);
        match argument.comparison {
            C::NotEqual => actual != value,
            C::LessThan => actual < value,
            C::LessOrEqual => actual <= value,
            C::Equal => actual == value,
            C::GreaterOrEqual => actual >= value,
            C::GreaterThan => actual > value,
            C::MaskedEqual => actual & value == argument.value_two,
        }
    };
    let of_call = profile.rules.iter().filter(|rule| {
        rule.names.iter().any(|n| n == name) && rule.action != profile.default_action
    });
    let mut plain = unnamed(profile, number);
    for rule in of_call {
        if rule.arguments.is_empty() {
            plain = rule.action;
        } else if rule.arguments.iter().all(holds) {
            return rule.action;
        }
    }
    plain
}

/// What becomes of a call that no rule names.
fn unnamed(profile: &SeccompProfile, number: u32) -> SeccompAction {
    let named = |name: &str| profile.rules.iter().any(|rule| rule.names.iter().any(|n| n == name));
    let newest = NAMES.iter().filter(|(name, _)| named(name)).map(|(_, number)| *number).max();
    match profile.default_action {
        SeccompAction::Allow => SeccompAction::Allow,
        _ if newest.is_some_and(|newest| number > newest) => NO_SUCH_CALL,
        other => other,
    }
}

fn value(action: SeccompAction) -> u32 {
    let mut program = Program::default();
    program.act(action);
    program.finish()[0].k
}

const NAMES: [(&str, u32); 6] = [
    ("read", 0),
    ("write", 1),
    ("close", 3),
    ("clone", 56),
    ("openat2", 437),
    ("personality", 135),
];

fn any_action() -> impl Strategy<Value = SeccompAction> {
    prop_oneof![
        Just(SeccompAction::Allow),
        Just(SeccompAction::KillThread),
        Just(SeccompAction::Trap),
        (0u16..4096).prop_map(SeccompAction::Errno),
    ]
}

/// Numbers near each other in both halves, so that every way out of a comparison is taken.
fn any_number() -> impl Strategy<Value = u64> {
    (0u64..3, 0u64..3).prop_map(|(high, low)| high << 32 | low)
}

fn any_argument() -> impl Strategy<Value = SeccompArgument> {
    use SeccompComparison as C;
    let comparisons = [
        C::NotEqual,
        C::LessThan,
        C::LessOrEqual,
        C::Equal,
        C::GreaterOrEqual,
        C::GreaterThan,
        C::MaskedEqual,
    ];
    (0u8..2, any_number(), any_number(), prop::sample::select(comparisons.to_vec())).prop_map(
        |(index, value, value_two, comparison)| SeccompArgument {
            index,
            value,
            value_two,
            comparison,
        },
    )
}

proptest! {
    #[test]
    fn a_filter_does_what_its_profile_says(
        default_action in any_action(),
        rules in prop::collection::vec(
            (prop::sample::subsequence(NAMES.to_vec(), 0..4), any_action(),
             prop::collection::vec(any_argument(), 0..3)), 0..12),
        calls in prop::collection::vec((0..NAMES.len(), any_number(), any_number()), 20),
        stray in any::<u32>(),
    ) {
        let rules = rules.into_iter().map(|(names, action, arguments)| {
            let names: Vec<&str> = names.into_iter().map(|(name, _)| name).collect();
            rule(&names, action, arguments)
        });
        let profile = profile(default_action, rules.collect());
        let filter = compile(&profile).unwrap();
        for (index, first, second) in calls {
            let (name, number) = NAMES[index];
            let arguments = [first, second, 0, 0, 0, 0];
            prop_assert_eq!(
                interpret(&filter, call(number, arguments)),
                value(read_out(&profile, (name, number), arguments))
            );
        }
        if NAMES.iter().all(|(_, number)| *number != stray & !X32_BIT) && stray < 2 * X32_BIT {
            let expected = value(unnamed(&profile, stray & !X32_BIT));
            prop_assert_eq!(interpret(&filter, call(stray, [0; 6])), expected);
        }
    }
}
