//! The media socket of a peer, and how media goes from it to the connection and back.
//!
//! ```text
//!               connection up                    connection lost, or over
//! media socket ───────────────▶ connection ─────────────────────────────▶ media socket, if there is one
//! ```
//!
//! Each time a slot begins again at a keyframe. What a peer holds, has chosen and may do belongs to the peer, and stays.

use std::time::{Duration, Instant};

use common::api::Transport;
use common::id::SlotIndex;

use super::{Context, Peer, Phase};
use crate::feed::AudioUnit;
use crate::peer::FeedId;
use crate::peer::slot::Whole;
use crate::peer::wire::{Message, Wire};

/// A peer whose media socket is lost and that has no connection is given up after this: long enough for the web-server to be restarted.
const RETURN_DEADLINE: Duration = Duration::from_secs(30);

impl Peer {
    /// Media can be sent, in one way or another.
    pub(super) fn is_up(&self) -> bool {
        self.wire.is_some() || self.phase == Phase::Connected
    }

    /// Media is sent by the media socket: there is one, and the connection is not up.
    pub(super) fn is_on_wire(&self) -> bool {
        self.wire.is_some() && self.phase != Phase::Connected
    }

    /// The connection was up, or a media socket was there, and is not any more.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self.phase, Phase::Lost { .. })
    }

    /// The media socket.
    pub fn wire(&self) -> Option<&Wire> {
        self.wire.as_deref()
    }

    /// The peer has a media socket from now on, in place of an earlier one. Returns true when nothing could be sent before.
    pub fn attach(&mut self, now: Instant, wire: Wire, cx: &mut Context) -> bool {
        let was_up = self.is_up();
        self.wire = Some(Box::new(wire));
        if self.is_on_wire() {
            self.stats.transport = Some(Transport::Websocket);
            self.begin_again(now, cx);
        }
        !was_up
    }

    /// The media socket is lost. Returns true when nothing can be sent now.
    pub fn detach(&mut self, now: Instant, cx: &mut Context) -> bool {
        if self.wire.take().is_none() || self.phase == Phase::Connected {
            return false;
        }
        self.path_full = false;
        self.phase = Phase::Lost { until: now + RETURN_DEADLINE };
        self.begin_again(now, cx);
        true
    }

    /// The connection is over. False when there is no other way to the peer, so that it is to be removed.
    pub fn outlives_connection(&mut self, now: Instant, cx: &mut Context) -> bool {
        if self.wire.is_some() && self.phase == Phase::Connected {
            self.lost(now, cx);
        }
        self.wire.is_some()
    }

    /// Begins all slots again, in the way that media goes now.
    fn begin_again(&mut self, now: Instant, cx: &mut Context) {
        for n in 0..self.slots.len() {
            self.slots[n].video.forget_sent();
            self.update_watch(now, n, cx);
            self.start_slot(now, n, cx);
        }
    }

    /// Takes what has come by the media socket. False when it has ended.
    pub fn receive_by_wire(&mut self, now: Instant, messages: &mut Vec<Message>) -> bool {
        let Some(wire) = &mut self.wire else { return true };
        let goes_on = wire.receive(now, messages);
        let round_trip = wire.round_trip();
        if self.is_on_wire() {
            self.stats.round_trip_ms = round_trip.map(|time| time.as_secs_f64() * 1000.0);
            self.look_at_wire(now);
        }
        goes_on
    }

    /// What `poll` has said of the media socket.
    pub fn polled_wire(&mut self, readable: bool, writable: bool) {
        if let Some(wire) = &mut self.wire {
            wire.polled(readable, writable);
        }
    }

    /// Notes whether the media socket has room for pictures.
    pub(super) fn look_at_wire(&mut self, now: Instant) {
        if self.phase == Phase::Connected {
            return;
        }
        if let Some(wire) = &mut self.wire {
            self.path_full = wire.is_full(now);
            // Far below 2^64.
            self.stats.estimate_bps = wire.limit_bps().map(|bps| bps as u64);
        }
    }

    /// What the path of its media carries, bits per second; `None` while it has shown no limit.
    pub(super) fn rate_bps(&self) -> Option<f64> {
        match &self.wire {
            Some(wire) if self.is_on_wire() => wire.limit_bps(),
            _ => self.bandwidth.rate_bps(),
        }
    }

    /// Sends units as a whole. None unless media goes by the media socket.
    pub(super) fn send_whole(&mut self, now: Instant, n: usize, wholes: &[Whole]) {
        if let Some(wire) = &mut self.wire {
            // At most MAX_SLOTS.
            self.stats.bytes += wire.pictures(now, n as SlotIndex, wholes) as u64;
        }
    }

    pub(super) fn write_audio_to_wire(&mut self, now: Instant, feed: FeedId, unit: &AudioUnit) {
        let Some(wire) = &mut self.wire else { return };
        for (n, slot) in self.slots.iter().enumerate() {
            if slot.sounds(feed) && slot.audio.is_active() {
                // At most MAX_SLOTS.
                let sent = wire.sound(now, n as SlotIndex, unit).unwrap_or_default();
                self.stats.bytes += sent as u64;
            }
        }
    }

    /// Queues a text on the media socket, if that is how messages go now. False when it was dropped, or goes another way.
    pub(super) fn say_by_wire(&mut self, now: Instant, text: &str) -> bool {
        let up = self.phase == Phase::Connected;
        self.wire.as_mut().is_some_and(|wire| !up && wire.text(now, text))
    }
}
