//! The middleware of every request: it assigns an id, checks the request by [`crate::http::guard`], identifies the caller, logs, and
//! turns an error into a problem with that id. Each route then checks the caller's right ([`admit`]).

#![expect(clippy::disallowed_methods, reason = "a request is taken at the time at which it comes")]

use std::time::Instant;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, Uri};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, HttpRequest, HttpResponse, ResponseError, web};
use common::access::Need;
use common::id::StreamerId;
use common::person::PeerRight;
use uuid::Uuid;

use super::{elsewhere, error_page, pages, sfu};
use crate::auth::{Auth, Refused, Right};
use crate::cluster::Cluster;
use crate::http::guard::{self, Facts};
use crate::http::problem::{self, ApiError};
use crate::http::problems;
use crate::http::site::{self, Caller, Site};
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::signaling::multistream;

/// Identifies the request in the log.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Set on every response. Frames: a page of another site must not show ours to steal clicks on it.
const HEADERS: [(HeaderName, &str); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "SAMEORIGIN"),
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Paths of the API with their version.
const VERSIONED: &str = "/api/v1";

/// How long browsers remember that there is TLS here: a year, as is usual. Subdomains are not included.
const HSTS: &str = "max-age=31536000";

/// Checks and limits every request, and gives it its id and headers.
///
/// # Errors
/// None of its own.
pub async fn edge(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let started = Instant::now();
    let id = Uuid::new_v4().simple().to_string();
    let site = request.app_data::<web::Data<Site>>().cloned().expect("the server has one");
    leave_out_version(&mut request, &site);
    let cross = allowed_origin(&request, &site);
    let response = match check(&request, &site, cross.is_some()) {
        Ok(_) if cross.is_some() && is_preflight(&request) => {
            preflighted(next.call(request).await?.map_into_boxed_body())
        }
        // One that was forwarded is for us, whatever we think: so no request goes in circles.
        Ok(Came::Forwarded) => match elsewhere::arrived(&request, &site).await {
            Ok(()) => next.call(request).await?.map_into_boxed_body(),
            Err(error) => ServiceResponse::new(request.into_parts().0, HttpResponse::from_error(error)),
        },
        Ok(Came::Directly) => match elsewhere::elsewhere(request, &site).await {
            Ok((request, response)) => of_another_node(request, response),
            Err(request) => next.call(request).await?.map_into_boxed_body(),
        },
        // Not `request.into_response`, which forgets the error.
        Err(error) => ServiceResponse::new(request.into_parts().0, HttpResponse::from_error(error)),
    };
    let mut response = finish(response, &id, &site);
    set_headers(response.headers_mut(), &id, site.access.tls.is_some());
    if let Some(origin) = cross {
        set_cross_origin_headers(response.headers_mut(), origin);
    }
    let status = response.status().as_u16();
    let request = response.request();
    // The path only: a query may hold what is nobody's business.
    let method = request.method();
    let path = request.path();
    let took = started.elapsed();
    if let Some(metrics) = request.app_data::<web::Data<Metrics>>() {
        let route = request.match_pattern().map(|pattern| site.without_base(&pattern).to_owned());
        metrics.request(method.as_str(), route, status, took);
    }
    let ms = took.as_secs_f64() * 1e3;
    if status >= 500 {
        tracing::warn!(request_id = id, %method, path, status, ms, "request failed");
    } else {
        tracing::debug!(request_id = id, %method, path, status, ms, "request");
    }
    Ok(response)
}

/// `/api/v1/…` is served as `/api/…`: there is one version, and paths without any are of it. Before anything looks at the path.
fn leave_out_version(request: &mut ServiceRequest, site: &Site) {
    let base = &site.access.base_path;
    let below =
        request.uri().path().strip_prefix(base.as_str()).and_then(|path| path.strip_prefix(VERSIONED));
    let Some(below) = below.filter(|below| below.is_empty() || below.starts_with('/')) else { return };
    // Routes of another server have their own version.
    let is_others =
        |own: &str| below.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if site.compat.sfu && sfu::VERSIONED.into_iter().any(is_others) {
        return;
    }
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let path = format!("{base}/api{below}{query}");
    let mut parts = request.uri().clone().into_parts();
    // A part of a path and a query that were valid are so again.
    parts.path_and_query = path.parse().ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        request.match_info_mut().get_mut().update(&uri);
        request.head_mut().uri = uri;
    }
}

/// The caller is stored in the request, for [`admit`]. `befriended`: it comes from a page of another site that may use us.
fn check(request: &ServiceRequest, site: &Site, befriended: bool) -> Result<Came, ApiError> {
    let headers = request.headers();
    let pass = elsewhere::pass(request, site)?;
    // The node that forwards a request has checked where it comes from.
    if pass.is_none() {
        check_origin(request, site, befriended)?;
    }
    let (address, direct) = match &pass {
        Some(pass) => (pass.address, pass.direct),
        None => site::origin_of(request, site),
    };
    let auth = request.app_data::<web::Data<Auth>>().expect("the server has one");
    let limits = request.app_data::<web::Data<Limits>>().expect("the server has them");
    let shown = site::token_of(headers).or_else(|| site::api_key(headers, site));
    let right = site::login(auth, limits, shown, address, direct)?;
    match right {
        Ok(Right::Admin) => {}
        Ok(Right::Streamer { .. }) => limits.request(Instant::now(), address)?,
        Ok(Right::Nobody) | Err(_) => limits.stranger(Instant::now(), address)?,
    }
    let forwarded = pass.is_some();
    request.extensions_mut().insert(Caller { address, direct, forwarded, right });
    Ok(if forwarded { Came::Forwarded } else { Came::Directly })
}

/// How a request came.
enum Came {
    /// From its client.
    Directly,
    /// By another node of the cluster.
    Forwarded,
}

/// In a response that another node has made, problems included.
struct Made;

fn of_another_node(
    request: HttpRequest,
    response: Result<HttpResponse, ApiError>,
) -> ServiceResponse<BoxBody> {
    match response {
        Ok(mut response) => {
            response.extensions_mut().insert(Made);
            ServiceResponse::new(request, response)
        }
        Err(error) => ServiceResponse::new(request, HttpResponse::from_error(error)),
    }
}

fn check_origin(request: &ServiceRequest, site: &Site, befriended: bool) -> Result<(), ApiError> {
    let headers = request.headers();
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str());
    let websocket = headers.contains_key(header::UPGRADE);
    let facts = Facts {
        host: text(header::HOST).and_then(Result::ok),
        origin: text(header::ORIGIN).map(|origin| origin.unwrap_or("null")),
        befriended,
        method: request.method(),
        websocket,
    };
    Ok(guard::check(facts, site)?)
}

/// The middleware of a route: admits callers with the right that it needs. A WebSocket without a token may bring it in
/// its first message (`in_band`).
///
/// # Errors
/// The caller's right is not enough, or an error of `next`.
pub async fn admit(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
    need: Need,
    right: Option<PeerRight>,
    in_band: bool,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let permitted = permitted(&request, need, right, in_band).map_err(ApiError::from);
    let joins = in_band || is_offer(&request);
    match permitted.and_then(|()| if joins { count_join(&request) } else { Ok(()) }) {
        Ok(()) => Ok(next.call(request).await?.map_into_boxed_body()),
        // As in `edge`: an error that is returned would get past it, and a response made of it here forgets it.
        Err(error) => Ok(ServiceResponse::new(request.into_parts().0, HttpResponse::from_error(error))),
    }
}

/// WHEP and WHIP: the request itself brings a peer.
fn is_offer(request: &ServiceRequest) -> bool {
    request.method() == Method::POST
        && (request.path().ends_with("/whep") || request.path().ends_with("/whip"))
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

fn permitted(
    request: &ServiceRequest,
    need: Need,
    wanted: Option<PeerRight>,
    in_band: bool,
) -> Result<(), Refused> {
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
    right.permits(need, streamer.as_ref())?;
    wanted.map_or(Ok(()), |wanted| right.has(wanted))
}

/// The origin of a request from a page of another site that may use us: one that is configured, or that of a node of our cluster, whose pages
/// go on here when it dies.
fn allowed_origin(request: &ServiceRequest, site: &Site) -> Option<HeaderValue> {
    let origin = request.headers().get(header::ORIGIN)?;
    let text = origin.to_str().ok()?;
    let cluster = request.app_data::<web::Data<Cluster>>();
    let allowed = guard::is_allowed(text, site) || cluster.is_some_and(|cluster| cluster.is_origin(text));
    allowed.then(|| origin.clone())
}

fn is_preflight(request: &ServiceRequest) -> bool {
    let headers = request.headers();
    request.method() == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The response to a preflight: the methods that the path has, as it says in `Allow` itself or by refusing `OPTIONS`. What
/// is no path has none.
fn preflighted(response: ServiceResponse) -> ServiceResponse {
    let Some(allow) = response.headers().get(header::ALLOW).cloned() else { return response };
    let mut headers = response.headers().clone();
    headers.remove(header::CONTENT_TYPE);
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, allow);
    let mut answer = HttpResponse::NoContent().finish();
    *answer.headers_mut() = headers;
    ServiceResponse::new(response.into_parts().0, answer)
}

/// For scripts of pages that may use us (Fetch §3.2). Tokens are shown by them, so there are no cookies to allow.
fn set_cross_origin_headers(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    for (name, value) in [
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "authorization, content-range, content-type, if-match, if-none-match, last-event-id, range",
        ),
        (
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            "accept-patch, accept-post, accept-ranges, allow, content-disposition, content-range, etag, link, location, x-request-id",
        ),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
}

/// Gives an error its body.
fn finish(response: ServiceResponse, id: &str, site: &Site) -> ServiceResponse {
    let status = response.status();
    if response.response().extensions().get::<Made>().is_some() {
        return response;
    }
    let plain = match response.response().error() {
        Some(error) => match error.as_error::<ApiError>() {
            Some(ours) => ours.problem(id),
            None => problem::foreign(status, error.to_string(), id),
        },
        None if status.is_client_error() || status.is_server_error() => {
            problem::foreign(status, "the request could not be served".into(), id)
        }
        None => return response,
    };
    let problem = problems::with_type(plain, site);
    if status.is_server_error() {
        tracing::warn!(request_id = id, code = problem.code, detail = problem.detail, "request failed");
    }
    let (request, response) = response.into_parts();
    let path = site.without_base(request.path());
    let response = if pages::shows_errors(&request, path) {
        error_page::with_error(response, &problem, path, request.headers())
    } else {
        problem::with_body(response, &problem)
    };
    ServiceResponse::new(request, response)
}

/// `tls`: browsers shall come by nothing else any more.
fn set_headers(headers: &mut HeaderMap, id: &str, tls: bool) {
    if is_json(headers) && !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if tls {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(HSTS));
    }
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(value) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, value);
    }
}

/// JSON is about now, and for whoever has asked.
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    essence == "application/json" || essence.ends_with("+json")
}

/// The response where no route serves the path.
///
/// # Errors
/// Always.
pub async fn no_route() -> Result<HttpResponse, impl ResponseError> {
    Err(ApiError::NoRoute)
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::App;
    use actix_web::middleware::from_fn;
    use actix_web::test::{TestRequest, call_service, init_service};

    use crate::auth::secrets::Secrets;
    use crate::config::Compat;
    use crate::limits;

    const ORIGIN: &str = "http://player.example";

    /// The response to `request` of routes that need no streamer. `base`: below which path.
    async fn answer(request: TestRequest, base: &str) -> (ServiceResponse, Metrics) {
        let dir = tempfile::tempdir().unwrap();
        let auth =
            Auth::new(Secrets::new(vec!["a-secret-of-enough-length".into()]).unwrap(), dir.path()).unwrap();
        let metrics = Metrics::default();
        let limits = Limits::new(limits::Config::default(), metrics.refusals().clone());
        let access = crate::config::Access {
            origins: vec![ORIGIN.into()],
            base_path: base.into(),
            ..Default::default()
        };
        let app = App::new()
            .wrap(from_fn(edge))
            .app_data(web::Data::new(auth))
            .app_data(web::Data::new(limits))
            .app_data(web::Data::new(metrics.clone()))
            .app_data(web::Data::new(Site { access, ..Site::default() }))
            .service(web::scope(base).configure(|routes| super::super::routes(Compat::default(), routes)));
        let app = init_service(app).await;
        let request = request.insert_header((header::HOST, "localhost")).to_request();
        (call_service(&app, request).await.map_into_boxed_body(), metrics)
    }

    fn header_of<'a>(response: &'a ServiceResponse, name: &str) -> &'a str {
        response.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn preflight(path: &str) -> TestRequest {
        let request = TestRequest::with_uri(path).method(Method::OPTIONS);
        let request = request.insert_header((header::ORIGIN, ORIGIN));
        request.insert_header((header::ACCESS_CONTROL_REQUEST_METHOD, "POST"))
    }

    #[tokio::test]
    async fn a_preflight_tells_the_methods_that_the_path_has() {
        for (path, status, methods) in [
            ("/api/streamers/a/whep", 204, "POST, OPTIONS"),
            ("/api/streamers/a/whep/p", 204, "DELETE, PATCH, OPTIONS"),
            ("/api/streamers/a/whip", 204, "POST, OPTIONS"),
            ("/api/streamers/a/whip/p", 204, "DELETE, PATCH, OPTIONS"),
            ("/api/streamers", 204, "GET, HEAD, POST"),
            ("/api/v1/streamers", 204, "GET, HEAD, POST"),
            ("/api/v1/streamers/a/whip?x=1", 204, "POST, OPTIONS"),
            ("/api/v2/streamers", 404, ""),
            ("/api/v1streamers", 404, ""),
            ("/api/v1/v1/streamers", 404, ""),
            ("/api/nothing/here", 404, ""),
        ] {
            let (response, _) = answer(preflight(path), "").await;
            assert_eq!(response.status().as_u16(), status, "{path}");
            assert_eq!(header_of(&response, "access-control-allow-methods"), methods, "{path}");
        }
    }

    #[tokio::test]
    async fn pages_elsewhere_can_read_what_a_whep_player_needs() {
        let (response, _) = answer(preflight("/api/streamers/a/whep"), "").await;
        assert_eq!(header_of(&response, "accept-post"), "application/sdp");
        assert!(header_of(&response, "access-control-expose-headers").contains("link"));
        assert!(header_of(&response, "access-control-allow-headers").contains("if-match"));
    }

    #[tokio::test]
    async fn json_is_never_stored() {
        let (response, _) = answer(TestRequest::with_uri("/api/openapi.json"), "").await;
        assert_eq!((response.status().as_u16(), header_of(&response, "cache-control")), (200, "no-store"));
        assert_eq!(header_of(&response, "strict-transport-security"), "", "there is no TLS");
    }

    #[tokio::test]
    async fn what_is_not_there_is_a_page_for_browsers_and_a_problem_for_programs() {
        const BROWSER: &str = "text/html,application/xhtml+xml,*/*;q=0.8";
        for (path, accept, media_type) in [
            ("/behind/nosuch", BROWSER, "text/html; charset=utf-8"),
            ("/behind/s/not%20an%20id", BROWSER, "text/html; charset=utf-8"),
            ("/behind/nosuch", "*/*", "application/problem+json"),
            ("/behind/nosuch", "application/json", "application/problem+json"),
            ("/behind/api/nosuch", BROWSER, "application/problem+json"),
        ] {
            let request = TestRequest::with_uri(path).insert_header((header::ACCEPT, accept));
            let (response, _) = answer(request, "/behind").await;
            assert!(response.status().is_client_error(), "{path}");
            assert_eq!(header_of(&response, "content-type"), media_type, "{path} {accept}");
        }
        let request = TestRequest::with_uri("/nosuch").insert_header((header::ACCEPT, BROWSER));
        let (response, _) = answer(request, "").await;
        assert_eq!(response.status().as_u16(), 404);
        assert!(header_of(&response, "content-security-policy").contains("frame-ancestors 'self'"));
    }

    #[test]
    fn with_tls_browsers_are_told_to_keep_to_it() {
        let mut headers = HeaderMap::new();
        set_headers(&mut headers, "r", true);
        assert_eq!(headers.get(header::STRICT_TRANSPORT_SECURITY).unwrap(), HSTS);
    }

    #[tokio::test]
    async fn the_metric_of_a_route_has_no_prefix_of_a_proxy() {
        let (_, metrics) = answer(TestRequest::with_uri("/behind/api/openapi.json"), "/behind").await;
        let text = metrics.text(Vec::new(), false, None);
        assert!(text.contains("route=\"/api/openapi.json\"") && !text.contains("/behind"), "{text}");
    }

    #[tokio::test]
    async fn a_body_is_not_read_before_the_token_was_looked_at() {
        async fn reads(_: HttpRequest, _: web::Bytes) -> HttpResponse {
            panic!("it was read")
        }
        let app = App::new().wrap(from_fn(|request, next| admit(request, next, Need::Admin, None, false)));
        let app = init_service(app.default_service(web::to(reads))).await;
        let request = TestRequest::post().set_payload("a body").to_request();
        assert_eq!(call_service(&app, request).await.status().as_u16(), 401);
    }
}
