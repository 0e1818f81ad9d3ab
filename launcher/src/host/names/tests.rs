use super::*;

#[test]
fn a_group_is_found_by_its_number_and_bad_lines_are_passed_over() {
    let table = "root:x:0:\n# a comment\n:x:108:\nbroken:x:notanumber:\nkvm:x:108:alice,bob\n";
    assert_eq!(in_table(table, 108).as_deref(), Some("kvm"));
    assert_eq!(in_table(table, 0).as_deref(), Some("root"));
    assert_eq!(in_table(table, 5), None);
}
