//! Handles what arrives on a shard's sockets.

use std::time::Instant;

use common::api::{PeerState, Transport};
use common::input::Actor;

use super::{LIMITS_INTERVAL, Member, Place, Shard, schedule};
use crate::peer::connection::{Channel, ConnectionEvent};
use crate::peer::messages::{self, Order};
use crate::peer::tcp::Arrived;
use crate::peer::{Key, Path, Report};

impl Shard {
    pub(super) fn take_datagrams(&mut self) {
        // The sockets are borrowed while they are read, so what arrives is copied out first.
        let mut inbox = std::mem::take(&mut self.inbox);
        inbox.clear();
        self.sockets.receive(|datagram| inbox.push(&datagram));
        for (path, data) in inbox.iter() {
            if let Some(key) = self.routes.find(path.remote, data) {
                self.datagram(Instant::now(), key, path, data);
            }
        }
        self.inbox = inbox;
    }

    /// Takes new TCP connections of peers, and packets of existing ones.
    pub(super) fn take_connections(&mut self) {
        while let Some(handed) = self.handed.as_ref().and_then(|handed| handed.try_recv().ok()) {
            // The peer is gone: the connection is dropped.
            let Some(key) = self.routes.named(&handed.packet) else { continue };
            match self.sockets.tcp().add(key, handed.stream) {
                Ok(path) => self.datagram(Instant::now(), key, path, &handed.packet),
                Err(error) => tracing::debug!(%error, "a TCP connection of a peer's is not taken"),
            }
        }
        let mut arrived = std::mem::take(&mut self.arrived);
        self.sockets.tcp().receive(&mut arrived);
        for Arrived { owner, path, data } in arrived.drain(..) {
            self.datagram(Instant::now(), owner, path, &data);
        }
        self.arrived = arrived;
    }

    pub(super) fn datagram(&mut self, now: Instant, key: Key, path: Path, data: &[u8]) {
        let Some(entry) = self.peers.get_mut(&key) else { return };
        let _entered = entry.span.clone().entered();
        match &mut entry.place {
            Place::Here(peer) => {
                peer.connection().receive(now, path, data);
                self.after_input(now, key);
            }
            Place::Away(away) => away.keep_datagram(path, data),
        }
    }

    /// To be called after every input to a peer: handles its events, sends its datagrams, sets its timer.
    pub(super) fn after_input(&mut self, now: Instant, key: Key) {
        let mut events = std::mem::take(&mut self.events);
        if let Some(peer) = self.peers.get_mut(&key).and_then(Member::here) {
            peer.poll(now, &mut events);
            for pictured in peer.take_pictured() {
                self.reports.send(Report::Pictured { peer: peer.id, pictured });
            }
            if let Some(speaking) = peer.take_speaking() {
                self.reports.send(Report::Speaking { peer: peer.id, speaking });
            }
        }
        for event in events.drain(..) {
            self.event(now, key, event);
        }
        self.events = events;
        let Some(entry) = self.peers.get_mut(&key) else { return };
        if let Place::Here(peer) = &mut entry.place {
            peer.transmit(&mut self.sockets, |path, data| {
                // Packets of a TCP connection belong to the peer that owns it.
                if path.transport != Transport::Tcp {
                    self.routes.sent(key, path.remote, data);
                }
            });
            schedule(&mut self.timers, key, peer);
        }
    }

    fn event(&mut self, now: Instant, key: Key, event: ConnectionEvent) {
        let Some(peer) = self.peers.get_mut(&key).and_then(Member::here) else { return };
        let id = peer.id;
        match event {
            ConnectionEvent::Connected => {
                peer.connected(now, &mut self.context);
                self.reports.send(Report::State { peer: id, state: PeerState::Connected });
                self.report_slots();
            }
            ConnectionEvent::Lost => self.lost(now, key),
            ConnectionEvent::Closed(reason) => {
                if !peer.outlives_connection(now, &mut self.context) {
                    self.remove(key, reason);
                }
            }
            ConnectionEvent::Open(Channel::General) => self.reports.send(Report::Listening { peer: id }),
            ConnectionEvent::Open(_) => {}
            ConnectionEvent::Message(channel, bytes) => self.message(now, key, channel, &bytes),
            ConnectionEvent::Feedback(feedback) => {
                peer.feedback(now, feedback, &mut self.context);
                if peer.is_restarting() {
                    // At once: what it waits for is not encoded before.
                    self.limits_due = Some(now);
                } else if peer.is_limited() {
                    self.limits_due.get_or_insert(now + LIMITS_INTERVAL);
                }
            }
        }
    }

    /// Nothing comes from a peer by its connection any more.
    pub(super) fn lost(&mut self, now: Instant, key: Key) {
        let Some(peer) = self.peers.get_mut(&key).and_then(Member::here) else { return };
        if !peer.is_connected() {
            return;
        }
        peer.lost(now, &mut self.context);
        let (id, state) = (peer.id, peer.state());
        self.reports.send(Report::State { peer: id, state: PeerState::Lost });
        if state == PeerState::Connected {
            // Its media socket takes over.
            self.reports.send(Report::State { peer: id, state });
        }
        self.report_slots();
    }

    pub(super) fn message(&mut self, now: Instant, key: Key, channel: Channel, bytes: &[u8]) {
        let Some(peer) = self.peers.get_mut(&key).and_then(Member::here) else { return };
        let taken = match channel {
            Channel::MultiWebrtc(channel) => {
                messages::take_translated(now, peer, &self.control, (channel, bytes), self.first_size)
            }
            channel => messages::take(now, peer, &self.control, self.context.clock, (channel, bytes)),
        };
        match taken {
            Ok(None) => {}
            Ok(Some(Order::Keys(message))) => {
                let by = Actor::Peer(peer.id);
                if self.input.keys(by, message).is_err() {
                    peer.refuse(now, channel, "busy", "input comes faster than the session takes it");
                }
            }
            // The next motion repairs one that is dropped.
            Ok(Some(Order::Motion(message))) => {
                self.input.motion(Actor::Peer(peer.id), message);
            }
            Ok(Some(Order::Report(told))) => self.reports.send(told),
            Err(refused) => peer.refuse(now, channel, refused.code, &refused.message),
        }
    }
}
