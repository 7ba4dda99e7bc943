#!/usr/bin/env bash
# libopus 1.6.1 (crate opus 0.4.0): in-band FEC changes the codec of music, at any bitrate.
#
# Expected: FEC adds redundancy where the speech codec (SILK) is in use anyway, and means nothing for music at 256 kbit/s, which
#   the transform codec (CELT) carries; RFC 6716 §2.1.7 describes it as a matter of speech.
# Seen: with FEC on and an expected loss of 10 %, every packet of a stereo chord at 256 kbit/s, application "audio", is in hybrid
#   mode: up to 8 kHz it is SILK. The packets are as large, the signal-to-noise ratio of what is decoded, with nothing lost, falls
#   from 33 dB to 11 dB. Either setting alone changes nothing; with 3 to 5 % a part of the packets is changed.
# Matters to: senders that set the expected loss from receiver reports and keep FEC on, as for a call, for the sound of a desktop.
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
opus = "=0.4.0"
opusic-sys = "=0.7.7"
[profile.dev]
opt-level = 2
TOML
cat > "$dir/src/main.rs" <<'RUST'
use std::f64::consts::TAU;

use opus::{Application, Bitrate, Channels, Decoder, Encoder};

const SAMPLES: usize = 960;
const PACKETS: usize = 100;

struct Outcome {
    /// Packets that are SILK or hybrid (RFC 6716 §3.1).
    speech: usize,
    bytes_per_packet: usize,
    snr_db: f64,
}

fn run(fec: bool, expected_loss: i32) -> Outcome {
    let mut encoder = Encoder::new(48_000, Channels::Stereo, Application::Audio).unwrap();
    encoder.set_bitrate(Bitrate::Bits(256_000)).unwrap();
    encoder.set_inband_fec(fec).unwrap();
    encoder.set_packet_loss_perc(expected_loss).unwrap();
    let mut decoder = Decoder::new(48_000, Channels::Stereo).unwrap();
    let (mut speech, mut bytes, mut played, mut heard) = (0, 0, Vec::new(), Vec::new());
    for packet in 0..PACKETS {
        let mut block = Vec::with_capacity(2 * SAMPLES);
        for n in 0..SAMPLES {
            let t = (packet * SAMPLES + n) as f64 / 48_000.0;
            let chord = |tones: [f64; 4]| tones.iter().map(|hz| (t * hz * TAU).sin()).sum::<f64>();
            let [left, right] = [[220.0, 554.4, 3136.0, 6272.0], [330.0, 880.0, 2093.0, 5274.0]].map(chord);
            block.extend([(left * 5000.0) as i16, (right * 5000.0) as i16]);
        }
        let mut data = [0; 4000];
        let len = encoder.encode(&block, &mut data).unwrap();
        bytes += len;
        speech += usize::from(data[0] >> 3 < 16);
        let mut decoded = [0; 2 * SAMPLES];
        decoder.decode(&data[..len], &mut decoded, false).unwrap();
        played.extend(block);
        heard.extend(decoded);
    }
    // At whatever whole delay they are most alike.
    let snr_db = (0..1000).map(|delay| snr(&played, &heard[2 * delay..])).fold(f64::MIN, f64::max);
    Outcome { speech, bytes_per_packet: bytes / PACKETS, snr_db }
}

fn snr(played: &[i16], heard: &[i16]) -> f64 {
    let (mut signal, mut noise) = (0.0, 0.0);
    for (a, b) in played.iter().zip(heard).skip(48_000).take(96_000) {
        let (a, b) = (f64::from(*a), f64::from(*b));
        signal += a * a;
        noise += (a - b) * (a - b);
    }
    10.0 * (signal / noise).log10()
}

fn main() {
    println!("{}", opus::version());
    let [loss_alone, fec_alone, both] = [(false, 10), (true, 0), (true, 10)].map(|(fec, loss)| {
        let outcome = run(fec, loss);
        let Outcome { speech, bytes_per_packet, snr_db } = outcome;
        println!("FEC {fec:5}, loss {loss:2} %: {speech:3} of {PACKETS} packets not CELT, {bytes_per_packet} bytes, {snr_db:.1} dB");
        outcome
    });
    let celt = loss_alone.speech == 0 && fec_alone.speech == 0;
    let worse = both.speech == PACKETS && both.snr_db + 15.0 < fec_alone.snr_db;
    assert!(celt && worse && both.bytes_per_packet + 50 > fec_alone.bytes_per_packet, "it behaves otherwise now");
}
RUST
cd "$dir"
CARGO_TARGET_DIR="$dir/target" cargo run --quiet
