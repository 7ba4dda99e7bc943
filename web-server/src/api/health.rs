//! `/healthz`.

use actix_web::{HttpResponse, web};

use super::problem::ApiError;
use crate::registry::Handle;

/// Is the server alive?
///
/// # Errors
/// The registry does not answer.
#[utoipa::path(
    get, path = "/healthz", tag = "operation",
    responses((status = 200, description = "It is", body = String, content_type = "text/plain")),
)]
pub async fn healthz(registry: web::Data<Handle>) -> Result<HttpResponse, ApiError> {
    registry.ping().await?;
    Ok(HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ok\n"))
}
