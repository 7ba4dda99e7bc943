//! Requests that take time: each runs off the control loop, and its reply comes back as [`Finished`].

#![expect(clippy::disallowed_methods, reason = "waits for somebody else, with a deadline")]

use std::sync::Arc;
use std::time::Duration;

use common::api::InputRequest;
use common::clipboard::{InvalidContent, Wanted};
use common::id::SourceName;
use common::ipc::request::{self, Picture};
use common::ipc::{Code, Json, RequestError};
use common::slots::{Pixel, Source, SourceList, WindowList};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::Senders;
use crate::input::{self, CommandError};
use crate::link::{Finished, ReplyTo};
use crate::media;
use crate::session::effects::{Outcome, Work};
use crate::session::snapshots::{Batch, INTERVAL, Waiting, known};
use crate::snapshot::{self, Made};
use crate::source::{self, Clipboard, Windows};

/// For what an X server does at once, unless it does not answer at all.
const PATIENCE: Duration = Duration::from_secs(15);
/// For input: thousands of characters that the layout lacks, and pauses of 30 s. An X server that does not answer meanwhile ends
/// the session before that.
const INPUT_PATIENCE: Duration = Duration::from_secs(900);
/// For a picture that a source has, or takes at once.
const PICTURE_PATIENCE: Duration = Duration::from_secs(5);
/// For where the pointer is, which is reported beside other things that are known.
const POINTER_PATIENCE: Duration = Duration::from_millis(250);

type Done = mpsc::Sender<Finished>;

/// Starts the work for a request.
pub fn start(work: Work, senders: &Senders, input: &input::Handle, encoder: &snapshot::Encoder) {
    let done = senders.finished.clone();
    match work {
        Work::SendInput { to, input: request } => send_input(to, done, input, request),
        Work::TakeSnapshots { source, picture, batch } => {
            take_snapshots(senders.clone(), source, picture, encoder.clone(), batch);
        }
        Work::GetClipboard { to, clipboard, wanted } => get_clipboard(to, done, clipboard, wanted),
        Work::SetClipboard { to, outcome } => {
            finish_outcome(to, done, outcome, Code::ClipboardFailed, "the session ended meanwhile");
        }
        Work::ListSources { to, sources } => list_sources(to, done, sources),
        Work::ListWindows { to, windows } => list_windows(to, done, windows),
        Work::Resize { to, outcome } => {
            finish_outcome(to, done, outcome, Code::ResizeFailed, "the source ended meanwhile");
        }
        Work::Unattended { what, outcome } => log_failure(what, outcome),
    }
}

fn failed(code: Code, error: impl std::fmt::Display) -> RequestError {
    RequestError::new(code, error.to_string())
}

fn source_failed(error: source::Error) -> RequestError {
    match error {
        source::Error::Unsupported { .. } => RequestError::new(Code::Unsupported, error.to_string()),
        source::Error::Clipboard(InvalidContent::TooLong { .. }) => {
            RequestError::new(Code::ClipboardTooLong, error.to_string())
        }
        source::Error::Clipboard(InvalidContent::NotPng) => {
            RequestError::new(Code::NotAPng, error.to_string())
        }
        source::Error::SilentClipboard => RequestError::new(Code::ClipboardTimeout, error.to_string()),
        error => failed(Code::SourceFailed, error),
    }
}

fn finish<T: Serialize + Send + 'static>(
    to: ReplyTo<T>,
    done: Done,
    patience: Duration,
    work: impl Future<Output = Result<T, RequestError>> + Send + 'static,
) {
    tokio::spawn(async move {
        let result = tokio::time::timeout(patience, work).await.unwrap_or_else(|_| {
            let message = format!("the session has not answered within {} s", patience.as_secs());
            Err(RequestError::new(Code::Stalled, message))
        });
        let _ = done.send(Finished::new(to, result)).await;
    });
}

fn send_input(to: ReplyTo<()>, done: Done, input: &input::Handle, request: InputRequest) {
    let (sender, applied) = oneshot::channel();
    input.commands(request.slot, request.events, sender);
    finish(to, done, INPUT_PATIENCE, async move {
        match applied.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error @ CommandError::NoSink(_))) => {
                Err(RequestError::new(Code::NoInput, error.to_string()))
            }
            Ok(Err(error @ CommandError::Busy)) => Err(RequestError::new(Code::Busy, error.to_string())),
            Ok(Err(error @ CommandError::Sink { error: input::sink::Error::NoSuchKey(_), .. })) => {
                Err(RequestError::new(Code::InvalidInput, error.to_string()))
            }
            Ok(Err(error)) => Err(failed(Code::InputFailed, error)),
            Err(_) => Err(failed(Code::InputFailed, "the session ended meanwhile")),
        }
    });
}

/// Also tells when the next picture of the source may be taken.
fn take_snapshots(
    senders: Senders,
    source: SourceName,
    picture: oneshot::Receiver<media::Picture>,
    encoder: snapshot::Encoder,
    batch: Batch,
) {
    let next = tokio::time::Instant::now() + INTERVAL;
    tokio::spawn(async move {
        let wanted =
            batch.iter().map(|(form, all)| snapshot::Wanted { form: *form, known: known(all) }).collect();
        let encoded = match tokio::time::timeout(PICTURE_PATIENCE, picture).await {
            Ok(Ok(picture)) => {
                encoder.encode(picture, wanted).await.map_err(|_| "too many snapshots are made already")
            }
            Ok(Err(_)) => Err("the source gave no picture"),
            Err(_) => Err("the source has given no picture in time"),
        };
        let mut encoded = encoded.map(Vec::into_iter);
        for (_, all) in batch {
            let made = match &mut encoded {
                Err(reason) => Err(failed(Code::SnapshotFailed, reason)),
                Ok(encoded) => match encoded.next() {
                    Some(made) => made.map_err(|error| failed(Code::SnapshotFailed, error)),
                    None => Err(failed(Code::SnapshotFailed, "it was not made")),
                },
            };
            for Waiting { to, unless, .. } in all {
                let reply = made.clone().map(|Made { version, size, file }| Picture {
                    image: file.filter(|_| unless != Some(version)).unwrap_or_default(),
                    version: Some(version),
                    width: size.width,
                    height: size.height,
                });
                let _ = senders.finished.send(Finished::new(to, reply)).await;
            }
        }
        tokio::time::sleep_until(next).await;
        let _ = senders.pictured.send(source).await;
    });
}

fn get_clipboard(to: ReplyTo<request::Clipboard>, done: Done, clipboard: Arc<dyn Clipboard>, wanted: Wanted) {
    finish(to, done, PATIENCE, async move {
        let offer = tokio::task::spawn_blocking(move || clipboard.get(wanted)).await;
        let offer = offer.map_err(|error| failed(Code::ClipboardFailed, error))?.map_err(source_failed)?;
        Ok(request::Clipboard { types: offer.types, content: offer.content })
    });
}

/// An X server that does not answer leaves unknown where its pointer is.
fn list_sources(
    to: ReplyTo<Json<SourceList>>,
    done: Done,
    known: Vec<(Source, Option<oneshot::Receiver<Pixel>>)>,
) {
    let until = tokio::time::Instant::now() + POINTER_PATIENCE;
    finish(to, done, PATIENCE, async move {
        let mut sources = Vec::new();
        for (mut source, pointer) in known {
            if let Some(pointer) = pointer {
                source.pointer = tokio::time::timeout_at(until, pointer).await.ok().and_then(Result::ok);
            }
            sources.push(source);
        }
        Ok(Json(SourceList { sources }))
    });
}

fn list_windows(to: ReplyTo<Json<WindowList>>, done: Done, windows: Arc<dyn Windows>) {
    finish(to, done, PATIENCE, async move {
        let windows = tokio::task::spawn_blocking(move || windows.list()).await;
        let windows = windows.map_err(|error| failed(Code::WindowsFailed, error))?.map_err(source_failed)?;
        Ok(Json(WindowList { windows }))
    });
}

/// `ended` is said when nobody will tell the outcome any more.
fn finish_outcome(to: ReplyTo<()>, done: Done, outcome: Outcome, code: Code, ended: &'static str) {
    finish(to, done, PATIENCE, async move {
        let outcome = outcome.await.map_err(|_| failed(code, ended))?;
        outcome.map_err(source_failed)
    });
}

fn log_failure(what: &'static str, outcome: Outcome) {
    tokio::spawn(async move {
        if let Ok(Err(error)) = outcome.await {
            tracing::warn!(%error, "{what} failed");
        }
    });
}
