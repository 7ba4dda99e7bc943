//! What peers say to each other: chat and what is kept of it, reactions, raised hands, muted microphones. Pure: how often, and
//! within which bounds. Whether a peer has the right was asked before ([`common::access`]).
//!
//! ```text
//! Session::signal ── who, what, now ──▶ Room ── what to tell whom, or why not ──▶ Session
//! ```
//!
//! Nothing of it leaves its session: two rooms are two processes.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use chrono::{DateTime, Utc};
use common::api::Peer;
use common::id::PeerId;
use common::ipc::{Code, RequestError};
use common::signal::ChatMessage;

use crate::peer::limit::Limit;

/// Longest text, characters.
const MAX_TEXT: usize = 2000;
/// Longest reaction, characters: a flag, or a family of emoji.
const MAX_EMOJI: usize = 8;
/// Texts of one peer, a second.
const TEXTS_PER_SECOND: u32 = 5;
/// Reactions, and changes of hand and microphone, of one peer, a second: as many as a finger taps. Each goes to everybody.
const SIGNS_PER_SECOND: u32 = 10;
/// Messages that are kept for those who join. The oldest goes when there is one more.
const MAX_KEPT: usize = 200;
/// Bytes of the texts and names that are kept. The oldest go when there are more, so that no joiner is sent more than this.
const MAX_KEPT_BYTES: usize = 128 * 1024;

/// What one peer shows of itself, and how often it has spoken.
#[derive(Debug)]
struct Member {
    muted: bool,
    /// It was muted by a moderator, and is until it publishes its microphone again.
    silenced: bool,
    hand_raised: bool,
    texts: Limit,
    signs: Limit,
}

impl Member {
    fn new(now: Instant) -> Self {
        let texts = Limit::new(now, TEXTS_PER_SECOND);
        let signs = Limit::new(now, SIGNS_PER_SECOND);
        Self { muted: false, silenced: false, hand_raised: false, texts, signs }
    }
}

/// What is said among the peers of one session.
#[derive(Debug, Default)]
pub struct Room {
    /// Of peers that have said anything.
    members: BTreeMap<PeerId, Member>,
    kept: VecDeque<ChatMessage>,
    kept_bytes: usize,
    /// Of the last message.
    last_id: u64,
}

impl Room {
    /// A text for everybody, which is kept.
    ///
    /// # Errors
    /// The text is out of its bounds, or the peer sends too many.
    pub fn chat(
        &mut self,
        now: Instant,
        at: DateTime<Utc>,
        by: &Peer,
        text: String,
    ) -> Result<ChatMessage, RequestError> {
        let unprintable = |c: char| c.is_control() && c != '\n' && c != '\t';
        check("text", &text, MAX_TEXT, unprintable)?;
        if !self.member(now, by.id).texts.admit(now) {
            return Err(too_many("texts", TEXTS_PER_SECOND));
        }
        self.last_id += 1;
        let name = by.display_name.clone();
        let message = ChatMessage { id: self.last_id, peer_id: by.id, name, text, at };
        self.keep(message.clone());
        Ok(message)
    }

    /// A reaction for everybody.
    ///
    /// # Errors
    /// The reaction is out of its bounds, or the peer sends too many.
    pub fn react(&mut self, now: Instant, by: PeerId, emoji: &str) -> Result<(), RequestError> {
        check("emoji", emoji, MAX_EMOJI, char::is_control)?;
        self.sign(now, by).map(drop)
    }

    /// A peer raises its hand, or lowers it. True if that changes something.
    ///
    /// # Errors
    /// It does so too often.
    pub fn raise_hand(&mut self, now: Instant, by: PeerId, raised: bool) -> Result<bool, RequestError> {
        let member = self.sign(now, by)?;
        Ok(std::mem::replace(&mut member.hand_raised, raised) != raised)
    }

    /// A peer has muted its microphone, or is heard again. True if that changes something.
    ///
    /// # Errors
    /// It does so too often.
    pub fn set_muted(&mut self, now: Instant, by: PeerId, muted: bool) -> Result<bool, RequestError> {
        let member = self.sign(now, by)?;
        Ok(std::mem::replace(&mut member.muted, muted) != muted)
    }

    /// A moderator acts upon another peer.
    ///
    /// # Errors
    /// It does so too often.
    pub fn moderate(&mut self, now: Instant, by: PeerId) -> Result<(), RequestError> {
        self.sign(now, by).map(drop)
    }

    /// The microphone of a peer has been muted for it.
    pub fn mute(&mut self, now: Instant, peer: PeerId) {
        let member = self.member(now, peer);
        member.muted = true;
        member.silenced = true;
    }

    /// A peer publishes its microphone, which ends what a moderator did. One that has muted itself stays so.
    pub fn speaks_again(&mut self, peer: PeerId) {
        if let Some(member) = self.members.get_mut(&peer)
            && std::mem::take(&mut member.silenced)
        {
            member.muted = false;
        }
    }

    /// A peer is gone. What it has said is kept.
    pub fn leave(&mut self, peer: PeerId) {
        self.members.remove(&peer);
    }

    /// Whether the microphone of a peer is muted.
    pub fn is_muted(&self, peer: PeerId) -> bool {
        self.members.get(&peer).is_some_and(|member| member.muted)
    }

    /// Whether a peer has raised its hand.
    pub fn has_raised_hand(&self, peer: PeerId) -> bool {
        self.members.get(&peer).is_some_and(|member| member.hand_raised)
    }

    /// What has been said and is kept, the oldest first.
    pub fn history(&self) -> Vec<ChatMessage> {
        self.kept.iter().cloned().collect()
    }

    fn member(&mut self, now: Instant, peer: PeerId) -> &mut Member {
        self.members.entry(peer).or_insert_with(|| Member::new(now))
    }

    fn sign(&mut self, now: Instant, by: PeerId) -> Result<&mut Member, RequestError> {
        let member = self.member(now, by);
        match member.signs.admit(now) {
            true => Ok(member),
            false => Err(too_many("signs", SIGNS_PER_SECOND)),
        }
    }

    fn keep(&mut self, message: ChatMessage) {
        self.kept_bytes += bytes(&message);
        self.kept.push_back(message);
        while self.kept.len() > MAX_KEPT || self.kept_bytes > MAX_KEPT_BYTES {
            let Some(oldest) = self.kept.pop_front() else { return };
            self.kept_bytes -= bytes(&oldest);
        }
    }
}

fn bytes(message: &ChatMessage) -> usize {
    message.text.len() + message.name.as_ref().map_or(0, String::len)
}

fn check(
    field: &str,
    text: &str,
    max: usize,
    unprintable: impl Fn(char) -> bool,
) -> Result<(), RequestError> {
    let invalid = |message: String| Err(RequestError::new(Code::InvalidMessage, message).with_field(field));
    let found = text.chars().count();
    if found > max || text.trim().is_empty() {
        return invalid(format!("{field} must have from 1 to {max} characters that are seen, not {found}"));
    }
    match text.chars().find(|&c| unprintable(c)) {
        Some(c) => invalid(format!("{field} must have no control characters, such as {c:?}")),
        None => Ok(()),
    }
}

fn too_many(what: &str, per_second: u32) -> RequestError {
    RequestError::new(Code::TooManyMessages, format!("at most {per_second} {what} a second; wait a moment"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use common::api::{PeerKind, PeerState, PeerStats};
    use common::signal::Role;

    use super::*;

    const AT: DateTime<Utc> = DateTime::UNIX_EPOCH;

    fn peer() -> Peer {
        Peer {
            id: PeerId::unique(),
            kind: PeerKind::Native,
            role: Role::Viewer,
            state: PeerState::Connected,
            joined: AT,
            display_name: Some("Ada".into()),
            user_id: None,
            rights: Default::default(),
            max_bitrate_kbps: None,
            session_microphone: false,
            session_camera: false,
            token_id: None,
            stats: PeerStats::default(),
        }
    }

    fn code<T>(result: Result<T, RequestError>) -> Option<(Code, Option<String>)> {
        result.err().map(|error| (error.code, error.field))
    }

    #[test]
    fn texts_and_reactions_have_bounds_that_name_their_field() {
        let now = Instant::now();
        let by = peer();
        let of = |field: &str| Some((Code::InvalidMessage, Some(field.to_owned())));
        for (text, expected) in [
            ("a", None),
            ("two\nlines\t1", None),
            (&"é".repeat(MAX_TEXT), None),
            (&"é".repeat(MAX_TEXT + 1), of("text")),
            ("", of("text")),
            (" \n ", of("text")),
            ("a\u{0}", of("text")),
            ("\u{1b}[31m", of("text")),
        ] {
            assert_eq!(code(Room::default().chat(now, AT, &by, text.into())), expected, "{text:?}");
        }
        for (emoji, expected) in
            [("👍", None), ("👩‍👩‍👧‍👦", None), ("123456789", of("emoji")), ("", of("emoji")), ("a\n", of("emoji"))]
        {
            assert_eq!(code(Room::default().react(now, by.id, emoji)), expected, "{emoji:?}");
        }
    }

    #[test]
    fn a_flood_is_cut_for_its_sender_alone() {
        let start = Instant::now();
        let mut room = Room::default();
        let loud = peer();
        let other = peer();
        let sent = (0..100).filter(|_| room.chat(start, AT, &loud, "x".into()).is_ok()).count();
        assert_eq!(sent, TEXTS_PER_SECOND as usize);
        assert_eq!(code(room.chat(start, AT, &loud, "x".into())), Some((Code::TooManyMessages, None)));
        assert!(room.chat(start, AT, &other, "x".into()).is_ok());
        assert!(room.chat(start + Duration::from_secs(1), AT, &loud, "x".into()).is_ok());
        let waved = (0..100).filter(|n| room.raise_hand(start, loud.id, n % 2 == 0).is_ok()).count();
        assert_eq!(waved, SIGNS_PER_SECOND as usize);
        assert_eq!(code(room.react(start, loud.id, "👍")), Some((Code::TooManyMessages, None)));
        // What is not valid costs nothing.
        assert_eq!(room.history().len(), TEXTS_PER_SECOND as usize + 2);
    }

    #[test]
    fn the_last_messages_are_kept_within_both_bounds_in_order() {
        let start = Instant::now();
        let mut room = Room::default();
        let by = peer();
        let at = |n: usize| start + Duration::from_millis(n as u64 * 250);
        for n in 0..MAX_KEPT + 50 {
            room.chat(at(n), AT, &by, n.to_string()).unwrap();
        }
        let kept = room.history();
        assert_eq!(kept.len(), MAX_KEPT);
        assert_eq!((kept[0].id, kept[0].text.as_str()), (51, "50"));
        assert!(kept.is_sorted_by(|a, b| a.id + 1 == b.id));
        // Four bytes a character: two hundred of these would be a megabyte and a half.
        for n in 0..MAX_KEPT {
            room.chat(at(MAX_KEPT + 50 + n), AT, &by, "🙂".repeat(MAX_TEXT)).unwrap();
        }
        let kept = room.history();
        let most = MAX_KEPT_BYTES / (4 * MAX_TEXT);
        assert!((most - 1..=most).contains(&kept.len()), "{}", kept.len());
        assert_eq!(kept.iter().map(bytes).sum::<usize>(), room.kept_bytes);
        assert_eq!(kept.last().unwrap().id, room.last_id);
    }

    #[test]
    fn whoever_leaves_leaves_words_and_nothing_else() {
        let now = Instant::now();
        let mut room = Room::default();
        let by = peer();
        room.chat(now, AT, &by, "goodbye".into()).unwrap();
        room.raise_hand(now, by.id, true).unwrap();
        assert_eq!(room.raise_hand(now, by.id, true), Ok(false), "it is up already");
        room.mute(now, by.id);
        assert!(room.is_muted(by.id) && room.has_raised_hand(by.id));
        room.speaks_again(by.id);
        assert!(!room.is_muted(by.id), "the moderator's word holds until it publishes again");
        room.set_muted(now, by.id, true).unwrap();
        room.speaks_again(by.id);
        assert!(room.is_muted(by.id), "its own holds");
        room.leave(by.id);
        assert!(!room.is_muted(by.id) && !room.has_raised_hand(by.id));
        assert_eq!(room.history()[0].name.as_deref(), Some("Ada"));
    }
}
