//! One registry's client: questions to requests, challenges to tokens, answers to bytes in a file.
//!
//! Owns: what is sent to whom. A registry is told who asks once it has asked for that, and its token server too;
//! whoever it redirects to is not.

use crate::body::{self, Expected};
use crate::challenge::{self, Challenge};
use crate::names::Names;
use crate::{refusal, token};
use base64::Engine;
use image::fetch::{Access, Ask, Credentials, FetchError, Fetched, MAX_WORDS_BYTES, Security};
use image::layer::Quoted;
use image::registries::lookaside;
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;
use ureq::ResponseExt;
use ureq::http::uri::Authority;
use ureq::http::{HeaderMap, Response, StatusCode, header};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, Body, Error};

/// How long a connection may take to stand.
const CONNECT: Duration = Duration::from_secs(20);
/// How long a registry may think.
const RESPONSE: Duration = Duration::from_secs(60);
/// How long a connection may be silent.
const SILENCE: Duration = Duration::from_secs(30);
/// What a registry is asked for where it has several forms of a manifest.
const MANIFEST_TYPES: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";
const CONTENT_DIGEST: &str = "docker-content-digest";
const USER_AGENT: &str = concat!("cofferdam/", env!("CARGO_PKG_VERSION"));

/// Speaks to one repository of one registry.
pub struct Client {
    agent: Agent,
    access: Access,
    scheme: &'static str,
    /// What is sent as `Authorization`, once it was asked for.
    authorization: Option<String>,
    /// A proxy stands between.
    is_by_proxy: bool,
}

impl Client {
    /// A client; nothing is asked yet. `authorities` are files of certificates in PEM.
    ///
    /// # Errors
    /// Where a certificate or the proxy's URL is malformed.
    pub fn new(access: Access, authorities: &[Vec<u8>]) -> Result<Self, FetchError> {
        let verified = access.security == Security::Verified;
        let proxy = proxy(&access)?;
        let is_by_proxy = match (&proxy, access.host.parse()) {
            (Some(proxy), Ok(uri)) => !proxy.is_no_proxy(&uri),
            _ => false,
        };
        let tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .root_certs(roots(authorities)?)
            .disable_verification(!verified)
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .https_only(verified)
            .http_status_as_error(false)
            .max_redirects(5)
            .user_agent(USER_AGENT)
            .proxy(proxy.clone())
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(RESPONSE))
            .timeout_per_read(Some(SILENCE))
            .timeout_per_write(Some(SILENCE))
            .build();
        let agent = Agent::with_parts(config, DefaultConnector::default(), Names::default());
        Ok(Self { agent, access, scheme: "https", authorization: None, is_by_proxy })
    }

    /// Asks, and writes what comes to `output`.
    ///
    /// # Errors
    /// Any [`FetchError`]. What was written until then stays.
    pub fn ask(&mut self, ask: &Ask, output: &File) -> Result<Fetched, FetchError> {
        match ask {
            Ask::Greeting => {
                self.get("", &Vec::new())?;
                Ok(Fetched { length: 0, digest: None })
            }
            Ask::Manifest { version, limit } => {
                let path = self.path(&format!("manifests/{version}"));
                let response = self.get(&path, &manifest_headers())?;
                let digest = content_digest(response.headers());
                let expected = Expected::AtMost(*limit);
                let length = body::write(reader(response), output, 0, 0, expected)?;
                Ok(Fetched { length, digest })
            }
            Ask::Digest { version } => {
                let path = self.path(&format!("manifests/{version}"));
                let response = self.request("HEAD", &path, &manifest_headers())?;
                Ok(Fetched { length: 0, digest: content_digest(response.headers()) })
            }
            Ask::Signature { digest, number, limit } => {
                let path = lookaside::path(&self.access.repository, digest, *number);
                let response = self.get(&path, &Vec::new())?;
                let expected = Expected::AtMost(*limit);
                let length = body::write(reader(response), output, 0, 0, expected)?;
                Ok(Fetched { length, digest: None })
            }
            Ask::Blob { digest, from, length } => {
                let range = (*from > 0).then(|| (header::RANGE.as_str(), format!("bytes={from}-")));
                let path = self.path(&format!("blobs/{digest}"));
                let response = self.get(&path, &Vec::from_iter(range))?;
                // A server may answer with the whole instead.
                let partial = response.status() == StatusCode::PARTIAL_CONTENT;
                if partial && !begins_at(response.headers(), *from) {
                    return Err(wrong("it sends another part than it was asked for"));
                }
                let skip = if partial { 0 } else { *from };
                let expected = Expected::Exactly(*length);
                let length = body::write(reader(response), output, *from, skip, expected)?;
                Ok(Fetched { length, digest: None })
            }
        }
    }

    /// Below `/v2/`, something of the repository's.
    fn path(&self, rest: &str) -> String {
        format!("{}/{rest}", self.access.repository)
    }

    fn get(&mut self, path: &str, headers: &Headers) -> Result<Response<Body>, FetchError> {
        self.request("GET", path, headers)
    }

    /// Sends a request, and once more where the registry first wants to know who asks.
    fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &Headers,
    ) -> Result<Response<Body>, FetchError> {
        let mut response = self.send(method, path, headers)?;
        // Whoever it redirects to is told nothing: an answer from there that asks for a name and a password would lead
        // them to a place of its own (CVE-2020-15157).
        let own = response.get_uri().authority().map(Authority::as_str) == Some(&self.access.host);
        if response.status() == StatusCode::UNAUTHORIZED && own {
            // A token may have served its time; what is sent now is not what was sent before.
            if let Some(authorization) = self.answer(response.headers())? {
                self.authorization = Some(authorization);
                response = self.send(method, path, headers)?;
            }
        }
        match response.status() {
            status if status.is_success() => Ok(response),
            status => {
                let named = self.access.credentials.is_some();
                let words = short(response).unwrap_or_default();
                Err(refusal::meaning(status.as_u16(), named, &words))
            }
        }
    }

    fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &Headers,
    ) -> Result<Response<Body>, FetchError> {
        let sent = self.send_by_scheme(method, path, headers);
        let insecure = self.access.security == Security::Insecure && self.scheme == "https";
        match sent {
            // Named insecure by the user: plain HTTP is what is left.
            Err(error) if insecure && speaks_no_tls(&error) => {
                self.scheme = "http";
                self.send_by_scheme(method, path, headers)
            }
            other => other,
        }
        .map_err(|error| match failed(error) {
            FetchError::Unreachable(words) if self.is_by_proxy => FetchError::Proxy(words),
            FetchError::NoAddress if self.is_by_proxy => {
                FetchError::Proxy(Quoted::new(b"its name has no address"))
            }
            other => other,
        })
    }

    fn send_by_scheme(
        &self,
        method: &str,
        path: &str,
        headers: &Headers,
    ) -> Result<Response<Body>, Error> {
        // What begins with a slash is of the host, and all else of its registry.
        let path = match path.strip_prefix('/') {
            Some(path) => path.to_owned(),
            None => format!("v2/{path}"),
        };
        let url = format!("{}://{}/{path}", self.scheme, self.access.host);
        let mut request = if method == "HEAD" { self.agent.head(url) } else { self.agent.get(url) };
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        request.call()
    }

    /// What to send as `Authorization` to whoever challenges so; `None` where there is nothing to say.
    fn answer(&self, headers: &HeaderMap) -> Result<Option<String>, FetchError> {
        let challenges = headers
            .get_all(header::WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(challenge::parse);
        for challenge in challenges {
            match challenge {
                Challenge::Bearer { realm, service, scope } => {
                    let token = self.token(&realm, service.as_deref(), scope.as_deref())?;
                    return Ok(Some(format!("Bearer {token}")));
                }
                Challenge::Basic => {
                    if let Some(authorization) = basic(self.access.credentials.as_ref()) {
                        return Ok(Some(authorization));
                    }
                }
            }
        }
        Ok(None)
    }

    fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        scope: Option<&str>,
    ) -> Result<String, FetchError> {
        if self.access.security == Security::Verified && !realm.starts_with("https://") {
            return Err(wrong("its token server is not to be asked over TLS"));
        }
        let response = match &self.access.credentials {
            Some(Credentials::IdentityToken(identity)) => {
                let form = [
                    ("grant_type", "refresh_token"),
                    ("service", service.unwrap_or_default()),
                    ("client_id", "cofferdam"),
                    ("scope", scope.unwrap_or_default()),
                    ("refresh_token", identity),
                ];
                self.agent.post(realm).send_form(form)
            }
            credentials => {
                let mut request = self.agent.get(realm);
                for (name, value) in [("service", service), ("scope", scope)] {
                    if let Some(value) = value {
                        request = request.query(name, value);
                    }
                }
                if let Some(authorization) = basic(credentials.as_ref()) {
                    request = request.header(header::AUTHORIZATION, authorization);
                }
                request.call()
            }
        };
        let response = response.map_err(failed)?;
        let status = response.status();
        let body = short(response)?;
        if status.is_success() {
            return token::parse(&body);
        }
        Err(refusal::meaning(status.as_u16(), self.access.credentials.is_some(), &body))
    }
}

type Headers = Vec<(&'static str, String)>;

fn manifest_headers() -> Headers {
    vec![("accept", MANIFEST_TYPES.to_owned())]
}

fn basic(credentials: Option<&Credentials>) -> Option<String> {
    let Credentials::Password { user, password } = credentials? else { return None };
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    Some(format!("Basic {encoded}"))
}

fn roots(authorities: &[Vec<u8>]) -> Result<RootCerts, FetchError> {
    let mut roots: Vec<Certificate<'static>> = Vec::new();
    for file in authorities {
        for item in ureq::tls::parse_pem(file) {
            let malformed =
                |error: Error| FetchError::Tls(Quoted::new(error.to_string().as_bytes()));
            if let PemItem::Certificate(certificate) = item.map_err(malformed)? {
                roots.push(certificate);
            }
        }
    }
    Ok(RootCerts::new_with_certs(&roots))
}

fn proxy(access: &Access) -> Result<Option<ureq::Proxy>, FetchError> {
    let Some(proxy) = &access.proxy else { return Ok(None) };
    // The error would repeat the URL, and there may be a password in it.
    let malformed = |_| wrong("the URL of the proxy is malformed");
    let parsed = ureq::Proxy::new(&proxy.url).map_err(malformed)?;
    let mut builder =
        ureq::Proxy::builder(parsed.protocol()).host(parsed.host()).port(parsed.port());
    if let Some(user) = parsed.username() {
        builder = builder.username(user);
    }
    if let Some(password) = parsed.password() {
        builder = builder.password(password);
    }
    for pattern in proxy.except.split(',').map(str::trim).filter(|pattern| !pattern.is_empty()) {
        builder = builder.no_proxy(pattern);
    }
    builder.build().map(Some).map_err(malformed)
}

fn content_digest(headers: &HeaderMap) -> Option<image::Digest> {
    headers.get(CONTENT_DIGEST)?.to_str().ok()?.parse().ok()
}

/// Whether an answer's `Content-Range` (RFC 9110, section 14.4) begins there.
fn begins_at(headers: &HeaderMap, from: u64) -> bool {
    let range = headers.get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
    let begin = range.and_then(|range| range.trim().strip_prefix("bytes ")?.split_once('-'));
    begin.is_some_and(|(begin, _)| begin.trim().parse() == Ok(from))
}

/// The whole of it, counted by whoever reads.
fn reader(response: Response<Body>) -> impl std::io::Read {
    response.into_body().into_with_config().limit(u64::MAX).reader()
}

/// A body that is short, or else the beginning of one.
fn short(response: Response<Body>) -> Result<Vec<u8>, FetchError> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let read = reader(response).take(MAX_WORDS_BYTES).read_to_end(&mut bytes);
    read.map_err(|error| failed(error.into()))?;
    Ok(bytes)
}

/// Whether who answers, or nobody, cannot be one that speaks TLS there.
fn speaks_no_tls(error: &Error) -> bool {
    let Error::Io(error) = error else { return false };
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::InvalidMessage(_)))
        || error.kind() == std::io::ErrorKind::ConnectionRefused
}

fn wrong(why: &str) -> FetchError {
    FetchError::Protocol(Quoted::new(why.as_bytes()))
}

/// What it means that a request had no answer.
pub(crate) fn failed(error: Error) -> FetchError {
    let quoted = |text: String| Quoted::new(text.as_bytes());
    match error {
        Error::HostNotFound => FetchError::NoAddress,
        Error::Timeout(_) => FetchError::Timeout,
        Error::Rustls(error) => FetchError::Tls(quoted(error.to_string())),
        Error::Tls(error) => FetchError::Tls(quoted(error.to_owned())),
        Error::Pem(error) => FetchError::Tls(quoted(error.to_string())),
        Error::Io(error) => match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(inner) => FetchError::Tls(quoted(rustls::Error::to_string(inner))),
            None if error.kind() == std::io::ErrorKind::TimedOut => FetchError::Timeout,
            // The standard library tells no other way that a name has no address.
            None if error.to_string().starts_with("failed to lookup address") => {
                FetchError::NoAddress
            }
            None => FetchError::Unreachable(quoted(error.to_string())),
        },
        Error::ConnectProxyFailed(words) => FetchError::Proxy(quoted(words)),
        Error::ConnectionFailed => FetchError::Unreachable(quoted("no connection".into())),
        Error::TooManyRedirects | Error::RedirectFailed => wrong("it redirects without end"),
        other => FetchError::Protocol(quoted(other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::sync::mpsc::{Receiver, channel};

    /// Answers each request with the next of these; gives its address, and what it was asked.
    fn server(answers: Vec<String>) -> (String, Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (tell, told) = channel();
        std::thread::spawn(move || {
            for answer in answers {
                let (stream, _) = listener.accept().unwrap();
                let mut asked = String::new();
                let mut lines = BufReader::new(&stream);
                while lines.read_line(&mut asked).is_ok_and(|count| count > 2) {}
                let _ = tell.send(asked);
                let _ = (&stream).write_all(answer.as_bytes());
            }
        });
        (address, told)
    }

    fn answer(status: &str, headers: &str, body: &str) -> String {
        let length = body.len();
        format!(
            "HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
    }

    fn client(host: &str) -> Client {
        let (user, password) = ("user".to_owned(), "secret".to_owned());
        let access = Access {
            host: host.to_owned(),
            repository: "a/b".to_owned(),
            security: Security::Insecure,
            credentials: Some(Credentials::Password { user, password }),
            proxy: None,
        };
        let mut client = Client::new(access, &[]).unwrap();
        client.scheme = "http";
        client
    }

    fn blob(length: u64, from: u64) -> Ask {
        let digest = image::Digest::of(image::Algorithm::Sha256, b"");
        Ask::Blob { digest, from, length }
    }

    #[test]
    fn who_is_redirected_to_is_told_nothing() {
        let (thief, robbed) = server(vec![answer("200 OK", "", r#"{"token": "t"}"#)]);
        let challenge = format!("WWW-Authenticate: Bearer realm=\"http://{thief}/token\"\r\n");
        let (elsewhere, _asked) = server(vec![answer("401 Unauthorized", &challenge, "")]);
        let moved = format!("Location: http://{elsewhere}/blob\r\n");
        let (registry, _asked) = server(vec![answer("307 Temporary Redirect", &moved, "")]);
        let output = tempfile::tempfile().unwrap();
        let error = client(&registry).ask(&blob(3, 0), &output).unwrap_err();
        assert!(matches!(error, FetchError::Refused { status: 401, .. }), "{error:?}");
        assert!(robbed.try_recv().is_err(), "nobody was told the password");
    }

    #[test]
    fn a_name_and_a_password_are_said_once_they_are_asked_for() {
        let basic = "WWW-Authenticate: Basic realm=\"x\"\r\n";
        let answers = vec![answer("401 Unauthorized", basic, ""), answer("200 OK", "", "abc")];
        let (registry, asked) = server(answers);
        let output = tempfile::tempfile().unwrap();
        let fetched = client(&registry).ask(&blob(3, 0), &output).unwrap();
        assert_eq!(fetched.length, 3);
        assert!(!asked.recv().unwrap().to_lowercase().contains("authorization"));
        let second = asked.recv().unwrap();
        assert!(second.contains("Basic dXNlcjpzZWNyZXQ="), "{second}");
    }

    #[test]
    fn another_part_than_was_asked_for_is_refused() {
        let wrong = "Content-Range: bytes 0-2/6\r\n";
        let (registry, asked) = server(vec![answer("206 Partial Content", wrong, "abc")]);
        let output = tempfile::tempfile().unwrap();
        let error = client(&registry).ask(&blob(6, 3), &output).unwrap_err();
        assert!(matches!(error, FetchError::Protocol(_)), "{error:?}");
        assert!(asked.recv().unwrap().to_lowercase().contains("range: bytes=3-"));
    }

    #[test]
    fn a_manifest_is_as_long_as_it_may_be() {
        let (registry, asked) = server(vec![answer("200 OK", "", "0123456789"); 2]);
        let output = tempfile::tempfile().unwrap();
        let ask = |limit| Ask::Manifest { version: "v1".to_owned(), limit };
        assert_eq!(client(&registry).ask(&ask(9), &output), Err(FetchError::TooLong(9)));
        assert_eq!(client(&registry).ask(&ask(10), &output).unwrap().length, 10);
        assert!(asked.recv().unwrap().starts_with("GET /v2/a/b/manifests/v1 "));
    }
}
