//! Peers that offer by HTTP: what WHEP and WHIP (RFC 9725 §4) share. The response to an offer is the answer, with every
//! candidate in it. Trickled candidates and ICE restarts are sent by `PATCH` (RFC 9725 §4.3). The entity tag is our user name
//! fragment: so the streamer knows it, and it survives the web-server.

mod fragment;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::Utc;
use common::api::{Peer, PeerKind};
use common::id::StreamerId;
use common::ipc::request::{PatchPeer, PeerAdded, RemovePeer};
use common::ipc::{Code, Join, Json, RequestError};

use crate::auth::{Auth, Refused, Right};
use crate::http::extract::{self, has_media_type};
use crate::http::problem::ApiError;
use crate::http::site::Site;
use crate::ice;
use crate::metrics::Metrics;
use crate::registry::{Handle, OperationError};
use crate::supervisor::ask::AskError;

const SDP: &str = "application/sdp";
/// Media type of trickled candidates (RFC 8840 §9).
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
/// Methods of the endpoint.
const ALLOW: &str = "POST, OPTIONS";
/// Methods of one peer.
const ALLOW_OF_ONE: &str = "DELETE, PATCH, OPTIONS";
/// Longest fragment, in bytes: as many candidates as it may have.
const MAX_FRAGMENT: usize = 32 * 1024;
/// Longest offer, in bytes: a browser's with every codec and 16 sections has about 60 KB.
const MAX_OFFER: usize = 256 * 1024;

/// By which of the two a peer comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// It plays.
    Whep,
    /// It publishes.
    Whip,
}

impl Protocol {
    fn kind(self) -> PeerKind {
        match self {
            Protocol::Whep => PeerKind::Whep,
            Protocol::Whip => PeerKind::Whip,
        }
    }

    /// As paths have it.
    fn path(self) -> &'static str {
        match self {
            Protocol::Whep => "whep",
            Protocol::Whip => "whip",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Protocol::Whep => "WHEP",
            Protocol::Whip => "WHIP",
        }
    }
}

/// The offer in a request that also accepts an answer.
///
/// # Errors
/// It is none, or too long, or the response would not be accepted.
pub async fn read(request: &HttpRequest, payload: web::Payload) -> Result<String, ApiError> {
    if !has_media_type(request, SDP) {
        return Err(ApiError::MediaType { expected: SDP });
    }
    if !accepts(request) {
        return Err(ApiError::NotAcceptable { offered: SDP });
    }
    let offer = extract::read(payload, MAX_OFFER).await?;
    let offer = std::str::from_utf8(&offer);
    offer.map(str::to_owned).map_err(|_| ApiError::Unreadable("an offer is UTF-8 text".into()))
}

/// What joining and its response need of the server.
pub struct Parts<'a> {
    /// For `Location`.
    pub here: &'a Site,
    /// Knows the streamer.
    pub registry: &'a Handle,
    /// Counts joins.
    pub metrics: &'a Metrics,
    /// For `Link`.
    pub ice: &'a ice::Config,
    /// Knows whether a token has been revoked meanwhile.
    pub auth: &'a Auth,
}

/// Joins, and responds with the answer.
///
/// # Errors
/// The streamer refuses the peer, or its token was revoked meanwhile.
#[expect(clippy::disallowed_methods, reason = "a request is taken at the time at which it comes")]
pub async fn join(
    protocol: Protocol,
    id: &StreamerId,
    right: &Right,
    join: Join,
    parts: Parts<'_>,
) -> Result<HttpResponse, ApiError> {
    let Parts { here, registry, metrics, ice, auth } = parts;
    tracing::info!(%id, by = right.name(), "joining by {}", protocol.name());
    let joined = registry.add_peer(id, join).await;
    if !matches!(joined, Err(OperationError::Denied(_))) {
        metrics.join(protocol.kind(), joined.is_ok());
    }
    if let (true, Ok(PeerAdded { peer, .. })) = (auth.is_revoked(right.token()), &joined) {
        // Revoked while the peer joined: the revocation could not remove it yet.
        registry.ask(id, RemovePeer { peer: *peer, reason: "the token was revoked".into() }).await?;
        return Err(ApiError::Access(Refused::Revoked));
    }
    let PeerAdded { peer, answer } = joined?;
    let answer = answer.ok_or(AskError::Unexpected)?;
    let mut created = HttpResponse::Created();
    if let Some(session) = fragment::session_of(&answer) {
        created.insert_header((header::ETAG, fragment::tag(session)));
    }
    for link in ice::links(&ice.servers(Utc::now(), &peer.to_string())) {
        created.append_header((header::LINK, link));
    }
    let path = here.path(&format!("/api/streamers/{id}/{}/{peer}", protocol.path()));
    created.insert_header((header::LOCATION, path)).insert_header((header::CACHE_CONTROL, "no-store"));
    Ok(created.content_type(SDP).body(answer))
}

/// Ends a peer that came so.
///
/// # Errors
/// There is none of that id that is the caller's.
pub async fn leave(
    protocol: Protocol,
    id: &StreamerId,
    peer: extract::Peer,
    right: &Right,
    registry: &Handle,
) -> Result<HttpResponse, ApiError> {
    must_be_theirs(protocol, registry, id, peer, right).await?;
    registry.ask(id, RemovePeer { peer: peer.0, reason: "left".into() }).await?;
    Ok(HttpResponse::Ok().finish())
}

/// Peers of others, and those that joined by another protocol, count as not found.
async fn must_be_theirs(
    protocol: Protocol,
    registry: &Handle,
    id: &StreamerId,
    peer: extract::Peer,
    right: &Right,
) -> Result<(), ApiError> {
    let known = registry.peer(id, peer.0).await?;
    let theirs = |known: &Peer| {
        known.kind == protocol.kind() && (*right == Right::Admin || known.token_id == right.token())
    };
    if known.as_ref().map_or(*right != Right::Admin, |known| !theirs(known)) {
        let message = format!("there is no such peer of yours that came by {}", protocol.name());
        let error = RequestError::new(Code::PeerNotFound, message);
        return Err(AskError::Refused(error).into());
    }
    Ok(())
}

/// Takes candidates that were found later, or restarts ICE.
///
/// # Errors
/// The request is not as RFC 9725 §4.3 has it, or there is no such peer of the caller's.
pub async fn patch(
    protocol: Protocol,
    request: &HttpRequest,
    id: &StreamerId,
    peer: extract::Peer,
    payload: web::Payload,
    right: &Right,
    registry: &Handle,
) -> Result<HttpResponse, ApiError> {
    must_be_theirs(protocol, registry, id, peer, right).await?;
    if !has_media_type(request, FRAGMENT) {
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
    match registry.ask(id, request).await.map(|patched| patched.answer) {
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

/// What may be sent to the endpoint.
pub async fn options() -> HttpResponse {
    HttpResponse::NoContent()
        .insert_header((header::ALLOW, ALLOW))
        .insert_header(("Accept-Post", SDP))
        .finish()
}

/// What may be done with one peer.
pub async fn options_of_one() -> HttpResponse {
    HttpResponse::NoContent()
        .insert_header((header::ALLOW, ALLOW_OF_ONE))
        .insert_header(("Accept-Patch", FRAGMENT))
        .finish()
}

/// True unless the request names what it takes, and SDP is not among it.
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
