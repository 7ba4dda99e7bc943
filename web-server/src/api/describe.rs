//! Makes the generated description one that client generators accept.
//!
//! `utoipa` describes Rust types faithfully; generators of clients want less: names for the variants of a tagged union and
//! a discriminator between them, pictures as binary content, tuples as arrays, and texts without Rustdoc. Everything here
//! is a pure change of the JSON document, and says the same of what is sent as before.

use serde_json::{Map, Value, json};

/// Where the document keeps its schemas.
const SCHEMAS: &str = "#/components/schemas/";

/// Applies every change. Applying it twice is the same as applying it once.
pub fn for_generators(document: &mut Value) {
    inline_unnamed(document);
    rewrite(document);
    if let Some(operations) = document.pointer_mut("/paths").and_then(Value::as_object_mut) {
        for operation in operations.values_mut().filter_map(Value::as_object_mut).flat_map(Map::values_mut) {
            cut_errors(operation);
        }
    }
    if let Some(schemas) = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut) {
        let unions: Vec<String> = schemas.keys().cloned().collect();
        for name in &unions {
            name_variants(name, schemas);
        }
        for name in &unions {
            distribute(name, schemas);
        }
    }
    remove_unused_unions(document);
}

/// Types of Rust's own that `utoipa` takes for ours where one of our types is another name for them.
const UNNAMED: [&str; 4] = ["BTreeMap", "BTreeSet", "String", "u8"];

/// Writes schemas that only have a name of Rust's where they are used.
fn inline_unnamed(document: &mut Value) {
    let Some(schemas) = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut) else {
        return;
    };
    let unnamed: Map<String, Value> = UNNAMED
        .iter()
        .filter_map(|name| Some((format!("{SCHEMAS}{name}"), schemas.remove(*name)?)))
        .collect();
    inline(document, &unnamed);
}

fn inline(value: &mut Value, unnamed: &Map<String, Value>) {
    match value {
        Value::Object(object) => {
            let named = object.get("$ref").and_then(Value::as_str).and_then(|name| unnamed.get(name));
            if let Some(Value::Object(schema)) = named {
                object.remove("$ref");
                // What is said beside the reference, such as a description, is said of this use.
                for (key, value) in schema {
                    object.entry(key).or_insert_with(|| value.clone());
                }
            }
            object.values_mut().for_each(|value| inline(value, unnamed));
        }
        Value::Array(values) => values.iter_mut().for_each(|value| inline(value, unnamed)),
        _ => {}
    }
}

/// Changes that apply wherever the shape occurs.
fn rewrite(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if let Some(Value::String(text)) = object.get_mut("description") {
                *text = without_links(text);
            }
            if let Some(Value::Object(content)) = object.get_mut("content") {
                for (media_type, content) in content {
                    binary(media_type, content);
                    event_stream(media_type, content);
                }
            }
            tuple_as_array(object);
            for value in object.values_mut() {
                rewrite(value);
            }
        }
        Value::Array(values) => {
            for value in values {
                rewrite(value);
            }
        }
        _ => {}
    }
}

/// Rustdoc's intra-doc links, [`Like`] this one, become plain code: the reader of the API has no Rust to go to.
fn without_links(text: &str) -> String {
    text.replace("[`", "`").replace("`]", "`")
}

/// The section `# Errors` of a handler says in Rust what the response `default` says in the description.
fn cut_errors(operation: &mut Value) {
    let Some(Value::String(text)) = operation.get_mut("description") else { return };
    let Some((before, after)) = text.split_once("# Errors\n") else { return };
    let after = after.split_once("\n\n").map_or("", |(_, after)| after);
    *text = format!("{}\n\n{after}", before.trim_end()).trim().to_owned();
}

/// A `Vec<u8>` is an array of numbers as JSON, and bytes as anything else.
fn binary(media_type: &str, content: &mut Value) {
    if media_type.ends_with("json") {
        return;
    }
    if let Some(schema) = content.get_mut("schema")
        && schema.get("type").is_some_and(|kind| kind == "array")
    {
        *schema = json!({"type": "string", "format": "binary"});
    }
}

/// An event is fields of text, one of which holds JSON. `utoipa` knows of no schema but that of the JSON.
fn event_stream(media_type: &str, content: &mut Value) {
    let Some(schema) = content.get_mut("schema") else { return };
    if media_type != "text/event-stream" || schema.get("$ref").is_none() {
        return;
    }
    let data = json!({"type": "string", "contentMediaType": "application/json", "contentSchema": schema});
    *schema = json!({
        "type": "object",
        "required": ["event", "data"],
        "properties": {"event": {"type": "string"}, "id": {"type": "string"}, "data": data},
    });
}

/// A tuple whose items are of one type is an array of a fixed length, which every generator knows.
fn tuple_as_array(object: &mut Map<String, Value>) {
    let Some(Value::Array(items)) = object.get("prefixItems") else { return };
    let Some(first) = items.first().cloned() else { return };
    if items.iter().any(|item| *item != first) {
        return;
    }
    let length = items.len();
    object.remove("prefixItems");
    object.insert("items".into(), first);
    object.insert("minItems".into(), length.into());
    object.insert("maxItems".into(), length.into());
}

/// Gives each variant of the tagged union `name` a schema of its own, `{name}{tag}`, and the union a discriminator.
fn name_variants(name: &str, schemas: &mut Map<String, Value>) {
    let Some(union) = schemas.get(name) else { return };
    let Some(variants) = union.get("oneOf").and_then(Value::as_array) else { return };
    let tags: Option<Vec<(String, String)>> = variants.iter().map(tag).collect();
    let Some(tags) = tags else { return };
    let Some((property, _)) = tags.first().cloned() else { return };
    if tags.iter().any(|(other, _)| *other != property) {
        return;
    }
    let variants = variants.clone();
    let mut references = Vec::new();
    let mut mapping = Map::new();
    for ((_, tag), variant) in tags.iter().zip(variants) {
        let own = format!("{name}{}", pascal_case(tag));
        let reference = format!("{SCHEMAS}{own}");
        references.push(json!({"$ref": reference}));
        mapping.insert(tag.clone(), reference.into());
        schemas.insert(own, variant);
    }
    if let Some(union) = schemas.get_mut(name) {
        union["oneOf"] = references.into();
        union["discriminator"] = json!({"propertyName": property, "mapping": mapping});
    }
}

/// A tagged union with more fields beside it, as `serde(flatten)` makes it, becomes a union of its variants with these fields each: to
/// generators, a union is no object that could have more fields.
fn distribute(name: &str, schemas: &mut Map<String, Value>) {
    let Some(parts) = schemas.get(name).and_then(|schema| schema.get("allOf")).and_then(Value::as_array)
    else {
        return;
    };
    let union = |part: &Value| {
        let union = schemas.get(part.get("$ref")?.as_str()?.strip_prefix(SCHEMAS)?)?;
        Some(union.get("discriminator")?.clone())
    };
    let Some((at, discriminator)) = parts.iter().enumerate().find_map(|(at, part)| Some((at, union(part)?)))
    else {
        return;
    };
    let Some(variants) = discriminator["mapping"].as_object() else { return };
    let mut rest = parts.clone();
    rest.remove(at);
    let mut references = Vec::new();
    let mut mapping = Map::new();
    for (tag, variant) in variants {
        let own = format!("{name}{}", pascal_case(tag));
        let reference = format!("{SCHEMAS}{own}");
        references.push(json!({"$ref": reference}));
        mapping.insert(tag.clone(), reference.into());
        let all: Vec<Value> = std::iter::once(json!({"$ref": variant})).chain(rest.iter().cloned()).collect();
        schemas.insert(own, json!({"allOf": all}));
    }
    if let Some(schema) = schemas.get_mut(name).and_then(Value::as_object_mut) {
        schema.remove("allOf");
        schema.insert("oneOf".into(), references.into());
        let property = discriminator["propertyName"].clone();
        schema.insert("discriminator".into(), json!({"propertyName": property, "mapping": mapping}));
    }
}

/// A union that was distributed is named by nothing any more.
fn remove_unused_unions(document: &mut Value) {
    let Some(schemas) = document.pointer("/components/schemas").and_then(Value::as_object) else { return };
    let unions = schemas.iter().filter(|(_, schema)| schema.get("discriminator").is_some());
    let unused =
        unions.map(|(name, _)| name.clone()).filter(|name| !refers(document, &format!("{SCHEMAS}{name}")));
    for name in unused.collect::<Vec<_>>() {
        if let Some(schemas) = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut) {
            schemas.remove(&name);
        }
    }
}

/// True when something in the value is a reference to this.
fn refers(value: &Value, reference: &str) -> bool {
    match value {
        Value::Object(object) => object
            .iter()
            .any(|(key, value)| (key == "$ref" && value == reference) || refers(value, reference)),
        Value::Array(values) => values.iter().any(|value| refers(value, reference)),
        _ => false,
    }
}

/// The property of a variant that has one possible value, with that value.
fn tag(variant: &Value) -> Option<(String, String)> {
    let parts = variant.get("allOf").and_then(Value::as_array);
    let own = std::iter::once(variant);
    own.chain(parts.into_iter().flatten()).find_map(|part| {
        let properties = part.get("properties")?.as_object()?;
        properties.iter().find_map(|(property, schema)| match schema.get("enum")?.as_array()?.as_slice() {
            [Value::String(only)] => Some((property.clone(), only.clone())),
            _ => None,
        })
    })
}

/// `not_found` as `NotFound`.
fn pascal_case(tag: &str) -> String {
    let words = tag.split(['_', '-']).filter(|word| !word.is_empty());
    words.map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_of_a_tagged_union_get_names_and_a_discriminator() {
        let mut document = json!({"paths": {"$ref": "#/components/schemas/Shape"}, "components": {"schemas": {"Shape": {"oneOf": [
            {"type": "object", "properties": {"kind": {"type": "string", "enum": ["circle"]}}},
            {"allOf": [{"$ref": "#/components/schemas/Box"},
                       {"properties": {"kind": {"type": "string", "enum": ["round_box"]}}}]},
        ]}}}});
        for_generators(&mut document);
        let schemas = &document["components"]["schemas"];
        assert_eq!(schemas["Shape"]["oneOf"][1]["$ref"], "#/components/schemas/ShapeRoundBox");
        assert_eq!(schemas["Shape"]["discriminator"]["propertyName"], "kind");
        assert_eq!(
            schemas["Shape"]["discriminator"]["mapping"]["circle"],
            "#/components/schemas/ShapeCircle"
        );
        assert!(schemas["ShapeRoundBox"]["allOf"].is_array());
        let once = document.clone();
        for_generators(&mut document);
        assert_eq!(document, once);
    }

    #[test]
    fn types_of_rust_are_written_where_they_are_used() {
        let mut document = json!({"paths": {}, "components": {"schemas": {
            "Node": {"properties": {"labels": {"$ref": "#/components/schemas/BTreeMap", "description": "By name."}}},
            "BTreeMap": {"type": "object", "description": "A map.", "additionalProperties": {"$ref": "#/components/schemas/String"}},
            "String": {"type": "string"},
        }}});
        for_generators(&mut document);
        let labels =
            json!({"type": "object", "description": "By name.", "additionalProperties": {"type": "string"}});
        assert_eq!(document["components"]["schemas"], json!({"Node": {"properties": {"labels": labels}}}));
        // All that there are.
        let names = crate::api::openapi::value()["components"]["schemas"].as_object().unwrap().clone();
        let foreign = ["HashMap", "HashSet", "Option", "Value", "Vec"];
        for name in names.keys() {
            assert!(name.starts_with(char::is_uppercase) && !foreign.contains(&name.as_str()), "{name}");
        }
    }

    #[test]
    fn fields_beside_a_union_are_those_of_each_variant() {
        let mut document = json!({"paths": {"$ref": "#/components/schemas/Event"}, "components": {"schemas": {
            "Event": {"allOf": [{"$ref": "#/components/schemas/What"}, {"properties": {"at": {"type": "string"}}}]},
            "What": {"oneOf": [
                {"type": "object", "properties": {"type": {"type": "string", "enum": ["made"]}}},
                {"type": "object", "properties": {"type": {"type": "string", "enum": ["gone"]}}},
            ]},
        }}});
        for_generators(&mut document);
        let schemas = &document["components"]["schemas"];
        assert_eq!(schemas["Event"]["discriminator"]["mapping"]["gone"], "#/components/schemas/EventGone");
        assert!(schemas["Event"].get("allOf").is_none());
        assert!(schemas.get("What").is_none(), "nothing names it any more");
        let gone = &schemas["EventGone"]["allOf"];
        assert_eq!(gone[0]["$ref"], "#/components/schemas/WhatGone");
        assert!(gone[1]["properties"]["at"].is_object());
        let once = document.clone();
        for_generators(&mut document);
        assert_eq!(document, once);
    }

    #[test]
    fn a_union_without_a_common_tag_stays_as_it_is() {
        let mut document = json!({"components": {"schemas": {"App": {"oneOf": [
            {"type": "integer"}, {"type": "string"},
        ]}}}});
        let before = document.clone();
        for_generators(&mut document);
        assert_eq!(document, before);
    }

    #[test]
    fn pictures_are_binary_and_json_stays_json() {
        let numbers = json!({"schema": {"type": "array", "items": {"type": "integer"}}});
        let mut document = json!({"content": {"image/png": numbers, "application/json": numbers}});
        for_generators(&mut document);
        assert_eq!(document["content"]["image/png"]["schema"]["format"], "binary");
        assert_eq!(document["content"]["application/json"], numbers);
    }

    #[test]
    fn an_event_is_text_that_holds_json() {
        let data = json!({"$ref": "#/components/schemas/EventData"});
        let mut document = json!({"content": {"text/event-stream": {"schema": data}}});
        for_generators(&mut document);
        let described = &document["content"]["text/event-stream"]["schema"]["properties"]["data"];
        assert_eq!(described["type"], "string");
        assert_eq!(described["contentSchema"], data);
        let once = document.clone();
        for_generators(&mut document);
        assert_eq!(document, once);
    }

    #[test]
    fn a_pair_is_an_array_of_two() {
        let mut document = json!({"type": "array", "items": false, "prefixItems": [{"type": "integer"}, {"type": "integer"}]});
        for_generators(&mut document);
        assert_eq!(
            document,
            json!({"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2})
        );
    }

    #[test]
    fn texts_have_no_rustdoc() {
        let mut document = json!({"paths": {"/x": {"get": {
            "description": "Of [`Token`].\n\n# Errors\nSee [`ApiError`].\n\nNeeds the role `admin`.",
        }}}});
        for_generators(&mut document);
        assert_eq!(document["paths"]["/x"]["get"]["description"], "Of `Token`.\n\nNeeds the role `admin`.");
    }
}
