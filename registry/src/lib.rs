//! Asks a registry: the client's side of the OCI distribution specification 1.1, as far as pulling goes.
//!
//! Owns: HTTP, TLS, who is told who asks (Basic, bearer tokens), and what a registry's refusals mean. Never does:
//! know a store or believe an answer. It runs in a process of its own that has nothing but sockets and the files
//! it is handed, because all it reads comes from the Internet.
//!
//! ```text
//!   Access ──► Client ── ask(Ask, file) ──► GET /v2/REPOSITORY/…        ──► the file's end, Fetched
//!                │                     401 ◄─┘  challenge ─► token ─► once more
//!                └ says who asks only where a challenge asks for it, and over TLS alone
//! ```

mod body;
mod challenge;
mod client;
mod names;
mod refusal;
mod token;

pub use client::Client;

/// For the fuzzer: reads a challenge and a token server's answer, whatever they are.
pub fn read_hostile(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = challenge::parse(&text);
    let _ = token::parse(bytes);
    let _ = refusal::words(bytes);
}
