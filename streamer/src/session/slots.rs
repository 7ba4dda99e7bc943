//! What slots show: to everybody, and to peers that have chosen for themselves.
//!
//! Binding, switching and clearing never touch a peer connection: they are a message to the peers and another
//! feed for their slot writers.

use common::id::{MAIN_SOURCE, PeerId, SlotIndex, SourceName};
use common::input::Actor;
use common::ipc::{Code, Json, RequestError, StreamerIpcMessage};
use common::signal::{ServerMessage, SlotState, StreamInfo};
use common::slots::{BindSlot, SlotConfig, SlotSource};
use common::spec::{CursorMode, SourceSpec, hide_addresses};

use super::sources::{Life, Shown, Waiter};
use super::{Now, Session};
use crate::input::{self, Target, TargetChoice};
use crate::link::ReplyTo;
use crate::peer::{Command, PeerCommand, SlotChoice, negotiate};

/// A slot that shows something to everybody.
pub struct Bound {
    /// What.
    pub shown: Shown,
    /// As it was told.
    pub info: StreamInfo,
}

/// Why something cannot be shown.
enum Unshowable {
    /// There is no such stream.
    NotFound,
    /// The process is out of descriptors.
    Failed(std::io::Error),
}

impl Session {
    /// `POST …/slots` and `PUT …/slots/{n}`.
    pub(super) fn bind_slot(
        &mut self,
        now: Now,
        to: ReplyTo<Json<StreamInfo>>,
        slot: Option<SlotIndex>,
        bind: BindSlot,
    ) {
        let bound = self.choose_slot(slot).and_then(|slot| {
            let shown = self.what_to_show(slot, bind)?;
            self.prepare(&shown).map_err(|error| failed(&error))?;
            Ok((slot, shown))
        });
        let (slot, shown) = match bound {
            Ok(bound) => bound,
            Err(error) => return self.effects.refuse(to, error),
        };
        let Some(entry) = self.sources.get_mut(&shown.source) else { return };
        entry.retry();
        // What comes from elsewhere may be long in coming: the slot is theirs already, and shows its state.
        if entry.is_running() || !entry.has_frames() {
            self.show(slot, shown);
            self.reply_bound(to, slot);
        } else {
            entry.waiting.push(Waiter::Slot { to, slot, shown });
        }
        self.update_sources(now);
    }

    pub(super) fn choose_slot(&self, slot: Option<SlotIndex>) -> Result<SlotIndex, RequestError> {
        let Some(slot) = slot else {
            let kept = |slot: &SlotIndex| self.slots.contains_key(slot) || self.is_reserved(*slot);
            return (0..self.spec.slots).find(|slot| !kept(slot)).ok_or_else(|| {
                let message = format!("all {} slots of this streamer are in use", self.spec.slots);
                RequestError::new(Code::NoFreeSlot, message)
            });
        };
        self.check_slot(slot)?;
        if self.is_reserved(slot) {
            let message = format!("slot {slot} is about to show something");
            return Err(RequestError::new(Code::SlotBusy, message));
        }
        Ok(slot)
    }

    pub(super) fn check_slot(&self, slot: SlotIndex) -> Result<(), RequestError> {
        if slot < self.spec.slots {
            return Ok(());
        }
        let message = format!("there is no slot {slot}; this streamer has {}", self.spec.slots);
        Err(RequestError::new(Code::SlotNotFound, message))
    }

    /// True while something that is to be shown in a slot comes up.
    fn is_reserved(&self, slot: SlotIndex) -> bool {
        let waits = |waiter: &Waiter| matches!(waiter, Waiter::Slot { slot: kept, .. } if *kept == slot);
        self.sources.all().values().any(|entry| entry.waiting.iter().any(waits))
    }

    fn what_to_show(&mut self, slot: SlotIndex, bind: BindSlot) -> Result<Shown, RequestError> {
        let BindSlot { source, quality } = bind;
        let name = match source {
            SlotSource::Name(name) => name,
            SlotSource::Spec(spec) => self.new_source(slot, spec)?,
        };
        self.sources.resolve(&name, &quality).ok_or_else(|| {
            RequestError::new(Code::StreamNotFound, not_found(&name, &quality)).with_field("source")
        })
    }

    /// A source for a slot. A window that is shown elsewhere is not shown twice.
    fn new_source(&mut self, slot: SlotIndex, spec: SourceSpec) -> Result<SourceName, RequestError> {
        spec.validate().map_err(|error| {
            RequestError::new(Code::InvalidSource, error.to_string()).with_field(error.field)
        })?;
        let name = match &spec {
            SourceSpec::Window(window) => {
                let on_desktop = self.sources.main().and_then(|main| main.running()?.windows());
                if on_desktop.is_none() {
                    let message = "this streamer has no desktop that windows could be on";
                    return Err(RequestError::new(Code::NoDesktop, message));
                }
                let name = format!("window-{}", window.window_id);
                let elsewhere =
                    self.slots.iter().find(|(at, bound)| **at != slot && bound.shown.source == name);
                let elsewhere = elsewhere.map(|(at, _)| *at);
                let coming = self.sources.get(&name).is_some_and(|entry| !entry.waiting.is_empty());
                if elsewhere.is_some() || coming {
                    let at = elsewhere.map_or(String::new(), |at| format!(" in slot {at}"));
                    let message = format!("window {} is shared already{at}", window.window_id);
                    return Err(RequestError::new(Code::AlreadyShared, message));
                }
                name
            }
            other => {
                let taken = |n: &u32| self.sources.get(&format!("{}-{n}", other.kind())).is_some();
                let free = (1..).find(|n| !taken(n)).unwrap_or(0);
                format!("{}-{free}", other.kind())
            }
        };
        if self.sources.get(&name).is_none() {
            self.add_source(name.clone(), spec, true).map_err(|error| failed(&error))?;
        }
        Ok(name)
    }

    /// Shows something in a slot to everybody. What it is and its feed have been found before.
    pub(super) fn show(&mut self, slot: SlotIndex, shown: Shown) {
        let Some(info) = self.stream_info(slot, &shown) else { return };
        let binding = self.sources.binding(&shown);
        let size = size(&info);
        self.slots.insert(slot, Bound { shown, info: info.clone() });
        self.command_all(|| Command::Bind { slot, binding, size });
        let target = self.input_target(slot);
        self.effects.input(input::Event::Bind(slot, target));
        self.slots_changed();
        self.effects.broadcast(ServerMessage::StreamActivated { stream_info: info });
        for text in self.cursor_messages() {
            self.command_all(|| Command::Say { to: crate::peer::Audience::All, text: text.clone() });
        }
    }

    pub(super) fn reply_bound(&mut self, to: ReplyTo<Json<StreamInfo>>, slot: SlotIndex) {
        let result = self.slots.get(&slot).map(|bound| Json(bound.info.clone()));
        self.effects
            .reply(to, result.ok_or_else(|| RequestError::new(Code::SourceFailed, "the source is gone")));
    }

    /// `DELETE …/slots/{n}`.
    pub(super) fn clear_slot(&mut self, now: Now, slot: SlotIndex) -> Result<(), RequestError> {
        self.check_slot(slot)?;
        self.clear(slot, None);
        self.fill_slots(now);
        self.update_sources(now);
        Ok(())
    }

    fn clear(&mut self, slot: SlotIndex, reason: Option<String>) {
        let Some(bound) = self.slots.remove(&slot) else { return };
        self.command_all(|| Command::Bind { slot, binding: None, size: (0, 0) });
        self.effects.input(input::Event::Bind(slot, None));
        self.slots_changed();
        self.effects.broadcast(ServerMessage::StreamDeactivated { track_id: bound.info.track_id, reason });
    }

    /// Clears every slot that shows a source; peers that have chosen it see again what everybody does.
    pub(super) fn clear_all_of(&mut self, name: &str, reason: &str) {
        let of = |(slot, bound): (&SlotIndex, &Bound)| (bound.shown.source == name).then_some(*slot);
        for slot in self.slots.iter().filter_map(of).collect::<Vec<_>>() {
            self.clear(slot, Some(reason.to_owned()));
        }
        for (peer, slot) in self.peers.showing(name) {
            self.follow(peer, slot);
        }
    }

    /// A source has another size, title or codec: whoever sees it is told, and slot writers may need another payload type.
    pub(super) fn source_changed(&mut self, name: &str) {
        let of = |(slot, bound): (&SlotIndex, &Bound)| (bound.shown.source == name).then_some(*slot);
        let slots: Vec<_> = self.slots.iter().filter_map(of).collect();
        let mut changed = false;
        for slot in slots {
            let Some(shown) = self.slots.get(&slot).map(|bound| bound.shown.clone()) else { continue };
            let Some(info) = self.stream_info(slot, &shown) else { continue };
            let binding = self.sources.binding(&shown);
            let size = size(&info);
            self.command_all(|| Command::Bind { slot, binding, size });
            let Some(bound) = self.slots.get_mut(&slot).filter(|bound| bound.info != info) else { continue };
            bound.info = info.clone();
            changed = true;
            self.effects.broadcast(ServerMessage::StreamUpdated { stream_info: info });
        }
        if changed {
            self.slots_changed();
        }
        for (peer, slot) in self.peers.showing(name) {
            let own = self.peers.choice(peer, slot).map(|shown| SlotChoice::Own(self.sources.binding(shown)));
            if let Some(own) = own {
                let _ = self.command(peer, PeerCommand::Switch { slot, own });
            }
        }
    }

    /// A peer wants to see something else in a slot.
    pub(super) fn switch(&mut self, now: Now, peer: PeerId, config: SlotConfig, request: Option<String>) {
        let SlotConfig { slot, stream, quality } = config;
        let slots = self.slots_of(peer);
        if slot >= slots {
            let code = "slot_not_found".to_owned();
            let message = format!("there is no slot {slot}; this connection has {slots}");
            let field = Some("slot".to_owned());
            let error = ServerMessage::Error { code, message, field, request_id: request };
            return self.effects.signal_peer(peer, error);
        }
        if stream.is_empty() {
            self.peers.asked(peer, slot, request);
            self.follow(peer, slot);
        } else {
            match self.find(&stream, &quality) {
                Ok(shown) => {
                    self.peers.asked(peer, slot, request);
                    self.choose(peer, slot, shown);
                }
                Err(why) => {
                    let error = Some(why.code().to_owned());
                    let status = SlotState::Error;
                    let request_id = request;
                    let status =
                        ServerMessage::SlotStatus { slot, stream, quality, status, error, request_id };
                    return self.effects.signal_peer(peer, status);
                }
            }
        }
        self.update_sources(now);
    }

    fn find(&mut self, stream: &str, quality: &str) -> Result<Shown, Unshowable> {
        let shown = self.sources.resolve(stream, quality).ok_or(Unshowable::NotFound)?;
        self.prepare(&shown).map_err(Unshowable::Failed)?;
        if let Some(entry) = self.sources.get_mut(&shown.source) {
            entry.retry();
        }
        Ok(shown)
    }

    fn choose(&mut self, peer: PeerId, slot: SlotIndex, shown: Shown) {
        let own = SlotChoice::Own(self.sources.binding(&shown));
        let target = self.target_of(&shown);
        self.peers.choose(peer, slot, Some(shown));
        self.effects.input(input::Event::Switch(Actor::Peer(peer), slot, TargetChoice::Own(target)));
        let _ = self.command(peer, PeerCommand::Switch { slot, own });
    }

    /// A peer has no choice of its own any more: it sees what everybody does, or nothing if all of its slots are
    /// its own.
    fn follow(&mut self, peer: PeerId, slot: SlotIndex) {
        self.peers.choose(peer, slot, None);
        self.effects.input(input::Event::Switch(Actor::Peer(peer), slot, TargetChoice::Follow));
        let alone = self.peers.get(peer).is_some_and(|entry| entry.own_slots);
        let own = if alone { SlotChoice::Own(None) } else { SlotChoice::Follow };
        let _ = self.command(peer, PeerCommand::Switch { slot, own });
    }

    /// What the slots of a peer that comes with wishes of its own are to show, in their order; and how each begins.
    /// One that cannot be fulfilled leaves the others alone.
    pub(super) fn initial_slots(
        &mut self,
        peer: PeerId,
        wishes: Vec<SlotConfig>,
    ) -> (Vec<SlotChoice>, Vec<ServerMessage>) {
        let (mut owns, mut told) = (Vec::with_capacity(wishes.len()), Vec::with_capacity(wishes.len()));
        for (slot, SlotConfig { stream, quality, .. }) in (0..).zip(wishes) {
            let found = (!stream.is_empty()).then(|| self.find(&stream, &quality));
            let (own, status, error) = match found {
                None => (None, SlotState::Inactive, None),
                Some(Ok(shown)) => {
                    let binding = self.sources.binding(&shown);
                    self.peers.choose(peer, slot, Some(shown));
                    (binding, SlotState::Pending, None)
                }
                Some(Err(why)) => {
                    let wish = SlotConfig { slot, stream: stream.clone(), quality: quality.clone() };
                    self.peers.refuse(peer, wish, why.code());
                    (None, SlotState::Error, Some(why.code().to_owned()))
                }
            };
            told.push(ServerMessage::SlotStatus { slot, stream, quality, status, error, request_id: None });
            owns.push(SlotChoice::Own(own));
        }
        (owns, told)
    }

    /// How many slots a peer's connection has.
    pub(super) fn slots_of(&self, peer: PeerId) -> u8 {
        self.peers.get(peer).map_or(0, |entry| entry.slots)
    }

    /// What a peer sees in a slot.
    pub(super) fn seen_by(&self, peer: PeerId, slot: SlotIndex) -> Option<&Shown> {
        let followed = || self.slots.get(&slot).map(|bound| &bound.shown);
        self.peers.choice(peer, slot).or_else(|| {
            let own = self.peers.get(peer).is_some_and(|entry| entry.own_slots);
            if own { None } else { followed() }
        })
    }

    /// Names of the sources that somebody sees.
    pub(super) fn shown_to_somebody(&self) -> Vec<SourceName> {
        let followed = self.slots.values().map(|bound| &bound.shown.source);
        let followed = followed.filter(|_| self.peers.anybody_follows());
        followed.chain(self.peers.choices().map(|shown| &shown.source)).cloned().collect()
    }

    /// True when a slot shows a source, to everybody or to a peer.
    pub(super) fn is_shown(&self, name: &str) -> bool {
        self.slots
            .values()
            .map(|bound| &bound.shown)
            .chain(self.peers.choices())
            .any(|shown| shown.source == name)
    }

    /// Where what everybody sends to a slot goes.
    pub(super) fn input_target(&self, slot: SlotIndex) -> Option<Target> {
        self.target_of(&self.slots.get(&slot)?.shown)
    }

    fn target_of(&self, shown: &Shown) -> Option<Target> {
        match &self.sources.get(&shown.source)?.spec {
            SourceSpec::Desktop(_) | SourceSpec::Moonlight(_) => {
                Some(Target { source: shown.source.clone(), window: None })
            }
            SourceSpec::Window(spec) => {
                Some(Target { source: MAIN_SOURCE.to_owned(), window: Some(spec.window_id) })
            }
            _ => None,
        }
    }

    fn slots_changed(&mut self) {
        let slots = self.slots.values().map(|bound| Json(bound.info.clone())).collect();
        self.effects.send(StreamerIpcMessage::SlotsChanged { slots });
    }

    fn stream_info(&self, slot: SlotIndex, shown: &Shown) -> Option<StreamInfo> {
        let entry = self.sources.get(&shown.source)?;
        let info = entry.info();
        let window = info.as_ref().and_then(|info| info.window.clone());
        let (mid, audio_mid) = negotiate::offered_mids(slot);
        let sounds = self.sources.binding(shown).is_some_and(|binding| binding.audio.is_some());
        let known = info.as_ref().map(|info| info.size).filter(|size| size.width > 0 && size.height > 0);
        let size = known.map(|size| match shown.height {
            Some(height) => (size.width * height / size.height / 2 * 2, height),
            None => (size.width, size.height),
        });
        Some(StreamInfo {
            track_id: format!("video{slot}"),
            mid,
            audio_mid: sounds.then_some(audio_mid),
            slot,
            source: shown.name(),
            is_focused: window.as_ref().is_none_or(|window| window.focused),
            app_name: window.as_ref().map(|window| window.app.clone()),
            window_name: window.map(|window| window.title),
            width: size.map(|(width, _)| width),
            height: size.map(|(_, height)| height),
            codec: info.as_ref().filter(|_| size.is_some()).map(|info| info.codec),
            fps: info.as_ref().map_or(0, |info| info.fps),
            cursor: info.as_ref().map_or(CursorMode::Embedded, |info| info.cursor),
            input: self.target_of(shown).is_some(),
            microphone: info.as_ref().is_some_and(|info| info.microphone),
            camera: info.is_some_and(|info| info.camera),
            publisher: self.published.peer_of(&shown.source),
        })
    }

    /// How a slot of a peer is doing, with the names that it asked for.
    pub(super) fn slot_status(&mut self, peer: PeerId, slot: SlotIndex, status: SlotState) -> ServerMessage {
        if let Some((wish, why)) =
            self.peers.unfulfilled(peer, slot).filter(|_| status == SlotState::Inactive)
        {
            let SlotConfig { slot, stream, quality } = wish.clone();
            let status = SlotState::Error;
            let error = Some(why.to_owned());
            let request_id = None;
            return ServerMessage::SlotStatus { slot, stream, quality, status, error, request_id };
        }
        let shown = self.seen_by(peer, slot).cloned();
        let source = shown.as_ref().and_then(|shown| self.sources.get(&shown.source));
        let error = match (status, source.map(|entry| &entry.life)) {
            (SlotState::Error, _) => Some("codec_unsupported".to_owned()),
            (SlotState::Offline, Some(Life::Offline(_, reason) | Life::Ended(reason))) => {
                // Peers of any role are told.
                Some(hide_addresses(reason))
            }
            _ => None,
        };
        let (stream, quality) =
            shown.map(|shown| (shown.source.clone(), shown.quality())).unwrap_or_default();
        let request_id = self.peers.answered(peer, slot, status);
        ServerMessage::SlotStatus { slot, stream, quality, status, error, request_id }
    }
}

impl Unshowable {
    fn code(&self) -> &'static str {
        match self {
            Unshowable::NotFound => "stream_not_found",
            Unshowable::Failed(error) => {
                tracing::warn!(%error, "a stream cannot be shown");
                "source_failed"
            }
        }
    }
}

fn not_found(stream: &str, quality: &str) -> String {
    match quality {
        "" => format!("there is no stream {stream:?}"),
        quality => format!("there is no stream {stream:?} in quality {quality:?}"),
    }
}

/// Of the picture, pixels; zeros while that is not known.
fn size(info: &StreamInfo) -> (u32, u32) {
    (info.width.unwrap_or(0), info.height.unwrap_or(0))
}

fn failed(error: &std::io::Error) -> RequestError {
    RequestError::new(Code::SourceFailed, error.to_string())
}
