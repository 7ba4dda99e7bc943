#!/usr/bin/env bash
# rtc-interceptor 0.21.1: its Google congestion control fills a queue for half a minute before it notices.
#
# Expected: on a path of 2 Mbit/s with a deep queue, the delay-based half notices within a second or two that the queue grows,
#   as the implementation in browsers does, and lowers its target.
# Seen: the target rises to 4.9 Mbit/s, 2.4 times the capacity, and falls for the first time after 36 s, when packets wait for
#   many seconds. What is compared with the threshold is the filtered delay gradient between two neighbouring groups of packets,
#   as it is written in draft-ietf-rmcat-gcc-02 §5.4. In a queue that grows steadily it is a fraction of a millisecond, far below
#   the threshold of 12.5 ms. Browsers multiply it by the number of groups, up to 60, before they compare.
# Matters to: whoever takes `Gcc` for the estimator of a real sender, or implements the draft to the letter.
#
# Runs the crate alone on simulated acknowledgements: packets of 1200 bytes paced at its own target, feedback every 50 ms,
# 20 ms each way, nothing lost, 120 s of simulated time.
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
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use rtc_interceptor::{BandwidthEstimator, Gcc, PacketReport};
use rtc_rtcp::transport_feedbacks::cc_feedback_report::Ecn;

const CAPACITY_BPS: f64 = 2_000_000.0;
const BYTES: usize = 1200;
const ONE_WAY_MS: f64 = 20.0;

fn main() {
    let epoch = Instant::now();
    let mut gcc = Gcc::new(300_000.0, 100_000.0, 100_000_000.0);
    let mut in_flight: VecDeque<(u64, u64, f64)> = VecDeque::new();
    let (mut budget, mut id, mut link_free_at) = (0.0, 0, 0.0_f64);
    let (mut highest, mut longest_queue, mut first_fall) = (0.0_f64, 0.0_f64, None);
    for ms in 0..120_000_u64 {
        budget += gcc.target_bitrate() / 8000.0;
        while budget >= BYTES as f64 {
            budget -= BYTES as f64;
            let begins = link_free_at.max(ms as f64);
            longest_queue = longest_queue.max(begins - ms as f64);
            link_free_at = begins + BYTES as f64 * 8000.0 / CAPACITY_BPS;
            in_flight.push_back((id, ms, link_free_at + ONE_WAY_MS));
            id += 1;
        }
        if ms % 50 != 0 {
            continue;
        }
        let mut reports = Vec::new();
        while let Some((id, departure, arrival)) =
            in_flight.pop_front_if(|(.., arrival)| *arrival + ONE_WAY_MS <= ms as f64)
        {
            reports.push(PacketReport {
                ssrc: 1,
                id,
                rtp_sequence_number: id as u16,
                is_twcc: true,
                twcc_sequence_number: id as u16,
                size: BYTES,
                arrived: true,
                departure: epoch + Duration::from_millis(departure),
                arrival: Some(Duration::from_secs_f64(arrival / 1000.0)),
                ecn: Ecn::default(),
            });
        }
        let before = gcc.target_bitrate();
        gcc.on_reports(epoch + Duration::from_millis(ms), &reports);
        highest = highest.max(gcc.target_bitrate());
        if gcc.target_bitrate() < before && first_fall.is_none() {
            first_fall = Some(ms / 1000);
        }
    }
    println!("capacity 2.0 Mbit/s; highest target {:.1} Mbit/s", highest / 1e6);
    println!("longest wait in the queue {:.0} s; first fall of the target after {first_fall:?} s", longest_queue / 1000.0);
    let as_found = highest > 2.0 * CAPACITY_BPS && first_fall.is_none_or(|s| s > 20) && longest_queue > 10_000.0;
    assert!(as_found, "it behaves otherwise now");
}
RUST
cd "$dir"
CARGO_TARGET_DIR="$dir/target" cargo run --quiet
