//! `/api/streamers/{id}/tokens`: short-lived tokens for one streamer and role.

#![expect(clippy::disallowed_methods, reason = "a request is taken at the time at which it comes")]

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use chrono::Utc;
use common::access::Need;
use common::api::{CreateToken, TOKEN_LIFE_S, Token};
use common::audit::AuditAction;
use common::ipc::Code;
use common::ipc::request::RemovePeer;
use common::person::{check_display_name, check_user_id, describe_rights};
use common::spec::validate_peer_bitrate;

use crate::auth::Auth;
use crate::cluster::Membership;
use crate::http::extract::{Body, Id, Json, TokenId};
use crate::http::problem::ApiError;
use crate::http::site::Caller;
use crate::registry::request::Denied;
use crate::registry::{Handle, OperationError};
use crate::supervisor::ask::AskError;

impl Json for CreateToken {}

/// Make a token.
///
/// It permits watching, or watching and steering, this streamer until it expires or is revoked; and what `rights` names among
/// its peers.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    post, path = "/api/streamers/{id}/tokens", tag = "access", operation_id = "create_token",
    params(("id" = String, Path, description = "Name of the streamer")),
    request_body = CreateToken,
    responses((status = 201, description = "Made; this is the only time that it is shown", body = Token)),
)]
pub async fn create(
    id: Id,
    body: Body<CreateToken>,
    caller: Caller,
    auth: web::Data<Auth>,
    registry: web::Data<Handle>,
) -> Result<HttpResponse, ApiError> {
    let wish = body.0;
    if !TOKEN_LIFE_S.contains(&wish.expires_in_s) {
        let (min, max) = TOKEN_LIFE_S.into_inner();
        let message = format!("must be from {min} to {max}, not {}", wish.expires_in_s);
        return Err(ApiError::field("expires_in_s", message));
    }
    if let Some(name) = &wish.display_name {
        check_display_name(name).map_err(|error| ApiError::field("display_name", error.to_string()))?;
    }
    validate_peer_bitrate(wish.max_bitrate_kbps)?;
    if let Some(user_id) = &wish.user_id {
        check_user_id(user_id).map_err(|error| ApiError::field("user_id", error.to_string()))?;
    }
    registry.get(&id.0).await?;
    let whose = describe(&wish);
    let token: Token = auth.issue(&id.0, wish, Utc::now());
    let detail = format!("token {} for {whose}", token.token_id);
    registry.audit(&id.0, AuditAction::TokenIssued, &caller.right?.name(), Some(detail));
    Ok(HttpResponse::Created().insert_header((header::CACHE_CONTROL, "no-store")).json(token))
}

/// For whom a token is, and what it permits, for the audit trail.
pub(super) fn describe(wish: &CreateToken) -> String {
    let mut text = format!("a {}", Need::from(wish.role));
    if !wish.rights.is_empty() {
        text += &format!(" with {}", describe_rights(&wish.rights));
    }
    if let Some(kbps) = wish.max_bitrate_kbps {
        text += &format!(", at most {kbps} kbit/s");
    }
    if let Some(user_id) = &wish.user_id {
        text += &format!(", user {user_id:?}");
    }
    text
}

/// Revoke a token.
///
/// Peers that joined with it are removed. Revoking a token that does not exist or has expired is harmless.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    delete, path = "/api/streamers/{id}/tokens/{token_id}", tag = "access", operation_id = "revoke_token",
    params(
        ("id" = String, Path, description = "Name of the streamer"),
        ("token_id" = String, Path, description = "Which token: its `token_id`"),
    ),
    responses((status = 204, description = "It is good for nothing any more")),
)]
pub async fn revoke(
    id: Id,
    token: TokenId,
    caller: Caller,
    auth: web::Data<Auth>,
    registry: web::Data<Handle>,
    cluster: Membership,
) -> Result<HttpResponse, ApiError> {
    let auth = auth.into_inner();
    let revoked = web::block(move || auth.revoke(token.0, Utc::now())).await;
    revoked.map_err(|error| ApiError::Unreadable(error.to_string()))??;
    if let Some(cluster) = cluster {
        cluster.revoke(token.0).await;
    }
    let detail = Some(format!("token {}", token.0));
    registry.audit(&id.0, AuditAction::TokenRevoked, &caller.right?.name(), detail);
    let streamer = match registry.get(&id.0).await {
        Err(Denied::NotFound(_)) => return Ok(HttpResponse::NoContent().finish()),
        streamer => streamer?,
    };
    for peer in streamer.peers.iter().filter(|peer| peer.token_id == Some(token.0)) {
        let request = RemovePeer { peer: peer.id, reason: "the token was revoked".into() };
        match registry.ask(&id.0, request).await {
            // It has left meanwhile.
            Err(OperationError::Ask(AskError::Refused(error))) if error.code == Code::PeerNotFound => {}
            removed => removed?,
        }
    }
    Ok(HttpResponse::NoContent().finish())
}
