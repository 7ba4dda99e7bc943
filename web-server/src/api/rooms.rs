//! `/api/rooms`: streamers in which people meet, in fewer words. All else about a room is at `/api/streamers/{id}`.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use common::api::Streamer;
use common::id::StreamerId;
use common::rooms::{CreateRoom, Room, RoomList};
use serde_json::Value;

use super::nodes;
use super::streamers::{Wanted, check, locate_sources, of_all_nodes, waits};
use crate::cluster::Membership;
use crate::hosts::Hosts;
use crate::http::extract::{Body, Id, Json};
use crate::http::problem::ApiError;
use crate::http::site::{Caller, Site};
use crate::registry::Handle;
use crate::registry::request::{Admission, Denied};

impl Json for CreateRoom {
    fn locate(body: &Value) -> Option<(String, String)> {
        locate_sources(body)
    }
}

/// Create a room.
///
/// The short form of creating a streamer with `room`: 8 slots, and no source unless one is named. Repeating the same request is
/// harmless.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    post, path = "/api/rooms", tag = "rooms", operation_id = "create_room",
    params(("wait" = Option<String>, Query, description = "`running`: return when its source runs, if it has one")),
    request_body = CreateRoom,
    responses(
        (status = 201, description = "Created", body = Room,
         headers(("Location" = String, description = "Path of the room"))),
        (status = 200, description = "It is already there as it is asked for", body = Room),
        (status = 409, description = "The id is taken by something else, or the room is ending"),
    ),
)]
pub async fn create(
    request: HttpRequest,
    body: Body<CreateRoom>,
    caller: Caller,
    site: web::Data<Site>,
    registry: web::Data<Handle>,
    hosts: web::Data<Hosts>,
    cluster: Membership,
) -> Result<HttpResponse, ApiError> {
    let wait = waits(&request)?;
    let by = caller.right?.name();
    let (room, how) = make(body.0, wait, &by, &site, &registry, &hosts, &cluster).await?;
    let mut response = admitted(how);
    let location = site.path(&format!("/api/rooms/{}", room.id));
    Ok(response.insert_header((header::LOCATION, location)).json(room))
}

/// A response about a room that was made, or was there.
pub(super) fn admitted(how: Admission) -> HttpResponseBuilder {
    match how {
        Admission::Create => HttpResponse::Created(),
        Admission::Existing => HttpResponse::Ok(),
    }
}

/// Makes a room, and waits until its source runs if `wait`.
pub(super) async fn make(
    mut wish: CreateRoom,
    wait: bool,
    by: &str,
    site: &Site,
    registry: &Handle,
    hosts: &Hosts,
    cluster: &Membership,
) -> Result<(Room, Admission), ApiError> {
    let labels = wish.placement.take().unwrap_or_default().labels;
    let (id, spec, lifetime) = wish.into_parts();
    let spec = check(spec, lifetime, site, hosts).map_err(in_words_of_rooms)?;
    let mut created = nodes::create(cluster, registry, id, spec, lifetime, labels, by).await?;
    if wait {
        created.streamer = registry.wait_started(&created.streamer.id).await?;
    }
    let room = shown(&created.streamer, cluster);
    Ok((room.ok_or_else(|| ApiError::NoRoom(created.streamer.id.clone()))?, created.how))
}

/// A room as this node knows it: how many are in one at another node, only that one knows.
fn shown(streamer: &Streamer, cluster: &Membership) -> Option<Room> {
    let mut room = Room::of(streamer)?;
    if let Some(cluster) = cluster {
        let node = room.node.get_or_insert_with(|| cluster.name().to_owned());
        if node != cluster.name() {
            room.participants = None;
        }
    }
    Some(room)
}

/// The fields of a room stand at the top of the body, not in `room`.
fn in_words_of_rooms(error: ApiError) -> ApiError {
    match error {
        ApiError::Field { field, message } => match field.strip_prefix("room.") {
            Some(own) => ApiError::field(own, message),
            None => ApiError::Field { field, message },
        },
        other => other,
    }
}

/// List all rooms.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    get, path = "/api/rooms", tag = "rooms", operation_id = "list_rooms",
    responses((status = 200, description = "All rooms, in order of ids", body = RoomList)),
)]
pub async fn list(registry: web::Data<Handle>, cluster: Membership) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(RoomList { rooms: all(&registry, &cluster).await? }))
}

/// All rooms, of all nodes.
pub(super) async fn all(registry: &Handle, cluster: &Membership) -> Result<Vec<Room>, ApiError> {
    let streamers = of_all_nodes(registry, cluster, &Wanted::default()).await?;
    Ok(streamers.iter().filter_map(|streamer| shown(streamer, cluster)).collect())
}

/// Get one room.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    get, path = "/api/rooms/{id}", tag = "rooms", operation_id = "get_room",
    params(("id" = String, Path, description = "Its id")),
    responses((status = 200, description = "Its name, and how many are there", body = Room)),
)]
pub async fn get(id: Id, registry: web::Data<Handle>, cluster: Membership) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(room(&registry, &cluster, &id.0).await?))
}

/// End a room and everything it started.
///
/// Returns when nothing of it is left.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    delete, path = "/api/rooms/{id}", tag = "rooms", operation_id = "delete_room",
    params(("id" = String, Path, description = "Its id")),
    responses((status = 204, description = "Gone")),
)]
pub async fn delete(
    id: Id,
    caller: Caller,
    registry: web::Data<Handle>,
    cluster: Membership,
) -> Result<HttpResponse, ApiError> {
    room(&registry, &cluster, &id.0).await?;
    registry.delete(&id.0, &caller.right?.name()).await?;
    if let Some(cluster) = cluster {
        cluster.release(&id.0).await;
    }
    Ok(HttpResponse::NoContent().finish())
}

/// The room of this id; a streamer that is none is as good as not there.
pub(super) async fn room(registry: &Handle, cluster: &Membership, id: &StreamerId) -> Result<Room, ApiError> {
    let streamer = match registry.get(id).await {
        Err(Denied::NotFound(_)) => return Err(ApiError::NoRoom(id.clone())),
        streamer => streamer?,
    };
    shown(&streamer, cluster).ok_or_else(|| ApiError::NoRoom(id.clone()))
}
