use super::*;

#[derive(Debug, thiserror::Error)]
#[error("cannot open /dev/kvm")]
struct Refused(#[source] io::Error);

impl Explain for Refused {
    fn hint(&self) -> Option<String> {
        Some("add --group-add 108".to_owned())
    }
}

#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Wrapped(#[from] Refused);

impl Explain for Wrapped {
    fn class(&self) -> FailureClass {
        FailureClass::NotFound
    }
}

fn refused() -> Refused {
    Refused(io::Error::from_raw_os_error(13))
}

#[test]
fn the_chain_is_printed_once_and_then_the_hint() {
    let failure = Failure::from(refused());
    assert_eq!(
        failure.to_string(),
        "cofferdam: cannot open /dev/kvm: Permission denied (os error 13)\nhint: add --group-add 108\n"
    );
    assert_eq!(failure.exit_code(), 125);
}

#[test]
fn a_transparent_wrapper_repeats_nothing() {
    let failure = Failure::from(Wrapped(refused()));
    assert_eq!(
        failure.to_string(),
        "cofferdam: cannot open /dev/kvm: Permission denied (os error 13)\n"
    );
    assert_eq!(failure.exit_code(), 127);
}

#[test]
fn text_that_would_move_the_cursor_is_shown_as_escapes() {
    let failure = Failure::plain("no \u{1b}[2Jsuch\nfile \u{202e}gnp");
    assert_eq!(failure.to_string(), "cofferdam: no \\u{1b}[2Jsuch\\nfile \\u{202e}gnp\n");
    assert_eq!(clean("größer ✓"), "größer ✓");
}

#[derive(Debug, thiserror::Error)]
#[error("it failed: {0}")]
struct Chatty(#[source] Refused);

#[test]
fn a_source_that_its_error_has_already_told_is_not_repeated() {
    let failure = Failure::plain(Chatty(refused()));
    assert_eq!(
        failure.to_string(),
        "cofferdam: it failed: cannot open /dev/kvm: Permission denied (os error 13)\n"
    );
}

#[test]
fn context_comes_before_the_causes() {
    let failure = Failure::from(refused()).with_context("cannot start");
    assert_eq!(
        failure.message(),
        "cannot start: cannot open /dev/kvm: Permission denied (os error 13)"
    );
    assert_eq!(failure.hint(), Some("add --group-add 108"));
}

#[test]
fn a_long_text_is_cut_between_characters() {
    assert_eq!(shortened("größer", 8), "größer");
    assert_eq!(shortened("größer", 7), "grö…");
    assert_eq!(shortened(&"ß".repeat(100), 10), "ßßß…");
}
