//! WHIP (RFC 9725): a standard encoder sends its offer and gets the answer, and what it sends becomes a source of the streamer.
//! What it shares with WHEP is in [`offered`].

use actix_web::{HttpRequest, HttpResponse, web};
use common::ipc::Join;
use common::person::{Person, check_display_name};

use super::offered::{self, Parts, Protocol};
use crate::auth::{Auth, Right};
use crate::http::extract::{self, Id, Query};
use crate::http::problem::ApiError;
use crate::http::site::{self, Caller, Site};
use crate::ice;
use crate::metrics::Metrics;
use crate::registry::Handle;

/// Publish with a standard encoder.
///
/// Needs the right `publish`.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    post, path = "/api/streamers/{id}/whip", tag = "signalling", operation_id = "create_whip",
    params(
        ("id" = String, Path, description = "Name of the streamer"),
        ("name" = Option<String>, Query, description = "The name that others see, 1 to 64 characters, unless the token has one"),
    ),
    request_body(content = String, content_type = "application/sdp", description = "The encoder's offer"),
    responses((status = 201, description = "The answer", body = String, content_type = "application/sdp",
        headers(("Location" = String, description = "Path of this publisher, to PATCH and DELETE it"),
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
    let right = site::caller(&request)?.right?;
    let person = publisher(&right, &request)?;
    let offer = offered::read(&request, payload).await?;
    let join = Join::Whip { offer, ticket: right.ticket(), person };
    let parts = Parts { here: &here, registry: &registry, metrics: &metrics, ice: &ice, auth: &auth };
    offered::join(Protocol::Whip, &id.0, &right, join, parts).await
}

/// Who publishes: what the token says, with the name in the query if that has none.
fn publisher(right: &Right, request: &HttpRequest) -> Result<Person, ApiError> {
    let query = Query::of(request, &["name"])?;
    let name = query.get("name");
    if let Some(name) = name {
        check_display_name(name).map_err(|error| ApiError::field("name", error.to_string()))?;
    }
    let mut person = right.person();
    person.display_name = person.display_name.or_else(|| name.map(str::to_owned));
    Ok(person)
}

/// Stop publishing with a standard encoder.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    delete, path = "/api/streamers/{id}/whip/{peer_id}", tag = "signalling", operation_id = "delete_whip",
    params(
        ("id" = String, Path, description = "Name of the streamer"),
        ("peer_id" = String, Path, description = "Which publisher"),
    ),
    responses((status = 200, description = "Gone, and its sources with it")),
)]
pub async fn delete(
    id: Id,
    peer: extract::Peer,
    caller: Caller,
    registry: web::Data<Handle>,
) -> Result<HttpResponse, ApiError> {
    offered::leave(Protocol::Whip, &id.0, peer, &caller.right?, &registry).await
}

/// Tell candidates that were found later, or restart ICE.
///
/// The body is a fragment with the encoder's `a=ice-ufrag` and `a=ice-pwd`. With those of its offer, its candidates are added; with
/// new ones ICE is restarted, and the response is a fragment with the server's new ones.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    patch, path = "/api/streamers/{id}/whip/{peer_id}", tag = "signalling", operation_id = "patch_whip",
    params(
        ("id" = String, Path, description = "Name of the streamer"),
        ("peer_id" = String, Path, description = "Which publisher"),
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
    offered::patch(Protocol::Whip, &request, &id.0, peer, payload, &caller.right?, &registry).await
}
