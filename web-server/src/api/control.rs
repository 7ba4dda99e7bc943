//! `/api/streamers/{id}/control`: who may steer, where one at a time does.

use actix_web::{HttpResponse, web};
use common::audit::AuditAction;
use common::control::{Control, ControlChange};
use common::ipc;
use common::ipc::request::ChangeControl;

use super::extract::{Body, Id, Json};
use super::problem::ApiError;
use super::site::Caller;
use crate::registry::Handle;
use crate::registry::arrangement::Arranged;

impl Json for ControlChange {}

/// Who may steer.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    get, path = "/api/streamers/{id}/control", tag = "access", operation_id = "get_control",
    params(("id" = String, Path, description = "Name of the streamer")),
    responses((status = 200, description = "Mode, holder, and who asks", body = Control)),
)]
pub async fn get(id: Id, registry: web::Data<Handle>) -> Result<HttpResponse, ApiError> {
    ask(&id, ControlChange::default(), &registry).await
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
    let answer = ask(&id, body.0, &registry).await?;
    if let Some(mode) = body.0.mode {
        registry.arranged(&id.0, Arranged::Control(mode)).await;
    }
    let detail = serde_json::to_string(&body.0).ok();
    registry.audit(&id.0, AuditAction::ControlChanged, &caller.right?.name(), detail);
    Ok(answer)
}

async fn ask(id: &Id, change: ControlChange, registry: &Handle) -> Result<HttpResponse, ApiError> {
    let request = ChangeControl { change: ipc::Json(change) };
    Ok(HttpResponse::Ok().json(registry.reach(&id.0).await?.ask(request).await?.0))
}
