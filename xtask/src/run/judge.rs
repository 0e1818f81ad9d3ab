//! Whether the layers were what they must be. Pure.
//!
//! ```text
//!   host ── its kernel ──┐
//!   outer container ─────┼─ same kernel, uid 1000, no capability, filtered: every step refused
//!   container in the VM ─┴─ another kernel, root with every right: every step works
//! ```

use super::report::{JobReport, STEPS, Verdict};

/// What the launcher is in the outer container.
const OUTER_USER: &str = "1000";
/// The engine's filter is in force; there is none.
const FILTERED: &str = "2";
const UNFILTERED: &str = "0";
/// `CAP_NET_ADMIN` and `CAP_SYS_ADMIN`.
const ADMIN: u64 = 1 << 12 | 1 << 21;
/// What the release of our kernel ends in.
const OUR_KERNEL: &str = "-cofferdam";
/// What a kernel that refuses says, in libc's words or in a tool's.
const REFUSALS: [&str; 3] = ["operation not permitted", "permission denied", "must be superuser"];

/// Everything that is not as it should be.
pub fn complaints(host_kernel: &str, outer: &JobReport, inner: &JobReport) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut want = |is_so: bool, words: String| {
        if !is_so {
            complaints.push(words);
        }
    };
    let found = |job: &JobReport, name: &str| format!("{name} {}", job.fact(name));

    let place = "outer container: ";
    want(
        outer.fact("kernel") == host_kernel,
        format!("{place}{}, not the host's {host_kernel}", found(outer, "kernel")),
    );
    want(
        outer.fact("uid") == OUTER_USER,
        format!("{place}{}, not {OUTER_USER}", found(outer, "uid")),
    );
    want(capabilities(outer) == Some(0), format!("{place}{}", found(outer, "capabilities")));
    want(
        outer.fact("seccomp") == FILTERED,
        format!("{place}{}, no filter", found(outer, "seccomp")),
    );
    want(
        outer.fact("no-new-privileges") == "1",
        format!("{place}{}", found(outer, "no-new-privileges")),
    );

    let place = "container in the microVM: ";
    want(
        inner.fact("kernel") != host_kernel && inner.fact("kernel").ends_with(OUR_KERNEL),
        format!("{place}{}, not one of its own", found(inner, "kernel")),
    );
    want(inner.fact("uid") == "0", format!("{place}{}, not root", found(inner, "uid")));
    want(
        capabilities(inner).is_some_and(|held| held & ADMIN == ADMIN),
        format!("{place}{}", found(inner, "capabilities")),
    );
    want(
        inner.fact("seccomp") == UNFILTERED,
        format!("{place}{}, filtered", found(inner, "seccomp")),
    );

    complaints.extend(steps("outer container", outer, is_refused));
    complaints.extend(steps("container in the microVM", inner, |step| step == &Verdict::Worked));
    complaints
}

fn capabilities(job: &JobReport) -> Option<u64> {
    u64::from_str_radix(job.fact("capabilities"), 16).ok()
}

/// By the kernel, and not by a missing program.
fn is_refused(verdict: &Verdict) -> bool {
    let Verdict::Failed(words) = verdict else { return false };
    let words = words.to_lowercase();
    REFUSALS.iter().any(|refusal| words.contains(refusal))
}

/// Each step once, and each with the verdict that is wanted.
fn steps(place: &str, job: &JobReport, is_well: impl Fn(&Verdict) -> bool) -> Vec<String> {
    let mut complaints = Vec::new();
    for name in STEPS {
        let verdicts: Vec<&Verdict> = job.verdicts(name).collect();
        match verdicts[..] {
            [verdict] if is_well(verdict) => {}
            [verdict] => complaints.push(format!("{place}: {name} {verdict}")),
            _ => complaints.push(format!("{place}: {name} was tried {} times", verdicts.len())),
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "6.1.0-host";
    const OUTER: &str = "fact kernel 6.1.0-host\nfact uid 1000\nfact capabilities 0000000000000000\n\
        fact seccomp 2\nfact no-new-privileges 1\n\
        step loop-mount failed mount: /mnt: mount failed: Operation not permitted.\n\
        step bridge-veth-nftables failed RTNETLINK answers: Operation not permitted\n\
        step package-in-chroot failed mount: /mnt: Permission denied\n";
    const INNER: &str = "fact kernel 6.12.1-cofferdam\nfact uid 0\nfact capabilities 000001ffffffffff\n\
        fact seccomp 0\nfact no-new-privileges 0\nstep loop-mount worked /dev/loop0 ext4 54M\n\
        step bridge-veth-nftables worked bridge\nstep package-in-chroot worked built\n";

    fn judged(outer: &str, inner: &str) -> Vec<String> {
        complaints(HOST, &JobReport::parse(outer), &JobReport::parse(inner))
    }

    #[test]
    fn layers_as_they_should_be_pass() {
        assert_eq!(judged(OUTER, INNER), [""; 0]);
    }

    #[test]
    fn each_thing_that_is_not_as_it_should_be_is_one_complaint() {
        for (is, is_not) in [
            ("kernel 6.1.0-host", "kernel 6.12.1-cofferdam"),
            ("uid 1000", "uid 0"),
            ("capabilities 0000000000000000", "capabilities 0000000000200000"),
            ("capabilities 0000000000000000", "capabilities"),
            ("seccomp 2", "seccomp 0"),
            ("no-new-privileges 1", "no-new-privileges 0"),
            ("loop-mount failed", "loop-mount worked"),
            ("mount failed: Operation not permitted.", "mount: command not found"),
            ("RTNETLINK answers: Operation not permitted", "ip: not found"),
            ("step package-in-chroot", "step something-else"),
            ("step loop-mount", "step loop-mount worked fine\nstep loop-mount"),
        ] {
            assert!(OUTER.contains(is));
            let complaints = judged(&OUTER.replace(is, is_not), INNER);
            assert_eq!(complaints.len(), 1, "outer {is_not}: {complaints:?}");
        }
        for (is, is_not) in [
            ("kernel 6.12.1-cofferdam", "kernel 6.1.0-host"),
            ("kernel 6.12.1-cofferdam", "kernel 6.12.1"),
            ("uid 0", "uid 1000"),
            ("capabilities 000001ffffffffff", "capabilities 00000000a80425fb"),
            ("seccomp 0", "seccomp 2"),
            ("loop-mount worked", "loop-mount failed Operation not permitted"),
            ("step package-in-chroot worked built\n", ""),
        ] {
            assert!(INNER.contains(is));
            let complaints = judged(OUTER, &INNER.replace(is, is_not));
            assert_eq!(complaints.len(), 1, "inner {is_not}: {complaints:?}");
        }
    }

    #[test]
    fn a_job_that_said_nothing_is_not_a_good_one() {
        assert!(judged("", "").len() > 10);
    }
}
