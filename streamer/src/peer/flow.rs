//! How much is under way on a media socket, by what its client says has come. Pure.
//!
//! Between us and the client are several queues that we cannot see: of the web-server, of two kernels, of a proxy. They show in the
//! time until what was sent is acknowledged. While that is long, no pictures are sent; what is acknowledged meanwhile is what the path
//! carries.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// With what was sent longer ago than this (and a round trip) not acknowledged, no pictures are sent. The queue is latency.
const LATE: Duration = Duration::from_millis(250);
/// Once late, pictures are sent again when what is under way is younger than this (and a round trip).
const IN_TIME: Duration = Duration::from_millis(60);
/// As little as this may be under way for any time: a client may be busy.
const FEW: u64 = 16 * 1024;
/// No more than this is ever under way, whatever the path.
const MOST: u64 = 4 * 1024 * 1024;
/// A round trip longer than this is that of a path with something queued.
const LONGEST_ROUND_TRIP: Duration = Duration::from_millis(500);
/// Bitrates are measured, and changed, once in this time.
const WINDOW: Duration = Duration::from_millis(500);
/// Of what a full path carried, so much is used: the queue must become shorter.
const USED: f64 = 0.8;
/// In each window in time, a limited bitrate grows so much, to find out what the path carries.
const GROWTH: f64 = 1.08;
/// The same while it is below what the path has carried lately: it is the client that was busy for a moment, rather than a path that is full.
const RETURN: f64 = 1.5;
/// What the path has carried is good for half as much after this time.
const PROVEN: Duration = Duration::from_secs(10);
/// How much of it counts after each window in which something was late.
const DOUBTED: f64 = 0.7;
/// Bounds of a limited bitrate; one that would be higher is no limit.
const LEAST_BPS: f64 = 100_000.0;
const MOST_BPS: f64 = 40_000_000.0;

/// The frames under way, and what follows from them.
#[derive(Debug)]
pub struct Flow {
    sent: u64,
    received: u64,
    /// The end of each frame under way, and when it was sent.
    under_way: VecDeque<(u64, Instant)>,
    round_trip: Option<Duration>,
    full: bool,
    /// Something was late in the window.
    was_late: bool,
    window: Instant,
    /// What had come when the window began.
    before: u64,
    limit_bps: Option<f64>,
    /// What the path carries by what it has carried.
    proven_bps: f64,
}

impl Flow {
    /// Nothing is under way.
    pub fn new(now: Instant) -> Self {
        Self {
            sent: 0,
            received: 0,
            under_way: VecDeque::new(),
            round_trip: None,
            full: false,
            was_late: false,
            window: now,
            before: 0,
            limit_bps: None,
            proven_bps: 0.0,
        }
    }

    /// A frame of so many bytes is on its way.
    pub fn sent(&mut self, now: Instant, bytes: usize) {
        self.sent += bytes as u64;
        self.under_way.push_back((self.sent, now));
    }

    /// The client has so many bytes in all. More than was sent counts as all of it.
    pub fn received(&mut self, now: Instant, bytes: u64) {
        self.received = bytes.min(self.sent).max(self.received);
        let mut newest = None;
        while let Some((end, at)) = self.under_way.front().copied()
            && end <= self.received
        {
            newest = Some(at);
            self.under_way.pop_front();
        }
        if let Some(at) = newest {
            let measured = now.saturating_duration_since(at).min(LONGEST_ROUND_TRIP);
            self.round_trip = Some(self.round_trip.map_or(measured, |least| least.min(measured)));
        }
        self.measure(now);
    }

    /// Whether so much is under way that no pictures are to be sent.
    pub fn is_full(&mut self, now: Instant) -> bool {
        let bytes = self.sent - self.received;
        let age = self.under_way.front().map_or(Duration::ZERO, |(_, at)| now.saturating_duration_since(*at));
        let allowed = self.round_trip.unwrap_or(LONGEST_ROUND_TRIP) + if self.full { IN_TIME } else { LATE };
        let late = bytes > FEW && age > allowed;
        self.was_late |= late;
        self.full = late || bytes > MOST;
        self.full
    }

    /// The shortest time in which a frame was acknowledged.
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// What pictures and sound may have, bits per second; `None` while the path has shown no limit.
    pub fn limit_bps(&self) -> Option<f64> {
        self.limit_bps
    }

    fn measure(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.window);
        if elapsed < WINDOW {
            return;
        }
        let carried = (self.received - self.before) as f64 * 8.0 / elapsed.as_secs_f64();
        self.window = now;
        self.before = self.received;
        let kept = 0.5f64.powf(elapsed.as_secs_f64() / PROVEN.as_secs_f64());
        self.proven_bps = carried.max(self.proven_bps * kept);
        if std::mem::take(&mut self.was_late) {
            // Again and again, and it is the path.
            self.proven_bps = carried.max(self.proven_bps * DOUBTED);
            let less = (carried * USED).max(LEAST_BPS);
            self.limit_bps = Some(self.limit_bps.map_or(less, |limit| limit.min(less)));
        } else {
            let growth = |limit: f64| match limit < self.proven_bps * USED {
                true => (limit * RETURN).min(self.proven_bps * USED),
                false => limit * GROWTH,
            };
            self.limit_bps = self.limit_bps.map(growth).filter(|limit| *limit < MOST_BPS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_path_is_full_while_what_was_sent_is_not_acknowledged_in_time() {
        let now = Instant::now();
        let mut flow = Flow::new(now);
        flow.sent(now, 100_000);
        flow.received(now + 20 * MS, 100_000);
        assert_eq!(flow.round_trip(), Some(20 * MS));
        flow.sent(now + 30 * MS, 100_000);
        assert!(!flow.is_full(now + 300 * MS));
        assert!(flow.is_full(now + 301 * MS));
        // Late, but little of it.
        flow.received(now + 302 * MS, 190_000);
        assert!(!flow.is_full(now + 900 * MS));
        flow.received(now + 900 * MS, 200_000);
        assert!(!flow.is_full(now + 5000 * MS), "nothing is under way");
    }

    #[test]
    fn a_path_that_was_full_is_not_before_its_queue_is_short() {
        let now = Instant::now();
        let mut flow = Flow::new(now);
        flow.sent(now, 1);
        flow.received(now + 10 * MS, 1);
        for n in 0..20 {
            flow.sent(now + 10 * n * MS, 10_000);
        }
        assert!(flow.is_full(now + 300 * MS));
        flow.received(now + 301 * MS, 150_001);
        assert!(flow.is_full(now + 301 * MS), "what is under way is 151 ms old");
        flow.received(now + 302 * MS, 200_001);
        assert!(!flow.is_full(now + 302 * MS));
    }

    #[test]
    fn who_acknowledges_nothing_gets_a_bounded_amount_and_who_lies_gets_no_more() {
        let now = Instant::now();
        let mut flow = Flow::new(now);
        flow.sent(now, 3_000_000);
        assert!(!flow.is_full(now));
        flow.sent(now, 3_000_000);
        assert!(flow.is_full(now));
        flow.received(now, u64::MAX);
        assert!(!flow.is_full(now));
        flow.sent(now, 5_000_000);
        assert!(flow.is_full(now), "what was sent later has not come");
        flow.received(now, 0);
        assert!(flow.is_full(now));
    }

    #[test]
    fn a_full_path_limits_the_bitrate_to_what_it_carries_and_the_limit_grows_again() {
        let now = Instant::now();
        let mut flow = Flow::new(now);
        flow.sent(now, 1);
        flow.received(now + MS, 1);
        assert_eq!(flow.limit_bps(), None);
        // 125 000 bytes in half a second are 2 Mbit/s.
        for n in 0..10 {
            flow.sent(now + 40 * n * MS, 40_000);
        }
        assert!(flow.is_full(now + 400 * MS));
        flow.received(now + 500 * MS, 125_001);
        let limit = flow.limit_bps().unwrap();
        assert!((1_500_000.0..1_700_000.0).contains(&limit), "{limit}");
        flow.received(now + 510 * MS, 400_001);
        assert!(!flow.is_full(now + 510 * MS));
        flow.received(now + 1010 * MS, 400_001);
        assert!(flow.limit_bps().unwrap() > limit);
    }

    /// Sends `bps` for a time, in frames of a twenty-fifth of a second, acknowledged after `delay`. Returns what has been sent in all.
    fn carry(flow: &mut Flow, from: Instant, sent: u64, bps: u64, frames: u32, delay: Duration) -> u64 {
        let frame = bps / 8 / 25;
        (0..frames).fold(sent, |sent, n| {
            let at = from + n * 40 * MS;
            flow.sent(at, frame as usize);
            flow.is_full(at + delay);
            flow.received(at + delay, sent + frame);
            sent + frame
        })
    }

    #[test]
    fn a_client_that_was_busy_for_a_moment_soon_has_what_it_had() {
        let start = Instant::now();
        let mut flow = Flow::new(start);
        let sent = carry(&mut flow, start, 0, 1_500_000, 75, 10 * MS);
        assert_eq!(flow.limit_bps(), None);
        // Nothing is acknowledged for a second, and then all of it.
        let stall = start + 3000 * MS;
        flow.sent(stall, 20_000);
        assert!(flow.is_full(stall + 300 * MS));
        flow.received(stall + 1000 * MS, sent + 20_000);
        let limit = flow.limit_bps().unwrap();
        assert!(limit < 500_000.0, "at first {limit}");
        let sent = carry(&mut flow, stall + 1010 * MS, sent + 20_000, limit as u64, 75, 10 * MS);
        let again = flow.limit_bps().unwrap();
        assert!(again > 700_000.0, "{again} after three seconds");
        // A path that has become narrow shows it again and again, and is not believed for long.
        let narrow = stall + 5000 * MS;
        let mut sent = sent;
        for n in 0..4 {
            flow.sent(narrow + n * 600 * MS, 20_000);
            assert!(flow.is_full(narrow + (n * 600 + 500) * MS));
            sent += 20_000;
            flow.received(narrow + (n * 600 + 550) * MS, sent);
        }
        let limit = flow.limit_bps().unwrap();
        carry(&mut flow, narrow + 2500 * MS, sent, limit as u64, 75, 10 * MS);
        // 20 000 bytes in 600 ms are 267 kbit/s.
        let found = flow.limit_bps().unwrap();
        assert!(found < 300_000.0, "{limit}, then {found}");
    }
}
