//! Which RTP of a peer's is decrypted at all. Pure.
//!
//! Of a peer that publishes nothing: none. Of one that does, only so much a second as pictures and sound of people need, and only
//! of so many streams: SRTP keeps a state for every SSRC that it has seen, for ever.

use std::collections::BTreeSet;
use std::time::Instant;

use super::limit::Limit;

/// Packets per second: a camera in two layers, a screen and a microphone, each at twice what browsers send at most.
const MAX_PACKETS: u32 = 6000;
/// Kilobytes per second: 24 Mbit/s.
const MAX_KILOBYTES: u32 = 3000;
/// SSRCs over the whole life of a connection.
const MAX_SSRCS: usize = 64;
/// Where the SSRC is in an RTP packet.
const SSRC_AT: usize = 8;

/// Lets the RTP of one peer in.
#[derive(Debug)]
pub struct Intake {
    packets: Limit,
    kilobytes: Limit,
    /// What less than a kilobyte is left of the last one that was counted.
    left: usize,
    ssrcs: BTreeSet<u32>,
}

impl Intake {
    /// Nothing has come in.
    pub fn new(now: Instant) -> Self {
        Self {
            packets: Limit::new(now, MAX_PACKETS),
            kilobytes: Limit::new(now, MAX_KILOBYTES),
            left: 0,
            ssrcs: BTreeSet::new(),
        }
    }

    /// Whether a packet is to be decrypted.
    pub fn admits(&mut self, now: Instant, packet: &[u8]) -> bool {
        let Some(ssrc) = packet.get(SSRC_AT..SSRC_AT + 4).and_then(|bytes| bytes.try_into().ok()) else {
            return false;
        };
        let ssrc = u32::from_be_bytes(ssrc);
        if !self.ssrcs.contains(&ssrc) && self.ssrcs.len() >= MAX_SSRCS || !self.packets.admit(now) {
            return false;
        }
        while self.left < packet.len() {
            if !self.kilobytes.admit(now) {
                return false;
            }
            self.left += 1000;
        }
        self.left -= packet.len();
        self.ssrcs.insert(ssrc);
        true
    }
}

/// Whether a packet is RTP, and not RTCP (RFC 7983 §7, RFC 5761 §4).
pub fn is_rtp(packet: &[u8]) -> bool {
    match packet {
        [first, second, ..] => (128..192).contains(first) && !(192..224).contains(second),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn packet(ssrc: u32, len: usize) -> Vec<u8> {
        let mut packet = vec![0x80; len.max(12)];
        packet[SSRC_AT..SSRC_AT + 4].copy_from_slice(&ssrc.to_be_bytes());
        packet
    }

    #[test]
    fn packets_are_told_from_control() {
        assert!(is_rtp(&[0x80, 0x60, 0]) && is_rtp(&[0x90, 0xe0]));
        for other in [&[0x80, 200][..], &[0x81, 206], &[0x16, 0xfe], &[0, 1], &[0x80], &[]] {
            assert!(!is_rtp(other), "{other:?}");
        }
    }

    #[test]
    fn ten_times_the_rate_is_cut_to_the_bound() {
        let start = Instant::now();
        for (len, most) in [(12, MAX_PACKETS as usize), (1200, 3_000_000 / 1200)] {
            let mut intake = Intake::new(start);
            let admitted = |intake: &mut Intake, second: u32| {
                let now = |n: u32| start + Duration::from_secs(1) * second + n * Duration::from_micros(16);
                (0..60_000).filter(|n| intake.admits(now(*n), &packet(1, len))).count()
            };
            // At first there is a second's worth at once.
            admitted(&mut intake, 0);
            let steady = admitted(&mut intake, 1);
            assert!(steady <= most * 101 / 100, "{len}: {steady}");
            assert!(steady >= most * 9 / 10, "{len}: {steady}");
        }
    }

    #[test]
    fn only_so_many_streams_ever_get_a_state() {
        let now = Instant::now();
        let mut intake = Intake::new(now);
        let admitted = (0..1000).filter(|ssrc| intake.admits(now, &packet(*ssrc, 12))).count();
        assert_eq!(admitted, MAX_SSRCS);
        assert!(intake.admits(now, &packet(0, 12)), "those that are there go on");
        assert!(!intake.admits(now, &[0x80; 11]), "too short");
    }
}
