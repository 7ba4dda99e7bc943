//! `/api/openapi.json`: OpenAPI 3.1, generated from the handlers and committed as `docs/openapi.json`.

use actix_web::HttpResponse;
use common::api::Problem;
use utoipa::openapi::path::Operation;
use utoipa::openapi::{ContentBuilder, Ref, ResponseBuilder};
use utoipa::{Modify, OpenApi};

/// The description of the whole API.
#[derive(OpenApi)]
#[openapi(
    info(title = "Oriel", description = "Create, watch and steer interactive sessions",
         license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")),
    tags(
        (name = "streamers", description = "Sessions and their life"),
        (name = "session", description = "What programs do with a running session"),
        (name = "slots", description = "What is shown, and what can be"),
        (name = "peers", description = "Who watches"),
        (name = "signalling", description = "How viewers connect"),
        (name = "operation", description = "For operators"),
    ),
    paths(
        super::streamers::create, super::streamers::list, super::streamers::get, super::streamers::delete,
        super::audit::audit, super::supervision::restart, super::supervision::logs,
        super::session::snapshot, super::session::input, super::session::get_clipboard,
        super::session::put_clipboard, super::session::resize,
        super::slots::bind_free, super::slots::bind_one, super::slots::clear, super::slots::windows,
        super::slots::sources, super::slots::add_source, super::slots::remove_source,
        super::peers::list, super::peers::patch, super::peers::remove,
        crate::signaling::peer_ws::connect, crate::signaling::multistream::connect,
        crate::signaling::whep::create, crate::signaling::whep::delete,
        super::health::healthz,
    ),
    components(schemas(Problem)),
    modifiers(&Problems),
)]
pub struct ApiDoc;

/// Every operation may answer with a problem.
struct Problems;

impl Modify for Problems {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        for item in openapi.paths.paths.values_mut() {
            let operations =
                [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
            operations.into_iter().flatten().for_each(add_problem);
        }
    }
}

fn add_problem(operation: &mut Operation) {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let response = ResponseBuilder::new()
        .description("Refused or failed")
        .content("application/problem+json", content)
        .build();
    operation.responses.responses.insert("default".into(), response.into());
}

/// The document, as it is served and committed.
pub fn document() -> String {
    let json = ApiDoc::openapi().to_pretty_json();
    json.expect("the document is made of text, numbers and maps with string keys") + "\n"
}

/// Serves it.
pub async fn openapi() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(document())
}
