//! The web page: what `frontend/app` builds, embedded into this program (a debug build reads it from the
//! source tree, so that rebuilding the page needs no rebuild of the server).

use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use rust_embed::{EmbeddedFile, RustEmbed};

use super::extract::Id;
use super::problem::ApiError;

#[derive(RustEmbed)]
#[folder = "../frontend/app/dist"]
struct Dist;

/// The list of streamers.
const LIST: &str = "index.html";
/// The viewer of any streamer; its script looks at the path. It lies where it is served, below `s/`, so that
/// the relative addresses in it are right.
const VIEWER: &str = "s/index.html";
/// The cameras, side by side.
const GRID: &str = "grid.html";
/// Moonlight hosts: pairing, and what they can play.
const HOSTS: &str = "hosts.html";
/// One stream and nothing else, for frames in other pages.
const STREAM: &str = "stream.html";
/// Its name holds a hash of its content, so it never changes.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// Ask each time whether it has changed.
const REVALIDATE: &str = "no-cache";
/// Scripts and connections of our own only. Who may put a page into a frame comes after it.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; img-src 'self' data: blob:; \
    media-src 'self' blob:; style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'none'; \
    frame-ancestors ";

/// Who may put a page into a frame.
#[derive(Clone, Copy)]
enum Framing {
    /// Pages of ours: a click on what is steered must be meant for it.
    Ourselves,
    /// Everybody: there is nothing in the page that could be clicked by mistake.
    Anybody,
}

impl Framing {
    fn policy(self) -> String {
        let ancestors = match self {
            Framing::Ourselves => "'self'",
            Framing::Anybody => "*",
        };
        format!("{CONTENT_SECURITY_POLICY}{ancestors}")
    }
}

/// Shown in place of a page that was not built.
const NOT_BUILT: &str = "<!doctype html><meta charset=utf-8><title>Oriel</title>\
    <p>This server was built without its web page. The API works. To build the page, run \
    <code>npm ci &amp;&amp; npm run build</code> in <code>frontend/</code>, then build the server again.\n";

/// `/`: the list of streamers.
pub async fn index(request: HttpRequest) -> HttpResponse {
    page(&request, LIST, Framing::Ourselves)
}

/// `/grid`: cameras side by side.
pub async fn grid(request: HttpRequest) -> HttpResponse {
    page(&request, GRID, Framing::Ourselves)
}

/// `/hosts`: Moonlight hosts.
pub async fn hosts(request: HttpRequest) -> HttpResponse {
    page(&request, HOSTS, Framing::Ourselves)
}

/// `/stream.html`: one stream, which other sites may show in a frame.
pub async fn stream(request: HttpRequest) -> HttpResponse {
    page(&request, STREAM, Framing::Anybody)
}

fn page(request: &HttpRequest, name: &str, framing: Framing) -> HttpResponse {
    match Dist::get(name) {
        Some(file) => {
            let mut response = serve(request, name, file, REVALIDATE);
            let policy = HeaderValue::from_str(&framing.policy()).expect("plain ASCII");
            response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
            response
        }
        None => HttpResponse::Ok().content_type("text/html; charset=utf-8").body(NOT_BUILT),
    }
}

/// `/s/{id}`: one streamer. The page itself says so when there is none of that id.
///
/// # Errors
/// The id is not one.
pub async fn viewer(request: HttpRequest, _id: Id) -> Result<HttpResponse, ApiError> {
    Ok(page(&request, VIEWER, Framing::Ourselves))
}

/// Any other file of the page.
///
/// # Errors
/// There is no such file.
pub async fn file(request: HttpRequest, path: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let path = path.into_inner();
    let file = Dist::get(&path).ok_or(ApiError::NoRoute)?;
    let caching = if path.starts_with("assets/") { IMMUTABLE } else { REVALIDATE };
    Ok(serve(&request, &path, file, caching))
}

fn serve(request: &HttpRequest, path: &str, file: EmbeddedFile, caching: &'static str) -> HttpResponse {
    let hash = file.metadata.sha256_hash();
    let tag: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("\"{tag}\"");
    let known = request.headers().get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let unchanged = known.is_some_and(|known| known.split(',').any(|known| known.trim() == tag));
    let mut response = if unchanged { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response.insert_header((header::ETAG, tag)).insert_header((header::CACHE_CONTROL, caching));
    if unchanged {
        return response.finish();
    }
    let media_type = mime_guess::from_path(path).first_or_octet_stream();
    let text = media_type.type_() == mime_guess::mime::TEXT;
    let charset = if text { "; charset=utf-8" } else { "" };
    response.content_type(format!("{media_type}{charset}")).body(file.data)
}
