#!/usr/bin/env bash
# rtc-interceptor 0.21.1: its Google congestion control raises the estimate a hundredfold while next to nothing is sent.
#
# Expected: a sender that is limited by its application learns nothing of the path, so that the estimate stays near what has
#   been seen to arrive (draft-ietf-rmcat-gcc-02 §5.5: the estimate does not exceed 1.5 times the received rate).
# Seen: with 4 kbit/s on the wire for a minute (a still picture), the target grows by 8 % a second from 300 kbit/s to 30 Mbit/s.
#   The first full picture is then sent at that rate, whatever the path carries.
# Matters to: screen sharing, and anything else that rests between bursts.
#
# Runs the crate alone on simulated acknowledgements: one packet of 100 bytes each 200 ms, acknowledged 40 ms later.
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
rtc-interceptor = "=0.21.1"
rtc-rtcp = "=0.21.1"
TOML
cat > "$dir/src/main.rs" <<'RUST'
use std::time::{Duration, Instant};

use rtc_interceptor::{BandwidthEstimator, Gcc, PacketReport};
use rtc_rtcp::transport_feedbacks::cc_feedback_report::Ecn;

fn main() {
    let epoch = Instant::now();
    let mut gcc = Gcc::new(300_000.0, 100_000.0, 100_000_000.0);
    for n in 0..300_u64 {
        let sent = Duration::from_millis(200 * n);
        let report = PacketReport {
            ssrc: 1,
            id: n,
            rtp_sequence_number: n as u16,
            is_twcc: true,
            twcc_sequence_number: n as u16,
            size: 100,
            arrived: true,
            departure: epoch + sent,
            arrival: Some(sent + Duration::from_millis(20)),
            ecn: Ecn::default(),
        };
        gcc.on_reports(epoch + sent + Duration::from_millis(40), &[report]);
    }
    println!("received: 4 kbit/s for 60 s; target {:.1} Mbit/s", gcc.target_bitrate() / 1e6);
    assert!(gcc.target_bitrate() > 20e6, "it behaves otherwise now");
}
RUST
cd "$dir"
CARGO_TARGET_DIR="$dir/target" cargo run --quiet
