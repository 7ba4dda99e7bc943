//! The host's offer (its reply to DESCRIBE), and our choice (ANNOUNCE).

use crate::control::Version;

/// Bits of the streams that can be encrypted.
mod encryption {
    pub const CONTROL_V2: u32 = 1;
    pub const VIDEO: u32 = 2;
    pub const AUDIO: u32 = 4;
}

/// Bit of the feature flags by which hosts before Sunshine encrypt sound.
const OLD_AUDIO_ENCRYPTION: u32 = 0x20;
const FEATURES: u32 = 0x87;

/// A codec of video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// H.264.
    H264,
    /// H.265.
    Hevc,
    /// AV1.
    Av1,
}

/// The offer of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offer {
    features: u32,
    supported: u32,
    requested: u32,
    /// The host encodes H.265.
    pub hevc: bool,
    /// The host encodes AV1.
    pub av1: bool,
}

impl Offer {
    /// Parses the body of a reply to DESCRIBE. Missing attributes are not offered.
    pub fn parse(body: &str) -> Self {
        let attribute = |name: &str| {
            let line =
                body.lines().find_map(|line| line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
        };
        Self {
            features: attribute("x-ss-general.featureFlags"),
            supported: attribute("x-ss-general.encryptionSupported"),
            requested: attribute("x-ss-general.encryptionRequested"),
            hevc: body.contains("sprop-parameter-sets=AAAAAU"),
            av1: body.contains("AV1/90000"),
        }
    }

    /// Whether the host accepts touches.
    pub fn touch(&self) -> bool {
        self.features & 1 != 0
    }

    /// Selects encryption: the control stream in any case, the rest when the host asks for it, or when `all` is wanted
    /// and the host can.
    pub fn encryption(&self, all: bool) -> Encryption {
        let wanted = if all { encryption::VIDEO | encryption::AUDIO } else { self.requested };
        let on = self.supported & (encryption::CONTROL_V2 | wanted);
        let is = |bit| on & bit != 0;
        Encryption {
            control: if is(encryption::CONTROL_V2) { Version::V2 } else { Version::V1 },
            video: is(encryption::VIDEO),
            // Hosts that say nothing about encryption always encrypt sound.
            audio: is(encryption::AUDIO) || self.supported == 0,
        }
    }
}

/// The encrypted streams, and how they are encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encryption {
    /// The control stream always is.
    pub control: Version,
    /// Whether video is encrypted.
    pub video: bool,
    /// Whether sound is encrypted.
    pub audio: bool,
}

impl Encryption {
    fn bits(self) -> u32 {
        let bit = |on: bool, bit: u32| if on { bit } else { 0 };
        bit(self.control == Version::V2, encryption::CONTROL_V2)
            | bit(self.video, encryption::VIDEO)
            | bit(self.control == Version::V2 && self.audio, encryption::AUDIO)
    }
}

/// Our choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// Width in pixels.
    pub width: u32,
    /// Pixels, even.
    pub height: u32,
    /// Frames per second.
    pub fps: u32,
    /// Of video, parity and sound together.
    pub bitrate_kbps: u32,
    /// As agreed on: datagrams have 16 bytes more. A multiple of 16.
    pub packet_size: usize,
    /// The codec of video.
    pub codec: Codec,
    /// 0: BT.601, 1: BT.709, 2: BT.2020.
    pub colorspace: u8,
    /// Luma from 0 to 255 instead of from 16 to 235.
    pub full_range: bool,
    /// Milliseconds of an audio packet.
    pub audio_ms: u32,
    /// The encrypted streams.
    pub encryption: Encryption,
}

/// The body of ANNOUNCE. `host` is the host's name in RTSP.
pub fn announce(ask: &Ask, host: &str, video_port: u16) -> String {
    let usable = (ask.bitrate_kbps * 8 / 10).clamp(1, 100_000);
    let features = FEATURES | if ask.encryption.audio { OLD_AUDIO_ENCRYPTION } else { 0 };
    let (hevc, format) = match ask.codec {
        Codec::H264 => (0, 0),
        Codec::Hevc => (1, 1),
        Codec::Av1 => (0, 2),
    };
    let colour = u32::from(ask.colorspace) << 1 | u32::from(ask.full_range);
    let attributes: [(&str, u32); 37] = [
        ("x-ml-general.featureFlags", 3),
        ("x-ss-general.encryptionEnabled", ask.encryption.bits()),
        ("x-ss-video[0].chromaSamplingType", 0),
        ("x-nv-video[0].clientViewportWd", ask.width),
        ("x-nv-video[0].clientViewportHt", ask.height),
        ("x-nv-video[0].maxFPS", ask.fps),
        ("x-nv-video[0].packetSize", ask.packet_size as u32),
        ("x-nv-video[0].rateControlMode", 4),
        ("x-nv-video[0].timeoutLengthMs", 7000),
        ("x-nv-video[0].framesWithInvalidRefThreshold", 0),
        ("x-nv-video[0].initialBitrateKbps", usable),
        ("x-nv-video[0].initialPeakBitrateKbps", usable),
        ("x-nv-vqos[0].bw.minimumBitrateKbps", usable),
        ("x-nv-vqos[0].bw.maximumBitrateKbps", usable),
        ("x-ml-video.configuredBitrateKbps", ask.bitrate_kbps),
        ("x-nv-vqos[0].fec.enable", 1),
        ("x-nv-vqos[0].fec.minRequiredFecPackets", 2),
        ("x-nv-vqos[0].bllFec.enable", 0),
        ("x-nv-vqos[0].drc.enable", 0),
        ("x-nv-general.enableRecoveryMode", 0),
        ("x-nv-vqos[0].videoQualityScoreUpdateTime", 5000),
        ("x-nv-vqos[0].qosTrafficType", 5),
        ("x-nv-aqos.qosTrafficType", 4),
        ("x-nv-general.featureFlags", features),
        ("x-nv-general.useReliableUdp", 13),
        ("x-nv-video[0].videoEncoderSlicesPerFrame", 1),
        ("x-nv-clientSupportHevc", hevc),
        ("x-nv-vqos[0].bitStreamFormat", format),
        ("x-nv-video[0].dynamicRangeMode", 0),
        ("x-nv-video[0].maxNumReferenceFrames", 1),
        ("x-nv-video[0].clientRefreshRateX100", 0),
        ("x-nv-audio.surround.numChannels", 2),
        ("x-nv-audio.surround.channelMask", 3),
        ("x-nv-audio.surround.enable", 0),
        ("x-nv-audio.surround.AudioQuality", 0),
        ("x-nv-aqos.packetDuration", ask.audio_ms),
        ("x-nv-video[0].encoderCscMode", colour),
    ];
    let mut out = format!("v=0\r\no=android 0 14 IN IPv4 {host}\r\ns=NVIDIA Streaming Client\r\n");
    for (name, value) in attributes {
        out.push_str(&format!("a={name}:{value} \r\n"));
    }
    out.push_str(&format!("t=0 0\r\nm=video {video_port}  \r\n"));
    out
}

/// The reply to SETUP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// UDP port of the stream.
    pub port: u16,
    /// Payload of pings; `None`: the old ping.
    pub ping: Option<[u8; 16]>,
    /// Data for the connection of the control stream.
    pub connect_data: u32,
}

impl Setup {
    /// Reads it; `default_port` is of hosts that do not say.
    pub fn read(reply: &crate::rtsp::Reply, default_port: u16) -> Self {
        let port = reply.header("Transport").and_then(|transport| {
            let rest = transport.split("server_port=").nth(1)?;
            let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
            digits.parse().ok().filter(|port| *port != 0)
        });
        let ping = reply.header("X-SS-Ping-Payload").and_then(|ping| ping.as_bytes().try_into().ok());
        let connect_data = reply.header("X-SS-Connect-Data").and_then(|data| data.parse().ok());
        Self { port: port.unwrap_or(default_port), ping, connect_data: connect_data.unwrap_or(0) }
    }

    /// The ping of this number, which counts from 1.
    pub fn ping(&self, number: u32) -> Vec<u8> {
        match &self.ping {
            None => b"PING".to_vec(),
            Some(payload) => [&payload[..], &number.to_be_bytes()].concat(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtsp::{Client, MAX_REQUEST};
    use proptest::prelude::*;

    const SUNSHINE: &str = "a=x-ss-general.featureFlags:3\r\na=x-ss-general.encryptionSupported:5\r\n\
        a=x-ss-general.encryptionRequested: 1\r\na=rtpmap:98 AV1/90000\r\nsprop-parameter-sets=AAAAAU\r\n\
        a=fmtp:97 surround-params=21101\r\n";

    fn ask(encryption: Encryption) -> Ask {
        Ask {
            width: 1920,
            height: 1080,
            fps: 120,
            bitrate_kbps: 150_000,
            packet_size: 1392,
            codec: Codec::H264,
            colorspace: 1,
            full_range: false,
            audio_ms: 10,
            encryption,
        }
    }

    #[test]
    fn an_offer_is_read_and_what_is_missing_is_not_offered() {
        let offer = Offer::parse(SUNSHINE);
        assert!(offer.hevc && offer.av1 && offer.touch());
        let encryption = offer.encryption(false);
        assert_eq!(encryption, Encryption { control: Version::V2, video: false, audio: false });
        assert_eq!(encryption.bits(), 1);
        let all = offer.encryption(true);
        assert!(!all.video, "the host cannot");
        assert_eq!(all.bits(), 5);
        let wolf = Offer::parse("a=fmtp:97 surround-params=21101\n");
        let old = wolf.encryption(false);
        assert_eq!((old, old.bits()), (Encryption { control: Version::V1, video: false, audio: true }, 0));
        assert!(!wolf.touch() && !wolf.hevc);
    }

    #[test]
    fn what_is_announced_fits_into_a_request() {
        let sdp = announce(&ask(Offer::parse(SUNSHINE).encryption(true)), "255.255.255.255", 47998);
        assert!(sdp.contains("a=x-nv-general.featureFlags:167 \r\n"), "{sdp}");
        assert!(sdp.contains("a=x-nv-video[0].encoderCscMode:2 \r\n"));
        assert!(sdp.contains("a=x-nv-vqos[0].bw.maximumBitrateKbps:100000 \r\n"));
        assert!(sdp.ends_with("t=0 0\r\nm=video 47998  \r\n"));
        let mut client = Client::new("255.255.255.255", None);
        let request = client.request("ANNOUNCE", "streamid=control/13/0", &[], &sdp).unwrap();
        assert!(request.len() + 40 < MAX_REQUEST, "{}", request.len());
    }

    #[test]
    fn an_answer_to_setup_is_read() {
        let reply = |headers: &str| {
            let text = format!("RTSP/1.0 200 OK\r\n{headers}\r\n\r\n");
            Setup::read(&Client::new("h", None).reply("SETUP", text.as_bytes()).unwrap(), 47998)
        };
        let setup = reply(
            "Transport: server_port=50000\r\nX-SS-Ping-Payload: 0123456789abcdef\r\nX-SS-Connect-Data: 7",
        );
        assert_eq!((setup.port, setup.connect_data), (50000, 7));
        assert_eq!(setup.ping(258), b"0123456789abcdef\x00\x00\x01\x02");
        let old = reply("CSeq: 1");
        assert_eq!((old.port, old.ping(1)), (47998, b"PING".to_vec()));
        assert_eq!(reply("Transport: server_port=x").port, 47998);
        assert_eq!(reply("X-SS-Ping-Payload: short").ping, None);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,200}") {
            Offer::parse(&text);
        }
    }
}
