//! The WebSocket of a page that was written for another server, on the path of our own protocol. Such a page is recognized by offering
//! no subprotocol and not speaking first. Its messages are in [`signal`](crate::compat::multi_webrtc::signal).
//!
//! A page leaves by closing the WebSocket: its peer is then removed.

use std::convert::Infallible;

use common::api::PeerKind;
use common::id::{PeerId, StreamerId};
use common::ipc::{self, Json, Tell};
use common::signal::Role;
use tokio::time::timeout;
use tracing::Span;
use tracing::field::display;

use super::opened::Opened;
use super::websocket::{End, Frame};
use crate::compat::multi_webrtc::signal::{ClientMessage, Input, Output, Translator, parse, to_text};
use crate::socket::{Close, Out, Outbox, Socket};
use crate::supervisor;

/// A page whose request had no token must send one within this time.
const LOGIN_DEADLINE: std::time::Duration = std::time::Duration::from_secs(10);
/// A UUID and the hyphen before it.
const SUFFIX: usize = 37;

/// The streamer that a page means by `agent-1-<UUID>`: each of its tabs adds a UUID to the id with which the streamer was
/// created.
pub fn without_tab(id: &str) -> Option<StreamerId> {
    let (id, tab) = id.split_at_checked(id.len().checked_sub(SUFFIX)?)?;
    tab.strip_prefix('-')?.parse::<uuid::Uuid>().ok()?;
    StreamerId::parse(id).ok()
}

/// True for a first message that only such a page sends.
pub fn speaks(text: &str) -> bool {
    parse(text).is_some()
}

struct Page {
    connection: Opened,
    socket: Socket,
    outbox: Outbox,
    translator: Translator,
    /// Outputs of the translator from before there was a peer.
    first: Vec<Output>,
}

/// Serves a page until its WebSocket ends. `first` is the frame that it has sent already.
pub async fn run(connection: Opened, first: Option<Frame>) {
    let (socket, outbox) = Socket::of_everything();
    let (translator, said) = Translator::new();
    let mut page = Page { connection, socket, outbox, translator, first: said };
    let end = match page.converse(first).await {
        Ok(never) => match never {},
        Err(end) => end,
    };
    tracing::debug!(?end, "WebSocket of a page ended");
    page.connection.websocket.close(end).await;
}

impl Page {
    async fn converse(&mut self, first: Option<Frame>) -> Result<Infallible, End> {
        let login = timeout(LOGIN_DEADLINE, self.login(first)).await;
        let join = login.unwrap_or_else(|_| Err(End::policy("no credentials within 10 s")))?;
        let said = std::mem::take(&mut self.first);
        self.carry_out(None, said).await?;
        let joined = self.connection.join(join, &self.socket).await;
        self.connection.metrics.join(PeerKind::MultiWebrtc, joined.is_ok());
        let (streamer, peer) = match joined {
            Ok(joined) => joined,
            Err(end) => return Err(self.gone(end).await),
        };
        Span::current().record("peer", display(peer));
        let end = self.relay(&streamer, peer).await;
        self.connection.leave(peer, &self.socket, &end).await;
        end
    }

    /// Authenticates the page.
    async fn login(&mut self, first: Option<Frame>) -> Result<ipc::Join, End> {
        let mut said = first;
        loop {
            let credentials = match said.take() {
                Some(Frame::Text(text)) => match parse(&text) {
                    Some(ClientMessage::AuthenticateAndInit { credentials }) => Some(credentials),
                    _ => None,
                },
                Some(Frame::Binary(_)) | None => None,
            };
            let Opened { gate, websocket, id, .. } = &mut self.connection;
            if gate.is_anonymous() && credentials.is_none() {
                said = Some(websocket.receive().await?);
                continue;
            }
            let right = match gate.enter(credentials.as_deref(), id) {
                Ok(right) => right,
                Err(refused) => return Err(self.gone(End::refused(refused.problem("").detail)).await),
            };
            let role = Role::Controller.min(right.role());
            let socket = self.socket.number();
            let ticket = right.ticket();
            tracing::info!(%id, socket, ?role, by = right.name(), "joining as a page of another server");
            return Ok(ipc::Join::MultiWebrtc { socket, role, ticket });
        }
    }

    async fn relay(&mut self, streamer: &supervisor::Handle, peer: PeerId) -> Result<Infallible, End> {
        loop {
            let input = tokio::select! {
                frame = self.connection.websocket.receive() => match frame? {
                    Frame::Text(text) => parse(&text).map(Input::Heard),
                    Frame::Binary(_) => None,
                },
                Some(out) = self.outbox.queue.recv() => match out {
                    Out::Message(mut message) => {
                        self.connection.complete(&mut message);
                        Some(Input::Said(*message))
                    }
                    // Broadcasts are encoded for our own protocol.
                    Out::Text(text) => serde_json::from_str(&text).ok().map(Input::Said),
                    Out::State(state) => Some(Input::State(state)),
                    // Its pictures go on without us, so the page must not show an error.
                    Out::Close(Close::Server) => return Err(End::Closed(Close::Server)),
                    Out::Close(why) => return Err(self.gone(End::Closed(why)).await),
                },
                () = self.outbox.kick.cancelled() => return Err(End::policy("you do not read")),
                () = self.connection.gate.revoked() => return Err(self.gone(End::revoked()).await),
            };
            // Unknown messages are ignored, as the page ignores unknown ones.
            let Some(input) = input else { continue };
            let outputs = self.translator.handle(input);
            self.carry_out(Some((streamer, peer)), outputs).await?;
        }
    }

    /// Tells the page that it has no peer, or no longer, if it still listens. Returns how the WebSocket ends.
    async fn gone(&mut self, end: End) -> End {
        let outputs = self.translator.handle(Input::Gone);
        match self.carry_out(None, outputs).await {
            Ok(()) => end,
            Err(lost) => lost,
        }
    }

    async fn carry_out(
        &mut self,
        peer: Option<(&supervisor::Handle, PeerId)>,
        outputs: Vec<Output>,
    ) -> Result<(), End> {
        for output in outputs {
            match (output, peer) {
                (Output::Say(message), _) => {
                    let text = to_text(&message).into();
                    self.connection.websocket.send(text, &self.outbox.kick).await?;
                }
                (Output::Tell(message), Some((streamer, peer))) => {
                    let message = Tell::FromPeer { peer, message: Json(message) };
                    streamer.tell(message).await.map_err(|error| End::refused(error.to_string()))?;
                }
                (Output::Tell(_), None) => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tab_adds_a_uuid_to_the_id() {
        let of = |id: &str| without_tab(id).map(String::from);
        let long = format!("agent-{}-01890a5d-ac96-774b-bcce-b302099a8057", "x".repeat(40));
        assert_eq!(of("agent-1-01890a5d-ac96-774b-bcce-b302099a8057").as_deref(), Some("agent-1"));
        assert_eq!(of(&long).map(|id| id.len()), Some(46), "together they may be longer than an id");
        for other in ["agent-1", "01890a5d-ac96-774b-bcce-b302099a8057", "a-01890a5d", "", &"ä".repeat(30)] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
