//! Requests that take time: each runs off the control loop and answers by [`Finished`].

use std::sync::Arc;
use std::time::Duration;

use common::api::InputRequest;
use common::clipboard::{InvalidContent, Wanted};
use common::id::SourceName;
use common::input::{InvalidInput, MAX_EVENTS, validate_commands};
use common::ipc::request::{self, Picture};
use common::ipc::{Code, Json, RequestError};
use common::slots::{Pixel, Source, SourceList, WindowList};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use crate::input::{self, CommandError};
use crate::link::{Finished, ReplyTo};
use crate::media::{self, Size};
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

/// For where the pointer is, which is told besides other things that are known.
const POINTER_PATIENCE: Duration = Duration::from_millis(250);

type Done = mpsc::Sender<Finished>;

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

/// `POST /input`, for a slot whose picture has this size, if it is known.
///
/// # Errors
/// When the request breaks a bound; nothing of it is carried out then.
pub fn input(
    to: ReplyTo<()>,
    done: Done,
    input: &input::Handle,
    request: InputRequest,
    picture: Option<Size>,
) -> Result<(), RequestError> {
    let invalid = |message| RequestError::new(Code::InvalidInput, message);
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
    Ok(())
}

/// `GET /snapshot`, of all who wait for this picture. Says when the next one may be taken.
pub fn snapshots(
    senders: &Senders,
    source: SourceName,
    picture: oneshot::Receiver<media::Picture>,
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
                Err(reason) => Err(failed(Code::SnapshotFailed, reason)),
                Ok(encoded) => match encoded.next() {
                    Some(Ok((image, Size { width, height }))) => Ok(Picture { image, width, height }),
                    Some(Err(error)) => Err(failed(Code::SnapshotFailed, error)),
                    None => Err(failed(Code::SnapshotFailed, "it was not made")),
                },
            };
            for to in all {
                let _ = done.send(Finished::new(to, reply.clone())).await;
            }
        }
        tokio::time::sleep_until(next).await;
        let _ = pictured.send(source).await;
    });
}

/// `GET /clipboard`.
pub fn get_clipboard(
    to: ReplyTo<request::Clipboard>,
    done: Done,
    clipboard: Arc<dyn Clipboard>,
    wanted: Wanted,
) {
    finish(to, done, PATIENCE, async move {
        let offer = tokio::task::spawn_blocking(move || clipboard.get(wanted)).await;
        let offer = offer.map_err(|error| failed(Code::ClipboardFailed, error))?.map_err(source_failed)?;
        Ok(request::Clipboard { types: offer.types, content: offer.content })
    });
}

/// `PUT /clipboard`.
pub fn set_clipboard(to: ReplyTo<()>, done: Done, set: oneshot::Receiver<Result<(), source::Error>>) {
    finish(to, done, PATIENCE, async move {
        let set = set.await.map_err(|_| failed(Code::ClipboardFailed, "the session ended meanwhile"))?;
        set.map_err(source_failed)
    });
}

/// `GET /sources`: what is known of them, and where the pointer is in each. An X server that does not answer leaves it unknown.
pub fn sources(
    to: ReplyTo<Json<SourceList>>,
    done: Done,
    shown: Vec<(Source, Option<oneshot::Receiver<Pixel>>)>,
) {
    let until = tokio::time::Instant::now() + POINTER_PATIENCE;
    finish(to, done, PATIENCE, async move {
        let mut sources = Vec::new();
        for (mut source, pointer) in shown {
            if let Some(pointer) = pointer {
                source.pointer = tokio::time::timeout_at(until, pointer).await.ok().and_then(Result::ok);
            }
            sources.push(source);
        }
        Ok(Json(SourceList { sources }))
    });
}

/// `GET /windows`.
pub fn windows(to: ReplyTo<Json<WindowList>>, done: Done, windows: Arc<dyn Windows>) {
    finish(to, done, PATIENCE, async move {
        let windows = tokio::task::spawn_blocking(move || windows.list()).await;
        let windows = windows.map_err(|error| failed(Code::WindowsFailed, error))?.map_err(source_failed)?;
        Ok(Json(WindowList { windows }))
    });
}

/// `POST /resize`.
pub fn resize(to: ReplyTo<()>, done: Done, resized: oneshot::Receiver<Result<(), source::Error>>) {
    finish(to, done, PATIENCE, async move {
        let resized = resized.await.map_err(|_| failed(Code::ResizeFailed, "the source ended meanwhile"))?;
        resized.map_err(source_failed)
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
