//! Names of users and groups, from this place's /etc/passwd and /etc/group: for messages only.

use std::fs;

/// The name of a group.
pub(super) fn group(gid: u32) -> Option<String> {
    in_table(&fs::read_to_string("/etc/group").ok()?, gid)
}

/// The first field of the line whose third field is `id`: passwd(5), group(5).
fn in_table(table: &str, id: u32) -> Option<String> {
    table.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let found: u32 = fields.nth(1)?.parse().ok()?;
        (found == id).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests;
