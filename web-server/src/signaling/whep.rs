//! WHEP (draft-ietf-wish-whep): a standard player sends its offer and gets the answer. It watches slot 0 with its sound, or with all
//! that is heard as one stream.
//! What it shares with WHIP is in [`offered`].

use actix_web::{HttpRequest, HttpResponse, web};
use common::ipc::{Join, Ticket};

use super::audio_layout;
use super::offered::{self, Parts, Protocol};
use crate::auth::Auth;
use crate::http::extract::{self, Id};
use crate::http::problem::ApiError;
use crate::http::site::{self, Caller, Site};
use crate::ice;
use crate::metrics::Metrics;
use crate::registry::Handle;

/// Watch with a standard player.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    post, path = "/api/streamers/{id}/whep", tag = "signalling", operation_id = "create_whep",
    params(
        ("id" = String, Path, description = "Name of the streamer"),
        ("audio" = Option<String>, Query, description = "`tracks`, the default: the sound of slot 0; `mix`: all that is heard, as one stream"),
    ),
    request_body(content = String, content_type = "application/sdp", description = "The player's offer"),
    responses((status = 201, description = "The answer", body = String, content_type = "application/sdp",
        headers(("Location" = String, description = "Path of this viewer, to PATCH and DELETE it"),
                ("ETag" = String, description = "The ICE session, for `If-Match` of PATCH"),
                ("Link" = String, description = "STUN and TURN servers, `rel=\"ice-server\"`")))),
)]
#[expect(clippy::too_many_arguments, reason = "they are what a request is made of")]
pub async fn create(
    request: HttpRequest,
    id: Id,
    payload: web::Payload,
    here: web::Data<Site>,
    registry: web::Data<Handle>,
    metrics: web::Data<Metrics>,
    ice: web::Data<ice::Config>,
    auth: web::Data<Auth>,
) -> Result<HttpResponse, ApiError> {
    let audio = audio_layout(&request)?;
    let offer = offered::read(&request, payload).await?;
    let right = site::caller(&request)?.right?;
    let join = Join::Whep { offer, ticket: Ticket { audio, ..right.ticket() } };
    let parts = Parts { here: &here, registry: &registry, metrics: &metrics, ice: &ice, auth: &auth };
    offered::join(Protocol::Whep, &id.0, &right, join, parts).await
}

/// Stop watching with a standard player.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    delete, path = "/api/streamers/{id}/whep/{peer_id}", tag = "signalling", operation_id = "delete_whep",
    params(
        ("id" = String, Path, description = "Name of the streamer"),
        ("peer_id" = String, Path, description = "Which viewer"),
    ),
    responses((status = 200, description = "Gone")),
)]
pub async fn delete(
    id: Id,
    peer: extract::Peer,
    caller: Caller,
    registry: web::Data<Handle>,
) -> Result<HttpResponse, ApiError> {
    offered::leave(Protocol::Whep, &id.0, peer, &caller.right?, &registry).await
}

/// Tell candidates that were found later, or restart ICE.
///
/// The body is a fragment with the player's `a=ice-ufrag` and `a=ice-pwd`. With those of its offer, its candidates are added; with new
/// ones ICE is restarted, and the response is a fragment with the server's new ones.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    patch, path = "/api/streamers/{id}/whep/{peer_id}", tag = "signalling", operation_id = "patch_whep",
    params(
        ("id" = String, Path, description = "Name of the streamer"),
        ("peer_id" = String, Path, description = "Which viewer"),
        ("If-Match" = String, Header, description = "`ETag` of the last response, or `*` for whatever ICE session there is"),
    ),
    request_body(content = String, content_type = "application/trickle-ice-sdpfrag", description = "The fragment"),
    responses(
        (status = 204, description = "The candidates are known"),
        (status = 200, description = "ICE restarts", body = String, content_type = "application/trickle-ice-sdpfrag",
         headers(("ETag" = String, description = "The new ICE session"))),
        (status = 412, description = "`ice_session_mismatch`: there is another ICE session"),
        (status = 428, description = "`precondition_required`: `If-Match` is missing"),
    ),
)]
pub async fn patch(
    request: HttpRequest,
    id: Id,
    peer: extract::Peer,
    payload: web::Payload,
    caller: Caller,
    registry: web::Data<Handle>,
) -> Result<HttpResponse, ApiError> {
    offered::patch(Protocol::Whep, &request, &id.0, peer, payload, &caller.right?, &registry).await
}
