//! The edge to NATS: three JetStream key-value buckets, opened, written, listed and watched.
//!
//! What was measured with nats-server 2.9 and decides how this is done: the client's `create_key_value` fails with it, so the streams
//! behind the buckets are created; there is no time to live per key, so leases are the age that a bucket keeps its entries; a watch
//! may go deaf when the server is restarted, so it is only trusted for as long as it delivers what the bucket has; and a write that
//! timed out may be done later, so its outcome is unknown until it is read back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::kv::{CreateErrorKind, Operation, Store, UpdateErrorKind, Watch};
use async_nats::jetstream::stream::{self, DiscardPolicy};
use async_nats::jetstream::{self, ErrorCode};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerAddr, Subscriber};
use bytes::Bytes;
use common::api::TOKEN_LIFE_S;
use futures_util::StreamExt as _;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::seal::MAX_SEALED;
use crate::config::Cluster as Config;

/// NATS must answer within this time, or the outcome is unknown.
const DEADLINE: Duration = Duration::from_secs(2);
/// For a connection with TLS over a long way.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// Longest message of ours, bytes: a record and the headers of its write.
const MAX_MESSAGE: usize = MAX_SEALED + 1024;

/// Oldest version that this was tried with.
const OLDEST: &str = "2.9";

/// Names of the buckets. A NATS account has one cluster.
const NODES: &str = "oriel-nodes";
const STREAMERS: &str = "oriel-streamers";
const REVOKED: &str = "oriel-revoked";
/// Subjects on which nodes tell their events, each with its name at the end.
const EVENTS: &str = "oriel.events.";

/// Why NATS is of no use to us.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nobody answers there, or not as NATS.
    #[error("cannot connect to NATS at {urls}: {why}")]
    Connect {
        /// Where.
        urls: String,
        /// Why.
        why: String,
    },
    /// It does not let us in.
    #[error(
        "NATS refuses this node: not authorised; check cluster.user and cluster.password_file, or \
         cluster.credentials_file"
    )]
    NotAuthorised,
    /// It has no JetStream, or not for our account.
    #[error(
        "NATS has no JetStream, or none for this account: enable it (nats-server -js, or jetstream {{}} in its configuration): {0}"
    )]
    NoJetStream(String),
    /// It is older than 2.9.
    #[error("NATS has the version {0}; at least {OLDEST} is needed")]
    TooOld(String),
    /// It takes no messages that are as long as a record can be.
    #[error(
        "NATS takes messages of at most {0} bytes; at least {MAX_MESSAGE} are needed: raise max_payload in its configuration"
    )]
    MessagesTooShort(usize),
    /// A bucket cannot be made or used.
    #[error("the bucket {bucket} cannot be used: {why}")]
    Bucket {
        /// Its name.
        bucket: &'static str,
        /// Why.
        why: String,
    },
    /// A file cannot be used.
    #[error("{0}")]
    File(String),
    /// It does not answer in time.
    #[error("NATS does not answer within {} s", DEADLINE.as_secs())]
    Slow,
    /// The connection ended.
    #[error("the connection to NATS was lost")]
    Lost,
    /// What the bucket has does not come.
    #[error("the watch of {0} is deaf, or the bucket was made anew")]
    Deaf(&'static str),
    /// A write may have been done, or may be done later.
    #[error("the outcome of a write is unknown: {0}")]
    Unknown(String),
    /// Another node is called as we are.
    #[error("another node of this cluster has the name {0:?} (cluster.name)")]
    NameTaken(String),
}

/// Why a write was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The key exists, or has another revision.
    #[error("somebody else was first")]
    Conflict,
    /// It may have been done, or may be done later.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
}

/// What was read.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its key.
    pub key: String,
    /// `None`: it was deleted.
    pub value: Option<Bytes>,
    /// Its revision.
    pub revision: u64,
}

/// One bucket.
#[derive(Clone)]
pub struct Bucket {
    name: &'static str,
    store: Store,
}

/// A connection and its buckets.
#[derive(Clone)]
pub struct Nats {
    /// Leases of nodes.
    pub nodes: Arc<Bucket>,
    /// Who has which id.
    pub streamers: Arc<Bucket>,
    /// Tokens that are good for nothing any more.
    pub revoked: Arc<Bucket>,
    /// Cancelled when the connection is lost.
    pub lost: CancellationToken,
    client: Client,
}

impl Nats {
    /// Connects, and makes the buckets that are not there.
    ///
    /// # Errors
    /// It cannot be used, and why.
    pub async fn connect(config: &Config) -> Result<Self, Error> {
        let (context, lost) = open(config).await?;
        let bucket = |name, max_age| make(&context, name, max_age, config.replicas);
        let revoked_for = Duration::from_secs((*TOKEN_LIFE_S.end()).into());
        Ok(Self {
            nodes: Arc::new(bucket(NODES, config.lease).await?),
            streamers: Arc::new(bucket(STREAMERS, Duration::ZERO).await?),
            revoked: Arc::new(bucket(REVOKED, revoked_for).await?),
            lost,
            client: context.client(),
        })
    }

    /// Sends a message to all nodes, in the name of one. Whether it arrives is not known.
    ///
    /// # Errors
    /// The connection has ended.
    pub async fn tell(&self, name: &str, message: Vec<u8>) -> Result<(), Error> {
        let sent = self.client.publish(format!("{EVENTS}{name}"), message.into()).await;
        sent.map_err(|_| Error::Lost)
    }

    /// Messages of all nodes from now on, our own included.
    ///
    /// # Errors
    /// The connection has ended.
    pub async fn listen(&self) -> Result<Subscriber, Error> {
        self.client.subscribe(format!("{EVENTS}*")).await.map_err(|_| Error::Lost)
    }
}

/// Tries whether NATS can be used, and changes nothing there.
///
/// # Errors
/// It cannot, and why.
pub async fn check(config: &Config) -> Result<(), Error> {
    let (context, _) = open(config).await?;
    match timeout(CONNECT_DEADLINE, context.get_stream(format!("KV_{NODES}"))).await {
        Err(_) => Err(Error::Slow),
        Ok(Ok(stream)) => is_as_configured(NODES, stream.cached_info(), config.lease),
        Ok(Err(error)) => match error.kind() {
            GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                Ok(())
            }
            _ => Err(Error::NoJetStream(with_source(&error))),
        },
    }
}

async fn open(config: &Config) -> Result<(jetstream::Context, CancellationToken), Error> {
    let lost = CancellationToken::new();
    let on_event = lost.clone();
    let mut options = ConnectOptions::new()
        .name(format!("oriel {}", config.name))
        .connection_timeout(CONNECT_DEADLINE)
        .request_timeout(Some(DEADLINE))
        .max_reconnects(1)
        .event_callback(move |event| {
            let lost = on_event.clone();
            async move {
                match event {
                    // All is listed anew by another connection, so this one need not come back.
                    Event::Disconnected | Event::Closed => lost.cancel(),
                    Event::Connected => {}
                    event => tracing::debug!(%event, "NATS"),
                }
            }
        });
    let credentials = &config.credentials;
    if let Some(file) = &credentials.file {
        let text = std::fs::read_to_string(file);
        let text = text.map_err(|error| Error::File(format!("{}: {error}", file.display())))?;
        options = options
            .credentials(&text)
            .map_err(|error| Error::File(format!("{}: {error}", file.display())))?;
    }
    if let Some((user, password)) = &credentials.user {
        options = options.user_and_password(user.clone(), password.expose().to_owned());
    }
    if let Some(ca) = &config.ca {
        options = options.add_root_certificates(ca.clone());
    }
    if let Some((cert, key)) = &credentials.cert {
        options = options.add_client_certificate(cert.clone(), key.clone());
    }
    let servers: Vec<ServerAddr> = config.nats.iter().filter_map(|url| url.parse().ok()).collect();
    let client = timeout(CONNECT_DEADLINE, options.connect(servers)).await;
    let failed = |why: String| Error::Connect { urls: config.nats.join(", "), why };
    let client = client.map_err(|_| failed("no answer".into()))?.map_err(|error| match error.kind() {
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => Error::NotAuthorised,
        _ => failed(with_source(&error)),
    })?;
    let info = client.server_info();
    if is_too_old(&info.version) {
        return Err(Error::TooOld(info.version));
    }
    let longest = info.max_payload;
    if longest < MAX_MESSAGE {
        return Err(Error::MessagesTooShort(longest));
    }
    let mut context = jetstream::new(client);
    context.set_timeout(DEADLINE);
    Ok((context, lost))
}

/// Whether a server has less than we use. What is no version that we know how to read may be newer.
fn is_too_old(version: &str) -> bool {
    let numbers = |version: &str| {
        let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
        Some((parts.next()??, parts.next()??))
    };
    numbers(version).is_some_and(|found| Some(found) < numbers(OLDEST))
}

/// The text of an error and of what caused it.
fn with_source(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text += &format!(": {more}");
        }
        source = error.source();
    }
    text
}

async fn make(
    context: &jetstream::Context,
    name: &'static str,
    max_age: Duration,
    replicas: u8,
) -> Result<Bucket, Error> {
    let config = stream::Config {
        name: format!("KV_{name}"),
        subjects: vec![format!("$KV.{name}.>")],
        max_messages_per_subject: 1,
        max_message_size: i32::try_from(MAX_MESSAGE).unwrap_or(i32::MAX),
        max_age,
        allow_rollup: true,
        discard: DiscardPolicy::New,
        num_replicas: replicas.into(),
        // Reads go to the leader: whoever reads back what he has written must find it.
        allow_direct: false,
        ..Default::default()
    };
    let failed = |why: String| Error::Bucket { bucket: name, why };
    let made = timeout(CONNECT_DEADLINE, context.create_stream(config)).await.map_err(|_| Error::Slow)?;
    let made = match made {
        Ok(made) => Ok(made),
        // It is there, with other settings: those that do not matter may differ.
        Err(error) => match error.kind() {
            CreateStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NAME_EXIST => {
                context.get_stream(format!("KV_{name}")).await.map_err(|error| failed(with_source(&error)))
            }
            CreateStreamErrorKind::JetStream(error)
                if error.error_code() != ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT
                    && error.error_code() != ErrorCode::JETSTREAM_NOT_ENABLED =>
            {
                Err(failed(error.to_string()))
            }
            _ => Err(Error::NoJetStream(with_source(&error))),
        },
    }?;
    is_as_configured(name, made.cached_info(), max_age)?;
    let store = timeout(CONNECT_DEADLINE, context.get_key_value(name)).await.map_err(|_| Error::Slow)?;
    let store = store.map_err(|error| failed(with_source(&error)))?;
    Ok(Bucket { name, store })
}

/// The server says what it took: an age that it did not would be a lease that never ends.
fn is_as_configured(name: &'static str, info: &stream::Info, max_age: Duration) -> Result<(), Error> {
    let taken = info.config.max_age;
    if taken == max_age {
        return Ok(());
    }
    let why = format!(
        "it keeps entries for {} s, not {} s; cluster.lease_s must be the same at all nodes, and to change it the bucket \
         is removed while no node runs (nats kv rm {name})",
        taken.as_secs(),
        max_age.as_secs()
    );
    Err(Error::Bucket { bucket: name, why })
}

impl Bucket {
    /// Writes, whoever has written before.
    ///
    /// # Errors
    /// It may not have been done.
    pub async fn put(&self, key: &str, value: Vec<u8>) -> Result<u64, Error> {
        let put = timeout(DEADLINE, self.store.put(key, value.into())).await.map_err(|_| Error::Slow)?;
        put.map_err(|error| self.failed(with_source(&error)))
    }

    /// Writes a key that must not exist.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn create(&self, key: &str, value: Vec<u8>) -> Result<u64, WriteError> {
        match timeout(DEADLINE, self.store.create(key, value.into())).await {
            Ok(Ok(revision)) => Ok(revision),
            Ok(Err(error)) if error.kind() == CreateErrorKind::AlreadyExists => Err(WriteError::Conflict),
            Ok(Err(error)) => Err(WriteError::Unknown(with_source(&error))),
            Err(_) => Err(WriteError::Unknown(Error::Slow.to_string())),
        }
    }

    /// Writes a key that must have this revision.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn update(&self, key: &str, value: Vec<u8>, revision: u64) -> Result<u64, WriteError> {
        match timeout(DEADLINE, self.store.update(key, value.into(), revision)).await {
            Ok(Ok(revision)) => Ok(revision),
            Ok(Err(error)) if error.kind() == UpdateErrorKind::WrongLastRevision => Err(WriteError::Conflict),
            Ok(Err(error)) => Err(WriteError::Unknown(with_source(&error))),
            Err(_) => Err(WriteError::Unknown(Error::Slow.to_string())),
        }
    }

    /// Deletes a key that must have this revision. What stays is a marker of its deletion, for those who watch.
    ///
    /// # Errors
    /// It may not have been done.
    pub async fn remove(&self, key: &str, revision: u64) -> Result<(), Error> {
        let removed = timeout(DEADLINE, self.store.delete_expect_revision(key, Some(revision))).await;
        removed.map_err(|_| Error::Slow)?.map_err(|error| self.failed(with_source(&error)))
    }

    /// Removes the marker of a deletion, which would stay for ever otherwise.
    ///
    /// # Errors
    /// It may still be there.
    pub async fn forget(&self, key: &str, marker: u64) -> Result<(), Error> {
        let subject = format!("$KV.{}.{key}", self.name);
        let purged =
            timeout(DEADLINE, async { self.store.stream.purge().filter(subject).sequence(marker + 1).await });
        purged.await.map_err(|_| Error::Slow)?.map(drop).map_err(|error| self.failed(with_source(&error)))
    }

    /// The present entry of a key.
    ///
    /// # Errors
    /// It is not known.
    pub async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        let entry = timeout(DEADLINE, self.store.entry(key)).await.map_err(|_| Error::Slow)?;
        let entry = entry.map_err(|error| self.failed(with_source(&error)))?;
        Ok(entry.filter(|entry| entry.operation == Operation::Put).map(Entry::from))
    }

    /// All entries, and a watch of what follows them.
    ///
    /// # Errors
    /// It cannot be listed.
    pub async fn list(&self) -> Result<(BTreeMap<String, Entry>, Watched), Error> {
        let state = self.state().await?;
        let watch = timeout(DEADLINE, self.store.watch_with_history(">")).await.map_err(|_| Error::Slow)?;
        let mut watch = watch.map_err(|error| self.failed(with_source(&error)))?;
        let mut entries = BTreeMap::new();
        let mut seen = state.last;
        // An empty bucket sends nothing, so there is no last entry to wait for.
        let mut pending = state.messages > 0;
        while pending {
            let next = timeout(DEADLINE, watch.next()).await.map_err(|_| Error::Slow)?;
            let entry = next.ok_or(Error::Lost)?.map_err(|error| self.failed(with_source(&error)))?;
            // What the bucket had before the watch began has come, whatever NATS says is still to come: when an entry is overwritten in
            // the moment in which a consumer is made, nats-server 2.9.10 counts it as pending for ever.
            pending = entry.delta > 0 && entry.revision < state.last;
            seen = seen.max(entry.revision);
            let entry = Entry::from(entry);
            entries.insert(entry.key.clone(), entry);
        }
        entries.retain(|_, entry| entry.value.is_some());
        Ok((entries, Watched { name: self.name, watch, seen, expected: seen, born: state.born }))
    }

    async fn state(&self) -> Result<State, Error> {
        let info = timeout(DEADLINE, self.store.stream.get_info()).await.map_err(|_| Error::Slow)?;
        let info = info.map_err(|error| self.failed(with_source(&error)))?;
        let born = info.created.unix_timestamp_nanos();
        Ok(State { last: info.state.last_sequence, messages: info.state.messages, born })
    }

    fn failed(&self, why: String) -> Error {
        Error::Bucket { bucket: self.name, why }
    }
}

struct State {
    last: u64,
    messages: u64,
    born: i128,
}

impl From<async_nats::jetstream::kv::Entry> for Entry {
    fn from(entry: async_nats::jetstream::kv::Entry) -> Self {
        let value = (entry.operation == Operation::Put).then_some(entry.value);
        Self { key: entry.key, value, revision: entry.revision }
    }
}

/// A watch of a bucket, which is proven to hear.
pub struct Watched {
    name: &'static str,
    watch: Watch,
    /// The newest revision that was delivered.
    seen: u64,
    /// What the bucket had when it was last asked.
    expected: u64,
    /// When the bucket was made: another one counts its revisions anew.
    born: i128,
}

impl Watched {
    /// When the bucket was made: names it among all that have been, or will be, in its place.
    pub fn born(&self) -> String {
        self.born.to_string()
    }

    /// The next entry. Cancel safe.
    ///
    /// # Errors
    /// The watch has ended.
    pub async fn next(&mut self) -> Result<Entry, Error> {
        let entry = self.watch.next().await.ok_or(Error::Lost)?;
        let entry = entry.map_err(|error| Error::Bucket { bucket: self.name, why: with_source(&error) })?;
        self.seen = self.seen.max(entry.revision);
        Ok(entry.into())
    }

    /// Checks that what the bucket had at the last check has come since, and asks what it has now.
    ///
    /// # Errors
    /// It is deaf, the bucket is another one, or NATS does not answer.
    pub async fn check(&mut self, bucket: &Bucket) -> Result<(), Error> {
        if self.seen < self.expected {
            return Err(Error::Deaf(self.name));
        }
        let state = bucket.state().await?;
        if state.born != self.born {
            return Err(Error::Deaf(self.name));
        }
        self.expected = state.last;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        for (version, too_old) in [
            ("2.8.4", true),
            ("1.4.1", true),
            ("2.9.10", false),
            ("2.10.0-beta.1", false),
            ("3.0.0", false),
            ("3", false),
            ("", false),
        ] {
            assert_eq!(is_too_old(version), too_old, "{version}");
        }
    }
}
