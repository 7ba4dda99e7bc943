//! `/api/streamers/{id}/control`: exclusive control.

use actix_web::{HttpResponse, web};
use common::control::{Control, ControlChange};
use common::ipc;
use common::ipc::request::ChangeControl;

use crate::http::extract::{Body, Id, Json};
use crate::http::problem::ApiError;
use crate::http::site::Caller;
use crate::registry::Handle;

impl Json for ControlChange {}

/// Get who may steer.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    get, path = "/api/streamers/{id}/control", tag = "access", operation_id = "get_control",
    params(("id" = String, Path, description = "Name of the streamer")),
    responses((status = 200, description = "Mode, holder, and who asks", body = Control)),
)]
pub async fn get(id: Id, registry: web::Data<Handle>) -> Result<HttpResponse, ApiError> {
    // An empty change only asks.
    let request = ChangeControl { change: ipc::Json(ControlChange::default()) };
    Ok(HttpResponse::Ok().json(registry.ask(&id.0, request).await?.0))
}

/// Change who may steer.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    put, path = "/api/streamers/{id}/control", tag = "access", operation_id = "put_control",
    params(("id" = String, Path, description = "Name of the streamer")),
    request_body = ControlChange,
    responses(
        (status = 200, description = "As it is now", body = Control),
        (status = 409, description = "`not_a_controller`, `control_is_shared`"),
    ),
)]
pub async fn put(
    id: Id,
    body: Body<ControlChange>,
    caller: Caller,
    registry: web::Data<Handle>,
) -> Result<HttpResponse, ApiError> {
    let control = registry.change_control(&id.0, body.0, &caller.right?.name()).await?;
    Ok(HttpResponse::Ok().json(control))
}
