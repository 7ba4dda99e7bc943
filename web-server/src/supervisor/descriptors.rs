//! How many descriptors we may have open: the usual soft limit of 1024 is reached by a few hundred streamers and their viewers.
//! Sessions get the limit that we were started with, as old programs cannot deal with larger numbers.

use std::io;
use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

static STARTED_WITH: OnceLock<Rlimit> = OnceLock::new();

/// Takes all that we may have. To be called before anything is started.
pub fn raise() {
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, all) {
        Ok(()) => drop(STARTED_WITH.set(limit)),
        Err(error) => tracing::warn!(%error, "the limit of open files cannot be raised"),
    }
}

/// Gives a child the limit that we were started with. Only a system call: may be called between fork and exec.
///
/// # Errors
/// The system refuses.
pub fn restore() -> io::Result<()> {
    match STARTED_WITH.get() {
        // What the maximum is now may have been changed from outside: only what is ours to give is set.
        Some(limit) => {
            let now = getrlimit(Resource::Nofile);
            let current = match (limit.current, now.maximum) {
                (Some(soft), Some(hard)) => Some(soft.min(hard)),
                (soft, hard) => soft.or(hard),
            };
            Ok(setrlimit(Resource::Nofile, Rlimit { current, maximum: now.maximum })?)
        }
        None => Ok(()),
    }
}
