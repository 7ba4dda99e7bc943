//! `/api/streamers/{id}/restart` and `/api/streamers/{id}/logs`: for operators, when a streamer misbehaves.

use actix_web::{HttpRequest, HttpResponse, web};
use common::api::Streamer;
use common::restart::LogTail;

use crate::compat::multi_webrtc::answer;
use crate::http::extract::{Id, Query};
use crate::http::problem::ApiError;
use crate::http::site::Caller;
use crate::registry::Handle;

/// Lines of a log when the request does not say how many.
const TAIL: usize = 100;
/// Most lines of a log.
const MAX_TAIL: usize = 5000;

/// Replace the process of a streamer.
///
/// The new process has the same spec, and the sources and slots of run time. A streamer that has failed is started again, however often it has failed.
/// Returns at once; state `restarting` becomes `running`.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    post, path = "/api/streamers/{id}/restart", tag = "streamers", operation_id = "restart_streamer",
    params(("id" = String, Path, description = "Its name")),
    responses(
        (status = 202, description = "It is being done", body = Streamer),
        (status = 409, description = "The streamer is stopping"),
    ),
)]
pub async fn restart(id: Id, caller: Caller, registry: web::Data<Handle>) -> Result<HttpResponse, ApiError> {
    let streamer = registry.restart(&id.0, &caller.right?.name()).await?;
    Ok(HttpResponse::Accepted().json(answer::streamer(&streamer)))
}

/// Get the end of a streamer's log.
///
/// All processes of the streamer write to one log. Up to 8 MiB are kept, of which the last 512 KiB are read.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    get, path = "/api/streamers/{id}/logs", tag = "streamers", operation_id = "get_logs",
    params(
        ("id" = String, Path, description = "Its name"),
        ("tail" = Option<u16>, Query, description = "How many lines, 1..=5000; 100 if absent"),
    ),
    responses((status = 200, description = "The last lines", body = LogTail)),
)]
pub async fn logs(
    request: HttpRequest,
    id: Id,
    registry: web::Data<Handle>,
) -> Result<HttpResponse, ApiError> {
    let tail = Query::of(&request, &["tail"])?.count("tail", MAX_TAIL)?.unwrap_or(TAIL);
    Ok(HttpResponse::Ok().json(LogTail { lines: registry.log(&id.0, tail).await? }))
}
