//! What a token server answers (distribution's token authentication, and its OAuth2 form).
//!
//! Owns: the JSON. Never does: judge a token; it is the registry's to take or refuse.

use image::fetch::FetchError;
use image::layer::Quoted;
use serde::Deserialize;

/// The longest token that is sent on, in bytes: a header that no server would take is none.
const MAX_TOKEN_BYTES: usize = 32 << 10;

#[derive(Deserialize)]
struct TokenJson {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
}

/// The token of an answer.
pub(crate) fn parse(json: &[u8]) -> Result<String, FetchError> {
    let wrong = |why: &str| FetchError::Protocol(Quoted::new(why.as_bytes()));
    let answer: TokenJson = serde_json::from_slice(json)
        .map_err(|_| wrong("its token server's answer is no JSON with a token"))?;
    let token = [answer.token, answer.access_token].into_iter().flatten().find(|t| !t.is_empty());
    let token = token.ok_or_else(|| wrong("its token server gives no token"))?;
    let proper =
        token.len() <= MAX_TOKEN_BYTES && token.bytes().all(|byte| byte.is_ascii_graphic());
    if proper { Ok(token) } else { Err(wrong("its token server's token can be sent to nobody")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_name_will_do() {
        assert_eq!(parse(br#"{"token":"a","expires_in":60}"#).unwrap(), "a");
        assert_eq!(parse(br#"{"access_token":"b"}"#).unwrap(), "b");
        assert_eq!(parse(br#"{"token":"","access_token":"b"}"#).unwrap(), "b");
    }

    #[test]
    fn what_is_no_token() {
        let spaced = r#"{"token":"a b\r\nX: y"}"#;
        let long = format!(r#"{{"token":"{}"}}"#, "a".repeat(MAX_TOKEN_BYTES + 1));
        for json in ["", "{}", "[]", r#"{"token":1}"#, r#"{"token":""}"#, spaced, &long] {
            assert!(parse(json.as_bytes()).is_err(), "{json}");
        }
    }
}
