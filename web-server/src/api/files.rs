//! `/api/streamers/{id}/files/{path}`: the home of a session.

#![expect(clippy::disallowed_methods, reason = "a request is taken at the time at which it comes")]

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use actix_files::NamedFile;
use actix_web::http::header::{
    self, Charset, ContentDisposition, DispositionParam, DispositionType, ExtendedValue, HeaderName,
    HeaderValue,
};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};
use common::audit::AuditAction;
use common::files::{FileEntry, FileList, FileUpload, encoded};
use common::id::StreamerId;
use futures_util::{StreamExt as _, stream};
use mime_guess::mime::{self, Mime};
use percent_encoding::percent_decode_str;
use tokio::time::timeout;

use crate::files::{self, Error, FilePath, Files, Found, Home, Range, Removal, Upload, blocking};
use crate::http::extract::{Id, Query};
use crate::http::problem::ApiError;
use crate::http::site::{Caller, Site};
use crate::registry::Handle;

/// Entries of a directory when the request does not say how many, and the most.
const PAGE: usize = 200;
const MAX_PAGE: usize = 1000;
/// An upload may take hours; that nothing of it comes may not.
const CHUNK_DEADLINE: Duration = Duration::from_secs(60);
/// What is read of a refused upload, and for how long.
const MAX_DRAINED: usize = 8 * 1024 * 1024;
const DRAIN_DEADLINE: Duration = Duration::from_secs(2);
/// A file is what a program of a session made: should a browser show it all the same, it shows it as nobody's.
const POLICY: &str = "sandbox; default-src 'none'";

/// Read a file, or list a directory.
///
/// Below the home of the session's desktop, and no link is followed. A file comes as it is, to be saved; `Range` and `If-None-Match`
/// are heeded. A directory comes as a list, or with `archive=zip` as an archive of all that is in it.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    get, path = "/api/streamers/{id}/files/{path}", tag = "files", operation_id = "read_file",
    params(
        ("id" = String, Path, description = "Name of the streamer"),
        ("path" = String, Path, description = "Below the home, percent-encoded; empty: the home itself"),
        ("limit" = Option<u16>, Query, description = "Of a directory: most entries, 1..=1000; 200 if absent"),
        ("after" = Option<String>, Query, description = "Of a directory: `next` of the page before"),
        ("archive" = Option<String>, Query, description = "Of a directory: `zip`"),
        ("Range" = Option<String>, Header, description = "Of a file: part of it"),
        ("If-None-Match" = Option<String>, Header, description = "Of a file: its `ETag`"),
    ),
    responses(
        (status = 200, description = "A file, a directory, or an archive of one", content(
            (FileList = "application/json"), (Vec<u8> = "application/octet-stream"), (Vec<u8> = "application/zip"),
        )),
        (status = 206, description = "Part of a file", content((Vec<u8> = "application/octet-stream"))),
        (status = 304, description = "The file has not changed"),
        (status = 404, description = "`no_home`, or `file_not_found`"),
        (status = 409, description = "`is_a_link`, `not_a_file`, `not_a_directory`, `directory_too_large`"),
    ),
)]
pub async fn read(
    request: HttpRequest,
    id: Id,
    caller: Caller,
    registry: web::Data<Handle>,
    files: web::Data<Files>,
    site: web::Data<Site>,
) -> Result<HttpResponse, ApiError> {
    files.may_read()?;
    let path = path_of(&request, &site)?;
    let query = Query::of(&request, &["limit", "after", "archive"])?;
    let home = home(&id.0, &registry).await?;
    let found = {
        let (home, path) = (home.clone(), path.clone());
        blocking(move || home.find(&path)).await?
    };
    let by = caller.right?.name();
    let is_head = request.method() == Method::HEAD;
    let audit = |detail: String| registry.audit(&id.0, AuditAction::FileRead, &by, Some(detail));
    match (found, query.get("archive")) {
        (Found::File(_), Some(_)) => Err(Error::NotDirectory.into()),
        (Found::File(file), None) => {
            let response = file_response(&request, file, &path)?;
            let whole = response.status() == StatusCode::OK;
            let begins = || {
                request
                    .headers()
                    .get(header::RANGE)
                    .is_some_and(|range| range.as_bytes().starts_with(b"bytes=0-"))
            };
            if !is_head && (whole || response.status() == StatusCode::PARTIAL_CONTENT && begins()) {
                audit(path.encoded());
            }
            Ok(response)
        }
        (Found::Directory(directory), None) => {
            let limit = query.count("limit", MAX_PAGE)?.unwrap_or(PAGE);
            let after: Option<Vec<u8>> = query.get("after").map(|name| percent_decode_str(name).collect());
            let listed = blocking(move || home.list(&directory, &path, after.as_deref(), limit)).await?;
            let (entries, next) = listed;
            let next = next.map(|name| encoded(&name));
            Ok(HttpResponse::Ok().json(FileList { entries, next }))
        }
        (Found::Directory(directory), Some("zip")) => {
            let turn = files.archive_turn(&id.0)?;
            let name = if path.name().is_none() { id.0.to_string() } else { path.shown_name() };
            let mut response = HttpResponse::Ok();
            response
                .content_type("application/zip")
                .insert_header(attachment(&format!("{name}.zip")))
                .insert_header((header::CACHE_CONTROL, "no-store"))
                .insert_header((header::CONTENT_SECURITY_POLICY, POLICY));
            if is_head {
                return Ok(response.finish());
            }
            audit(format!("{}/", path.encoded()));
            let parts = files::zip(home, directory, turn);
            Ok(response.streaming(stream::unfold(parts, |mut parts| async move {
                let part: io::Result<web::Bytes> = parts.recv().await?;
                Some((part, parts))
            })))
        }
        (Found::Directory(_), Some(other)) => {
            Err(ApiError::field("archive", format!("can be \"zip\", not {other:?}")))
        }
    }
}

/// Write a file, or make a directory.
///
/// With a slash at the end of the path, a directory is made. Otherwise the body becomes the file, in one piece or not at all: it is
/// written beside and renamed when it is complete. With `Content-Range: bytes FIRST-LAST/TOTAL` it comes in parts, each in a request of its own
/// and in order; after an interruption, `bytes */TOTAL` without a body asks where to go on. What belongs to no session any more, and parts that
/// nothing follows within a day, are removed.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    put, path = "/api/streamers/{id}/files/{path}", tag = "files", operation_id = "write_file",
    params(
        ("id" = String, Path, description = "Name of the streamer"),
        ("path" = String, Path, description = "Below the home, percent-encoded; with a slash at its end: a directory"),
        ("Content-Range" = Option<String>, Header, description = "`bytes FIRST-LAST/TOTAL`: a part; `bytes */TOTAL`: how much is there?"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: replace no file"),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "The file, or a part of it"),
    responses(
        (status = 200, description = "Replaced; or the directory was there", body = FileEntry),
        (status = 201, description = "Made", body = FileEntry),
        (status = 202, description = "Here as far as it says; send what follows", body = FileUpload),
        (status = 409, description = "`is_a_directory`, `not_a_directory`, `is_a_link`, `not_a_file`, `wrong_offset`, `upload_busy`"),
        (status = 412, description = "`file_exists`, and `If-None-Match: *` was sent"),
        (status = 413, description = "`file_too_large`"),
        (status = 507, description = "`over_quota`, or `no_space`"),
    ),
)]
pub async fn write(
    request: HttpRequest,
    mut payload: web::Payload,
    id: Id,
    caller: Caller,
    registry: web::Data<Handle>,
    files: web::Data<Files>,
    site: web::Data<Site>,
) -> Result<HttpResponse, ApiError> {
    let by = caller.right?.name();
    let put = Put { request: &request, id: &id.0, registry: &registry, files: &files, site: &site };
    let written = put.write(&mut payload).await;
    if written.is_err() {
        // Else the connection would be closed with bytes in it that nobody has read, and the client might not see the refusal.
        drain(&mut payload).await;
    }
    let (path, home, made) = match written? {
        Written::Part(upload) => return Ok(HttpResponse::Accepted().json(upload)),
        Written::Whole { path, home, made } => (path, home, made),
    };
    registry.audit(&id.0, AuditAction::FileWritten, &by, Some(path.encoded()));
    let mut response = if made { HttpResponse::Created() } else { HttpResponse::Ok() };
    let location = site.path(&format!("/api/streamers/{}/files/{}", id.0, path.encoded()));
    let entry: FileEntry = blocking(move || home.describe(&path)).await?;
    Ok(response.insert_header((header::LOCATION, location)).json(entry))
}

/// What a `PUT` has done.
enum Written {
    /// The file or directory is there.
    Whole { path: FilePath, home: Arc<Home>, made: bool },
    /// More parts are to follow.
    Part(FileUpload),
}

/// A `PUT` and what serves it.
struct Put<'a> {
    request: &'a HttpRequest,
    id: &'a StreamerId,
    registry: &'a Handle,
    files: &'a Files,
    site: &'a Site,
}

impl Put<'_> {
    async fn write(self, payload: &mut web::Payload) -> Result<Written, ApiError> {
        let Self { request, id, registry, files, site } = self;
        files.may_write()?;
        let path = path_of(request, site)?;
        Query::of(request, &[])?;
        let range = header_of(request, header::CONTENT_RANGE)?.map(Range::parse).transpose()?;
        let length =
            header_of(request, header::CONTENT_LENGTH)?.and_then(|length| length.parse::<u64>().ok());
        let replace = match header_of(request, header::IF_NONE_MATCH)? {
            None => true,
            Some("*") => false,
            Some(other) => {
                return Err(ApiError::field("If-None-Match", format!("can be \"*\", not {other:?}")));
            }
        };
        let home = home(id, registry).await?;
        if path.means_directory() {
            let (of, at) = (home.clone(), path.clone());
            let made = blocking(move || of.make_directory(&at)).await?;
            return Ok(Written::Whole { path, home, made });
        }
        let _turn = files.upload_turn(id)?;
        let (wanted, total) = match range {
            None => (length, length),
            Some(Range::Ask { total }) => (Some(0), Some(total)),
            Some(Range::Part { first, total, .. }) => (Some(total - first), Some(total)),
        };
        let room = files.reserve(id, &home, wanted, total).await?;
        let (of, at) = (home.clone(), path.clone());
        let now = SystemTime::now();
        let begun = blocking(move || {
            // Before it is sent in vain; that it is so at the end, too, is seen to then.
            if !replace && of.describe(&at).is_ok() {
                return Err(Error::Exists);
            }
            Upload::begin(of, at, range, now)
        });
        match receive(payload, begun.await?, range, length, &room).await? {
            Received::All(upload) => {
                let made = upload.finish(replace).await?;
                Ok(Written::Whole { path, home, made })
            }
            Received::Some(upload) => Ok(Written::Part(upload)),
        }
    }
}

/// Reads what else a client has sent, as far as that is soon and not much.
async fn drain(payload: &mut web::Payload) {
    let mut left = MAX_DRAINED;
    let drained = async {
        while let Some(Ok(chunk)) = payload.next().await {
            match left.checked_sub(chunk.len()) {
                Some(less) => left = less,
                None => return,
            }
        }
    };
    // Who is slower sees the connection break.
    let _ = timeout(DRAIN_DEADLINE, drained).await;
}

/// What has come.
enum Received {
    All(Upload),
    Some(FileUpload),
}

/// Takes the body. What has come of a part stays, also when the rest does not come.
async fn receive(
    payload: &mut web::Payload,
    mut upload: Upload,
    range: Option<Range>,
    length: Option<u64>,
    room: &files::Reservation,
) -> Result<Received, ApiError> {
    let expected = match range {
        None => length,
        Some(Range::Part { first, last, .. }) => Some(last - first + 1),
        Some(Range::Ask { .. }) => Some(0),
    };
    if expected.is_some() && length.is_some() && expected != length {
        return Err(Error::BadRange("does not fit the length of the body").into());
    }
    let begin = upload.received();
    let complete = loop {
        let chunk = timeout(CHUNK_DEADLINE, payload.next()).await;
        let chunk = match chunk.map_err(|_| ApiError::Slow(CHUNK_DEADLINE)) {
            Ok(None) => break Ok(()),
            Ok(Some(Ok(chunk))) => chunk,
            Ok(Some(Err(_))) => break Err(Error::Incomplete.into()),
            Err(slow) => break Err(slow),
        };
        let sent = upload.received() - begin + chunk.len() as u64;
        if expected.is_some_and(|expected| sent > expected) {
            break Err(Error::BadRange("does not fit the length of the body").into());
        }
        let written = match room.take(chunk.len() as u64) {
            Ok(()) => upload.write(&chunk).await,
            Err(full) => Err(full),
        };
        if let Err(error) = written {
            break Err(error.into());
        }
    };
    // Of a part, what has come counts, whatever follows.
    upload.flush().await?;
    complete?;
    if expected.is_some_and(|expected| upload.received() - begin < expected) {
        return Err(Error::Incomplete.into());
    }
    match range {
        Some(range) if upload.received() < range.total() => {
            Ok(Received::Some(FileUpload { received: upload.received(), total: range.total() }))
        }
        _ => Ok(Received::All(upload)),
    }
}

/// Delete a file or a directory.
///
/// Of a link, the link itself. A directory must be empty, unless all in it shall go. With `Content-Range: bytes */TOTAL`, an upload in parts that is
/// not complete is forgotten, and nothing else.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    delete, path = "/api/streamers/{id}/files/{path}", tag = "files", operation_id = "delete_file",
    params(
        ("id" = String, Path, description = "Name of the streamer"),
        ("path" = String, Path, description = "Below the home, percent-encoded"),
        ("recursive" = Option<bool>, Query, description = "Of a directory: all that is in it, too"),
        ("Content-Range" = Option<String>, Header, description = "`bytes */TOTAL`: the unfinished upload of a file of this length"),
    ),
    responses(
        (status = 204, description = "Gone"),
        (status = 404, description = "`no_home`, or `file_not_found`"),
        (status = 409, description = "`directory_not_empty`, `directory_too_large`, `not_a_directory`"),
    ),
)]
pub async fn remove(
    request: HttpRequest,
    id: Id,
    caller: Caller,
    registry: web::Data<Handle>,
    files: web::Data<Files>,
    site: web::Data<Site>,
) -> Result<HttpResponse, ApiError> {
    files.may_write()?;
    let path = path_of(&request, &site)?;
    let removal = match Query::of(&request, &["recursive"])?.get("recursive") {
        None | Some("false") => Removal::One,
        Some("true") => Removal::Recursive,
        Some(other) => {
            return Err(ApiError::field("recursive", format!("must be true or false, not {other:?}")));
        }
    };
    let range = header_of(&request, header::CONTENT_RANGE)?.map(Range::parse).transpose()?;
    let home = home(&id.0, &registry).await?;
    match range {
        Some(Range::Ask { total }) => {
            blocking(move || Upload::discard(&home, &path, total)).await?;
            return Ok(HttpResponse::NoContent().finish());
        }
        Some(Range::Part { .. }) => return Err(Error::BadRange("must be \"bytes */TOTAL\" here").into()),
        None => {}
    }
    let by = caller.right?.name();
    let detail = path.encoded();
    blocking(move || home.remove(&path, removal)).await?;
    registry.audit(&id.0, AuditAction::FileDeleted, &by, Some(detail));
    Ok(HttpResponse::NoContent().finish())
}

async fn home(id: &StreamerId, registry: &Handle) -> Result<Arc<Home>, ApiError> {
    let location = registry.home(id).await?;
    Ok(Arc::new(blocking(move || Home::open(location)).await?))
}

/// The path below the home, from that of the request as it came: parameters of routes are decoded already, and not all that is in a name
/// survives that.
fn path_of(request: &HttpRequest, site: &Site) -> Result<FilePath, Error> {
    let whole = site.without_base(request.uri().path());
    let below = whole.splitn(6, '/').nth(5).unwrap_or_default();
    FilePath::parse(below)
}

fn header_of(request: &HttpRequest, name: HeaderName) -> Result<Option<&str>, ApiError> {
    let value = request.headers().get(&name).map(HeaderValue::to_str).transpose();
    value.map_err(|_| ApiError::field(name.as_str(), "must be ASCII"))
}

fn file_response(request: &HttpRequest, file: std::fs::File, path: &FilePath) -> Result<HttpResponse, Error> {
    let name = path.shown_name();
    let file = NamedFile::from_file(file, &name)?
        .set_content_type(media_type(&name))
        .set_content_disposition(attachment(&name));
    let mut response = file.into_response(request);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    Ok(response)
}

/// As the name says, for what no browser runs. All else is bytes.
fn media_type(name: &str) -> Mime {
    let guess = mime_guess::from_path(name).first_or_octet_stream();
    let harmless = match guess.type_() {
        mime::IMAGE => guess.subtype() != mime::SVG,
        mime::AUDIO | mime::VIDEO => true,
        _ => guess == mime::TEXT_PLAIN || guess == mime::APPLICATION_PDF || guess == mime::APPLICATION_JSON,
    };
    if harmless { guess } else { mime::APPLICATION_OCTET_STREAM }
}

/// To be saved, by its name (RFC 6266).
fn attachment(name: &str) -> ContentDisposition {
    let plain: String = name
        .chars()
        .map(|char| {
            if char.is_ascii_graphic() && !matches!(char, '"' | '\\' | '%') || char == ' ' {
                char
            } else {
                '_'
            }
        })
        .collect();
    let mut parameters = vec![DispositionParam::Filename(plain.clone())];
    if plain != name {
        let value = name.as_bytes().to_vec();
        let charset = Charset::Ext("UTF-8".to_owned());
        parameters.push(DispositionParam::FilenameExt(ExtendedValue { charset, language_tag: None, value }));
    }
    ContentDisposition { disposition: DispositionType::Attachment, parameters }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_browser_runs_is_called_what_it_is() {
        for (name, expected) in [
            ("a.png", "image/png"),
            ("a.mp4", "video/mp4"),
            ("a.pdf", "application/pdf"),
            ("a.svg", "application/octet-stream"),
            ("a.html", "application/octet-stream"),
            ("a.js", "application/octet-stream"),
            ("a.xml", "application/octet-stream"),
            ("a", "application/octet-stream"),
        ] {
            assert_eq!(media_type(name).essence_str(), expected, "{name}");
        }
    }

    #[test]
    fn a_name_stays_within_its_header() {
        for (name, expected) in [
            ("a b.txt", "attachment; filename=\"a b.txt\""),
            ("a\"\r\nX: y", "attachment; filename=\"a___X: y\"; filename*=UTF-8''a%22%0D%0AX%3A%20y"),
            ("grüße", "attachment; filename=\"gr__e\"; filename*=UTF-8''gr%C3%BC%C3%9Fe"),
        ] {
            assert_eq!(attachment(name).to_string(), expected);
        }
    }
}
