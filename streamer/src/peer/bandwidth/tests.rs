//! The estimator on simulated paths.

use std::collections::VecDeque;

use super::*;

const MS: Duration = Duration::from_millis(1);
const PACKET: u32 = 1200;
/// Feedback comes this often.
const FEEDBACK: Duration = Duration::from_millis(50);

/// A path of limited capacity with a queue, 20 ms there and 20 ms back, that loses some packets at random.
struct Path {
    bps: f64,
    queue: Duration,
    loss: f64,
    random: fastrand::Rng,
    /// When the last bit of all that was accepted is through.
    busy_until: Instant,
}

const ONE_WAY: Duration = Duration::from_millis(20);

impl Path {
    fn new(start: Instant, bps: f64, queue: Duration) -> Self {
        Self { bps, queue, loss: 0.0, random: fastrand::Rng::with_seed(1), busy_until: start }
    }

    fn arrival(&mut self, now: Instant, bytes: u32) -> Option<Instant> {
        if self.random.f64() < self.loss {
            return None;
        }
        let begins = self.busy_until.max(now);
        if begins.saturating_duration_since(now) > self.queue {
            return None;
        }
        self.busy_until = begins + Duration::from_secs_f64(f64::from(bytes) * 8.0 / self.bps);
        Some(self.busy_until + ONE_WAY)
    }
}

/// A sender of packets at some rate, and its receiver.
struct Flow {
    estimator: Estimator,
    start: Instant,
    next_send: Instant,
    next_feedback: Instant,
    /// What left and what becomes of it: number, arrival.
    under_way: VecDeque<(u16, Option<Instant>)>,
    sent: u64,
    lost: u64,
    longest_queue: Duration,
}

impl Flow {
    fn new(start: Instant) -> Self {
        let next_send = start;
        let next_feedback = start + FEEDBACK;
        let estimator = Estimator::new(start);
        let under_way = VecDeque::new();
        Self {
            estimator,
            start,
            next_send,
            next_feedback,
            under_way,
            sent: 0,
            lost: 0,
            longest_queue: Duration::ZERO,
        }
    }

    /// Runs one millisecond of the flow: sends what `wanted` bits per second and the estimate allow.
    fn step(&mut self, now: Instant, path: &mut Path, wanted: f64) {
        if let Some(bytes) = self.estimator.trial(now) {
            let train = self.estimator.begin_train();
            for _ in 0..bytes.div_ceil(PACKET as usize) {
                self.send(now, path, Some(train));
            }
            self.estimator.end_train(train);
        }
        let rate = self.estimator.rate_bps().map_or(wanted, |rate| rate.min(wanted));
        while self.next_send <= now {
            self.send(now, path, None);
            self.next_send =
                self.next_send.max(now - MS) + Duration::from_secs_f64(f64::from(PACKET) * 8.0 / rate);
        }
        if now >= self.next_feedback {
            self.next_feedback = now + FEEDBACK;
            self.tell(now);
            self.longest_queue = self.longest_queue.max(self.estimator.queue());
        }
    }

    fn send(&mut self, now: Instant, path: &mut Path, train: Option<TrainId>) {
        let arrival = path.arrival(now, PACKET);
        let number = self.estimator.sent(now, PACKET, train);
        self.under_way.push_back((number, arrival));
        self.sent += 1;
        self.lost += u64::from(arrival.is_none());
    }

    /// Feedback on all that is through by a one-way trip ago.
    fn tell(&mut self, now: Instant) {
        let through = |arrival: &Option<Instant>| arrival.is_none_or(|arrival| arrival + ONE_WAY <= now);
        let mut told = Vec::new();
        while self.under_way.front().is_some_and(|(_, arrival)| through(arrival)) {
            told.extend(self.under_way.pop_front());
        }
        let Some((first, _)) = told.first().copied() else { return };
        let known = told.iter().filter_map(|(_, arrival)| *arrival);
        let Some(begin) = known.min() else { return };
        let reference = begin.saturating_duration_since(self.start).as_millis() / 64;
        let mut last = self.start + Duration::from_millis(64 * reference as u64);
        let mut deltas_us = Vec::new();
        for (_, arrival) in &told {
            deltas_us.push(arrival.map(|at| {
                let delta = at.saturating_duration_since(last).as_micros() as i32;
                last = at;
                delta
            }));
        }
        self.estimator.feedback(now, &Arrivals { first, reference: reference as u32, deltas_us });
    }

    fn rate(&self) -> f64 {
        self.estimator.rate_bps().unwrap_or(f64::INFINITY)
    }
}

/// Runs a flow for `seconds`; what it wanted to send is a function of the second.
fn run(flow: &mut Flow, path: &mut Path, from: u64, seconds: u64, wanted: impl Fn(u64) -> f64) {
    for ms in from * 1000..(from + seconds) * 1000 {
        flow.step(flow.start + Duration::from_millis(ms), path, wanted(ms / 1000));
    }
}

#[test]
fn a_path_that_carries_all_has_no_limit() {
    let start = Instant::now();
    let (mut flow, mut path) = (Flow::new(start), Path::new(start, 50e6, 200 * MS));
    run(&mut flow, &mut path, 0, 60, |_| 3e6);
    assert_eq!(flow.estimator.rate_bps(), None);
    assert_eq!(flow.lost, 0);
}

#[test]
fn loss_that_has_nothing_to_do_with_the_rate_limits_nothing() {
    let start = Instant::now();
    for loss in [0.02, 0.05, 0.10] {
        let (mut flow, mut path) = (Flow::new(start), Path::new(start, 50e6, 200 * MS));
        path.loss = loss;
        // A desktop that is typed into: a packet every 40 ms, of which two can be lost in a row.
        run(&mut flow, &mut path, 0, 30, |_| 240_000.0);
        run(&mut flow, &mut path, 30, 30, |_| 3e6);
        assert_eq!(flow.estimator.rate_bps(), None, "{loss}");
    }
}

#[test]
fn a_narrow_path_is_found_and_used_without_standing_queues() {
    let start = Instant::now();
    for (bps, queue) in [(2e6, 200 * MS), (500e3, 500 * MS), (1e6, 60 * MS), (8e6, 200 * MS)] {
        let (mut flow, mut path) = (Flow::new(start), Path::new(start, bps, queue));
        run(&mut flow, &mut path, 0, 10, |_| 10e6);
        (flow.lost, flow.sent, flow.longest_queue) = (0, 0, Duration::ZERO);
        run(&mut flow, &mut path, 10, 60, |_| 10e6);
        let used = flow.sent as f64 * f64::from(PACKET) * 8.0 / 60.0 / bps;
        assert!((0.75..1.02).contains(&used), "{used:.2} of {bps} bit/s used");
        let lost = flow.lost as f64 / flow.sent as f64;
        assert!(lost < 0.02, "{lost:.3} lost of {bps}");
        assert!(flow.longest_queue < 200 * MS, "{:?} of queue at {bps}", flow.longest_queue);
    }
}

#[test]
fn what_is_sent_for_the_first_time_through_a_narrow_path_falls_within_a_second() {
    let start = Instant::now();
    let (mut flow, mut path) = (Flow::new(start), Path::new(start, 2e6, 200 * MS));
    run(&mut flow, &mut path, 0, 1, |_| 6e6);
    assert!(flow.rate() < 2.1e6, "{}", flow.rate());
}

#[test]
fn a_path_that_becomes_wide_again_is_used_again() {
    let start = Instant::now();
    let (mut flow, mut path) = (Flow::new(start), Path::new(start, 20e6, 200 * MS));
    run(&mut flow, &mut path, 0, 10, |_| 3e6);
    path.bps = 1e6;
    run(&mut flow, &mut path, 10, 5, |_| 3e6);
    assert!(flow.rate() < 1.1e6, "{}", flow.rate());
    run(&mut flow, &mut path, 15, 15, |_| 3e6);
    assert!((0.7e6..1.1e6).contains(&flow.rate()), "{}", flow.rate());
    path.bps = 20e6;
    run(&mut flow, &mut path, 30, 15, |_| 3e6);
    assert!(flow.rate() > 3e6, "{}", flow.rate());
}

/// A desktop that is typed into uses a tenth of a path; whether it carries more is tried all the same.
#[test]
fn a_path_that_becomes_wide_again_is_found_while_little_is_sent() {
    let start = Instant::now();
    let (mut flow, mut path) = (Flow::new(start), Path::new(start, 1e6, 200 * MS));
    run(&mut flow, &mut path, 0, 10, |_| 3e6);
    run(&mut flow, &mut path, 10, 20, |_| 60e3);
    assert!((0.6e6..1.2e6).contains(&flow.rate()), "{}", flow.rate());
    path.bps = 50e6;
    run(&mut flow, &mut path, 30, 15, |_| 60e3);
    assert!(flow.rate() > 3e6, "{}", flow.rate());
    run(&mut flow, &mut path, 45, 40, |_| 60e3);
    assert_eq!(flow.estimator.rate_bps(), None);
}

#[test]
fn the_first_packets_show_what_a_path_carries() {
    let start = Instant::now();
    for (bps, limited) in [(0.5e6, true), (2e6, true), (20e6, false)] {
        let (mut flow, mut path) = (Flow::new(start), Path::new(start, bps, 500 * MS));
        let train = flow.estimator.begin_train();
        for _ in 0..12 {
            flow.send(start, &mut path, Some(train));
        }
        flow.estimator.end_train(train);
        run(&mut flow, &mut path, 0, 1, |_| 1.0);
        let rate = flow.estimator.rate_bps();
        assert_eq!(rate.is_some(), limited, "{bps}: {rate:?}");
        assert!(rate.is_none_or(|rate| (0.8..0.9).contains(&(rate / bps))), "{bps}: {rate:?}");
        assert_eq!(flow.estimator.is_wide(), !limited);
    }
}

#[test]
fn a_still_screen_makes_the_rate_neither_grow_nor_fall() {
    let start = Instant::now();
    let (mut flow, mut path) = (Flow::new(start), Path::new(start, 2e6, 200 * MS));
    run(&mut flow, &mut path, 0, 20, |_| 10e6);
    let before = flow.rate();
    run(&mut flow, &mut path, 20, 60, |_| 20_000.0);
    let change = flow.rate() / before;
    assert!((0.8..1.2).contains(&change), "{change}");
}

#[test]
fn two_flows_share_a_path() {
    let start = Instant::now();
    let mut path = Path::new(start, 4e6, 200 * MS);
    let (mut first, mut second) = (Flow::new(start), Flow::new(start));
    run(&mut first, &mut path, 0, 10, |_| 10e6);
    (first.sent, second.next_send) = (0, start + Duration::from_secs(10));
    for ms in 10_000..100_000 {
        let now = start + Duration::from_millis(ms);
        first.step(now, &mut path, 10e6);
        second.step(now, &mut path, 10e6);
        if ms == 40_000 {
            (first.sent, second.sent) = (0, 0);
        }
    }
    let share = first.sent as f64 / (first.sent + second.sent) as f64;
    assert!((0.35..0.65).contains(&share), "{share:.2}");
}

#[test]
fn a_receiver_that_tells_only_shares_of_loss_is_believed_with_enough_packets() {
    let start = Instant::now();
    let mut estimator = Estimator::new(start);
    let second = |estimator: &mut Estimator, n: u64, packets: u32, lost: f64| {
        for _ in 0..packets {
            estimator.sent(start, PACKET, None);
        }
        estimator.report(start + Duration::from_secs(n), lost);
    };
    // Two of ten packets: chance.
    second(&mut estimator, 1, 10, 0.2);
    second(&mut estimator, 2, 30, 0.0);
    assert_eq!(estimator.rate_bps(), None);
    second(&mut estimator, 3, 300, 0.4);
    let limited = estimator.rate_bps().unwrap();
    assert!((1e6..2e6).contains(&limited), "{limited}");
    for n in 4..40 {
        second(&mut estimator, n, 300, 0.0);
    }
    assert!(estimator.rate_bps().unwrap() > 2.9e6);
}

#[test]
fn lies_raise_nothing_above_what_was_sent() {
    let start = Instant::now();
    let (mut flow, mut path) = (Flow::new(start), Path::new(start, 2e6, 200 * MS));
    run(&mut flow, &mut path, 0, 20, |_| 10e6);
    let before = flow.rate();
    for n in 0..1000u32 {
        let now = start + Duration::from_secs(20) + n * MS;
        let deltas_us = vec![Some(i32::from(n % 2 == 0) * i32::MIN / 2); 4096];
        let arrivals = Arrivals { first: (n * 77) as u16, reference: n.wrapping_mul(0x00ab_cdef), deltas_us };
        flow.estimator.feedback(now, &arrivals);
    }
    assert!(flow.rate() <= before * 1.5, "{} before, {}", before, flow.rate());
    flow.estimator.round_trip(Duration::MAX);
    run(&mut flow, &mut path, 22, 30, |_| 10e6);
    assert!((0.5e6..2.2e6).contains(&flow.rate()), "{}", flow.rate());
}
