//! Packets that are lost on their way from the host: how much of it is made good, and that what cannot be is never
//! seen. `scripts/soak` runs the long table.

use std::time::Duration;

use harness::Server;
use serde_json::{Value, json};

use crate::host::{Known, stream_of};
use crate::pictures::Viewer;

/// Watches for so long, and says what was seen as a row of a table.
#[track_caller]
fn check(name: &str, network: &Value, duration: Duration) {
    let server = Server::start();
    // Frames of about twenty packets, so that 20 % of parity are worth something.
    let host = Known::pair(&server, &json!({ "video": network, "noise": 0.05, "filler_bytes": 16_000 }));
    host.stream(&server, "loss").expect(201);
    let mut viewer = Viewer::join(server.address(), "loss");
    viewer.see(1);
    let count = |name| host.fake.counter(name);
    let names = ["frames", "video_data_lost", "frames_lost", "keyframe_requests"];
    let before = names.map(count);
    let known = stream_of(&server, "loss");
    viewer.codes.clear();
    viewer.look(duration);
    let after = names.map(count);
    let [_, packets, beyond, asked] = std::array::from_fn(|n| after[n] - before[n]);
    // Each picture has its number. The host's own count is read a moment later than the last one.
    let frames = match viewer.codes[..] {
        [first, .., last] => u64::from(last - first) + 1,
        _ => panic!("hardly anything was seen"),
    };
    let now = stream_of(&server, "loss");
    let recovered = now.recovered_packets - known.recovered_packets;
    let lost = now.lost_frames - known.lost_frames;
    let seen = viewer.codes.len() as u64;
    println!(
        "| {name} | {frames} frames | {packets} data packets lost, {recovered} recovered | {beyond} frames beyond \
         recovery, {lost} lost | {asked} keyframes asked for | {seen} pictures seen |"
    );
    assert_eq!(host.complaints(), json!([]));
    if packets == 0 {
        let skipped = viewer.codes.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
        assert_eq!((skipped, asked), (0, 0), "nothing is lost, nothing is asked for");
    }
    // A loss that is made good costs nothing; one that is not costs a request, or two when the answer is lost as well.
    assert!(asked <= 2 * beyond + 1, "{asked} requests for {beyond} frames");
    // With a frame, those are lost that come before the keyframe that replaces it.
    let spared = frames.saturating_sub(10 * beyond + 10);
    assert!(seen >= spared, "{seen} of {frames} frames seen, {beyond} beyond recovery");
}

const SHORT: Duration = Duration::from_secs(4);
const LONG: Duration = Duration::from_secs(60);

#[test]
fn without_losses_every_frame_is_seen() {
    check("0 %", &json!({}), SHORT);
}

#[test]
fn losses_within_the_parity_are_made_good_and_others_cost_a_keyframe() {
    check("8 %", &json!({ "loss": 0.08 }), SHORT);
}

#[test]
fn a_burst_costs_a_keyframe() {
    check("bursts of 12", &json!({ "burst": 0.004, "burst_length": 12 }), SHORT);
}

#[test]
#[ignore = "a minute for each row: scripts/soak"]
fn the_loss_table() {
    for percent in [0, 1, 5, 8, 10] {
        check(&format!("{percent} %"), &json!({ "loss": f64::from(percent) / 100.0 }), LONG);
    }
    check("1 % in bursts of 5", &json!({ "burst": 0.002, "burst_length": 5 }), LONG);
    check("5 % in bursts of 12", &json!({ "burst": 0.004, "burst_length": 12 }), LONG);
}
