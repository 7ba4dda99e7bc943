//! A simulated Moonlight host: the program `fake-gamestream-host`, which follows a scenario.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::server::binary;
use crate::wait::eventually;

/// The PIN that it types for everybody who pairs with it through [`FakeHost::start`].
pub const PIN: &str = "1234";

/// A running host. Dropping it ends it.
pub struct FakeHost {
    child: Child,
    ports: Ports,
}

/// Where it listens, on 127.0.0.1.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Ports {
    /// HTTP.
    pub http_port: u16,
    /// HTTPS.
    pub https_port: u16,
    /// The control interface for tests.
    pub api_port: u16,
}

impl FakeHost {
    /// Starts a host that follows `scenario`, with defaults for the rest. It types [`PIN`].
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn start(scenario: &Value) -> Self {
        Self::start_with(scenario, &["--pin", PIN])
    }

    /// One that waits for [`FakeHost::type_pin`].
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn start_without_pin(scenario: &Value) -> Self {
        Self::start_with(scenario, &[])
    }

    #[track_caller]
    fn start_with(scenario: &Value, arguments: &[&str]) -> Self {
        let mut child = Command::new(binary("fake-gamestream-host"))
            .args(["--scenario", &scenario.to_string()])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the fake host starts");
        let mut line = String::new();
        let output = child.stdout.as_mut().expect("its output");
        BufReader::new(output).read_line(&mut line).expect("its first line");
        let ports = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"));
        Self { child, ports }
    }

    /// Where it listens.
    pub fn ports(&self) -> Ports {
        self.ports
    }

    #[track_caller]
    fn api(&self, method: &str, path: &str, body: &Value) -> Value {
        let url = format!("http://127.0.0.1:{}{path}", self.ports.api_port);
        let request = ureq::http::Request::builder().method(method).uri(&url).body(body.to_string());
        let request = request.expect("a request");
        let mut response = ureq::run(request).unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        response.body_mut().read_json().expect("JSON")
    }

    /// Part of its state: `counters`, `complaints`, `session` and so on.
    #[track_caller]
    pub fn state(&self) -> Value {
        self.api("GET", "/state", &json!({}))
    }

    /// One of its counters.
    #[track_caller]
    pub fn counter(&self, name: &str) -> u64 {
        self.state()["counters"][name].as_u64().unwrap_or_else(|| panic!("no counter {name}"))
    }

    /// Input that came, oldest first.
    #[track_caller]
    pub fn inputs(&self) -> Vec<Value> {
        self.api("GET", "/input", &json!({}))["inputs"].as_array().cloned().unwrap_or_default()
    }

    /// When each of the newest frames was sent, oldest first.
    #[track_caller]
    pub fn frames(&self) -> Vec<Value> {
        self.api("GET", "/frames", &json!({}))["frames"].as_array().cloned().unwrap_or_default()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Looks until an input is as wanted.
    ///
    /// # Panics
    /// When none is.
    #[track_caller]
    pub fn input(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(what, || self.inputs().into_iter().find(|input| wanted(input)))
    }

    /// Changes how it behaves from now on.
    #[track_caller]
    pub fn change(&self, scenario: &Value) {
        self.api("PATCH", "/scenario", scenario);
    }

    /// Makes it do something.
    #[track_caller]
    pub fn act(&self, action: &Value) {
        self.api("POST", "/do", action);
    }

    /// Types a PIN.
    #[track_caller]
    pub fn type_pin(&self, pin: &str) {
        self.api("POST", "/pin", &json!({ "pin": pin }));
    }
}

impl Drop for FakeHost {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
