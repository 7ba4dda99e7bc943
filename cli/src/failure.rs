//! Why a command has not done what it was asked for, in words and as an exit code.

use std::io;
use std::path::{Path, PathBuf};

use common::api::Problem;

/// The server refused, or something else went wrong.
pub const REFUSED: u8 = 1;
/// The command line is wrong; also what clap exits with.
pub const USAGE: u8 = 2;
/// There is no such session, room, host, token or route.
pub const NOT_FOUND: u8 = 3;
/// No token, a wrong one, or one without the right.
pub const NOT_AUTHORISED: u8 = 4;
/// Nothing answers at the server's address, or no secure connection can be made to it.
pub const UNREACHABLE: u8 = 5;
/// What was waited for has not happened in time.
pub const TIMED_OUT: u8 = 6;
/// The command of `oriel run` has failed. Its own exit code is not known here: the API reports it in words.
pub const COMMAND_FAILED: u8 = 7;

/// Why a command has not done what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The server refused, and said why.
    #[error("{}", in_words(.0))]
    Refused(Box<Problem>),
    /// A response that is not of the API's kind: that of a proxy, say.
    #[error("{url} answered {status}, which is no answer of Oriel's API; is the address right?")]
    Foreign {
        /// What was asked for.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// A response that this program does not understand.
    #[error("{url} answered something that this version of oriel does not understand: {reason}")]
    Unreadable {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The command line does not make sense.
    #[error("{0}")]
    Usage(String),
    /// Nothing answers.
    #[error("{server} cannot be reached: {reason}")]
    Unreachable {
        /// Its address.
        server: String,
        /// What the system says.
        reason: String,
    },
    /// It has not happened in time.
    #[error("{0}")]
    TimedOut(String),
    /// What a session ran has failed.
    #[error("{0}")]
    Command(String),
    /// A file cannot be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Standard output or input is broken.
    #[error("{0}")]
    Stream(#[from] io::Error),
    /// Something else that is described in full.
    #[error("{0}")]
    Other(String),
}

impl Failure {
    /// Of a file.
    pub fn file(path: &Path, error: io::Error) -> Self {
        Self::File { path: path.to_owned(), error }
    }

    /// What the process exits with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(problem) => of_status(problem.status),
            Self::Foreign { status, .. } => of_status(*status),
            Self::Usage(_) => USAGE,
            Self::Unreachable { .. } => UNREACHABLE,
            Self::TimedOut(_) => TIMED_OUT,
            Self::Command(_) => COMMAND_FAILED,
            Self::Unreadable { .. } | Self::File { .. } | Self::Stream(_) | Self::Other(_) => REFUSED,
        }
    }

    /// Whoever read the output has seen enough, as `head` has: no failure.
    pub fn is_silent(&self) -> bool {
        matches!(self, Self::Stream(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// There is no such thing.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(problem) if problem.status == 404)
    }
}

fn of_status(status: u16) -> u8 {
    match status {
        401 | 403 => NOT_AUTHORISED,
        404 => NOT_FOUND,
        408 | 504 => TIMED_OUT,
        _ => REFUSED,
    }
}

/// Title, detail, and the field if the detail does not name it.
fn in_words(problem: &Problem) -> String {
    let mut words = format!("{}: {}", problem.title, problem.detail);
    if let Some(field) = problem.field.as_deref().filter(|field| !problem.detail.contains(field)) {
        words += &format!(" (field {field})");
    }
    if problem.status == 401 {
        words += "; give a token by ORIEL_TOKEN, --token-file or a context";
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(status: u16, detail: &str, field: Option<&str>) -> Failure {
        Failure::Refused(Box::new(Problem {
            kind: "about:blank".into(),
            title: "Title".into(),
            status,
            detail: detail.into(),
            code: "code".into(),
            field: field.map(str::to_owned),
            request_id: "r".into(),
        }))
    }

    #[test]
    fn each_kind_of_refusal_has_an_exit_code_of_its_own() {
        for (status, code) in [(400, 1), (401, 4), (403, 4), (404, 3), (409, 1), (429, 1), (500, 1), (504, 6)]
        {
            assert_eq!(problem(status, "no", None).exit_code(), code, "{status}");
        }
    }

    #[test]
    fn the_field_is_named_once() {
        assert_eq!(problem(400, "width: too small", Some("width")).to_string(), "Title: width: too small");
        assert_eq!(problem(400, "too small", Some("width")).to_string(), "Title: too small (field width)");
    }

    #[test]
    fn a_reader_that_leaves_is_no_failure() {
        assert!(Failure::from(io::Error::from(io::ErrorKind::BrokenPipe)).is_silent());
        assert!(!Failure::from(io::Error::from(io::ErrorKind::Other)).is_silent());
    }
}
