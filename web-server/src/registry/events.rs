//! What has happened to streamers lately, for those who want to be told: one ring for all of them, read by position. Pure.
//!
//! ```text
//! Registry ───push──▶ Log (ring) ──read(after, …)──▶ Page ──▶ one task per listener, as fast as its client takes it
//! other nodes ─hear──▶    └──read(own)──▶ other nodes
//! ```
//!
//! Nothing is kept for a listener: it asks for what came after the last that it has, as does one that comes back with the id of
//! that (`Last-Event-ID`). Who is so slow that the ring has lost what he has not read is told so, and costs nobody anything.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use common::event::{Happening, StreamerEvent};
use common::id::StreamerId;
use common::signal::Role;
use tokio::sync::watch;

/// Events that are kept: some minutes of a busy server, about 2 MB. When there are more, the oldest go.
const MOST: usize = 4096;
/// Most events of one [`Page`].
pub const PAGE: usize = 64;

/// Where in the sequence of events: after which. Written as the `id` of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Tells the sequences of different web-servers apart.
    epoch: u32,
    /// Counts from 1.
    seq: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}-{}", self.epoch, self.seq)
    }
}

/// It is the id of no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is the id of no event")]
pub struct Malformed;

impl FromStr for Position {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let (epoch, seq) = text.split_once('-').ok_or(Malformed)?;
        let epoch = u32::from_str_radix(epoch, 16).map_err(|_| Malformed)?;
        Ok(Self { epoch, seq: seq.parse().map_err(|_| Malformed)? })
    }
}

/// From where on somebody wants to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// Whatever comes.
    Now,
    /// What came after this.
    Position(Position),
    /// After something that means nothing to us.
    Unknown,
}

/// Of what somebody is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interest {
    /// Of this streamer alone; `None`: of all.
    pub of: Option<StreamerId>,
    /// What may be told to this role.
    pub role: Role,
    /// Whose streamers.
    pub whose: Whose,
}

/// Whose streamers somebody wants to be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Those of all nodes of the cluster.
    All,
    /// Those that are here: this is what other nodes are told.
    Ours,
}

impl Interest {
    fn admits(&self, event: &StreamerEvent) -> bool {
        self.of.as_ref().is_none_or(|id| *id == event.streamer) && event.what.needs() <= self.role
    }
}

/// What another node tells.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// Something has happened to a streamer of its own.
    Event(StreamerEvent),
    /// Some of what it has told is lost.
    Gap,
}

/// An entry of the ring.
#[derive(Debug)]
enum Entry {
    Ours(Arc<StreamerEvent>),
    Theirs(Arc<StreamerEvent>),
    /// Some of theirs are missing here.
    Gap,
}

/// Some events, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// Each with its position.
    pub events: Vec<(Position, Arc<StreamerEvent>)>,
    /// From where to go on.
    pub next: Position,
    /// Some before these are lost.
    pub missed: bool,
    /// There is more already.
    pub more: bool,
    /// Nothing follows: the streamer is gone.
    pub over: bool,
}

/// How far the sequence is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Latest {
    seq: u64,
    /// The web-server ends: nothing follows.
    pub closing: bool,
}

/// The ring.
#[derive(Debug)]
pub struct Log {
    epoch: u32,
    kept: VecDeque<Entry>,
    /// Of each streamer of ours, the newest event that is not kept any more. Those that are gone with all their events are not in here.
    lost: HashMap<StreamerId, u64>,
    latest: watch::Sender<Latest>,
}

impl Log {
    /// An empty one. `epoch` differs from that of any other web-server.
    pub fn new(epoch: u32) -> Self {
        let latest = watch::Sender::new(Latest::default());
        Self { epoch, kept: VecDeque::new(), lost: HashMap::new(), latest }
    }

    /// Told of each event.
    pub fn latest(&self) -> watch::Receiver<Latest> {
        self.latest.subscribe()
    }

    /// Nothing follows.
    pub fn close(&self) {
        self.latest.send_modify(|latest| latest.closing = true);
    }

    /// Adds an event of a streamer that is here.
    pub fn push(&mut self, event: StreamerEvent) {
        self.add(Entry::Ours(Arc::new(event)));
    }

    /// Adds what another node tells.
    pub fn hear(&mut self, news: News) {
        self.add(match news {
            News::Event(event) => Entry::Theirs(Arc::new(event)),
            News::Gap => Entry::Gap,
        });
    }

    fn add(&mut self, entry: Entry) {
        if self.kept.len() == MOST {
            self.lose_oldest();
        }
        self.kept.push_back(entry);
        self.latest.send_modify(|latest| latest.seq += 1);
    }

    fn lose_oldest(&mut self) {
        let seq = self.first();
        // Who listens to one streamer listens at the node that has it.
        let Some(Entry::Ours(oldest)) = self.kept.pop_front() else { return };
        if oldest.what == Happening::Deleted {
            // Whoever listens to it notices that it is gone.
            self.lost.remove(&oldest.streamer);
        } else {
            self.lost.insert(oldest.streamer.clone(), seq);
        }
    }

    fn last(&self) -> u64 {
        self.latest.borrow().seq
    }

    /// Number of the oldest event that is kept, or of the next if none is.
    fn first(&self) -> u64 {
        self.last() + 1 - self.kept.len() as u64
    }

    fn at(&self, seq: u64) -> Position {
        Position { epoch: self.epoch, seq }
    }

    /// What came after `after`, as far as `interest` goes: [`PAGE`] events at most.
    pub fn read(&self, after: After, interest: &Interest) -> Page {
        let last = self.last();
        let (seq, missed) = match after {
            After::Now => (last, false),
            After::Position(position) if position.epoch == self.epoch && position.seq <= last => {
                (position.seq, self.lost_after(position.seq, interest))
            }
            // Of another web-server's: all since then is missed, and what is now must be asked for anyway.
            After::Position(_) | After::Unknown => (last, true),
        };
        let mut page = Page { events: Vec::new(), next: self.at(last), missed, more: false, over: false };
        let first = self.first();
        let skipped = (seq + 1).saturating_sub(first) as usize;
        for (entry, number) in self.kept.iter().skip(skipped).zip(first + skipped as u64..) {
            let event = match entry {
                Entry::Ours(event) => event,
                Entry::Theirs(event) if interest.whose == Whose::All => event,
                Entry::Gap if interest.whose == Whose::All && interest.of.is_none() => {
                    // It is told before what comes after it.
                    if !page.events.is_empty() {
                        page.more = true;
                        break;
                    }
                    page.missed = true;
                    continue;
                }
                Entry::Theirs(_) | Entry::Gap => continue,
            };
            if !interest.admits(event) {
                continue;
            }
            if page.events.len() == PAGE {
                page.more = true;
                break;
            }
            page.next = self.at(number);
            page.events.push((page.next, Arc::clone(event)));
        }
        if !page.more {
            page.next = self.at(last);
        }
        page
    }

    fn lost_after(&self, seq: u64, interest: &Interest) -> bool {
        match &interest.of {
            Some(id) => self.lost.get(id).is_some_and(|lost| *lost > seq),
            None => self.first() > seq + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use common::signal::StreamerState;

    fn id(text: &str) -> StreamerId {
        StreamerId::parse(text).unwrap()
    }

    fn event(streamer: &str, what: Happening) -> StreamerEvent {
        StreamerEvent { at: DateTime::UNIX_EPOCH, streamer: id(streamer), what }
    }

    fn state(streamer: &str) -> StreamerEvent {
        event(streamer, Happening::State { state: StreamerState::Running, reason: None })
    }

    fn of(streamer: &str, role: Role) -> Interest {
        Interest { of: Some(id(streamer)), role, whose: Whose::All }
    }

    const ALL: Interest = Interest { of: None, role: Role::Controller, whose: Whose::All };

    fn names(page: &Page) -> Vec<&'static str> {
        page.events.iter().map(|(_, event)| event.what.name()).collect()
    }

    #[test]
    fn a_listener_is_told_what_comes_and_goes_on_where_it_was() {
        let mut log = Log::new(7);
        log.push(event("a", Happening::Created));
        let begin = log.read(After::Now, &ALL);
        assert!(begin.events.is_empty() && !begin.missed);
        log.push(state("a"));
        log.push(state("b"));
        let page = log.read(After::Position(begin.next), &ALL);
        assert_eq!((names(&page), page.missed), (vec!["state", "state"], false));
        // As one that has lost its connection after the first.
        let again = log.read(After::Position(page.events[0].0), &ALL);
        assert_eq!(again.events, page.events[1..]);
        assert!(log.read(After::Position(page.next), &ALL).events.is_empty());
    }

    #[test]
    fn each_is_told_only_what_it_may_know_of_what_it_asked_for() {
        let mut log = Log::new(7);
        let begin = After::Position(log.read(After::Now, &ALL).next);
        log.push(event("a", Happening::ClipboardChanged));
        log.push(event("b", Happening::ClipboardChanged));
        log.push(state("a"));
        assert_eq!(names(&log.read(begin, &of("a", Role::Viewer))), ["state"]);
        assert_eq!(names(&log.read(begin, &of("a", Role::Controller))), ["clipboard-changed", "state"]);
        assert_eq!(names(&log.read(begin, &of("b", Role::Viewer))), [] as [&str; 0]);
        assert_eq!(log.read(begin, &ALL).events.len(), 3);
    }

    #[test]
    fn who_is_too_slow_is_told_so_and_gets_what_is_left() {
        let mut log = Log::new(7);
        log.push(state("quiet"));
        let begin = After::Position(log.read(After::Now, &ALL).next);
        for _ in 0..MOST {
            log.push(state("busy"));
        }
        let page = log.read(begin, &ALL);
        assert!(!page.missed, "all that came after are kept");
        log.push(state("busy"));
        let page = log.read(begin, &ALL);
        assert!(page.missed && page.more && page.events.len() == PAGE);
        assert!(log.read(begin, &of("busy", Role::Viewer)).missed);
        assert!(!log.read(begin, &of("quiet", Role::Viewer)).missed, "nothing of it was lost after that");
        assert_eq!(log.kept.len(), MOST);
        let mut read = 0;
        let mut page = page;
        loop {
            read += page.events.len();
            if !page.more {
                break;
            }
            page = log.read(After::Position(page.next), &ALL);
            assert!(!page.missed);
        }
        assert_eq!(read, MOST);
    }

    #[test]
    fn what_other_nodes_tell_is_told_here_and_not_to_them_again() {
        let mut log = Log::new(7);
        let begin = After::Position(log.read(After::Now, &ALL).next);
        log.push(state("ours"));
        log.hear(News::Event(event("theirs", Happening::Created)));
        log.hear(News::Gap);
        log.hear(News::Event(state("theirs")));
        let page = log.read(begin, &ALL);
        assert_eq!((names(&page), page.missed, page.more), (vec!["state", "created"], false, true));
        let page = log.read(After::Position(page.next), &ALL);
        assert_eq!((names(&page), page.missed, page.more), (vec!["state"], true, false));
        assert!(!log.read(After::Position(page.next), &ALL).missed, "it is told once");
        let ours = log.read(begin, &Interest { whose: Whose::Ours, ..ALL });
        assert_eq!((names(&ours), ours.missed, ours.next), (vec!["state"], false, page.next));
        assert!(!log.read(begin, &of("ours", Role::Viewer)).missed);
        log.hear(News::Gap);
        let page = log.read(After::Position(page.next), &ALL);
        assert!(page.missed && page.events.is_empty() && !page.more);
    }

    #[test]
    fn what_is_lost_is_forgotten_with_its_streamer() {
        let mut log = Log::new(7);
        for n in 0..MOST {
            log.push(event(&format!("s{n}"), Happening::Created));
            log.push(event(&format!("s{n}"), Happening::Deleted));
        }
        assert!(log.lost.len() <= 1, "{}", log.lost.len());
    }

    #[test]
    fn an_id_of_another_server_or_of_nothing_means_that_all_was_missed() {
        let mut log = Log::new(7);
        log.push(state("a"));
        for after in ["00000008-1", "00000007-2"] {
            let page = log.read(After::Position(after.parse().unwrap()), &ALL);
            assert!(page.missed && page.events.is_empty(), "{after}");
            assert_eq!(page.next.to_string(), "00000007-1");
        }
        assert!(log.read(After::Unknown, &ALL).missed);
        for text in ["", "7", "x-1", "7-", "7-x", "7-1-1", "100000000-1"] {
            assert_eq!(text.parse::<Position>(), Err(Malformed), "{text}");
        }
    }

    #[test]
    fn listeners_are_woken_by_events_and_by_the_end() {
        let mut log = Log::new(7);
        let mut latest = log.latest();
        assert!(!latest.has_changed().unwrap());
        log.push(state("a"));
        assert!(latest.has_changed().unwrap() && !latest.borrow_and_update().closing);
        log.close();
        assert!(latest.borrow_and_update().closing);
    }
}
