//! Carries out the control loop's commands.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::TryRecvError;
use std::time::Instant;

use common::control::Control;
use common::id::{PeerId, SlotIndex};
use common::input::Actor;
use common::signal::Role;

use super::{PER_TURN, Place, Shard, schedule};
use crate::peer::away::Deferred;
use crate::peer::peer::{Context, Peer};
use crate::peer::publishing::Outlet;
use crate::peer::{Audience, Binding, Command, FeedId, Key, PeerCommand, Report};

impl Shard {
    /// Breaks when the shard is to end.
    pub(super) fn take_commands(&mut self) -> ControlFlow<()> {
        for taken in 1.. {
            match self.commands.try_recv() {
                Ok(command) => self.command(Instant::now(), command)?,
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return ControlFlow::Break(()),
            }
            if taken == PER_TURN {
                // More may wait: come back at once after the media.
                self.wake.wake();
                break;
            }
        }
        ControlFlow::Continue(())
    }

    /// Breaks when the shard is to end.
    fn command(&mut self, now: Instant, command: Command) -> ControlFlow<()> {
        match command {
            Command::Join { peer, role, srtp, begin } => self.join(peer, role, srtp, begin),
            Command::Answer { peer, sdp } => self.for_peer(peer, |shard, key| shard.answer(key, sdp)),
            Command::Peer { peer, command } => {
                self.for_peer(peer, |shard, key| shard.peer_command(now, key, command));
            }
            Command::Remove { peer, reason } => self.for_peer(peer, |shard, key| shard.remove(key, &reason)),
            Command::AddFeed { feed, demand } => self.context.feeds.add(feed, demand),
            Command::RemoveFeed { feed } => self.context.feeds.remove(feed),
            Command::FeedOnline { feed, online } => {
                self.context.feeds.set_online(feed, online);
                if !online {
                    for key in self.keys() {
                        self.offline(key, feed);
                    }
                }
                self.report_slots();
            }
            Command::Bind { slot, binding, size } => {
                if let Some(bound) = self.bindings.get_mut(usize::from(slot)) {
                    *bound = binding;
                }
                if slot == 0 {
                    self.first_size = size;
                }
                for key in self.keys() {
                    self.bind(now, key, slot, binding);
                }
                self.report_slots();
            }
            Command::Control(control) => self.set_control(control),
            Command::Say { to, text } => self.say_to_all(now, &to, &text),
            Command::Stats => self.stats(),
            Command::Stop => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    /// Does something for one peer, within its span. Nothing when the peer is gone.
    fn for_peer(&mut self, id: PeerId, act: impl FnOnce(&mut Self, Key)) {
        let Some(key) = self.keys_by_id.get(&id).copied() else { return };
        let Some(entry) = self.peers.get(&key) else { return };
        let _entered = entry.span.clone().entered();
        act(self, key);
        self.report_slots();
    }

    /// Releases what peers hold that may not steer any more.
    fn set_control(&mut self, control: Control) {
        for id in self.keys_by_id.keys().copied() {
            if self.control.admits(id) && !control.admits(id) {
                self.input.gone(Actor::Peer(id));
            }
        }
        self.control = control;
    }

    /// Tells one peer that the source of a feed is lost.
    fn offline(&mut self, key: Key, feed: FeedId) {
        match self.peers.get_mut(&key).map(|entry| &mut entry.place) {
            Some(Place::Here(peer)) => peer.offline(feed),
            Some(Place::Away(_)) => self.keep(key, Deferred::Offline(feed)),
            None => {}
        }
    }

    /// Tells one peer that what a slot shows to everybody has changed.
    fn bind(&mut self, now: Instant, key: Key, slot: SlotIndex, binding: Option<Binding>) {
        match self.peers.get_mut(&key).map(|entry| &mut entry.place) {
            Some(Place::Here(peer)) => {
                peer.bind(now, slot, binding, &mut self.context);
                peer.transmit(&mut self.sockets, |_, _| {});
                self.offer_if_due(key);
            }
            Some(Place::Away(_)) => self.keep(key, Deferred::Bind { slot, binding }),
            None => {}
        }
    }

    /// Carries out a command that came while the peer was away.
    pub(super) fn deferred(&mut self, now: Instant, key: Key, command: Deferred) {
        match command {
            Deferred::Peer(command) => self.peer_command(now, key, command),
            Deferred::Bind { slot, binding } => self.bind(now, key, slot, binding),
            Deferred::Offline(feed) => self.offline(key, feed),
        }
    }

    fn peer_command(&mut self, now: Instant, key: Key, command: PeerCommand) {
        let Some(entry) = self.peers.get(&key) else { return };
        let id = entry.id;
        if matches!(command, PeerCommand::SetRole(role) if role < Role::Controller) {
            // At once, also for a peer that is away: a peer that may not steer must not hold anything.
            self.input.gone(Actor::Peer(id));
        }
        if matches!(entry.place, Place::Away(_)) {
            return self.keep(key, Deferred::Peer(command));
        }
        let refused = match command {
            PeerCommand::Patch(patch) => return self.patch(now, key, patch),
            PeerCommand::Candidate { candidate, mid, index } => self
                .with(key, |peer, _| {
                    let added = peer.connection().add_candidate(candidate, mid, index);
                    added.err().map(|error| ("bad_candidate", error.to_string()))
                })
                .flatten(),
            PeerCommand::Pause { slot, paused } => {
                self.with_slot(key, slot, |peer, cx| peer.pause(now, slot, paused, cx))
            }
            PeerCommand::Switch { slot, own } => {
                let followed = self.bindings.get(usize::from(slot)).copied().flatten();
                self.with_slot(key, slot, |peer, cx| peer.switch(now, slot, own, followed, cx))
            }
            PeerCommand::Keyframe { slot } => {
                self.with_slot(key, slot, |peer, cx| peer.request_keyframe(now, slot, cx))
            }
            PeerCommand::RestartIce => self.restart_ice(now, key),
            PeerCommand::ReportSlots => {
                self.with(key, |peer, _| peer.forget_told());
                None
            }
            PeerCommand::SetRole(role) => {
                self.with(key, |peer, _| peer.role = role);
                None
            }
            PeerCommand::SetMaxBitrate(kbps) => {
                self.with(key, |peer, _| peer.set_max_bitrate(kbps));
                self.limits_due = Some(now);
                None
            }
            PeerCommand::TakeMix(feed) => {
                self.with(key, |peer, cx| peer.take_mix(feed, cx));
                None
            }
            PeerCommand::Attach(attachment) => {
                self.attach(now, key, attachment);
                None
            }
            PeerCommand::AllowPublishing => {
                self.with(key, |peer, _| peer.allow_publishing());
                None
            }
            PeerCommand::Publish(outlet) => {
                self.publish(now, key, *outlet);
                None
            }
            PeerCommand::Unpublish(kind) => {
                self.with(key, |peer, _| peer.unpublish(kind));
                self.follow_published(key);
                None
            }
        };
        if let Some((code, message)) = refused {
            self.reports.send(Report::Refused { peer: id, code, message });
        }
        self.offer_if_due(key);
        self.after_input(now, key);
    }

    /// Publishes something that a peer sends.
    pub(super) fn publish(&mut self, now: Instant, key: Key, outlet: Outlet) {
        let Some(peer) = self.peers.get(&key).map(|entry| entry.id) else { return };
        let kind = outlet.kind;
        if self.with(key, |peer, cx| peer.publish(now, outlet, cx)) == Some(false) {
            self.reports.send(Report::Unpublishable { peer, kind });
        }
        self.follow_published(key);
        self.take_wishes(key);
    }

    /// Acts on a slot of a peer; `act` says whether there is such a slot. Returns the refusal if there is none.
    fn with_slot(
        &mut self,
        key: Key,
        slot: SlotIndex,
        act: impl FnOnce(&mut Peer, &mut Context) -> bool,
    ) -> Option<(&'static str, String)> {
        let known = self.with(key, act)?;
        (!known).then(|| ("slot_not_found", format!("there is no slot {slot}")))
    }

    fn say_to_all(&mut self, now: Instant, to: &Audience, text: &Arc<str>) {
        for key in self.keys() {
            self.say(now, key, to, text);
        }
    }

    pub(super) fn say(&mut self, now: Instant, key: Key, to: &Audience, text: &Arc<str>) {
        let Some(entry) = self.peers.get_mut(&key) else { return };
        let peer = match &mut entry.place {
            Place::Here(peer) => peer,
            Place::Away(away) => return away.keep_text(entry.id, to, text),
        };
        if to.includes(peer.id, peer.role) && peer.say(now, text) {
            peer.transmit(&mut self.sockets, |_, _| {});
            schedule(&mut self.timers, key, peer);
        }
    }
}
