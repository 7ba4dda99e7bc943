//! What a stream is, for a player (SDP, RFC 8866; H.264 in it: RFC 6184 §8.2, Opus: RFC 7587 §7). Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::rtp_stream::{AUDIO_TYPE, Description, VIDEO_TYPE};

use super::request::TRACK;

/// The description of a stream of this name. The tracks' addresses are below that of the stream.
pub fn describe(name: &str, description: &Description) -> String {
    let Description { sps, pps, video, audio } = description;
    let profile: String = sps.iter().skip(1).take(3).map(|byte| format!("{byte:02X}")).collect();
    let sets = [sps, pps].map(|set| STANDARD.encode(set)).join(",");
    let session = video.ssrc;
    let mut sdp = format!(
        "v=0\r\n\
         o=- {session} 1 IN IP4 0.0.0.0\r\n\
         s={name}\r\n\
         c=IN IP4 0.0.0.0\r\n\
         t=0 0\r\n\
         a=range:npt=now-\r\n\
         a=control:*\r\n\
         m=video 0 RTP/AVP {VIDEO_TYPE}\r\n\
         a=rtpmap:{VIDEO_TYPE} H264/90000\r\n\
         a=fmtp:{VIDEO_TYPE} packetization-mode=1;profile-level-id={profile};sprop-parameter-sets={sets}\r\n\
         a=control:{TRACK}0\r\n"
    );
    if audio.is_some() {
        sdp += &format!(
            "m=audio 0 RTP/AVP {AUDIO_TYPE}\r\n\
             a=rtpmap:{AUDIO_TYPE} opus/48000/2\r\n\
             a=fmtp:{AUDIO_TYPE} sprop-stereo=1\r\n\
             a=control:{TRACK}1\r\n"
        );
    }
    sdp
}

#[cfg(test)]
mod tests {
    use common::rtp_stream::Start;

    use super::*;

    #[test]
    fn a_stream_has_its_parameter_sets_and_sound_if_there_is_any() {
        let start = Start { ssrc: 1, sequence: 2, timestamp: 3 };
        let sps = vec![0x67, 0x42, 0xc0, 0x1f];
        let mut description = Description { sps, pps: vec![0x68, 8], video: start, audio: Some(start) };
        let sdp = describe("demo/main", &description);
        assert!(sdp.contains("s=demo/main\r\n"));
        assert!(sdp.contains(
            ";profile-level-id=42C01F;sprop-parameter-sets=Z0LAHw==,aAg=\r\na=control:trackID=0\r\n"
        ));
        assert!(
            sdp.ends_with("a=rtpmap:97 opus/48000/2\r\na=fmtp:97 sprop-stereo=1\r\na=control:trackID=1\r\n")
        );
        description.audio = None;
        assert!(describe("demo/main", &description).ends_with("a=control:trackID=0\r\n"));
    }
}
