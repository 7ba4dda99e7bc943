//! The `multistream/*` protocol of one client, without its WebSocket: decides which messages follow from each event.
//! Pure; the I/O is in [`super`].
//!
//! ```text
//!        init              there is a streamer             offer                joined, all slots told
//! Idle ───────▶ Checking ──────────────────────▶ Ready ──────────▶ Offering ──────────────────────▶ Active
//!  ▲               │                              ▲  ▲                │                               │ ▲
//!  │               └─ it has a session ▶ Resuming ┘  └── refused ─────┘                               │ │
//!  │                                        │ not there any more                                      │ │
//!  │                                        └────────────── there, all slots told ────────────────────┼─┘
//!  └──────────────────────────────────── close, or the peer is gone ──────────────────────────────────┘
//! ```

use std::collections::BTreeMap;

use common::id::SlotIndex;
use common::multistream::{
    Candidate, ClientMessage, Malformed, RequestTag, ServerMessage, Shape, SlotOrAll, SlotStatus,
};
use common::signal::{self, IceServer, SlotState};
use common::slots::{SlotConfig, rendition_name};

/// Longest name of a stream or of a rendition, in bytes: the name of a source, with that of a rendition.
const MAX_NAME: usize = 128;

/// Parameters that are the same for all clients.
#[derive(Debug, Clone)]
pub struct Config {
    /// Most slots of one client.
    pub max_slots: u8,
    /// STUN and TURN servers for the clients.
    pub ice_servers: Vec<IceServer>,
}

/// An event.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A message of the client.
    Heard(Result<(ClientMessage, Shape), Malformed>),
    /// The client has sent something that is not one of our messages; the reason.
    Unreadable(String),
    /// The reply to [`Output::Check`]: a secret for a new session, or why there can be none.
    Checked(Result<String, String>),
    /// The client has become a peer. The SDP of the answer, if it had offered.
    Joined(Option<String>),
    /// The client did not become a peer.
    Refused(Refusal),
    /// A message of the streamer to the peer.
    Said(signal::ServerMessage),
    /// The peer is gone, and why.
    Gone(String),
}

/// Why a client did not become a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Its previous session has ended; it may get a new one.
    pub ended: bool,
    /// A description, for people; it may change.
    pub message: String,
}

/// An action, to be carried out in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Send this text to the client.
    Say(String),
    /// Check whether the client may have a session, and whether the streamer exists. The reply is [`Input::Checked`].
    Check {
        /// The client's token.
        token: Option<String>,
    },
    /// Make the client a peer.
    Join(Join),
    /// Send a message of the peer to the streamer.
    Tell(signal::ClientMessage),
    /// Remove the peer.
    Leave,
}

/// How a client becomes a peer. The reply is [`Input::Joined`] or [`Input::Refused`]; until then the client's messages are
/// not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Join {
    /// The client offers a new connection.
    Offer {
        /// SDP.
        sdp: String,
        /// What each video section is to show, in order.
        slots: Vec<SlotConfig>,
        /// A secret by which the client is recognized later.
        session: String,
    },
    /// The client was a peer, and has lost its WebSocket.
    Resume {
        /// The secret of its session.
        session: String,
    },
}

/// The slots of a session, with the names that the client has used.
#[derive(Debug, Clone, PartialEq, Eq)]
struct WantedSlots(Vec<SlotConfig>);

/// The state of the conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// There is no session.
    Idle,
    /// The client has sent `init`; it is not known yet whether there is a streamer.
    Checking { init: Init },
    /// The client had a session before; it is not known yet whether that still exists.
    Resuming { init: Init, fresh: String, count: Option<u8>, told: Told },
    /// There is a session without a peer.
    Ready { session: String, slots: WantedSlots },
    /// The client has offered.
    Offering {
        session: String,
        slots: WantedSlots,
        request: Option<RequestTag>,
        answer: Option<String>,
        told: Told,
    },
    /// The client is a peer.
    Active { count: SlotIndex, told: Told },
}

/// A valid `init`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Init {
    request: Option<RequestTag>,
    session: Option<String>,
    slots: WantedSlots,
}

/// The status that was last sent for each slot, and the request that it replied to.
type Told = BTreeMap<SlotIndex, (SlotStatus, Option<RequestTag>)>;

/// The state of one client of `multistream/*`.
#[derive(Debug)]
pub struct Protocol {
    config: Config,
    shape: Shape,
    state: State,
    out: Vec<Output>,
}

impl Protocol {
    /// A client that has sent nothing yet.
    pub fn new(config: Config) -> Self {
        Self { config, shape: Shape::Plain, state: State::Idle, out: Vec::new() }
    }

    /// Handles an event; returns the actions that follow.
    pub fn handle(&mut self, input: Input) -> Vec<Output> {
        match input {
            Input::Heard(Ok((message, shape))) => self.heard(message, shape),
            Input::Heard(Err(malformed)) => self.error(malformed.to_string()),
            Input::Unreadable(why) => self.error(why),
            Input::Checked(result) => self.checked(result),
            Input::Joined(answer) => self.joined(answer),
            Input::Refused(refusal) => self.refused(refusal),
            Input::Said(message) => self.said(message),
            Input::Gone(reason) => self.gone(reason),
        }
        std::mem::take(&mut self.out)
    }

    fn say(&mut self, message: &ServerMessage) {
        self.out.push(Output::Say(message.encode(self.shape)));
    }

    fn error(&mut self, value: String) {
        self.say(&ServerMessage::Error { value });
    }

    fn heard(&mut self, message: ClientMessage, shape: Shape) {
        let kind = message.kind();
        let result = match message {
            ClientMessage::Init { request_id, session, token, slots } => {
                self.shape = shape;
                self.init(request_id, session, token, slots)
            }
            ClientMessage::Offer { request_id, sdp } => self.offer(request_id, sdp),
            ClientMessage::Switch { request_id, slot, stream, quality } => {
                self.switch(request_id, SlotConfig { slot, stream, quality })
            }
            ClientMessage::Ice { candidate } => self.ice(candidate),
            ClientMessage::Pause { slot } => self.each(slot, |slot| signal::ClientMessage::Pause { slot }),
            ClientMessage::Resume { slot } => self.each(slot, |slot| signal::ClientMessage::Resume { slot }),
            ClientMessage::Keyframe { slot } => {
                self.each(slot, |slot| signal::ClientMessage::Keyframe { slot })
            }
            ClientMessage::Close => self.close(),
        };
        if let Err(message) = result {
            self.error(format!("{kind}: {message}"));
        }
    }

    fn init(
        &mut self,
        request: Option<RequestTag>,
        session: Option<String>,
        token: Option<String>,
        slots: Vec<SlotConfig>,
    ) -> Result<(), String> {
        if self.state != State::Idle {
            return Err("session already initialized".into());
        }
        let slots = WantedSlots::new(slots, self.config.max_slots)?;
        if slots.0.is_empty() && session.is_none() {
            return Err("no slots requested".into());
        }
        self.state = State::Checking { init: Init { request, session, slots } };
        self.out.push(Output::Check { token });
        Ok(())
    }

    fn checked(&mut self, result: Result<String, String>) {
        let State::Checking { init } = std::mem::replace(&mut self.state, State::Idle) else { return };
        match (result, init.session.clone()) {
            (Err(message), _) => self.error(format!("multistream/init: {message}")),
            (Ok(fresh), None) => self.ready(init, fresh),
            (Ok(fresh), Some(session)) => {
                self.state = State::Resuming { init, fresh, count: None, told: Told::new() };
                self.out.push(Output::Join(Join::Resume { session }));
            }
        }
    }

    /// A new session.
    fn ready(&mut self, init: Init, session: String) {
        let Init { request: request_id, slots, .. } = init;
        let count = slots.count();
        self.state = State::Ready { session: session.clone(), slots };
        let ice_servers = self.config.ice_servers.clone();
        self.say(&ServerMessage::Ready { request_id, session, resumed: false, ice_servers, slots: count });
    }

    fn offer(&mut self, request: Option<RequestTag>, sdp: String) -> Result<(), String> {
        let State::Ready { session, slots } = &self.state else {
            return Err(match self.state {
                State::Active { .. } => "session already negotiated".into(),
                _ => NOT_INITIALIZED.into(),
            });
        };
        let session = session.clone();
        let slots = slots.clone();
        let sections = sdp.lines().filter(|line| line.starts_with("m=video ")).count();
        if sections < slots.0.len() {
            return Err(format!(
                "{} slots need as many video sections, the offer has {sections}",
                slots.0.len()
            ));
        }
        let join = Join::Offer { sdp, slots: slots.0.clone(), session: session.clone() };
        self.state = State::Offering { session, slots, request, answer: None, told: Told::new() };
        self.out.push(Output::Join(join));
        Ok(())
    }

    fn switch(&mut self, request: Option<RequestTag>, wish: SlotConfig) -> Result<(), String> {
        self.active(wish.slot)?;
        check_names(&wish)?;
        let SlotConfig { slot, stream, quality } = wish;
        let request_id = request.map(|tag| serde_json::to_string(&tag).expect("a number or a text"));
        self.out.push(Output::Tell(signal::ClientMessage::Switch { slot, stream, quality, request_id }));
        Ok(())
    }

    fn ice(&mut self, candidate: Candidate) -> Result<(), String> {
        // The peer exists before its answer is complete, and candidates follow the offer at once.
        if !matches!(self.state, State::Offering { answer: Some(_), .. }) {
            self.active(0)?;
        }
        let (candidate, sdp_mid, sdp_m_line_index) = match candidate {
            Candidate::Line(candidate) => (candidate, None, None),
            Candidate::Init { candidate, sdp_mid, sdp_m_line_index } => {
                (candidate, sdp_mid, sdp_m_line_index)
            }
        };
        let message = signal::ClientMessage::Candidate { candidate, sdp_mid, sdp_m_line_index };
        self.out.push(Output::Tell(message));
        Ok(())
    }

    fn each(
        &mut self,
        slot: SlotOrAll,
        message: impl Fn(SlotIndex) -> signal::ClientMessage,
    ) -> Result<(), String> {
        let (first, last) = match slot {
            SlotOrAll::One(slot) => (slot, self.active(slot).map(|_| slot)?),
            // A session has at least one slot.
            SlotOrAll::All => (0, self.active(0)? - 1),
        };
        self.out.extend((first..=last).map(|slot| Output::Tell(message(slot))));
        Ok(())
    }

    /// The number of slots, if there is a peer and it has this one.
    fn active(&self, slot: SlotIndex) -> Result<SlotIndex, String> {
        let count = match self.state {
            State::Active { count, .. } => count,
            State::Ready { .. } | State::Offering { .. } => return Err("no active session".into()),
            State::Idle | State::Checking { .. } | State::Resuming { .. } => {
                return Err(NOT_INITIALIZED.into());
            }
        };
        if slot < count { Ok(count) } else { Err(INVALID_SLOT.into()) }
    }

    fn close(&mut self) -> Result<(), String> {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Idle => return Err(NOT_INITIALIZED.into()),
            State::Checking { .. } | State::Ready { .. } => {}
            State::Resuming { .. } | State::Offering { .. } | State::Active { .. } => {
                self.out.push(Output::Leave);
            }
        }
        Ok(())
    }

    fn joined(&mut self, sdp: Option<String>) {
        match &mut self.state {
            State::Offering { answer, .. } if sdp.is_some() => *answer = sdp,
            State::Resuming { .. } => {}
            // Nothing was requested, or this is the reply to something else.
            State::Offering { .. }
            | State::Idle
            | State::Checking { .. }
            | State::Ready { .. }
            | State::Active { .. } => {
                return self.out.push(Output::Leave);
            }
        }
        self.complete_join();
    }

    fn refused(&mut self, refusal: Refusal) {
        let message = refusal.message;
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Offering { session, slots, .. } => {
                self.state = State::Ready { session, slots };
                self.error(format!("multistream/offer: {message}"));
            }
            State::Resuming { init, fresh, .. } if refusal.ended && !init.slots.0.is_empty() => {
                self.ready(init, fresh);
            }
            State::Resuming { .. } => self.error(format!("multistream/init: {message}")),
            other => self.state = other,
        }
    }

    fn said(&mut self, message: signal::ServerMessage) {
        match message {
            signal::ServerMessage::SlotStatus { slot, stream, quality, status, error, request_id } => {
                let named = SlotConfig { slot, stream, quality };
                self.status(named, status, error, request_id);
            }
            signal::ServerMessage::Welcome { slots, .. } => {
                if let State::Resuming { count, .. } = &mut self.state {
                    *count = Some(slots);
                    self.complete_join();
                }
            }
            signal::ServerMessage::Candidate { candidate, .. } => {
                self.say(&ServerMessage::Ice { value: candidate });
            }
            signal::ServerMessage::Error { code, message, .. } => {
                let kind = if code == "bad_candidate" { "multistream/ice" } else { "multistream" };
                self.error(format!("{kind}: {message}"));
            }
            // These clients are not told what everybody sees, nor who else watches.
            signal::ServerMessage::Offer { .. }
            | signal::ServerMessage::StreamsInfo { .. }
            | signal::ServerMessage::StreamActivated { .. }
            | signal::ServerMessage::StreamDeactivated { .. }
            | signal::ServerMessage::StreamUpdated { .. }
            | signal::ServerMessage::StreamerState { .. }
            | signal::ServerMessage::Role { .. }
            | signal::ServerMessage::Rights { .. }
            | signal::ServerMessage::Chat(_)
            | signal::ServerMessage::ChatHistory { .. }
            | signal::ServerMessage::Reaction { .. }
            | signal::ServerMessage::MutedBy { .. }
            | signal::ServerMessage::Control(_)
            | signal::ServerMessage::Published { .. }
            | signal::ServerMessage::Unpublished { .. }
            | signal::ServerMessage::SessionMicrophone { .. }
            | signal::ServerMessage::SessionCamera { .. }
            | signal::ServerMessage::PublishLayers { .. }
            | signal::ServerMessage::Participants { .. } => {}
        }
    }

    fn status(
        &mut self,
        named: SlotConfig,
        status: SlotState,
        error: Option<String>,
        request: Option<String>,
    ) {
        let slot = named.slot;
        let stream = rendition_name(&named.stream, &named.quality);
        let status = SlotStatus { slot, stream, status, error: error.map(in_words) };
        match &mut self.state {
            State::Offering { told, .. } | State::Resuming { told, .. } => {
                told.insert(slot, (status, None));
                self.complete_join();
            }
            State::Active { told, .. } => {
                let request_id = request.and_then(|tag| serde_json::from_str(&tag).ok());
                let news = (status.clone(), request_id.clone());
                let known = told.get(&slot);
                // A switch always gets a reply, even if the status was sent before.
                if known
                    .is_some_and(|(said, to)| *said == status && (request_id.is_none() || *to == request_id))
                {
                    return;
                }
                told.insert(slot, news);
                self.say(&ServerMessage::Status { request_id, slot, status });
            }
            // Late messages about a session that has ended.
            State::Idle | State::Checking { .. } | State::Ready { .. } => {}
        }
    }

    /// Continues once the status of every slot has arrived.
    fn complete_join(&mut self) {
        match &mut self.state {
            State::Offering { slots, request, answer: answer @ Some(_), told, .. }
                if told.len() >= slots.0.len() =>
            {
                let sdp = answer.take().unwrap_or_default();
                let request_id = request.take();
                let count = slots.count();
                let told = std::mem::take(told);
                let slots = told.values().map(|(status, _)| status.clone()).collect();
                self.state = State::Active { count, told };
                self.say(&ServerMessage::Answer { request_id, sdp, slots });
            }
            State::Resuming { init, count: Some(count), told, .. } if told.len() >= usize::from(*count) => {
                let session = init.session.take().unwrap_or_default();
                let request_id = init.request.take();
                let told = std::mem::take(told);
                let slots = *count;
                let ice_servers = self.config.ice_servers.clone();
                self.state = State::Active { count: slots, told: told.clone() };
                self.say(&ServerMessage::Ready { request_id, session, resumed: true, ice_servers, slots });
                for (slot, (status, _)) in told {
                    self.say(&ServerMessage::Status { request_id: None, slot, status });
                }
            }
            _ => {}
        }
    }

    fn gone(&mut self, reason: String) {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Offering { .. } | State::Resuming { .. } | State::Active { .. } => {
                self.say(&ServerMessage::Disconnected { reason });
            }
            other => self.state = other,
        }
    }
}

const NOT_INITIALIZED: &str = "session not initialized";
const INVALID_SLOT: &str = "invalid slot index";

fn check_names(wish: &SlotConfig) -> Result<(), String> {
    if wish.stream.len() > MAX_NAME || wish.quality.len() > MAX_NAME {
        return Err(format!("the name of a stream has at most {MAX_NAME} bytes"));
    }
    Ok(())
}

impl WantedSlots {
    /// All slots up to the last requested one, in order.
    fn new(wishes: Vec<SlotConfig>, max: u8) -> Result<Self, String> {
        if wishes.len() > usize::from(max) {
            return Err("too many slots requested".into());
        }
        let mut by_slot = BTreeMap::new();
        for wish in wishes {
            check_names(&wish)?;
            let slot = wish.slot;
            if slot >= max {
                return Err(INVALID_SLOT.into());
            }
            if by_slot.insert(slot, wish).is_some() {
                return Err(format!("slot {slot} is requested twice"));
            }
        }
        let count = by_slot.keys().last().map_or(0, |last| last + 1);
        let empty = |slot| SlotConfig { slot, stream: String::new(), quality: String::new() };
        Ok(Self((0..count).map(|slot| by_slot.remove(&slot).unwrap_or_else(|| empty(slot))).collect()))
    }

    /// The number of slots, at most that of a connection.
    fn count(&self) -> SlotIndex {
        self.0.len() as SlotIndex
    }
}

/// The error of a slot as a text for people: the streamer's codes are for our own programs.
fn in_words(error: String) -> String {
    match error.as_str() {
        "stream_not_found" => "stream not found".into(),
        "codec_unsupported" => "codec not supported".into(),
        "source_failed" => "stream cannot be started".into(),
        _ => error,
    }
}

#[cfg(test)]
#[path = "protocol_tests.rs"]
mod tests;
