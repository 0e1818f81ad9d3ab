use super::*;

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

#[test]
fn home_is_added_where_there_is_none() {
    assert_eq!(environment(&strings(&["A=1"]), "/home/x"), ["A=1", "HOME=/home/x"]);
    assert_eq!(environment(&strings(&["HOME=", "A=1"]), "/h"), ["A=1", "HOME=/h"]);
    assert_eq!(environment(&strings(&["HOME=/mine", "HOMER=1"]), "/h"), ["HOME=/mine", "HOMER=1"]);
}

#[test]
fn the_last_of_two_variables_counts() {
    let given = strings(&["PATH=/a", "PATHS=/c", "PATH=/b", "NONE"]);
    assert_eq!(variable(&given, "PATH"), Some("/b"));
    assert_eq!(variable(&given, "NONE"), None);
    assert_eq!(variable(&given, "ABSENT"), None);
}

#[test]
fn a_zero_byte_is_refused_with_its_place() {
    let failure = program::c_strings(&strings(&["a\0b"]), "the arguments").unwrap_err();
    assert_eq!(failure.message, "a zero byte stands in the arguments");
}
