//! How a publisher's stream arrives, for reception reports (RFC 3550 §6.4.1, A.3, A.8).

use std::time::{Duration, Instant};

/// One reception report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Of which stream.
    pub ssrc: u32,
    /// Share of packets lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Packets lost in total.
    pub lost: u32,
    /// Highest sequence number, with its cycles.
    pub highest: u32,
    /// Of the intervals between packets, in ticks.
    pub jitter: u32,
    /// Middle 32 bits of the NTP time of the sender report that came last; 0 if none.
    pub last_report: u32,
    /// Since then, in 1/65536 s.
    pub delay: u32,
}

/// Counts what arrives of one stream.
#[derive(Debug)]
pub struct Reception {
    ssrc: u32,
    hz: u32,
    /// First and highest sequence number, counted on beyond 16 bits.
    first: Option<u64>,
    highest: u64,
    received: u64,
    expected_before: u64,
    received_before: u64,
    transit: Option<i64>,
    jitter: f64,
    clock: Instant,
    sender_report: Option<(u32, Instant)>,
}

impl Reception {
    /// Nothing has come of the stream.
    pub fn new(clock: Instant, ssrc: u32, hz: u32) -> Self {
        Self {
            ssrc,
            hz,
            first: None,
            highest: 0,
            received: 0,
            expected_before: 0,
            received_before: 0,
            transit: None,
            jitter: 0.0,
            clock,
            sender_report: None,
        }
    }

    /// Of which stream.
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// A packet has come.
    pub fn received(&mut self, now: Instant, sequence: u16, timestamp: u32) {
        self.received += 1;
        match self.first {
            None => {
                self.highest = (1 << 32) | u64::from(sequence);
                self.first = Some(self.highest);
            }
            Some(_) => {
                // The nearest number that fits.
                let ahead = i64::from(sequence.wrapping_sub(self.highest as u16) as i16);
                self.highest = self.highest.max(self.highest.saturating_add_signed(ahead));
            }
        }
        let elapsed = now.saturating_duration_since(self.clock).as_secs_f64();
        let transit = (elapsed * f64::from(self.hz)) as i64 - i64::from(timestamp);
        if let Some(before) = self.transit.replace(transit) {
            // A wrap of timestamps is one outlier.
            let off = (transit - before).unsigned_abs().min(u64::from(self.hz)) as f64;
            self.jitter += (off - self.jitter) / 16.0;
        }
    }

    /// A sender report has come; the middle 32 bits of its NTP time.
    pub fn sender_report(&mut self, now: Instant, ntp: u32) {
        self.sender_report = Some((ntp, now));
    }

    /// The report since the last one.
    pub fn report(&mut self, now: Instant) -> Option<Report> {
        let expected = self.highest - self.first? + 1;
        let expected_since = expected - self.expected_before;
        let received_since = self.received - self.received_before;
        self.expected_before = expected;
        self.received_before = self.received;
        let lost_since = expected_since.saturating_sub(received_since);
        let fraction_lost = (lost_since * 256).checked_div(expected_since).unwrap_or(0).min(255) as u8;
        let (last_report, delay) = self.sender_report.map_or((0, 0), |(ntp, at)| {
            let delay: Duration = now.saturating_duration_since(at);
            (ntp, (delay.as_secs_f64() * 65_536.0) as u32)
        });
        Some(Report {
            ssrc: self.ssrc,
            fraction_lost,
            // 24 bits, signed.
            lost: expected.saturating_sub(self.received).min(0x7f_ffff) as u32,
            highest: self.highest as u32,
            jitter: self.jitter as u32,
            last_report,
            delay,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_counted_since_the_last_report_and_in_all() {
        let start = Instant::now();
        let mut reception = Reception::new(start, 7, 90_000);
        assert_eq!(reception.report(start), None);
        for n in (0..8u16).filter(|n| n % 4 != 1) {
            reception.received(start, 65_532_u16.wrapping_add(n), u32::from(n) * 10);
        }
        reception.sender_report(start, 99);
        let report = reception.report(start + Duration::from_millis(500)).unwrap();
        assert_eq!((report.fraction_lost, report.lost, report.highest & 0xffff), (64, 2, 3));
        assert_eq!((report.last_report, report.delay), (99, 32_768));
        reception.received(start, 4, 0);
        let report = reception.report(start).unwrap();
        assert_eq!((report.fraction_lost, report.lost), (0, 2));
    }
}
