//! What happens to every request: it gets an id, is checked against [`super::guard`], it is found out who sends it, it is
//! logged, and if it fails, its error becomes a problem with that id. Each route then says what it needs of whoever that
//! is ([`admit`]).

use std::time::Instant;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, HttpResponse, ResponseError, web};
use common::access::Need;
use common::id::StreamerId;
use uuid::Uuid;

use super::guard::{self, Facts};
use super::problem::{self, ApiError};
use super::site::{self, Caller, Site};
use crate::auth::{Auth, Refused, Right};
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::signaling::multistream;

/// Names the request in the log.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Set on every response. Frames: a page of another site must not show ours to steal clicks on it.
const HEADERS: [(HeaderName, &str); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "SAMEORIGIN"),
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// The middleware.
///
/// # Errors
/// None of its own.
pub async fn edge(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let started = Instant::now();
    let id = Uuid::new_v4().simple().to_string();
    let site = request.app_data::<web::Data<Site>>().cloned().expect("the server has one");
    let cross = allowed_origin(&request, &site);
    let response = match check(&request, &site) {
        Ok(()) if cross.is_some() && is_preflight(&request) => {
            request.into_response(HttpResponse::NoContent().finish())
        }
        Ok(()) => next.call(request).await?.map_into_boxed_body(),
        // Not `request.into_response`, which forgets the error.
        Err(error) => ServiceResponse::new(request.into_parts().0, HttpResponse::from_error(error)),
    };
    let mut response = finish(response, &id);
    set_headers(response.headers_mut(), &id);
    if let Some(origin) = cross {
        set_cross_origin_headers(response.headers_mut(), origin);
    }
    let (status, request) = (response.status().as_u16(), response.request());
    // The path only: a query may hold what is nobody's business.
    let (method, path) = (request.method(), request.path());
    let took = started.elapsed();
    if let Some(metrics) = request.app_data::<web::Data<Metrics>>() {
        metrics.request(method.as_str(), request.match_pattern(), status, took);
    }
    let ms = took.as_secs_f64() * 1e3;
    if status >= 500 {
        tracing::warn!(request_id = id, %method, path, status, ms, "request failed");
    } else {
        tracing::debug!(request_id = id, %method, path, status, ms, "request");
    }
    Ok(response)
}

/// Who sends it is left in the request, for [`admit`].
fn check(request: &ServiceRequest, site: &Site) -> Result<(), ApiError> {
    let headers = request.headers();
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str());
    let websocket = headers.contains_key(header::UPGRADE);
    let facts = Facts {
        host: text(header::HOST).and_then(Result::ok),
        origin: text(header::ORIGIN).map(|origin| origin.unwrap_or("null")),
        method: request.method(),
        websocket,
    };
    guard::check(facts, site)?;
    let (address, direct) = site::origin_of(request, site);
    let auth = request.app_data::<web::Data<Auth>>().expect("the server has one");
    let limits = request.app_data::<web::Data<Limits>>().expect("the server has them");
    let right = site::login(auth, limits, site::token_of(headers), address, direct)?;
    match right {
        Ok(Right::Admin) => {}
        Ok(Right::Streamer { .. }) => limits.request(Instant::now(), address)?,
        Ok(Right::Nobody) | Err(_) => limits.stranger(Instant::now(), address)?,
    }
    request.extensions_mut().insert(Caller { address, direct, right });
    Ok(())
}

/// The middleware of a route: lets those pass who are what it needs. A WebSocket that brings no token may say it with
/// its first message, `in_band`.
///
/// # Errors
/// Whoever sends it may not, or what `next` says.
pub async fn admit(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
    need: Need,
    in_band: bool,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let permitted = permitted(&request, need, in_band).map_err(ApiError::from);
    let joins = in_band || is_offer(&request);
    match permitted.and_then(|()| if joins { count_join(&request) } else { Ok(()) }) {
        Ok(()) => Ok(next.call(request).await?.map_into_boxed_body()),
        // As in `edge`: an error that is returned would get past it, and a response made of it here forgets it.
        Err(error) => Ok(ServiceResponse::new(request.into_parts().0, HttpResponse::from_error(error))),
    }
}

/// WHEP and the like: the request itself brings a peer.
fn is_offer(request: &ServiceRequest) -> bool {
    request.method() == Method::POST && request.path().ends_with("/whep")
}

fn count_join(request: &ServiceRequest) -> Result<(), ApiError> {
    let extensions = request.extensions();
    let limits = request.app_data::<web::Data<Limits>>().expect("the server has them");
    match extensions.get::<Caller>() {
        // Whoever says it in band is counted when that is done: wrong tokens must use up nobody's joins.
        Some(Caller { address, right: Ok(Right::Streamer { .. }), .. }) => {
            Ok(limits.join(Instant::now(), *address)?)
        }
        _ => Ok(()),
    }
}

fn permitted(request: &ServiceRequest, need: Need, in_band: bool) -> Result<(), Refused> {
    if need == Need::Nothing {
        return Ok(());
    }
    let extensions = request.extensions();
    let caller = extensions.get::<Caller>().ok_or(Refused::NoToken)?;
    let right = caller.right.as_ref().map_err(Clone::clone)?;
    if in_band && *right == Right::Nobody {
        return Ok(());
    }
    // What names no streamer is about the one of the configured streams.
    let cameras = request.app_data::<web::Data<multistream::Config>>();
    let streamer = match request.match_info().get("id") {
        Some(id) => StreamerId::parse(id).ok(),
        None => cameras.map(|config| config.streamer.clone()),
    };
    right.permits(need, streamer.as_ref())
}

/// The origin of a request from a page of another site that may use us.
fn allowed_origin(request: &ServiceRequest, site: &Site) -> Option<HeaderValue> {
    let origin = request.headers().get(header::ORIGIN)?;
    guard::is_allowed(origin.to_str().ok()?, site).then(|| origin.clone())
}

fn is_preflight(request: &ServiceRequest) -> bool {
    let headers = request.headers();
    request.method() == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// For scripts of pages that may use us (Fetch §3.2). Tokens are shown by them, so there are no cookies to allow.
fn set_cross_origin_headers(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, POST, PUT, PATCH, DELETE"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "authorization, content-type"),
        (header::ACCESS_CONTROL_EXPOSE_HEADERS, "location, x-request-id"),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
}

/// Gives an error its body.
fn finish(response: ServiceResponse, id: &str) -> ServiceResponse {
    let status = response.status();
    let problem = match response.response().error() {
        Some(error) => match error.as_error::<ApiError>() {
            Some(ours) => ours.problem(id),
            None => problem::foreign(status, error.to_string(), id),
        },
        None if status.is_client_error() || status.is_server_error() => {
            problem::foreign(status, "the request could not be served".into(), id)
        }
        None => return response,
    };
    if status.is_server_error() {
        tracing::warn!(request_id = id, code = problem.code, detail = problem.detail, "request failed");
    }
    let (request, response) = response.into_parts();
    ServiceResponse::new(request, problem::with_body(response, &problem))
}

fn set_headers(headers: &mut HeaderMap, id: &str) {
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(value) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, value);
    }
}

/// Answers what no route serves.
///
/// # Errors
/// Always.
pub async fn no_route() -> Result<HttpResponse, impl ResponseError> {
    Err(ApiError::NoRoute)
}
