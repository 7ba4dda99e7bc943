//! `/api/nodes`: the machines of the cluster; and which of them serves a request.

#![expect(clippy::disallowed_methods, reason = "a request is forwarded at the time at which it comes")]

use actix_web::dev::{Payload, ServiceRequest};
use actix_web::http::Method;
use actix_web::{FromRequest as _, HttpRequest, HttpResponse, web};
use chrono::Utc;
use common::cluster::{Node, NodeList, Placement};
use common::id::StreamerId;
use common::lifetime::StreamerPatch;
use common::rooms::CreateRoom;
use common::spec::StreamerSpec;

use super::streamers::Create;
use crate::auth::Right;
use crate::cluster::forward::Forwarded;
use crate::cluster::pass::{self, Pass};
use crate::cluster::{Claim, Cluster, Coming, Error};
use crate::http::extract::{FromJson, MAX_BODY, read};
use crate::http::problem::ApiError;
use crate::http::site::{self, Caller, Site};
use crate::registry::request::Denied;
use crate::registry::{Created, Handle};
use crate::signaling::multi_webrtc::without_tab;

/// The cluster that the server is in, if it is in one.
pub type Membership = Option<web::Data<Cluster>>;

fn member(cluster: Membership) -> Result<web::Data<Cluster>, ApiError> {
    cluster.ok_or_else(|| Error::NoCluster.into())
}

/// List all nodes of the cluster.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    get, path = "/api/nodes", tag = "cluster", operation_id = "list_nodes",
    responses(
        (status = 200, description = "All nodes, in order of names", body = NodeList),
        (status = 404, description = "The server is in no cluster"),
    ),
)]
pub async fn list(cluster: Membership) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(NodeList { nodes: member(cluster)?.nodes() }))
}

/// Get one node.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    get, path = "/api/nodes/{name}", tag = "cluster", operation_id = "get_node",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "Its state and its load", body = Node)),
)]
pub async fn get(name: web::Path<String>, cluster: Membership) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(find(&*member(cluster)?, &name)?))
}

/// Let a node take no new streamers.
///
/// Those that it has go on.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    post, path = "/api/nodes/{name}/drain", tag = "cluster", operation_id = "drain_node",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "As it is now", body = Node)),
)]
pub async fn drain(name: web::Path<String>, cluster: Membership) -> Result<HttpResponse, ApiError> {
    set_draining(&name, &*member(cluster)?, true)
}

/// Let a node take new streamers again.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    post, path = "/api/nodes/{name}/undrain", tag = "cluster", operation_id = "undrain_node",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "As it is now", body = Node)),
)]
pub async fn undrain(name: web::Path<String>, cluster: Membership) -> Result<HttpResponse, ApiError> {
    set_draining(&name, &*member(cluster)?, false)
}

fn find(cluster: &Cluster, name: &str) -> Result<Node, Error> {
    let found = cluster.nodes().into_iter().find(|node| node.name == name);
    found.ok_or_else(|| Error::NoNode(name.to_owned()))
}

fn set_draining(name: &str, cluster: &Cluster, draining: bool) -> Result<HttpResponse, ApiError> {
    find(cluster, name)?;
    // The others' requests were forwarded to them before they came here.
    if name != cluster.name() {
        return Err(Error::NoNode(name.to_owned()).into());
    }
    cluster.set_draining(draining)?;
    Ok(HttpResponse::Ok().json(find(cluster, name)?))
}

/// Creates a streamer here, with an id that no other node has.
///
/// # Errors
/// Another node has it, or the registry refuses.
pub(super) async fn create(
    cluster: &Membership,
    registry: &Handle,
    id: Option<StreamerId>,
    spec: StreamerSpec,
    lifetime: StreamerPatch,
    by: &str,
) -> Result<Created, ApiError> {
    let Some(cluster) = cluster else { return Ok(registry.create(id, spec, lifetime, by).await?) };
    let id = id.unwrap_or_else(StreamerId::unique);
    let claim: Claim = cluster.claim(&id).await?;
    let created = registry.create(Some(id.clone()), spec, lifetime, by).await;
    if claim.fresh && created.is_err() && matches!(registry.get(&id).await, Err(Denied::NotFound(_))) {
        cluster.release(&id).await;
    }
    let mut created = created?;
    created.streamer.node = Some(cluster.name().to_owned());
    Ok(created)
}

/// What decides where a request is served.
enum Where {
    /// At this node.
    Node(String),
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
    let (request, payload) = request.into_parts();
    let (node, payload, coming) = match decide(&cluster, &request, payload, &path).await {
        Ok(Decided { node: Some(node), payload, coming }) => (node, payload, coming),
        Ok(Decided { node: None, payload, .. }) => return Err(ServiceRequest::from_parts(request, payload)),
        Err(error) => return Ok((request, Err(error))),
    };
    let Ok(Caller { address, direct, .. }) = site::caller(&request) else {
        return Err(ServiceRequest::from_parts(request, payload));
    };
    let pass = Pass { from: cluster.name().to_owned(), address, direct };
    let now_ms = Utc::now().timestamp_millis();
    let base = &site.access.base_path;
    let forwarded = Forwarded { request: &request, payload, path: &path, base, pass, now_ms };
    let response = cluster.forward(&node, forwarded).await.map_err(ApiError::from);
    drop(coming);
    Ok((request, response))
}

struct Decided {
    /// `None`: this one.
    node: Option<String>,
    payload: Payload,
    coming: Option<Coming>,
}

async fn decide(
    cluster: &Cluster,
    request: &HttpRequest,
    mut payload: Payload,
    path: &str,
) -> Result<Decided, ApiError> {
    let here = |payload| Ok(Decided { node: None, payload, coming: None });
    let path = path.split('?').next().unwrap_or_default();
    let decided = match path {
        "/api/streamers" | "/api/rooms" if request.method() == Method::POST => {
            let admin = matches!(site::caller(request), Ok(Caller { right: Ok(Right::Admin), .. }));
            if !admin {
                return here(payload);
            }
            let body =
                read(web::Payload::from_request(request, &mut payload).await.map_err(unreadable)?, MAX_BODY)
                    .await?;
            payload = Payload::from(body.clone());
            wish(path, &body)
        }
        _ => of_path(cluster, path).map(Where::Node),
    };
    match decided {
        None => here(payload),
        Some(Where::Node(node)) => Ok(Decided { node: Some(node), payload, coming: None }),
        Some(Where::Place { id, placement }) => {
            placement.validate()?;
            if let Some(id) = &id {
                if let Some(node) = cluster.elsewhere(id) {
                    return Ok(Decided { node: Some(node), payload, coming: None });
                }
                if cluster.is_ours(id) {
                    return here(payload);
                }
            }
            let (node, coming) = cluster.place(&placement)?;
            let node = (node != cluster.name()).then_some(node);
            Ok(Decided { node, payload, coming: Some(coming) })
        }
    }
}

fn unreadable(error: actix_web::Error) -> ApiError {
    ApiError::Unreadable(error.to_string())
}

/// Which node a body wants; `None` for one that is malformed, which this node says.
fn wish(path: &str, body: &[u8]) -> Option<Where> {
    let wish = match path {
        "/api/rooms" => (CreateRoom::from_json(body).ok()?.id, None),
        _ => match Create::from_json(body).ok()? {
            Create::Ours(body) => (body.id, body.placement),
            Create::MultiWebrtc(body) => (Some(body.streamer_id), None),
        },
    };
    let (id, placement) = wish;
    Some(Where::Place { id, placement: placement.unwrap_or_default() })
}

/// The other node that has what the path names, if there is one.
fn of_path(cluster: &Cluster, path: &str) -> Option<String> {
    if let Some(rest) = path.strip_prefix("/api/nodes/") {
        let (name, _) = rest.split_once('/')?;
        let known = name != cluster.name() && find(cluster, name).is_ok();
        return known.then(|| name.to_owned());
    }
    let prefixes = ["/api/streamers/", "/api/rooms/", "/api/api/streamers/"];
    let rest = prefixes.iter().find_map(|prefix| path.strip_prefix(prefix))?;
    let name = rest.split('/').next().unwrap_or_default();
    let id = StreamerId::parse(name).ok().and_then(|id| cluster.elsewhere(&id));
    id.or_else(|| cluster.elsewhere(&without_tab(name)?))
}
