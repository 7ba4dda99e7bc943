//! `/api`: what answers here.

use actix_web::{HttpResponse, web};
use common::api::ApiInfo;

use crate::cluster::Membership;
use crate::files::Files;
use crate::http::problems::DOCS;
use crate::http::site::Site;
use crate::signaling::media_ws;

/// Get the version and the features of the server.
///
/// # Errors
/// None.
#[utoipa::path(
    get, path = "/api", tag = "operation", operation_id = "get_api",
    responses((status = 200, description = "What answers here", body = ApiInfo)),
)]
pub async fn info(
    files: web::Data<Files>,
    media: web::Data<media_ws::Config>,
    cluster: Membership,
    site: web::Data<Site>,
) -> HttpResponse {
    let configured = [
        ("files", files.may_read().is_ok()),
        ("websocket-media", media.enabled),
        ("cluster", cluster.is_some()),
        ("tls", site.access.tls.is_some()),
    ];
    let always = ["rooms", "whep", "whip", "multistream", "moonlight"];
    let mut features: Vec<String> = always.into_iter().map(str::to_owned).collect();
    features.extend(configured.into_iter().filter(|(_, there)| *there).map(|(name, _)| name.to_owned()));
    features.sort_unstable();
    HttpResponse::Ok().json(ApiInfo {
        version: env!("CARGO_PKG_VERSION").into(),
        api_versions: vec!["v1".into()],
        features,
        docs: site.path(DOCS),
        openapi: site.path("/api/openapi.json"),
    })
}
