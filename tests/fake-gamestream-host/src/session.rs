//! A session, from `/launch` to its end.
//!
//! ```text
//! /launch, /resume ─▶ Launch ─ANNOUNCE─▶ Session ─(control lost, /cancel, terminated, replaced)─▶ ended
//! ```

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::crypto::Key;
use crate::scenario::Codec;

/// What `/launch` or `/resume` has fixed; RTSP is answered while there is one.
#[derive(Debug, Clone)]
pub struct Launch {
    /// `rikey`.
    pub key: Key,
    /// `rikeyid`.
    pub key_id: i32,
    /// Which app.
    pub app: u32,
    /// RTSP is encrypted.
    pub encrypted_rtsp: bool,
    /// When.
    pub at: Instant,
    /// `X-SS-Ping-Payload`.
    pub ping_payload: String,
    /// `X-SS-Connect-Data`.
    pub connect_data: u32,
    /// Number of the last encrypted answer.
    pub answers: u32,
    /// `Host: 0.0.0.0` was asked for: sound of 96 kbit/s.
    pub low_sound: bool,
}

/// What ANNOUNCE has fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Of video.
    pub codec: Codec,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames per second.
    pub fps: u32,
    /// Of video, without the first 16 bytes.
    pub packet_size: u32,
    /// What the client's user has chosen.
    pub bitrate_kbps: u32,
    /// Least parity packets of a block of video.
    pub min_parity: u32,
    /// Milliseconds of sound in a packet.
    pub audio_packet_ms: u32,
    /// Control messages have 12 bytes of IV, otherwise 16.
    pub control_v2: bool,
    /// Video packets are encrypted.
    pub encrypted_video: bool,
    /// Sound packets are.
    pub encrypted_audio: bool,
    /// The client echoes ping payload and connect data.
    pub echoes_ids: bool,
}

/// A running session. The threads of video, sound and control look at it.
#[derive(Debug)]
pub struct Session {
    /// What it was launched with.
    pub launch: Launch,
    /// What was agreed.
    pub settings: Settings,
    /// The host insists on ping payload and connect data.
    pub ids: bool,
    ended: AtomicBool,
    keyframe: AtomicBool,
}

impl Session {
    /// A new one, whose first frame is a keyframe.
    pub fn new(launch: Launch, settings: Settings, host_has_ids: bool) -> Self {
        let ids = host_has_ids && settings.echoes_ids;
        Self { launch, settings, ids, ended: AtomicBool::new(false), keyframe: AtomicBool::new(true) }
    }

    /// It is over: its threads end.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// It is over.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// The next frame has to be a keyframe.
    pub fn want_keyframe(&self) {
        self.keyframe.store(true, Ordering::Relaxed);
    }

    /// Whether the next frame has to be a keyframe; asked once.
    pub fn take_keyframe(&self) -> bool {
        self.keyframe.swap(false, Ordering::Relaxed)
    }

    /// A datagram on the port of video or sound is this session's ping.
    pub fn is_ping(&self, datagram: &[u8]) -> bool {
        if self.ids {
            datagram.len() == 20 && datagram.starts_with(self.launch.ping_payload.as_bytes())
        } else {
            datagram == b"PING" || datagram.len() == 20
        }
    }
}
