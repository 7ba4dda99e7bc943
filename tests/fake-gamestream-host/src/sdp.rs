//! Session descriptions: what DESCRIBE answers, and what ANNOUNCE has to say. Pure.

use std::collections::HashMap;
use std::fmt::Write as _;

use crate::scenario::{Codec, Scenario};
use crate::session::Settings;

/// Encryption of control messages as of version 2, in `x-ss-general.encryption…`.
pub const CONTROL_V2: u32 = 1;
/// Encryption of video.
pub const VIDEO: u32 = 2;
/// Encryption of sound.
pub const AUDIO: u32 = 4;
/// Encryption of sound in `x-nv-general.featureFlags`, as GeForce and Wolf have it.
const LEGACY_AUDIO: u32 = 0x20;
/// `x-ml-general.featureFlags`: the client echoes ping payload and connect data.
const SESSION_ID: u32 = 2;

/// What DESCRIBE answers.
pub fn describe(scenario: &Scenario) -> String {
    let space = if scenario.sdp_spaces { " " } else { "" };
    let mut sdp = String::new();
    let mut attribute = |name: &str, value: &dyn std::fmt::Display| {
        let _ = write!(sdp, "a={name}:{space}{value}\r\n");
    };
    attribute("x-ss-general.featureFlags", &scenario.feature_flags);
    if scenario.encryption_supported != 0 {
        attribute("x-ss-general.encryptionSupported", &scenario.encryption_supported);
        attribute("x-ss-general.encryptionRequested", &scenario.encryption_requested);
    }
    for surround in ["21101", "642012453", "660012345", "85301245367", "88001234567"] {
        attribute("fmtp", &format!("97 surround-params={surround}"));
    }
    if scenario.codecs & 0x300 != 0 {
        sdp.push_str("sprop-parameter-sets=AAAAAU\r\n");
    }
    if scenario.codecs & 0x30000 != 0 {
        sdp.push_str("a=rtpmap:98 AV1/90000\r\n");
    }
    sdp
}

/// Reads what ANNOUNCE has.
///
/// # Errors
/// What is missing or not possible, for people: the host answers 400.
pub fn announced(sdp: &str, scenario: &Scenario) -> Result<Settings, String> {
    let attributes: HashMap<&str, &str> = sdp
        .lines()
        .filter_map(|line| line.strip_prefix("a=")?.split_once(':'))
        .map(|(name, value)| (name, value.trim()))
        .collect();
    let optional = |name: &str| attributes.get(name).and_then(|value| value.parse::<u32>().ok());
    let required = |name: &str| optional(name).ok_or_else(|| format!("{name} is missing or no number"));

    // What Sunshine refuses to go without, whether we use it or not.
    required("x-nv-video[0].videoEncoderSlicesPerFrame")?;
    required("x-nv-video[0].maxNumReferenceFrames")?;
    required("x-nv-audio.surround.channelMask")?;
    required("x-nv-audio.surround.AudioQuality")?;
    let maximum = required("x-nv-vqos[0].bw.maximumBitrateKbps")?;

    let encryption = optional("x-ss-general.encryptionEnabled").unwrap_or(0);
    if encryption & !scenario.encryption_supported != 0 {
        return Err(format!("encryptionEnabled {encryption} is more than the host supports"));
    }
    let features = optional("x-nv-general.featureFlags").unwrap_or(135);
    let format = optional("x-nv-vqos[0].bitStreamFormat").unwrap_or(0);
    let codec = codec(format, optional("x-nv-clientSupportHevc").unwrap_or(0) != 0, scenario);
    let settings = Settings {
        codec: codec.ok_or_else(|| format!("bitStreamFormat: {format} is not possible here"))?,
        width: required("x-nv-video[0].clientViewportWd")?,
        height: required("x-nv-video[0].clientViewportHt")?,
        fps: required("x-nv-video[0].maxFPS")?,
        packet_size: required("x-nv-video[0].packetSize")?,
        bitrate_kbps: optional("x-ml-video.configuredBitrateKbps").unwrap_or(maximum),
        min_parity: optional("x-nv-vqos[0].fec.minRequiredFecPackets").unwrap_or(0),
        audio_packet_ms: optional("x-nv-aqos.packetDuration").unwrap_or(5),
        control_v2: encryption & CONTROL_V2 != 0,
        encrypted_video: encryption & VIDEO != 0,
        encrypted_audio: encryption & AUDIO != 0 || features & LEGACY_AUDIO != 0,
        echoes_ids: optional("x-ml-general.featureFlags").unwrap_or(0) & SESSION_ID != 0,
    };
    let channels = required("x-nv-audio.surround.numChannels")?;
    let wrong = |what: &str, value: u32| Err(format!("{what}: {value} is not possible here"));
    match settings {
        _ if channels != 2 => wrong("numChannels", channels),
        _ if optional("x-nv-general.useReliableUdp") != Some(13) => {
            wrong("useReliableUdp", optional("x-nv-general.useReliableUdp").unwrap_or(1))
        }
        Settings { width, .. } if !width.is_multiple_of(2) || !(16..=4096).contains(&width) => {
            wrong("clientViewportWd", width)
        }
        Settings { height, .. } if !height.is_multiple_of(2) || !(16..=4096).contains(&height) => {
            wrong("clientViewportHt", height)
        }
        Settings { fps, .. } if !(1..=240).contains(&fps) => wrong("maxFPS", fps),
        Settings { packet_size, .. }
            if !packet_size.is_multiple_of(16) || !(128..=4096).contains(&packet_size) =>
        {
            wrong("packetSize", packet_size)
        }
        Settings { audio_packet_ms, .. } if ![5, 10, 20].contains(&audio_packet_ms) => {
            wrong("packetDuration", audio_packet_ms)
        }
        settings => Ok(settings),
    }
}

/// What is to be sent, if the host has it.
fn codec(format: u32, client_has_hevc: bool, scenario: &Scenario) -> Option<Codec> {
    let (codec, bits) = match format {
        0 => return Some(Codec::H264),
        1 if client_has_hevc => (Codec::Hevc, 0x100),
        2 => (Codec::Av1, 0x1_0000),
        _ => return None,
    };
    (scenario.codecs & bits != 0 && scenario.clips.contains_key(&codec)).then_some(codec)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The least that Sunshine takes.
    const LEAST: &str = "v=0\r\na=x-nv-video[0].clientViewportWd:1280 \r\na=x-nv-video[0].clientViewportHt:720 \r\n\
        a=x-nv-video[0].maxFPS:60 \r\na=x-nv-video[0].packetSize:1392 \r\na=x-nv-vqos[0].bw.maximumBitrateKbps:8000 \r\n\
        a=x-nv-general.useReliableUdp:13 \r\na=x-nv-video[0].videoEncoderSlicesPerFrame:1 \r\n\
        a=x-nv-video[0].maxNumReferenceFrames:1 \r\na=x-nv-audio.surround.numChannels:2 \r\n\
        a=x-nv-audio.surround.channelMask:3 \r\na=x-nv-audio.surround.AudioQuality:0 \r\n";

    #[test]
    fn the_least_is_taken_with_defaults() {
        let settings = announced(LEAST, &Scenario::default()).unwrap();
        assert_eq!((settings.width, settings.fps, settings.bitrate_kbps), (1280, 60, 8000));
        assert!(!settings.control_v2 && !settings.encrypted_audio && settings.audio_packet_ms == 5);
    }

    #[test]
    fn what_is_missing_or_too_much_is_named() {
        for line in LEAST.lines().filter(|line| line.starts_with("a=")) {
            let name = line[2..].split(':').next().unwrap();
            let error = announced(&LEAST.replace(line, ""), &Scenario::default()).unwrap_err();
            assert!(name.ends_with(error.split([' ', ':']).next().unwrap()), "{name}: {error}");
        }
        let more = |line: &str| announced(&format!("{LEAST}{line}\r\n"), &Scenario::default());
        assert!(more("a=x-nv-vqos[0].bitStreamFormat:1").is_err());
        let clips = [(Codec::Hevc, "clip".into()), (Codec::Av1, "clip".into())].into();
        let scenario = Scenario { codecs: 0x101, clips, ..Scenario::default() };
        let more_of = |lines: &str| announced(&format!("{LEAST}{lines}"), &scenario);
        let hevc = more_of("a=x-nv-vqos[0].bitStreamFormat:1\r\na=x-nv-clientSupportHevc:1\r\n");
        assert_eq!(hevc.unwrap().codec, Codec::Hevc);
        assert!(more_of("a=x-nv-vqos[0].bitStreamFormat:2\r\n").is_err(), "it does not say that it has AV1");
        assert!(more("a=x-ss-general.encryptionEnabled:8").is_err());
        assert!(more("a=x-ss-general.encryptionEnabled:7").unwrap().encrypted_video);
        assert!(more("a=x-nv-general.featureFlags:167").unwrap().encrypted_audio);
    }

    #[test]
    fn a_host_of_the_old_kind_has_no_encryption_to_offer() {
        let scenario = Scenario { encryption_supported: 0, sdp_spaces: true, ..Scenario::default() };
        let sdp = describe(&scenario);
        assert!(
            sdp.starts_with("a=x-ss-general.featureFlags: 3\r\n") && !sdp.contains("encryption"),
            "{sdp}"
        );
        assert!(describe(&Scenario::default()).contains("a=fmtp:97 surround-params=21101\r\n"));
    }
}
