//! The HTTP side: one file per resource, each parsing the request, making one call, and mapping its error.

pub mod audit;
pub mod edge;
pub mod extract;
pub mod guard;
pub mod health;
pub mod openapi;
pub mod pages;
pub mod peers;
pub mod problem;
pub mod session;
pub mod slots;
pub mod streamers;
pub mod supervision;

use actix_web::{HttpResponse, Resource, Route, guard as by, web};

use crate::signaling::{multistream, peer_ws, whep};
use problem::ApiError;

/// Every route.
pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(
            at("/api/streamers", "GET, HEAD, POST")
                .route(get().to(streamers::list))
                .route(web::post().to(streamers::create)),
        )
        .service(
            at("/api/streamers/{id}", "GET, HEAD, DELETE")
                .route(get().to(streamers::get))
                .route(web::delete().to(streamers::delete)),
        )
        .service(at("/api/streamers/{id}/audit", "GET, HEAD").route(get().to(audit::audit)))
        .service(at("/api/streamers/{id}/restart", "POST").route(web::post().to(supervision::restart)))
        .service(at("/api/streamers/{id}/logs", "GET, HEAD").route(get().to(supervision::logs)))
        .service(at("/api/streamers/{id}/snapshot", "GET, HEAD").route(get().to(session::snapshot)))
        .service(at("/api/streamers/{id}/input", "POST").route(web::post().to(session::input)))
        .service(
            at("/api/streamers/{id}/clipboard", "GET, HEAD, PUT")
                .route(get().to(session::get_clipboard))
                .route(web::put().to(session::put_clipboard)),
        )
        .service(at("/api/streamers/{id}/resize", "POST").route(web::post().to(session::resize)))
        .service(at("/api/streamers/{id}/windows", "GET, HEAD").route(get().to(slots::windows)))
        .service(at("/api/streamers/{id}/slots", "POST").route(web::post().to(slots::bind_free)))
        .service(
            at("/api/streamers/{id}/slots/{slot}", "PUT, DELETE")
                .route(web::put().to(slots::bind_one))
                .route(web::delete().to(slots::clear)),
        )
        .service(
            at("/api/streamers/{id}/sources", "GET, HEAD, POST")
                .route(get().to(slots::sources))
                .route(web::post().to(slots::add_source)),
        )
        .service(
            at("/api/streamers/{id}/sources/{name}", "DELETE").route(web::delete().to(slots::remove_source)),
        )
        .service(at("/api/streamers/{id}/peers", "GET, HEAD").route(get().to(peers::list)))
        .service(
            at("/api/streamers/{id}/peers/{peer_id}", "PATCH, DELETE")
                .route(web::patch().to(peers::patch))
                .route(web::delete().to(peers::remove)),
        )
        .service(at("/api/streamers/{id}/peer", "GET").route(web::get().to(peer_ws::connect)))
        .service(
            at("/api/streamers/{id}/whep", whep::ALLOW)
                .route(web::post().to(whep::create))
                .route(web::method(actix_web::http::Method::OPTIONS).to(whep::options)),
        )
        .service(at("/api/streamers/{id}/whep/{peer_id}", "DELETE").route(web::delete().to(whep::delete)))
        .service(at("/api/ws", "GET").route(web::get().to(multistream::connect)))
        .service(at("/api/openapi.json", "GET, HEAD").route(get().to(openapi::openapi)))
        .service(at("/healthz", "GET, HEAD").route(get().to(health::healthz)))
        .service(at("/", "GET, HEAD").route(get().to(pages::index)))
        .service(at("/grid", "GET, HEAD").route(get().to(pages::grid)))
        .service(at("/stream.html", "GET, HEAD").route(get().to(pages::stream)))
        .service(at("/s/{id}", "GET, HEAD").route(get().to(pages::viewer)))
        .service(web::resource("/{file:.*}").route(get().to(pages::file)).default_service(nothing()));
}

/// A resource that knows only the methods `allow`, which its routes must be.
fn at(path: &str, allow: &'static str) -> Resource {
    web::resource(path).default_service(
        web::route().to(move || async move { Err::<HttpResponse, _>(ApiError::Method { allow }) }),
    )
}

/// GET, and HEAD with it (RFC 9110 §9.3.2).
fn get() -> Route {
    web::route().guard(by::Any(by::Get()).or(by::Head()))
}

fn nothing() -> Route {
    web::route().to(edge::no_route)
}
