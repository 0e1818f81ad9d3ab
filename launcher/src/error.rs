//! How errors reach the user: the chain of causes once, on one line, then `hint:` where there is one.
//!
//! Owns: the form of what is printed, and the cleaning of text that a guest or an image wrote.
//! Never does: decides what went wrong; each module's own error type says that, and implements
//! [`Explain`] to say what to do about it.
//!
//! ```text
//!   cofferdam: cannot open /dev/kvm: permission denied (os error 13)
//!   hint: it belongs to group 108 (kvm): add --group-add 108
//! ```

use crate::exit_code::FailureClass;
use std::error::Error;
use std::fmt;
use std::io::{self, Write};

/// An error that can say what to do about it, and what exit code it is.
pub trait Explain: Error + Send + Sync + 'static {
    /// What the user can do, in one sentence with no full stop.
    fn hint(&self) -> Option<String> {
        None
    }

    /// What kind of failure it is.
    fn class(&self) -> FailureClass {
        FailureClass::Launcher
    }
}

/// Any error on its way to the user: what happened, what to do, and the exit code.
#[derive(Debug)]
pub struct Failure {
    error: Box<dyn Error + Send + Sync>,
    hint: Option<String>,
    class: FailureClass,
}

/// What was tried when another error came.
#[derive(Debug, thiserror::Error)]
#[error("{tried}")]
struct Context {
    tried: String,
    source: Box<dyn Error + Send + Sync>,
}

impl<E: Explain> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { hint: error.hint(), class: error.class(), error: Box::new(error) }
    }
}

impl Failure {
    /// An error that cannot explain itself: no hint, exit code 125.
    pub fn plain(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { error: error.into(), hint: None, class: FailureClass::Launcher }
    }

    /// The same, with this hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, with what was tried before the causes.
    #[must_use]
    pub fn with_context(mut self, tried: impl Into<String>) -> Self {
        self.error = Box::new(Context { tried: tried.into(), source: self.error });
        self
    }

    /// What happened, on one line: the chain of causes, clean.
    pub fn message(&self) -> String {
        clean(&chain(&*self.error))
    }

    /// The exit code.
    pub fn exit_code(&self) -> u8 {
        self.class.exit_code()
    }

    /// The hint.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Writes it as the user sees it.
    ///
    /// # Errors
    /// Any of writing.
    pub fn report(&self, out: &mut impl Write) -> io::Result<()> {
        // One write: lines of several processes on one stderr then do not mix.
        out.write_all(self.to_string().as_bytes())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "cofferdam: {}", self.message())?;
        match &self.hint {
            Some(hint) => writeln!(f, "hint: {}", clean(hint)),
            None => Ok(()),
        }
    }
}

/// An error and its sources, each once, separated by `: `.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let cause = source.to_string();
        // A transparent wrapper says what its source says: once is enough.
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        next = source.source();
    }
    text
}

/// Makes text safe to print on a terminal: control and direction-changing characters, which an image
/// or a guest may have put there, are written as escapes.
pub fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let reorders = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || reorders {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// As much of a text as fits so many bytes, with an ellipsis where something is left out.
pub fn shortened(text: &str, most_bytes: usize) -> String {
    const ELLIPSIS: char = '…';
    if text.len() <= most_bytes {
        return text.to_owned();
    }
    let room = most_bytes.saturating_sub(ELLIPSIS.len_utf8());
    let end = (0..=room).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    text.get(..end).unwrap_or_default().chars().chain([ELLIPSIS]).collect()
}

/// Says something on standard error.
pub fn say(words: &str) {
    // Where standard error is closed there is nobody to tell.
    let _ = writeln!(io::stderr(), "cofferdam: {}", clean(words));
}

/// Writes a failure to standard error.
pub fn report(failure: &Failure) {
    // Where standard error is closed there is nobody to tell.
    let _ = failure.report(&mut io::stderr());
}

#[cfg(test)]
mod tests;
