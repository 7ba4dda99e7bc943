//! Which node of the cluster serves a request: decided once, before the table of routes, from the path or, for what is created, the body.

#![expect(clippy::disallowed_methods, reason = "a request is forwarded at the time at which it comes")]

use std::collections::BTreeSet;

use actix_web::body::{BoxBody, to_bytes_limited};
use actix_web::dev::{Payload, ServiceRequest};
use actix_web::http::{Method, StatusCode, header};
use actix_web::{FromRequest as _, HttpRequest, HttpResponse, web};
use bytes::Bytes;
use chrono::Utc;
use common::api::Problem;
use common::cluster::Placement;
use common::id::StreamerId;
use common::rooms::CreateRoom;

use super::nodes::find;
use super::streamers::Create;
use crate::auth::Right;
use crate::cluster::forward::Forwarded;
use crate::cluster::pass::{self, Pass};
use crate::cluster::{Cluster, Coming, Error};
use crate::compat::sfu::rooms::{RoomRequest, TokenRequest};
use crate::http::extract::{FromJson, MAX_BODY, read};
use crate::http::problem::ApiError;
use crate::http::site::{self, Caller, Site};
use crate::signaling::multi_webrtc::without_tab;
use crate::signaling::{multistream, sfu};

/// What decides where a request is served.
enum Where {
    /// At this node.
    Node(String),
    /// Where this streamer is.
    Streamer(StreamerId),
    /// At the node with the most room, unless one has the id.
    Place { id: Option<StreamerId>, placement: Placement },
}

/// The pass that a request brings, if it was forwarded by a node of our cluster.
///
/// # Errors
/// It brings one that is not good.
pub(super) fn pass(request: &ServiceRequest, site: &Site) -> Result<Option<Pass>, ApiError> {
    let Some(cluster) = request.app_data::<web::Data<Cluster>>() else { return Ok(None) };
    let Some(header) = request.headers().get(pass::HEADER) else { return Ok(None) };
    let header = header.to_str().map_err(|_| Error::Pass(pass::Invalid::Malformed))?;
    let path = path_of(request.request(), site);
    let now_ms = Utc::now().timestamp_millis();
    Ok(Some(cluster.admit(request.method().as_str(), &path, header, now_ms)?))
}

fn path_of(request: &HttpRequest, site: &Site) -> String {
    let whole = request.uri().path_and_query().map_or("/", |path| path.as_str());
    site.without_base(whole).to_owned()
}

/// Serves a request at the node that it is for: `Err` gives it back when that is this one.
///
/// # Errors
/// In the response: no node can serve it.
pub(super) async fn elsewhere(
    request: ServiceRequest,
    site: &Site,
) -> Result<(HttpRequest, Result<HttpResponse, ApiError>), ServiceRequest> {
    let Some(cluster) = request.app_data::<web::Data<Cluster>>().cloned() else { return Err(request) };
    let path = path_of(request.request(), site);
    let (request, mut payload) = request.into_parts();
    let mut full = BTreeSet::new();
    loop {
        let Decided { node, payload: decided, placed } =
            match decide(&cluster, &request, payload, &path, &full).await {
                Ok(decided) => decided,
                Err(error) => return Ok((request, Err(error))),
            };
        let Some(node) = node else { return Err(ServiceRequest::from_parts(request, decided)) };
        let Ok(Caller { address, direct, .. }) = site::caller(&request) else {
            return Err(ServiceRequest::from_parts(request, decided));
        };
        let pass = Pass { from: cluster.name().to_owned(), address, direct };
        let now_ms = Utc::now().timestamp_millis();
        let base = &site.access.base_path;
        let forwarded = Forwarded { request: &request, payload: decided, path: &path, base, pass, now_ms };
        let response = cluster.forward(&node, forwarded).await.map_err(ApiError::from);
        let Some(Placed { body, coming, wants_node }) = placed else { return Ok((request, response)) };
        let response = match response {
            // Others have placed streamers there at the same time: the next one.
            Ok(response) if response.status() == StatusCode::SERVICE_UNAVAILABLE => {
                match is_full(response).await {
                    (true, _) if !wants_node => {
                        full.insert(node);
                        payload = Payload::from(body);
                        continue;
                    }
                    (_, response) => Ok(response),
                }
            }
            response => response,
        };
        // What was created there counts from its record on; until that is known here, it counts as coming.
        if let Ok(response) = &response
            && let Some(id) = created_id(response)
        {
            cluster.locate(&id).await;
        }
        drop(coming);
        return Ok((request, response));
    }
}

/// Whether a node refuses a streamer as it has no room; and its response again.
async fn is_full(response: HttpResponse) -> (bool, HttpResponse) {
    let (head, body) = response.into_parts();
    let read = to_bytes_limited(body, MAX_BODY).await;
    let body = read.ok().and_then(Result::ok).unwrap_or_default();
    let full = serde_json::from_slice::<Problem>(&body).is_ok_and(|problem| problem.code == "no_capacity");
    (full, head.set_body(BoxBody::new(body)))
}

/// Before a request of another node is served here: what was given to this node is started first.
///
/// # Errors
/// Another node has it by now. The request is not forwarded again, so none goes in circles.
pub(super) async fn arrived(request: &ServiceRequest, site: &Site) -> Result<(), ApiError> {
    let Some(cluster) = request.app_data::<web::Data<Cluster>>() else { return Ok(()) };
    let path = path_of(request.request(), site);
    let path = path.split('?').next().unwrap_or_default();
    let Some(id) = named(path).and_then(|name| StreamerId::parse(name).ok()) else { return Ok(()) };
    cluster.settled(&id).await;
    match cluster.elsewhere(&id) {
        Some(node) => Err(Error::Moved { id, node }.into()),
        None => Ok(()),
    }
}

/// The streamer, room or page of a streamer that a path names.
fn named(path: &str) -> Option<&str> {
    let prefixes = ["/api/streamers/", "/api/rooms/", "/api/api/streamers/", "/api/v1/rooms/"];
    let rest = prefixes.iter().find_map(|prefix| path.strip_prefix(prefix))?;
    rest.split('/').next()
}

/// The id of what a response says was created.
fn created_id(response: &HttpResponse) -> Option<StreamerId> {
    let location = response.headers().get(header::LOCATION)?.to_str().ok()?;
    StreamerId::parse(location.rsplit('/').next()?).ok()
}

struct Decided {
    /// `None`: this one.
    node: Option<String>,
    payload: Payload,
    placed: Option<Placed>,
}

/// It was placed, rather than found.
struct Placed {
    /// To send it to another node, if the first has no room.
    body: Bytes,
    coming: Coming,
    /// No other node will do.
    wants_node: bool,
}

async fn decide(
    cluster: &Cluster,
    request: &HttpRequest,
    mut payload: Payload,
    path: &str,
    full: &BTreeSet<String>,
) -> Result<Decided, ApiError> {
    let here = |payload| Ok(Decided { node: None, payload, placed: None });
    let path = path.split('?').next().unwrap_or_default();
    let mut sent = Bytes::new();
    let decided = match path {
        "/api/streamers" | "/api/rooms" | "/api/v1/rooms" | "/api/v1/tokens"
            if request.method() == Method::POST =>
        {
            let admin = matches!(site::caller(request), Ok(Caller { right: Ok(Right::Admin), .. }));
            if !admin {
                return here(payload);
            }
            let body =
                read(web::Payload::from_request(request, &mut payload).await.map_err(unreadable)?, MAX_BODY)
                    .await?;
            payload = Payload::from(body.clone());
            sent = body.clone();
            wish(path, &body)
        }
        _ => of_path(cluster, request, path).await.map(Where::Node),
    };
    match decided {
        None => here(payload),
        Some(Where::Node(node)) => Ok(Decided { node: Some(node), payload, placed: None }),
        Some(Where::Streamer(id)) => Ok(Decided { node: located(cluster, &id).await, payload, placed: None }),
        Some(Where::Place { id, placement }) => {
            placement.validate()?;
            if let Some(id) = &id {
                if let Some(node) = cluster.locate(id).await {
                    return Ok(Decided { node: Some(node), payload, placed: None });
                }
                if cluster.is_ours(id) {
                    cluster.settled(id).await;
                    return here(payload);
                }
            }
            let (node, coming) = cluster.place(&placement, full).await?;
            let node = (node != cluster.name()).then_some(node);
            let wants_node = placement.node.is_some();
            Ok(Decided { node, payload, placed: Some(Placed { body: sent, coming, wants_node }) })
        }
    }
}

fn unreadable(error: actix_web::Error) -> ApiError {
    ApiError::Unreadable(error.to_string())
}

/// Which node a body wants; `None` for one that is malformed, which this node says.
fn wish(path: &str, body: &[u8]) -> Option<Where> {
    let wish = match path {
        "/api/rooms" => {
            let body = CreateRoom::from_json(body).ok()?;
            (body.id, body.placement)
        }
        "/api/v1/rooms" => (RoomRequest::from_json(body).ok()?.into_room().id, None),
        "/api/v1/tokens" => return Some(Where::Streamer(TokenRequest::from_json(body).ok()?.room)),
        _ => match Create::from_json(body).ok()? {
            Create::Ours(body) => (body.id, body.placement),
            Create::MultiWebrtc(body) => (Some(body.streamer_id), None),
        },
    };
    let (id, placement) = wish;
    Some(Where::Place { id, placement: placement.unwrap_or_default() })
}

/// The other node that has a streamer, if there is one. One that was given to this node is started first.
async fn located(cluster: &Cluster, id: &StreamerId) -> Option<String> {
    let node = cluster.locate(id).await;
    if node.is_none() {
        cluster.settled(id).await;
    }
    node
}

/// The other node that has what the path names, if there is one.
async fn of_path(cluster: &Cluster, request: &HttpRequest, path: &str) -> Option<String> {
    if let Some(rest) = path.strip_prefix("/api/nodes/") {
        let (name, _) = rest.split_once('/')?;
        let known = name != cluster.name() && find(cluster, name).is_ok();
        return known.then(|| name.to_owned());
    }
    // Of the streamer of the configured streams, wherever that is.
    let multistream = request.app_data::<web::Data<multistream::Config>>();
    let room;
    let name = match multistream {
        Some(config) if matches!(path, "/api/ws" | "/api/streams") => config.streamer.as_str(),
        _ if path == "/ws" => {
            room = sfu::room_of(request.query_string())?;
            room.as_str()
        }
        _ => named(path)?,
    };
    // Strangers must not keep NATS busy with ids that there are not.
    let stranger =
        matches!(site::caller(request), Ok(Caller { right: Ok(Right::Nobody) | Err(_), .. }) | Err(_));
    let node = match StreamerId::parse(name) {
        Ok(id) if !stranger => {
            let node = located(cluster, &id).await;
            // By its record, which any node can change, show and remove.
            let by_record = matches!(*request.method(), Method::GET | Method::DELETE) && is_whole(path, name);
            if is_move(path) || (by_record && cluster.unserved(&id).is_some()) {
                return None;
            }
            node
        }
        Ok(id) => cluster.elsewhere(&id),
        Err(_) => None,
    };
    node.or_else(|| cluster.elsewhere(&without_tab(name)?))
}

/// `/api/streamers/{id}/move`.
fn is_move(path: &str) -> bool {
    path.starts_with("/api/streamers/") && path.ends_with("/move")
}

/// `/api/streamers/{id}`, and nothing of it.
fn is_whole(path: &str, name: &str) -> bool {
    path.strip_prefix("/api/streamers/") == Some(name)
}
