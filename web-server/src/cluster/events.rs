//! What happens to streamers, told among nodes: each publishes what happens to its own, and hears what the others publish, so that
//! whoever listens at any node is told of all.
//!
//! NATS delivers such a message once or not at all. Each has a number, so that a gap is noticed, and who listens is told that events were
//! missed; so it is after each time in which NATS could not be reached.

use std::collections::BTreeMap;

use async_nats::Message;
use common::event::StreamerEvent;
use common::signal::Role;
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};

use super::Cluster;
use super::nats::{Error, Nats};
use super::records::{self, Record, id_of, key_of};
use crate::registry::Handle;
use crate::registry::events::{After, Interest, News, PAGE, Position, Whose};

/// What a node is told of itself is in its log already.
const OURS: Interest = Interest { of: None, role: Role::Controller, whose: Whose::Ours };

/// One message of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// Tells one run of the web-server from the next.
    epoch: u32,
    /// Counts the messages of that run, from 1.
    seq: u64,
    /// Events before these are lost.
    #[serde(default)]
    missed: bool,
    /// In order.
    events: Vec<StreamerEvent>,
}

impl Record for Told {
    fn check(&self, _: &str) -> Result<(), String> {
        match self.events.len() {
            0..=PAGE => Ok(()),
            more => Err(format!("it tells {more} events, and {PAGE} are the most")),
        }
    }
}

/// How far each node was heard. Pure.
#[derive(Debug, Default)]
struct Heard(BTreeMap<String, (u32, u64)>);

impl Heard {
    /// What is new in a message of a node.
    fn take(&mut self, node: &str, told: Told) -> Vec<News> {
        let Told { epoch, seq, missed, events } = told;
        let last = self.0.insert(node.to_owned(), (epoch, seq));
        let gap = match last {
            // What it told before we listened, nobody here has missed.
            None => false,
            Some((before, last)) if before == epoch => seq != last + 1,
            Some(_) => seq != 1,
        };
        let gap = (gap || missed).then_some(News::Gap);
        gap.into_iter().chain(events.into_iter().map(News::Event)).collect()
    }
}

/// The exchange with other nodes, over all connections to NATS.
#[derive(Debug)]
pub struct Exchange {
    epoch: u32,
    /// Of the last message.
    seq: u64,
    /// Up to where ours were told; `None` before the first connection.
    told: Option<Position>,
    heard: Heard,
}

impl Default for Exchange {
    fn default() -> Self {
        // Without randomness, a gap after a restart may not be noticed.
        Self { epoch: getrandom::u32().unwrap_or_default(), seq: 0, told: None, heard: Heard::default() }
    }
}

impl Exchange {
    /// Tells and hears for as long as a connection lasts.
    ///
    /// # Errors
    /// It cannot be listened to.
    pub async fn run(&mut self, cluster: &Cluster, nats: &Nats, registry: &Handle) -> Result<(), Error> {
        let mut messages = nats.listen().await?;
        let mut latest = registry.latest_event();
        let again = self.told.is_some();
        if again {
            // Neither side knows what the other could not be told.
            self.heard = Heard::default();
            registry.hear(vec![News::Gap]).await;
        }
        self.tell(cluster, nats, registry, again).await?;
        loop {
            tokio::select! {
                message = messages.next() => match message {
                    Some(message) => self.hear(cluster, registry, &message).await,
                    None => return Err(Error::Lost),
                },
                changed = latest.changed() => match changed {
                    Ok(()) => self.tell(cluster, nats, registry, false).await?,
                    // The server ends.
                    Err(_) => return Ok(()),
                },
                () = nats.lost.cancelled() => return Err(Error::Lost),
            }
        }
    }

    /// Tells the others what has happened here since the last time.
    async fn tell(
        &mut self,
        cluster: &Cluster,
        nats: &Nats,
        registry: &Handle,
        mut missed: bool,
    ) -> Result<(), Error> {
        loop {
            let after = self.told.map_or(After::Now, After::Position);
            // The registry has ended, and the server is about to.
            let Ok(page) = registry.events(after, OURS).await else { return Ok(()) };
            missed |= page.missed;
            let events = page.events.iter().map(|(_, event)| (**event).clone());
            // A copy that is older than another node's: that one tells.
            let events: Vec<_> =
                events.filter(|event| cluster.elsewhere(&event.streamer).is_none()).collect();
            if missed || !events.is_empty() {
                self.publish(cluster, nats, missed, events).await?;
                missed = false;
            }
            self.told = Some(page.next);
            if !page.more {
                return Ok(());
            }
        }
    }

    async fn publish(
        &mut self,
        cluster: &Cluster,
        nats: &Nats,
        missed: bool,
        events: Vec<StreamerEvent>,
    ) -> Result<(), Error> {
        self.seq += 1;
        let name = key_of(cluster.name());
        let told = Told { epoch: self.epoch, seq: self.seq, missed, events };
        let sealed = records::write(&cluster.0.keys, &name, &told).or_else(|error| {
            tracing::warn!(%error, "events are not told to other nodes");
            records::write(&cluster.0.keys, &name, &Told { missed: true, events: Vec::new(), ..told })
        });
        nats.tell(&name, sealed.map_err(|error| Error::Unknown(error.to_string()))?).await
    }

    async fn hear(&mut self, cluster: &Cluster, registry: &Handle, message: &Message) {
        let name = message.subject.rsplit('.').next().unwrap_or_default();
        let node = id_of(name);
        if node == cluster.name() {
            return;
        }
        match records::read::<Told>(&cluster.0.keys, name, &message.payload) {
            Ok(told) => registry.hear(self.heard.take(&node, told)).await,
            Err(error) => tracing::warn!(node, %error, "events of a node are ignored"),
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use common::event::Happening;
    use common::id::StreamerId;

    use super::*;
    use crate::cluster::seal::Keys;

    fn told(epoch: u32, seq: u64, events: usize) -> Told {
        let event = StreamerEvent {
            at: DateTime::UNIX_EPOCH,
            streamer: StreamerId::parse("x").unwrap(),
            what: Happening::Created,
        };
        Told { epoch, seq, missed: false, events: vec![event; events] }
    }

    /// `-` for a gap, `e` for an event.
    fn shape(news: &[News]) -> String {
        news.iter().map(|news| if matches!(news, News::Gap) { '-' } else { 'e' }).collect()
    }

    #[test]
    fn a_gap_in_the_numbers_of_a_node_is_told_before_what_follows() {
        let mut heard = Heard::default();
        for (node, message, expected) in [
            ("a", told(1, 5, 2), "ee"),
            ("b", told(9, 1, 1), "e"),
            ("a", told(1, 6, 1), "e"),
            ("a", told(1, 8, 1), "-e"),
            ("a", Told { missed: true, ..told(1, 9, 1) }, "-e"),
            ("a", Told { missed: true, ..told(1, 10, 0) }, "-"),
            // It was restarted: of its first message nothing is missing.
            ("a", told(2, 1, 1), "e"),
            ("b", told(8, 2, 1), "-e"),
        ] {
            assert_eq!(shape(&heard.take(node, message.clone())), expected, "{node} {message:?}");
        }
    }

    #[test]
    fn a_message_is_read_as_it_was_written_and_bounded() {
        let keys = Keys::derive("k");
        let message = told(1, 2, 3);
        let sealed = records::write(&keys, "a", &message).unwrap();
        assert_eq!(records::read::<Told>(&keys, "a", &sealed).unwrap(), message);
        assert!(records::read::<Told>(&keys, "b", &sealed).is_err(), "it is of another node");
        let sealed = records::write(&keys, "a", &told(1, 2, PAGE + 1)).unwrap();
        assert!(records::read::<Told>(&keys, "a", &sealed).is_err());
    }
}
