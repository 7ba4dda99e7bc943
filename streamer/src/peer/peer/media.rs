//! The media of one peer: what is sent in its slots, and what its feedback (RTCP) leads to.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use common::id::SlotIndex;
use common::latency::LatencyReport;
use common::media::{AUDIO_CLOCK_HZ, VIDEO_CLOCK_HZ};

use super::{Context, Peer, Phase};
use crate::feed::{AudioUnit, Bitrate, VideoUnit, ticks};
use crate::ntp::ntp;
use crate::peer::bandwidth::TrainId;
use crate::peer::copies::PathState;
use crate::peer::feedback::Feedback;
use crate::peer::feeds::{Feeds, Need};
use crate::peer::pace::{self, Due};
use crate::peer::slot::{Packet, Written};
use crate::peer::{Binding, FeedId, Media};

/// Share of the path for pictures; the rest is for retransmissions.
const VIDEO_SHARE: f64 = 0.9;
/// Least bitrate of a picture.
const MIN_VIDEO_BPS: f64 = 80_000.0;
/// Pictures are replaced by smaller ones this often at most.
const RESTART_INTERVAL: Duration = Duration::from_secs(2);

impl Peer {
    /// Sends output of a feed in every slot that shows it.
    pub fn write(&mut self, now: Instant, media: &Media, cx: &mut Context) {
        match media {
            Media::Video(feed, unit) => self.write_video(now, *feed, unit, cx),
            Media::Audio(feed, unit) => self.write_audio(now, *feed, unit),
        }
    }

    fn write_video(&mut self, now: Instant, feed: FeedId, unit: &Arc<VideoUnit>, cx: &mut Context) {
        if !self.is_up() {
            return;
        }
        let share = self.bitrate();
        self.look_at_wire(now);
        let on_wire = self.is_on_wire();
        let mut wholes = Vec::new();
        for (n, slot) in self.slots.iter_mut().enumerate() {
            slot.change_layer(now, feed, unit, share, &mut cx.feeds);
            if slot.watched.is_none_or(|binding| binding.video != feed) {
                continue;
            }
            let sendable = unit.keyframe || slot.video.is_live();
            let blocked = sendable && (self.path_full || !self.pace.admits());
            if blocked {
                slot.video.wait();
            }
            let before = cx.packets.len();
            let written = match blocked {
                true => Written::Lost,
                false if on_wire => slot.video.write_whole(unit, &mut wholes),
                false => slot.video.write(unit, &mut cx.packets),
            };
            if let Some(wire) = &mut self.wire {
                self.stats.bytes += wire.pictures(now, n as SlotIndex, &wholes) as u64;
                wholes.clear();
            }
            self.copies.push(now, n, cx.packets[before..].iter().map(|packet| packet.sequence));
            match written {
                Written::Sent => self.stats.frames += 1,
                _ => self.stats.skipped_units += 1,
            }
            // Also while it waits: at the moment of the loss it may have been too soon for a request.
            if matches!(written, Written::Lost | Written::Skipped) {
                if self.path_full {
                    // A keyframe could not be sent now.
                    self.starved = true;
                } else if self.pace.may_ask_keyframe(now) {
                    cx.feeds.request_keyframe(now, feed);
                }
            }
        }
        self.send(now, &mut cx.packets);
    }

    /// Requests keyframes to replace pictures that were skipped while the path was full, once it is not.
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
        if self.is_on_wire() {
            return self.write_audio_to_wire(now, feed, unit);
        }
        if self.phase != Phase::Connected {
            return;
        }
        for packet in
            self.slots.iter_mut().filter(|slot| slot.sounds(feed)).filter_map(|slot| slot.audio.write(unit))
        {
            self.stats.packets += 1;
            self.audio_bytes += pace::on_wire(&packet);
            self.connection.send_rtp(now, packet, None);
        }
    }

    /// Sends packets of video at once, or queues them.
    pub(super) fn send(&mut self, now: Instant, packets: &mut Vec<Packet>) {
        for packet in packets.drain(..) {
            self.pace.push(packet);
        }
        self.send_due(now);
    }

    pub(super) fn send_due(&mut self, now: Instant) {
        if self.pace.is_empty() {
            return;
        }
        let first = self.first_train.take();
        while let Some(Due { packet, is_first }) = self.pace.pop(now) {
            self.send_packet(now, packet, first.filter(|_| is_first));
        }
        if let Some(train) = first {
            self.bandwidth.end_train(train);
        }
    }

    fn send_packet(&mut self, now: Instant, packet: Packet, train: Option<TrainId>) {
        self.stats.packets += 1;
        // Far below 4 GiB.
        let number = self.bandwidth.sent(now, pace::on_wire(&packet) as u32, train);
        self.connection.send_rtp(now, packet, Some(number));
    }

    /// Tries whether its path carries more than it is believed to, when it is time: with packets that it has got already, as
    /// retransmissions.
    pub fn try_path(&mut self, now: Instant, cx: &mut Context) {
        if self.phase != Phase::Connected {
            return;
        }
        let Some(bytes) = self.bandwidth.trial(now) else { return };
        let mut packets = std::mem::take(&mut cx.packets);
        for slot in &mut self.slots {
            let Some(feed) = slot.watched.and_then(|binding| cx.feeds.get(binding.video)) else { continue };
            slot.video.repeat_newest(bytes, &feed.gop, &mut packets);
            if !packets.is_empty() {
                break;
            }
        }
        let train = self.bandwidth.begin_train();
        for packet in packets.drain(..) {
            self.stats.probed += 1;
            self.send_packet(now, packet, Some(train));
        }
        self.bandwidth.end_train(train);
        cx.packets = packets;
    }

    /// Sends copies of packets that may have been lost.
    pub fn send_copies(&mut self, now: Instant, cx: &mut Context) {
        while let Some(copy) = self.copies.pop(now) {
            let Some(slot) = self.slots.get_mut(copy.slot) else { continue };
            // It may show something else by now.
            let Some(feed) = slot.watched.and_then(|binding| cx.feeds.get(binding.video)) else { continue };
            let packet = slot.video.retransmit(copy.sequence, &feed.gop);
            if packet.is_some_and(|packet| self.pace.push_again(packet)) {
                self.stats.copied += 1;
            }
        }
        self.send_due(now);
    }

    /// Applies the estimate of the path.
    fn follow_bandwidth(&mut self, now: Instant, cx: &mut Context) {
        self.pace.set_path(self.path_bps(), self.bandwidth.is_congested());
        if self.bandwidth.is_wide() {
            self.pace.trust();
        }
        if self.pace.waits_too_long() && self.restart.may(now) && self.watches_only_ours(&cx.feeds) {
            self.drop_waiting();
            self.restart.begin(now);
        }
        self.copies.follow(PathState {
            loss: self.bandwidth.loss(),
            round_trip: self.bandwidth.measured_round_trip(),
            has_room: self.bandwidth.has_room() && self.most_bps.is_none(),
        });
        self.stats.loss = self.bandwidth.loss();
        // Far below 2^64.
        self.stats.estimate_bps = self.bandwidth.rate_bps().map(|bps| bps as u64);
        self.stats.queue_ms = self.bandwidth.queue().as_secs_f64() * 1000.0;
    }

    /// What it can be sent, bits per second: what its path carries, within what it may be sent at most. `None`: anything.
    fn path_bps(&self) -> Option<f64> {
        [self.rate_bps(), self.most_bps].into_iter().flatten().reduce(f64::min)
    }

    /// Changes what it is sent at most, kilobits per second; `None`: as much as its path carries.
    pub fn set_max_bitrate(&mut self, kbps: Option<u32>) {
        self.most_bps = kbps.map(|kbps| f64::from(kbps) * 1000.0);
        self.pace.set_path(self.path_bps(), self.bandwidth.is_congested());
    }

    /// Every picture that it watches is encoded here, so that a smaller one can be had.
    fn watches_only_ours(&self, feeds: &Feeds) -> bool {
        let mut watched = self.slots.iter().filter_map(|slot| slot.watched);
        watched.all(|binding| matches!(feeds.need(binding.video), Need::Chosen(_)))
    }

    /// Drops the packets that wait, as if they had never been written.
    fn drop_waiting(&mut self) {
        for packet in self.pace.take_waiting().into_iter().rev() {
            for slot in &mut self.slots {
                if slot.video.take_back(&packet) {
                    slot.video.forget_place();
                    slot.video.wait();
                }
            }
        }
        self.copies.clear();
    }

    /// Whether what waited was dropped, and smaller pictures are to be requested by [`Peer::restart_pictures`].
    pub fn is_restarting(&self) -> bool {
        self.restart.is_under_way
    }

    /// Requests pictures in place of those that were dropped, by now of the size that its path carries.
    pub fn restart_pictures(&mut self, now: Instant, cx: &mut Context) {
        if !std::mem::take(&mut self.restart.is_under_way) {
            return;
        }
        self.choose_layers(now, cx);
        for slot in self.slots.iter().filter(|slot| slot.video.is_waiting()) {
            let watched = slot.watched.map(|watched| watched.video);
            if let Some(feed) = slot.next.or(watched) {
                cx.feeds.request_keyframe(now, feed);
            }
        }
    }

    /// True while its path has shown a limit.
    pub fn is_limited(&self) -> bool {
        match &self.wire {
            Some(wire) if self.is_on_wire() => wire.limit_bps().is_some() || self.most_bps.is_some(),
            _ => self.pace.is_limited(),
        }
    }

    /// Packets may wait for their turn, so that its timer has to be set after each picture.
    pub fn delays_packets(&self) -> bool {
        self.is_limited() || self.copies.deadline().is_some()
    }

    /// The pictures that it watches, and the bitrate that each may have.
    pub fn shares(&self) -> impl Iterator<Item = (FeedId, Bitrate)> {
        let reachable = self.wire.is_some() || !self.is_lost();
        let slots = self.slots.iter().filter(move |_| reachable);
        let feeds = slots.flat_map(|slot| [slot.watched.map(|watched| watched.video), slot.next]);
        let share = self.bitrate();
        feeds.flatten().map(move |feed| (feed, share))
    }

    /// The bitrate that each of its pictures may have.
    pub(super) fn bitrate(&self) -> Bitrate {
        self.share().map_or(Bitrate::Any, Bitrate::AtMost)
    }

    /// What each picture may have of its path, bits per second; `None`: as much as there is.
    pub(super) fn share(&self) -> Option<u32> {
        let pictures = self.slots.iter().filter(|slot| slot.watched.is_some()).count().max(1);
        self.path_bps().map(|bps| {
            let left = bps * VIDEO_SHARE - self.audio_bps;
            (left / pictures as f64).max(MIN_VIDEO_BPS) as u32
        })
    }

    /// Handles RTCP.
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
                self.follow_bandwidth(now, cx);
                if self.is_limited() {
                    // At once when somebody with a wider path comes.
                    self.choose_layers(now, cx);
                }
            }
            Feedback::Report { ssrc, fraction_lost, lost, last_report, delay } => {
                if let Some(slot) = self.slots.iter_mut().find(|slot| slot.video.ssrc() == ssrc) {
                    // Receivers subtract packets that came late after all; counters here only grow.
                    slot.lost = slot.lost.max(lost);
                    self.stats.lost = self.slots.iter().map(|slot| u64::from(slot.lost)).sum();
                    self.bandwidth.report(now, f64::from(fraction_lost));
                    self.follow_bandwidth(now, cx);
                }
                if let Some(ms) = round_trip_ms(last_report, delay) {
                    self.stats.round_trip_ms = Some(ms);
                    self.bandwidth.round_trip(Duration::from_secs_f64(ms / 1000.0));
                }
            }
        }
    }

    fn retransmit(&mut self, now: Instant, ssrc: u32, sequences: &[u16], cx: &mut Context) {
        let Some(n) = self.slots.iter().position(|slot| slot.video.ssrc() == ssrc) else { return };
        let slot = &mut self.slots[n];
        let Some(feed) = slot.watched.and_then(|binding| cx.feeds.get(binding.video)) else { return };
        for &sequence in sequences {
            let packet =
                slot.video.retransmit(sequence, &feed.gop).filter(|_| self.limits.retransmissions.admit(now));
            if packet.is_some_and(|packet| self.pace.push_again(packet)) {
                self.stats.retransmitted += 1;
                self.copies.push(now, n, [sequence].into_iter());
            } else {
                self.not_retransmitted += 1;
            }
        }
        self.send_due(now);
    }

    /// Handles a client's request for a keyframe. False when there is no such slot.
    pub fn request_keyframe(&mut self, now: Instant, slot: SlotIndex, cx: &mut Context) -> bool {
        let Some(slot) = self.slots.get(usize::from(slot)) else { return false };
        let watched = slot.watched;
        self.wants_keyframe(now, watched, cx);
        true
    }

    /// Requests a keyframe, within limits: everybody gets a keyframe that one peer requests.
    fn wants_keyframe(&mut self, now: Instant, binding: Option<Binding>, cx: &mut Context) {
        let Some(binding) = binding else { return };
        self.stats.keyframe_requests += 1;
        // A limited peer may be requesting the keyframe that is already on its way.
        if self.limits.keyframes.admit(now) && self.pace.may_ask_keyframe(now) {
            cx.feeds.request_keyframe(now, binding.video);
        }
    }

    /// What the streamer's clock, which began at `clock`, says now, in ticks of 90 kHz, and what is added to it for the timestamps of each
    /// slot.
    pub fn clock(&self, now: Instant, clock: Instant) -> (u64, Vec<u32>) {
        let ticks = ticks(now.saturating_duration_since(clock), VIDEO_CLOCK_HZ);
        (ticks, self.slots.iter().map(|slot| slot.video.offset()).collect())
    }

    /// It tells how late it has seen pictures.
    pub fn sees(&mut self, report: &LatencyReport) {
        self.stats.latency.get_or_insert_default().take(report);
    }

    pub(super) fn report(&mut self, now: Instant, clock: Instant) {
        let elapsed = now.saturating_duration_since(clock);
        let video = ticks(elapsed, VIDEO_CLOCK_HZ);
        let audio = ticks(elapsed, AUDIO_CLOCK_HZ);
        let reports = self.slots.iter().filter(|slot| slot.is_in_use());
        let reports: Vec<_> =
            reports.flat_map(|slot| [slot.video.report(video), slot.audio.report(audio)]).flatten().collect();
        self.connection.send_reports(now, ntp_now(), &reports);
    }
}

/// Replacing pictures that would take too long on the path by smaller ones.
#[derive(Debug, Default)]
pub(super) struct Restart {
    last: Option<Instant>,
    /// They were dropped, and the smaller ones are to be requested.
    is_under_way: bool,
}

impl Restart {
    fn may(&self, now: Instant) -> bool {
        self.last.is_none_or(|last| now >= last + RESTART_INTERVAL)
    }

    fn begin(&mut self, now: Instant) {
        self.last = Some(now);
        self.is_under_way = true;
    }
}

/// Now, as a 64 bit NTP timestamp (RFC 3550 §4).
#[expect(clippy::disallowed_methods, reason = "sender reports tell the time at which they are sent")]
fn ntp_now() -> u64 {
    ntp(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

/// Round trip by a reception report (RFC 3550 §6.4.1): the time since our report, less the peer's delay.
fn round_trip_ms(last_report: u32, delay: u32) -> Option<f64> {
    if last_report == 0 {
        return None;
    }
    let now = (ntp_now() >> 16) as u32;
    let ticks = now.wrapping_sub(last_report).wrapping_sub(delay);
    // More than half the range means a clock that was set back, or a false report.
    (ticks < u32::MAX / 2).then(|| f64::from(ticks) * 1000.0 / 65_536.0)
}
