//! `/api/nodes`: the machines of the cluster.

use actix_web::{HttpResponse, web};
use common::cluster::{Node, NodeList};
use common::id::StreamerId;
use common::lifetime::StreamerPatch;
use common::spec::StreamerSpec;

use crate::cluster::{Claim, Cluster, Error};
use crate::http::problem::ApiError;
use crate::registry::request::Denied;
use crate::registry::{Created, Handle};

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
    set_draining(&name, &*member(cluster)?, true).await
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
    set_draining(&name, &*member(cluster)?, false).await
}

/// The node of this name.
///
/// # Errors
/// There is none.
pub(super) fn find(cluster: &Cluster, name: &str) -> Result<Node, Error> {
    let found = cluster.nodes().into_iter().find(|node| node.name == name);
    found.ok_or_else(|| Error::NoNode(name.to_owned()))
}

async fn set_draining(name: &str, cluster: &Cluster, draining: bool) -> Result<HttpResponse, ApiError> {
    find(cluster, name)?;
    // The others' requests were forwarded to them before they came here.
    if name != cluster.name() {
        return Err(Error::NoNode(name.to_owned()).into());
    }
    cluster.set_draining(draining).await?;
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
    cluster.publish(&id, &created.streamer).await;
    created.streamer.node = Some(cluster.name().to_owned());
    Ok(created)
}
