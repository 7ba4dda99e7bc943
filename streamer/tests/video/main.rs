//! Sources as the feed sees them: what they publish is decoded and looked at.

#![allow(clippy::disallowed_methods, reason = "tests measure")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod aiming;
mod desktop;
mod ffmpeg;
mod moonlight;
mod painter;
mod picture;
mod pictures;
mod rendition;
mod rtsp;
mod test_source;
mod windows;

use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use common::spec::SourceSpec;
use streamer::feed::{AudioOutlet, AudioUnit, Demand, Tapping, VideoOutlet, VideoUnit};
use streamer::media::{Picture, Size};
use streamer::source::{
    EVENT_QUEUE, Error, Event, Events, HostStatus, Outlets, Running, SourceKey, Upstream,
};
use streamer::stats::SourceCounters;

use crate::picture::{Decoded, Decoder};

/// Longer than anything here may take, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(60);
/// Units that wait for the test; more than it ever lets wait.
const QUEUE: usize = 10_000;

/// Tests run side by side; one that counts what threads do must be alone.
static STAGES: RwLock<()> = RwLock::new(());

fn alone() -> RwLockWriteGuard<'static, ()> {
    STAGES.write().unwrap_or_else(PoisonError::into_inner)
}

/// The status files of this process's threads of a name.
fn statuses(name: &str) -> Vec<String> {
    let mut statuses = Vec::new();
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let path = task.unwrap().path();
        // A thread of another test may be gone by now.
        let comm = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
        if comm.trim() == name {
            statuses.extend(std::fs::read_to_string(path.join("status")));
        }
    }
    statuses
}

fn threads(name: &str) -> usize {
    statuses(name).len()
}

/// How often the threads of a name have gone to sleep.
fn sleeps(name: &str) -> u64 {
    let count = |status: &String| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line?.trim().parse().ok()
    };
    statuses(name).iter().filter_map(count).sum()
}

/// A running source and all that comes out of it. What ends last stands last.
struct Stage {
    source: Box<dyn Running>,
    video: Receiver<Arc<VideoUnit>>,
    audio: Receiver<Arc<AudioUnit>>,
    events: tokio::sync::mpsc::Receiver<(SourceKey, Event)>,
    video_demand: Arc<Demand>,
    audio_demand: Arc<Demand>,
    counters: Arc<SourceCounters>,
    decoder: Decoder,
    host: Arc<HostStatus>,
    dir: tempfile::TempDir,
    _beside: Option<RwLockReadGuard<'static, ()>>,
}

/// The next picture, or none for 0.7 s. That is waited for in parts, each of which gives the source its turn: with one wait, a machine that
/// stands still for as long would look like a source at rest.
fn next_before_rest(units: &Receiver<Arc<VideoUnit>>) -> Option<Arc<VideoUnit>> {
    for _ in 0..14 {
        match units.recv_timeout(Duration::from_millis(50)) {
            Ok(unit) => return Some(unit),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => panic!("the source is gone"),
        }
    }
    None
}

impl Stage {
    fn start(json: &str) -> Self {
        Self::start_beside(json, Some(STAGES.read().unwrap_or_else(PoisonError::into_inner)))
    }

    fn start_beside(json: &str, beside: Option<RwLockReadGuard<'static, ()>>) -> Self {
        Self::start_on(json, Upstream::None, beside).0
    }

    /// With a way to tap it.
    fn start_on(
        json: &str,
        upstream: Upstream,
        beside: Option<RwLockReadGuard<'static, ()>>,
    ) -> (Self, Tapping) {
        let spec: SourceSpec = serde_json::from_str(json).unwrap();
        let mut tapping = None;
        let stage = Self::of(beside, |mut outlets| {
            let (handle, taps) = Tapping::new(Arc::clone(outlets.video.demand()));
            outlets.video.take_taps(taps);
            tapping = Some(handle);
            streamer::source::start(&spec, upstream, outlets)
        });
        (stage.unwrap(), tapping.unwrap())
    }

    /// What `start` makes of the outlets.
    fn of(
        beside: Option<RwLockReadGuard<'static, ()>>,
        start: impl FnOnce(Outlets) -> Result<Box<dyn Running>, Error>,
    ) -> Result<Self, Error> {
        let dir = tempfile::tempdir().unwrap();
        let clock = Instant::now();
        let (video_demand, audio_demand) =
            (Arc::new(Demand::new().unwrap()), Arc::new(Demand::new().unwrap()));
        let (video_sender, video) = mpsc::sync_channel(QUEUE);
        let (audio_sender, audio) = mpsc::sync_channel(QUEUE);
        let (event_sender, events) = tokio::sync::mpsc::channel(EVENT_QUEUE);
        let counters = Arc::new(SourceCounters::default());
        let host = Arc::<HostStatus>::default();
        let outlets = Outlets {
            // The test may be gone before the source is.
            video: VideoOutlet::new(Arc::clone(&video_demand), clock, move |unit| {
                let _ = video_sender.try_send(unit);
            }),
            audio: AudioOutlet::new(Arc::clone(&audio_demand), clock, move |unit| {
                let _ = audio_sender.try_send(unit);
            }),
            counters: Arc::clone(&counters),
            events: Events::new(SourceKey::default(), event_sender),
            shared_dir: dir.path().to_owned(),
            homes: common::spec::HomeDirs::default(),
            furnish: false,
            host: Arc::clone(&host),
        };
        let source = start(outlets)?;
        let decoder = Decoder::new();
        Ok(Self {
            source,
            video,
            audio,
            events,
            video_demand,
            audio_demand,
            counters,
            decoder,
            host,
            dir,
            _beside: beside,
        })
    }

    /// A peer comes to watch: it needs a keyframe.
    fn watch(&self) {
        self.video_demand.add_watcher();
        self.video_demand.ask_keyframe();
    }

    /// The next picture, decoded.
    fn next(&mut self) -> Decoded {
        let unit = self.video.recv_timeout(PATIENCE).expect("a picture");
        self.decoder.decode(&unit)
    }

    /// Pictures until one is as wanted.
    fn until(&mut self, what: &str, mut wanted: impl FnMut(&Decoded) -> bool) -> Decoded {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let decoded = self.next();
            if wanted(&decoded) {
                return decoded;
            }
            assert!(Instant::now() < deadline, "waiting for {what}");
        }
    }

    /// Takes pictures until none has come for some time; the last one.
    fn settle(&mut self) -> Option<Decoded> {
        let mut last = None;
        while let Some(unit) = next_before_rest(&self.video) {
            last = Some(self.decoder.decode(&unit));
        }
        last
    }

    /// The same, where a picture is due.
    fn settled(&mut self) -> Decoded {
        let first = self.next();
        self.settle().unwrap_or(first)
    }

    /// Events until one is as wanted.
    fn event<T>(&mut self, what: &str, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            while let Ok((_, event)) = self.events.try_recv() {
                if let Some(found) = wanted(event) {
                    return found;
                }
            }
            assert!(Instant::now() < deadline, "waiting for the event {what}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Those that are there.
    fn events_so_far(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.events.try_recv().ok()).map(|(_, event)| event).collect()
    }

    fn started(&mut self) {
        self.event("started", |event| matches!(event, Event::Started).then_some(()));
    }

    fn snapshot(&self) -> Picture {
        self.source.picture().blocking_recv().expect("a snapshot")
    }

    fn resize(&self, width: u32, height: u32) {
        self.source.resize(Size { width, height }).blocking_recv().expect("an answer").unwrap();
    }
}
