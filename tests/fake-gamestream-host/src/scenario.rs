//! How the host behaves: all of it in one JSON object, given by `--scenario` or changed by `PATCH /scenario`.
//!
//! The default is a Sunshine of 2025 with software encoding, in good order.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// All that can be chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    /// Which of its two certificates the host has.
    pub certificate: Certificate,
    /// `hostname` in serverinfo.
    pub name: String,
    /// `appversion` in serverinfo; a negative fourth number says Sunshine.
    pub appversion: String,
    /// `ServerCodecModeSupport`.
    pub codecs: u32,
    /// Files that are sent instead of what this program encodes; see `clip.rs`. Without one, only H.264 can be sent.
    pub clips: BTreeMap<Codec, PathBuf>,
    /// What `/applist` has.
    pub apps: Vec<App>,
    /// Another client plays this app: `currentgame` without a session of ours.
    pub busy_with: Option<u32>,
    /// The app inherits the socket of `/launch`, which stays open for as long as the app runs, as of Sunshine 0.23.
    pub app_keeps_socket: bool,
    /// So many milliseconds pass between `/launch` and its answer. Nobody is answered over TLS meanwhile.
    pub launch_ms: u64,
    /// While a session runs, no other one begins: 503, as with Sunshine's one channel.
    pub one_session: bool,
    /// The first call of a pairing gets no answer while one of the same client has not been finished, as of Sunshine 2025.
    pub open_pairing_loses_answer: bool,
    /// `rtspenc://` for clients that can.
    pub encrypted_rtsp: bool,
    /// Sends `X-SS-Ping-Payload` and `X-SS-Connect-Data` and insists on them.
    pub session_ids: bool,
    /// `x-ss-general.encryptionSupported`: 1 control v2, 2 video, 4 sound.
    pub encryption_supported: u32,
    /// `x-ss-general.encryptionRequested`.
    pub encryption_requested: u32,
    /// `x-ss-general.featureFlags`: 1 pen and touch, 2 controllers' touch and motion.
    pub feature_flags: u32,
    /// Attributes in DESCRIBE have a space before their value, as Wolf's.
    pub sdp_spaces: bool,
    /// Parity of video in percent of the data.
    pub fec_percent: u32,
    /// What frames begin with.
    pub frame_header: FrameHeader,
    /// Video has timestamps; old hosts send 0.
    pub timestamps: bool,
    /// The last data packet of a frame is as long as its content.
    pub short_last_packet: bool,
    /// Each frame of its own H.264 gets so many bytes of filler data more, for frames of several blocks.
    pub filler_bytes: usize,
    /// Share of the picture that is noise, 0 to 1: how hard it is to encode.
    pub noise: f32,
    /// Frames per second are at most this many.
    pub max_fps: u32,
    /// On the way of video.
    pub video: Network,
    /// On the way of sound.
    pub audio: Network,
    /// Same seed, same losses.
    pub seed: u64,
    /// Faults of HTTP by the name of a call (`serverinfo`, `pair`, `pair/clientchallenge`, `applist`, `appasset`,
    /// `launch`, `resume`, `cancel`).
    pub http: BTreeMap<String, HttpFault>,
    /// Faults of RTSP by the name of a command.
    pub rtsp: BTreeMap<String, RtspFault>,
    /// A fault of pairing.
    pub pairing: PairingFault,
    /// Untrue packets, which take the place of true ones.
    pub lies: Vec<Lie>,
    /// Share of packets that are lies, 0 to 1.
    pub lie_share: f64,
    /// ENet does not answer.
    pub mute_control: bool,
    /// No video is sent.
    pub mute_video: bool,
    /// No sound is sent.
    pub mute_audio: bool,
}

impl Default for Scenario {
    fn default() -> Self {
        let app = |id, name: &str| App { id, name: name.to_owned(), hdr: false };
        Self {
            certificate: Certificate::First,
            name: "Fake Host".to_owned(),
            appversion: "7.1.431.-1".to_owned(),
            codecs: 1,
            clips: BTreeMap::new(),
            apps: vec![app(1, "Desktop"), app(1093255277, "Steam Big Picture")],
            busy_with: None,
            app_keeps_socket: true,
            launch_ms: 0,
            one_session: false,
            open_pairing_loses_answer: true,
            encrypted_rtsp: true,
            session_ids: true,
            encryption_supported: 7,
            encryption_requested: 1,
            feature_flags: 3,
            sdp_spaces: false,
            fec_percent: 20,
            frame_header: FrameHeader::Short,
            timestamps: true,
            short_last_packet: false,
            filler_bytes: 0,
            noise: 0.1,
            max_fps: 240,
            video: Network::default(),
            audio: Network::default(),
            seed: 1,
            http: BTreeMap::new(),
            rtsp: BTreeMap::new(),
            pairing: PairingFault::None,
            lies: Vec::new(),
            lie_share: 0.02,
            mute_control: false,
            mute_video: false,
            mute_audio: false,
        }
    }
}

impl Scenario {
    /// This one with the changes of a JSON object; what it does not name stays.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn changed(&self, changes: &str) -> Result<Self, String> {
        let changes: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(changes).map_err(|error| error.to_string())?;
        let whole = serde_json::to_value(self).map_err(|error| error.to_string())?;
        let serde_json::Value::Object(mut whole) = whole else { unreachable!("a struct is an object") };
        whole.extend(changes);
        let changed: Self =
            serde_json::from_value(serde_json::Value::Object(whole)).map_err(|error| error.to_string())?;
        changed.check()?;
        Ok(changed)
    }

    fn check(&self) -> Result<(), String> {
        let shares = [
            ("video.loss", self.video.loss),
            ("audio.loss", self.audio.loss),
            ("video.reorder", self.video.reorder),
            ("audio.reorder", self.audio.reorder),
            ("video.duplicate", self.video.duplicate),
            ("audio.duplicate", self.audio.duplicate),
            ("video.burst", self.video.burst),
            ("audio.burst", self.audio.burst),
            ("lie_share", self.lie_share),
            ("noise", f64::from(self.noise)),
        ];
        if let Some((name, share)) = shares.into_iter().find(|(_, share)| !(0.0..=1.0).contains(share)) {
            return Err(format!("{name}: must be from 0 to 1, not {share}"));
        }
        if self.fec_percent > 255 {
            return Err(format!("fec_percent: must be at most 255, not {}", self.fec_percent));
        }
        if self.filler_bytes > 4 << 20 {
            return Err(format!("filler_bytes: must be at most 4194304, not {}", self.filler_bytes));
        }
        if self.max_fps == 0 {
            return Err("max_fps: must not be 0".to_owned());
        }
        Ok(())
    }
}

/// What video is encoded with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Codec {
    /// H.264.
    H264,
    /// HEVC.
    Hevc,
    /// AV1.
    Av1,
}

/// A certificate of `data/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Certificate {
    /// That of the beginning.
    First,
    /// Another one, as after a new installation.
    Second,
}

/// A program that the host can start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct App {
    /// `ID`.
    pub id: u32,
    /// `AppTitle`; may be empty.
    pub name: String,
    /// `IsHdrSupported`.
    #[serde(default)]
    pub hdr: bool,
}

/// What the first bytes of a frame are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FrameHeader {
    /// Sunshine's 8 bytes with type and length.
    Short,
    /// The 8 bytes of Wolf and old Sunshine, `\x01` `7charss`, which say nothing.
    Constant,
    /// GeForce's 0x81, whose length follows from `appversion`.
    Long,
}

/// What happens to packets. What is absent does not.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// Share that is lost, 0 to 1, one by one.
    pub loss: f64,
    /// Chance that a burst of losses begins with a packet, 0 to 1.
    pub burst: f64,
    /// Packets of a burst.
    pub burst_length: u32,
    /// Share that is held back and so overtaken, 0 to 1.
    pub reorder: f64,
    /// For how long.
    pub reorder_ms: u64,
    /// Share that comes twice, 0 to 1.
    pub duplicate: f64,
    /// Each takes this long.
    pub delay_ms: u64,
}

/// What is wrong with an HTTP answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HttpFault {
    /// Refused in the XML.
    Status {
        /// `status_code`, as it stands there: hosts have sent 4294967295.
        code: i64,
        /// `status_message`.
        message: String,
    },
    /// Refused in the status line, without XML.
    HttpStatus(u16),
    /// Sent on to the same place for ever.
    Redirect,
    /// XML whose entities multiply.
    Bomb,
    /// XML in a hundred thousand levels.
    Deep,
    /// A body without end.
    Endless,
    /// One byte in so many milliseconds.
    Drip(u64),
    /// No answer, and the connection stays.
    Hang,
    /// No answer, and the connection is closed.
    Close,
    /// Bytes that are no HTTP.
    Garbage,
    /// The XML ends half way.
    Truncated,
    /// `Content-Length` is a thousand times what follows.
    LongLength,
}

/// What is wrong with an RTSP answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RtspFault {
    /// Refused with this status.
    Status(u16),
    /// No answer, and the connection stays.
    Hang,
    /// No answer, and the connection is closed.
    Close,
    /// Bytes that are no RTSP.
    Garbage,
    /// An answer without end.
    Endless,
    /// Encrypted answers say that they are longer than they are.
    LongLength,
    /// Encrypted answers are forged.
    Forged,
    /// `server_port=99999`, `X-SS-Connect-Data: -1`, and the like.
    BadNumbers,
}

/// What is wrong with pairing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PairingFault {
    /// Nothing.
    None,
    /// The host does not know the PIN.
    WrongHash,
    /// The host does not have its certificate's key: somebody is in between.
    WrongSignature,
    /// Another pairing is under way: no `plaincert`.
    NoCertificate,
    /// `plaincert` is no certificate.
    BadCertificate,
    /// Answers are shorter than they must be.
    ShortAnswers,
    /// The last call is answered with `paired` 0.
    Rejected,
    /// The first call is refused as out of order once.
    OutOfOrderOnce,
}

/// A packet that is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lie {
    /// A shard's index is outside of its block.
    ShardIndex,
    /// A block of no data, or of the most that 10 bits say.
    ShardCount,
    /// The block's number is behind the last one.
    BlockIndex,
    /// The frame is a billion ahead.
    FutureFrame,
    /// The frame is long gone.
    PastFrame,
    /// Percentages that do not agree with those before.
    Percent,
    /// Cut anywhere.
    Short,
    /// Followed by more.
    Long,
    /// Random bytes.
    Noise,
    /// `lastPayloadLen` is longer than a packet.
    PayloadLength,
    /// The flags say beginning and end where neither is.
    Flags,
    /// Parity that is none.
    Parity,
    /// Empty.
    Empty,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_leave_the_rest_as_it_is() {
        let scenario = Scenario::default().changed(r#"{"video":{"loss":0.1},"mute_audio":true}"#).unwrap();
        assert_eq!((scenario.video.loss, scenario.mute_audio, scenario.fec_percent), (0.1, true, 20));
        let again =
            scenario.changed(r#"{"http":{"launch":{"status":{"code":503,"message":"no"}}}}"#).unwrap();
        assert_eq!((again.video.loss, again.http.len()), (0.1, 1));
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        for (changes, name) in [
            (r#"{"video":{"loss":1.5}}"#, "video.loss"),
            (r#"{"vidoe":{}}"#, "vidoe"),
            (r#"{"fec_percent":300}"#, "fec_percent"),
            (r#"{"max_fps":0}"#, "max_fps"),
        ] {
            let error = Scenario::default().changed(changes).unwrap_err();
            assert!(error.contains(name), "{error}");
        }
    }
}
