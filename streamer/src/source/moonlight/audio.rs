//! The thread that receives sound.

#![expect(clippy::disallowed_methods, reason = "the loop of a thread is where the time is asked for")]

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use gamestream::audio::Receiver;

use super::pictures::Unwrapped;
use super::session::HostSession;
use super::video::{PING, is_nothing};
use super::{End, Life};
use crate::feed::AudioOutlet;
use crate::media::AudioPacket;
use crate::source::live::clock::{Clock, SECOND, Track};
use crate::source::live::opus;
use crate::stats::SourceCounters;

/// Longer than any packet.
const BUFFER: usize = 2048;

/// Works until the session is over.
pub fn run(session: &HostSession, outlet: &mut AudioOutlet, counters: &Arc<SourceCounters>, life: &Life) {
    let key = session.encryption.audio.then(|| session.crypto.clone());
    let mut receiver = Receiver::new(key, session.audio_ms);
    let mut clock = Clock::new(Instant::now());
    let mut track = Track::default();
    let mut millis = Unwrapped::default();
    let mut buffer = [0; BUFFER];
    // The first ping was sent when the stream was set up.
    let mut next_ping = Instant::now();
    let mut pings = 1;
    while !life.is_over() {
        let now = Instant::now();
        if now >= next_ping {
            pings += 1;
            next_ping = now + PING;
            // Whether the host receives it shows by its packets.
            let _ = session.audio.socket.send(&session.audio.setup.ping(pings));
        }
        match session.audio.socket.recv(&mut buffer) {
            Ok(len) => {
                if let Err(error) = receiver.push(&buffer[..len]) {
                    tracing::debug!(%error, "an audio packet");
                }
            }
            Err(error) if is_nothing(error.kind()) => {}
            Err(error) => return life.end(End::Lost(format!("receiving sound: {error}"))),
        }
        let now = Instant::now();
        while let Some(packet) = receiver.pop() {
            let Some(ticks) = opus::ticks(&packet.data) else { continue };
            let time = millis.next(packet.timestamp).saturating_mul(SECOND / 1000);
            let placed = clock.place(&mut track, now, time);
            let captured = track.increasing(placed);
            counters.audio_captured.add(1);
            counters.audio_bytes.add(packet.data.len() as u64);
            outlet.publish(AudioPacket { data: Bytes::from(packet.data), captured, ticks });
        }
    }
}
