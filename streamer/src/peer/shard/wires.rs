//! Media sockets of peers: what carries media and messages while a connection is not up.

use std::collections::BTreeMap;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};

use super::{LIMITS_INTERVAL, Member, Place, Shard};
use crate::peer::wire::{Message, Wire};
use crate::peer::{Attachment, Key, Report};

/// What to poll.
pub(super) fn poll_fds(peers: &BTreeMap<Key, Member>) -> impl Iterator<Item = PollFd<'_>> {
    let wires = peers.values().filter_map(|entry| match &entry.place {
        Place::Here(peer) => peer.wire(),
        // Its frames wait until it is back.
        Place::Away(_) => None,
    });
    wires.map(|wire| {
        let (fd, blocked) = wire.poll();
        let waits = if blocked { PollFlags::OUT } else { PollFlags::empty() };
        PollFd::from_borrowed_fd(fd, PollFlags::IN | waits)
    })
}

/// Takes the results of `poll`, in the same order.
pub(super) fn polled(peers: &mut BTreeMap<Key, Member>, said: impl Iterator<Item = PollFlags>) {
    let wired = peers.values_mut().filter_map(Member::here).filter(|peer| peer.wire().is_some());
    for (peer, flags) in wired.zip(said) {
        // A failed socket reports its error when it is read.
        let readable = flags.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR);
        peer.polled_wire(readable, flags.contains(PollFlags::OUT));
    }
}

impl Shard {
    /// A peer has a media socket.
    pub(super) fn attach(&mut self, now: Instant, key: Key, attachment: Attachment) {
        let Attachment { stream, codecs } = attachment;
        let wire = match Wire::new(now, stream, codecs) {
            Ok(wire) => wire,
            Err(error) => return tracing::debug!(%error, "a media socket is not taken"),
        };
        let news = self.with(key, |peer, cx| (peer.attach(now, wire, cx), peer.id, peer.state()));
        if let Some((begins, peer, state)) = news {
            if begins {
                self.reports.send(Report::State { peer, state });
            }
            self.reports.send(Report::Listening { peer });
        }
        self.report_slots();
    }

    /// Takes what has come by media sockets, and writes what they have room for.
    pub(super) fn take_wires(&mut self) {
        let is_due = |entry: &Member| match &entry.place {
            Place::Here(peer) => peer.wire().is_some_and(Wire::is_due),
            Place::Away(_) => false,
        };
        let keys: Vec<Key> =
            self.peers.iter().filter(|(_, entry)| is_due(entry)).map(|(key, _)| *key).collect();
        for key in keys {
            self.take_wire(Instant::now(), key);
        }
    }

    fn take_wire(&mut self, now: Instant, key: Key) {
        let Some(entry) = self.peers.get(&key) else { return };
        let _entered = entry.span.clone().entered();
        let mut messages = std::mem::take(&mut self.by_wire);
        let goes_on = self.with(key, |peer, _| peer.receive_by_wire(now, &mut messages));
        for Message { channel, bytes } in messages.drain(..) {
            self.message(now, key, channel, &bytes);
        }
        self.by_wire = messages;
        if goes_on == Some(false) {
            self.detach(now, key);
        }
        self.with(key, |peer, cx| {
            peer.resume(now, cx);
            if peer.is_limited() {
                peer.choose_layers(now, cx);
            }
        });
        if self.peers.get_mut(&key).and_then(Member::here).is_some_and(|peer| peer.is_limited()) {
            self.limits_due.get_or_insert(now + LIMITS_INTERVAL);
        }
        self.after_input(now, key);
    }

    fn detach(&mut self, now: Instant, key: Key) {
        let news = self.with(key, |peer, cx| (peer.detach(now, cx), peer.id, peer.state()));
        if let Some((true, peer, state)) = news {
            // What it holds is released by its deadline, unless it is back before.
            tracing::debug!("the media socket is lost, and there is no connection");
            self.reports.send(Report::State { peer, state });
        }
        self.report_slots();
    }
}
