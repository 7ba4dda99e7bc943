//! A host of a test's own, known to a web-server.

use common::slots::HostStream;
use harness::{Answer, FakeHost, Server, eventually};
use serde_json::{Value, json};

/// A fake host, and what a web-server calls it.
pub struct Known {
    /// The host itself.
    pub fake: FakeHost,
    /// Its id in the API.
    pub id: String,
}

impl Known {
    /// Starts one and adds it.
    #[track_caller]
    pub fn add(server: &Server, scenario: &Value) -> Self {
        let fake = FakeHost::start_without_pin(scenario);
        let body = json!({ "address": "127.0.0.1", "http_port": fake.ports().http_port });
        let added: Value = server.post("/api/hosts", &body).expect(201).json();
        Self { id: added["id"].as_str().unwrap().to_owned(), fake }
    }

    /// Starts one, adds it and pairs with it.
    #[track_caller]
    pub fn pair(server: &Server, scenario: &Value) -> Self {
        let known = Self::add(server, scenario);
        let pairing = known.pair_now(server);
        assert_eq!(pairing["state"], "paired", "{pairing}");
        known
    }

    /// Pairs with the right PIN; how that ended.
    #[track_caller]
    pub fn pair_now(&self, server: &Server) -> Value {
        let begun: Value = server.post(&self.path("/pair"), &json!({})).expect(202).json();
        let pin = begun["pin"].as_str().unwrap();
        let mut typed = false;
        eventually("the pairing ends", || {
            // Not before it is asked for: some of the tests' hosts never do.
            if !typed && self.fake.state()["pin_wanted"] == true {
                self.fake.type_pin(pin);
                typed = true;
            }
            let host: Value = server.get(&self.path("")).expect(200).json();
            let ended = ["paired", "failed"].iter().any(|end| host["pairing"]["state"] == *end);
            ended.then(|| host["pairing"].clone())
        })
    }

    /// A path of the API below the host's.
    pub fn path(&self, rest: &str) -> String {
        format!("/api/hosts/{}{rest}", self.id)
    }

    /// Asks for a streamer that plays its first app, small enough for a busy machine.
    #[track_caller]
    pub fn stream(&self, server: &Server, id: &str) -> Answer {
        self.stream_of(server, id, "h264")
    }

    /// The same, of this codec.
    #[track_caller]
    pub fn stream_of(&self, server: &Server, id: &str, codec: &str) -> Answer {
        let source = json!({ "type": "moonlight", "host_id": self.id, "app": "Desktop", "width": 640,
            "height": 360, "fps": 30, "bitrate_kbps": 3000, "packet_size": 1024,
            "codec": codec });
        server.post("/api/streamers?wait=running", &json!({ "id": id, "source": source }))
    }

    /// What it has to complain about.
    pub fn complaints(&self) -> Value {
        self.fake.state()["complaints"].clone()
    }
}

/// How the stream does, as the API tells.
#[track_caller]
pub fn stream_of(server: &Server, id: &str) -> HostStream {
    let list: common::slots::SourceList =
        server.get(&format!("/api/streamers/{id}/sources")).expect(200).json();
    list.sources.into_iter().find_map(|source| source.host).expect("the stream of a host")
}
