//! `/api/nodes`: the machines of the cluster.

use actix_web::{HttpResponse, web};
use common::api::Streamer;
use common::cluster::{Labels, Node, NodeList, Placement};
use common::id::StreamerId;
use common::lifetime::StreamerPatch;
use common::spec::StreamerSpec;

use crate::cluster::place::NoCapacity;
use crate::cluster::{Claim, Cluster, Error, Membership, Relocated};
use crate::http::extract::{Body, Id, Json};
use crate::http::problem::ApiError;
use crate::http::site::Caller;
use crate::registry::request::Denied;
use crate::registry::{Created, Handle};

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
    responses(
        (status = 200, description = "Its state and its load", body = Node),
        (status = 404, description = "There is no such node, or the server is in no cluster"),
    ),
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
    responses(
        (status = 200, description = "As it is now", body = Node),
        (status = 404, description = "There is no such node, or the server is in no cluster"),
        (status = 502, description = "It cannot be reached"),
        (status = 504, description = "It does not answer in time"),
    ),
)]
pub async fn drain(
    name: web::Path<String>,
    caller: Caller,
    cluster: Membership,
) -> Result<HttpResponse, ApiError> {
    set_draining(&name, &caller, &*member(cluster)?, true).await
}

/// Let a node take new streamers again.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    post, path = "/api/nodes/{name}/undrain", tag = "cluster", operation_id = "undrain_node",
    params(("name" = String, Path, description = "Its name")),
    responses(
        (status = 200, description = "As it is now", body = Node),
        (status = 404, description = "There is no such node, or the server is in no cluster"),
        (status = 502, description = "It cannot be reached"),
        (status = 504, description = "It does not answer in time"),
    ),
)]
pub async fn undrain(
    name: web::Path<String>,
    caller: Caller,
    cluster: Membership,
) -> Result<HttpResponse, ApiError> {
    set_draining(&name, &caller, &*member(cluster)?, false).await
}

/// The node of this name.
///
/// # Errors
/// There is none.
pub(super) fn find(cluster: &Cluster, name: &str) -> Result<Node, Error> {
    let found = cluster.nodes().into_iter().find(|node| node.name == name);
    found.ok_or_else(|| Error::NoNode(name.to_owned()))
}

async fn set_draining(
    name: &str,
    caller: &Caller,
    cluster: &Cluster,
    draining: bool,
) -> Result<HttpResponse, ApiError> {
    find(cluster, name)?;
    // The others' requests were forwarded to them before they came here.
    if name != cluster.name() {
        return Err(Error::NoNode(name.to_owned()).into());
    }
    cluster.set_draining(draining).await?;
    let node = find(cluster, name)?;
    // Another one is the one that was asked.
    let this = !caller.forwarded;
    Ok(HttpResponse::Ok().json(Node { this, ..node }))
}

/// Move a streamer to another node.
///
/// It is started there, with the spec, lifetime, and sources and slots of run time that it has, while its process here is ended: what that
/// process had in memory is lost, and its home stays where it is. Pages reconnect by themselves. Without `node` the one with the most room is
/// chosen of those that have the `labels`; without those, the labels that it was created with count. `labels` count from now on.
/// Works at every node, also for a streamer of a node that is lost.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    post, path = "/api/streamers/{id}/move", tag = "cluster", operation_id = "move_streamer",
    params(("id" = String, Path, description = "Its name")),
    request_body = Placement,
    responses(
        (status = 202, description = "It is being started at the node that `node` names", body = Streamer),
        (status = 200, description = "It is at that node already", body = Streamer),
        (status = 404, description = "There is no such streamer, or the server is in no cluster"),
        (status = 409, description = "It is being created, or others change it at the same time"),
        (status = 503, description = "No node can take it, or NATS cannot be reached"),
    ),
)]
pub async fn relocate(
    id: Id,
    body: Body<Placement>,
    caller: Caller,
    cluster: Membership,
) -> Result<HttpResponse, ApiError> {
    let cluster = member(cluster)?;
    let by = caller.right?.name();
    body.0.validate().map_err(|error| {
        let field = error.field.strip_prefix("placement.").unwrap_or(error.field).to_owned();
        ApiError::field(field, error.message)
    })?;
    Ok(match cluster.relocate(&id.0, &body.0, &by).await? {
        Relocated::Moves(streamer) => HttpResponse::Accepted().json(streamer),
        Relocated::IsThere(streamer) => HttpResponse::Ok().json(streamer),
    })
}

impl Json for Placement {}

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
    labels: Labels,
    by: &str,
) -> Result<Created, ApiError> {
    let Some(cluster) = cluster else { return Ok(registry.create(id, spec, lifetime, by).await?) };
    let id = id.unwrap_or_else(StreamerId::unique);
    let claim: Claim = cluster.claim(&id, labels).await?;
    let created = registry.create(Some(id.clone()), spec, lifetime, by).await;
    if claim.fresh && created.is_err() && matches!(registry.get(&id).await, Err(Denied::NotFound(_))) {
        cluster.release(&id).await;
    }
    let mut created = created.map_err(|denied| match denied {
        // Others have placed streamers here at the same time.
        Denied::TooMany { max } => {
            Error::NoCapacity(NoCapacity::Full { full: 1, max_streamers: max as u64, busy: 0 }).into()
        }
        denied => ApiError::from(denied),
    })?;
    cluster.publish(&id, registry).await;
    created.streamer.node = Some(cluster.name().to_owned());
    Ok(created)
}
