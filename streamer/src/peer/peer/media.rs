//! The media of one peer: what is sent in its slots, and what its feedback (RTCP) leads to.

use std::time::{Duration, Instant, SystemTime};

use common::id::SlotIndex;
use common::media::{AUDIO_CLOCK_HZ, VIDEO_CLOCK_HZ};

use super::slots::Slot;
use super::{Context, Peer, Phase};
use crate::feed::{AudioUnit, Bitrate, VideoUnit, ticks};
use crate::peer::feedback::Feedback;
use crate::peer::pace;
use crate::peer::slot::{Packet, Written};
use crate::peer::{Binding, FeedId, Media};

/// Of what a path carries, what pictures are to use: the rest is for retransmissions.
const VIDEO_SHARE: f64 = 0.9;
/// No picture is given less.
const MIN_VIDEO_BPS: f64 = 80_000.0;
/// Seconds from 1900, where NTP begins, to 1970.
const NTP_UNIX: u64 = 2_208_988_800;

impl Peer {
    /// Sends what a feed has made in every slot that shows it.
    pub fn write(&mut self, now: Instant, media: &Media, cx: &mut Context) {
        match media {
            Media::Video(feed, unit) => self.write_video(now, *feed, unit, cx),
            Media::Audio(feed, unit) => self.write_audio(now, *feed, unit),
        }
    }

    fn write_video(&mut self, now: Instant, feed: FeedId, unit: &VideoUnit, cx: &mut Context) {
        if self.phase != Phase::Connected {
            return;
        }
        for slot in &mut self.slots {
            slot.change_layer(now, feed, unit, &mut cx.feeds);
            if slot.watched.is_none_or(|binding| binding.video != feed) {
                continue;
            }
            let sendable = unit.keyframe || slot.video.is_live();
            let blocked = sendable && (self.path_full || !self.pace.admits());
            if blocked {
                slot.video.wait();
            }
            let written = if blocked { Written::Lost } else { slot.video.write(unit, &mut cx.packets) };
            match written {
                Written::Sent => self.stats.frames += 1,
                _ => self.stats.skipped_units += 1,
            }
            // Also while it waits: the moment of the loss may have been too soon to ask.
            if matches!(written, Written::Lost | Written::Skipped) {
                if self.path_full {
                    // It could not be given one now.
                    self.starved = true;
                } else if self.pace.may_ask_keyframe(now) {
                    cx.feeds.request_keyframe(now, feed);
                }
            }
        }
        self.send(now, &mut cx.packets);
    }

    /// Asks for keyframes in place of the pictures that were left out while its path was full, once it is not.
    pub fn resume(&mut self, now: Instant, cx: &mut Context) {
        if self.path_full || !std::mem::take(&mut self.starved) {
            return;
        }
        for slot in self.slots.iter().filter(|slot| slot.video.is_waiting()) {
            if let Some(binding) = slot.watched {
                cx.feeds.request_keyframe(now, binding.video);
            }
        }
    }

    fn write_audio(&mut self, now: Instant, feed: FeedId, unit: &AudioUnit) {
        if self.phase != Phase::Connected {
            return;
        }
        let shows = |slot: &&mut Slot| slot.watched.is_some_and(|binding| binding.audio == Some(feed));
        for packet in self.slots.iter_mut().filter(shows).filter_map(|slot| slot.audio.write(unit)) {
            self.stats.packets += 1;
            self.audio_bytes += pace::on_wire(&packet);
            self.connection.send_rtp(now, packet, None);
        }
    }

    /// Sends packets of video, or has them wait for their turn.
    pub(super) fn send(&mut self, now: Instant, packets: &mut Vec<Packet>) {
        for packet in packets.drain(..) {
            self.pace.push(packet);
        }
        self.send_due(now);
    }

    pub(super) fn send_due(&mut self, now: Instant) {
        while let Some(packet) = self.pace.pop(now) {
            self.stats.packets += 1;
            // Far below 4 GiB.
            let number = self.bandwidth.sent(now, pace::on_wire(&packet) as u32);
            self.connection.send_rtp(now, packet, Some(number));
        }
    }

    /// Takes over what the estimator says of the path.
    fn follow_bandwidth(&mut self) {
        self.pace.set_path(self.bandwidth.rate_bps(), self.bandwidth.is_congested());
        // Far below 2^64.
        self.stats.estimate_bps = self.bandwidth.rate_bps().map(|bps| bps as u64);
        self.stats.queue_ms = self.bandwidth.queue().as_secs_f64() * 1000.0;
    }

    /// True while its path carries less than anything may want.
    pub fn is_limited(&self) -> bool {
        self.pace.is_limited()
    }

    /// The pictures that it watches, and what each may have of its path.
    pub fn shares(&self) -> impl Iterator<Item = (FeedId, Bitrate)> {
        let watched = self.slots.iter().filter_map(|slot| slot.watched).filter(|_| self.phase != Phase::Lost);
        let share = self.share().map_or(Bitrate::Any, Bitrate::AtMost);
        watched.map(move |binding| (binding.video, share))
    }

    /// What each picture may have of its path, bits per second; `None`: as much as there is.
    pub(super) fn share(&self) -> Option<u32> {
        let pictures = self.slots.iter().filter(|slot| slot.watched.is_some()).count().max(1);
        self.bandwidth.rate_bps().map(|bps| {
            let left = bps * VIDEO_SHARE - self.audio_bps;
            (left / pictures as f64).max(MIN_VIDEO_BPS) as u32
        })
    }

    /// Acts on RTCP.
    pub fn feedback(&mut self, now: Instant, feedback: Feedback, cx: &mut Context) {
        match feedback {
            Feedback::Nack { ssrc, sequences } => self.retransmit(now, ssrc, &sequences, cx),
            Feedback::Keyframe { ssrc } => {
                let slot = self.slots.iter().find(|slot| slot.video.ssrc() == ssrc);
                let watched = slot.and_then(|slot| slot.watched);
                self.wants_keyframe(now, watched, cx);
            }
            Feedback::SenderReport { ssrc, ntp } => {
                if let Some(publishing) = &mut self.publishing {
                    publishing.sender_report(now, ssrc, ntp);
                }
            }
            Feedback::Arrivals(arrivals) => {
                self.bandwidth.feedback(now, &arrivals);
                self.follow_bandwidth();
            }
            Feedback::Report { ssrc, fraction_lost, lost, last_report, delay } => {
                if let Some(slot) = self.slots.iter_mut().find(|slot| slot.video.ssrc() == ssrc) {
                    // What came late after all is taken back by receivers; counters here only grow.
                    slot.lost = slot.lost.max(lost);
                    self.stats.lost = self.slots.iter().map(|slot| u64::from(slot.lost)).sum();
                    self.bandwidth.report(now, f64::from(fraction_lost));
                    self.follow_bandwidth();
                }
                if let Some(ms) = round_trip_ms(last_report, delay) {
                    self.stats.round_trip_ms = Some(ms);
                    self.bandwidth.round_trip(Duration::from_secs_f64(ms / 1000.0));
                }
            }
        }
    }

    fn retransmit(&mut self, now: Instant, ssrc: u32, sequences: &[u16], cx: &mut Context) {
        let Some(slot) = self.slots.iter_mut().find(|slot| slot.video.ssrc() == ssrc) else { return };
        let Some(feed) = slot.watched.and_then(|binding| cx.feeds.get(binding.video)) else { return };
        for &sequence in sequences {
            let packet =
                slot.video.retransmit(sequence, &feed.gop).filter(|_| self.limits.retransmissions.admit(now));
            if packet.is_some_and(|packet| self.pace.push_again(packet)) {
                self.stats.retransmitted += 1;
            } else {
                self.not_retransmitted += 1;
            }
        }
        self.send_due(now);
    }

    /// A client's own wish for a keyframe. False when there is no such slot.
    pub fn request_keyframe(&mut self, now: Instant, slot: SlotIndex, cx: &mut Context) -> bool {
        let Some(slot) = self.slots.get(usize::from(slot)) else { return false };
        let watched = slot.watched;
        self.wants_keyframe(now, watched, cx);
        true
    }

    /// Everybody gets a keyframe that one peer asks for, so one peer cannot ask for many.
    fn wants_keyframe(&mut self, now: Instant, binding: Option<Binding>, cx: &mut Context) {
        let Some(binding) = binding else { return };
        self.stats.keyframe_requests += 1;
        // Who is limited may be asking for the one that is on its way.
        if self.limits.keyframes.admit(now) && self.pace.may_ask_keyframe(now) {
            cx.feeds.request_keyframe(now, binding.video);
        }
    }

    pub(super) fn report(&mut self, now: Instant, clock: Instant) {
        let elapsed = now.saturating_duration_since(clock);
        let video = ticks(elapsed, VIDEO_CLOCK_HZ);
        let audio = ticks(elapsed, AUDIO_CLOCK_HZ);
        let reports = self.slots.iter().filter(|slot| slot.watched.is_some());
        let reports: Vec<_> =
            reports.flat_map(|slot| [slot.video.report(video), slot.audio.report(audio)]).flatten().collect();
        self.connection.send_reports(now, ntp_now(), &reports);
    }
}

/// Now, as a 64 bit NTP timestamp (RFC 3550 §4).
#[expect(clippy::disallowed_methods, reason = "sender reports tell the time at which they are sent")]
fn ntp_now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    ((now.as_secs() + NTP_UNIX) << 32) | ((u64::from(now.subsec_nanos()) << 32) / 1_000_000_000)
}

/// Round trip by a reception report (RFC 3550 §6.4.1): what passed since our report less the peer's delay.
fn round_trip_ms(last_report: u32, delay: u32) -> Option<f64> {
    if last_report == 0 {
        return None;
    }
    let now = (ntp_now() >> 16) as u32;
    let ticks = now.wrapping_sub(last_report).wrapping_sub(delay);
    // More than half the range is a clock that was set back, or a lie.
    (ticks < u32::MAX / 2).then(|| f64::from(ticks) * 1000.0 / 65_536.0)
}
