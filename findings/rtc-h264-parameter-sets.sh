#!/usr/bin/env bash
# rtc-rtp 0.21.1: its H.264 payloader loses parameter sets that are valid.
#
# Expected: every NAL unit of an access unit is in the payloads, but for delimiters and filler.
# Seen: it keeps one SPS and one PPS until a slice comes, and sends them only as a pair. So
#   - of two PPS with different ids, which slices may both refer to, the first is lost;
#   - a PPS without an SPS (a stream may change it between pictures, H.264 §7.4.1.2.1) is not sent before the slice that needs it.
#   Nothing is returned as an error; receivers show what they can, or nothing.
# Matters to: streams that were not made by an encoder with one PPS: cameras, hardware encoders, files.
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
bytes = "=1.12.0"
rtc-rtp = "=0.21.1"
TOML
cat > "$dir/src/main.rs" <<'RUST'
use bytes::Bytes;
use rtc_rtp::codec::h264::H264Payloader;
use rtc_rtp::packetizer::Payloader;

const SPS: &[u8] = &[0x67, 0x42, 0xe0, 0x1f, 0x8c, 0x8d, 0x40, 0x50, 0x1e, 0xd0, 0x0f, 0x08, 0x84, 0x6a];
/// pic_parameter_set_id 0 and 1.
const PPS: [&[u8]; 2] = [&[0x68, 0xce, 0x3c, 0x80], &[0x68, 0x53, 0x8f, 0x20]];
const IDR: &[u8] = &[0x65, 0x88, 0x84, 0x00, 0x10, 0xff];
const SLICE: &[u8] = &[0x41, 0x9a, 0x02, 0x04, 0xff];

/// How often `part` is in the payloads of an access unit of these NAL units.
fn sent(payloader: &mut H264Payloader, units: &[&[u8]], part: &[u8]) -> usize {
    let access_unit: Vec<u8> = units.iter().flat_map(|unit| [&[0, 0, 0, 1], *unit].concat()).collect();
    let payloads = payloader.payload(1200, &Bytes::from(access_unit)).unwrap();
    payloads.iter().filter(|payload| payload.windows(part.len()).any(|window| window == part)).count()
}

fn main() {
    let one = sent(&mut H264Payloader::default(), &[SPS, PPS[0], IDR], PPS[0]);
    let two = PPS.map(|pps| sent(&mut H264Payloader::default(), &[SPS, PPS[0], PPS[1], IDR], pps));
    let mut later = H264Payloader::default();
    sent(&mut later, &[SPS, PPS[0], IDR], IDR);
    let alone = sent(&mut later, &[PPS[1], SLICE], PPS[1]);
    println!("one PPS: sent {one} time; two: {two:?} times; a PPS between pictures: {alone} times");
    assert_eq!((one, two, alone), (1, [0, 1], 0), "it behaves otherwise now");
}
RUST
cd "$dir"
CARGO_TARGET_DIR="$dir/target" cargo run --quiet
