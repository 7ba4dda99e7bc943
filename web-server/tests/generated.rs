//! `docs/openapi.json` is what the handlers generate.
//!
//! `ORIEL_WRITE_GENERATED=1 cargo test -p web-server --test generated` writes it (`scripts/generate`
//! does it); without it the test fails when the committed file differs.

use std::path::Path;

use web_server::api::openapi::document;

#[test]
fn the_committed_openapi_is_what_the_handlers_generate() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    if std::env::var_os("ORIEL_WRITE_GENERATED").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, document()).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(document(), committed, "docs/openapi.json is out of date: run scripts/generate");
}

#[test]
fn every_operation_says_what_a_refusal_looks_like() {
    let document: serde_json::Value = serde_json::from_str(&document()).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let paths = document["paths"].as_object().unwrap();
    let mut operations = 0;
    for (path, item) in paths {
        for (method, operation) in item.as_object().unwrap() {
            let content = &operation["responses"]["default"]["content"]["application/problem+json"];
            assert!(content.is_object(), "{method} {path}");
            operations += 1;
        }
    }
    assert!(operations >= 16, "{operations}");
}

#[test]
fn every_operation_has_an_id_of_its_own() {
    let document: serde_json::Value = serde_json::from_str(&document()).unwrap();
    let items = document["paths"].as_object().unwrap().values();
    let operations = items.flat_map(|item| item.as_object().unwrap().values());
    let ids: Vec<&str> = operations.map(|operation| operation["operationId"].as_str().unwrap()).collect();
    let different: std::collections::BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(different.len(), ids.len(), "{ids:?}");
}

#[test]
fn every_reference_leads_to_something() {
    fn references<'a>(value: &'a serde_json::Value, found: &mut Vec<&'a str>) {
        match value {
            serde_json::Value::Object(object) => {
                found.extend(object.get("$ref").and_then(serde_json::Value::as_str));
                for value in object.values() {
                    references(value, found);
                }
            }
            serde_json::Value::Array(values) => {
                for value in values {
                    references(value, found);
                }
            }
            _ => {}
        }
    }
    let document: serde_json::Value = serde_json::from_str(&document()).unwrap();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 100, "{}", found.len());
    for reference in found {
        let path = reference.strip_prefix('#').unwrap_or_else(|| panic!("{reference} is elsewhere"));
        assert!(document.pointer(path).is_some(), "{reference}");
    }
}
