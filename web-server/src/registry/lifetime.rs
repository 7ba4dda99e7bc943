//! When a streamer ends that nobody deletes: at its time, or when nobody has used it for long enough. Pure: time is passed in.
//!
//! Somebody uses a streamer who watches it or asks it to do something. Who only asks how it is, as a list page does every
//! second, does not use it.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use common::lifetime::{OnIdle, StreamerPatch, TimeLimit};
use serde::{Deserialize, Serialize};

use super::session::Moment;

/// The calendar's clock may be set: how late is noticed at most that an end has come nearer by that.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How long a streamer lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Lifetime {
    /// When it is deleted.
    pub expires_at: Option<DateTime<Utc>>,
    /// After how many seconds without use it ends.
    pub idle_timeout_s: Option<u32>,
    /// What becomes of it then.
    pub on_idle: OnIdle,
}

impl Lifetime {
    /// This, with what `patch` says. Its times begin `now`.
    #[must_use]
    pub fn changed(self, patch: StreamerPatch, now: DateTime<Utc>) -> Self {
        Self {
            expires_at: match patch.expires_in_s {
                TimeLimit::Unset => self.expires_at,
                TimeLimit::Never => None,
                TimeLimit::After(seconds) => Some(now + TimeDelta::seconds(seconds.into())),
            },
            idle_timeout_s: match patch.idle_timeout_s {
                TimeLimit::Unset => self.idle_timeout_s,
                TimeLimit::Never => None,
                TimeLimit::After(seconds) => Some(seconds),
            },
            on_idle: patch.on_idle.unwrap_or(self.on_idle),
        }
    }

    /// Its time is over, whoever uses it.
    pub fn has_expired(&self, now: DateTime<Utc>) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// In short, for the audit trail.
    pub fn describe(&self) -> String {
        let expires = self.expires_at.map(|at| format!("expires {}", at.to_rfc3339()));
        let what = match self.on_idle {
            OnIdle::Stop => "stopped",
            OnIdle::Delete => "deleted",
        };
        let idle = self.idle_timeout_s.map(|seconds| format!("{what} after {seconds} s without use"));
        let both = [expires, idle].into_iter().flatten().collect::<Vec<_>>().join(", ");
        if both.is_empty() { "until it is deleted".into() } else { both }
    }
}

/// Whether somebody uses a streamer.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    watched: bool,
    /// When somebody last did.
    last: Moment,
}

impl Usage {
    /// Nobody has used it yet.
    pub fn new(now: Moment) -> Self {
        Self { watched: false, last: now }
    }

    /// Somebody watches it `now`, or nobody does. To be said after whatever may have changed that.
    pub fn watched(&mut self, now: Moment, watched: bool) {
        if self.watched || watched {
            self.last = now;
        }
        self.watched = watched;
    }

    /// Somebody asks it to do something.
    pub fn used(&mut self, now: Moment) {
        self.last = now;
    }

    /// Since when nobody uses it; `None` while somebody watches.
    pub fn idle_since(&self) -> Option<Moment> {
        (!self.watched).then_some(self.last)
    }
}

/// What an idle streamer is, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// It is being started: it can be deleted, and stopped in a moment.
    Starting,
    /// It runs, or waits to be started again.
    Active,
    /// It has ended, and can only be deleted.
    Ended,
    /// It is being deleted.
    Stopping,
}

/// What is to be done with a streamer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing, before then.
    Lives {
        /// `None`: not before something else happens to it.
        until: Option<Instant>,
    },
    /// End its process.
    Stop {
        /// Why.
        reason: String,
    },
    /// Delete it.
    Delete {
        /// Why.
        reason: String,
    },
}

/// What follows `now` from how long a streamer may live, from who uses it, and from what it is.
pub fn decide(lifetime: &Lifetime, usage: &Usage, activity: Activity, now: Moment) -> Verdict {
    if activity == Activity::Stopping {
        return Verdict::Lives { until: None };
    }
    if lifetime.has_expired(now.time) {
        return Verdict::Delete { reason: "its time is over (expires_in_s)".into() };
    }
    let expires = lifetime.expires_at.map(|at| {
        let left = (at - now.time).to_std().unwrap_or_default();
        now.instant + left.min(LONGEST_WAIT)
    });
    let may_end = match (lifetime.on_idle, activity) {
        (OnIdle::Delete, Activity::Active | Activity::Ended) | (OnIdle::Stop, Activity::Active) => true,
        // However long that takes, nobody can use it yet; when it runs, the time begins.
        (_, Activity::Starting) | (OnIdle::Stop, Activity::Ended) | (_, Activity::Stopping) => false,
    };
    let idle = match (lifetime.idle_timeout_s, usage.idle_since()) {
        (Some(seconds), Some(since)) if may_end => {
            let ends = since.instant + Duration::from_secs(seconds.into());
            if ends <= now.instant {
                let reason = format!("nobody has used it for {seconds} s (idle_timeout_s)");
                return match lifetime.on_idle {
                    OnIdle::Stop => Verdict::Stop { reason },
                    OnIdle::Delete => Verdict::Delete { reason },
                };
            }
            Some(ends)
        }
        _ => None,
    };
    Verdict::Lives { until: expires.into_iter().chain(idle).min() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Moment {
        Moment { instant: Instant::now(), time: DateTime::from_timestamp(1_000_000_000, 0).unwrap() }
    }

    fn after(start: Moment, seconds: u64) -> Moment {
        let time = start.time + TimeDelta::seconds(seconds as i64);
        Moment { instant: start.instant + Duration::from_secs(seconds), time }
    }

    fn patch(text: &str) -> StreamerPatch {
        serde_json::from_str(text).unwrap()
    }

    fn lifetime(text: &str, now: Moment) -> Lifetime {
        Lifetime::default().changed(patch(text), now.time)
    }

    #[test]
    fn without_anything_said_it_lives_until_it_is_deleted() {
        let now = start();
        let verdict = decide(&Lifetime::default(), &Usage::new(now), Activity::Active, after(now, 1 << 30));
        assert_eq!(verdict, Verdict::Lives { until: None });
    }

    #[test]
    fn it_is_deleted_at_its_time_whoever_watches_and_whatever_it_is() {
        let now = start();
        let lifetime = lifetime(r#"{"expires_in_s":30}"#, now);
        let mut usage = Usage::new(now);
        usage.watched(now, true);
        for activity in [Activity::Starting, Activity::Active, Activity::Ended] {
            let until = Some(after(now, 30).instant);
            assert_eq!(decide(&lifetime, &usage, activity, after(now, 29)), Verdict::Lives { until });
            let verdict = decide(&lifetime, &usage, activity, after(now, 30));
            assert!(matches!(verdict, Verdict::Delete { .. }), "{activity:?} {verdict:?}");
        }
        let stopping = decide(&lifetime, &usage, Activity::Stopping, after(now, 31));
        assert_eq!(stopping, Verdict::Lives { until: None });
    }

    #[test]
    fn a_far_end_is_looked_at_again_as_clocks_are_set() {
        let now = start();
        let lifetime = lifetime(r#"{"expires_in_s":86400}"#, now);
        let verdict = decide(&lifetime, &Usage::new(now), Activity::Active, now);
        assert_eq!(verdict, Verdict::Lives { until: Some(now.instant + LONGEST_WAIT) });
    }

    /// What follows after ten seconds without use, for each way to end and each activity.
    #[test]
    fn an_idle_one_is_stopped_or_deleted_as_far_as_it_can_be() {
        let now = start();
        for (on_idle, activity, expected) in [
            ("stop", Activity::Active, "stop"),
            ("stop", Activity::Starting, "lives"),
            ("stop", Activity::Ended, "lives"),
            ("delete", Activity::Active, "delete"),
            ("delete", Activity::Starting, "lives"),
            ("delete", Activity::Ended, "delete"),
            ("delete", Activity::Stopping, "lives"),
        ] {
            let lifetime = lifetime(&format!(r#"{{"idle_timeout_s":10,"on_idle":"{on_idle}"}}"#), now);
            let verdict = |seconds| decide(&lifetime, &Usage::new(now), activity, after(now, seconds));
            assert!(matches!(verdict(9), Verdict::Lives { .. }), "{on_idle} {activity:?}");
            let name = match verdict(10) {
                Verdict::Lives { .. } => "lives",
                Verdict::Stop { .. } => "stop",
                Verdict::Delete { .. } => "delete",
            };
            assert_eq!(name, expected, "{on_idle} {activity:?}");
        }
    }

    #[test]
    fn whoever_watches_or_asks_keeps_it_and_the_time_begins_when_they_are_done() {
        let now = start();
        let lifetime = lifetime(r#"{"idle_timeout_s":10}"#, now);
        let mut usage = Usage::new(now);
        usage.watched(after(now, 5), true);
        assert!(usage.idle_since().is_none());
        let watched = decide(&lifetime, &usage, Activity::Active, after(now, 1000));
        assert_eq!(watched, Verdict::Lives { until: None });
        usage.watched(after(now, 1000), false);
        usage.watched(after(now, 1005), false);
        let until = Some(after(now, 1010).instant);
        assert_eq!(decide(&lifetime, &usage, Activity::Active, after(now, 1009)), Verdict::Lives { until });
        usage.used(after(now, 1009));
        let until = Some(after(now, 1019).instant);
        assert_eq!(decide(&lifetime, &usage, Activity::Active, after(now, 1018)), Verdict::Lives { until });
        let verdict = decide(&lifetime, &usage, Activity::Active, after(now, 1019));
        assert!(matches!(verdict, Verdict::Stop { .. }), "{verdict:?}");
    }

    #[test]
    fn a_change_leaves_what_it_does_not_name_and_counts_from_now() {
        let now = start();
        let first = lifetime(r#"{"expires_in_s":60,"idle_timeout_s":10,"on_idle":"delete"}"#, now);
        let later = after(now, 50).time;
        assert_eq!(first.changed(patch("{}"), later), first);
        let longer = first.changed(patch(r#"{"expires_in_s":60,"idle_timeout_s":null}"#), later);
        assert_eq!(longer.expires_at, Some(after(now, 110).time));
        assert_eq!((longer.idle_timeout_s, longer.on_idle), (None, OnIdle::Delete));
        assert_eq!(first.changed(StreamerPatch::NEVER, later).expires_at, None);
    }
}
