//! Every refusal and failure as a client sees it: the one mapping from errors of any part of this crate to
//! `application/problem+json` (RFC 9457) with a status and a stable `code`.
//!
//! A handler returns an [`ApiError`]; the middleware of [`crate::api::edge`] makes the body of it, as only it
//! knows the request's id.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use common::api::Problem;
use common::clipboard::{ClipboardType, InvalidContent};
use common::id::StreamerId;
use common::input::InvalidInput;
use common::ipc::{Code, ErrorKind, RequestError};
use common::spec::InvalidField;

use super::guard::Forbidden;
use crate::auth::Refused;
use crate::auth::revoked::Full;
use crate::cluster;
use crate::compat::multi_webrtc::answer;
use crate::files;
use crate::hosts;
use crate::limits::Exceeded;
use crate::registry::request::Denied;
use crate::registry::{OperationError, StartError};
use crate::supervisor::ask::AskError;

/// Media type of a problem.
const MEDIA_TYPE: &str = "application/problem+json";

/// Why a request was not served.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The registry refused it.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// There is no such streamer, or it is no room.
    #[error("there is no room {0}")]
    NoRoom(StreamerId),
    /// The streamer did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The streamer refused it, or did not answer.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// A part of the body, the path or the query breaks a rule.
    #[error("{message}")]
    Field {
        /// Its path: `source.width`.
        field: String,
        /// A description of what is wrong, for people.
        message: String,
    },
    /// The body is not JSON.
    #[error("the body is not valid JSON: {0}")]
    Json(String),
    /// The body could not be read.
    #[error("the body could not be read: {0}")]
    Unreadable(String),
    /// The body is too long.
    #[error("the body has at most {max} bytes")]
    TooLarge {
        /// The most that is allowed.
        max: usize,
    },
    /// The content cannot be put on a clipboard, or cannot be read from one.
    #[error(transparent)]
    Clipboard(#[from] InvalidContent),
    /// The clipboard does not offer it.
    #[error("the clipboard holds no {0}")]
    NotOnClipboard(&'static str),
    /// The body is of the wrong kind.
    #[error("send the body as {expected} (Content-Type)")]
    MediaType {
        /// The content types that are accepted.
        expected: &'static str,
    },
    /// The client accepts none of the available content types.
    #[error("the response would be {offered}, which the request does not accept (Accept)")]
    NotAcceptable {
        /// The available content types.
        offered: &'static str,
    },
    /// Nothing is at this path.
    #[error("there is nothing at this path; /api/openapi.json lists what there is")]
    NoRoute,
    /// The path has other methods.
    #[error("this path knows only {allow}")]
    Method {
        /// The methods that the path has, for the header `Allow`.
        allow: String,
    },
    /// Media is not sent by WebSocket.
    #[error("this server sends no media by WebSocket (webrtc.websocket_media)")]
    NoMediaSockets,
    /// Only a WebSocket makes sense here.
    #[error("connect to this path by WebSocket: {0}")]
    WebSocket(String),
    /// It came from another web site.
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    /// A Moonlight host cannot be reached, or refuses.
    #[error(transparent)]
    Host(#[from] hosts::Error),
    /// The caller may not do this.
    #[error(transparent)]
    Access(#[from] Refused),
    /// A rate limit was exceeded.
    #[error(transparent)]
    Limit(#[from] Exceeded),
    /// The body comes too slowly.
    #[error("the body did not come within {} s", .0.as_secs())]
    Slow(std::time::Duration),
    /// An admin may do this, but not with what is configured.
    #[error("{message}; the configuration allows {allowed}")]
    NotAllowed {
        /// Path of the field.
        field: String,
        /// What is not allowed, and how that is changed.
        message: String,
        /// The values that are allowed.
        allowed: String,
    },
    /// A token cannot be revoked.
    #[error(transparent)]
    Revocation(#[from] Full),
    /// No more can listen to events.
    #[error("{max} others listen to events already, and no more can; close what is not needed any more")]
    TooManyListeners {
        /// The most that is allowed.
        max: usize,
    },
    /// A change to an ICE session does not name it (`If-Match`).
    #[error("say which ICE session you mean: If-Match with the ETag of the response, or * to restart ICE")]
    PreconditionRequired,
    /// It names another ICE session than the present one.
    #[error("the ICE session is another one than If-Match names: it was restarted meanwhile")]
    PreconditionFailed,
    /// It cannot be done in the cluster.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// It cannot be done with the files of a session.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// The server cannot take on work.
    #[error("{0}")]
    NotReady(String),
}

impl ApiError {
    /// A part of the request that breaks a rule.
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        ApiError::Field { field: field.into(), message: message.into() }
    }

    /// A rule of input broken by what is at `path`.
    pub fn input(path: impl Into<String>, error: &InvalidInput) -> Self {
        Self::field(path, error.to_string())
    }

    /// The body that a client gets.
    pub fn problem(&self, request_id: &str) -> Problem {
        let (status, code, field) = self.classify();
        problem(status, code, field, self.to_string(), request_id)
    }

    /// Status, code and field.
    fn classify(&self) -> (StatusCode, &str, Option<&str>) {
        match self {
            ApiError::Denied(denied) | ApiError::Start(StartError::Denied(denied)) => {
                let (status, code) = classify_denied(denied);
                (status, code, matches!(denied, Denied::Exists(_)).then_some("id"))
            }
            ApiError::Start(StartError::Failed(failure)) => match &failure.error {
                Some(error) => classify_refused(error),
                None => (StatusCode::INTERNAL_SERVER_ERROR, "streamer_failed", None),
            },
            ApiError::Ask(AskError::Refused(error)) => classify_refused(error),
            ApiError::Ask(AskError::Gone) => (StatusCode::BAD_GATEWAY, "streamer_gone", None),
            ApiError::Ask(AskError::Timeout(_)) => (StatusCode::GATEWAY_TIMEOUT, "streamer_timeout", None),
            ApiError::Ask(AskError::Busy) => (StatusCode::SERVICE_UNAVAILABLE, "streamer_busy", None),
            ApiError::Ask(AskError::Unexpected) => (StatusCode::BAD_GATEWAY, "streamer_protocol", None),
            ApiError::Field { field, .. } => (StatusCode::BAD_REQUEST, "invalid_field", Some(field)),
            ApiError::NoRoom(_) => (StatusCode::NOT_FOUND, "room_not_found", None),
            ApiError::Json(_) => (StatusCode::BAD_REQUEST, "malformed_json", None),
            ApiError::Unreadable(_) => (StatusCode::BAD_REQUEST, "unreadable_body", None),
            ApiError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", None),
            ApiError::Clipboard(InvalidContent::TooLong { kind, .. }) => {
                let field = match kind {
                    ClipboardType::Text => Some("text"),
                    ClipboardType::Html => Some("html"),
                    ClipboardType::Png => None,
                };
                (StatusCode::PAYLOAD_TOO_LARGE, "clipboard_too_long", field)
            }
            ApiError::Clipboard(InvalidContent::NotPng) => (StatusCode::BAD_REQUEST, "not_a_png", None),
            ApiError::NotOnClipboard(_) => (StatusCode::NOT_FOUND, "not_on_clipboard", None),
            ApiError::MediaType { .. } => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", None)
            }
            ApiError::NotAcceptable { .. } => (StatusCode::NOT_ACCEPTABLE, "not_acceptable", None),
            ApiError::NoRoute => (StatusCode::NOT_FOUND, "route_not_found", None),
            ApiError::Method { .. } => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", None),
            ApiError::Cluster(error) => classify_cluster(error),
            ApiError::NoMediaSockets => (StatusCode::NOT_FOUND, "no_media_sockets", None),
            ApiError::WebSocket(_) => (StatusCode::UPGRADE_REQUIRED, "websocket_required", None),
            ApiError::TooManyListeners { .. } => (StatusCode::TOO_MANY_REQUESTS, "too_many_listeners", None),
            ApiError::PreconditionRequired => {
                (StatusCode::PRECONDITION_REQUIRED, "precondition_required", None)
            }
            ApiError::PreconditionFailed => {
                (StatusCode::PRECONDITION_FAILED, Code::IceSessionMismatch.as_str(), None)
            }
            ApiError::Files(error) => classify_files(error),
            ApiError::NotReady(_) => (StatusCode::SERVICE_UNAVAILABLE, "not_ready", None),
            ApiError::Forbidden(forbidden) => {
                let code = match forbidden {
                    Forbidden::Host(_) => "host_not_allowed",
                    Forbidden::Origin(_) => "origin_not_allowed",
                };
                (StatusCode::FORBIDDEN, code, None)
            }
            ApiError::Host(error) => classify_host(error),
            ApiError::Access(Refused::Role(_) | Refused::Right(_) | Refused::OtherStreamer) => {
                (StatusCode::FORBIDDEN, "forbidden", None)
            }
            ApiError::Access(_) => (StatusCode::UNAUTHORIZED, "unauthorized", None),
            ApiError::Limit(exceeded) => {
                let code = match exceeded {
                    Exceeded::Requests => "too_many_requests",
                    Exceeded::Joins => "too_many_joins",
                    Exceeded::Logins => "too_many_failed_logins",
                    Exceeded::Snapshots => "too_many_snapshots",
                };
                (StatusCode::TOO_MANY_REQUESTS, code, None)
            }
            ApiError::Slow(_) => (StatusCode::REQUEST_TIMEOUT, "body_too_slow", None),
            ApiError::NotAllowed { field, .. } => (StatusCode::FORBIDDEN, "not_allowed", Some(field)),
            ApiError::Revocation(Full::TooMany) => {
                (StatusCode::TOO_MANY_REQUESTS, "too_many_revocations", None)
            }
            ApiError::Revocation(Full::Io(_)) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "revocation_not_kept", None)
            }
        }
    }
}

fn classify_denied(denied: &Denied) -> (StatusCode, &'static str) {
    match denied {
        Denied::NotFound(_) => (StatusCode::NOT_FOUND, "streamer_not_found"),
        Denied::Exists(_) => (StatusCode::CONFLICT, "streamer_exists"),
        Denied::TooMany { .. } => (StatusCode::TOO_MANY_REQUESTS, "too_many_streamers"),
        Denied::NoUser(_) => (StatusCode::TOO_MANY_REQUESTS, "no_user_left"),
        Denied::Starting => (StatusCode::CONFLICT, "streamer_starting"),
        Denied::Restarting(_) => (StatusCode::CONFLICT, "streamer_restarting"),
        Denied::Failed(_) => (StatusCode::CONFLICT, "streamer_failed"),
        Denied::Stopped(_) => (StatusCode::CONFLICT, "streamer_stopped"),
        Denied::Stopping => (StatusCode::CONFLICT, "streamer_stopping"),
        Denied::ShuttingDown => (StatusCode::SERVICE_UNAVAILABLE, "shutting_down"),
        Denied::NotDurable { .. } => (StatusCode::INSUFFICIENT_STORAGE, "not_durable"),
        Denied::Store(_) => (StatusCode::INTERNAL_SERVER_ERROR, "state_unreadable"),
    }
}

fn classify_host(error: &hosts::Error) -> (StatusCode, &'static str, Option<&'static str>) {
    use gamestream::http::Error as Http;
    use gamestream::reply::Error as Reply;
    let (status, code) = match error {
        hosts::Error::NotFound(_) => (StatusCode::NOT_FOUND, "host_not_found"),
        hosts::Error::NotPaired(_) => (StatusCode::BAD_REQUEST, "host_not_paired"),
        hosts::Error::Busy(_) => (StatusCode::CONFLICT, "host_busy"),
        hosts::Error::Http(Http::Timeout { .. } | Http::Unreachable { .. }) => {
            (StatusCode::GATEWAY_TIMEOUT, "host_timeout")
        }
        hosts::Error::Http(Http::CertificateChanged(_)) => {
            (StatusCode::BAD_GATEWAY, "host_certificate_changed")
        }
        hosts::Error::Http(Http::Tls { .. } | Http::Malformed { .. }) => {
            (StatusCode::BAD_GATEWAY, "host_protocol")
        }
        hosts::Error::Reply(Reply::Refused { .. }) => (StatusCode::BAD_GATEWAY, "host_refused"),
        hosts::Error::Reply(Reply::Malformed(_)) => (StatusCode::BAD_GATEWAY, "host_protocol"),
        hosts::Error::NoImage(_) => (StatusCode::NOT_FOUND, "app_not_found"),
        hosts::Error::NoMac(_) => (StatusCode::CONFLICT, "host_has_no_mac"),
        hosts::Error::TooMany => (StatusCode::TOO_MANY_REQUESTS, "too_many_hosts"),
        hosts::Error::Address(_) => return (StatusCode::BAD_REQUEST, "invalid_field", Some("address")),
        hosts::Error::State(_) => (StatusCode::INTERNAL_SERVER_ERROR, "hosts_failed"),
    };
    (status, code, None)
}

fn classify_files(error: &files::Error) -> (StatusCode, &'static str, Option<&'static str>) {
    use files::Error;
    let (status, code) = match error {
        Error::NoHome => (StatusCode::NOT_FOUND, "no_home"),
        Error::Off(_) => (StatusCode::FORBIDDEN, "files_off"),
        Error::BadPath(_) => return (StatusCode::BAD_REQUEST, "bad_path", Some("path")),
        Error::NameTooLong { .. } => return (StatusCode::BAD_REQUEST, "name_too_long", Some("path")),
        Error::NotFound => (StatusCode::NOT_FOUND, "file_not_found"),
        Error::IsDirectory => (StatusCode::CONFLICT, "is_a_directory"),
        Error::NotDirectory => (StatusCode::CONFLICT, "not_a_directory"),
        Error::Link => (StatusCode::CONFLICT, "is_a_link"),
        Error::Special => (StatusCode::CONFLICT, "not_a_file"),
        Error::NotEmpty => (StatusCode::CONFLICT, "directory_not_empty"),
        Error::Exists => (StatusCode::PRECONDITION_FAILED, "file_exists"),
        Error::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "file_too_large"),
        Error::OverQuota { .. } => (StatusCode::INSUFFICIENT_STORAGE, "over_quota"),
        Error::NoSpace => (StatusCode::INSUFFICIENT_STORAGE, "no_space"),
        Error::TooMany(_) => (StatusCode::TOO_MANY_REQUESTS, "too_many_transfers"),
        Error::UploadBusy => (StatusCode::CONFLICT, "upload_busy"),
        Error::WrongOffset { .. } => (StatusCode::CONFLICT, "wrong_offset"),
        Error::BadRange(_) => return (StatusCode::BAD_REQUEST, "invalid_field", Some("Content-Range")),
        Error::Incomplete => (StatusCode::BAD_REQUEST, "incomplete_body"),
        Error::TreeTooLarge => (StatusCode::CONFLICT, "directory_too_large"),
        Error::Forbidden => (StatusCode::FORBIDDEN, "file_forbidden"),
        Error::Io(_) => (StatusCode::INTERNAL_SERVER_ERROR, "file_failed"),
    };
    (status, code, None)
}

fn classify_cluster(error: &cluster::Error) -> (StatusCode, &'static str, Option<&'static str>) {
    let (status, code) = match error {
        cluster::Error::Unreachable(_) => (StatusCode::SERVICE_UNAVAILABLE, "cluster_unreachable"),
        cluster::Error::NoCapacity(_) => (StatusCode::SERVICE_UNAVAILABLE, "no_capacity"),
        cluster::Error::Taken { .. } => return (StatusCode::CONFLICT, "streamer_exists", Some("id")),
        cluster::Error::NotFound(_) => (StatusCode::NOT_FOUND, "streamer_not_found"),
        cluster::Error::Immovable { .. } => (StatusCode::CONFLICT, "streamer_immovable"),
        cluster::Error::Moved { .. } => (StatusCode::CONFLICT, "streamer_moved"),
        cluster::Error::NoNode(_) => (StatusCode::NOT_FOUND, "node_not_found"),
        cluster::Error::NoCluster => (StatusCode::NOT_FOUND, "no_cluster"),
        cluster::Error::Node { .. } => (StatusCode::BAD_GATEWAY, "node_unreachable"),
        cluster::Error::Slow { .. } => (StatusCode::GATEWAY_TIMEOUT, "node_unreachable"),
        cluster::Error::Pass(_) => (StatusCode::FORBIDDEN, "bad_pass"),
        cluster::Error::State(_) => (StatusCode::INTERNAL_SERVER_ERROR, "state_failed"),
    };
    (status, code, None)
}

fn classify_refused(error: &RequestError) -> (StatusCode, &str, Option<&str>) {
    let status = match error.code.kind() {
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::Limit => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
    };
    (status, error.code.as_str(), error.field.as_deref())
}

impl From<OperationError> for ApiError {
    fn from(error: OperationError) -> Self {
        match error {
            OperationError::Denied(denied) => denied.into(),
            OperationError::Ask(error) => error.into(),
            OperationError::Host(error) => error.into(),
        }
    }
}

impl From<InvalidField> for ApiError {
    fn from(error: InvalidField) -> Self {
        Self::field(error.field, error.message)
    }
}

impl ResponseError for Refused {
    fn status_code(&self) -> StatusCode {
        ApiError::from(self.clone()).status_code()
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.classify().0
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        match self {
            ApiError::Method { allow } => response.insert_header((header::ALLOW, allow.as_str())),
            // Joins and guesses come back one by one, within a minute.
            ApiError::Limit(Exceeded::Joins | Exceeded::Logins) => {
                response.insert_header((header::RETRY_AFTER, "10"))
            }
            ApiError::Access(Refused::NoToken | Refused::Forwarded) => {
                response.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"oriel\""))
            }
            ApiError::Access(Refused::Wrong | Refused::Expired | Refused::Revoked) => response
                .insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"oriel\", error=\"invalid_token\"")),
            ApiError::WebSocket(_) => response.insert_header((header::UPGRADE, "websocket")),
            ApiError::Limit(Exceeded::Requests | Exceeded::Snapshots)
            | ApiError::Files(files::Error::TooMany(_))
            | ApiError::Ask(AskError::Busy | AskError::Refused(RequestError { code: Code::Busy, .. })) => {
                response.insert_header((header::RETRY_AFTER, "1"))
            }
            // NATS is tried again every second or two; a node is back, or lost and replaced by others, within a lease.
            ApiError::Cluster(
                cluster::Error::Unreachable(_)
                | cluster::Error::Moved { .. }
                | cluster::Error::Node { .. }
                | cluster::Error::Slow { .. },
            ) => response.insert_header((header::RETRY_AFTER, "2")),
            _ => &mut response,
        };
        response.finish()
    }
}

/// The problem for an error that is not ours: of the framework, told by its status.
pub fn foreign(status: StatusCode, detail: String, request_id: &str) -> Problem {
    let code = match status {
        StatusCode::NOT_FOUND => "route_not_found",
        StatusCode::METHOD_NOT_ALLOWED => "method_not_allowed",
        StatusCode::PAYLOAD_TOO_LARGE => "body_too_large",
        StatusCode::PRECONDITION_FAILED => "precondition_failed",
        StatusCode::RANGE_NOT_SATISFIABLE => "range_not_satisfiable",
        status if status.is_client_error() => "bad_request",
        _ => "internal_error",
    };
    problem(status, code, None, detail, request_id)
}

fn problem(status: StatusCode, code: &str, field: Option<&str>, detail: String, request_id: &str) -> Problem {
    Problem {
        kind: "about:blank".into(),
        title: status.canonical_reason().unwrap_or("Error").into(),
        status: status.as_u16(),
        detail,
        code: code.into(),
        field: field.map(str::to_owned),
        request_id: request_id.into(),
    }
}

/// Gives `response` the body of `problem`.
pub fn with_body(response: HttpResponse, problem: &Problem) -> HttpResponse {
    let body = answer::problem(problem).to_string();
    let mut response = response.set_body(actix_web::body::BoxBody::new(body));
    let value = header::HeaderValue::from_static(MEDIA_TYPE);
    response.headers_mut().insert(header::CONTENT_TYPE, value);
    let no_store = header::HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, no_store);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::Failure;
    use crate::supervisor::users::NoneLeft;
    use common::id::StreamerId;
    use std::time::Duration;

    #[test]
    fn each_error_has_its_status_and_code() {
        let id = || StreamerId::parse("a").unwrap();
        let refused = |code| AskError::Refused(RequestError::new(code, "m"));
        for (error, status, code) in [
            (Denied::NotFound(id()).into(), 404, "streamer_not_found"),
            (Denied::Exists(id()).into(), 409, "streamer_exists"),
            (Denied::TooMany { max: 1 }.into(), 429, "too_many_streamers"),
            (Denied::NoUser(NoneLeft("2000-2001".into())).into(), 429, "no_user_left"),
            (Denied::Starting.into(), 409, "streamer_starting"),
            (Denied::ShuttingDown.into(), 503, "shutting_down"),
            (Denied::NotDurable { id: id(), reason: "full".into() }.into(), 507, "not_durable"),
            (refused(Code::BadOffer).into(), 400, "bad_offer"),
            (refused(Code::SlotNotFound).into(), 404, "slot_not_found"),
            (refused(Code::NoFreeSlot).into(), 409, "no_free_slot"),
            (refused(Code::TooManyPeers).into(), 429, "too_many_peers"),
            (refused(Code::SourceFailed).into(), 500, "source_failed"),
            (refused(Code::Stalled).into(), 504, "stalled"),
            (hosts::Error::NotFound("h".into()).into(), 404, "host_not_found"),
            (hosts::Error::NotPaired("h".into()).into(), 400, "host_not_paired"),
            (hosts::Error::Busy("h".into()).into(), 409, "host_busy"),
            (AskError::Gone.into(), 502, "streamer_gone"),
            (AskError::Busy.into(), 503, "streamer_busy"),
            (AskError::Timeout(Duration::from_secs(10)).into(), 504, "streamer_timeout"),
            (files::Error::NoHome.into(), 404, "no_home"),
            (files::Error::TooLarge { max: 1 }.into(), 413, "file_too_large"),
            (files::Error::OverQuota { max: 1, used: 1 }.into(), 507, "over_quota"),
            (files::Error::from(std::io::Error::from_raw_os_error(libc::ELOOP)).into(), 409, "is_a_link"),
            (
                files::Error::from(std::io::Error::from_raw_os_error(libc::EACCES)).into(),
                403,
                "file_forbidden",
            ),
            (files::Error::from(std::io::Error::from_raw_os_error(libc::EDQUOT)).into(), 507, "no_space"),
            (ApiError::Json("x".into()), 400, "malformed_json"),
            (ApiError::NoRoute, 404, "route_not_found"),
            (Refused::NoToken.into(), 401, "unauthorized"),
            (Refused::Expired.into(), 401, "unauthorized"),
            (Refused::OtherStreamer.into(), 403, "forbidden"),
            (Exceeded::Logins.into(), 429, "too_many_failed_logins"),
            (Full::TooMany.into(), 429, "too_many_revocations"),
            (ApiError::Method { allow: "GET".into() }, 405, "method_not_allowed"),
            (ApiError::MediaType { expected: "x" }, 415, "unsupported_media_type"),
        ] {
            let error: ApiError = error;
            let problem = error.problem("r1");
            assert_eq!((problem.status, problem.code.as_str()), (status, code), "{error:?}");
            assert_eq!(error.status_code().as_u16(), status);
            assert_eq!(problem.request_id, "r1");
            assert!(!problem.detail.is_empty() && !problem.title.is_empty());
        }
    }

    #[test]
    fn the_source_of_a_streamer_says_itself_why_it_did_not_start() {
        let error = RequestError::new(Code::CommandFailed, "no program \"x\"").with_field("source.command");
        let failure = Failure { error: Some(error), ..Failure::new("no program \"x\"") };
        let problem = ApiError::from(StartError::Failed(Box::new(failure))).problem("r");
        assert_eq!((problem.status, problem.code.as_str()), (400, "command_failed"));
        assert_eq!(problem.field.as_deref(), Some("source.command"));
        assert_eq!(problem.detail, "no program \"x\"");
    }

    #[test]
    fn who_comes_too_often_is_told_when_to_come_again() {
        for (error, seconds) in [
            (ApiError::from(Exceeded::Logins), "10"),
            (Exceeded::Snapshots.into(), "1"),
            (AskError::Refused(RequestError::new(Code::Busy, "m")).into(), "1"),
            (cluster::Error::Unreachable("m".into()).into(), "2"),
        ] {
            let response = error.error_response();
            assert_eq!(response.headers().get(header::RETRY_AFTER).unwrap(), seconds, "{error:?}");
        }
    }

    #[test]
    fn a_wrong_method_names_the_right_ones_in_a_header() {
        let response = ApiError::Method { allow: "GET, HEAD".into() }.error_response();
        assert_eq!(response.headers().get(header::ALLOW).unwrap(), "GET, HEAD");
    }
}
