//! Examples of bodies in the description of the API: one for each schema that a request or a response has as JSON.

use serde_json::{Map, Value};

/// By names of schemas.
const EXAMPLES: &str = include_str!("examples.json");
const SCHEMAS: &str = "#/components/schemas/";

/// Adds them wherever a body has the schema.
pub fn add(document: &mut Value) {
    let examples: Map<String, Value> = serde_json::from_str(EXAMPLES).expect("a test reads them");
    if let Some(paths) = document.get_mut("paths") {
        add_below(paths, &examples);
    }
}

fn add_below(value: &mut Value, examples: &Map<String, Value>) {
    match value {
        Value::Object(object) => {
            if let Some(Value::Object(contents)) = object.get_mut("content") {
                for content in contents.values_mut() {
                    let name = content["schema"]["$ref"].as_str().and_then(|name| name.strip_prefix(SCHEMAS));
                    if let Some(example) = name.and_then(|name| examples.get(name)).cloned() {
                        content["example"] = example;
                    }
                }
            }
            for value in object.values_mut() {
                add_below(value, examples);
            }
        }
        Value::Array(values) => {
            for value in values {
                add_below(value, examples);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::openapi;
    use common::{api, audit, cluster, control, files, hosts, lifetime, restart, rooms, slots};
    use serde::de::DeserializeOwned;

    fn contents<'a>(value: &'a Value, found: &mut Vec<(&'a str, &'a Value)>) {
        match value {
            Value::Object(object) => {
                let content = object.get("content").and_then(Value::as_object).into_iter().flatten();
                found.extend(content.map(|(media_type, content)| (media_type.as_str(), content)));
                for value in object.values() {
                    contents(value, found);
                }
            }
            Value::Array(values) => {
                for value in values {
                    contents(value, found);
                }
            }
            _ => {}
        }
    }

    #[test]
    fn every_body_in_json_has_an_example_and_no_example_is_left_over() {
        let document = openapi::value();
        let mut found = Vec::new();
        contents(&document["paths"], &mut found);
        let of_json: Vec<_> = found.iter().filter(|(media_type, _)| media_type.ends_with("json")).collect();
        assert!(of_json.len() > 80, "{}", of_json.len());
        for (media_type, content) in of_json {
            assert!(content["example"].is_object(), "{media_type} {}", content["schema"]);
        }
        let examples: Map<String, Value> = serde_json::from_str(EXAMPLES).unwrap();
        for (name, example) in &examples {
            assert!(found.iter().any(|(_, content)| content.get("example") == Some(example)), "{name}");
        }
    }

    fn is<T: DeserializeOwned>(name: &str) {
        let examples: Map<String, Value> = serde_json::from_str(EXAMPLES).unwrap();
        let example = examples.get(name).unwrap_or_else(|| panic!("{name}"));
        if let Err(error) = serde_json::from_value::<T>(example.clone()) {
            panic!("{name}: {error}");
        }
    }

    #[test]
    fn each_example_is_what_it_is_an_example_of() {
        is::<api::ApiInfo>("ApiInfo");
        is::<api::CreateStreamer>("CreateStreamer");
        is::<lifetime::StreamerPatch>("StreamerPatch");
        is::<api::Streamer>("Streamer");
        is::<api::StreamerList>("StreamerList");
        is::<api::PeerList>("PeerList");
        is::<api::PeerPatch>("PeerPatch");
        is::<api::InputRequest>("InputRequest");
        is::<api::SetClipboard>("SetClipboard");
        is::<api::ClipboardBody>("ClipboardBody");
        is::<api::ResizeRequest>("ResizeRequest");
        is::<api::CreateToken>("CreateToken");
        is::<api::Token>("Token");
        is::<api::Problem>("Problem");
        is::<audit::AuditList>("AuditList");
        is::<cluster::NodeList>("NodeList");
        is::<control::ControlChange>("ControlChange");
        is::<control::Control>("Control");
        is::<files::FileList>("FileList");
        is::<files::FileEntry>("FileEntry");
        is::<files::FileUpload>("FileUpload");
        is::<hosts::AddHost>("AddHost");
        is::<hosts::HostList>("HostList");
        is::<hosts::HostAppList>("HostAppList");
        is::<hosts::PairStarted>("PairStarted");
        is::<restart::LogTail>("LogTail");
        is::<rooms::CreateRoom>("CreateRoom");
        is::<rooms::RoomList>("RoomList");
        is::<slots::AddSource>("AddSource");
        is::<slots::BindSlot>("BindSlot");
        is::<slots::SourceList>("SourceList");
        is::<slots::StreamList>("StreamList");
        is::<slots::WindowList>("WindowList");
    }
}
