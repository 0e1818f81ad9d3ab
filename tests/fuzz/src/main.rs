//! One target under libFuzzer: `FUZZ_TARGET` names it, the arguments are libFuzzer's own.

#![no_main]

use fuzz::Target;
use std::sync::OnceLock;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    static TARGET: OnceLock<Target> = OnceLock::new();
    let target = TARGET.get_or_init(|| {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        fuzz::target(&name).unwrap_or_else(|| {
            let known: Vec<_> = fuzz::TARGETS.iter().map(|target| target.name).collect();
            eprintln!("FUZZ_TARGET is {name:?}, not one of {}", known.join(", "));
            std::process::exit(2)
        })
    });
    (target.run)(bytes);
});
