//! What becomes of a streamer that is remembered and does not run when the server starts. Pure.

use chrono::{DateTime, Utc};
use common::spec::StreamerSpec;

use super::store::{Record, Wanted};

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is forgotten: its spec was configured, and is configured otherwise now. Who starts the configured streams makes it anew.
    Replaced,
    /// It is forgotten: its lifetime is over.
    Expired,
    /// Its process ended while there was no server, and its policy decides, as if that happened now.
    Ended,
    /// It stays ended until it is restarted: it has failed for good, or was stopped.
    Dormant,
    /// It is started: its process ended with the whole machine.
    Starts,
}

impl Fate {
    /// Of a streamer that is remembered so. `configured`: what the configuration has under its name, if anything. `has_ended`: its
    /// process is known to have ended, and not with the whole machine.
    pub fn of(
        record: &Record,
        configured: Option<&StreamerSpec>,
        has_ended: bool,
        now: DateTime<Utc>,
    ) -> Self {
        if configured.is_some_and(|configured| *configured != record.spec) {
            Fate::Replaced
        } else if record.lifetime.has_expired(now) {
            Fate::Expired
        } else if record.wanted != Wanted::Running {
            Fate::Dormant
        } else if has_ended {
            Fate::Ended
        } else {
            Fate::Starts
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::lifetime::Lifetime;
    use common::id::StreamerId;
    use serde_json::json;

    fn spec(fps: u32) -> StreamerSpec {
        serde_json::from_value(json!({"source": {"type": "test", "fps": fps}})).unwrap()
    }

    #[test]
    fn what_is_configured_and_how_long_it_lives_come_before_how_it_ended() {
        let now = DateTime::from_timestamp(1_000, 0).unwrap();
        let running = Wanted::Running;
        for (configured, expires_at, wanted, has_ended, expected) in [
            (None, None, running, false, Fate::Starts),
            (None, None, running, true, Fate::Ended),
            (None, None, Wanted::Ended, false, Fate::Dormant),
            (None, None, Wanted::Ended, true, Fate::Dormant),
            (None, None, Wanted::Stopped, true, Fate::Dormant),
            (Some(30), None, running, false, Fate::Starts),
            (Some(25), None, running, false, Fate::Replaced),
            (Some(25), None, Wanted::Ended, true, Fate::Replaced),
            (Some(25), Some(999), running, true, Fate::Replaced),
            (None, Some(1_001), running, true, Fate::Ended),
            (None, Some(1_000), running, true, Fate::Expired),
            (Some(30), Some(999), Wanted::Stopped, false, Fate::Expired),
        ] {
            let expires_at = expires_at.map(|seconds| DateTime::from_timestamp(seconds, 0).unwrap());
            let lifetime = Lifetime { expires_at, ..Lifetime::default() };
            let id = StreamerId::parse("demo").unwrap();
            let record = Record { wanted, ..Record::new(id, now, spec(30), lifetime) };
            let fate = Fate::of(&record, configured.map(spec).as_ref(), has_ended, now);
            assert_eq!(fate, expected, "{configured:?} {expires_at:?} {wanted:?} {has_ended}");
        }
    }
}
