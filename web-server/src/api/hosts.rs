//! `/api/hosts`: Moonlight hosts.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use common::hosts::{AddHost, Host, HostAppList, HostList, PairStarted};

use crate::hosts::Hosts;
use crate::http::extract::{Body, Json};
use crate::http::problem::ApiError;
use crate::http::site::Site;

impl Json for AddHost {}

fn id(request: &HttpRequest) -> &str {
    request.match_info().query("id")
}

/// Add a host.
///
/// The host must respond. Repeating the request is harmless: it returns the existing host.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    post, path = "/api/hosts", tag = "hosts", operation_id = "add_host", request_body = AddHost,
    responses(
        (status = 201, description = "Added", body = Host,
         headers(("Location" = String, description = "Path of the host"))),
        (status = 200, description = "It is already there", body = Host),
        (status = 504, description = "`host_timeout`: it does not answer"),
    ),
)]
pub async fn add(
    body: Body<AddHost>,
    hosts: web::Data<Hosts>,
    site: web::Data<Site>,
) -> Result<HttpResponse, ApiError> {
    let (new, host) = hosts.add(body.0).await?;
    let mut response = if new { HttpResponse::Created() } else { HttpResponse::Ok() };
    let location = site.path(&format!("/api/hosts/{}", host.id));
    Ok(response.insert_header((header::LOCATION, location)).json(host))
}

/// List the hosts.
///
/// Each host is asked for its state, for some seconds at most.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    get, path = "/api/hosts", tag = "hosts", operation_id = "list_hosts",
    responses((status = 200, description = "In the order in which they were added", body = HostList)),
)]
pub async fn list(hosts: web::Data<Hosts>) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(HostList { hosts: hosts.list().await? }))
}

/// Get one host and its present state.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    get, path = "/api/hosts/{id}", tag = "hosts", operation_id = "get_host",
    params(("id" = String, Path, description = "Its name in this API")),
    responses((status = 200, description = "State, pairing and what runs", body = Host),
              (status = 404, description = "`host_not_found`")),
)]
pub async fn get(request: HttpRequest, hosts: web::Data<Hosts>) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(hosts.get(id(&request)).await?))
}

/// Forget a host.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    delete, path = "/api/hosts/{id}", tag = "hosts", operation_id = "remove_host",
    params(("id" = String, Path, description = "Its name in this API")),
    responses((status = 204, description = "Forgotten")),
)]
pub async fn remove(request: HttpRequest, hosts: web::Data<Hosts>) -> Result<HttpResponse, ApiError> {
    hosts.remove(id(&request)).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Pair with a host.
///
/// Returns at once with the PIN that is to be typed on the host; `pairing` of the host shows the progress.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    post, path = "/api/hosts/{id}/pair", tag = "hosts", operation_id = "pair_host",
    params(("id" = String, Path, description = "Its name in this API")),
    responses((status = 202, description = "Type the PIN on the host", body = PairStarted)),
)]
pub async fn pair(request: HttpRequest, hosts: web::Data<Hosts>) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Accepted().json(hosts.pair(id(&request)).await?))
}

/// List the apps of a host.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    get, path = "/api/hosts/{id}/apps", tag = "hosts", operation_id = "list_host_apps",
    params(("id" = String, Path, description = "Its name in this API")),
    responses((status = 200, description = "In the host's order", body = HostAppList),
              (status = 400, description = "`host_not_paired`")),
)]
pub async fn apps(
    request: HttpRequest,
    hosts: web::Data<Hosts>,
    site: web::Data<Site>,
) -> Result<HttpResponse, ApiError> {
    let mut list = hosts.apps(id(&request)).await?;
    for app in &mut list.apps {
        app.image = site.path(&app.image);
    }
    Ok(HttpResponse::Ok().json(list))
}

/// Get the picture of an app.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    get, path = "/api/hosts/{id}/apps/{app}/image", tag = "hosts", operation_id = "get_host_app_image",
    params(("id" = String, Path, description = "Name of the host in this API"),
           ("app" = u32, Path, description = "Number of the app")),
    responses((status = 200, description = "A picture", body = Vec<u8>, content_type = "image/png"),
              (status = 404, description = "`app_not_found`")),
)]
pub async fn image(request: HttpRequest, hosts: web::Data<Hosts>) -> Result<HttpResponse, ApiError> {
    let text = request.match_info().query("app");
    let app = text.parse().map_err(|_| ApiError::field("app", format!("must be a number, not {text:?}")))?;
    let image = hosts.image(id(&request), app).await?;
    Ok(HttpResponse::Ok().content_type("image/png").body(image))
}

/// Wake a host that sleeps.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    post, path = "/api/hosts/{id}/wake", tag = "hosts", operation_id = "wake_host",
    params(("id" = String, Path, description = "Its name in this API")),
    responses((status = 204, description = "It was called"),
              (status = 409, description = "`host_has_no_mac`: it has not told how")),
)]
pub async fn wake(request: HttpRequest, hosts: web::Data<Hosts>) -> Result<HttpResponse, ApiError> {
    hosts.wake(id(&request)).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// End the app that runs on a host.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    post, path = "/api/hosts/{id}/cancel", tag = "hosts", operation_id = "cancel_host_app",
    params(("id" = String, Path, description = "Its name in this API")),
    responses((status = 204, description = "It has ended"),
              (status = 409, description = "`host_busy`: streams must end first")),
)]
pub async fn cancel(request: HttpRequest, hosts: web::Data<Hosts>) -> Result<HttpResponse, ApiError> {
    hosts.cancel(id(&request)).await?;
    Ok(HttpResponse::NoContent().finish())
}
