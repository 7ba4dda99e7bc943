//! WHEP (draft-ietf-wish-whep): a standard player sends its offer and gets the answer, with every candidate
//! in it. It watches slot 0 with its sound.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::Utc;
use common::api::{Peer, PeerKind};
use common::ipc::{Join, Reply, RequestError};

use crate::api::extract::{self, Id, has_media_type};
use crate::api::problem::ApiError;
use crate::api::site::{self, Caller, Site};
use crate::auth::{Auth, Refused, Right};
use crate::ice;
use crate::metrics::Metrics;
use crate::registry::Handle;
use crate::supervisor::ask::{Ask, AskError};

const SDP: &str = "application/sdp";
/// Methods of the endpoint.
const ALLOW: &str = "POST, OPTIONS";
/// Methods of one viewer.
const ALLOW_OF_ONE: &str = "DELETE, OPTIONS";
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
        headers(("Location" = String, description = "Path of this viewer, to DELETE it"),
                ("Link" = String, description = "STUN and TURN servers, `rel=\"ice-server\"`")))),
)]
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
    let streamer = registry.reach(&id.0).await?;
    let joined = streamer.ask(Ask::AddPeer(join)).await;
    metrics.join(PeerKind::Whep, joined.is_ok());
    if let (true, Ok(Reply::PeerAdded { peer, .. })) = (auth.is_revoked(right.token()), &joined) {
        // While it joined: whoever revoked it has not seen it yet.
        streamer.ask(Ask::RemovePeer { peer: *peer, reason: "the token was revoked".into() }).await?;
        return Err(ApiError::Access(Refused::Revoked));
    }
    match joined? {
        Reply::PeerAdded { peer, answer: Some(answer) } => {
            let mut created = HttpResponse::Created();
            for link in ice::links(&ice.servers(Utc::now(), &peer.to_string())) {
                created.append_header((header::LINK, link));
            }
            Ok(created
                .content_type(SDP)
                .insert_header((header::LOCATION, here.path(&format!("/api/streamers/{}/whep/{peer}", id.0))))
                .insert_header((header::CACHE_CONTROL, "no-store"))
                .body(answer))
        }
        _ => Err(AskError::Unexpected.into()),
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
    let right = caller.right?;
    let known = registry.peer(&id.0, peer.0).await?;
    // Others' are as good as not there.
    let ours = |known: &Peer| {
        known.kind == PeerKind::Whep && (right == Right::Admin || known.token_id == right.token())
    };
    if known.as_ref().map_or(right != Right::Admin, |known| !ours(known)) {
        let kind = common::ipc::ErrorKind::NotFound;
        let error =
            RequestError::new(kind, "peer_not_found", "there is no such peer of yours that came by WHEP");
        return Err(AskError::Refused(error).into());
    }
    let ask = Ask::RemovePeer { peer: peer.0, reason: "left".into() };
    match registry.reach(&id.0).await?.ask(ask).await? {
        Reply::Done => Ok(HttpResponse::Ok().finish()),
        _ => Err(AskError::Unexpected.into()),
    }
}

/// What may be sent here.
pub async fn options() -> HttpResponse {
    HttpResponse::NoContent()
        .insert_header((header::ALLOW, ALLOW))
        .insert_header(("Accept-Post", SDP))
        .finish()
}

/// What may be done with one viewer.
pub async fn options_of_one() -> HttpResponse {
    HttpResponse::NoContent().insert_header((header::ALLOW, ALLOW_OF_ONE)).finish()
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
