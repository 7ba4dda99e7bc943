//! Requests that take time: each runs off the control loop and answers by [`Finished`].

use std::sync::Arc;
use std::time::Duration;

use common::api::InputRequest;
use common::clipboard::{InvalidContent, Wanted};
use common::id::SourceName;
use common::input::{InvalidInput, MAX_EVENTS, validate_commands};
use common::ipc::{ErrorKind, Json, Reply, RequestError};
use common::slots::WindowList;
use tokio::sync::{mpsc, oneshot};

use crate::input::{self, CommandError};
use crate::link::ReplyTo;
use crate::media::{Picture, Size};
use crate::session::Finished;
use crate::session::snapshots::{Batch, INTERVAL};
use crate::snapshot;
use crate::source::{self, Clipboard, Windows};
use crate::streamer::Senders;

/// For what an X server does at once, unless it does not answer at all.
const PATIENCE: Duration = Duration::from_secs(15);
/// For input: thousands of characters that the layout lacks, and pauses of 30 s. An X server that does not answer meanwhile ends
/// the session before that.
const INPUT_PATIENCE: Duration = Duration::from_secs(900);
/// For a picture that a source has, or takes at once.
const PICTURE_PATIENCE: Duration = Duration::from_secs(5);

type Done = mpsc::Sender<Finished>;

fn failed(code: &str, error: impl std::fmt::Display) -> RequestError {
    RequestError::new(ErrorKind::Failed, code, error.to_string())
}

fn source_failed(error: source::Error) -> RequestError {
    match error {
        source::Error::Unsupported { .. } => {
            RequestError::new(ErrorKind::Conflict, "unsupported", error.to_string())
        }
        source::Error::Clipboard(InvalidContent::TooLong { .. }) => {
            RequestError::new(ErrorKind::TooLong, "clipboard_too_long", error.to_string())
        }
        source::Error::Clipboard(InvalidContent::NotPng) => {
            RequestError::new(ErrorKind::Invalid, "not_a_png", error.to_string())
        }
        source::Error::SilentClipboard => {
            RequestError::new(ErrorKind::Timeout, "clipboard_timeout", error.to_string())
        }
        error => failed("source_failed", error),
    }
}

fn finish(
    to: ReplyTo,
    done: Done,
    patience: Duration,
    work: impl Future<Output = Result<Reply, RequestError>> + Send + 'static,
) {
    tokio::spawn(async move {
        let result = tokio::time::timeout(patience, work).await.unwrap_or_else(|_| {
            let message = format!("the session has not answered within {} s", patience.as_secs());
            Err(RequestError::new(ErrorKind::Timeout, "stalled", message))
        });
        let _ = done.send(Finished { to, result }).await;
    });
}

/// `POST /input`, for a slot whose picture has this size, if it is known.
///
/// # Errors
/// When the request breaks a bound; nothing of it is carried out then.
pub fn input(
    to: ReplyTo,
    done: Done,
    input: &input::Handle,
    request: InputRequest,
    picture: Option<Size>,
) -> Result<(), RequestError> {
    let invalid = |message| RequestError::new(ErrorKind::Invalid, "invalid_input", message);
    if request.events.len() > MAX_EVENTS {
        let message = format!("events: at most {MAX_EVENTS}, not {}", request.events.len());
        return Err(invalid(message).with_field("events"));
    }
    let named = |(index, error): (usize, InvalidInput)| {
        invalid(format!("events[{index}].{error}")).with_field(&format!("events[{index}]"))
    };
    validate_commands(&request.events).map_err(named)?;
    if let Some(Size { width, height }) = picture {
        for (index, event) in request.events.iter().enumerate() {
            event.validate_inside(width, height).map_err(|error| named((index, error)))?;
        }
    }
    let (sender, applied) = oneshot::channel();
    input.commands(request.slot, request.events, sender);
    finish(to, done, INPUT_PATIENCE, async move {
        match applied.await {
            Ok(Ok(())) => Ok(Reply::Done),
            Ok(Err(error @ CommandError::NoSink(_))) => {
                Err(RequestError::new(ErrorKind::Conflict, "no_input", error.to_string()))
            }
            Ok(Err(error @ CommandError::Busy)) => {
                Err(RequestError::new(ErrorKind::Limit, "busy", error.to_string()))
            }
            Ok(Err(error @ CommandError::Sink { error: input::sink::Error::NoSuchKey(_), .. })) => {
                Err(RequestError::new(ErrorKind::Invalid, "invalid_input", error.to_string()))
            }
            Ok(Err(error)) => Err(failed("input_failed", error)),
            Err(_) => Err(failed("input_failed", "the session ended meanwhile")),
        }
    });
    Ok(())
}

/// `GET /snapshot`, of all who wait for this picture. Says when the next one may be taken.
pub fn snapshots(
    senders: &Senders,
    source: SourceName,
    picture: oneshot::Receiver<Picture>,
    encoder: snapshot::Encoder,
    batch: Batch,
) {
    let (done, pictured) = (senders.finished.clone(), senders.pictured.clone());
    let next = tokio::time::Instant::now() + INTERVAL;
    tokio::spawn(async move {
        let forms = batch.iter().map(|(form, _)| *form).collect();
        let encoded = match tokio::time::timeout(PICTURE_PATIENCE, picture).await {
            Ok(Ok(picture)) => {
                encoder.encode(picture, forms).await.map_err(|_| "too many snapshots are made already")
            }
            Ok(Err(_)) => Err("the source gave no picture"),
            Err(_) => Err("the source has given no picture in time"),
        };
        let mut encoded = encoded.map(Vec::into_iter);
        for (_, all) in batch {
            let reply = match &mut encoded {
                Err(reason) => Err(failed("snapshot_failed", reason)),
                Ok(encoded) => match encoded.next() {
                    Some(Ok((image, Size { width, height }))) => Ok(Reply::Snapshot { image, width, height }),
                    Some(Err(error)) => Err(failed("snapshot_failed", error)),
                    None => Err(failed("snapshot_failed", "it was not made")),
                },
            };
            for to in all {
                let _ = done.send(Finished { to, result: reply.clone() }).await;
            }
        }
        tokio::time::sleep_until(next).await;
        let _ = pictured.send(source).await;
    });
}

/// `GET /clipboard`.
pub fn get_clipboard(to: ReplyTo, done: Done, clipboard: Arc<dyn Clipboard>, wanted: Wanted) {
    finish(to, done, PATIENCE, async move {
        let offer = tokio::task::spawn_blocking(move || clipboard.get(wanted)).await;
        let offer = offer.map_err(|error| failed("clipboard_failed", error))?.map_err(source_failed)?;
        Ok(Reply::Clipboard { types: offer.types, content: offer.content })
    });
}

/// `PUT /clipboard`.
pub fn set_clipboard(to: ReplyTo, done: Done, set: oneshot::Receiver<Result<(), source::Error>>) {
    finish(to, done, PATIENCE, async move {
        let set = set.await.map_err(|_| failed("clipboard_failed", "the session ended meanwhile"))?;
        set.map_err(source_failed)?;
        Ok(Reply::Done)
    });
}

/// `GET /windows`.
pub fn windows(to: ReplyTo, done: Done, windows: Arc<dyn Windows>) {
    finish(to, done, PATIENCE, async move {
        let windows = tokio::task::spawn_blocking(move || windows.list()).await;
        let windows = windows.map_err(|error| failed("windows_failed", error))?.map_err(source_failed)?;
        Ok(Reply::Windows(Json(WindowList { windows })))
    });
}

/// `POST /resize`.
pub fn resize(to: ReplyTo, done: Done, resized: oneshot::Receiver<Result<(), source::Error>>) {
    finish(to, done, PATIENCE, async move {
        let resized = resized.await.map_err(|_| failed("resize_failed", "the source ended meanwhile"))?;
        resized.map_err(source_failed)?;
        Ok(Reply::Done)
    });
}

/// Logs the failure of something that nobody waits for.
pub fn report_failure(what: &'static str, outcome: oneshot::Receiver<Result<(), source::Error>>) {
    tokio::spawn(async move {
        if let Ok(Err(error)) = outcome.await {
            tracing::warn!(%error, "{what} failed");
        }
    });
}
