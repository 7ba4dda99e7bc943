//! Which node of the cluster serves a request: decided once, before the table of routes, from the path or, for what is created, the body.

#![expect(clippy::disallowed_methods, reason = "a request is forwarded at the time at which it comes")]

use actix_web::dev::{Payload, ServiceRequest};
use actix_web::http::{Method, header};
use actix_web::{FromRequest as _, HttpRequest, HttpResponse, web};
use chrono::Utc;
use common::cluster::Placement;
use common::id::StreamerId;
use common::rooms::CreateRoom;

use super::nodes::find;
use super::streamers::Create;
use crate::auth::Right;
use crate::cluster::forward::Forwarded;
use crate::cluster::pass::{self, Pass};
use crate::cluster::{Cluster, Coming, Error};
use crate::http::extract::{FromJson, MAX_BODY, read};
use crate::http::problem::ApiError;
use crate::http::site::{self, Caller, Site};
use crate::signaling::multi_webrtc::without_tab;

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
    // What was created there counts from its record on; until that is known here, it counts as coming.
    if let (Some(_), Ok(response)) = (&coming, &response)
        && let Some(id) = created_id(response)
    {
        cluster.locate(&id).await;
    }
    drop(coming);
    Ok((request, response))
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
        _ => of_path(cluster, request, path).await.map(Where::Node),
    };
    match decided {
        None => here(payload),
        Some(Where::Node(node)) => Ok(Decided { node: Some(node), payload, coming: None }),
        Some(Where::Place { id, placement }) => {
            placement.validate()?;
            if let Some(id) = &id {
                if let Some(node) = cluster.locate(id).await {
                    return Ok(Decided { node: Some(node), payload, coming: None });
                }
                if cluster.is_ours(id) {
                    return here(payload);
                }
            }
            let (node, coming) = cluster.place(&placement).await?;
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
async fn of_path(cluster: &Cluster, request: &HttpRequest, path: &str) -> Option<String> {
    if let Some(rest) = path.strip_prefix("/api/nodes/") {
        let (name, _) = rest.split_once('/')?;
        let known = name != cluster.name() && find(cluster, name).is_ok();
        return known.then(|| name.to_owned());
    }
    let prefixes = ["/api/streamers/", "/api/rooms/", "/api/api/streamers/"];
    let rest = prefixes.iter().find_map(|prefix| path.strip_prefix(prefix))?;
    let name = rest.split('/').next().unwrap_or_default();
    // Strangers must not keep NATS busy with ids that there are not.
    let stranger =
        matches!(site::caller(request), Ok(Caller { right: Ok(Right::Nobody) | Err(_), .. }) | Err(_));
    let node = match StreamerId::parse(name) {
        Ok(id) if !stranger => cluster.locate(&id).await,
        Ok(id) => cluster.elsewhere(&id),
        Err(_) => None,
    };
    node.or_else(|| cluster.elsewhere(&without_tab(name)?))
}
