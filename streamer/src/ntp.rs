//! Times as NTP has them (RFC 3550 §4): seconds since 1900 and their fractions of 2⁻³². Pure.

use std::time::Duration;

/// Seconds from 1900, where NTP begins, to 1970.
const NTP_OF_UNIX: u64 = 2_208_988_800;

/// The NTP time at this duration after the beginning of 1970.
pub fn ntp(since_1970: Duration) -> u64 {
    fixed_point(since_1970).wrapping_add(NTP_OF_UNIX << 32)
}

/// Seconds and their fractions, 32 bits each.
pub fn fixed_point(time: Duration) -> u64 {
    (time.as_secs() << 32).wrapping_add((u64::from(time.subsec_nanos()) << 32) / 1_000_000_000)
}
