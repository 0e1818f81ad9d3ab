//! What an answer means that is none: HTTP's status, and the registry's own words for it.
//!
//! Owns: the specification's table of errors. Never does: try again.

use image::fetch::{FetchError, Words};
use image::layer::Quoted;
use serde::Deserialize;

#[derive(Deserialize)]
struct ErrorsJson {
    #[serde(default)]
    errors: Vec<ErrorJson>,
}

#[derive(Deserialize)]
struct ErrorJson {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// The first thing that an error's body says; nothing where it does not say it as a registry does.
pub(crate) fn words(body: &[u8]) -> Words {
    let Ok(ErrorsJson { errors }) = serde_json::from_slice(body) else { return Words(None) };
    let said = errors.into_iter().map(|error| match error {
        ErrorJson { code, message } if message.is_empty() => code,
        ErrorJson { message, .. } => message,
    });
    Words(said.into_iter().find(|text| !text.is_empty()).map(|text| Quoted::new(text.as_bytes())))
}

/// What a status means. `named` is whether the registry was told who asks.
pub(crate) fn meaning(status: u16, named: bool, body: &[u8]) -> FetchError {
    let words = words(body);
    match status {
        401 | 403 => FetchError::Refused { status, named, words },
        404 | 410 => FetchError::NotFound { status, words },
        429 => FetchError::TooOften { status, words },
        _ => FetchError::Status { status, words },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registrys_words_are_kept() {
        let body =
            br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{}}]}"#;
        let error = meaning(404, false, body);
        assert_eq!(error.to_string(), "it has no such image (404): \"manifest unknown\"");
        let body = br#"{"errors":[{"code":"DENIED"}]}"#;
        assert_eq!(meaning(403, true, body).to_string(), "it refuses access (403): \"DENIED\"");
    }

    #[test]
    fn a_page_of_html_is_no_words() {
        assert_eq!(meaning(502, false, b"<html>").to_string(), "it answers with the status 502");
        assert_eq!(
            meaning(429, false, br#"{"errors":[]}"#).to_string(),
            "it is asked too often (429)"
        );
    }
}
