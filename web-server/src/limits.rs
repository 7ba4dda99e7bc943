//! Rate limits of requests, joins, failed logins and messages. An IPv6 network of 64 bits, which providers assign to one
//! customer, counts as one address. Decisions are pure; admins are not limited.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use clap::Args;
use common::id::TokenId;
use common::spec::InvalidField;
use serde::Deserialize;

use crate::seats::{Seat, Seats};

/// Addresses with a bucket of their own, about 1 MB. While that many are busy, further ones share one bucket.
const MAX_ADDRESSES: usize = 10_000;
/// Size of a burst of requests, in seconds' worth: a page requests all of its files at once.
const REQUEST_BURST_S: f64 = 4.0;

/// Snapshots that one token may have in progress: enough for a page with several slots.
const SNAPSHOTS: u32 = 4;

/// `limits:` of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Requests of one address.
    pub requests_per_second: Option<u32>,
    /// WebSockets and WHEP offers of one address.
    pub joins_per_minute: Option<u32>,
    /// Wrong tokens of one address.
    pub failed_logins_per_minute: Option<u32>,
    /// Open connections of one address.
    pub connections: Option<u32>,
    /// Longest message of a WebSocket, bytes.
    pub message_bytes: Option<u32>,
    /// Messages of one WebSocket.
    pub messages_per_second: Option<u32>,
    /// Messages on the data channels of one peer.
    pub data_messages_per_second: Option<u32>,
}

/// Settings from flags and environment, completed from the file.
#[derive(Debug, Default, Args)]
#[group(skip)]
pub struct Options {
    /// Requests of one address, per second; admins are not counted [default: 50]
    #[arg(long, env = "ORIEL_REQUESTS_PER_SECOND", value_name = "N")]
    pub requests_per_second: Option<u32>,

    /// WebSockets and WHEP offers of one address, per minute; admins are not counted [default: 120]
    #[arg(long, env = "ORIEL_JOINS_PER_MINUTE", value_name = "N")]
    pub joins_per_minute: Option<u32>,

    /// Wrong tokens of one address, per minute [default: 10]
    #[arg(long, env = "ORIEL_FAILED_LOGINS_PER_MINUTE", value_name = "N")]
    pub failed_logins_per_minute: Option<u32>,

    /// Open connections of one address; those of this machine and of trusted proxies are not counted [default: 256]
    #[arg(long, env = "ORIEL_CONNECTIONS", value_name = "N")]
    pub connections: Option<u32>,

    /// Longest message of a peer's WebSocket [default: 262144]
    #[arg(long, env = "ORIEL_MESSAGE_BYTES", value_name = "BYTES")]
    pub message_bytes: Option<u32>,

    /// Messages of one WebSocket, per second [default: 200]
    #[arg(long, env = "ORIEL_MESSAGES_PER_SECOND", value_name = "N")]
    pub messages_per_second: Option<u32>,

    /// Messages on the data channels of one peer, per second [default: 3000]
    #[arg(long, env = "ORIEL_DATA_MESSAGES_PER_SECOND", value_name = "N")]
    pub data_messages_per_second: Option<u32>,
}

impl Options {
    /// These settings; absent ones are taken from the file.
    pub fn over(self, file: File) -> Self {
        Self {
            requests_per_second: self.requests_per_second.or(file.requests_per_second),
            joins_per_minute: self.joins_per_minute.or(file.joins_per_minute),
            failed_logins_per_minute: self.failed_logins_per_minute.or(file.failed_logins_per_minute),
            connections: self.connections.or(file.connections),
            message_bytes: self.message_bytes.or(file.message_bytes),
            messages_per_second: self.messages_per_second.or(file.messages_per_second),
            data_messages_per_second: self.data_messages_per_second.or(file.data_messages_per_second),
        }
    }
}

/// The settings of this section, with defaults and bounds applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Requests of one address, per second.
    pub requests_per_second: u32,
    /// WebSockets and WHEP offers of one address, per minute.
    pub joins_per_minute: u32,
    /// Wrong tokens of one address, per minute.
    pub failed_logins_per_minute: u32,
    /// Open connections of one address.
    pub connections: u32,
    /// Longest message of a WebSocket, bytes.
    pub message_bytes: u32,
    /// Messages of one WebSocket, per second.
    pub messages_per_second: u32,
    /// Messages on the data channels of one peer, per second.
    pub data_messages_per_second: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            requests_per_second: 50,
            joins_per_minute: 120,
            failed_logins_per_minute: 10,
            connections: 256,
            message_bytes: common::signal::MAX_MESSAGE as u32,
            messages_per_second: 200,
            data_messages_per_second: common::ipc::Settings::default().data_messages_per_second,
        }
    }
}

impl Config {
    /// Applies defaults and checks bounds.
    ///
    /// # Errors
    /// A value is out of bounds.
    pub fn merge(file: &Options) -> Result<Self, InvalidField> {
        let default = Self::default();
        let within =
            |field, value: Option<u32>, default: u32, min: u32, max: u32| match value.unwrap_or(default) {
                value if (min..=max).contains(&value) => Ok(value),
                value => Err(InvalidField::new(field, format!("must be from {min} to {max}, not {value}"))),
            };
        let some = |field, value, default| within(field, value, default, 1, 1_000_000);
        Ok(Self {
            requests_per_second: some(
                "limits.requests_per_second",
                file.requests_per_second,
                default.requests_per_second,
            )?,
            joins_per_minute: some(
                "limits.joins_per_minute",
                file.joins_per_minute,
                default.joins_per_minute,
            )?,
            failed_logins_per_minute: some(
                "limits.failed_logins_per_minute",
                file.failed_logins_per_minute,
                default.failed_logins_per_minute,
            )?,
            connections: some("limits.connections", file.connections, default.connections)?,
            // An answer with 16 slots must fit.
            message_bytes: within(
                "limits.message_bytes",
                file.message_bytes,
                default.message_bytes,
                64 * 1024,
                default.message_bytes,
            )?,
            messages_per_second: within(
                "limits.messages_per_second",
                file.messages_per_second,
                default.messages_per_second,
                // Joining takes about twenty at once.
                50,
                1_000_000,
            )?,
            data_messages_per_second: within(
                "limits.data_messages_per_second",
                file.data_messages_per_second,
                default.data_messages_per_second,
                // Fewer would be felt.
                100,
                1_000_000,
            )?,
        })
    }
}

/// A rate limit that was exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Exceeded {
    /// Requests of one address.
    #[error("too many requests from this address; try again later (limits.requests_per_second)")]
    Requests,
    /// Joins of one address.
    #[error("too many joins from this address; try again later (limits.joins_per_minute)")]
    Joins,
    /// Wrong tokens of one address.
    #[error("too many wrong tokens from this address; try again later (limits.failed_logins_per_minute)")]
    Logins,
    /// Snapshots of one token.
    #[error("{SNAPSHOTS} snapshots are being made for this token already; wait for one of them")]
    Snapshots,
}

/// A limit of this server, as a label of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Streamers at once.
    Streamers,
    /// Requests of one address.
    Requests,
    /// Joins of one address.
    Joins,
    /// Wrong tokens of one address, those over the limit.
    FailedLogins,
    /// Open connections of one address.
    Connections,
    /// Length of a message of a WebSocket.
    MessageBytes,
    /// Messages of one WebSocket.
    Messages,
}

/// All of them, each with its key in the configuration.
pub const LIMITS: [(Limit, &str); 7] = [
    (Limit::Streamers, "max_streamers"),
    (Limit::Requests, "limits.requests_per_second"),
    (Limit::Joins, "limits.joins_per_minute"),
    (Limit::FailedLogins, "limits.failed_logins_per_minute"),
    (Limit::Connections, "limits.connections"),
    (Limit::MessageBytes, "limits.message_bytes"),
    (Limit::Messages, "limits.messages_per_second"),
];

/// Counts how often each limit was exceeded since the start, for metrics. Clones share the counters.
#[derive(Debug, Clone, Default)]
pub struct Refusals(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    refused: [AtomicU64; LIMITS.len()],
    failed_logins: AtomicU64,
}

impl Refusals {
    /// Counts one over the limit.
    pub fn refused(&self, limit: Limit) {
        self.counter(limit).fetch_add(1, Ordering::Relaxed);
    }

    /// How often the limit was exceeded.
    pub fn of(&self, limit: Limit) -> u64 {
        self.counter(limit).load(Ordering::Relaxed)
    }

    /// Number of wrong tokens, within the limit too.
    pub fn failed_logins(&self) -> u64 {
        self.0.failed_logins.load(Ordering::Relaxed)
    }

    fn counter(&self, limit: Limit) -> &AtomicU64 {
        // In the order of their declaration, as LIMITS is; a test holds them together.
        &self.0.refused[limit as usize]
    }
}

/// Rate limits by address.
#[derive(Debug)]
pub struct Limits {
    config: Config,
    requests: Mutex<Buckets>,
    /// Requests without a valid token. Apart from those with one, so that they cannot use up the limit of others at the same address.
    strangers: Mutex<Buckets>,
    joins: Mutex<Buckets>,
    failures: Mutex<Buckets>,
    snapshots: Seats<TokenId>,
    refusals: Refusals,
}

impl Limits {
    /// Full buckets for every address.
    pub fn new(config: Config, refusals: Refusals) -> Self {
        let per_minute = |n: u32| Mutex::new(Buckets::new(f64::from(n) / 60.0, f64::from(n)));
        let requests = f64::from(config.requests_per_second);
        let per_second = || Mutex::new(Buckets::new(requests, requests * REQUEST_BURST_S));
        Self {
            config,
            requests: per_second(),
            strangers: per_second(),
            joins: per_minute(config.joins_per_minute),
            failures: per_minute(config.failed_logins_per_minute),
            snapshots: Seats::new(SNAPSHOTS),
            refusals,
        }
    }

    /// The configured limits.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Counts requests over each limit.
    pub fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// Counts a request with a valid token that is no admin's.
    ///
    /// # Errors
    /// The limit is exceeded.
    pub fn request(&self, now: Instant, address: IpAddr) -> Result<(), Exceeded> {
        take(&self.requests, now, address).or_else(|()| self.refuse(Limit::Requests, Exceeded::Requests))
    }

    /// Counts a request without a valid token, apart from [`Limits::request`].
    ///
    /// # Errors
    /// The limit is exceeded.
    pub fn stranger(&self, now: Instant, address: IpAddr) -> Result<(), Exceeded> {
        take(&self.strangers, now, address).or_else(|()| self.refuse(Limit::Requests, Exceeded::Requests))
    }

    /// Counts a join with a valid token that is no admin's, by WebSocket or by an offer.
    ///
    /// # Errors
    /// The limit is exceeded.
    pub fn join(&self, now: Instant, address: IpAddr) -> Result<(), Exceeded> {
        take(&self.joins, now, address).or_else(|()| self.refuse(Limit::Joins, Exceeded::Joins))
    }

    /// Counts a wrong token. Valid ones are not counted, nor refused because of wrong ones from the same address.
    ///
    /// # Errors
    /// The limit is exceeded.
    pub fn login_failed(&self, now: Instant, address: IpAddr) -> Result<(), Exceeded> {
        self.refusals.0.failed_logins.fetch_add(1, Ordering::Relaxed);
        take(&self.failures, now, address).or_else(|()| self.refuse(Limit::FailedLogins, Exceeded::Logins))
    }

    /// Takes a seat for a snapshot for a token. It counts until the seat is dropped.
    ///
    /// # Errors
    /// The token has as many in progress as it may.
    pub fn snapshot(&self, token: TokenId) -> Result<Seat<TokenId>, Exceeded> {
        self.snapshots.take(token).ok_or(Exceeded::Snapshots)
    }

    fn refuse(&self, limit: Limit, why: Exceeded) -> Result<(), Exceeded> {
        self.refusals.refused(limit);
        Err(why)
    }
}

fn take(buckets: &Mutex<Buckets>, now: Instant, address: IpAddr) -> Result<(), ()> {
    // Held for some arithmetic only; what a panic leaves behind is whole.
    let mut buckets = buckets.lock().unwrap_or_else(PoisonError::into_inner);
    if buckets.take(now, address) { Ok(()) } else { Err(()) }
}

/// A token bucket: `burst` at once after a pause, `per_second` in the long run.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    left: f64,
    filled: Instant,
}

impl Bucket {
    /// A full bucket.
    pub fn new(now: Instant, burst: f64) -> Self {
        Self { left: burst, filled: now }
    }

    /// Takes a token; false when the bucket is empty.
    pub fn take(&mut self, now: Instant, per_second: f64, burst: f64) -> bool {
        self.fill(now, per_second, burst);
        let there = self.left >= 1.0;
        if there {
            self.left -= 1.0;
        }
        there
    }

    fn fill(&mut self, now: Instant, per_second: f64, burst: f64) {
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = now.max(self.filled);
        self.left = (self.left + elapsed * per_second).min(burst);
    }
}

/// One bucket for each address.
#[derive(Debug)]
struct Buckets {
    per_second: f64,
    burst: f64,
    known: HashMap<IpAddr, Bucket>,
    /// Shared by addresses for which there was no room.
    others: Option<Bucket>,
}

impl Buckets {
    fn new(per_second: f64, burst: f64) -> Self {
        Self { per_second, burst, known: HashMap::new(), others: None }
    }

    fn take(&mut self, now: Instant, address: IpAddr) -> bool {
        let per_second = self.per_second;
        let burst = self.burst;
        self.bucket(now, address).take(now, per_second, burst)
    }

    fn bucket(&mut self, now: Instant, address: IpAddr) -> &mut Bucket {
        let per_second = self.per_second;
        let burst = self.burst;
        let address = network(address);
        if self.known.len() >= MAX_ADDRESSES && !self.known.contains_key(&address) {
            // Those that are full again are as good as unknown.
            self.known.retain(|_, bucket| {
                bucket.fill(now, per_second, burst);
                bucket.left < burst
            });
            if self.known.len() >= MAX_ADDRESSES {
                return self.others.get_or_insert(Bucket::new(now, burst));
            }
        }
        self.known.entry(address).or_insert(Bucket::new(now, burst))
    }
}

/// What counts as one address.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from(u128::from(ip) & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn limits() -> Limits {
        let config = Config {
            requests_per_second: 5,
            joins_per_minute: 3,
            failed_logins_per_minute: 2,
            ..Config::default()
        };
        Limits::new(config, Refusals::default())
    }

    #[test]
    fn snapshots_of_a_token_count_while_they_are_made() {
        let limits = limits();
        let token = TokenId::unique();
        let other = TokenId::unique();
        let turns: Vec<_> = (0..SNAPSHOTS).map(|_| limits.snapshot(token).unwrap()).collect();
        assert_eq!(limits.snapshot(token).unwrap_err(), Exceeded::Snapshots);
        assert!(limits.snapshot(other).is_ok());
        drop(turns);
        assert!(limits.snapshot(token).is_ok());
        assert!(limits.snapshots.is_empty(), "nothing is kept of those that are over");
    }

    #[test]
    fn each_limit_has_its_own_counter() {
        for (at, (limit, _)) in LIMITS.into_iter().enumerate() {
            assert_eq!(limit as usize, at);
        }
    }

    #[test]
    fn each_address_has_its_own_and_time_gives_them_back() {
        let limits = limits();
        let now = Instant::now();
        let a = ip("10.0.0.1");
        let b = ip("10.0.0.2");
        let burst = (0..100).filter(|_| limits.request(now, a).is_ok()).count();
        assert_eq!(burst, 20);
        assert_eq!(limits.request(now, a), Err(Exceeded::Requests));
        assert_eq!(limits.request(now, b), Ok(()));
        let later = now + Duration::from_secs(1);
        assert_eq!((0..100).filter(|_| limits.request(later, a).is_ok()).count(), 5);
        assert_eq!(limits.refusals().of(Limit::Requests), 80 + 1 + 95);
        assert_eq!((0..9).filter(|_| limits.join(now, a).is_ok()).count(), 3);
    }

    #[test]
    fn wrong_tokens_are_limited_by_address() {
        let limits = limits();
        let now = Instant::now();
        let a = ip("10.0.0.1");
        for _ in 0..2 {
            assert_eq!(limits.login_failed(now, a), Ok(()));
        }
        assert_eq!(limits.login_failed(now, a), Err(Exceeded::Logins));
        assert_eq!(limits.login_failed(now, ip("10.0.0.2")), Ok(()));
        assert_eq!(limits.login_failed(now + Duration::from_secs(29), a), Err(Exceeded::Logins));
        assert_eq!(limits.login_failed(now + Duration::from_secs(31), a), Ok(()));
        assert_eq!((limits.refusals().failed_logins(), limits.refusals().of(Limit::FailedLogins)), (6, 2));
    }

    #[test]
    fn strangers_use_up_nothing_of_those_who_are_known() {
        let limits = limits();
        let now = Instant::now();
        let a = ip("10.0.0.1");
        assert_eq!((0..100).filter(|_| limits.stranger(now, a).is_ok()).count(), 20);
        assert_eq!(limits.request(now, a), Ok(()));
    }

    #[test]
    fn neighbours_in_a_network_of_version_6_are_one() {
        let limits = limits();
        let now = Instant::now();
        for n in 0..3 {
            assert!(limits.join(now, ip(&format!("2001:db8::{n}"))).is_ok());
        }
        assert!(limits.join(now, ip("2001:db8::ffff:1")).is_err());
        assert!(limits.join(now, ip("2001:db8:0:1::1")).is_ok());
    }

    #[test]
    fn addresses_are_bounded_and_a_flood_of_them_frees_nobody() {
        let mut buckets = Buckets::new(1.0, 2.0);
        let now = Instant::now();
        let busy = ip("9.9.9.9");
        assert!(buckets.take(now, busy) && buckets.take(now, busy) && !buckets.take(now, busy));
        for n in 0..2 * MAX_ADDRESSES as u32 {
            buckets.take(now, Ipv4Addr::from(n).into());
        }
        assert_eq!(buckets.known.len(), MAX_ADDRESSES);
        assert!(!buckets.take(now, busy), "it is still known");
        assert!(!buckets.take(now, ip("8.8.8.8")), "the others share what is left, which is nothing");
        let rested = now + Duration::from_secs(5);
        assert!(buckets.take(rested, ip("8.8.8.8")) && buckets.known.len() < 10);
    }

    #[test]
    fn values_that_make_no_sense_are_refused_by_name() {
        assert_eq!(Config::merge(&Options::default()), Ok(Config::default()));
        for (file, field) in [
            (Options { joins_per_minute: Some(0), ..Options::default() }, "limits.joins_per_minute"),
            (Options { message_bytes: Some(10), ..Options::default() }, "limits.message_bytes"),
            (Options { messages_per_second: Some(1), ..Options::default() }, "limits.messages_per_second"),
        ] {
            assert_eq!(Config::merge(&file).unwrap_err().field, field);
        }
    }
}
