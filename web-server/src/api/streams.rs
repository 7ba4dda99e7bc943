//! The streams for `multistream/*` clients, so that pages need not know their names.

use actix_web::{HttpResponse, web};
use common::ipc::request::ListSources;
use common::slots::{SourceList, StreamList};

use crate::auth::Right;
use crate::http::problem::ApiError;
use crate::http::site::Caller;
use crate::registry::request::Denied;
use crate::registry::{Handle, OperationError};
use crate::signaling::multistream::Config;

/// List the streams of `WS /api/ws`.
///
/// They are the sources of the streamer that the configuration names; there are none while it does not exist.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    get, path = "/api/streams", tag = "slots", operation_id = "list_streams",
    responses((status = 200, description = "In order of names, without passwords; addresses and commands for admins only", body = StreamList)),
)]
pub async fn list(
    caller: Caller,
    registry: web::Data<Handle>,
    config: web::Data<Config>,
) -> Result<HttpResponse, ApiError> {
    let is_admin = caller.right? == Right::Admin;
    let streams = match registry.ask(&config.streamer, ListSources).await {
        Err(OperationError::Denied(Denied::NotFound(_))) => Vec::new(),
        list => list?.0.sources,
    };
    let streamer = config.streamer.clone();
    let max_slots = config.max_slots;
    let streams = SourceList { sources: streams }.shown_to(is_admin).sources;
    Ok(HttpResponse::Ok().json(StreamList { streamer, max_slots, streams }))
}
