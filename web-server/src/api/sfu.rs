//! `/api/v1/rooms`, `/api/v1/tokens` and `/ws`, as backends and pages of a small selective forwarding unit use them; only while
//! `compat.sfu` is on. [`crate::compat::sfu`] has their words.

#![expect(clippy::disallowed_methods, reason = "a request is taken at the time at which it comes")]

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use chrono::Utc;
use common::access::Need;
use common::audit::AuditAction;
use common::rooms::Room;
use serde_json::json;

use super::{Entry, entry, rooms, tokens, websocket};
use crate::auth::Auth;
use crate::cluster::Membership;
use crate::compat::sfu::rooms::{RoomReply, RoomRequest, TokenRequest, token};
use crate::hosts::Hosts;
use crate::http::extract::{Body, Id, Json};
use crate::http::problem::ApiError;
use crate::http::site::{Caller, Site};
use crate::registry::Handle;
use crate::signaling::sfu;

/// What is below `/api/v1` here is not a version of our own API.
pub(super) const VERSIONED: [&str; 2] = ["/tokens", "/rooms"];

/// The routes.
pub fn table() -> Vec<Entry> {
    vec![
        entry("POST", "/api/v1/tokens", Need::Admin, || web::route().to(create_token)),
        entry("GET", "/api/v1/rooms", Need::Admin, || web::route().to(list)),
        entry("POST", "/api/v1/rooms", Need::Admin, || web::route().to(create)),
        entry("GET", "/api/v1/rooms/{id}", Need::Viewer, || web::route().to(get)),
        entry("DELETE", "/api/v1/rooms/{id}", Need::Admin, || web::route().to(rooms::delete)),
        // Its query names the room and has the token, which the handler checks.
        websocket("/ws", Need::Nothing, || web::route().to(sfu::connect)),
    ]
}

impl Json for TokenRequest {}

impl Json for RoomRequest {}

async fn create_token(
    body: Body<TokenRequest>,
    caller: Caller,
    auth: web::Data<Auth>,
    registry: web::Data<Handle>,
    cluster: Membership,
) -> Result<HttpResponse, ApiError> {
    let (room, wish, claims) = body.0.into_parts()?;
    rooms::room(&registry, &cluster, &room).await?;
    let expires_in = wish.expires_in_s;
    let whose = tokens::describe(&wish);
    let issued = auth.issue_with(&room, wish, &claims, Utc::now());
    let detail = format!("token {} for {whose}", issued.token_id);
    registry.audit(&room, AuditAction::TokenIssued, &caller.right?.name(), Some(detail));
    let reply = token(&issued, &claims, expires_in);
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(reply))
}

async fn create(
    body: Body<RoomRequest>,
    caller: Caller,
    site: web::Data<Site>,
    registry: web::Data<Handle>,
    hosts: web::Data<Hosts>,
    cluster: Membership,
) -> Result<HttpResponse, ApiError> {
    let by = caller.right?.name();
    let (room, how) = rooms::make(body.0.into_room(), false, &by, &site, &registry, &hosts, &cluster).await?;
    Ok(rooms::admitted(how).json(RoomReply::from(room)))
}

async fn list(registry: web::Data<Handle>, cluster: Membership) -> Result<HttpResponse, ApiError> {
    let rooms = rooms::all(&registry, &cluster).await?;
    let rooms: Vec<_> = rooms.into_iter().map(RoomReply::from).collect();
    Ok(HttpResponse::Ok().json(json!({ "rooms": rooms })))
}

async fn get(id: Id, registry: web::Data<Handle>, cluster: Membership) -> Result<HttpResponse, ApiError> {
    let room: Room = rooms::room(&registry, &cluster, &id.0).await?;
    Ok(HttpResponse::Ok().json(RoomReply::from(room)))
}
