//! Requests that take time: each runs off the control loop and answers by [`Finished`].

use std::sync::Arc;

use common::api::{InputRequest, SnapshotFormat};
use common::clipboard::{InvalidContent, Wanted};
use common::input::{InvalidInput, MAX_EVENTS, validate_commands};
use common::ipc::{ErrorKind, Json, Reply, RequestError};
use common::slots::WindowList;
use tokio::sync::{mpsc, oneshot};

use crate::input::{self, CommandError};
use crate::link::ReplyTo;
use crate::media::{Picture, Size};
use crate::session::Finished;
use crate::snapshot;
use crate::source::{self, Clipboard, Windows};

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
        error => failed("source_failed", error),
    }
}

fn finish(to: ReplyTo, done: Done, work: impl Future<Output = Result<Reply, RequestError>> + Send + 'static) {
    tokio::spawn(async move {
        let result = work.await;
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
    finish(to, done, async move {
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

/// `GET /snapshot`.
pub fn snapshot(
    to: ReplyTo,
    done: Done,
    picture: oneshot::Receiver<Picture>,
    format: SnapshotFormat,
    width: Option<u32>,
) {
    finish(to, done, async move {
        let picture = picture.await.map_err(|_| failed("snapshot_failed", "the source gave no picture"))?;
        let encoded = tokio::task::spawn_blocking(move || snapshot::encode(picture, format, width)).await;
        let encoded = encoded.map_err(|error| failed("snapshot_failed", error))?;
        let (image, size) = encoded.map_err(|error| failed("snapshot_failed", error))?;
        Ok(Reply::Snapshot { image, width: size.width, height: size.height })
    });
}

/// `GET /clipboard`.
pub fn get_clipboard(to: ReplyTo, done: Done, clipboard: Arc<dyn Clipboard>, wanted: Wanted) {
    finish(to, done, async move {
        let offer = tokio::task::spawn_blocking(move || clipboard.get(wanted)).await;
        let offer = offer.map_err(|error| failed("clipboard_failed", error))?.map_err(source_failed)?;
        Ok(Reply::Clipboard { types: offer.types, content: offer.content })
    });
}

/// `PUT /clipboard`.
pub fn set_clipboard(to: ReplyTo, done: Done, set: oneshot::Receiver<Result<(), source::Error>>) {
    finish(to, done, async move {
        let set = set.await.map_err(|_| failed("clipboard_failed", "the session ended meanwhile"))?;
        set.map_err(source_failed)?;
        Ok(Reply::Done)
    });
}

/// `GET /windows`.
pub fn windows(to: ReplyTo, done: Done, windows: Arc<dyn Windows>) {
    finish(to, done, async move {
        let windows = tokio::task::spawn_blocking(move || windows.list()).await;
        let windows = windows.map_err(|error| failed("windows_failed", error))?.map_err(source_failed)?;
        Ok(Reply::Windows(Json(WindowList { windows })))
    });
}

/// `POST /resize`.
pub fn resize(to: ReplyTo, done: Done, resized: oneshot::Receiver<Result<(), source::Error>>) {
    finish(to, done, async move {
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
