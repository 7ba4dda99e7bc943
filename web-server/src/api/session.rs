//! Operations of programs on a running session: snapshots, input, clipboard, size.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use common::api::{ClipboardBody, InputRequest, ResizeRequest, SetClipboard, SnapshotFormat};
use common::clipboard::{ClipboardType, Content, Wanted};
use common::input::{MAX_EVENTS, validate_commands};
use common::ipc;
use common::ipc::request::{self, GetClipboard, Resize, SendInput, TakeSnapshot};
use common::spec::{MAX_WIDTH, MIN_SIDE, validate_size};

use crate::auth::Right;
use crate::http::extract::{Body, Clip, Id, Json, Query};
use crate::http::headers::known_tags;
use crate::http::problem::ApiError;
use crate::http::site::Caller;
use crate::limits::Limits;
use crate::registry::Handle;

impl Json for InputRequest {}
impl Json for SetClipboard {}
impl Json for ResizeRequest {}

/// Take a snapshot.
///
/// It needs no peer. With the `ETag` of an earlier picture in `If-None-Match`, a picture of the same query that looks the same is not
/// encoded and not sent: `304`.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    get, path = "/api/streamers/{id}/snapshot", tag = "session", operation_id = "get_snapshot",
    params(
        ("id" = String, Path, description = "Name of the streamer"),
        ("slot" = Option<u8>, Query, description = "Of which slot; 0 if absent"),
        ("format" = Option<SnapshotFormat>, Query, description = "`png` if absent"),
        ("width" = Option<u32>, Query, description = "Scaled down to this width, pixels"),
        ("If-None-Match" = Option<String>, Header, description = "`ETag` of the picture that is known"),
    ),
    responses(
        (status = 200, description = "The picture",
         headers(("ETag" = String, description = "Pictures of the same query that look the same have the same")),
         content((Vec<u8> = "image/png"), (Vec<u8> = "image/jpeg"))),
        (status = 304, description = "It looks as the one that is known"),
    ),
)]
pub async fn snapshot(
    request: HttpRequest,
    caller: Caller,
    id: Id,
    registry: web::Data<Handle>,
    limits: web::Data<Limits>,
) -> Result<HttpResponse, ApiError> {
    let query = Query::of(&request, &["slot", "format", "width"])?;
    let (format, media_type) = match query.get("format") {
        None | Some("png") => (SnapshotFormat::Png, "image/png"),
        Some("jpeg") => (SnapshotFormat::Jpeg, "image/jpeg"),
        Some(other) => {
            return Err(ApiError::field("format", format!("can be \"png\" or \"jpeg\", not {other:?}")));
        }
    };
    let width = query.number("width")?;
    if let Some(width) = width
        && !(MIN_SIDE..=MAX_WIDTH).contains(&width)
    {
        let message = format!("must be from {MIN_SIDE} to {MAX_WIDTH}, not {width}");
        return Err(ApiError::field("width", message));
    }
    let slot = query.number("slot")?.unwrap_or_default();
    let _turn = match caller.right? {
        Right::Streamer { token, .. } => Some(limits.snapshot(token)?),
        Right::Admin | Right::Nobody => None,
    };
    // Of those that the client has, the first that can be ours.
    let unless = known_tags(request.headers()).find_map(|tag| u64::from_str_radix(tag, 16).ok());
    let picture = registry.ask(&id.0, TakeSnapshot { slot, format, width, unless }).await?;
    let is_known = unless.is_some() && picture.version == unless;
    let mut response = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    if let Some(version) = picture.version {
        response.insert_header((header::ETAG, format!("\"{version:016x}\"")));
    }
    match is_known {
        true => Ok(response.finish()),
        false => Ok(response.content_type(media_type).body(picture.image)),
    }
}

/// Type, click, scroll.
///
/// Returns when everything has reached the session. What is pressed and not released is released after its
/// `hold_ms`.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    post, path = "/api/streamers/{id}/input", tag = "session", operation_id = "send_input",
    params(("id" = String, Path, description = "Name of the streamer")),
    request_body = InputRequest,
    responses((status = 204, description = "Done")),
)]
pub async fn input(
    id: Id,
    body: Body<InputRequest>,
    registry: web::Data<Handle>,
) -> Result<HttpResponse, ApiError> {
    let input = body.0;
    if input.events.len() > MAX_EVENTS {
        let message = format!("at most {MAX_EVENTS} events, not {}", input.events.len());
        return Err(ApiError::field("events", message));
    }
    validate_commands(&input.events).map_err(|(n, error)| ApiError::input(format!("events[{n}]"), &error))?;
    registry.ask(&id.0, SendInput { input: ipc::Json(input) }).await?;
    Ok(done())
}

/// Read the session's clipboard.
///
/// Without `type`: its text, the text's HTML, and the types that it offers. With `type`: the content of this type, unchanged.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    get, path = "/api/streamers/{id}/clipboard", tag = "session",
    params(
        ("id" = String, Path, description = "Name of the streamer"),
        ("type" = Option<ClipboardType>, Query, description = "As it is, of this type"),
    ),
    responses(
        (status = 200, description = "Its texts and types, or what it offers of the type", content(
            (ClipboardBody = "application/json"), (String = "text/plain"), (String = "text/html"),
            (Vec<u8> = "image/png"),
        )),
        (status = 404, description = "It offers nothing of the type"),
        (status = 413, description = "What it offers is longer than is carried"),
        (status = 504, description = "`clipboard_timeout`: the program that owns it does not answer"),
    ),
)]
pub async fn get_clipboard(
    request: HttpRequest,
    id: Id,
    registry: web::Data<Handle>,
) -> Result<HttpResponse, ApiError> {
    let query = Query::of(&request, &["type"])?;
    let kind = query.get("type").map(clipboard_type).transpose()?;
    let wanted = if kind == Some(ClipboardType::Png) { Wanted::Picture } else { Wanted::Texts };
    let request::Clipboard { types, content } = registry.ask(&id.0, GetClipboard { wanted }).await?;
    let Content { text, html, png } = content;
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    let Some(kind) = kind else {
        return Ok(response.json(ClipboardBody { text: text.unwrap_or_default(), html, types }));
    };
    let bytes = match kind {
        ClipboardType::Text => text.map(String::into_bytes),
        ClipboardType::Html => html.map(String::into_bytes),
        ClipboardType::Png => png,
    };
    let bytes = bytes.ok_or(ApiError::NotOnClipboard(kind.media_type()))?;
    let media_type = match kind {
        ClipboardType::Png => "image/png",
        ClipboardType::Text => "text/plain; charset=utf-8",
        ClipboardType::Html => "text/html; charset=utf-8",
    };
    // It is a program's, and must do nothing where a browser shows it.
    response.insert_header((header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'"));
    Ok(response.content_type(media_type).body(bytes))
}

fn clipboard_type(text: &str) -> Result<ClipboardType, ApiError> {
    let known = ClipboardType::ALL.into_iter().find(|kind| kind.media_type() == text);
    known.ok_or_else(|| {
        let all = ClipboardType::ALL.map(ClipboardType::media_type).join(", ");
        ApiError::field("type", format!("can be one of {all}, not {text:?}"))
    })
}

/// Set the session's clipboard.
///
/// To a text, with its HTML if there is one, or to a picture. Controllers are told.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    put, path = "/api/streamers/{id}/clipboard", tag = "session",
    params(("id" = String, Path, description = "Name of the streamer")),
    request_body(content((SetClipboard = "application/json"), (Vec<u8> = "image/png"))),
    responses(
        (status = 204, description = "Done"),
        (status = 413, description = "It is longer than is carried"),
    ),
)]
pub async fn put_clipboard(
    id: Id,
    clip: Clip,
    registry: web::Data<Handle>,
) -> Result<HttpResponse, ApiError> {
    let Clip(content) = clip;
    content.validate()?;
    registry.ask(&id.0, request::SetClipboard { content }).await?;
    Ok(done())
}

/// Resize a desktop.
///
/// Returns when its pictures have the new size.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    post, path = "/api/streamers/{id}/resize", tag = "session", operation_id = "resize_streamer",
    params(("id" = String, Path, description = "Name of the streamer")),
    request_body = ResizeRequest,
    responses((status = 204, description = "Done")),
)]
pub async fn resize(
    id: Id,
    body: Body<ResizeRequest>,
    registry: web::Data<Handle>,
) -> Result<HttpResponse, ApiError> {
    let ResizeRequest { slot, width, height } = body.0;
    validate_size(width, height)?;
    registry.ask(&id.0, Resize { slot, width, height }).await?;
    Ok(done())
}

/// The response that says no more than that it is done.
pub(super) fn done() -> HttpResponse {
    HttpResponse::NoContent().finish()
}
