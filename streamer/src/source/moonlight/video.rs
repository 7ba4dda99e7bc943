//! The thread that receives video.

#![expect(clippy::disallowed_methods, reason = "the loop of a thread is where the time is asked for")]

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use common::slots::LinkQuality;
use gamestream::video::{OVERHEAD, PREFIX, Receiver, open};

use super::control::Wishes;
use super::pictures::Pictures;
use super::session::HostSession;
use super::sink::Steering;
use super::{End, Life};
use crate::source::Ended;

/// Interval of pings, which keep the path through routers open and tell the host where to send.
pub const PING: Duration = Duration::from_millis(500);
/// A host that has sent nothing within this time has not started.
const BEGIN: Duration = Duration::from_secs(10);
/// Interval of checks of the network's quality.
const COUNT: Duration = Duration::from_secs(1);
/// Checks without a loss after which the quality is good again.
const CALM: u32 = 3;

/// Works until the session is over.
pub fn run(
    session: &HostSession,
    pictures: &mut Pictures,
    life: &Life,
    wishes: &Wishes,
    steering: &Steering,
) {
    let receiver = Receiver::new(session.packet_size, session.long_header, pictures.is_key());
    let began = Instant::now();
    Thread {
        session,
        pictures,
        life,
        wishes,
        steering,
        receiver,
        began,
        looked: began,
        bad: 0,
        lost: 0,
        packets: 0,
    }
    .run();
}

struct Thread<'a> {
    session: &'a HostSession,
    pictures: &'a mut Pictures,
    life: &'a Life,
    wishes: &'a Wishes,
    steering: &'a Steering,
    receiver: Receiver,
    began: Instant,
    looked: Instant,
    /// Remaining checks for which the network counts as bad.
    bad: u32,
    lost: u64,
    /// Packets received at the last check.
    packets: u64,
}

impl Thread<'_> {
    fn run(mut self) {
        let mut buffer = vec![0; self.session.packet_size + OVERHEAD + PREFIX + 1];
        let mut next_ping = self.began;
        let mut pings = 0;
        while !self.life.is_over() {
            let now = Instant::now();
            if now >= next_ping {
                pings += 1;
                next_ping = now + PING;
                // Whether the host receives it shows by its packets.
                let _ = self.session.video.socket.send(&self.session.video.setup.ping(pings));
            }
            match self.session.video.socket.recv(&mut buffer) {
                Ok(len) => self.datagram(&mut buffer[..len]),
                Err(error) if is_nothing(error.kind()) => {}
                Err(error) => return self.life.end(End::Lost(format!("receiving video: {error}"))),
            }
            if now >= self.looked + COUNT {
                self.check_quality(now);
            }
        }
    }

    fn datagram(&mut self, bytes: &mut [u8]) {
        let packet = match self.session.encryption.video {
            true => match open(&self.session.crypto, bytes) {
                Ok(packet) => packet,
                Err(error) => return tracing::debug!(%error, "a video packet"),
            },
            false => bytes,
        };
        if let Err(error) = self.receiver.push(packet) {
            return tracing::debug!(%error, "a video packet");
        }
        while let Some(frame) = self.receiver.pop() {
            match self.pictures.publish(frame) {
                Ok(true) => self.wishes.keyframe_came(),
                Ok(false) => {}
                Err(obstacle) => {
                    let reason = format!("the host sends what browsers cannot show: {obstacle}");
                    return self.life.end(End::Over(Ended::Failed(reason)));
                }
            }
        }
        if self.receiver.wants_idr() && self.wishes.want() {
            self.steering.wake();
        }
    }

    fn check_quality(&mut self, now: Instant) {
        let counts = self.receiver.counts();
        let lost = counts.lost + counts.skipped;
        // Hosts send some pictures each second, even if nothing changes.
        let silent = std::mem::replace(&mut self.packets, counts.packets) == counts.packets;
        self.bad = if lost > self.lost || silent { CALM } else { self.bad.saturating_sub(1) };
        self.looked = now;
        self.lost = lost;
        let quality = if self.bad > 0 { LinkQuality::Poor } else { LinkQuality::Ok };
        let quality = (counts.packets > 0).then_some(quality);
        self.pictures.shared().stream(|stream| {
            stream.quality = quality;
            stream.frames = counts.frames;
            stream.lost_frames = counts.lost;
            stream.skipped_frames = counts.skipped;
            stream.recovered_packets = counts.recovered;
        });
        if now > self.began + BEGIN && counts.frames == 0 {
            let what = if counts.packets == 0 { "no video" } else { "no whole picture" };
            let reason = format!("the host has sent {what} within {} s", BEGIN.as_secs());
            self.life.end(End::Lost(reason));
        }
    }
}

/// Nothing came, or the host's port was closed for a moment.
pub fn is_nothing(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted | ErrorKind::ConnectionRefused
    )
}
