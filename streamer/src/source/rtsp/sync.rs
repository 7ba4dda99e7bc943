//! Maps timestamps of RTP streams to one clock, the sender's.
//!
//! Each stream counts from an offset of its own. Until the sender has reported these offsets (sender reports,
//! RFC 3550 §6.4.1), the arrival of a stream's first packet is used. `RTP-Info` at the beginning
//! is not used: some cameras send wrong values.

use crate::source::live::clock::SECOND;

/// A report that would move a stream by more than this means a clock that was set, or is invalid.
const LARGEST: i64 = 2 * SECOND;

/// The position of one stream on the sender's clock.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Ticks per second.
    rate: u32,
    /// At this RTP time, in ticks,
    ticks: i64,
    /// the sender's clock has this time, in nanoseconds.
    time: i64,
    /// Whether a report has set it.
    reported: bool,
}

/// All streams of a session.
#[derive(Debug, Default)]
pub struct Sync {
    streams: Vec<Option<Place>>,
    /// Offset from the clock of reports to the one used here.
    offset: Option<i64>,
}

impl Sync {
    /// The time of `ticks` in the stream of this number, in nanoseconds. `rate` is the stream's ticks per second, and `arrived` when
    /// it has come, which places a stream that is not placed yet.
    pub fn time(&mut self, stream: usize, rate: u32, ticks: i64, arrived: i64) -> i64 {
        if self.streams.len() <= stream {
            self.streams.resize(stream + 1, None);
        }
        let new = Place { rate: rate.max(1), ticks, time: arrived, reported: false };
        self.streams[stream].get_or_insert(new).at(ticks)
    }

    /// Takes a report: `ticks` in the stream correspond to `ntp`, in nanoseconds with any origin.
    pub fn report(&mut self, stream: usize, ticks: i64, ntp: i64) {
        let Some(Some(place)) = self.streams.get_mut(stream) else { return };
        let believed = place.at(ticks);
        let offset = *self.offset.get_or_insert(believed.saturating_sub(ntp));
        let told = ntp.saturating_add(offset);
        if told.saturating_sub(believed).saturating_abs() <= LARGEST {
            *place = Place { ticks, time: told, reported: true, ..*place };
        } else if place.reported {
            // The sender's clock was set: the streams stay where they are.
            self.offset = Some(believed.saturating_sub(ntp));
        }
    }
}

impl Place {
    fn at(&self, ticks: i64) -> i64 {
        let since = i128::from(ticks) - i128::from(self.ticks);
        let nanos = since * i128::from(SECOND) / i128::from(self.rate);
        i64::try_from(i128::from(self.time) + nanos).unwrap_or(self.time)
    }
}

/// A time of the Network Time Protocol in nanoseconds. Not of any particular year: it wraps every 136 years.
pub fn ntp_nanos(ntp: u64) -> i64 {
    let nanos = (u128::from(ntp) * SECOND.unsigned_abs() as u128) >> 32;
    i64::try_from(nanos).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: i64 = SECOND / 1000;
    const PICTURE: usize = 0;
    const SOUND: usize = 1;

    fn picture(sync: &mut Sync, ticks: i64, arrived_ms: i64) -> i64 {
        sync.time(PICTURE, 90_000, ticks, arrived_ms * MS) / MS
    }

    fn sound(sync: &mut Sync, ticks: i64, arrived_ms: i64) -> i64 {
        sync.time(SOUND, 8000, ticks, arrived_ms * MS) / MS
    }

    #[test]
    fn streams_begin_when_they_come_and_are_moved_together_by_reports() {
        let mut sync = Sync::default();
        assert_eq!(picture(&mut sync, 900_000, 1000), 1000);
        // Sound captured at the same moment comes 300 ms later.
        assert_eq!(sound(&mut sync, 800, 1300), 1300);
        sync.report(PICTURE, 900_000, 77 * SECOND);
        assert_eq!(picture(&mut sync, 909_000, 1100), 1100, "the first report moves nothing");
        sync.report(SOUND, 800 + 8000, 78 * SECOND);
        assert_eq!(sound(&mut sync, 800 + 800, 1400), 1100);
    }

    #[test]
    fn a_clock_that_is_set_moves_nothing_but_drift_is_followed_again() {
        let mut sync = Sync::default();
        picture(&mut sync, 0, 0);
        sound(&mut sync, 0, 0);
        for stream in [PICTURE, SOUND] {
            sync.report(stream, 0, 10 * SECOND);
        }
        let year = 31_536_000 * SECOND;
        sync.report(PICTURE, 90_000, year + 11 * SECOND);
        sync.report(SOUND, 8000, year + 11 * SECOND + 20 * MS);
        assert_eq!(picture(&mut sync, 90_000, 0), 1000);
        assert_eq!(sound(&mut sync, 8000, 0), 1020);
    }

    #[test]
    fn a_first_report_that_is_nonsense_is_left_out() {
        let mut sync = Sync::default();
        picture(&mut sync, 0, 0);
        sound(&mut sync, 0, 100);
        sync.report(PICTURE, 0, 10 * SECOND);
        sync.report(SOUND, 0, 0);
        assert_eq!(sound(&mut sync, 8000, 0), 1100);
    }

    #[test]
    fn times_of_ntp_are_converted() {
        assert_eq!(ntp_nanos(1 << 32 | 1 << 31), 1500 * MS);
        assert!(ntp_nanos(u64::MAX) > 0);
    }

    proptest! {
        #[test]
        fn anything_can_be_told(all in proptest::collection::vec(any::<(bool, u32, i64, i64, u64)>(), 0..30)) {
            let mut sync = Sync::default();
            for (stream, rate, ticks, arrived, ntp) in all {
                sync.time(usize::from(stream), rate, ticks, arrived);
                sync.report(usize::from(stream), ticks, ntp_nanos(ntp));
            }
        }
    }
}
