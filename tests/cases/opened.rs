//! What a whole run opens by name, and the sockets it makes, by process: as `tests/expectations/opened-*.list`
//! says, no more and no less.

use crate::cases;
use crate::harness::{Accelerator, World};
use std::collections::BTreeSet;

cases! {
    Both: a_run_opens_what_is_listed;
}

fn a_run_opens_what_is_listed(world: &World) {
    let state = world.fresh_state();
    let sandbox = world.sandbox().state(&state).input(b"heard\n".to_vec());
    let (output, trace) = sandbox.traced(&["cat"], &[]);
    output.prints("heard");
    let image = world.images.plain.trim_start_matches("oci:");
    let places = [
        (state.to_str().unwrap(), "STATE"),
        (image, "IMAGE"),
        (world.product.to_str().unwrap(), "PRODUCT"),
    ];
    let mut seen: BTreeSet<String> = trace.opened.iter().map(|line| plain(line, &places)).collect();
    // Who fetches an image does not know what machine it is for.
    if world.accelerator == Accelerator::Tcg {
        let (output, trace) = super::filters::pulled(world, &[]);
        output.exits(0);
        let fetching = trace.opened.iter().filter(|line| line.contains("-fetch: "));
        seen.extend(fetching.map(|line| plain(line, &[])));
    }
    let shared = world.fresh_state();
    std::fs::write(shared.join("file"), "shared").unwrap();
    let flags = ["-v".to_owned(), format!("{}:/shared", shared.display())];
    let sharing = world.sandbox().state(&state).flags(&flags);
    let (output, trace) = sharing.traced(&["cat", "/shared/file"], &[]);
    output.prints("shared");
    let opened =
        trace.opened.iter().filter(|line| line.contains("-share: ") || line.contains("memfd"));
    seen.extend(opened.map(|line| plain(line, &[(shared.to_str().unwrap(), "SHARED")])));
    world.sees_what_is_listed("opened", &seen);
}

/// A line without what differs from run to run, and from one version of a library to the next.
fn plain(line: &str, places: &[(&str, &str)]) -> String {
    let line = places.iter().fold(line.to_owned(), |line, (path, name)| line.replace(path, name));
    let (what, path) = line.rsplit_once(' ').unwrap_or_default();
    if path.starts_with("/sys/fs/cgroup/") {
        return format!("{what} /sys/fs/cgroup/LIMITS");
    }
    let parts: Vec<&str> = path.split('/').map(part).collect();
    format!("{what} {}", parts.join("/"))
}

fn part(part: &str) -> &str {
    let hexadecimal = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match part {
        _ if part.contains(".so") => "LIBRARY",
        _ if part.len() == 64 && hexadecimal(part) => "DIGEST",
        _ if part.starts_with("sha256-") && part.ends_with(".erofs") => "DIGEST.erofs",
        _ if part.len() == 12 && hexadecimal(part) => "ID",
        _ if !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) => "N",
        _ => part,
    }
}
