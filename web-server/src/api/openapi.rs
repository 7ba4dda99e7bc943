//! `/api/openapi.json`: OpenAPI 3.1, generated from the handlers and committed as `docs/openapi.json`.

use actix_web::HttpResponse;
use common::access::Need;
use common::api::{Problem, SnapshotFormat};
use serde_json::Value;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder, Schema};
use utoipa::{Modify, OpenApi};

use super::{describe, examples};

/// The description of the whole API.
#[derive(OpenApi)]
#[openapi(
    info(title = "Oriel", description = "Create, watch and steer interactive sessions. Every path is also there below `/api/v1/`",
         license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")),
    servers((url = "/", description = "The server that serves this description")),
    tags(
        (name = "streamers", description = "Sessions and their life"),
        (name = "rooms", description = "Streamers in which people meet"),
        (name = "session", description = "What programs do with a running session"),
        (name = "files", description = "The home of a session"),
        (name = "slots", description = "What is shown, and what can be"),
        (name = "peers", description = "Who watches"),
        (name = "hosts", description = "Moonlight hosts"),
        (name = "cluster", description = "Machines that are one server"),
        (name = "signalling", description = "How viewers connect"),
        (name = "access", description = "Who may do what"),
        (name = "operation", description = "For operators"),
    ),
    paths(
        super::streamers::create, super::streamers::list, super::streamers::get, super::streamers::patch,
        super::streamers::delete,
        super::rooms::create, super::rooms::list, super::rooms::get, super::rooms::delete,
        super::events::all, super::events::of_one,
        super::audit::audit, super::supervision::restart, super::supervision::logs,
        super::mp4::read, super::session::snapshot, super::session::input, super::session::get_clipboard,
        super::session::put_clipboard, super::session::resize,
        super::files::read, super::files::write, super::files::remove,
        super::slots::bind_free, super::slots::bind_one, super::slots::clear, super::slots::windows,
        super::slots::sources, super::slots::add_source, super::slots::remove_source,
        super::streams::list,
        super::peers::list, super::peers::patch, super::peers::remove,
        super::hosts::add, super::hosts::list, super::hosts::get, super::hosts::remove, super::hosts::pair,
        super::hosts::apps, super::hosts::image, super::hosts::wake, super::hosts::cancel,
        super::nodes::list, super::nodes::get, super::nodes::drain, super::nodes::undrain, super::nodes::relocate,
        super::tokens::create, super::tokens::revoke, super::control::get, super::control::put,
        crate::signaling::peer_ws::connect, crate::signaling::media_ws::connect,
        crate::signaling::multistream::connect,
        crate::signaling::whep::create, crate::signaling::whep::patch, crate::signaling::whep::delete,
        crate::signaling::whip::create, crate::signaling::whip::patch, crate::signaling::whip::delete,
        super::info::info, super::health::healthz, super::health::readyz, super::health::metrics,
    ),
    components(schemas(Problem, SnapshotFormat)),
    modifiers(&Problems, &RequiredRights, &Tagged),
)]
pub struct ApiDoc;

/// The response of every operation may be a problem.
struct Problems;

impl Modify for Problems {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        for item in openapi.paths.paths.values_mut() {
            let operations =
                [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
            for operation in operations.into_iter().flatten() {
                add_problem(operation);
            }
        }
    }
}

/// Every operation says what it needs, as the table of routes does.
struct RequiredRights;

/// Name of the security scheme.
const BEARER: &str = "token";

impl Modify for RequiredRights {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(
            "An admin secret, or a token of `POST /api/streamers/{id}/tokens`. Not needed where no secret is configured.",
        ));
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme(BEARER, SecurityScheme::Http(scheme.build()));
        for entry in super::table() {
            // A pattern of several segments is a parameter as any other.
            let Some(item) = openapi.paths.paths.get_mut(&entry.path.replace(":.*}", "}")) else { continue };
            let operation = match entry.method {
                "GET" => &mut item.get,
                "PUT" => &mut item.put,
                "POST" => &mut item.post,
                "PATCH" => &mut item.patch,
                "DELETE" => &mut item.delete,
                _ => continue,
            };
            let Some(operation) = operation else { continue };
            if entry.need == Need::Nothing {
                operation.security = Some(Vec::new());
                continue;
            }
            let scopes: [&str; 0] = [];
            operation.security = Some(vec![SecurityRequirement::new(BEARER, scopes)]);
            let told = operation.description.take().map(|text| text + "\n\n").unwrap_or_default();
            operation.description = Some(format!("{told}Needs the role `{}`.", entry.need));
        }
    }
}

/// A variant of a tagged enum is described as its struct *and* the tag. A struct that forbids what it does not know would
/// forbid the tag, and nothing could be both.
struct Tagged;

impl Modify for Tagged {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let Some(components) = &mut openapi.components else { return };
        let variants: Vec<String> = components.schemas.values().flat_map(variants).collect();
        for name in variants {
            if let Some(RefOr::T(Schema::Object(object))) = components.schemas.get_mut(&name) {
                object.additional_properties = None;
            }
        }
    }
}

/// The schemas that are variants of a tagged enum.
fn variants(schema: &RefOr<Schema>) -> Vec<String> {
    let RefOr::T(Schema::OneOf(tagged)) = schema else { return Vec::new() };
    let both = tagged.items.iter().filter_map(|variant| match variant {
        RefOr::T(Schema::AllOf(both)) => Some(&both.items),
        _ => None,
    });
    let names = both.flatten().filter_map(|part| match part {
        RefOr::Ref(part) => part.ref_location.strip_prefix("#/components/schemas/"),
        RefOr::T(_) => None,
    });
    names.map(str::to_owned).collect()
}

fn add_problem(operation: &mut Operation) {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let response = ResponseBuilder::new()
        .description("Refused or failed")
        .content("application/problem+json", content)
        .build();
    operation.responses.responses.insert("default".into(), response.into());
}

/// The document.
pub fn value() -> Value {
    let mut document = serde_json::to_value(ApiDoc::openapi()).expect(MADE_OF_TEXT);
    describe::for_generators(&mut document);
    examples::add(&mut document);
    document
}

/// The document, as it is served and committed.
pub fn document() -> String {
    serde_json::to_string_pretty(&value()).expect(MADE_OF_TEXT) + "\n"
}

/// Why the document can be written.
const MADE_OF_TEXT: &str = "the document is made of text, numbers and maps with string keys";

/// Serves the description as JSON.
pub async fn openapi() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(document())
}
