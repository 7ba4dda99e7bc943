//! Slots, sources and windows of a streamer.

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use common::access::Need;
use common::ipc::request::ListWindows;
use common::signal::StreamInfo;
use common::slots::{AddSource, BindSlot, SlotSource, SourceList, WindowList};
use common::spec::{SourceSpec, validate_name};
use serde_json::Value;

use super::session::done;
use super::sources::allowed;
use super::streamers::locate_source;
use crate::auth::Right;
use crate::http::extract::{Body, Id, Json, Slot, SourceName};
use crate::http::problem::ApiError;
use crate::http::site::{Caller, Site};
use crate::registry::Handle;

impl Json for BindSlot {
    fn locate(body: &Value) -> Option<(String, String)> {
        locate_source(body.get("source")?, "source")
    }
}

impl Json for AddSource {
    fn locate(body: &Value) -> Option<(String, String)> {
        locate_source(body.get("source")?, "source")
    }
}

/// Show something in the first free slot.
///
/// Returns when its first picture is there. A source from elsewhere, such as a camera, may take
/// long to start: for it the call returns at once, and it is shown as soon as it comes.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    post, path = "/api/streamers/{id}/slots", tag = "slots", operation_id = "bind_free_slot",
    params(("id" = String, Path, description = "Name of the streamer")),
    request_body = BindSlot,
    responses(
        (status = 201, description = "Shown", body = StreamInfo,
         headers(("Location" = String, description = "Path of the slot"))),
        (status = 404, description = "No such stream or window"),
        (status = 409, description = "`no_free_slot`, `already_shared`, `no_desktop`"),
    ),
)]
pub async fn bind_free(
    id: Id,
    body: Body<BindSlot>,
    caller: Caller,
    site: web::Data<Site>,
    registry: web::Data<Handle>,
) -> Result<HttpResponse, ApiError> {
    let bind = showable(body.0, &caller, &site)?;
    let info = registry.bind_slot(&id.0, None, bind).await?;
    let location = site.path(&format!("/api/streamers/{}/slots/{}", id.0, info.slot));
    Ok(HttpResponse::Created().insert_header((header::LOCATION, location)).json(info))
}

/// Show something in a slot, to everybody.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    put, path = "/api/streamers/{id}/slots/{slot}", tag = "slots", operation_id = "bind_slot",
    params(
        ("id" = String, Path, description = "Name of the streamer"),
        ("slot" = u8, Path, description = "Which slot; counts from 0"),
    ),
    request_body = BindSlot,
    responses((status = 200, description = "Shown", body = StreamInfo)),
)]
pub async fn bind_one(
    id: Id,
    slot: Slot,
    body: Body<BindSlot>,
    caller: Caller,
    site: web::Data<Site>,
    registry: web::Data<Handle>,
) -> Result<HttpResponse, ApiError> {
    let bind = showable(body.0, &caller, &site)?;
    Ok(HttpResponse::Ok().json(registry.bind_slot(&id.0, Some(slot.0), bind).await?))
}

/// Controllers may show existing sources and windows; only admins may start new sources.
fn showable(bind: BindSlot, caller: &Caller, site: &Site) -> Result<BindSlot, ApiError> {
    let BindSlot { source, quality } = bind;
    let source = match source {
        SlotSource::Spec(source) => {
            if !matches!(source, SourceSpec::Window(_)) {
                let right = caller.right.as_ref().map_err(Clone::clone)?;
                right.permits(Need::Admin, None)?;
                allowed(&source, "source", site)?;
            }
            let source = source.as_given();
            source.validate()?;
            SlotSource::Spec(source)
        }
        name @ SlotSource::Name(_) => name,
    };
    Ok(BindSlot { source, quality })
}

/// Show nothing in a slot.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    delete, path = "/api/streamers/{id}/slots/{slot}", tag = "slots", operation_id = "clear_slot",
    params(
        ("id" = String, Path, description = "Name of the streamer"),
        ("slot" = u8, Path, description = "Which slot; counts from 0"),
    ),
    responses((status = 204, description = "It shows nothing")),
)]
pub async fn clear(id: Id, slot: Slot, registry: web::Data<Handle>) -> Result<HttpResponse, ApiError> {
    registry.clear_slot(&id.0, slot.0).await?;
    Ok(done())
}

/// List the windows that can be shared.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    get, path = "/api/streamers/{id}/windows", tag = "slots", operation_id = "list_windows",
    params(("id" = String, Path, description = "Name of the streamer")),
    responses((status = 200, description = "The topmost first", body = WindowList)),
)]
pub async fn windows(id: Id, registry: web::Data<Handle>) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(registry.ask(&id.0, ListWindows).await?.0))
}

/// List the sources of a streamer.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    get, path = "/api/streamers/{id}/sources", tag = "slots", operation_id = "list_sources",
    params(("id" = String, Path, description = "Name of the streamer")),
    responses((status = 200, description = "In order of names, without passwords; addresses and commands for admins only",
               body = SourceList)),
)]
pub async fn sources(id: Id, caller: Caller, registry: web::Data<Handle>) -> Result<HttpResponse, ApiError> {
    let right = caller.right?;
    let sources = registry.list_sources(&id.0).await?;
    Ok(HttpResponse::Ok().json(sources.shown_to(right == Right::Admin)))
}

/// Add a named source.
///
/// It starts when somebody wants to see it, or at once if it is `always_on`.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    post, path = "/api/streamers/{id}/sources", tag = "slots",
    params(("id" = String, Path, description = "Name of the streamer")),
    request_body = AddSource,
    responses((status = 204, description = "It can be asked for"),
              (status = 409, description = "`source_exists`")),
)]
pub async fn add_source(
    id: Id,
    body: Body<AddSource>,
    site: web::Data<Site>,
    registry: web::Data<Handle>,
) -> Result<HttpResponse, ApiError> {
    let AddSource { name, source } = body.0;
    let source = source.as_given();
    validate_name(&name)?;
    source.validate_alone()?;
    allowed(&source, "source", &site)?;
    registry.add_source(&id.0, name, source).await?;
    Ok(done())
}

/// Remove a named source.
///
/// Slots that show it show nothing from then on.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    delete, path = "/api/streamers/{id}/sources/{name}", tag = "slots",
    params(
        ("id" = String, Path, description = "Name of the streamer"),
        ("name" = String, Path, description = "Name of the source"),
    ),
    responses((status = 204, description = "Gone")),
)]
pub async fn remove_source(
    id: Id,
    name: SourceName,
    registry: web::Data<Handle>,
) -> Result<HttpResponse, ApiError> {
    registry.remove_source(&id.0, name.0).await?;
    Ok(done())
}
