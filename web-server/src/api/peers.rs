//! `/api/streamers/{id}/peers`: the peers of a streamer, their roles, and their removal.

use actix_web::{HttpResponse, web};
use common::api::{PeerList, PeerPatch};
use common::spec::validate_peer_bitrate;

use super::session::done;
use crate::http::extract::{self, Body, Id, Json};
use crate::http::problem::ApiError;
use crate::http::site::Caller;
use crate::registry::Handle;

impl Json for PeerPatch {}

/// List the peers of a streamer.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    get, path = "/api/streamers/{id}/peers", tag = "peers", operation_id = "list_peers",
    params(("id" = String, Path, description = "Name of the streamer")),
    responses((status = 200, description = "In order of joining", body = PeerList)),
)]
pub async fn list(id: Id, registry: web::Data<Handle>) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(PeerList { peers: registry.get(&id.0).await?.peers }))
}

/// Change the role or the rights of a peer, what it is sent at most, or whether programs hear it.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    patch, path = "/api/streamers/{id}/peers/{peer_id}", tag = "peers", operation_id = "update_peer",
    params(
        ("id" = String, Path, description = "Name of the streamer"),
        ("peer_id" = String, Path, description = "Which peer"),
    ),
    request_body = PeerPatch,
    responses((status = 204, description = "Done")),
)]
pub async fn patch(
    id: Id,
    peer: extract::Peer,
    body: Body<PeerPatch>,
    caller: Caller,
    registry: web::Data<Handle>,
) -> Result<HttpResponse, ApiError> {
    if body.0 == PeerPatch::default() {
        let message = "a change names role, rights, max_bitrate_kbps, session_microphone or session_camera";
        return Err(ApiError::field("role", message));
    }
    validate_peer_bitrate(body.0.max_bitrate_kbps.filter(|kbps| *kbps > 0))?;
    registry.update_peer(&id.0, peer.0, body.0, &caller.right?.name()).await?;
    Ok(done())
}

/// Remove a peer.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    delete, path = "/api/streamers/{id}/peers/{peer_id}", tag = "peers", operation_id = "remove_peer",
    params(
        ("id" = String, Path, description = "Name of the streamer"),
        ("peer_id" = String, Path, description = "Which peer"),
    ),
    responses((status = 204, description = "Gone")),
)]
pub async fn remove(
    id: Id,
    peer: extract::Peer,
    caller: Caller,
    registry: web::Data<Handle>,
) -> Result<HttpResponse, ApiError> {
    registry.remove_peer(&id.0, peer.0, &caller.right?.name()).await?;
    Ok(done())
}
