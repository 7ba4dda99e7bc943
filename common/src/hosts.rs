//! Moonlight hosts: bodies of `/api/hosts`.

use serde::{Deserialize, Serialize};
use ts_rs::TS;
use utoipa::ToSchema;

/// Port of a host's HTTP if nothing else is said.
pub const DEFAULT_HTTP_PORT: u16 = 47989;

/// `POST /api/hosts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddHost {
    /// Name or address.
    pub address: String,
    /// Port of its HTTP.
    #[serde(default = "default_http_port")]
    pub http_port: u16,
}

fn default_http_port() -> u16 {
    DEFAULT_HTTP_PORT
}

/// `GET /api/hosts`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, TS, ToSchema)]
pub struct HostList {
    /// In the order in which they were added.
    pub hosts: Vec<Host>,
}

/// A Moonlight host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
pub struct Host {
    /// Its name in this API.
    pub id: String,
    /// Name or address.
    pub address: String,
    /// Port of its HTTP.
    pub http_port: u16,
    /// Port of its HTTPS.
    pub https_port: u16,
    /// What it calls itself.
    pub name: String,
    /// What other clients know it by.
    pub unique_id: String,
    /// Whether the host answers.
    pub state: HostState,
    /// It knows us, and we know it. `false` only once the host itself has said that it does not know us (any more).
    pub paired: bool,
    /// When it was last asked, it had another certificate than when it was paired, so it was told nothing: to be paired again
    /// if it was installed anew.
    pub certificate_changed: bool,
    /// Codecs that it encodes: `h264`, `hevc`, `av1`.
    pub codecs: Vec<String>,
    /// The app that runs on the host; `None`: none.
    pub current_app: Option<CurrentApp>,
    /// The last attempt to pair since this server was started.
    pub pairing: Option<Pairing>,
}

/// Whether a host answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, TS, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum HostState {
    /// The host answers.
    Online,
    /// It did not when it was last asked.
    Offline,
}

/// An app that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
pub struct CurrentApp {
    /// The number that the host gives it.
    pub id: u32,
    /// Empty when the host does not tell.
    pub name: String,
}

/// An attempt to pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
pub struct Pairing {
    /// How far it is.
    pub state: PairingState,
    /// To be typed on the host, while it waits for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub pin: Option<String>,
    /// Why it has failed, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub error: Option<String>,
    /// Why it has failed, for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub code: Option<String>,
}

/// How far an attempt to pair is.
///
/// ```text
/// waiting_for_pin ──typed──▶ verifying ──▶ paired
///        └───────────────────────┴───────▶ failed
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, TS, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PairingState {
    /// Somebody has to type the PIN on the host.
    WaitingForPin,
    /// Both prove that they know it.
    Verifying,
    /// The host is paired.
    Paired,
    /// It did not work.
    Failed,
}

/// The response to `POST /api/hosts/{id}/pair`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
pub struct PairStarted {
    /// To be typed on the host.
    pub pin: String,
    /// How far it is.
    pub state: PairingState,
}

/// `GET /api/hosts/{id}/apps`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, TS, ToSchema)]
pub struct HostAppList {
    /// In the host's order.
    pub apps: Vec<HostApp>,
}

/// An app of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
pub struct HostApp {
    /// The number that the host gives it.
    pub id: u32,
    /// May be empty.
    pub name: String,
    /// Can have a high dynamic range.
    pub hdr: bool,
    /// Path of its picture.
    pub image: String,
}
