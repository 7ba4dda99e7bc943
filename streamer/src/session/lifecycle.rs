//! How sources come and go: started when they are wanted, stopped when nobody does, and what they say meanwhile.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use common::exit::ExitReason;
use common::id::{MAIN_SOURCE, SlotIndex, SourceName};
use common::input::{CursorShape, GeneralMessage};
use common::ipc::{Code, Json, RequestError, StreamerIpcMessage};
use common::slots::SourceList;
use common::spec::SourceSpec;

use super::sources::{Early, Entry, Feed, Life, RenditionEntry, Waiter};
use super::viewers::general;
use super::{MAIN_SLOT, Session};
use crate::feed::{AudioOutlet, VideoOutlet};
use crate::input;
use crate::link::{Link, ReplyTo};
use crate::peer::{Audience, Command, Media};
use crate::requests;
use crate::source::rendition::Rendition;
use crate::source::video::Settings;
use crate::source::{self, Ended, Event, Events, HostStatus, Outlets, Running, SourceKey, Upstream};

/// A main source that may be absent is waited for so long before the session runs without it. Reading from a camera or a URL times out
/// before, so that the reason is known; the web-server waits longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// The command of a desktop is no good.
fn command_failed(message: &str) -> RequestError {
    RequestError::new(Code::CommandFailed, message).with_field("source.command")
}

/// The outcome of starting a source.
pub type Started = Result<Box<dyn Running>, source::Error>;

impl Session {
    /// Adds a source to those that can be asked for, and its feeds to the shards'.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub(super) fn add_source(
        &mut self,
        name: SourceName,
        spec: SourceSpec,
        temporary: bool,
    ) -> std::io::Result<()> {
        let (video, audio) = (self.sources.feed()?, self.sources.feed()?);
        for feed in [&video, &audio] {
            self.tell_all(|| Command::AddFeed { feed: feed.id, demand: feed.demand.clone() });
        }
        self.sources.insert(name, Entry::new(spec, temporary, video, audio));
        Ok(())
    }

    /// Forgets a source that nothing shows any more.
    pub(super) fn drop_source(&mut self, name: &str) {
        self.stop_source(name);
        if let Some(entry) = self.sources.remove(name) {
            for feed in entry.feeds() {
                self.tell_all(|| Command::RemoveFeed { feed: feed.id });
            }
        }
    }

    /// `StartSource`: from here on sources run.
    pub(super) fn start_session(&mut self, link: &mut Link, asked: ReplyTo<()>) {
        if self.start_asked.replace(Instant::now()).is_some() {
            let error = RequestError::new(Code::AlreadyStarted, "the source has been started");
            return link.reply(asked, Err(error));
        }
        match self.sources.get_mut(MAIN_SOURCE) {
            Some(main) => main.waiting.push(Waiter::Session(asked)),
            None => self.runs(link, asked),
        }
        self.settle();
    }

    /// A camera, URL or program may come much later than its session. After a while the session runs without it, and the
    /// source is retried as every other.
    pub(super) fn run_without_source(&mut self, link: &mut Link) {
        if self.running_since.is_some() || self.start_asked.is_none_or(|asked| asked.elapsed() < PATIENCE) {
            return;
        }
        let Some(main) = self.sources.get_mut(MAIN_SOURCE) else { return };
        if !main.spec.may_be_absent() {
            return;
        }
        let waiting = std::mem::take(&mut main.waiting);
        let (sessions, slots): (Vec<_>, _) =
            waiting.into_iter().partition(|waiter| matches!(waiter, Waiter::Session(_)));
        main.waiting = slots;
        // Before the reply: whoever waits for it is told why there is no picture.
        self.tell_absence(link);
        for waiter in sessions {
            if let Waiter::Session(asked) = waiter {
                self.runs(link, asked);
            }
        }
        // That the session runs is no sign of the source.
        self.tell_absence(link);
    }

    /// Tells the web-server why the main source gives no pictures, if it does not.
    pub fn tell_absence(&self, link: &mut Link) {
        let Some(main) = self.sources.main().filter(|main| main.spec.may_be_absent()) else { return };
        let reason = match &main.life {
            // Nobody wants it, so that it is not known to be absent.
            Life::Idle | Life::Running(_) => return,
            Life::Offline(_, reason) | Life::Ended(reason) => reason.clone(),
            Life::Starting(_) | Life::Warming(_) => "nothing was received from it so far".into(),
        };
        link.send(StreamerIpcMessage::SourceLost { reason });
    }

    /// Starts what is wanted and does not run, stops what nobody wants any more.
    pub(super) fn settle(&mut self) {
        if self.start_asked.is_none() {
            return;
        }
        let due = self.sources.due(Instant::now(), &self.shown_to_somebody());
        due.start.iter().for_each(|name| self.start_source(name));
        due.stop.iter().for_each(|name| self.stop_source(name));
        let unused: Vec<_> = self
            .sources
            .all()
            .iter()
            .filter(|(name, entry)| entry.temporary && entry.waiting.is_empty() && !self.is_shown(name))
            .map(|(name, _)| name.clone())
            .collect();
        unused.iter().for_each(|name| self.drop_source(name));
    }

    fn start_source(&mut self, name: &str) {
        let upstream = self.upstream(name);
        let key = self.sources.key();
        let outlets = self.outlets(name, key);
        let Some((entry, outlets)) = self.sources.get_mut(name).zip(outlets) else { return };
        entry.key = key;
        entry.life = Life::Starting(Early::Nothing);
        let (spec, started) = (entry.spec.clone(), self.senders.started.clone());
        // Its own thread, not one of a pool: children that are to end with their parent are tied to the
        // thread that started them.
        let span = tracing::info_span!("source", name);
        let spawned = crate::thread::spawn("source-start", move || {
            let _entered = span.entered();
            let _ = started.blocking_send((key, source::start(&spec, upstream, outlets)));
        });
        self.tell_online(name, true);
        if let Err(error) = spawned {
            let started = self.senders.started.clone();
            tokio::spawn(async move {
                let failed = source::Error::Io { what: "start a thread".into(), source: error };
                let _ = started.send((key, Err(failed))).await;
            });
        }
    }

    /// What a source builds on; what it is made from has been started.
    fn upstream(&self, name: &str) -> Upstream {
        let Some(entry) = self.sources.get(name) else { return Upstream::None };
        let windows = || self.sources.main()?.running()?.windows();
        let tapping = || self.sources.get(entry.upstream(self.sources.all())?)?.tapping.clone();
        match &entry.spec {
            SourceSpec::Window(_) => windows().map_or(Upstream::None, Upstream::Desktop),
            _ => tapping().map_or(Upstream::None, |tapping| Upstream::Stream(tapping.tap())),
        }
    }

    fn outlets(&mut self, name: &str, key: SourceKey) -> Option<Outlets> {
        let entry = self.sources.get(name)?;
        let (mut video, audio) = (self.video_outlet(&entry.video), self.audio_outlet(&entry.audio));
        let events = Events::new(key, self.senders.source.clone());
        let host = Arc::<HostStatus>::default();
        let entry = self.sources.get_mut(name)?;
        (entry.tapping, entry.host) = (Some(video.tapping()), host.clone());
        let (counters, shared_dir) = (self.counters.clone(), self.shared_dir.clone());
        let (homes, furnish) = (self.settings.homes.clone(), self.settings.furnish_desktops);
        Some(Outlets { video, audio, counters, events, shared_dir, homes, furnish, host })
    }

    fn video_outlet(&self, feed: &Feed) -> VideoOutlet {
        let shards: Vec<_> = self.shards.iter().map(|shard| shard.feeder.clone()).collect();
        let (feed, demand) = (feed.id, feed.demand.clone());
        VideoOutlet::new(demand, self.clock, move |unit| {
            shards.iter().for_each(|shard| shard.send(Media::Video(feed, unit.clone())));
        })
    }

    fn audio_outlet(&self, feed: &Feed) -> AudioOutlet {
        let shards: Vec<_> = self.shards.iter().map(|shard| shard.feeder.clone()).collect();
        let (feed, demand) = (feed.id, feed.demand.clone());
        AudioOutlet::new(demand, self.clock, move |unit| {
            shards.iter().for_each(|shard| shard.send(Media::Audio(feed, unit.clone())));
        })
    }

    /// A source has been started, or not. Without its main source the session ends.
    pub fn started(&mut self, link: &mut Link, key: SourceKey, started: Started) -> Option<ExitReason> {
        let name = self.sources.by_key(key);
        let Some(name) = name.filter(|name| self.is_starting(name)) else {
            // Nobody wants it any more.
            end_elsewhere(started.ok());
            return None;
        };
        let entry = self.sources.get_mut(&name)?;
        match started {
            Ok(mut source) => {
                if let Some(sink) = source.take_sink() {
                    self.input.send(input::Event::Attach(name.clone(), sink));
                }
                let before = std::mem::replace(&mut entry.life, Life::Warming(source));
                match before {
                    Life::Starting(Early::Keyframe) => self.source_works(link, &name),
                    Life::Starting(Early::Offline(reason)) => self.source_offline(link, &name, reason),
                    _ => {}
                }
                None
            }
            Err(error) => self.start_failed(link, &name, &error),
        }
    }

    fn is_starting(&self, name: &str) -> bool {
        self.sources.get(name).is_some_and(|entry| matches!(entry.life, Life::Starting(_)))
    }

    fn start_failed(&mut self, link: &mut Link, name: &str, error: &source::Error) -> Option<ExitReason> {
        let message = error.to_string();
        let refusal = match error {
            source::Error::Command(_) => command_failed(&message),
            source::Error::NoWindow(_) => {
                RequestError::new(Code::WindowNotFound, &message).with_field("source.window_id")
            }
            source::Error::Host { code, .. } => RequestError::new(*code, &message),
            _ => RequestError::new(Code::SourceFailed, &message),
        };
        self.refuse_waiting(link, name, &refusal);
        if name == MAIN_SOURCE {
            return Some(ExitReason::SourceFailed { message, code: Some(refusal.code.to_string()) });
        }
        self.source_gone(link, name, message);
        None
    }

    /// Whoever waits for a source to run waits in vain.
    fn refuse_waiting(&mut self, link: &mut Link, name: &str, refusal: &RequestError) {
        let waiting = self.sources.get_mut(name).map(|entry| std::mem::take(&mut entry.waiting));
        for waiter in waiting.unwrap_or_default() {
            match waiter {
                Waiter::Session(to) => link.refuse(to, refusal.clone()),
                Waiter::Slot { to, .. } => link.refuse(to, refusal.clone()),
            }
        }
    }

    /// A source says something.
    pub fn source_event(&mut self, link: &mut Link, key: SourceKey, event: Event) -> Option<ExitReason> {
        let name = self.sources.by_key(key)?;
        match event {
            Event::Started => self.first_picture(link, &name),
            Event::Resized(_) | Event::Window(_) => self.source_changed(link, &name),
            Event::Cursor(shape) => self.cursor_changed(shape),
            Event::Clipboard { offer, by } => self.clipboard_changed(link, offer, by),
            Event::Windows(changes) => {
                for what in changes {
                    link.send(StreamerIpcMessage::Happened { what: Json(what) });
                }
            }
            Event::Rumble(pad, motors) => self.input.rumble(name, pad, motors),
            Event::Offline(reason) => self.source_offline(link, &name, reason),
            Event::Ended(end) => return self.source_ended(link, &name, end),
        }
        None
    }

    fn first_picture(&mut self, link: &mut Link, name: &str) {
        let Some(entry) = self.sources.get_mut(name) else { return };
        match std::mem::replace(&mut entry.life, Life::Idle) {
            // The keyframe has overtaken the news that the source has been started.
            Life::Starting(_) => entry.life = Life::Starting(Early::Keyframe),
            Life::Warming(source) | Life::Offline(source, _) => {
                entry.life = Life::Warming(source);
                self.source_works(link, name);
            }
            other => entry.life = other,
        }
    }

    /// The source is started and its first keyframe is there.
    fn source_works(&mut self, link: &mut Link, name: &str) {
        let Some(entry) = self.sources.get_mut(name) else { return };
        let Life::Warming(source) = std::mem::replace(&mut entry.life, Life::Idle) else { return };
        entry.life = Life::Running(source);
        entry.since = Some(Utc::now());
        let waiting = std::mem::take(&mut entry.waiting);
        self.tell_online(name, true);
        self.start_renditions(name);
        self.source_changed(link, name);
        if name == MAIN_SOURCE {
            self.first_frame = self.first_frame.or_else(|| self.start_asked.map(|asked| asked.elapsed()));
            if self.running_since.is_some() {
                link.send(StreamerIpcMessage::SourceConnected);
            }
        }
        for waiter in waiting {
            match waiter {
                Waiter::Session(asked) => self.runs(link, asked),
                Waiter::Slot { to, slot, shown } => {
                    self.show(link, slot, shown);
                    self.reply_bound(link, to, slot);
                }
            }
        }
    }

    /// The session runs: its main source gives pictures, it is absent, or there is none.
    fn runs(&mut self, link: &mut Link, asked: ReplyTo<()>) {
        self.running_since = Some(Utc::now());
        if self.spec.share && self.sources.main().is_some() {
            // Before the reply: whoever waits for it is shown the slots too.
            self.show(link, MAIN_SLOT, super::sources::Shown::native(MAIN_SOURCE));
        }
        link.reply(asked, Ok(()));
        link.send(StreamerIpcMessage::SourceConnected);
    }

    /// Renditions that are bound run while their source does.
    pub(super) fn start_renditions(&mut self, name: &str) {
        let counters = self.counters.clone();
        let Some(entry) = self.sources.get(name).filter(|entry| entry.is_running()) else { return };
        let Some((frames, info)) = entry.running().and_then(|s| Some((s.frames()?, s.info()))) else {
            return;
        };
        let missing = entry.renditions.iter().filter(|(_, rendition)| rendition.running.is_none());
        let missing: Vec<_> =
            missing.map(|(height, rendition)| (*height, self.video_outlet(&rendition.feed))).collect();
        for (height, outlet) in missing {
            let settings = Settings { fps: info.fps, bitrate_kbps: None };
            let running = Rendition::start(frames.clone(), height, settings, outlet, counters.clone());
            let running =
                running.inspect_err(|error| tracing::warn!(name, height, %error, "no rendition")).ok();
            let entry = self.sources.get_mut(name).and_then(|entry| entry.renditions.get_mut(&height));
            if let Some(rendition) = entry {
                rendition.running = running;
            }
        }
    }

    /// Makes the feed of a rendition, if it is one and there is none yet.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub(super) fn prepare(&mut self, shown: &super::sources::Shown) -> std::io::Result<()> {
        let Some(height) = shown.height else { return Ok(()) };
        let known = |entry: &Entry| entry.renditions.contains_key(&height);
        if self.sources.get(&shown.source).is_none_or(known) {
            return Ok(());
        }
        let feed = self.sources.feed()?;
        self.tell_all(|| Command::AddFeed { feed: feed.id, demand: feed.demand.clone() });
        if let Some(entry) = self.sources.get_mut(&shown.source) {
            entry.renditions.insert(height, RenditionEntry { feed, running: None });
        }
        self.start_renditions(&shown.source);
        Ok(())
    }

    fn cursor_changed(&mut self, shape: Option<CursorShape>) {
        self.cursor = Some(shape);
        for text in self.cursor_messages() {
            self.tell_all(|| Command::Say { to: Audience::All, text: text.clone() });
        }
    }

    /// The cursor's shape, for each slot that shows the desktop or one of its windows.
    pub(super) fn cursor_messages(&self) -> Vec<Arc<str>> {
        let Some(shape) = &self.cursor else { return Vec::new() };
        let on_desktop = |slot: &SlotIndex| self.input_target(*slot).is_some();
        let slots = self.slots.keys().copied().filter(on_desktop);
        slots.map(|slot| general(&GeneralMessage::Cursor { slot, shape: shape.clone() })).collect()
    }

    fn source_offline(&mut self, link: &mut Link, name: &str, reason: String) {
        tracing::info!(name, reason, "source offline");
        let Some(entry) = self.sources.get_mut(name) else { return };
        match std::mem::replace(&mut entry.life, Life::Idle) {
            Life::Warming(source) | Life::Running(source) | Life::Offline(source, _) => {
                entry.life = Life::Offline(source, reason);
            }
            // So can this, and a source says it once.
            Life::Starting(_) => {
                entry.life = Life::Starting(Early::Offline(reason));
                return;
            }
            other => entry.life = other,
        }
        if name == MAIN_SOURCE && self.running_since.is_some() {
            self.tell_absence(link);
        }
        self.tell_online(name, false);
    }

    /// Whether a source gives pictures, for whoever shows one of its feeds.
    fn tell_online(&mut self, name: &str, online: bool) {
        let feeds = self.sources.get(name).into_iter().flat_map(Entry::feeds);
        for feed in feeds.map(|feed| feed.id).collect::<Vec<_>>() {
            self.tell_all(|| Command::FeedOnline { feed, online });
        }
    }

    fn source_ended(&mut self, link: &mut Link, name: &str, end: Ended) -> Option<ExitReason> {
        let message = end.message().to_owned();
        if name != MAIN_SOURCE {
            let refusal = RequestError::new(Code::SourceFailed, &message);
            self.refuse_waiting(link, name, &refusal);
            self.source_gone(link, name, message);
            return None;
        }
        link.send(StreamerIpcMessage::SourceLost { reason: message.clone() });
        if self.running_since.is_some() {
            return Some(end.into_reason());
        }
        let refusal = match end {
            Ended::Command(_) => command_failed(&message),
            _ => RequestError::new(Code::SourceFailed, &message),
        };
        self.refuse_waiting(link, name, &refusal);
        Some(ExitReason::SourceFailed { message, code: Some(refusal.code.to_string()) })
    }

    /// A source has ended by itself, or did not start. One that was made for a slot leaves it; a named one
    /// stays where it is shown, offline.
    fn source_gone(&mut self, link: &mut Link, name: &str, reason: String) {
        tracing::info!(name, reason, "source ended");
        self.stop_source(name);
        let Some(entry) = self.sources.get_mut(name) else { return };
        let temporary = entry.temporary;
        entry.life = Life::Ended(reason.clone());
        self.tell_online(name, false);
        if temporary {
            self.clear_all_of(link, name, &reason);
            self.drop_source(name);
        }
    }

    /// Ends what runs of a source; it can be started again.
    pub(super) fn stop_source(&mut self, name: &str) {
        let Some(entry) = self.sources.get_mut(name) else { return };
        let life = std::mem::replace(&mut entry.life, Life::Idle);
        entry.key = SourceKey::default();
        entry.tapping = None;
        let renditions: Vec<_> = entry.renditions.values_mut().filter_map(|r| r.running.take()).collect();
        match life {
            Life::Warming(source) | Life::Running(source) | Life::Offline(source, _) => {
                // Nothing is put in any more, and what is held there is forgotten, before it goes.
                self.input.send(input::Event::Detach(name.to_owned()));
                // Waits for threads and processes to end, and the control loop must not.
                tokio::task::spawn_blocking(move || drop((renditions, source)));
            }
            // What is on its way is ended when it is there: nobody knows its key any more.
            Life::Idle | Life::Starting(_) | Life::Ended(_) => {}
        }
    }

    /// `POST …/sources`.
    pub(super) fn add_named(&mut self, name: SourceName, spec: SourceSpec) -> Result<(), RequestError> {
        let invalid = |error: common::spec::InvalidField| {
            RequestError::new(Code::InvalidSource, error.to_string()).with_field(error.field)
        };
        common::spec::validate_name(&name).map_err(invalid)?;
        spec.validate_alone().map_err(invalid)?;
        if self.sources.all().len() >= common::spec::MAX_SOURCES {
            let message =
                format!("this streamer has {} sources, the most it may have", self.sources.all().len());
            return Err(RequestError::new(Code::TooManySources, message));
        }
        if self.sources.get(&name).is_some() {
            let message = format!("there is a source {name:?} already");
            return Err(RequestError::new(Code::SourceExists, message).with_field("name"));
        }
        self.add_source(name, spec, false)
            .map_err(|error| RequestError::new(Code::SourceFailed, error.to_string()))
    }

    /// `DELETE …/sources/{name}`.
    pub(super) fn remove_named(&mut self, link: &mut Link, name: &str) -> Result<(), RequestError> {
        if name == MAIN_SOURCE {
            let message = "the session is about its main source; delete the streamer instead";
            return Err(RequestError::new(Code::MainSource, message));
        }
        if self.sources.get(name).is_none() {
            let message = format!("there is no source {name:?}");
            return Err(RequestError::new(Code::SourceNotFound, message));
        }
        self.clear_all_of(link, name, "the source was removed");
        self.drop_source(name);
        Ok(())
    }

    /// `GET …/sources`.
    pub(super) fn list_sources(&self, to: ReplyTo<Json<SourceList>>) {
        let shown = self.sources.all().iter().map(|(name, entry)| {
            let pointer = entry.running().filter(|_| entry.is_running()).map(|running| running.pointer());
            (entry.view(name), pointer)
        });
        requests::sources(to, self.senders.finished.clone(), shown.collect());
    }
}

/// Ends a source where its end may be waited for.
fn end_elsewhere(source: Option<Box<dyn Running>>) {
    if let Some(source) = source {
        tokio::task::spawn_blocking(move || drop(source));
    }
}
