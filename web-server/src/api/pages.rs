//! The web page: what `frontend/app` builds, embedded into this program (a debug build reads it from the
//! source tree, so that rebuilding the page needs no rebuild of the server). Beside each file of text lie its compressed
//! forms, which the build has made once.

use actix_web::http::Method;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::cluster::Cluster;
use crate::cluster::directory::origin_of;
use crate::http::extract::Id;
use crate::http::headers::{accepts, known_tags};
use crate::http::problem::ApiError;

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
/// The nodes of the cluster.
const NODES: &str = "nodes.html";
/// The list of rooms.
const ROOMS: &str = "rooms.html";
/// Any room; its script looks at the path, as that of the viewer does.
const ROOM: &str = "r/index.html";
/// One stream and nothing else, for frames in other pages.
const STREAM: &str = "stream.html";
/// Its name holds a hash of its content, so it never changes.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// Ask each time whether it has changed.
const REVALIDATE: &str = "no-cache";
/// Scripts and connections of our own only. The other nodes of the cluster, where a page goes on when its own dies, and who may put it into
/// a frame come after it.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; img-src 'self' data: blob:; \
    media-src 'self' blob:; style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'none'; \
    connect-src 'self'";

/// Content codings that files are kept in, the smallest first, with the ending of their names.
const CODINGS: [(&str, &str); 2] = [("br", ".br"), ("gzip", ".gz")];

/// Who may put a page into a frame.
#[derive(Clone, Copy)]
pub(super) enum Framing {
    /// Pages of ours: a click on what is steered must be meant for it.
    Ourselves,
    /// Everybody: there is nothing in the page that could be clicked by mistake.
    Anybody,
}

impl Framing {
    fn policy(self, nodes: &[String]) -> String {
        let ancestors = match self {
            Framing::Ourselves => "'self'",
            Framing::Anybody => "*",
        };
        let mut policy = CONTENT_SECURITY_POLICY.to_owned();
        for origin in nodes.iter().map(|url| origin_of(url)) {
            // Both schemes begin alike: http and ws, https and wss.
            let websockets = origin.replacen("http", "ws", 1);
            policy.push_str(&format!(" {origin} {websockets}"));
        }
        policy.push_str("; frame-ancestors ");
        policy.push_str(ancestors);
        policy
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

/// `/nodes`: the nodes of the cluster. The page itself says so when there is none.
pub async fn nodes(request: HttpRequest) -> HttpResponse {
    page(&request, NODES, Framing::Ourselves)
}

/// `/rooms`: the list of rooms.
pub async fn rooms(request: HttpRequest) -> HttpResponse {
    page(&request, ROOMS, Framing::Ourselves)
}

/// `/r/{id}`: one room. The page itself says so when there is none of that id.
///
/// # Errors
/// The id is not one.
pub async fn room(request: HttpRequest, _id: Id) -> Result<HttpResponse, ApiError> {
    Ok(page(&request, ROOM, Framing::Ourselves))
}

/// `/stream.html`: one stream, which other sites may show in a frame.
pub async fn stream(request: HttpRequest) -> HttpResponse {
    page(&request, STREAM, Framing::Anybody)
}

fn page(request: &HttpRequest, name: &str, framing: Framing) -> HttpResponse {
    match Dist::get(name) {
        Some(file) => {
            let mut response = serve(request, name, file, REVALIDATE);
            let cluster = request.app_data::<web::Data<Cluster>>();
            let nodes = cluster.map(|cluster| cluster.public_urls()).unwrap_or_default();
            frame(&mut response, framing, &nodes);
            response
        }
        None => HttpResponse::Ok().content_type("text/html; charset=utf-8").body(NOT_BUILT),
    }
}

pub(super) fn frame(response: &mut HttpResponse, framing: Framing, nodes: &[String]) {
    let policy =
        HeaderValue::from_str(&framing.policy(nodes)).expect("plain ASCII, as URLs of nodes are checked");
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
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
    let (file, coding) = match compressed(request, path) {
        Some((file, coding)) => (file, Some(coding)),
        None => (file, None),
    };
    let hash = file.metadata.sha256_hash();
    let tag: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let unchanged = known_tags(request.headers()).any(|known| known == tag);
    let mut response = if unchanged { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response
        .insert_header((header::ETAG, format!("\"{tag}\"")))
        .insert_header((header::CACHE_CONTROL, caching));
    response.insert_header((header::VARY, "accept-encoding"));
    if unchanged {
        return response.finish();
    }
    if let Some(coding) = coding {
        response.insert_header((header::CONTENT_ENCODING, coding));
    }
    let media_type = mime_guess::from_path(path).first_or_octet_stream();
    let text = media_type.type_() == mime_guess::mime::TEXT;
    let charset = if text { "; charset=utf-8" } else { "" };
    response.content_type(format!("{media_type}{charset}")).body(file.data)
}

/// The form of a file that the client takes and that there is, with its coding.
fn compressed(request: &HttpRequest, path: &str) -> Option<(EmbeddedFile, &'static str)> {
    CODINGS
        .into_iter()
        .filter(|(coding, _)| accepts(request.headers(), header::ACCEPT_ENCODING, coding))
        .find_map(|(coding, ending)| Some((Dist::get(&format!("{path}{ending}"))?, coding)))
}

/// Whether an error shall be a page: a browser shows it to somebody, who has followed a link or typed an address.
/// `path`: below our root.
pub fn shows_errors(request: &HttpRequest, path: &str) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD)
        && !path.starts_with("/api/")
        && accepts(request.headers(), header::ACCEPT, "text/html")
}
