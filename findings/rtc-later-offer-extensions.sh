#!/usr/bin/env bash
# rtc 0.21.1: a section that is added later is offered only with the header extensions that earlier sections agreed on.
#
# Expected: each section of an offer that is new lists every header extension that the offerer supports, in later offers as in the
#   first one (RFC 8829 §5.2.2, which treats new sections as §5.2.1 does): what the peer declined for one section, or could not use
#   there, says nothing about another.
# Seen: the first offer lists mid and rid. The answerer of its first section knows mid alone. In the next offer the new section lists
#   mid alone, too, although both are registered. A browser that is to publish simulcast there has no way to name its layers.
# Matters to: SFUs that receive in sections which they add when somebody begins to publish.
#
# Runs the crate alone: two peer connections in one process, descriptions only.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/src"
cat > "$dir/Cargo.toml" <<'TOML'
[package]
name = "probe"
version = "0.0.0"
edition = "2024"
[dependencies]
rtc = "=0.21.1"
TOML
cat > "$dir/src/main.rs" <<'RUST'
use std::time::Instant;

use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_VP8, MediaEngine};
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpHeaderExtensionCapability, RtpCodecKind,
};
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};

const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
const RID: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";

fn peer(extensions: &[&str]) -> RTCPeerConnection {
    let mut engine = MediaEngine::default();
    let rtp_codec = RTCRtpCodec {
        mime_type: MIME_TYPE_VP8.to_owned(),
        clock_rate: 90_000,
        channels: 0,
        sdp_fmtp_line: String::new(),
        rtcp_feedback: Vec::new(),
    };
    let codec = RTCRtpCodecParameters { rtp_codec, payload_type: 96 };
    engine.register_codec(codec, RtpCodecKind::Video).expect("codec");
    for uri in extensions {
        let capability = RTCRtpHeaderExtensionCapability { uri: (*uri).into() };
        engine.register_header_extension(capability, RtpCodecKind::Video, None).expect("extension");
    }
    RTCPeerConnectionBuilder::new().with_media_engine(engine).build(Instant::now()).expect("peer connection")
}

fn receive(pc: &mut RTCPeerConnection) {
    let init = RTCRtpTransceiverInit { direction: RTCRtpTransceiverDirection::Recvonly, ..Default::default() };
    pc.add_transceiver_from_kind(RtpCodecKind::Video, Some(init)).expect("transceiver");
}

/// Of each video section: whether it has mid and rid.
fn extensions(sdp: &str) -> Vec<(bool, bool)> {
    let has = |section: &str, uri: &str| section.lines().any(|line| line.trim_end().ends_with(uri));
    sdp.split("m=video").skip(1).map(|section| (has(section, MID), has(section, RID))).collect()
}

fn main() {
    let now = Instant::now();
    let (mut offerer, mut answerer) = (peer(&[MID, RID]), peer(&[MID]));
    receive(&mut offerer);
    let offer = offerer.create_offer(None).expect("offer");
    let first = extensions(&offer.sdp);
    offerer.set_local_description(now, offer.clone()).expect("local offer");
    answerer.set_remote_description(now, offer).expect("remote offer");
    let answer = answerer.create_answer(None).expect("answer");
    answerer.set_local_description(now, answer.clone()).expect("local answer");
    offerer.set_remote_description(now, answer).expect("remote answer");
    receive(&mut offerer);
    let second = extensions(&offerer.create_offer(None).expect("offer").sdp);
    println!("sections of the first offer, (mid, rid): {first:?}; of the second: {second:?}");
    assert_eq!(first, [(true, true)], "the first offer has what is registered");
    assert_eq!(second.last(), Some(&(true, false)), "it behaves otherwise now");
}
RUST
cd "$dir"
CARGO_TARGET_DIR="$dir/target" cargo run --quiet
