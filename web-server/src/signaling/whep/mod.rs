//! WHEP (draft-ietf-wish-whep): a standard player sends its offer and gets the answer, with every candidate
//! in it. It watches slot 0 with its sound. Trickled candidates and ICE restarts are sent by `PATCH`, as in
//! WHIP (RFC 9725 §4.3). The entity tag is our user name fragment: so the streamer knows it, and it survives
//! the web-server.

mod fragment;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::Utc;
use common::api::{Peer, PeerKind};
use common::ipc::request::{PatchPeer, PeerAdded, RemovePeer};
use common::ipc::{Code, Join, Json, RequestError};

use crate::auth::{Auth, Refused, Right};
use crate::http::extract::{self, Id, has_media_type};
use crate::http::problem::ApiError;
use crate::http::site::{self, Caller, Site};
use crate::ice;
use crate::metrics::Metrics;
use crate::registry::{Handle, OperationError};
use crate::supervisor::ask::AskError;

const SDP: &str = "application/sdp";
/// Media type of trickled candidates (RFC 8840 §9).
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
/// Methods of the endpoint.
const ALLOW: &str = "POST, OPTIONS";
/// Methods of one viewer.
const ALLOW_OF_ONE: &str = "DELETE, PATCH, OPTIONS";
/// Longest fragment, in bytes: as many candidates as it may have.
const MAX_FRAGMENT: usize = 32 * 1024;
/// Longest offer, in bytes: a browser's with every codec and 16 sections has about 60 KB.
const MAX_OFFER: usize = 256 * 1024;

/// Watch with a standard player.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    post, path = "/api/streamers/{id}/whep", tag = "signalling", operation_id = "create_whep",
    params(("id" = String, Path, description = "Name of the streamer")),
    request_body(content = String, content_type = "application/sdp", description = "The player's offer"),
    responses((status = 201, description = "The answer", body = String, content_type = "application/sdp",
        headers(("Location" = String, description = "Path of this viewer, to PATCH and DELETE it"),
                ("ETag" = String, description = "The ICE session, for `If-Match` of PATCH"),
                ("Link" = String, description = "STUN and TURN servers, `rel=\"ice-server\"`")))),
)]
#[expect(clippy::disallowed_methods, reason = "a request is taken at the time at which it comes")]
pub async fn create(
    request: HttpRequest,
    id: Id,
    payload: web::Payload,
    here: web::Data<Site>,
    registry: web::Data<Handle>,
    metrics: web::Data<Metrics>,
    ice: web::Data<ice::Config>,
) -> Result<HttpResponse, ApiError> {
    if !has_media_type(&request, SDP) {
        return Err(ApiError::MediaType { expected: SDP });
    }
    if !accepts(&request) {
        return Err(ApiError::NotAcceptable { offered: SDP });
    }
    let offer = extract::read(payload, MAX_OFFER).await?;
    let offer = std::str::from_utf8(&offer)
        .map_err(|_| ApiError::Unreadable("an offer is UTF-8 text".into()))?
        .to_owned();
    let right = site::caller(&request)?.right?;
    let auth = request.app_data::<web::Data<Auth>>().expect("the server has one").clone();
    tracing::info!(id = %id.0, by = right.name(), "joining by WHEP");
    let join = Join::Whep { offer, token_id: right.token() };
    let joined = registry.add_peer(&id.0, join).await;
    if !matches!(joined, Err(OperationError::Denied(_))) {
        metrics.join(PeerKind::Whep, joined.is_ok());
    }
    if let (true, Ok(PeerAdded { peer, .. })) = (auth.is_revoked(right.token()), &joined) {
        // Revoked while the peer joined: the revocation could not remove it yet.
        registry.ask(&id.0, RemovePeer { peer: *peer, reason: "the token was revoked".into() }).await?;
        return Err(ApiError::Access(Refused::Revoked));
    }
    match joined? {
        PeerAdded { peer, answer: Some(answer) } => {
            let mut created = HttpResponse::Created();
            if let Some(session) = fragment::session_of(&answer) {
                created.insert_header((header::ETAG, fragment::tag(session)));
            }
            for link in ice::links(&ice.servers(Utc::now(), &peer.to_string())) {
                created.append_header((header::LINK, link));
            }
            Ok(created
                .content_type(SDP)
                .insert_header((header::LOCATION, here.path(&format!("/api/streamers/{}/whep/{peer}", id.0))))
                .insert_header((header::CACHE_CONTROL, "no-store"))
                .body(answer))
        }
        PeerAdded { answer: None, .. } => Err(AskError::Unexpected.into()),
    }
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
    must_be_theirs(&registry, &id, peer, &caller.right?).await?;
    registry.ask(&id.0, RemovePeer { peer: peer.0, reason: "left".into() }).await?;
    Ok(HttpResponse::Ok().finish())
}

/// Peers of other kinds count as not found.
async fn must_be_theirs(
    registry: &Handle,
    id: &Id,
    peer: extract::Peer,
    right: &Right,
) -> Result<(), ApiError> {
    let known = registry.peer(&id.0, peer.0).await?;
    let theirs = |known: &Peer| {
        known.kind == PeerKind::Whep && (*right == Right::Admin || known.token_id == right.token())
    };
    if known.as_ref().map_or(*right != Right::Admin, |known| !theirs(known)) {
        let message = "there is no such peer of yours that came by WHEP";
        let error = RequestError::new(Code::PeerNotFound, message);
        return Err(AskError::Refused(error).into());
    }
    Ok(())
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
    must_be_theirs(&registry, &id, peer, &caller.right?).await?;
    if !has_media_type(&request, FRAGMENT) {
        return Err(ApiError::MediaType { expected: FRAGMENT });
    }
    let mut if_match = request.headers().get_all(header::IF_MATCH).peekable();
    if if_match.peek().is_none() {
        return Err(ApiError::PreconditionRequired);
    }
    let if_match: Vec<_> = if_match.filter_map(|value| value.to_str().ok()).collect();
    let text = extract::read(payload, MAX_FRAGMENT).await?;
    let text =
        std::str::from_utf8(&text).map_err(|_| ApiError::Unreadable("a fragment is UTF-8 text".into()))?;
    let mut patch = fragment::parse(text).map_err(|error| ApiError::Unreadable(error.to_string()))?;
    patch.sessions = fragment::sessions_in(&if_match.join(","));
    let request = PatchPeer { peer: peer.0, patch: Json(patch) };
    match registry.ask(&id.0, request).await.map(|patched| patched.answer) {
        Ok(None) => Ok(HttpResponse::NoContent().finish()),
        Ok(Some(answer)) => {
            let session = fragment::session_of(&answer).ok_or(AskError::Unexpected)?;
            Ok(HttpResponse::Ok()
                .content_type(FRAGMENT)
                .insert_header((header::ETAG, fragment::tag(session)))
                .insert_header((header::CACHE_CONTROL, "no-store"))
                .body(fragment::of_answer(&answer)))
        }
        Err(OperationError::Ask(AskError::Refused(error))) if error.code == Code::IceSessionMismatch => {
            Err(ApiError::PreconditionFailed)
        }
        Err(error) => Err(error.into()),
    }
}

/// Which methods and types the endpoint accepts.
pub async fn options() -> HttpResponse {
    HttpResponse::NoContent()
        .insert_header((header::ALLOW, ALLOW))
        .insert_header(("Accept-Post", SDP))
        .finish()
}

/// Which methods one viewer's resource accepts.
pub async fn options_of_one() -> HttpResponse {
    HttpResponse::NoContent()
        .insert_header((header::ALLOW, ALLOW_OF_ONE))
        .insert_header(("Accept-Patch", FRAGMENT))
        .finish()
}

/// False when the request has an `Accept` that does not include SDP.
fn accepts(request: &HttpRequest) -> bool {
    let mut accepted = request.headers().get_all(header::ACCEPT).peekable();
    if accepted.peek().is_none() {
        return true;
    }
    accepted.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(|range| {
        let essence = range.split(';').next().unwrap_or_default().trim();
        ["*/*", "application/*", SDP].iter().any(|ours| essence.eq_ignore_ascii_case(ours))
    })
}
