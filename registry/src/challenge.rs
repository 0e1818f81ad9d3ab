//! What a registry asks for before it answers: the challenges of `WWW-Authenticate` (RFC 9110, section 11.6.1).
//!
//! Owns: their syntax, read tolerantly: what is no parameter is skipped. Never does: answer one.

/// What kind of answer is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// A name and a password.
    Basic,
    /// A token that a token server gives.
    Bearer {
        /// The token server's URL.
        realm: String,
        /// For whom the token is.
        service: Option<String>,
        /// What for.
        scope: Option<String>,
    },
}

/// The most parameters that are looked at.
const MAX_PARAMETERS: usize = 64;

/// The challenges of a header that can be answered here, best first.
pub(crate) fn parse(header: &str) -> Vec<Challenge> {
    let mut found: Vec<(String, Vec<(String, String)>)> = Vec::new();
    let mut rest = header;
    let mut parameters = 0;
    while parameters < MAX_PARAMETERS {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (word, after) = token(rest);
        if word.is_empty() {
            let mut others = rest.chars();
            if others.next().is_none() {
                break;
            }
            rest = others.as_str();
            continue;
        }
        parameters += 1;
        let word = word.to_ascii_lowercase();
        match after.trim_start().strip_prefix('=') {
            Some(after) => {
                let (value, after) = value(after.trim_start());
                if let Some((_, values)) = found.last_mut() {
                    values.push((word, value));
                }
                rest = after;
            }
            None => {
                found.push((word, Vec::new()));
                rest = after;
            }
        }
    }
    let mut challenges: Vec<Challenge> =
        found.into_iter().filter_map(|(scheme, values)| known(&scheme, values)).collect();
    challenges.sort_by_key(|challenge| matches!(challenge, Challenge::Basic));
    challenges
}

fn known(scheme: &str, values: Vec<(String, String)>) -> Option<Challenge> {
    let get = |name: &str| values.iter().find(|(known, _)| known == name).map(|(_, v)| v.clone());
    match scheme {
        "basic" => Some(Challenge::Basic),
        "bearer" => {
            let (service, scope) = (get("service"), get("scope"));
            Some(Challenge::Bearer { realm: get("realm")?, service, scope })
        }
        _ => None,
    }
}

fn token(text: &str) -> (&str, &str) {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let end = text.find(|c| !is_token(c)).unwrap_or(text.len());
    text.split_at(end)
}

/// A token, or a text in quotes with what is escaped in it.
fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (word, rest) = token(text);
        return (word.to_owned(), rest);
    };
    let mut value = String::new();
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => break,
            '\\' => value.extend(characters.next()),
            other => value.push(other),
        }
    }
    (value, characters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Challenge::Bearer { realm: realm.to_owned(), service: owned(service), scope: owned(scope) }
    }

    #[test]
    fn as_docker_hub_asks() {
        let header = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/debian:pull""#;
        let scope = Some("repository:library/debian:pull");
        let wanted = bearer("https://auth.docker.io/token", Some("registry.docker.io"), scope);
        assert_eq!(parse(header), [wanted]);
        assert_eq!(parse(r#"Basic realm="Registry Realm""#), [Challenge::Basic]);
    }

    #[test]
    fn several_schemes_stand_in_one_header() {
        let header =
            r#"Negotiate, Basic realm="a, Bearer realm=\"x\"" , BEARER Realm = "r" ,scope=s"#;
        assert_eq!(parse(header), [bearer("r", None, Some("s")), Challenge::Basic]);
    }

    #[test]
    fn nonsense_asks_for_nothing() {
        for header in
            ["", ",,,", "=", "Bearer", "Bearer realm", "Digest realm=x", "\"", "é=é", "a=b"]
        {
            assert_eq!(parse(header), [], "{header}");
        }
        let long = "a=b,".repeat(100_000);
        assert_eq!(parse(&long), []);
        assert_eq!(parse(r#"Bearer realm="never ends"#), [bearer("never ends", None, None)]);
    }
}
