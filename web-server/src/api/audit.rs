//! `/api/streamers/{id}/audit`: who did what with a streamer, and when.

use actix_web::{HttpRequest, HttpResponse, web};
use common::audit::AuditList;

use crate::http::extract::{Id, Query};
use crate::http::problem::ApiError;
use crate::registry::Handle;
use crate::registry::store::MAX_AUDIT_PAGE;

/// Entries when the request does not say how many.
const PAGE: usize = 100;

/// Get the audit trail of a streamer.
///
/// It outlives the streamer. The last 2000 entries of each are kept, and the last 50000 of all.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    get, path = "/api/streamers/{id}/audit", tag = "streamers", operation_id = "get_audit",
    params(
        ("id" = String, Path, description = "Name of the streamer"),
        ("limit" = Option<u16>, Query, description = "Most entries, 1..=1000; 100 if absent"),
        ("before" = Option<u64>, Query, description = "Only entries with a smaller `seq`: the next page"),
    ),
    responses((status = 200, description = "The newest first", body = AuditList)),
)]
pub async fn audit(
    request: HttpRequest,
    id: Id,
    registry: web::Data<Handle>,
) -> Result<HttpResponse, ApiError> {
    let query = Query::of(&request, &["limit", "before"])?;
    let limit = query.count("limit", MAX_AUDIT_PAGE)?.unwrap_or(PAGE);
    let entries = registry.trail(&id.0, query.number("before")?, limit).await?;
    Ok(HttpResponse::Ok().json(AuditList { entries }))
}
