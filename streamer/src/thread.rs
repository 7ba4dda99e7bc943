//! Threads whose log lines are in the span of whoever starts them: of the streamer, and of a part of it.

use std::io;
use std::thread::{Builder, JoinHandle};

use tracing::Span;

/// Starts a thread.
///
/// # Errors
/// The system has no more.
pub fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let span = Span::current();
    Builder::new().name(name.to_owned()).spawn(move || span.in_scope(work))
}
