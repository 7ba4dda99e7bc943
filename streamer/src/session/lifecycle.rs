//! How sources come and go: started when they are wanted, stopped when nobody does, and what they say meanwhile.

use std::sync::Arc;
use std::time::Duration;

use common::exit::ExitReason;
use common::id::{MAIN_SOURCE, SlotIndex, SourceName};
use common::input::{CursorShape, GeneralMessage};
use common::ipc::{Code, Json, RequestError, StreamerIpcMessage};
use common::slots::SourceList;
use common::spec::SourceSpec;

use super::effects::{Effect, RenditionStart, SourceStart, Work};
use super::shards::general;
use super::sources::{Early, Life, Shown, SourceEntry, Waiter};
use super::{DesktopCursor, MAIN_SLOT, Now, Session};
use crate::feed::{Listening, Tapping};
use crate::input;
use crate::link::ReplyTo;
use crate::peer::{Audience, Command};
use crate::source::video::Settings;
use crate::source::{self, Ended, Event, HostStatus, Running, SourceKey, Upstream};

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
        let video = self.sources.feed()?;
        let audio = self.sources.feed()?;
        let mut entry = SourceEntry::new(spec, temporary, video, audio);
        entry.low = entry.has_frames().then(|| self.sources.feed()).transpose()?;
        for feed in entry.feeds() {
            self.command_all(|| Command::AddFeed { feed: feed.id, demand: feed.demand.clone() });
        }
        self.sources.insert(name, entry);
        Ok(())
    }

    /// Forgets a source that nothing shows any more.
    pub(super) fn drop_source(&mut self, name: &str) {
        self.stop_source(name);
        if let Some(entry) = self.sources.remove(name) {
            for feed in entry.feeds() {
                self.command_all(|| Command::RemoveFeed { feed: feed.id });
            }
        }
    }

    /// `StartSource`: from here on sources run.
    pub(super) fn start_session(&mut self, now: Now, asked: ReplyTo<()>) {
        if self.start_asked.is_some() {
            let error = RequestError::new(Code::AlreadyStarted, "the source has been started");
            return self.effects.refuse(asked, error);
        }
        self.start_asked = Some(now.instant);
        match self.sources.get_mut(MAIN_SOURCE) {
            Some(main) => main.waiting.push(Waiter::Session(asked)),
            None => self.runs(now, asked),
        }
        self.update_sources(now);
    }

    /// A camera, URL or program may come much later than its session. After a while the session runs without it, and the
    /// source is retried as every other.
    pub(super) fn run_without_source(&mut self, now: Now) {
        if self.running_since.is_some() || self.start_asked.is_none_or(|asked| now.instant < asked + PATIENCE)
        {
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
        self.report_absence();
        for waiter in sessions {
            if let Waiter::Session(asked) = waiter {
                self.runs(now, asked);
            }
        }
        // That the session runs is no sign of the source.
        self.report_absence();
    }

    /// Tells the web-server why the main source gives no pictures, if it does not.
    pub fn report_absence(&mut self) {
        let Some(main) = self.sources.main().filter(|main| main.spec.may_be_absent()) else { return };
        let reason = match &main.life {
            // Nobody wants it, so that it is not known to be absent.
            Life::Idle | Life::Running(_) => return,
            Life::Offline(_, reason) | Life::Ended(reason) => reason.clone(),
            Life::Starting(_) | Life::Warming(_) => "nothing was received from it so far".into(),
        };
        self.effects.send(StreamerIpcMessage::SourceLost { reason });
    }

    /// Starts what is wanted and does not run, stops what nobody wants any more.
    pub(super) fn update_sources(&mut self, now: Now) {
        if self.start_asked.is_none() {
            return;
        }
        let due = self.sources.due(now.instant, &self.shown_to_somebody());
        for name in due.start {
            self.start_source(&name);
        }
        for name in due.stop {
            self.stop_source(&name);
        }
        let unused: Vec<_> = self
            .sources
            .all()
            .iter()
            .filter(|(name, entry)| entry.temporary && entry.waiting.is_empty() && !self.is_shown(name))
            .map(|(name, _)| name.clone())
            .collect();
        for name in unused {
            self.drop_source(&name);
        }
    }

    fn start_source(&mut self, name: &str) {
        let upstream = self.upstream(name);
        let key = self.sources.key();
        let Some(entry) = self.sources.get_mut(name) else { return };
        let (tapping, taps) = Tapping::new(entry.video.demand.clone());
        let (listening, listeners) = Listening::new();
        let host = Arc::<HostStatus>::default();
        entry.key = key;
        entry.life = Life::Starting(Early::Nothing);
        entry.tapping = Some(tapping);
        entry.listening = Some(listening);
        entry.host = host.clone();
        let start = SourceStart {
            name: name.to_owned(),
            key,
            spec: entry.spec.clone(),
            upstream,
            video: entry.video.clone(),
            audio: entry.audio.clone(),
            taps,
            listeners,
            host,
        };
        self.effects.push(Effect::StartSource(Box::new(start)));
        self.set_online(name, true);
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

    /// A source has been started, or not. Without its main source the session ends.
    pub fn started(&mut self, now: Now, key: SourceKey, started: Started) -> Option<ExitReason> {
        let name = self.sources.by_key(key);
        let Some(name) = name.filter(|name| self.is_starting(name)) else {
            // Nobody wants it any more.
            if let Ok(source) = started {
                self.effects.push(Effect::StopSource { source, renditions: Vec::new() });
            }
            return None;
        };
        let entry = self.sources.get_mut(&name)?;
        match started {
            Ok(mut source) => {
                if let Some(sink) = source.take_sink() {
                    self.effects.input(input::Event::Attach(name.clone(), sink));
                }
                let before = std::mem::replace(&mut entry.life, Life::Warming(source));
                match before {
                    Life::Starting(Early::Keyframe) => self.source_works(now, &name),
                    Life::Starting(Early::Offline(reason)) => self.source_offline(&name, reason),
                    _ => {}
                }
                if name == MAIN_SOURCE {
                    self.desktop_runs();
                }
                None
            }
            Err(error) => self.start_failed(now, &name, &error),
        }
    }

    fn is_starting(&self, name: &str) -> bool {
        self.sources.get(name).is_some_and(|entry| matches!(entry.life, Life::Starting(_)))
    }

    fn start_failed(&mut self, now: Now, name: &str, error: &source::Error) -> Option<ExitReason> {
        let message = error.to_string();
        let refusal = match error {
            source::Error::Command(_) => command_failed(&message),
            source::Error::NoWindow(_) => {
                RequestError::new(Code::WindowNotFound, &message).with_field("source.window_id")
            }
            source::Error::Host { code, .. } => RequestError::new(*code, &message),
            _ => RequestError::new(Code::SourceFailed, &message),
        };
        self.refuse_waiting(name, &refusal);
        if name == MAIN_SOURCE {
            return Some(ExitReason::SourceFailed { message, code: Some(refusal.code.to_string()) });
        }
        self.source_gone(now, name, message);
        None
    }

    /// Whoever waits for a source to run waits in vain.
    fn refuse_waiting(&mut self, name: &str, refusal: &RequestError) {
        let waiting = self.sources.get_mut(name).map(|entry| std::mem::take(&mut entry.waiting));
        for waiter in waiting.unwrap_or_default() {
            match waiter {
                Waiter::Session(to) => self.effects.refuse(to, refusal.clone()),
                Waiter::Slot { to, .. } => self.effects.refuse(to, refusal.clone()),
            }
        }
    }

    /// A source says something.
    pub fn source_event(&mut self, now: Now, key: SourceKey, event: Event) -> Option<ExitReason> {
        let name = self.sources.by_key(key)?;
        match event {
            Event::Started => self.first_picture(now, &name),
            Event::Resized(_) | Event::Window(_) => self.source_changed(&name),
            Event::Cursor(shape) => self.cursor_changed(shape),
            Event::Clipboard { offer, by } => self.clipboard_changed(offer, by),
            Event::Windows(changes) => {
                for what in changes {
                    self.effects.send(StreamerIpcMessage::Happened { what: Json(what) });
                }
            }
            Event::Downloaded(file) => self.downloaded(file),
            Event::Rumble(pad, motors) => self.effects.push(Effect::Rumble(name, pad, motors)),
            Event::Offline(reason) => self.source_offline(&name, reason),
            Event::Ended(end) => return self.source_ended(now, &name, end),
        }
        None
    }

    pub(super) fn first_picture(&mut self, now: Now, name: &str) {
        let Some(entry) = self.sources.get_mut(name) else { return };
        match std::mem::replace(&mut entry.life, Life::Idle) {
            // The keyframe has overtaken the news that the source has been started.
            Life::Starting(_) => entry.life = Life::Starting(Early::Keyframe),
            Life::Warming(source) | Life::Offline(source, _) => {
                entry.life = Life::Warming(source);
                self.source_works(now, name);
            }
            other => entry.life = other,
        }
    }

    /// The source is started and its first keyframe is there.
    fn source_works(&mut self, now: Now, name: &str) {
        let Some(entry) = self.sources.get_mut(name) else { return };
        let Life::Warming(source) = std::mem::replace(&mut entry.life, Life::Idle) else { return };
        entry.life = Life::Running(source);
        entry.since = Some(now.utc);
        let waiting = std::mem::take(&mut entry.waiting);
        self.set_online(name, true);
        self.start_renditions(name);
        self.source_changed(name);
        if name == MAIN_SOURCE {
            self.first_frame = self
                .first_frame
                .or_else(|| self.start_asked.map(|asked| now.instant.saturating_duration_since(asked)));
            if self.running_since.is_some() {
                self.effects.send(StreamerIpcMessage::SourceConnected);
            }
        }
        for waiter in waiting {
            match waiter {
                Waiter::Session(asked) => self.runs(now, asked),
                Waiter::Slot { to, slot, shown } => {
                    self.show(slot, shown);
                    self.reply_bound(to, slot);
                }
            }
        }
    }

    /// The session runs: its main source gives pictures, it is absent, or there is none.
    fn runs(&mut self, now: Now, asked: ReplyTo<()>) {
        self.running_since = Some(now.utc);
        if self.spec.share && self.sources.main().is_some() {
            // Before the reply: whoever waits for it is shown the slots too.
            self.show(MAIN_SLOT, Shown::native(MAIN_SOURCE));
        }
        self.effects.reply(asked, Ok(()));
        self.effects.send(StreamerIpcMessage::SourceConnected);
    }

    /// Renditions that are bound run while their source does, and so does its low layer. They do nothing while nobody watches.
    fn start_renditions(&mut self, name: &str) {
        let Some(entry) = self.sources.get(name).filter(|entry| entry.is_running()) else { return };
        let Some(running) = entry.running() else { return };
        let Some(frames) = running.frames() else { return };
        let settings = Settings { fps: running.info().fps, bitrate_kbps: None };
        for (height, feed) in entry.encodings() {
            self.effects.push(Effect::StartRendition(RenditionStart {
                source: name.to_owned(),
                frames: frames.clone(),
                height,
                settings,
                feed: feed.clone(),
            }));
        }
    }

    /// Makes the feed of a rendition, if it is one and there is none yet.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub(super) fn prepare(&mut self, shown: &Shown) -> std::io::Result<()> {
        let Some(height) = shown.height else { return Ok(()) };
        let known = |entry: &SourceEntry| entry.renditions.contains_key(&height);
        if self.sources.get(&shown.source).is_none_or(known) {
            return Ok(());
        }
        let feed = self.sources.feed()?;
        self.command_all(|| Command::AddFeed { feed: feed.id, demand: feed.demand.clone() });
        if let Some(entry) = self.sources.get_mut(&shown.source) {
            entry.renditions.insert(height, feed);
        }
        self.start_renditions(&shown.source);
        Ok(())
    }

    fn cursor_changed(&mut self, shape: Option<CursorShape>) {
        self.cursor = shape.map_or(DesktopCursor::Hidden, DesktopCursor::Visible);
        for text in self.cursor_messages() {
            self.command_all(|| Command::Say { to: Audience::All, text: text.clone() });
        }
    }

    /// The cursor's shape, for each slot that shows the desktop or one of its windows.
    pub(super) fn cursor_messages(&self) -> Vec<Arc<str>> {
        let shape = match &self.cursor {
            DesktopCursor::Unknown => return Vec::new(),
            DesktopCursor::Hidden => None,
            DesktopCursor::Visible(shape) => Some(shape.clone()),
        };
        let on_desktop = |slot: &SlotIndex| self.input_target(*slot).is_some();
        let slots = self.slots.keys().copied().filter(on_desktop);
        slots.map(|slot| general(&GeneralMessage::Cursor { slot, shape: shape.clone() })).collect()
    }

    fn source_offline(&mut self, name: &str, reason: String) {
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
            self.report_absence();
        }
        self.set_online(name, false);
    }

    /// Whether a source gives pictures, for whoever shows one of its feeds.
    fn set_online(&mut self, name: &str, online: bool) {
        let feeds = self.sources.get(name).into_iter().flat_map(SourceEntry::feeds);
        for feed in feeds.map(|feed| feed.id).collect::<Vec<_>>() {
            self.command_all(|| Command::FeedOnline { feed, online });
        }
    }

    fn source_ended(&mut self, now: Now, name: &str, end: Ended) -> Option<ExitReason> {
        let message = end.message().to_owned();
        if name != MAIN_SOURCE {
            let refusal = RequestError::new(Code::SourceFailed, &message);
            self.refuse_waiting(name, &refusal);
            self.source_gone(now, name, message);
            return None;
        }
        self.effects.send(StreamerIpcMessage::SourceLost { reason: message.clone() });
        if self.running_since.is_some() {
            return Some(end.into_reason());
        }
        let refusal = match end {
            Ended::Command(_) => command_failed(&message),
            _ => RequestError::new(Code::SourceFailed, &message),
        };
        self.refuse_waiting(name, &refusal);
        Some(ExitReason::SourceFailed { message, code: Some(refusal.code.to_string()) })
    }

    /// A source has ended by itself, or did not start. One that was made for a slot leaves it; a named one
    /// stays where it is shown, offline.
    fn source_gone(&mut self, now: Now, name: &str, reason: String) {
        tracing::info!(name, reason, "source ended");
        self.stop_source(name);
        let Some(entry) = self.sources.get_mut(name) else { return };
        let temporary = entry.temporary;
        entry.life = Life::Ended(reason.clone());
        self.set_online(name, false);
        if temporary {
            self.clear_all_of(name, &reason);
            self.drop_source(name);
            self.fill_slots(now);
        }
    }

    /// Ends what runs of a source; it can be started again.
    pub(super) fn stop_source(&mut self, name: &str) {
        let Some(entry) = self.sources.get_mut(name) else { return };
        let life = std::mem::replace(&mut entry.life, Life::Idle);
        entry.key = SourceKey::default();
        entry.tapping = None;
        entry.listening = None;
        let renditions = entry.encodings().map(|(_, feed)| feed.id).collect();
        // What is on its way is ended when it is there: nobody knows its key any more.
        let Some(source) = life.into_running() else { return };
        // Nothing is put in any more, and what is held there is forgotten, before it goes.
        self.effects.input(input::Event::Detach(name.to_owned()));
        self.effects.push(Effect::StopSource { source, renditions });
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
    pub(super) fn remove_named(&mut self, now: Now, name: &str) -> Result<(), RequestError> {
        if name == MAIN_SOURCE {
            let message = "the session is about its main source; delete the streamer instead";
            return Err(RequestError::new(Code::MainSource, message));
        }
        if self.sources.get(name).is_none() {
            let message = format!("there is no source {name:?}");
            return Err(RequestError::new(Code::SourceNotFound, message));
        }
        let reason = "the source was removed";
        if self.unpublish_source(now, name, reason) {
            return Ok(());
        }
        self.clear_all_of(name, reason);
        self.drop_source(name);
        self.fill_slots(now);
        Ok(())
    }

    /// `GET …/sources`.
    pub(super) fn list_sources(&mut self, to: ReplyTo<Json<SourceList>>) {
        let known = self.sources.all().iter().map(|(name, entry)| {
            let pointer = entry.running().filter(|_| entry.is_running()).map(|running| running.pointer());
            (entry.view(name), pointer)
        });
        let sources = known.collect();
        self.effects.work(Work::ListSources { to, sources });
    }
}
