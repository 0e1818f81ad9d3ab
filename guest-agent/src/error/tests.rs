use super::*;

#[test]
fn an_error_is_one_line_with_its_causes() {
    let missing = io::Error::from_raw_os_error(2);
    let error = Err::<(), _>(missing).tried("mount", "/a\nb").unwrap_err();
    let text = "cannot mount /a b: No such file or directory (os error 2)";
    assert_eq!(one_line(&error), text);
    assert_eq!(setup_failure(&error).message, text);
}

#[test]
fn a_long_line_is_cut_between_characters() {
    let error = io::Error::other(format!("x{}", "é".repeat(MAX_MESSAGE_BYTES)));
    let line = one_line(&error);
    assert!(
        line.len() <= MAX_MESSAGE_BYTES && line.len() > MAX_MESSAGE_BYTES - 3,
        "{}",
        line.len()
    );
}
