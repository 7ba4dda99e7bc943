//! Translates between the messages of those pages on their WebSocket and our own. Pure; the I/O is in [`crate::signaling::sfu`].
//!
//! ```text
//! page                                    streamer
//!   ◀── offer                          ◀── offer
//!   ──▶ answer                         ──▶ answer, and once it is connected: publish what the answer sends
//!   ◀─▶ candidate                      ◀─▶ candidate
//!   ◀─▶ chat                           ◀─▶ chat
//! ```
//!
//! A message is `{event, data}`, and `data` is JSON in a text. It is read as JSON itself as well.
//!
//! Those pages add their tracks before the first offer and answer every offer. So a track goes into the first section of its kind that
//! receives (RFC 9429 §5.10), which is that of the camera or the microphone, and the answer says which of them sends. Chromium 156 does
//! so only where the section does not offer to receive simulcast, so such offers are left out.

use std::collections::{BTreeMap, BTreeSet};

use common::api::PeerState;
use common::id::PeerId;
use common::person::PublishKind;
use common::signal::{self, ChatMessage};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Page to server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// The answer to an offer.
    Answer {
        /// SDP.
        sdp: String,
    },
    /// One ICE candidate.
    Candidate {
        /// The candidate, as `candidate:…`.
        candidate: String,
        /// Media section it belongs to.
        sdp_mid: Option<String>,
        /// Index of that section.
        sdp_m_line_index: Option<u16>,
    },
    /// A text for everybody.
    Chat {
        /// The text.
        text: String,
    },
}

#[derive(Deserialize)]
struct Message {
    event: String,
    #[serde(default)]
    data: Value,
}

#[derive(Deserialize)]
struct Description {
    sdp: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate {
    candidate: String,
    #[serde(default)]
    sdp_mid: Option<String>,
    #[serde(default)]
    sdp_m_line_index: Option<u16>,
}

#[derive(Deserialize)]
struct Chat {
    #[serde(alias = "text")]
    message: String,
}

/// Reads a message; `None` when it is of another event, or of none.
pub fn parse(text: &str) -> Option<Heard> {
    let Message { event, data } = serde_json::from_str(text).ok()?;
    match event.as_str() {
        "answer" => {
            let Description { sdp } = read(data)?;
            Some(Heard::Answer { sdp })
        }
        "candidate" => {
            let Candidate { candidate, sdp_mid, sdp_m_line_index } = read(data)?;
            let sdp_mid = sdp_mid.filter(|mid| !mid.is_empty());
            Some(Heard::Candidate { candidate, sdp_mid, sdp_m_line_index })
        }
        "chat" => {
            // A bare text is the message itself.
            let bare = data.as_str().map(str::to_owned);
            let text = read::<Chat>(data).map(|chat| chat.message).or(bare)?;
            Some(Heard::Chat { text })
        }
        _ => None,
    }
}

fn read<T: DeserializeOwned>(data: Value) -> Option<T> {
    match data {
        Value::String(text) => serde_json::from_str(&text).ok(),
        data => serde_json::from_value(data).ok(),
    }
}

/// An event.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A message of the page.
    Heard(Heard),
    /// A message of the streamer to the peer, or to all peers.
    Said(signal::ServerMessage),
    /// The peer's connection has changed.
    State(PeerState),
}

/// An action, to be carried out in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Send this text to the page.
    Say(String),
    /// Send a message of the peer to the streamer.
    Tell(signal::ClientMessage),
}

/// One page's conversation.
#[derive(Debug, Default)]
pub struct Translator {
    /// What each section of the last offer can take from the page.
    offered: Vec<Option<PublishKind>>,
    connected: bool,
    /// What the last answer sends,
    sends: BTreeSet<PublishKind>,
    /// and what the streamer was told of.
    published: BTreeSet<PublishKind>,
    /// Users by their peers, for chat; `None` for peers without one.
    users: BTreeMap<PeerId, Option<String>>,
    /// Chat of peers that are in no list so far. The next one has them, unless they have left.
    unsigned: Vec<ChatMessage>,
}

impl Translator {
    /// Handles an event; returns the actions that follow.
    pub fn handle(&mut self, input: Input) -> Vec<Output> {
        match input {
            Input::Heard(Heard::Answer { sdp }) => {
                self.sends = sending(&self.offered, &sdp);
                let mut out = vec![Output::Tell(signal::ClientMessage::Answer { sdp })];
                out.extend(self.publish());
                out
            }
            Input::Heard(Heard::Candidate { candidate, sdp_mid, sdp_m_line_index }) => {
                vec![Output::Tell(signal::ClientMessage::Candidate { candidate, sdp_mid, sdp_m_line_index })]
            }
            Input::Heard(Heard::Chat { text }) => vec![Output::Tell(signal::ClientMessage::Chat { text })],
            Input::Said(message) => self.said(message),
            Input::State(state) => {
                self.connected |= state == PeerState::Connected;
                self.publish()
            }
        }
    }

    fn said(&mut self, message: signal::ServerMessage) -> Vec<Output> {
        use signal::ServerMessage as Said;
        match message {
            Said::Offer { sdp } => {
                self.offered = receiving(&sdp);
                vec![say("offer", &json!({ "type": "offer", "sdp": without_simulcast(&sdp) }))]
            }
            Said::Candidate { candidate, sdp_mid, sdp_m_line_index } => {
                let data =
                    json!({ "candidate": candidate, "sdpMid": sdp_mid, "sdpMLineIndex": sdp_m_line_index });
                vec![say("candidate", &data)]
            }
            Said::Participants { participants } => {
                self.users.extend(participants.into_iter().map(|who| (who.peer_id, who.user_id)));
                // Those who have left are named in what they wrote, but not for ever.
                while self.users.len() > MAX_USERS {
                    self.users.pop_first();
                }
                std::mem::take(&mut self.unsigned).iter().map(|message| self.chat(message)).collect()
            }
            Said::Chat(message) => self.sign(vec![message]),
            Said::ChatHistory { messages } => self.sign(messages),
            // Ended by the streamer: the page goes on sending, and nobody gets it.
            Said::Unpublished { kind, .. } => {
                self.published.remove(&kind);
                self.sends.remove(&kind);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    /// Tells the streamer of what the page sends since, or no more, once its packets can come.
    fn publish(&mut self) -> Vec<Output> {
        if !self.connected {
            return Vec::new();
        }
        let begun = self.sends.difference(&self.published);
        let begun = begun.map(|kind| signal::ClientMessage::Publish { kind: *kind, name: None });
        let ended = self.published.difference(&self.sends);
        let ended = ended.map(|kind| signal::ClientMessage::Unpublish { kind: *kind });
        let told = begun.chain(ended).map(Output::Tell).collect();
        self.published = self.sends.clone();
        told
    }

    /// Passes chat on in its order, as soon as it is known whose it is.
    fn sign(&mut self, messages: Vec<ChatMessage>) -> Vec<Output> {
        let are_known = messages.iter().all(|message| self.users.contains_key(&message.peer_id));
        if self.unsigned.is_empty() && are_known {
            return messages.iter().map(|message| self.chat(message)).collect();
        }
        self.unsigned.extend(messages);
        // Lists come within a second; this is more than anybody may write meanwhile.
        let late = self.unsigned.len().saturating_sub(MAX_UNSIGNED);
        let late: Vec<_> = self.unsigned.drain(..late).collect();
        late.iter().map(|message| self.chat(message)).collect()
    }

    fn chat(&self, message: &ChatMessage) -> Output {
        let ChatMessage { id, peer_id, name, text, at } = message;
        let user_id = self.users.get(peer_id);
        let data = json!({
            "id": id, "user_id": user_id, "name": name, "message": text, "timestamp": at,
        });
        say("chat", &data)
    }
}

/// Users that are remembered: more than a room has people.
const MAX_USERS: usize = 2000;
/// Messages that wait for a list of people: the history, and some.
const MAX_UNSIGNED: usize = 300;

fn say(event: &str, data: &Value) -> Output {
    Output::Say(json!({ "event": event, "data": data.to_string() }).to_string())
}

/// The sections of a description, without what comes before the first: kind of media, and lines.
fn sections(sdp: &str) -> impl Iterator<Item = (&str, std::str::Lines<'_>)> {
    sdp.split("\nm=").skip(1).map(|section| {
        let kind = section.split(' ').next().unwrap_or_default();
        (kind, section.lines())
    })
}

/// A description without the layers that it offers to receive (RFC 8851, RFC 8853).
fn without_simulcast(sdp: &str) -> String {
    let of_layers = |line: &&str| line.starts_with("a=rid:") || line.starts_with("a=simulcast:");
    sdp.split_inclusive('\n').filter(|line| !of_layers(line)).collect()
}

/// What each section of our offer takes: camera, screen and microphone, in this order of those that receive.
fn receiving(offer: &str) -> Vec<Option<PublishKind>> {
    let mut pictures = [PublishKind::Camera, PublishKind::Screen].into_iter();
    sections(offer)
        .map(|(kind, mut lines)| match kind {
            _ if !lines.any(|line| line.trim_end() == "a=recvonly") => None,
            "video" => pictures.next(),
            "audio" => Some(PublishKind::Microphone),
            _ => None,
        })
        .collect()
}

/// What an answer to such an offer sends.
fn sending(offered: &[Option<PublishKind>], answer: &str) -> BTreeSet<PublishKind> {
    let sends = |mut lines: std::str::Lines<'_>| {
        let is_rejected = lines.next().is_none_or(|first| first.split(' ').nth(1) == Some("0"));
        let directions = ["a=recvonly", "a=inactive"];
        !is_rejected && !lines.any(|line| directions.contains(&line.trim_end()))
    };
    let kinds = offered.iter().zip(sections(answer)).filter(|(_, (_, lines))| sends(lines.clone()));
    kinds.filter_map(|(kind, _)| *kind).collect()
}

#[cfg(test)]
mod tests {
    use common::signal::{ClientMessage, Participant, ServerMessage};

    use super::*;

    const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:0\r\n\
                         m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=sendonly\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=sendonly\r\n\
                         m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=recvonly\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=recvonly\r\n\
                         m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=recvonly\r\n";

    fn answer(camera: &str, microphone: &str) -> String {
        format!(
            "v=0\r\nm=application 9 x y\r\nm=video 9 x 96\r\na=recvonly\r\nm=audio 9 x 111\r\na=recvonly\r\n\
             m=video 9 x 96\r\na={camera}\r\nm=video 9 x 96\r\na=inactive\r\nm=audio 9 x 111\r\na={microphone}\r\n"
        )
    }

    fn told(outputs: &[Output]) -> Vec<&ClientMessage> {
        let tells = outputs.iter().filter_map(|output| match output {
            Output::Tell(message) => Some(message),
            Output::Say(_) => None,
        });
        tells.collect()
    }

    fn said(output: &Output) -> (String, Value) {
        let Output::Say(text) = output else { panic!("{output:?}") };
        let message: Value = serde_json::from_str(text).unwrap();
        let data = serde_json::from_str(message["data"].as_str().unwrap()).unwrap();
        (message["event"].as_str().unwrap().to_owned(), data)
    }

    #[test]
    fn data_is_json_in_a_text_or_json_itself() {
        let answer = Some(Heard::Answer { sdp: "v=0".into() });
        assert_eq!(parse(r#"{"event":"answer","data":"{\"type\":\"answer\",\"sdp\":\"v=0\"}"}"#), answer);
        assert_eq!(parse(r#"{"event":"answer","data":{"type":"answer","sdp":"v=0"}}"#), answer);
        let candidate = parse(
            r#"{"event":"candidate","data":"{\"candidate\":\"candidate:1\",\"sdpMid\":\"\",\"sdpMLineIndex\":2}"}"#,
        );
        let expected =
            Heard::Candidate { candidate: "candidate:1".into(), sdp_mid: None, sdp_m_line_index: Some(2) };
        assert_eq!(candidate, Some(expected));
        let chat = Some(Heard::Chat { text: "hi".into() });
        for text in [r#""hi""#, r#"{"message":"hi"}"#, r#""{\"text\":\"hi\"}""#] {
            assert_eq!(parse(&format!(r#"{{"event":"chat","data":{text}}}"#)), chat, "{text}");
        }
        for other in [
            "",
            "[]",
            r#"{"event":"dance"}"#,
            r#"{"event":"answer"}"#,
            r#"{"event":"answer","data":"x"}"#,
            r#"{"data":1}"#,
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn an_offer_of_layers_is_told_without_them() {
        let layers = "a=rid:h recv\r\na=rid:l recv\r\na=simulcast:recv h;l\r\n";
        let sdp = OFFER.replace("a=recvonly\r\n", &format!("a=recvonly\r\n{layers}"));
        let offer = Translator::default().handle(Input::Said(ServerMessage::Offer { sdp }));
        assert_eq!(said(&offer[0]), ("offer".to_owned(), json!({ "type": "offer", "sdp": OFFER })));
    }

    #[test]
    fn what_an_answer_sends_is_published_once_it_is_connected_and_unpublished_when_it_ends() {
        let mut page = Translator::default();
        let offer = page.handle(Input::Said(ServerMessage::Offer { sdp: OFFER.into() }));
        assert_eq!(said(&offer[0]), ("offer".to_owned(), json!({ "type": "offer", "sdp": OFFER })));
        let answered = page.handle(Input::Heard(Heard::Answer { sdp: answer("sendonly", "sendrecv") }));
        assert!(matches!(told(&answered)[..], [ClientMessage::Answer { .. }]), "it is not connected");
        let publish = |kind| ClientMessage::Publish { kind, name: None };
        let connected = page.handle(Input::State(PeerState::Connected));
        assert_eq!(told(&connected), [&publish(PublishKind::Camera), &publish(PublishKind::Microphone)]);
        assert_eq!(page.handle(Input::State(PeerState::Connected)), [], "once");
        page.handle(Input::Said(ServerMessage::Offer { sdp: OFFER.into() }));
        let muted = page.handle(Input::Heard(Heard::Answer { sdp: answer("inactive", "sendonly") }));
        let ended = ClientMessage::Unpublish { kind: PublishKind::Camera };
        assert_eq!(told(&muted)[1..], [&ended]);
        // A moderator ends it, and the next answer begins again.
        let by_moderator =
            ServerMessage::Unpublished { kind: PublishKind::Microphone, reason: Some("muted".into()) };
        assert_eq!(page.handle(Input::Said(by_moderator)), []);
        assert_eq!(page.handle(Input::State(PeerState::Lost)), []);
        let again = page.handle(Input::Heard(Heard::Answer { sdp: answer("inactive", "sendonly") }));
        assert_eq!(told(&again)[1..], [&publish(PublishKind::Microphone)]);
    }

    #[test]
    fn a_rejected_section_sends_nothing() {
        let offered = receiving(OFFER);
        assert_eq!(offered.iter().flatten().count(), 3);
        let rejected = answer("sendonly", "sendonly")
            .replace("m=video 9 x 96\r\na=sendonly", "m=video 0 x 96\r\na=sendonly");
        assert_eq!(sending(&offered, &rejected), BTreeSet::from([PublishKind::Microphone]));
        assert_eq!(sending(&offered, "v=0"), BTreeSet::new());
    }

    #[test]
    fn chat_names_who_wrote_it() {
        let mut page = Translator::default();
        let peer_id = PeerId::unique();
        let at = chrono::DateTime::UNIX_EPOCH;
        let message = ChatMessage { id: 7, peer_id, name: Some("Ann".into()), text: "hi".into(), at };
        let history = ServerMessage::ChatHistory { messages: vec![message.clone()] };
        assert_eq!(page.handle(Input::Said(history.clone())), [], "nobody is known so far");
        let participant = json!({ "peerId": peer_id, "role": "viewer", "userId": "u1" });
        let participant: Participant = serde_json::from_value(participant).unwrap();
        let list = ServerMessage::Participants { participants: vec![participant] };
        let first = page.handle(Input::Said(list.clone()));
        assert_eq!(page.handle(Input::Said(list)), [], "once");
        let (event, data) = said(&first[0]);
        assert_eq!(
            (event.as_str(), &data["user_id"], &data["name"], &data["message"]),
            ("chat", &json!("u1"), &json!("Ann"), &json!("hi"))
        );
        assert_eq!(page.handle(Input::Said(history)), first);
        assert_eq!(page.handle(Input::Said(ServerMessage::Chat(message))), first);
    }
}
