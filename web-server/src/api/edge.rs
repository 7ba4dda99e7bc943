//! What happens to every request: it gets an id, is checked against [`super::guard`], is logged, and if it
//! fails, its error becomes a problem with that id.

use std::time::Instant;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse, ResponseError, web};
use uuid::Uuid;

use super::guard::{self, Facts};
use super::problem::{self, ApiError};
use crate::metrics::Metrics;

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
    let response = match check(&request) {
        Ok(()) => next.call(request).await?.map_into_boxed_body(),
        // Not `request.into_response`, which forgets the error.
        Err(error) => ServiceResponse::new(request.into_parts().0, HttpResponse::from_error(error)),
    };
    let mut response = finish(response, &id);
    set_headers(response.headers_mut(), &id);
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

fn check(request: &ServiceRequest) -> Result<(), ApiError> {
    let headers = request.headers();
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str());
    let websocket = headers.contains_key(header::UPGRADE);
    let facts = Facts {
        host: text(header::HOST).and_then(Result::ok),
        origin: text(header::ORIGIN).map(|origin| origin.unwrap_or("null")),
        method: request.method(),
        websocket,
    };
    Ok(guard::check(facts)?)
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
