//! A token server (distribution's token authentication): who knows the password gets a token for what they ask.
//!
//! Owns: just enough of HTTP over TLS for one question. It signs by the registry's own key.

use super::registry::{PASSWORD, USER};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::UNIX_EPOCH;

/// A token server that runs as long as the test does.
pub struct TokenServer {
    port: u16,
}

impl TokenServer {
    /// Starts one with the certificate and key of a registry's directory.
    pub fn start(directory: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let certificate = CertificateDer::from_pem_file(directory.join("server.crt")).unwrap();
        let key = PrivateKeyDer::from_pem_file(directory.join("server.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        let config = Arc::new(config);
        let signer =
            Signer { key: directory.join("server.key"), certificate: certificate.to_vec() };
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let connection = ServerConnection::new(config.clone()).unwrap();
                // Whoever goes away in the middle is no matter.
                let _ = serve(&signer, StreamOwned::new(connection, client));
            }
        });
        Self { port }
    }

    /// Where tokens are to be had.
    pub fn realm(&self) -> String {
        format!("https://localhost:{}/token", self.port)
    }
}

struct Signer {
    key: PathBuf,
    certificate: Vec<u8>,
}

fn serve(
    signer: &Signer,
    mut stream: StreamOwned<ServerConnection, TcpStream>,
) -> std::io::Result<()> {
    let mut lines = Vec::new();
    let mut reader = BufReader::new(&mut stream);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let known = format!("basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
    let named = lines.iter().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("authorization").then(|| value.trim().to_owned())
    });
    let is_known = named.is_some_and(|named| named.to_lowercase() == known.to_lowercase());
    let (status, body) = if is_known {
        let question = lines.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
        ("200 OK", json!({ "token": signer.token(&scope(question)) }))
    } else {
        let error = json!({ "code": "UNAUTHORIZED", "message": "who are you?" });
        ("401 Unauthorized", json!({ "errors": [error] }))
    };
    let body = body.to_string();
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )?;
    stream.conn.send_close_notify();
    stream.flush()
}

/// The `scope` of a question's URL.
fn scope(url: &str) -> String {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let scope = query.split('&').find_map(|pair| pair.strip_prefix("scope="));
    scope.unwrap_or_default().replace("%3A", ":").replace("%2F", "/").replace("%2C", ",")
}

impl Signer {
    /// A token for what was asked, good for a minute (RFC 7519, by RS256).
    fn token(&self, scope: &str) -> String {
        let mut parts = scope.split(':');
        let (kind, name, actions) = (parts.next(), parts.next(), parts.next());
        let access: Vec<Value> = match (kind, name, actions) {
            (Some(kind), Some(name), Some(actions)) => {
                let actions: Vec<&str> = actions.split(',').collect();
                vec![json!({ "type": kind, "name": name, "actions": actions })]
            }
            _ => Vec::new(),
        };
        let now = UNIX_EPOCH.elapsed().unwrap().as_secs();
        let header =
            json!({ "typ": "JWT", "alg": "RS256", "x5c": [STANDARD.encode(&self.certificate)] });
        let claims = json!({
            "iss": "test issuer", "aud": "test registry", "sub": USER, "jti": now.to_string(),
            "iat": now, "nbf": now - 10, "exp": now + 60, "access": access,
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(self.sign(&signed)))
    }

    fn sign(&self, text: &str) -> Vec<u8> {
        let mut openssl = Command::new("openssl")
            .args(["dgst", "-sha256", "-sign"])
            .arg(&self.key)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        openssl.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        openssl.wait_with_output().unwrap().stdout
    }
}
