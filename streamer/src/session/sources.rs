//! The sources of a session: what they are, where each is in its life, and its feeds. Decides nothing by
//! itself but who is wanted; the control loop owns it.
//!
//! ```text
//! Idle ──wanted──▶ Starting ──started──▶ Warming ──first keyframe──▶ Running ⇄ Offline
//!  ▲                   └── first keyframe, then started ────────────────┘        │
//!  │                                                                             │
//!  └───────────────────────────── nobody wants it any more ─────────────────────┘
//! Starting, Warming, Running, Offline ──ended by itself──▶ Ended ──asked for anew──▶ Starting
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use common::id::{MAIN_SOURCE, SlotIndex, SourceName};
use common::ipc::Json;
use common::signal::StreamInfo;
use common::slots::{self, SourceState, rendition_height, rendition_name};
use common::spec::SourceSpec;

use crate::feed::{Demand, Listening, Tapping};
use crate::link::ReplyTo;
use crate::peer::{Binding, FeedId};
use crate::source::{HostStatus, Info, Running, SourceKey};

/// A source that nobody wants goes on for so long: whoever switches to and fro finds it running.
const LINGER: Duration = Duration::from_secs(5);

/// What a slot is to show, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The source.
    pub source: SourceName,
    /// Its rendition: lines; `None`: as it is.
    pub height: Option<u32>,
}

impl Shown {
    /// The source as it is.
    pub fn native(source: impl Into<SourceName>) -> Self {
        Self { source: source.into(), height: None }
    }

    /// The name under which it can be asked for.
    pub fn name(&self) -> String {
        rendition_name(&self.source, &self.quality())
    }

    /// As in `360p`; empty for the source as it is.
    pub fn quality(&self) -> String {
        self.height.map(|height| format!("{height}p")).unwrap_or_default()
    }
}

/// A feed that shards know.
#[derive(Clone)]
pub struct Feed {
    /// Its id.
    pub id: FeedId,
    /// The way back from its viewers.
    pub demand: Arc<Demand>,
}

/// The sound of a source that runs, and the way to hear it inside the streamer.
#[derive(Clone)]
pub struct Sound {
    /// Where it is published.
    pub feed: Feed,
    /// Takes listeners.
    pub listening: Listening,
}

/// Somebody who waits for a source to run.
pub enum Waiter {
    /// The web-server started the session.
    Session(ReplyTo<()>),
    /// It is to be shown in a slot that is kept for it.
    Slot {
        /// Who asked.
        to: ReplyTo<Json<StreamInfo>>,
        /// Where.
        slot: SlotIndex,
        /// What.
        shown: Shown,
    },
}

/// Life of a source.
pub enum Life {
    /// Not wanted.
    Idle,
    /// Coming up.
    Starting(Early),
    /// Started, without a picture.
    Warming(Box<dyn Running>),
    /// Pictures come.
    Running(Box<dyn Running>),
    /// Lost; it tries again by itself.
    Offline(Box<dyn Running>, String),
    /// It ended by itself, and why.
    Ended(String),
}

impl Life {
    /// The running source, if it runs.
    pub fn into_running(self) -> Option<Box<dyn Running>> {
        match self {
            Life::Warming(source) | Life::Running(source) | Life::Offline(source, _) => Some(source),
            Life::Idle | Life::Starting(_) | Life::Ended(_) => None,
        }
    }
}

/// What a source has said before the news that it has been started: both come by queues of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Early {
    /// Nothing.
    Nothing,
    /// The first keyframe is there.
    Keyframe,
    /// It is lost, and why.
    Offline(String),
}

/// One source.
pub struct SourceEntry {
    /// What it is.
    pub spec: SourceSpec,
    /// Made for a slot: it goes when nothing shows it any more.
    pub temporary: bool,
    /// Where it is in its life.
    pub life: Life,
    /// Names this life of it: what an earlier one says is ignored.
    pub key: SourceKey,
    /// How it does, if it is a Moonlight host.
    pub host: Arc<HostStatus>,
    /// Its picture.
    pub video: Feed,
    /// The low layer of its picture: of what a peer publishes, or encoded here for paths that are narrower than others.
    pub low: Option<Feed>,
    /// Its sound. Of a source that encodes another one anew, that one's.
    pub audio: Feed,
    /// Lets others encode it anew.
    pub tapping: Option<Tapping>,
    /// Lets others inside the streamer hear its sound.
    pub listening: Option<Listening>,
    /// The feeds of its renditions, by their lines.
    pub renditions: BTreeMap<u32, Feed>,
    /// Who waits for it to run.
    pub waiting: Vec<Waiter>,
    /// Since when it runs.
    pub since: Option<DateTime<Utc>>,
    unwanted: Option<Instant>,
}

impl SourceEntry {
    /// A source that is not running.
    pub fn new(spec: SourceSpec, temporary: bool, video: Feed, audio: Feed) -> Self {
        Self {
            spec,
            temporary,
            life: Life::Idle,
            key: SourceKey::default(),
            host: Arc::default(),
            video,
            low: None,
            audio,
            tapping: None,
            listening: None,
            renditions: BTreeMap::new(),
            waiting: Vec::new(),
            since: None,
            unwanted: None,
        }
    }

    /// The running source.
    pub fn running(&self) -> Option<&dyn Running> {
        match &self.life {
            Life::Warming(source) | Life::Running(source) | Life::Offline(source, _) => Some(&**source),
            Life::Idle | Life::Starting(_) | Life::Ended(_) => None,
        }
    }

    /// Somebody asks for it: what has ended may begin again.
    pub fn retry(&mut self) {
        if matches!(self.life, Life::Ended(_)) {
            self.life = Life::Idle;
        }
    }

    /// True while pictures come.
    pub fn is_running(&self) -> bool {
        matches!(self.life, Life::Running(_))
    }

    /// What the running source is.
    pub fn info(&self) -> Option<Info> {
        self.running().map(|source| source.info())
    }

    /// True for what has raw pictures, from which renditions are made.
    pub fn has_frames(&self) -> bool {
        matches!(self.spec, SourceSpec::Desktop(_) | SourceSpec::Test(_) | SourceSpec::Window(_))
    }

    /// Name of the source that it encodes anew, if `others` has it.
    pub fn upstream<'a>(&self, others: &'a BTreeMap<SourceName, SourceEntry>) -> Option<&'a str> {
        let SourceSpec::Ffmpeg(spec) = &self.spec else { return None };
        others.get_key_value(spec.input.expose()).map(|(name, _)| name.as_str())
    }

    fn state(&self) -> (SourceState, Option<String>) {
        match &self.life {
            Life::Idle => (SourceState::Idle, None),
            Life::Starting(_) | Life::Warming(_) => (SourceState::Starting, None),
            Life::Running(_) => (SourceState::Running, None),
            Life::Offline(_, reason) | Life::Ended(reason) => (SourceState::Offline, Some(reason.clone())),
        }
    }

    /// All feeds, renditions included.
    pub fn feeds(&self) -> impl Iterator<Item = &Feed> {
        [&self.video, &self.audio].into_iter().chain(&self.low).chain(self.renditions.values())
    }

    /// The feeds that are encoded from its pictures, by their lines; `None`: as many as it has.
    pub fn encodings(&self) -> impl Iterator<Item = (Option<u32>, &Feed)> {
        let low = self.low.iter().filter(|_| self.has_frames()).map(|feed| (None, feed));
        low.chain(self.renditions.iter().map(|(height, feed)| (Some(*height), feed)))
    }

    /// As REST shows it.
    pub fn view(&self, name: &str) -> slots::Source {
        let (state, reason) = self.state();
        let info = self.info();
        let reader = info.as_ref().and_then(|info| info.reader.clone());
        let info = info.filter(|_| self.is_running());
        let pictures = std::iter::once(&self.video).chain(&self.low).chain(self.renditions.values());
        slots::Source {
            name: name.to_owned(),
            source: self.spec.redacted(),
            state,
            reason,
            size: info.as_ref().map(|info| (info.size.width, info.size.height)),
            codec: info.map(|info| info.codec),
            reader,
            host: self.host.get(),
            watchers: pictures.map(|feed| feed.demand.watchers()).sum(),
            pointer: None,
        }
    }
}

/// All sources, by name.
#[derive(Default)]
pub struct Sources {
    entries: BTreeMap<SourceName, SourceEntry>,
    next_feed: u32,
    next_key: u64,
}

impl Sources {
    /// A new feed. Shards are to be told.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn feed(&mut self) -> std::io::Result<Feed> {
        let id = FeedId(self.next_feed);
        let demand = Arc::new(Demand::new()?);
        self.next_feed += 1;
        Ok(Feed { id, demand })
    }

    /// A name for a new life of a source.
    pub fn key(&mut self) -> SourceKey {
        self.next_key += 1;
        SourceKey(self.next_key)
    }

    /// Adds a source.
    pub fn insert(&mut self, name: SourceName, entry: SourceEntry) {
        self.entries.insert(name, entry);
    }

    /// Forgets a source.
    pub fn remove(&mut self, name: &str) -> Option<SourceEntry> {
        self.entries.remove(name)
    }

    /// All of them, by value.
    pub fn into_entries(self) -> impl Iterator<Item = SourceEntry> {
        self.entries.into_values()
    }

    /// All of them.
    pub fn all(&self) -> &BTreeMap<SourceName, SourceEntry> {
        &self.entries
    }

    /// All of them.
    pub fn all_mut(&mut self) -> &mut BTreeMap<SourceName, SourceEntry> {
        &mut self.entries
    }

    /// One of them.
    pub fn get(&self, name: &str) -> Option<&SourceEntry> {
        self.entries.get(name)
    }

    /// One of them.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut SourceEntry> {
        self.entries.get_mut(name)
    }

    /// The one that lives this life.
    pub fn by_key(&self, key: SourceKey) -> Option<SourceName> {
        self.entries.iter().find(|(_, entry)| entry.key == key).map(|(name, _)| name.clone())
    }

    /// What the session is about.
    pub fn main(&self) -> Option<&SourceEntry> {
        self.get(MAIN_SOURCE)
    }

    /// What a stream of this name and quality is; `None` if there is none. A name that there is goes before a
    /// rendition that could be made: `camera1-360p` may be a source of its own.
    pub fn resolve(&self, stream: &str, quality: &str) -> Option<Shown> {
        let name = rendition_name(stream, quality);
        if self.entries.contains_key(&name) {
            return Some(Shown::native(name));
        }
        let (source, quality) = match quality {
            "" | "native" => stream.rsplit_once('-')?,
            quality => (stream, quality),
        };
        let height = rendition_height(quality)?;
        let entry = self.get(source).filter(|entry| entry.has_frames())?;
        // What is not smaller is no rendition of it.
        let own = entry.info().map(|info| info.size.height);
        let height = Some(height).filter(|height| own.is_none_or(|own| *height < own));
        Some(Shown { source: source.to_owned(), height })
    }

    /// What shards are to send for it; `None` for a rendition that has no feed yet, or a source that is gone.
    pub fn binding(&self, shown: &Shown) -> Option<Binding> {
        let entry = self.get(&shown.source)?;
        let video = match shown.height {
            None => entry.video.id,
            Some(height) => entry.renditions.get(&height)?.id,
        };
        let info = entry.info();
        // Of a source that does not run it is not known: a sound that never comes costs nothing.
        let sounds = info.as_ref().is_none_or(|info| info.audio);
        let upstream = entry.upstream(&self.entries).and_then(|name| self.get(name));
        let audio = match upstream {
            Some(upstream) => Some(upstream.audio.id),
            None => sounds.then_some(entry.audio.id),
        };
        let low = entry.low.as_ref().filter(|_| shown.height.is_none()).map(|feed| feed.id);
        Some(Binding { video, low, audio })
    }

    /// What is heard with it, if it has sound and runs.
    pub fn sound_of(&self, shown: &Shown) -> Option<Sound> {
        let entry = self.get(&shown.source)?;
        self.binding(shown)?.audio?;
        let upstream = entry.upstream(&self.entries).and_then(|name| self.get(name));
        let heard = upstream.unwrap_or(entry);
        Some(Sound { feed: heard.audio.clone(), listening: heard.listening.clone()? })
    }

    /// Sources that are to be started, and those that are to be stopped, given those that are shown to somebody.
    pub fn due(&mut self, now: Instant, shown: &[SourceName]) -> Due {
        let mut wanted: Vec<SourceName> = shown.to_vec();
        wanted.extend(
            self.entries
                .iter()
                .filter(|(_, entry)| entry.spec.is_always_on() || !entry.waiting.is_empty())
                .map(|(name, _)| name.clone()),
        );
        let upstreams: Vec<_> = wanted
            .iter()
            .filter_map(|name| self.entries.get(name)?.upstream(&self.entries).map(str::to_owned))
            .collect();
        wanted.extend(upstreams);
        let mut due = Due::default();
        for (name, entry) in &mut self.entries {
            if wanted.contains(name) {
                entry.unwanted = None;
                if matches!(entry.life, Life::Idle) {
                    due.start.push(name.clone());
                }
            } else if matches!(entry.life, Life::Idle | Life::Ended(_)) {
                entry.life = Life::Idle;
            } else {
                let since = *entry.unwanted.get_or_insert(now);
                if now.saturating_duration_since(since) >= LINGER {
                    due.stop.push(name.clone());
                }
            }
        }
        // Those that others are made from come first.
        due.start.sort_by_key(|name| self.entries[name].upstream(&self.entries).is_some());
        due
    }
}

/// What is to be done with sources.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// To be started, in this order.
    pub start: Vec<SourceName>,
    /// To be stopped.
    pub stop: Vec<SourceName>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::spec::StreamSpec;

    fn sources(specs: &[(&str, &str)]) -> Sources {
        let mut sources = Sources::default();
        for (name, spec) in specs {
            let spec = spec.parse::<StreamSpec>().unwrap().0;
            let video = sources.feed().unwrap();
            let audio = sources.feed().unwrap();
            sources.insert((*name).to_owned(), SourceEntry::new(spec, false, video, audio));
        }
        sources
    }

    fn cameras() -> Sources {
        sources(&[
            ("camera1", "rtsp://h/1"),
            ("camera1-360p", "ffmpeg:camera1#height=360"),
            ("camera2", "rtsp://h/2#always_on"),
            ("test", "test:"),
        ])
    }

    #[test]
    fn a_quality_is_a_source_of_that_name_or_a_rendition() {
        let sources = cameras();
        for (stream, quality, expected) in [
            ("camera1", "", Some(("camera1", None))),
            ("camera1", "native", Some(("camera1", None))),
            ("camera1", "360p", Some(("camera1-360p", None))),
            ("camera1-360p", "", Some(("camera1-360p", None))),
            ("camera1", "180p", None),
            ("test", "180p", Some(("test", Some(180)))),
            ("test-180p", "", Some(("test", Some(180)))),
            ("nothing", "", None),
            ("", "", None),
        ] {
            let shown = sources.resolve(stream, quality);
            let shown = shown.as_ref().map(|shown| (shown.source.as_str(), shown.height));
            assert_eq!(shown, expected, "{stream} {quality}");
        }
    }

    #[test]
    fn a_variant_has_the_sound_of_what_it_is_made_from() {
        let sources = cameras();
        let original = sources.binding(&Shown::native("camera1")).unwrap();
        let variant = sources.binding(&Shown::native("camera1-360p")).unwrap();
        assert_eq!(original.audio, variant.audio);
        assert_ne!(original.video, variant.video);
    }

    #[test]
    fn what_is_wanted_starts_with_what_it_is_made_from_and_stops_after_a_while() {
        let (mut sources, start) = (cameras(), Instant::now());
        let due = sources.due(start, &["camera1-360p".to_owned()]);
        assert_eq!(due.start, ["camera1", "camera2", "test", "camera1-360p"]);
        for entry in sources.all_mut().values_mut() {
            entry.life = Life::Starting(Early::Nothing);
        }
        assert_eq!(sources.due(start, &["camera1".to_owned()]), Due::default());
        let due = sources.due(start + LINGER, &["camera1".to_owned()]);
        assert_eq!(due, Due { start: vec![], stop: vec!["camera1-360p".to_owned()] });
        assert_eq!(sources.due(start + LINGER, &["camera1-360p".to_owned()]), Due::default());
        let due = sources.due(start + 2 * LINGER, &[]);
        assert_eq!(due.stop, Vec::<String>::new(), "the time begins anew");
    }

    #[test]
    fn what_ended_is_not_started_again_and_again() {
        let (mut sources, now) = (sources(&[("file", "ffmpeg:a.mp4")]), Instant::now());
        sources.get_mut("file").unwrap().life = Life::Ended("the file has ended".into());
        assert_eq!(sources.due(now, &["file".to_owned()]), Due::default());
        sources.due(now, &[]);
        assert_eq!(sources.due(now, &["file".to_owned()]).start, ["file"]);
    }
}
