//! Decides when units of a feed, and each of their packets, are sent to one peer. Pure.
//!
//! On a path that has shown no limit everything is sent at once. On a limited path packets wait here, so that the path's own queue
//! stays short: retransmissions first, then media in order; sound does not wait. A unit that would wait for too long is skipped, and
//! the peer gets pictures again from the next keyframe on.
//!
//! An unknown path is trusted at once only when its round trip is short. On a long one, a part of the first picture is sent at once, as a
//! train that shows what the path carries ([`super::bandwidth`]), and the rest at a modest rate until that is known: a whole keyframe at
//! once would fill the queue of a narrow path, and most of it would be lost and sent again.
//!
//! There is one encoding for all peers. Its bitrate follows the path when all who watch need that
//! ([`crate::feed::demand::Demand::set_limit`]); a peer that is slower than others keeps up by skipping pictures.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::slot::Packet;

/// Packets are sent at this multiple of the estimate: the encoder's bitrate stays below it, so a keyframe is sent faster.
const FACTOR: f64 = 1.5;
/// The same while the path's own queue is long: it has to become shorter, whatever is retransmitted meanwhile.
const DRAIN_FACTOR: f64 = 0.85;
/// A path with a round trip below this is trusted at once: waiting for feedback would take longer than sending the packets.
const SHORT: Duration = Duration::from_millis(15);
/// Bytes that are sent at once on an unknown long path (ten packets, as in RFC 6928).
const FIRST_BYTES: usize = 15_000;
/// The rest follows at this rate, which grows with each feedback that shows no queue.
const FIRST_BPS: f64 = 1_000_000.0;
const FIRST_GROWTH: f64 = 4.0;
/// After this time without feedback the path is trusted: the receiver may send none.
const FIRST_PATIENCE: Duration = Duration::from_millis(400);
/// After a pause, this time's worth of packets is sent at once; timers need not be finer.
const BURST: Duration = Duration::from_millis(5);
/// A unit is skipped when more than this time's worth is waiting.
const LONGEST_WAIT: Duration = Duration::from_millis(600);
/// With less waiting than this there is room for a keyframe.
const ROOM: Duration = Duration::from_millis(100);
/// What takes longer to send than this is not worth sending, where a smaller picture can replace it.
const WORTH_SENDING: Duration = Duration::from_millis(800);
/// A limited peer requests keyframes at most this often: they are large, and all other peers get them, too.
const KEYFRAME_INTERVAL: Duration = Duration::from_secs(2);
/// Bytes of a packet on the wire beside the payload: IP, UDP, RTP with its extensions, and the tag of SRTP.
const OVERHEAD: usize = 20 + 8 + 20 + 16;

/// The waiting packets of one peer.
#[derive(Debug)]
pub struct Pace {
    /// Bits per second; `None`: unlimited.
    rate_bps: Option<f64>,
    /// The path's own queue is long.
    is_congested: bool,
    /// Set while nothing is known of a long path.
    first: Option<First>,
    waiting: VecDeque<Packet>,
    waiting_bytes: usize,
    /// The number of retransmissions among them, which come first.
    retransmissions: usize,
    /// When the next packet may be sent.
    ready: Instant,
    last_keyframe_request: Option<Instant>,
}

/// A packet that is to be sent now.
#[derive(Debug)]
pub struct Due {
    /// The packet.
    pub packet: Packet,
    /// It is one of those that are sent at once on an unknown path.
    pub is_first: bool,
}

/// Limits the first packets on an unknown path.
#[derive(Debug, Clone, Copy)]
struct First {
    /// Bits per second.
    rate_bps: f64,
    /// Bytes that may still be sent at once.
    burst: usize,
    /// When the first packet was sent.
    until: Option<Instant>,
}

impl Pace {
    /// Unlimited.
    pub fn new(now: Instant) -> Self {
        Self {
            rate_bps: None,
            is_congested: false,
            first: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            retransmissions: 0,
            ready: now,
            last_keyframe_request: None,
        }
    }

    /// Media begins on a path with this round trip. True if the path is not trusted.
    pub fn begin(&mut self, round_trip: Option<Duration>) -> bool {
        let long = self.rate_bps.is_none() && round_trip.is_some_and(|round_trip| round_trip >= SHORT);
        self.first = long.then_some(First { rate_bps: FIRST_BPS, burst: FIRST_BYTES, until: None });
        long
    }

    /// The path carries whatever a first picture needs.
    pub fn trust(&mut self) {
        self.first = None;
    }

    /// Takes the estimate of the path, bits per second, `None` if it has shown no limit; and whether packets queue on it now.
    pub fn set_path(&mut self, rate_bps: Option<f64>, is_congested: bool) {
        self.rate_bps = rate_bps;
        self.is_congested = is_congested;
        self.first = self.first.filter(|_| rate_bps.is_none()).and_then(|first| {
            let rate_bps = if is_congested { first.rate_bps } else { first.rate_bps * FIRST_GROWTH };
            (rate_bps < FIRST_BPS * FIRST_GROWTH * FIRST_GROWTH).then_some(First { rate_bps, ..first })
        });
    }

    /// Whether the path has shown a limit.
    pub fn is_limited(&self) -> bool {
        self.rate_bps.is_some()
    }

    /// Whether another unit may be queued.
    pub fn admits(&self) -> bool {
        self.wait() <= LONGEST_WAIT
    }

    /// Queues a packet of media.
    pub fn push(&mut self, packet: Packet) {
        self.waiting_bytes += on_wire(&packet);
        self.waiting.push_back(packet);
    }

    /// Queues a retransmission. False when too much is waiting already, and it is dropped.
    pub fn push_again(&mut self, packet: Packet) -> bool {
        if !self.admits() {
            return false;
        }
        self.waiting_bytes += on_wire(&packet);
        self.waiting.insert(self.retransmissions, packet);
        self.retransmissions += 1;
        true
    }

    /// The next packet that may be sent now.
    pub fn pop(&mut self, now: Instant) -> Option<Due> {
        if self.first.is_some_and(|first| first.until.is_some_and(|until| now >= until)) {
            self.first = None;
        }
        let rate = self.rate_now();
        if rate.is_some() && now < self.ready {
            return None;
        }
        let packet = self.waiting.pop_front()?;
        let bytes = on_wire(&packet);
        self.waiting_bytes -= bytes;
        self.retransmissions = self.retransmissions.saturating_sub(1);
        if let Some(first) = &mut self.first {
            first.until.get_or_insert(now + FIRST_PATIENCE);
            if let Some(left) = first.burst.checked_sub(bytes) {
                first.burst = left;
                return Some(Due { packet, is_first: true });
            }
        }
        if let Some(rate) = rate {
            let credit = now.checked_sub(BURST).unwrap_or(now);
            self.ready = self.ready.max(credit) + Duration::from_secs_f64(bytes as f64 * 8.0 / rate);
        }
        Some(Due { packet, is_first: false })
    }

    /// The rate at which packets are sent now, bits per second.
    fn rate_now(&self) -> Option<f64> {
        let factor = if self.is_congested { DRAIN_FACTOR } else { FACTOR };
        self.rate_bps.map(|rate| rate * factor).or(self.first.map(|first| first.rate_bps))
    }

    /// When [`Pace::pop`] returns the next packet.
    pub fn deadline(&self) -> Option<Instant> {
        (!self.waiting.is_empty()).then(|| self.ready + BURST)
    }

    /// Drops all waiting packets.
    pub fn clear(&mut self) {
        self.take_waiting();
    }

    /// Takes out all waiting packets; they are not sent.
    pub fn take_waiting(&mut self) -> VecDeque<Packet> {
        (self.waiting_bytes, self.retransmissions) = (0, 0);
        std::mem::take(&mut self.waiting)
    }

    /// Whether more waits than is worth sending.
    pub fn waits_too_long(&self) -> bool {
        self.wait() > WORTH_SENDING
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether a keyframe may be requested for pictures that this peer had to skip: not while there is no room for one.
    pub fn may_ask_keyframe(&mut self, now: Instant) -> bool {
        if !self.is_limited() {
            return true;
        }
        let rested = self.last_keyframe_request.is_none_or(|last| now >= last + KEYFRAME_INTERVAL);
        let due = rested && self.wait() < ROOM;
        if due {
            self.last_keyframe_request = Some(now);
        }
        due
    }

    /// Bytes that can be sent in `time`, if the path is limited.
    pub fn bytes_in(&self, time: Duration) -> Option<usize> {
        self.rate_bps.map(|rate| (rate / 8.0 * time.as_secs_f64()) as usize)
    }

    /// How long it takes to send everything that waits.
    fn wait(&self) -> Duration {
        self.rate_bps.map_or(Duration::ZERO, |rate| {
            Duration::try_from_secs_f64(self.waiting_bytes as f64 * 8.0 / rate).unwrap_or(Duration::MAX)
        })
    }
}

/// Length of a packet on the wire, bytes.
pub fn on_wire(packet: &Packet) -> usize {
    packet.payload.len() + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    const MS: Duration = Duration::from_millis(1);

    fn packet(sequence: u16, len: usize) -> Packet {
        Packet {
            payload_type: 102,
            marker: false,
            sequence,
            timestamp: 0,
            ssrc: 1,
            playout_delay: false,
            payload: Bytes::from(vec![0; len - OVERHEAD]),
        }
    }

    fn limited(now: Instant, rate_bps: f64) -> Pace {
        let mut pace = Pace::new(now);
        pace.set_path(Some(rate_bps), false);
        pace
    }

    /// Everything that is sent until nothing waits: the time after `start`, and the number of each packet.
    fn drain(pace: &mut Pace, start: Instant) -> Vec<(u128, u16)> {
        let (mut now, mut out) = (start, Vec::new());
        loop {
            while let Some(due) = pace.pop(now) {
                out.push(((now - start).as_millis(), due.packet.sequence));
            }
            let Some(next) = pace.deadline() else { return out };
            now = now.max(next);
        }
    }

    #[test]
    fn without_a_limit_nothing_waits() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        for n in 0..1000 {
            pace.push(packet(n, 1200));
        }
        assert!(pace.admits());
        assert!(drain(&mut pace, now).iter().all(|(ms, _)| *ms == 0));
    }

    #[test]
    fn a_keyframe_takes_as_long_as_the_rate_says_and_what_was_lost_goes_first() {
        let now = Instant::now();
        // At 3 Mbit/s, 102 packets of 1200 bytes take 326 ms.
        let mut pace = limited(now, 2e6);
        for n in 0..100 {
            pace.push(packet(n, 1200));
        }
        assert!(pace.push_again(packet(1000, 1200)) && pace.push_again(packet(1001, 1200)));
        let out = drain(&mut pace, now);
        assert_eq!(out.iter().take(3).map(|(_, n)| *n).collect::<Vec<_>>(), [1000, 1001, 0]);
        let took = out.last().unwrap().0;
        assert!((310..340).contains(&took), "{took} ms");
        assert!(out.windows(2).all(|pair| pair[1].0 - pair[0].0 <= 12), "{out:?}");
    }

    /// Retransmissions must not keep the queue full whose overflow loses the packets.
    #[test]
    fn into_a_long_queue_goes_less_than_the_path_carries() {
        let now = Instant::now();
        let mut pace = limited(now, 1e6);
        pace.set_path(Some(1e6), true);
        for n in 0..30 {
            pace.push(packet(n, 1250));
            assert!(pace.push_again(packet(100 + n, 1250)));
        }
        let took = drain(&mut pace, now).last().unwrap().0;
        assert!((680..720).contains(&took), "{took} ms for 600 kbit at 850 kbit/s");
    }

    /// How long it takes to send a keyframe of 100 kB first, with feedback every 50 ms after a round trip, ms.
    fn first_keyframe(round_trip: Duration, is_congested: bool) -> u128 {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        pace.begin(Some(round_trip));
        for n in 0..80 {
            pace.push(packet(n, 1250));
        }
        let mut now = start;
        let mut feedback = start + round_trip + 50 * MS;
        while !pace.waiting.is_empty() {
            while pace.pop(now).is_some() {}
            now += MS;
            if now >= feedback {
                feedback += 50 * MS;
                pace.set_path(None, is_congested);
            }
        }
        (now - start).as_millis()
    }

    #[test]
    fn a_long_path_is_given_a_first_picture_in_parts_and_a_short_one_at_once() {
        assert_eq!(first_keyframe(MS, false), 1);
        let far = first_keyframe(40 * MS, false);
        assert!((90..150).contains(&far), "{far} ms");
        let narrow = first_keyframe(40 * MS, true);
        assert!((330..410).contains(&narrow), "{narrow} ms");
    }

    #[test]
    fn a_receiver_without_feedback_is_trusted_in_the_end() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        pace.begin(Some(100 * MS));
        for n in 0..200 {
            pace.push(packet(n, 1250));
        }
        let took = drain(&mut pace, now).last().unwrap().0;
        assert!((400..420).contains(&took), "{took} ms for 250 kB");
    }

    #[test]
    fn what_would_wait_too_long_is_left_out() {
        let now = Instant::now();
        let mut pace = limited(now, 1e6);
        let mut queued = 0;
        while pace.admits() {
            pace.push(packet(queued, 1250));
            queued += 1;
        }
        assert_eq!(queued, 61, "600 ms at 10 ms each, and the one that was one too many");
        assert!(!pace.push_again(packet(9, 1250)));
        assert!(!pace.may_ask_keyframe(now));
        pace.clear();
        assert!(pace.admits() && pace.deadline().is_none());
    }

    #[test]
    fn a_limited_peer_cannot_flood_the_others_with_keyframes() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        assert!(pace.may_ask_keyframe(now) && pace.may_ask_keyframe(now));
        pace.set_path(Some(1e6), false);
        assert!(pace.may_ask_keyframe(now));
        assert!(!pace.may_ask_keyframe(now + KEYFRAME_INTERVAL / 2));
        assert!(pace.may_ask_keyframe(now + KEYFRAME_INTERVAL));
    }
}
