//! What is in the buckets: JSON with a version. Fields are only ever added, so nodes of two successive versions read each other's
//! records. Pure.
//!
//! What an older node does not know of a streamer's record it keeps, and writes again when it gives the streamer to another node or says how
//! it is. Where it cannot read what starts a streamer (a spec with a field that it does not know would start something else), it does not
//! start it, and hands it on to a node that can.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use common::api::Streamer;
use common::cluster::{Labels, Load, check_labels, check_node_name};
use common::restart::RestartPolicy;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::decide::Lineage;
use super::seal::{Keys, Unopened, Unsealed};
use crate::config::cluster::check_url;
use crate::registry::store::{Record as Kept, Wanted};

/// The version of records that we write. One that changes what a field means, and is no mere addition, is another version.
const VERSION: u32 = 1;

/// The fields of a [`StreamerRecord`] that may hold what only a newer version can read.
const STREAMER: &str = "streamer";
const KEPT: &str = "kept";
/// All fields of a [`StreamerRecord`] that this version knows.
const FIELDS: [&str; 10] =
    ["v", "node", "claim", "generation", "since", "origin", "refused", "labels", STREAMER, KEPT];

/// Why a record is ignored.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// It cannot be decrypted.
    #[error(transparent)]
    Unopened(#[from] Unopened),
    /// It is not what it should be.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// It is of a web-server that is too new for us.
    #[error("it has the version {0}, and this web-server knows {VERSION}: upgrade it")]
    Version(u32),
    /// A field breaks a rule.
    #[error("{0}")]
    Field(String),
}

/// A node, as it says itself, renewed for as long as it is alive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Its name.
    pub name: String,
    /// Distinguishes processes: two of one name are a mistake.
    pub instance: u64,
    /// Where its HTTP is.
    pub advertise: String,
    /// Where browsers reach it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_url: Option<String>,
    /// Its labels.
    #[serde(default)]
    pub labels: Labels,
    /// Version of its web-server.
    #[serde(default)]
    pub version: String,
    /// Most streamers that it takes.
    pub max_streamers: u32,
    /// What its machine has to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
    /// It takes no more while so many processors are busy, percent of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_cpu_percent: Option<u32>,
    /// It takes no more while so much memory is in use, MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_memory_mb: Option<u32>,
    /// It takes no new ones.
    #[serde(default)]
    pub draining: bool,
}

/// A streamer: that its id is taken, which node is to run it, how it was lately, and what another node needs to start it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamerRecord {
    /// The node that runs it.
    pub node: String,
    /// Drawn by whoever took the id. It tells this streamer from another one that had the id before, and a write of ours whose outcome was
    /// unknown from that of somebody else.
    pub claim: u64,
    /// How often it was given to a node, counted from 1. Of two copies of a streamer, the one with the higher generation stays.
    #[serde(default)]
    pub generation: u64,
    /// Since when it is this node's.
    #[serde(default)]
    pub since: Option<DateTime<Utc>>,
    /// Where it was before, and why it is not any more.
    #[serde(default)]
    pub origin: Option<Origin>,
    /// Nodes that could not start it since it ran last.
    #[serde(default)]
    pub refused: BTreeSet<String>,
    /// What a node must have to run it.
    #[serde(default)]
    pub labels: Labels,
    /// As it was lately, without what changes by the second; absent while it is being created, and where it is too long for a record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streamer: Option<Streamer>,
    /// What starts it, secrets included; absent while it is being created, and where it is too long for a record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept>,
    /// Fields that only a newer version can read, as it wrote them: never `streamer` or `kept` where we have them.
    #[serde(flatten, skip_deserializing)]
    pub newer: BTreeMap<String, Value>,
}

/// Where a streamer was before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The node that ran it.
    pub node: String,
    /// Who moved it, as in the audit trail.
    pub by: String,
    /// Why, for people.
    pub why: String,
}

impl StreamerRecord {
    /// The record of an id that `node` takes for a new streamer.
    pub fn new(node: &str, lineage: Lineage, labels: Labels, since: DateTime<Utc>) -> Self {
        Self {
            node: node.to_owned(),
            claim: lineage.claim,
            generation: lineage.generation,
            since: Some(since),
            origin: None,
            refused: BTreeSet::new(),
            labels,
            streamer: None,
            kept: None,
            newer: BTreeMap::new(),
        }
    }

    /// The record with how its streamer is and what starts it, as the node that runs it knows.
    #[must_use]
    pub fn saying(mut self, streamer: Streamer, kept: Option<Kept>) -> Self {
        self.newer.remove(STREAMER);
        self.newer.remove(KEPT);
        Self { streamer: Some(streamer), kept, ..self }
    }

    /// Whether some node can start it by this record.
    pub fn can_be_started(&self) -> bool {
        self.kept.is_some() || self.newer.contains_key(KEPT)
    }

    /// Whether it says how its streamer is by the word of the node that is to run it now, rather than of one that ran it before.
    pub fn is_told_by_its_node(&self) -> bool {
        // Not every version says who tells.
        let told_by = self.streamer.as_ref().and_then(|streamer| streamer.node.as_ref());
        told_by.is_none_or(|node| *node == self.node)
    }

    /// Which streamer it is, and which copy of it.
    pub fn lineage(&self) -> Lineage {
        Lineage { claim: self.claim, generation: self.generation }
    }

    /// The record by which another node gets the streamer.
    #[must_use]
    pub fn given_to(&self, node: &str, origin: Origin, since: DateTime<Utc>) -> Self {
        Self {
            node: node.to_owned(),
            generation: self.generation + 1,
            since: Some(since),
            origin: Some(origin),
            ..self.clone()
        }
    }

    /// Whether another node starts it when its own is lost: it was running, and its restart policy allows it.
    pub fn fails_over(&self) -> bool {
        match (&self.kept, self.newer.get(KEPT)) {
            (Some(kept), _) => {
                kept.wanted == Wanted::Running && kept.spec.restart.policy != RestartPolicy::Never
            }
            // What decides this is the same in all versions.
            (None, Some(kept)) => kept["wanted"] == "running" && kept["spec"]["restart"]["policy"] != "never",
            (None, None) => false,
        }
    }
}

/// A token that is good for nothing any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevokedRecord {
    /// When it was revoked.
    pub at: DateTime<Utc>,
}

/// What can be in a bucket.
pub trait Record: Serialize + DeserializeOwned {
    /// Checks what types do not.
    ///
    /// # Errors
    /// What is wrong, for the log.
    fn check(&self, name: &str) -> Result<(), String>;

    /// Decodes it.
    ///
    /// # Errors
    /// It is not what it should be.
    fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }
}

impl Record for NodeRecord {
    fn check(&self, name: &str) -> Result<(), String> {
        check_node_name(&self.name)?;
        check_labels(&self.labels)?;
        if self.name != name {
            return Err(format!("it is of {:?}, and stored as {name:?}", self.name));
        }
        self.public_url.as_deref().map_or(Ok(()), check_url)?;
        check_url(&self.advertise)
    }
}

impl Record for StreamerRecord {
    fn check(&self, name: &str) -> Result<(), String> {
        check_node_name(&self.node)?;
        check_labels(&self.labels)?;
        let streamer = self.streamer.as_ref().map(|streamer| &streamer.id);
        let kept = self.kept.as_ref().map(|kept| &kept.id);
        match streamer.into_iter().chain(kept).find(|id| key_of(id.as_str()) != name) {
            Some(other) => Err(format!("it is of {other}, and stored as {name:?}")),
            None => Ok(()),
        }
    }

    /// Nearly every record is of our own version, so that what a newer one adds is looked for by names alone.
    fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        let names: BTreeMap<String, IgnoredAny> = serde_json::from_slice(json)?;
        if names.keys().all(|name| FIELDS.contains(&name.as_str()))
            && let Ok(record) = serde_json::from_slice(json)
        {
            return Ok(record);
        }
        let mut fields: Map<String, Value> = serde_json::from_slice(json)?;
        let streamer = fields.remove(STREAMER);
        let kept = fields.remove(KEPT);
        let mut newer = BTreeMap::new();
        fields.retain(|name, value| {
            let known = FIELDS.contains(&name.as_str());
            if !known {
                newer.insert(name.clone(), value.take());
            }
            known
        });
        let mut record: Self = serde_json::from_value(Value::Object(fields))?;
        record.streamer = known_or(&mut newer, STREAMER, streamer);
        record.kept = known_or(&mut newer, KEPT, kept);
        record.newer = newer;
        Ok(record)
    }
}

/// What a field says; what only a newer version can read of it goes to `newer`.
fn known_or<T: DeserializeOwned>(
    newer: &mut BTreeMap<String, Value>,
    name: &str,
    value: Option<Value>,
) -> Option<T> {
    let value = value?;
    match serde_json::from_value(value.clone()) {
        Ok(known) => known,
        Err(_) => {
            newer.insert(name.to_owned(), value);
            None
        }
    }
}

impl Record for RevokedRecord {
    fn check(&self, _: &str) -> Result<(), String> {
        Ok(())
    }
}

/// The name of an id in a bucket, where a `.` separates what must not be empty. No id has a `=`.
pub fn key_of(id: &str) -> String {
    id.replace('.', "=")
}

/// The id of a name in a bucket.
pub fn id_of(key: &str) -> String {
    key.replace('=', ".")
}

#[derive(Serialize)]
struct Versioned<T> {
    v: u32,
    #[serde(flatten)]
    record: T,
}

#[derive(Deserialize)]
struct VersionOnly {
    v: u32,
}

/// Encodes and encrypts a record that is stored as `name`.
///
/// # Errors
/// It is too long.
pub fn write<T: Record>(keys: &Keys, name: &str, record: &T) -> Result<Vec<u8>, Unsealed> {
    let json =
        serde_json::to_vec(&Versioned { v: VERSION, record }).expect("texts, numbers and maps of them");
    keys.seal(name, &json)
}

/// Decrypts and decodes what is stored as `name`.
///
/// # Errors
/// See [`Malformed`].
pub fn read<T: Record>(keys: &Keys, name: &str, sealed: &[u8]) -> Result<T, Malformed> {
    parse(name, &keys.open(name, sealed)?)
}

fn parse<T: Record>(name: &str, json: &[u8]) -> Result<T, Malformed> {
    // First: what a newer version means by its fields is not known.
    match serde_json::from_slice::<VersionOnly>(json)?.v {
        VERSION => {}
        other => return Err(Malformed::Version(other)),
    }
    // Not as `Versioned`: a flattened map has no keys but texts, and those of slots are numbers.
    let record = T::parse(json)?;
    record.check(name).map_err(Malformed::Field)?;
    Ok(record)
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    use super::*;

    fn node() -> NodeRecord {
        NodeRecord {
            name: "a".into(),
            instance: 7,
            advertise: "http://10.0.0.7:8080".into(),
            public_url: None,
            labels: [("gpu".to_owned(), "yes".to_owned())].into(),
            version: "0.1.0".into(),
            max_streamers: 64,
            load: None,
            max_cpu_percent: None,
            max_memory_mb: None,
            draining: false,
        }
    }

    #[test]
    fn records_are_read_with_and_without_what_was_added_later() {
        let json = br#"{"v":1,"name":"a","instance":7,"advertise":"http://10.0.0.7:8080","labels":{"gpu":"yes"},"version":"0.1.0","max_streamers":64,"draining":false}"#;
        assert_eq!(parse::<NodeRecord>("a", json).unwrap(), node());
        let json = br#"{"v":1,"node":"a","claim":5}"#;
        let read = parse::<StreamerRecord>("demo", json).unwrap();
        let expected = StreamerRecord {
            since: None,
            ..StreamerRecord::new("a", Lineage { claim: 5, generation: 0 }, Labels::new(), Utc::now())
        };
        assert_eq!(read, expected);
        assert!(!read.fails_over());
        let json = br#"{"v":1,"at":"2026-01-01T00:00:00Z"}"#;
        assert!(parse::<RevokedRecord>("x", json).is_ok());
        let json = br#"{"v":1,"node":"b","claim":5,"generation":2,"since":"2026-01-01T00:00:00Z","labels":{"gpu":"yes"},
            "origin":{"node":"a","by":"server","why":"the node a is lost"},"streamer":null,
            "kept":{"id":"demo","created":"2026-01-01T00:00:00Z","wanted":"running","spec":{"source":{"type":"rtsp","url":"rtsp://u:p@h/x"}},"arrangement":{"slots":{"1":null}}}}"#;
        let read = parse::<StreamerRecord>("demo", json).unwrap();
        assert!(read.fails_over() && read.lineage() == Lineage { claim: 5, generation: 2 });
        assert!(matches!(parse::<StreamerRecord>("other", json), Err(Malformed::Field(_))));
        let keys = Keys::derive("k");
        let sealed = write(&keys, "demo", &read).unwrap();
        assert_eq!(super::read::<StreamerRecord>(&keys, "demo", &sealed).unwrap(), read);
    }

    /// What web-servers of earlier versions, and of this one, have written into NATS, sealed by them; as `json`, it is opened.
    #[derive(Deserialize)]
    struct Recorded {
        key: String,
        records: Vec<Sample>,
    }

    #[derive(Deserialize)]
    struct Sample {
        version: String,
        bucket: String,
        name: String,
        json: Value,
        sealed: String,
    }

    fn recorded() -> Recorded {
        serde_json::from_str(include_str!("recorded/records.json")).unwrap()
    }

    /// A record of a streamer that runs, as this version wrote it.
    fn of_today() -> Value {
        let samples = recorded().records.into_iter();
        let mut ours =
            samples.filter(|sample| sample.version == "0.1.0" && sample.bucket == "oriel-streamers");
        ours.next().unwrap().json
    }

    #[test]
    fn what_every_version_has_sealed_is_read_and_written_again_without_a_loss() {
        let Recorded { key, records } = recorded();
        let keys = Keys::derive(&key);
        let mut streamers = Vec::new();
        for Sample { version, bucket, name, json, sealed } in records {
            let sealed = STANDARD.decode(sealed).unwrap();
            assert_eq!(
                serde_json::from_slice::<Value>(&keys.open(&name, &sealed).unwrap()).unwrap(),
                json,
                "{version}"
            );
            if bucket == "oriel-nodes" {
                let node: NodeRecord = read(&keys, &name, &sealed).unwrap();
                assert_eq!((node.name.as_str(), node.max_streamers), ("old", 64));
                continue;
            }
            let read: StreamerRecord = super::read(&keys, &name, &sealed).unwrap();
            let again = write(&keys, &name, &read).unwrap();
            assert_eq!(super::read::<StreamerRecord>(&keys, &name, &again).unwrap(), read, "{version}");
            // A node of the version that wrote it finds all of its fields again.
            let again: Value = serde_json::from_slice(&keys.open(&name, &again).unwrap()).unwrap();
            for (field, value) in json.as_object().unwrap() {
                assert_eq!(&again[field], value, "{version} {field}");
            }
            assert_eq!(read.streamer.as_ref().unwrap().id.as_str(), "cam.1");
            streamers.push((read.lineage().generation, read.can_be_started(), read.fails_over()));
        }
        assert_eq!(streamers, [(0, false, false), (1, true, true)]);
    }

    #[test]
    fn what_a_newer_version_adds_is_kept_by_an_older_one_that_writes_the_record_again() {
        let origin = || Origin { node: "old".into(), by: "server".into(), why: "it is lost".into() };
        let mut newer = of_today();
        newer["priority"] = json!({ "class": "high", "by": [1, 2] });
        let read: StreamerRecord = parse("cam=1", newer.to_string().as_bytes()).unwrap();
        assert!(read.kept.is_some() && read.fails_over());
        let given = read.given_to("new", origin(), Utc::now());
        let said = given.clone().saying(read.streamer.clone().unwrap(), read.kept.clone());
        let keys = Keys::derive("k");
        for record in [given, said] {
            let json = keys.open("cam=1", &write(&keys, "cam=1", &record).unwrap()).unwrap();
            let json: Value = serde_json::from_slice(&json).unwrap();
            assert_eq!(json["priority"], newer["priority"]);
            assert_eq!((json["node"].as_str(), json["generation"].as_u64()), (Some("new"), Some(2)));
        }

        // A spec that we cannot read is handed on whole, and nothing is started by a part of it.
        let mut newer = of_today();
        for part in ["streamer", "kept"] {
            newer[part]["spec"]["source"]["hologram"] = json!(true);
        }
        let read: StreamerRecord = parse("cam=1", newer.to_string().as_bytes()).unwrap();
        assert_eq!((&read.streamer, &read.kept), (&None, &None));
        assert!(read.can_be_started() && read.fails_over());
        let sealed = write(&keys, "cam=1", &read.given_to("new", origin(), Utc::now())).unwrap();
        let given: Value = serde_json::from_slice(&keys.open("cam=1", &sealed).unwrap()).unwrap();
        assert_eq!((&given["kept"], &given["streamer"]), (&newer["kept"], &newer["streamer"]));
        for (pointer, value) in [("/kept/wanted", "stopped"), ("/kept/spec/restart", "")] {
            let mut stays = newer.clone();
            match stays.pointer_mut(pointer) {
                Some(found) => *found = json!(value),
                None => stays["kept"]["spec"]["restart"] = json!({ "policy": "never" }),
            }
            assert!(!parse::<StreamerRecord>("cam=1", stays.to_string().as_bytes()).unwrap().fails_over());
        }

        // Whoever runs it knows better.
        let ours: StreamerRecord = parse("cam=1", of_today().to_string().as_bytes()).unwrap();
        let said = read.saying(ours.streamer.clone().unwrap(), ours.kept.clone());
        assert_eq!((&said.kept, said.newer.len()), (&ours.kept, 0));
    }

    #[test]
    fn what_a_newer_version_changes_is_refused() {
        let json = br#"{"v":2,"node":["a","b"]}"#;
        assert!(matches!(parse::<StreamerRecord>("demo", json), Err(Malformed::Version(2))));
    }

    #[test]
    fn what_is_malformed_is_an_error_that_says_what() {
        for (json, part) in [
            (&b""[..], "EOF"),
            (b"[]", "invalid"),
            (br#"{"node":"a","claim":1}"#, "`v`"),
            (br#"{"v":1,"node":"a b","claim":1}"#, "the name of a node"),
            (br#"{"v":1,"node":"a","claim":-1}"#, "claim"),
        ] {
            let error = parse::<StreamerRecord>("demo", json).unwrap_err().to_string();
            assert!(error.contains(part) || part == "claim", "{error}");
        }
        let keys = Keys::derive("k");
        let sealed = write(&keys, "a", &node()).unwrap();
        assert_eq!(read::<NodeRecord>(&keys, "a", &sealed).unwrap(), node());
        assert!(matches!(read::<NodeRecord>(&keys, "b", &sealed), Err(Malformed::Unopened(_))));
        let misplaced = write(&keys, "b", &node()).unwrap();
        assert!(matches!(read::<NodeRecord>(&keys, "b", &misplaced), Err(Malformed::Field(_))));
    }

    #[test]
    fn every_id_is_a_key_and_comes_back() {
        for id in ["a", "a.", "a..b", "0-_.x"] {
            let key = key_of(id);
            assert!(!key.contains('.') && id_of(&key) == id, "{id}");
        }
    }
}
