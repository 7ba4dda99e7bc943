//! The control interface of this program, for tests: JSON over HTTP on loopback.
//!
//! | | |
//! |---|---|
//! | `GET /state` | paired clients, what runs, the session, counters, complaints |
//! | `GET /input`, `DELETE /input` | what has come, oldest first; forgets it |
//! | `GET /frames` | when each of the newest frames was sent |
//! | `GET /scenario`, `PATCH /scenario` | how the host behaves; changes it from now on |
//! | `POST /pin` | `{"pin": "1234"}`: types it |
//! | `POST /do` | an [`Action`] |

use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::control::{RUMBLE, TERMINATION};
use crate::crypto::from_hex;
use crate::host::{Outgoing, Shared, State};
use crate::http::{Request, Response};

/// What a host can be made to do.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// The program begins again: all but pairings is gone, and for a while nobody answers.
    Restart {
        /// For so long.
        #[serde(default)]
        down_ms: u64,
    },
    /// The same in good order, as by SIGTERM: the client is told 0x80030023 before.
    Shutdown {
        /// Nobody answers for so long.
        #[serde(default)]
        down_ms: u64,
    },
    /// The app ends: the client is told why.
    Terminate {
        /// `0x80030023` is a normal end.
        code: u32,
    },
    /// ENet's disconnect, without a reason. The app goes on.
    Disconnect,
    /// Motors of a gamepad.
    Rumble {
        /// Which.
        pad: u16,
        /// The slow motor.
        low: u16,
        /// The fast motor.
        high: u16,
    },
    /// Any control message.
    Send {
        /// Its type.
        kind: u16,
        /// Its payload in hexadecimal.
        payload: String,
    },
    /// Bytes on the control channel, as they are.
    SendRaw {
        /// In hexadecimal.
        bytes: String,
    },
    /// Forgets all paired clients.
    Unpair,
}

/// One connection.
pub fn serve(shared: &Arc<Shared>, mut stream: TcpStream) {
    let Ok(request) = Request::read(&mut stream) else { return };
    let response = match answer(shared, &request) {
        Ok(value) => Response::ok("application/json", value.to_string()),
        Err((status, message)) => {
            Response { status, kind: "application/json", body: json!({"error": message}).to_string().into() }
        }
    };
    // A test that is over reads nothing.
    let _ = response.write(&mut stream);
}

fn answer(shared: &Shared, request: &Request) -> Result<Value, (u16, String)> {
    let bad = |message: String| (400, message);
    let mut state = shared.state();
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/state") => Ok(summary(&state)),
        ("GET", "/input") => Ok(json!({"inputs": state.inputs})),
        ("DELETE", "/input") => {
            state.inputs.clear();
            Ok(json!({}))
        }
        ("GET", "/frames") => Ok(json!({"frames": state.sent})),
        ("GET", "/scenario") => {
            serde_json::to_value(&state.scenario).map_err(|error| (500, error.to_string()))
        }
        ("PATCH", "/scenario") => {
            state.scenario = state.scenario.changed(&request.body).map_err(bad)?;
            drop(state);
            shared.notify();
            Ok(json!({}))
        }
        ("POST", "/pin") => {
            let body: Value = serde_json::from_str(&request.body).map_err(|error| bad(error.to_string()))?;
            let pin = body["pin"].as_str().ok_or_else(|| bad("pin is missing".to_owned()))?;
            state.pin = Some(pin.to_owned());
            drop(state);
            shared.notify();
            Ok(json!({}))
        }
        ("POST", "/do") => {
            let action = serde_json::from_str(&request.body).map_err(|error| bad(error.to_string()))?;
            act(&mut state, action).map_err(bad)?;
            drop(state);
            shared.notify();
            Ok(json!({}))
        }
        _ => Err((404, "there is no such thing; see the head of api.rs".to_owned())),
    }
}

/// Does it.
///
/// # Errors
/// When what is to be sent is no hexadecimal.
pub fn act(state: &mut State, action: Action) -> Result<(), String> {
    let hex = |text: &str| from_hex(text).ok_or_else(|| format!("{text:.40} is no hexadecimal"));
    match action {
        Action::Restart { down_ms } => state.restart(Duration::from_millis(down_ms)),
        Action::Terminate { code } => {
            state.end_app();
            state.session = None;
            state.to_send.push(Outgoing::Message { kind: TERMINATION, payload: code.to_be_bytes().into() });
        }
        Action::Shutdown { down_ms } => {
            state.to_send.push(Outgoing::Shutdown(Duration::from_millis(down_ms)));
        }
        Action::Disconnect => {
            state.end_session();
            state.to_send.push(Outgoing::Disconnect);
        }
        Action::Rumble { pad, low, high } => {
            let mut payload = vec![0xee, 0xff, 0xc0, 0];
            for number in [pad, low, high] {
                payload.extend(number.to_le_bytes());
            }
            state.to_send.push(Outgoing::Message { kind: RUMBLE, payload });
        }
        Action::Send { kind, payload } => {
            let payload = hex(&payload)?;
            state.to_send.push(Outgoing::Message { kind, payload });
        }
        Action::SendRaw { bytes } => {
            let bytes = hex(&bytes)?;
            state.to_send.push(Outgoing::Raw(bytes));
        }
        Action::Unpair => state.clients.clear(),
    }
    Ok(())
}

fn summary(state: &State) -> Value {
    let session = state.session.as_ref().filter(|session| !session.has_ended()).map(|session| {
        let settings = &session.settings;
        json!({
            "app": session.launch.app,
            "width": settings.width,
            "height": settings.height,
            "fps": settings.fps,
            "bitrate_kbps": settings.bitrate_kbps,
            "packet_size": settings.packet_size,
            "encrypted_rtsp": session.launch.encrypted_rtsp,
            "encrypted_video": settings.encrypted_video,
            "encrypted_audio": settings.encrypted_audio,
            "control_v2": settings.control_v2,
            "audio_packet_ms": settings.audio_packet_ms,
            "low_sound": session.launch.low_sound,
        })
    });
    json!({
        "paired_clients": state.clients.len(),
        "pin_wanted": state.pin_wanted,
        "app": state.app,
        "session": session,
        "counters": state.counters,
        "complaints": state.complaints,
    })
}
