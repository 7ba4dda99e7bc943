//! The HTTP side: one file per resource, each parsing the request, making one call, and mapping its error. The table of
//! routes, with the right that each needs, is in here.

pub mod audit;
pub mod control;
pub mod describe;
pub mod edge;
pub mod elsewhere;
pub mod error_page;
mod error_words;
pub mod events;
pub mod examples;
pub mod files;
pub mod health;
pub mod hosts;
pub mod info;
pub mod mp4;
pub mod nodes;
pub mod openapi;
pub mod pages;
pub mod peers;
pub mod reference;
pub mod rooms;
pub mod session;
pub mod sfu;
pub mod slots;
pub mod sources;
pub mod streamers;
pub mod streams;
pub mod supervision;
pub mod tokens;

use actix_web::middleware::from_fn;
use actix_web::{HttpResponse, Resource, Route, guard as by, web};
use common::access::Need;
use common::person::PeerRight;

use crate::config::Compat;
use crate::http::problem::ApiError;
use crate::signaling::{media_ws, multistream, offered, peer_ws, whep, whip};

/// A file in the home of a session: its path may have several segments.
const FILE: &str = "/api/streamers/{id}/files/{path:.*}";

/// A route with the right that it needs.
pub struct Entry {
    /// HTTP method; `GET` is also `HEAD` (RFC 9110 §9.3.2).
    pub method: &'static str,
    /// Pattern of the path, below the base path.
    pub path: &'static str,
    /// The right that a caller needs, for the streamer `{id}` if the path has one.
    pub need: Need,
    /// The right among the peers that a caller needs as well, if any.
    pub right: Option<PeerRight>,
    /// Whether it is a WebSocket, which may bring its token in the first message.
    pub in_band: bool,
    route: fn() -> Route,
}

fn entry(method: &'static str, path: &'static str, need: Need, route: fn() -> Route) -> Entry {
    Entry { method, path, need, right: None, in_band: false, route }
}

/// For those who may publish to a streamer that they may watch.
fn publishing(method: &'static str, path: &'static str, route: fn() -> Route) -> Entry {
    Entry { method, path, need: Need::Viewer, right: Some(PeerRight::Publish), in_band: false, route }
}

fn websocket(path: &'static str, need: Need, route: fn() -> Route) -> Entry {
    Entry { method: "GET", path, need, right: None, in_band: true, route }
}

/// Every route. Those with the same path follow each other; of two that fit a path the first is taken.
pub fn table() -> Vec<Entry> {
    use Need::{Admin, Controller, Nothing, Viewer};
    vec![
        entry("GET", "/api/events", Admin, || web::route().to(events::all)),
        entry("GET", "/api/streamers", Admin, || web::route().to(streamers::list)),
        entry("POST", "/api/streamers", Admin, || web::route().to(streamers::create)),
        entry("GET", "/api/streamers/{id}", Viewer, || web::route().to(streamers::get)),
        entry("PATCH", "/api/streamers/{id}", Admin, || web::route().to(streamers::patch)),
        entry("DELETE", "/api/streamers/{id}", Admin, || web::route().to(streamers::delete)),
        entry("GET", "/api/rooms", Admin, || web::route().to(rooms::list)),
        entry("POST", "/api/rooms", Admin, || web::route().to(rooms::create)),
        entry("GET", "/api/rooms/{id}", Viewer, || web::route().to(rooms::get)),
        entry("DELETE", "/api/rooms/{id}", Admin, || web::route().to(rooms::delete)),
        entry("GET", "/api/streamers/{id}/events", Viewer, || web::route().to(events::of_one)),
        entry("GET", "/api/streamers/{id}/audit", Admin, || web::route().to(audit::audit)),
        entry("POST", "/api/streamers/{id}/restart", Admin, || web::route().to(supervision::restart)),
        entry("POST", "/api/streamers/{id}/move", Admin, || web::route().to(nodes::relocate)),
        entry("GET", "/api/streamers/{id}/logs", Admin, || web::route().to(supervision::logs)),
        entry("GET", "/api/streamers/{id}/snapshot", Viewer, || web::route().to(session::snapshot)),
        entry("POST", "/api/streamers/{id}/input", Controller, || web::route().to(session::input)),
        entry("GET", "/api/streamers/{id}/clipboard", Controller, || web::route().to(session::get_clipboard)),
        entry("PUT", "/api/streamers/{id}/clipboard", Controller, || web::route().to(session::put_clipboard)),
        entry("POST", "/api/streamers/{id}/resize", Controller, || web::route().to(session::resize)),
        entry("GET", FILE, Controller, || web::route().to(files::read)),
        entry("PUT", FILE, Controller, || web::route().to(files::write)),
        entry("DELETE", FILE, Controller, || web::route().to(files::remove)),
        entry("GET", "/api/streamers/{id}/windows", Controller, || web::route().to(slots::windows)),
        // A name or a window; a source of another kind: admins only.
        entry("POST", "/api/streamers/{id}/slots", Controller, || web::route().to(slots::bind_free)),
        entry("PUT", "/api/streamers/{id}/slots/{slot}", Controller, || web::route().to(slots::bind_one)),
        entry("DELETE", "/api/streamers/{id}/slots/{slot}", Controller, || web::route().to(slots::clear)),
        entry("GET", "/api/streamers/{id}/sources", Viewer, || web::route().to(slots::sources)),
        entry("POST", "/api/streamers/{id}/sources", Admin, || web::route().to(slots::add_source)),
        entry("DELETE", "/api/streamers/{id}/sources/{name}", Admin, || {
            web::route().to(slots::remove_source)
        }),
        entry("GET", "/api/streamers/{id}/streams/{name}.mp4", Viewer, || web::route().to(mp4::read)),
        entry("GET", "/api/streamers/{id}/peers", Viewer, || web::route().to(peers::list)),
        entry("PATCH", "/api/streamers/{id}/peers/{peer_id}", Admin, || web::route().to(peers::patch)),
        entry("DELETE", "/api/streamers/{id}/peers/{peer_id}", Admin, || web::route().to(peers::remove)),
        entry("POST", "/api/streamers/{id}/tokens", Admin, || web::route().to(tokens::create)),
        entry("DELETE", "/api/streamers/{id}/tokens/{token_id}", Admin, || web::route().to(tokens::revoke)),
        entry("GET", "/api/streamers/{id}/control", Viewer, || web::route().to(control::get)),
        entry("PUT", "/api/streamers/{id}/control", Admin, || web::route().to(control::put)),
        websocket("/api/streamers/{id}/peer", Viewer, || web::route().to(peer_ws::connect)),
        websocket("/api/streamers/{id}/media", Viewer, || web::route().to(media_ws::connect)),
        // Pages written for another server, some of which say its base twice.
        websocket("/api/api/streamers/{id}/peer", Viewer, || web::route().to(peer_ws::connect)),
        entry("POST", "/api/streamers/{id}/whep", Viewer, || web::route().to(whep::create)),
        entry("OPTIONS", "/api/streamers/{id}/whep", Nothing, || web::route().to(offered::options)),
        entry("OPTIONS", "/api/streamers/{id}/whep/{peer_id}", Nothing, || {
            web::route().to(offered::options_of_one)
        }),
        // The one that the same token made, unless it is an admin who asks.
        entry("DELETE", "/api/streamers/{id}/whep/{peer_id}", Viewer, || web::route().to(whep::delete)),
        entry("PATCH", "/api/streamers/{id}/whep/{peer_id}", Viewer, || web::route().to(whep::patch)),
        publishing("POST", "/api/streamers/{id}/whip", || web::route().to(whip::create)),
        entry("OPTIONS", "/api/streamers/{id}/whip", Nothing, || web::route().to(offered::options)),
        entry("OPTIONS", "/api/streamers/{id}/whip/{peer_id}", Nothing, || {
            web::route().to(offered::options_of_one)
        }),
        // As of WHEP.
        entry("DELETE", "/api/streamers/{id}/whip/{peer_id}", Viewer, || web::route().to(whip::delete)),
        entry("PATCH", "/api/streamers/{id}/whip/{peer_id}", Viewer, || web::route().to(whip::patch)),
        // Pages written for another server ask so whether they have the right secret.
        entry("GET", "/api/authenticate", Admin, || web::route().to(HttpResponse::Ok)),
        entry("GET", "/api/hosts", Admin, || web::route().to(hosts::list)),
        entry("POST", "/api/hosts", Admin, || web::route().to(hosts::add)),
        entry("GET", "/api/hosts/{id}", Admin, || web::route().to(hosts::get)),
        entry("DELETE", "/api/hosts/{id}", Admin, || web::route().to(hosts::remove)),
        entry("POST", "/api/hosts/{id}/pair", Admin, || web::route().to(hosts::pair)),
        entry("GET", "/api/hosts/{id}/apps", Admin, || web::route().to(hosts::apps)),
        entry("GET", "/api/hosts/{id}/apps/{app}/image", Admin, || web::route().to(hosts::image)),
        entry("POST", "/api/hosts/{id}/wake", Admin, || web::route().to(hosts::wake)),
        entry("POST", "/api/hosts/{id}/cancel", Admin, || web::route().to(hosts::cancel)),
        entry("GET", "/api/nodes", Admin, || web::route().to(nodes::list)),
        entry("GET", "/api/nodes/{name}", Admin, || web::route().to(nodes::get)),
        entry("POST", "/api/nodes/{name}/drain", Admin, || web::route().to(nodes::drain)),
        entry("POST", "/api/nodes/{name}/undrain", Admin, || web::route().to(nodes::undrain)),
        // Of the streamer of the configured streams, as the next.
        entry("GET", "/api/streams", Viewer, || web::route().to(streams::list)),
        websocket("/api/ws", Viewer, || web::route().to(multistream::connect)),
        entry("GET", "/api", Nothing, || web::route().to(info::info)),
        entry("GET", "/api/docs", Nothing, || web::route().to(reference::docs)),
        entry("GET", "/api/openapi.json", Nothing, || web::route().to(openapi::openapi)),
        entry("GET", "/healthz", Nothing, || web::route().to(health::healthz)),
        entry("GET", "/readyz", Nothing, || web::route().to(health::readyz)),
        entry("GET", "/metrics", Admin, || web::route().to(health::metrics)),
        // The pages hold nothing; they ask with the token that their reader has.
        entry("GET", "/", Nothing, || web::route().to(pages::index)),
        entry("GET", "/grid", Nothing, || web::route().to(pages::grid)),
        entry("GET", "/hosts", Nothing, || web::route().to(pages::hosts)),
        entry("GET", "/nodes", Nothing, || web::route().to(pages::nodes)),
        entry("GET", "/rooms", Nothing, || web::route().to(pages::rooms)),
        entry("GET", "/r/{id}", Nothing, || web::route().to(pages::room)),
        entry("GET", "/stream.html", Nothing, || web::route().to(pages::stream)),
        entry("GET", "/s/{id}", Nothing, || web::route().to(pages::viewer)),
        entry("GET", "/{file:.*}", Nothing, || web::route().to(pages::file)),
    ]
}

/// Serves [`table`]; before it, what `compat` switches on: of two routes that fit a path the first is taken.
pub fn routes(compat: Compat, config: &mut web::ServiceConfig) {
    let of_others = if compat.sfu { sfu::table() } else { Vec::new() };
    serve(&of_others, config);
    serve(&table(), config);
}

fn serve(table: &[Entry], config: &mut web::ServiceConfig) {
    for entries in table.chunk_by(|a, b| a.path == b.path) {
        let mut resource = web::resource(entries[0].path);
        for entry in entries {
            resource = resource.route(route(entry));
        }
        config.service(otherwise(resource, entries));
    }
}

fn route(entry: &Entry) -> Route {
    let need = entry.need;
    let in_band = entry.in_band;
    let right = entry.right;
    let admit = move |request, next| edge::admit(request, next, need, right, in_band);
    let route = (entry.route)().wrap(from_fn(admit));
    match entry.method {
        "GET" if !in_band => route.guard(by::Any(by::Get()).or(by::Head())),
        method => route.guard(by::Method(method.parse().expect("a method of the table"))),
    }
}

/// The response to methods that are not in the table.
fn otherwise(resource: Resource, entries: &[Entry]) -> Resource {
    if entries[0].path.starts_with("/{") {
        return resource.default_service(web::route().to(edge::no_route));
    }
    let with_head = |entry: &Entry| match entry.method {
        "GET" if !entry.in_band => "GET, HEAD",
        method => method,
    };
    let allow = entries.iter().map(with_head).collect::<Vec<_>>().join(", ");
    resource.default_service(web::route().to(move || {
        let allow = allow.clone();
        async move { Err::<HttpResponse, _>(ApiError::Method { allow }) }
    }))
}
