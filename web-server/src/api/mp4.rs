//! `/api/streamers/{id}/streams/{name}.mp4`: a stream as live MP4, for what speaks no WebRTC.
//!
//! ```text
//! player ◀── chunks ── here ◀── a connection of its own ── a thread of the streamer's, which makes the MP4
//! ```
//!
//! Nothing is kept here: what the player does not take stays in the connection, and the streamer sees that it is full.

use std::io;
use std::time::Duration;

use actix_web::http::{Method, header};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, web};
use common::id::PeerId;
use common::ipc::{Code, Join, RequestError};
use futures_util::stream;
use tokio::time::timeout;

use crate::http::extract::{Id, SourceName};
use crate::http::problem::ApiError;
use crate::http::site::Caller;
use crate::registry::{Handle, OperationError};
use crate::supervisor::ask::AskError;
use crate::supervisor::link::Media;

/// The first picture is waited for so long; the streamer gives up a little earlier, and says why by then.
const FIRST_PATIENCE: Duration = Duration::from_secs(25);

/// Read a stream as live MP4.
///
/// Fragmented MP4 with H.264 and, where the stream has sound, Opus, from a keyframe on, until the reader leaves or the stream ends.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    get, path = "/api/streamers/{id}/streams/{name}.mp4", tag = "session", operation_id = "read_mp4",
    params(
        ("id" = String, Path, description = "Name of the streamer"),
        ("name" = String, Path, description = "Name of a source; `main` is the main one"),
    ),
    responses((status = 200, description = "The stream, which does not end by itself", content((Vec<u8> = "video/mp4")))),
)]
pub async fn read(
    request: HttpRequest,
    id: Id,
    stream: SourceName,
    caller: Caller,
    registry: web::Data<Handle>,
) -> Result<HttpResponse, ApiError> {
    let ticket = caller.right?.ticket();
    let mut response = HttpResponse::Ok();
    response
        .content_type("video/mp4")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        // nginx would keep the stream back until it has a bufferful.
        .insert_header(("x-accel-buffering", "no"));
    if request.method() == Method::HEAD {
        return Ok(response.finish());
    }
    let added = registry.add_peer(&id.0, Join::Mp4 { stream: stream.0, ticket }).await?;
    let streamer = registry.reach(&id.0).await?;
    let mut media = streamer.attach(added.peer).await.map_err(|error| {
        tracing::warn!(peer = %added.peer, %error, "no connection for a stream");
        ApiError::from(AskError::Gone)
    })?;
    // Before the head of the response is sent, so that a stream which does not come is an error.
    let first = match timeout(FIRST_PATIENCE, media.next()).await {
        Ok(Ok(Some(first))) => first,
        Ok(Ok(None) | Err(_)) | Err(_) => return Err(no_picture(added.peer)),
    };
    Ok(response.streaming(stream::unfold((media, Some(first)), next)))
}

async fn next(
    (mut media, first): (Media, Option<Bytes>),
) -> Option<(io::Result<Bytes>, (Media, Option<Bytes>))> {
    if let Some(first) = first {
        return Some((Ok(first), (media, None)));
    }
    let read = media.next().await.transpose()?;
    Some((read, (media, None)))
}

fn no_picture(peer: PeerId) -> ApiError {
    tracing::debug!(%peer, "a stream gives nothing that could be read");
    let error = RequestError::new(Code::SourceOffline, "the stream gives no picture that could be read");
    OperationError::Ask(AskError::Refused(error)).into()
}
