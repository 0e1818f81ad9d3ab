//! The seven rules, and by which findings each is judged.

use super::outside::Place;
use super::report::{Report, Rule};
use super::sandbox::Seen;
use super::{inside, outside};

/// Judges all seven.
pub fn judge(place: &Place, seen: &Seen) -> Report {
    let said = &seen.testimony;
    Report::new(vec![
        Rule::new(
            1,
            "not root, capabilities dropped",
            vec![outside::without_root(seen), inside::without_root(said)],
        ),
        Rule::new(
            2,
            "user namespaces: root is someone else outside",
            vec![outside::users(place), inside::users(said)],
        ),
        Rule::new(
            3,
            "walls around what is root",
            vec![outside::hardware_wall(seen), inside::own_kernel(&place.boot_id, said)],
        ),
        Rule::new(4, "security frameworks", frameworks(place, seen)),
        Rule::new(5, "read-only, and no programs where it can be written", read_only(place, seen)),
        Rule::new(6, "only trusted images", vec![outside::trusted_image()]),
        Rule::new(7, "up to date", vec![inside::up_to_date(said)]),
    ])
}

fn frameworks(place: &Place, seen: &Seen) -> Vec<super::report::Finding> {
    vec![
        outside::engines_filter(place),
        outside::engines_label(place),
        outside::own_filters(place, seen),
        outside::closed_in(seen),
        outside::no_new_privileges(seen),
        inside::filter(&seen.testimony),
        inside::label(&seen.testimony),
    ]
}

fn read_only(place: &Place, seen: &Seen) -> Vec<super::report::Finding> {
    vec![
        outside::read_only_root(place),
        outside::writable_mounts(place),
        inside::read_only_root(&seen.testimony),
        inside::writable_mounts(&seen.testimony),
    ]
}

#[cfg(test)]
mod tests;
