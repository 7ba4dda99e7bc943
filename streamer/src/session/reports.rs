//! What the session makes of reports: of shards, of the input thread, and of the desktop's clipboard.

use common::api::PeerState;
use common::clipboard::Content;
use common::event::Happening;
use common::files::FileEntry;
use common::id::{PeerId, SlotIndex};
use common::input::{Actor, GeneralMessage, MAX_CHANNEL_MESSAGE};
use common::ipc::{Json, StreamerIpcMessage};
use common::signal::ServerMessage;

use super::effects::Work;
use super::shards::general;
use super::{Now, Session};
use crate::input;
use crate::media::Size;
use crate::peer::connection::Channel;
use crate::peer::{Audience, Command, Report};
use crate::source::ClipboardOffer;

impl Session {
    /// A shard says something.
    pub fn report(&mut self, now: Now, report: Report) {
        match report {
            Report::Offer { peer, sdp, sections } => {
                self.effects.signal_peer(peer, ServerMessage::Offer { sdp });
                if let Some(sections) = sections {
                    self.peers.set_sections(peer, sections);
                    self.streams_info(peer);
                }
            }
            Report::Answer { peer, result } => self.offer_answered(now, peer, result),
            Report::Patched { peer, result } => self.patched(peer, result),
            Report::Refused { peer, code, message } => {
                let error =
                    ServerMessage::Error { code: code.to_owned(), message, field: None, request_id: None };
                self.effects.signal_peer(peer, error);
            }
            Report::State { peer, state } => {
                if let Some(known) = self.peers.get_mut(peer) {
                    known.state = state;
                    self.peer_changed(peer);
                }
                match state {
                    PeerState::Connected => {
                        tracing::info!(%peer, "connected");
                        self.publish_all(now, peer);
                    }
                    PeerState::Lost => self.unpublish_all(now, peer, "the connection was lost"),
                    PeerState::Connecting => {}
                }
            }
            Report::Listening { peer } => {
                for text in self.cursor_messages() {
                    self.say_to(peer, text);
                }
            }
            Report::Slot { peer, slot, state } => {
                let status = self.slot_status(peer, slot, state);
                self.effects.signal_peer(peer, status);
            }
            Report::Resize { peer, slot, width, height } => {
                self.resize_for(peer, slot, Size { width, height })
            }
            Report::Clipboard { peer, content } => self.set_clipboard_for(peer, content),
            Report::Pictured { peer, pictured } => self.pictured(now, peer, pictured),
            Report::Speaking { peer, speaking } => self.speaking(now, peer, speaking),
            Report::Layers { peer, taken } => self.layers_taken(peer, taken),
            Report::Unpublishable { peer, kind } => {
                let reason = "nothing was negotiated in which that could be sent";
                self.unpublish(now, peer, kind, Some(reason));
            }
            Report::Gone { peer, reason } => self.peer_gone(now, peer, reason),
            Report::Stats { shard, network, peers } => {
                for (id, stats) in peers {
                    if let Some(known) = self.peers.get_mut(id) {
                        known.stats = stats;
                    }
                }
                self.shard_counted(now, shard, network);
            }
        }
    }

    fn resize_for(&mut self, peer: PeerId, slot: SlotIndex, size: Size) {
        // A window may be larger than the desktop can become: it gets as close as that, and is scaled.
        let resized = self
            .shown_to(peer, slot)
            .map(|source| source.resize(source.largest().map_or(size, |largest| size.within(largest))));
        match resized {
            // Everybody sees the outcome as `stream-updated`; a refusal is rare and logged.
            Ok(outcome) => self.effects.work(Work::Unattended { what: "resize", outcome }),
            Err(error) => self.effects.refuse_peer(peer, error),
        }
    }

    fn set_clipboard_for(&mut self, peer: PeerId, content: Content) {
        match self.clipboard() {
            Ok(clipboard) => {
                let outcome = clipboard.set(content, Actor::Peer(peer));
                self.effects.work(Work::Unattended { what: "clipboard", outcome });
            }
            Err(error) => self.effects.refuse_peer(peer, error),
        }
    }

    /// Something was copied to the clipboard: controllers are told, but not the one who set it.
    pub(super) fn clipboard_changed(&mut self, offer: ClipboardOffer, by: Option<Actor>) {
        self.effects.send(StreamerIpcMessage::Happened { what: Json(Happening::ClipboardChanged) });
        let to = match by {
            Some(Actor::Peer(peer)) => Audience::ControllersBut(peer),
            Some(Actor::Api) | None => Audience::Controllers,
        };
        let ClipboardOffer { types, content: Content { text, html, .. } } = offer;
        let text = text.unwrap_or_default();
        let message = |html| GeneralMessage::Clipboard { text: text.clone(), html, types: types.clone() };
        let mut text = general(&message(html));
        if text.len() > MAX_CHANNEL_MESSAGE {
            // No browser takes more at once. The text alone is worth more than nothing.
            text = general(&message(None));
        }
        self.command_all(|| Command::Say { to: to.clone(), text: text.clone() });
    }

    /// A file was downloaded in the session: controllers are offered it.
    pub(super) fn downloaded(&mut self, file: FileEntry) {
        let text = general(&GeneralMessage::Download { file: file.clone() });
        self.effects.send(StreamerIpcMessage::Happened { what: Json(Happening::Downloaded { file }) });
        self.command_all(|| Command::Say { to: Audience::Controllers, text: text.clone() });
    }

    /// The input thread says something.
    pub fn input_notice(&mut self, notice: input::Notice) {
        match notice {
            input::Notice::Pointer(notice) => self.pointer(notice),
            input::Notice::Pointings(pointings) => self.pointed(&pointings),
            input::Notice::Refused(peer) => {
                let message = "too much waits for the text that is being typed".to_owned();
                let channel = Channel::Keys.label().to_owned();
                let code = "busy".to_owned();
                let text = general(&GeneralMessage::Error { channel, code, message });
                self.say_to(peer, text);
            }
            input::Notice::Rumble(peer, slot, pad, input::Motors { strong, weak }) => {
                let text = general(&GeneralMessage::Rumble { slot, pad, strong, weak });
                self.say_to(peer, text);
            }
        }
    }

    /// Somebody moved the pointer: the others are shown where it is.
    fn pointer(&mut self, notice: input::PointerNotice) {
        let text = general(&GeneralMessage::CursorPosition { slot: notice.slot, at: notice.at });
        let to = match notice.by {
            Actor::Peer(peer) => Audience::AllBut(peer),
            Actor::Api => Audience::All,
        };
        self.command_all(|| Command::Say { to: to.clone(), text: text.clone() });
    }
}
