//! For operators and monitoring: `/healthz`, `/readyz`, `/metrics`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use actix_web::{HttpResponse, web};
use rustix::fs::{Access, access, statvfs};

use crate::cluster::Membership;
use crate::http::problem::ApiError;
use crate::metrics::{self, Metrics, View};
use crate::registry::Handle;
use crate::registry::store::Health;

/// The registry replies within microseconds, unless it is stuck.
const PATIENCE: Duration = Duration::from_secs(2);
/// With less than this left in the state directory, streamers cannot be started: bytes.
const LEAST_SPACE: u64 = 16 * 1024 * 1024;

/// What health and readiness depend on.
#[derive(Debug, Clone)]
pub struct Config {
    /// The state directory.
    pub state_dir: PathBuf,
    /// The streamer program.
    pub streamer_bin: PathBuf,
    /// Whether `/metrics` shows each peer.
    pub per_peer: bool,
}

/// Check that the server is alive.
///
/// # Errors
/// The registry does not reply.
#[utoipa::path(
    get, path = "/healthz", tag = "operation", operation_id = "get_health",
    responses((status = 200, description = "It is", body = String, content_type = "text/plain")),
)]
pub async fn healthz(registry: web::Data<Handle>) -> Result<HttpResponse, ApiError> {
    registry.ping().await?;
    Ok(HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ok\n"))
}

/// Check that the server can take on work, and why not.
///
/// # Errors
/// It cannot take on work.
#[utoipa::path(
    get, path = "/readyz", tag = "operation", operation_id = "get_readiness",
    responses((status = 200, description = "It can", body = String, content_type = "text/plain"),
              (status = 503, description = "It cannot; `detail` says why", body = common::api::Problem,
               content_type = "application/problem+json")),
)]
pub async fn readyz(
    registry: web::Data<Handle>,
    config: web::Data<Config>,
) -> Result<HttpResponse, ApiError> {
    let mut reasons = Vec::new();
    match tokio::time::timeout(PATIENCE, registry.ping()).await {
        Ok(Ok(true)) => {}
        Ok(Ok(false) | Err(_)) => reasons.push("the server is shutting down".to_owned()),
        Err(_) => reasons.push("the registry does not answer".to_owned()),
    }
    // A disk that is full is not the end: it is told as long as it is so, and what runs goes on.
    if let Health::Degraded { reason, .. } = &*registry.store_health().borrow() {
        reasons.push(format!("what streamers there are cannot be noted in the state directory: {reason}"));
    }
    let asked = config.into_inner();
    let disk = web::block(move || disk_reasons(&asked.state_dir, &asked.streamer_bin)).await;
    reasons.extend(disk.unwrap_or_else(|error| vec![error.to_string()]));
    if reasons.is_empty() {
        return Ok(HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ready\n"));
    }
    Err(ApiError::NotReady(reasons.join("; ")))
}

/// Reasons why no streamer could be started, as far as files tell.
fn disk_reasons(state_dir: &Path, streamer_bin: &Path) -> Vec<String> {
    let mut reasons = Vec::new();
    if let Err(error) = access(state_dir, Access::WRITE_OK | Access::EXEC_OK) {
        reasons.push(format!("the state directory {} cannot be written: {error}", state_dir.display()));
    }
    match statvfs(state_dir) {
        Ok(space) if space.f_bavail.saturating_mul(space.f_frsize) < LEAST_SPACE => {
            let least = LEAST_SPACE / 1024 / 1024;
            reasons.push(format!("less than {least} MiB are left in {}", state_dir.display()));
        }
        // What cannot be looked at was told above.
        _ => {}
    }
    if let Err(error) = access(streamer_bin, Access::EXEC_OK) {
        reasons.push(format!("the streamer's program {} cannot be run: {error}", streamer_bin.display()));
    }
    reasons
}

/// Counters for Prometheus.
///
/// # Errors
/// We are shutting down.
#[utoipa::path(
    get, path = "/metrics", tag = "operation", operation_id = "get_metrics",
    responses((status = 200, description = "Prometheus text format 0.0.4", body = String,
               content_type = "text/plain")),
)]
pub async fn metrics(
    registry: web::Data<Handle>,
    metrics: web::Data<Metrics>,
    config: web::Data<Config>,
    cluster: Membership,
) -> Result<HttpResponse, ApiError> {
    let cluster =
        cluster.map(|cluster| View { is_connected: cluster.is_connected(), nodes: cluster.nodes() });
    let text = metrics.text(registry.list().await?, config.per_peer, cluster);
    Ok(HttpResponse::Ok().content_type(metrics::CONTENT_TYPE).body(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let program = std::env::current_exe().unwrap();
        assert_eq!(disk_reasons(dir.path(), &program), Vec::<String>::new());
        let gone = dir.path().join("gone");
        let reasons = disk_reasons(&gone, &gone.join("streamer"));
        assert_eq!(reasons.len(), 2, "{reasons:?}");
        assert!(reasons[0].contains("state directory") && reasons[1].contains("program"), "{reasons:?}");
    }
}
