//! `/api/docs`: the description of the API as a page, made from the same document as `/api/openapi.json`. It has no scripts, and loads
//! nothing from anywhere.

use std::fmt::Write as _;
use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::header;
use serde_json::{Map, Value};

use super::error_page::escaped;
use super::openapi::value;
use crate::http::problems::PROBLEMS;

const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'self'";
const SCHEMAS: &str = "#/components/schemas/";
const STYLE: &str = include_str!("reference.css");

/// Made once: it is the same until there is another version.
static PAGE: LazyLock<String> = LazyLock::new(|| page(&value()));

/// The page.
pub async fn docs() -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .body(PAGE.as_str())
}

fn page(document: &Value) -> String {
    let mut page = String::new();
    let version = document["info"]["version"].as_str().unwrap_or_default();
    page += "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">";
    page +=
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>Oriel API</title>";
    page += &format!(
        "<style>{STYLE}</style></head><body><nav aria-label=\"Sections\"><strong>Oriel API</strong><ul>"
    );
    let tags = document["tags"].as_array().map(Vec::as_slice).unwrap_or_default();
    for tag in tags {
        let name = text(&tag["name"]);
        page += &format!("<li><a href=\"#tag-{name}\">{name}</a></li>");
    }
    page += "<li><a href=\"#problems\">problems</a></li><li><a href=\"#schemas\">schemas</a></li></ul></nav><main>";
    page += &format!(
        "<h1>Oriel API</h1><p>Version {}. The same for programs: <a href=\"openapi.json\">openapi.json</a>.</p>",
        escaped(version)
    );
    page += &prose(
        "Every path is also there below `/api/v1/…`. What is described here stays as it is within a version: fields, events and codes may be added, \
                    and clients ignore those that they do not know. A token is sent as `Authorization: Bearer …`.",
    );
    for tag in tags {
        section(&mut page, document, tag);
    }
    page += "<section id=\"problems\"><h2>Problems</h2>";
    page += &prose(
        "Whatever is refused or fails is answered with `application/problem+json` (RFC 9457). `code` is stable, and `type` leads here.",
    );
    page += "<dl class=\"problems\">";
    for (code, meaning) in PROBLEMS {
        page += &format!("<dt id=\"problem-{code}\"><code>{code}</code></dt><dd>{}</dd>", inline(meaning));
    }
    page += "</dl></section><section id=\"schemas\"><h2>Schemas</h2>";
    for (name, schema) in fields(&document["components"]["schemas"]) {
        page += &format!("<article id=\"schema-{name}\"><h3>{name}</h3>");
        body_of(&mut page, schema);
        page += "</article>";
    }
    page += "</section></main></body></html>\n";
    page
}

/// The operations of a tag.
fn section(page: &mut String, document: &Value, tag: &Value) {
    let name = text(&tag["name"]);
    *page += &format!("<section id=\"tag-{name}\"><h2>{name}</h2>{}", prose(text(&tag["description"])));
    for (path, item) in fields(&document["paths"]) {
        for (method, operation) in fields(item) {
            let is_of_tag = operation["tags"].as_array().is_some_and(|tags| tags.contains(&tag["name"]));
            if is_of_tag {
                self::operation(page, path, method, operation);
            }
        }
    }
    *page += "</section>";
}

fn operation(page: &mut String, path: &str, method: &str, operation: &Value) {
    let id = text(&operation["operationId"]);
    let method = method.to_uppercase();
    // What cannot be written into a `String`, nothing can.
    let _ = write!(
        page,
        "<article id=\"{id}\"><h3><span class=\"method {method}\">{method}</span> <code>{}</code></h3><p><strong>{}</strong></p>{}",
        escaped(path),
        inline(text(&operation["summary"])),
        prose(text(&operation["description"]))
    );
    if let Some(parameters) = operation["parameters"].as_array().filter(|parameters| !parameters.is_empty()) {
        *page += "<table><caption>Parameters</caption>";
        for parameter in parameters {
            let needed = if parameter["required"] == true { " required" } else { "" };
            *page += &format!(
                "<tr><th scope=\"row\"><code>{}</code></th><td>{}{needed}</td><td>{}</td><td>{}</td></tr>",
                escaped(text(&parameter["name"])),
                text(&parameter["in"]),
                kind(&parameter["schema"]),
                inline(text(&parameter["description"]))
            );
        }
        *page += "</table>";
    }
    if operation["requestBody"].is_object() {
        *page += "<h4>Body</h4>";
        content(page, &operation["requestBody"]["content"]);
    }
    for (status, response) in fields(&operation["responses"]) {
        // That of every operation: a problem.
        if status != "default" {
            *page += &format!("<h4>{}: {}</h4>", escaped(status), inline(text(&response["description"])));
            content(page, &response["content"]);
        }
    }
    *page += "</article>";
}

/// Media types, each with its schema and an example.
fn content(page: &mut String, content: &Value) {
    for (media_type, content) in fields(content) {
        *page += &format!("<p><code>{}</code>: {}</p>", escaped(media_type), kind(&content["schema"]));
        if let Some(example) = content.get("example") {
            let example = serde_json::to_string_pretty(example).unwrap_or_default();
            *page += &format!("<pre>{}</pre>", escaped(&example));
        }
        // A body that stands nowhere else is described here.
        if content["schema"].get("$ref").is_none() && content["schema"]["properties"].is_object() {
            body_of(page, &content["schema"]);
        }
    }
}

/// What a schema says.
fn body_of(page: &mut String, schema: &Value) {
    *page += &prose(text(&schema["description"]));
    let mut properties = fields(&schema["properties"]).peekable();
    if properties.peek().is_none() {
        *page += &format!("<p>{}</p>", kind(schema));
        return;
    }
    let required = schema["required"].as_array().map(Vec::as_slice).unwrap_or_default();
    *page += "<table>";
    for (name, property) in properties {
        let needed = if required.iter().any(|required| required == name) { " required" } else { "" };
        *page += &format!(
            "<tr><th scope=\"row\"><code>{}</code></th><td>{}{needed}</td><td>{}</td></tr>",
            escaped(name),
            kind(property),
            inline(description(property))
        );
    }
    *page += "</table>";
}

/// Of the property, or of its only alternative to `null`.
fn description(property: &Value) -> &str {
    let alternatives = property["oneOf"].as_array().into_iter().flatten();
    let own = std::iter::once(property).chain(alternatives);
    own.map(|schema| text(&schema["description"])).find(|text| !text.is_empty()).unwrap_or_default()
}

/// A schema in few words, with links to those that have a name.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix(SCHEMAS)) {
        return format!("<a href=\"#schema-{name}\">{name}</a>");
    }
    for (all, between) in [("oneOf", " or "), ("anyOf", " or "), ("allOf", " and ")] {
        if let Some(parts) = schema[all].as_array() {
            return parts.iter().map(kind).collect::<Vec<_>>().join(between);
        }
    }
    if let Some(values) = schema["enum"].as_array() {
        let values = values.iter().map(|value| format!("<code>{}</code>", escaped(&value.to_string())));
        return values.collect::<Vec<_>>().join(" or ");
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one.as_str()],
        Value::Array(several) => several.iter().map(text).collect(),
        _ => vec!["anything"],
    };
    let mut words = types.iter().map(|kind| escaped(kind)).collect::<Vec<_>>().join(" or ");
    if types.contains(&"array") {
        words += &format!(" of {}", kind(&schema["items"]));
    }
    if let Some(format) = schema["format"].as_str() {
        words += &format!(" ({})", escaped(format));
    }
    for (key, sign) in [("minimum", "≥"), ("maximum", "≤")] {
        if let Some(limit) = schema[key].as_i64() {
            words += &format!(" {sign} {limit}");
        }
    }
    if let Some(of) = schema.get("additionalProperties").filter(|of| of.is_object()) {
        words += &format!(" of {}", kind(of));
    }
    words
}

/// Paragraphs with code in them.
fn prose(text: &str) -> String {
    let paragraphs = text.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty());
    paragraphs.map(|paragraph| format!("<p>{}</p>", inline(paragraph))).collect()
}

/// Text with code in it, between backticks.
fn inline(text: &str) -> String {
    let mut parts = text.split('`');
    let first = escaped(parts.next().unwrap_or_default());
    let rest = parts.enumerate().map(|(at, part)| match at % 2 {
        0 => format!("<code>{}</code>", escaped(part)),
        _ => escaped(part),
    });
    std::iter::once(first).chain(rest).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn fields(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    static NONE: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
    value.as_object().unwrap_or(&NONE).iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// All values of an attribute.
    fn attributes<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
        let mark = format!(" {name}=\"");
        page.split(&mark).skip(1).filter_map(|rest| Some(rest.split_once('"')?.0)).collect()
    }

    #[test]
    fn every_operation_schema_and_problem_has_its_place_and_every_link_leads_to_one() {
        let document = value();
        let page = page(&document);
        let ids = attributes(&page, "id");
        let different: BTreeSet<_> = ids.iter().copied().collect();
        assert_eq!(different.len(), ids.len(), "each id is there once");
        for (path, item) in fields(&document["paths"]) {
            for (method, operation) in fields(item) {
                assert!(different.contains(text(&operation["operationId"])), "{method} {path}");
            }
        }
        for link in attributes(&page, "href").into_iter().filter_map(|link| link.strip_prefix('#')) {
            assert!(different.contains(link), "{link}");
        }
        assert!(different.contains("problem-invalid_field") && different.contains("schema-Streamer"));
        // The policy allows none of these.
        for never in ["<script", " src=", "<link", "@import"] {
            assert!(!page.contains(never), "{never}");
        }
    }

    #[test]
    fn text_of_the_description_is_text() {
        assert_eq!(inline("a < `b & c` > d"), "a &lt; <code>b &amp; c</code> &gt; d");
        assert_eq!(prose("one\n\ntwo"), "<p>one</p><p>two</p>");
    }
}
