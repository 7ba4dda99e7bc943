//! Sound of many as one stream, for peers that take that in place of one stream for each slot.
//!
//! ```text
//! session ── Plan ─────────▶ ┌──────────── thread "mixer" ─────────────────────────────────┐
//! feeds ──── Ear per feed ──▶│ Input per feed: decoded once ─▶ Mixer: a sum per mix ─▶ Opus │──▶ AudioOutlet per mix
//!                            └─────────────────────────────────────────────────────────────┘
//! ```
//!
//! A mix is a feed like any other, which shards send to the peers that take it. The session decides which mixes there are and of
//! what ([`Plan`]); the thread lives while there are any, sleeps while all is silent, and touches nothing but feeds. What it
//! decides is in `mixer`, `input` and `loudest`, which are pure.

mod input;
mod loudest;
mod mixer;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::encode::audio::{BLOCK, OpusEncoder};
use crate::feed::{AudioOutlet, Demand, Ear, Listener, Listening};
use crate::media::AudioPacket;
use crate::peer::FeedId;
use crate::wake::{Wake, wait_readable};
use mixer::Mixer;

/// Values in a frame: 20 ms of both channels, interleaved. A packet has one; what is sent to small clients has few packets.
const FRAME: usize = 2 * BLOCK;
/// Length of a frame.
const FRAME_TIME: Duration = Duration::from_millis(20);
/// The same, in ticks of 48 kHz.
const FRAME_TICKS: u32 = 960;
/// Of those who publish, so many are heard at once: more are not understood.
const LOUDEST: usize = 3;
/// Packets of one source that wait for the thread: a second, or half of one of a desktop. What is more is dropped, as it would be
/// late.
const QUEUE: usize = 50;
/// The thread makes up for so much of what it was late, should it not be scheduled; the rest is left out.
const MOST_LATE: Duration = Duration::from_millis(100);
/// How old sound is when it is mixed, of a source without jitter: so that pictures are shown with their sound.
const AGE: Duration = Duration::from_millis(40);
/// A source that had no room for one more listener is asked again after this.
const AGAIN: Duration = Duration::from_millis(100);

/// A source that is heard.
#[derive(Debug, Clone)]
pub struct Heard {
    /// A peer publishes it: only the loudest of those are heard.
    pub published: bool,
    /// Its way back: who listens is counted.
    pub demand: Arc<Demand>,
    /// Takes the listener.
    pub listening: Listening,
}

impl Heard {
    fn is_same(&self, other: &Self) -> bool {
        self.published == other.published && self.listening.is_same(&other.listening)
    }
}

/// A mix that is made.
#[derive(Debug, Clone)]
pub struct Mixed {
    /// Says whether anybody takes it: otherwise it is not made.
    pub demand: Arc<Demand>,
    /// What is heard in it, by their feeds.
    pub of: BTreeSet<FeedId>,
}

/// All that is mixed.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// What is heard, by its feed.
    pub sources: BTreeMap<FeedId, Heard>,
    /// What is made of it, by the feed that it becomes.
    pub mixes: BTreeMap<FeedId, Mixed>,
}

impl Plan {
    /// Whether nothing changes from one to the other.
    pub fn is_same(&self, other: &Self) -> bool {
        let mixes = self.mixes.iter().map(|(feed, mix)| (feed, &mix.of));
        let sources = self.sources.iter().zip(&other.sources);
        self.sources.len() == other.sources.len()
            && sources.into_iter().all(|((feed, a), (other, b))| feed == other && a.is_same(b))
            && mixes.eq(other.mixes.iter().map(|(feed, mix)| (feed, &mix.of)))
    }
}

/// Makes the outlet of a mix.
pub type NewOutlet = Box<dyn Fn(FeedId, Arc<Demand>) -> AudioOutlet + Send>;

/// What the control loop tells the thread.
#[derive(Default)]
struct Orders {
    /// The newest plan, if the thread has not taken it yet.
    plan: Option<Plan>,
    stopped: bool,
}

struct Shared {
    wake: Wake,
    orders: Mutex<Orders>,
}

impl Shared {
    /// Held for as long as it takes to put something there or to take it.
    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread, which ends soon after this is dropped. Nobody waits for that: it holds nothing but its memory.
pub struct Handle {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

impl Handle {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no more threads or descriptors.
    pub fn start(new_outlet: NewOutlet) -> io::Result<Self> {
        let shared = Arc::new(Shared { wake: Wake::new()?, orders: Mutex::default() });
        let work = Work {
            shared: Arc::clone(&shared),
            new_outlet,
            mixer: Mixer::new(),
            sources: BTreeMap::new(),
            outputs: BTreeMap::new(),
        };
        let thread = crate::thread::spawn("mixer", move || work.run())?;
        Ok(Self { shared, thread })
    }

    /// Mixes this from now on.
    pub fn follow(&self, plan: Plan) {
        self.shared.orders().plan = Some(plan);
        self.shared.wake.wake();
    }

    /// The thread has crashed.
    pub fn has_crashed(&self) -> bool {
        self.thread.is_finished()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.orders().stopped = true;
        self.shared.wake.wake();
    }
}

/// A source, as the thread hears it.
struct Source {
    heard: Heard,
    ear: Ear,
    /// What is to listen, until the source has taken it.
    listener: Option<Listener>,
}

impl Source {
    fn listen(&mut self) {
        self.listener = self.listener.take().and_then(|listener| self.heard.listening.listen(listener).err());
    }
}

/// A mix on its way out.
struct Output {
    demand: Arc<Demand>,
    encoder: OpusEncoder,
    outlet: AudioOutlet,
}

/// What the thread owns.
struct Work {
    shared: Arc<Shared>,
    new_outlet: NewOutlet,
    mixer: Mixer,
    sources: BTreeMap<FeedId, Source>,
    outputs: BTreeMap<FeedId, Output>,
}

impl Work {
    #[expect(clippy::disallowed_methods, reason = "the loop of a thread is where the time is asked for")]
    fn run(mut self) {
        // When the next frame is due; `None` while all is silent.
        let mut due: Option<Instant> = None;
        loop {
            let waits = self.sources.values().any(|source| source.listener.is_some());
            let waited = match due {
                // Packets need not wake it before that.
                Some(due) => wait_readable([], Some(due)),
                None => wait_readable([self.shared.wake.as_fd()], waits.then(|| Instant::now() + AGAIN)),
            };
            if let Err(error) = waited {
                return tracing::error!(%error, "the mixer cannot wait");
            }
            self.shared.wake.reset();
            let orders = std::mem::take(&mut *self.shared.orders());
            if orders.stopped {
                return;
            }
            if let Some(plan) = orders.plan {
                self.follow(plan);
            }
            self.take_sound();
            if due.is_none() && self.mixer.is_idle() {
                continue;
            }
            let now = Instant::now();
            let at = due.unwrap_or(now);
            self.mix(at);
            let next = at + FRAME_TIME;
            let next = if now.saturating_duration_since(next) > MOST_LATE { now } else { next };
            due = (!self.mixer.is_idle()).then_some(next);
        }
    }

    fn follow(&mut self, plan: Plan) {
        let Plan { sources, mixes } = plan;
        let gone = self
            .sources
            .iter()
            .filter(|(feed, source)| sources.get(feed).is_none_or(|heard| !heard.is_same(&source.heard)));
        for feed in gone.map(|(feed, _)| *feed).collect::<Vec<_>>() {
            self.sources.remove(&feed);
            self.mixer.remove_source(feed);
        }
        for (feed, heard) in sources {
            if !self.sources.contains_key(&feed) {
                self.hear(feed, heard);
            }
        }
        let gone = self.outputs.keys().filter(|feed| !mixes.contains_key(feed));
        for feed in gone.copied().collect::<Vec<_>>() {
            self.outputs.remove(&feed);
            self.mixer.remove_mix(feed);
        }
        for (feed, Mixed { demand, of }) in mixes {
            if !self.outputs.contains_key(&feed) {
                match OpusEncoder::new() {
                    Ok(encoder) => {
                        let outlet = (self.new_outlet)(feed, Arc::clone(&demand));
                        self.outputs.insert(feed, Output { demand, encoder, outlet });
                    }
                    Err(error) => {
                        tracing::error!(%error, "a mix cannot be encoded");
                        continue;
                    }
                }
            }
            self.mixer.set_mix(feed, of);
        }
    }

    fn hear(&mut self, feed: FeedId, heard: Heard) {
        if let Err(error) = self.mixer.add_source(feed, heard.published) {
            return tracing::error!(%error, "a source cannot be decoded");
        }
        let shared = Arc::clone(&self.shared);
        let (ear, listener) = Ear::new(Arc::clone(&heard.demand), QUEUE, move || shared.wake.wake());
        self.sources.insert(feed, Source { heard, ear, listener: Some(listener) });
    }

    fn take_sound(&mut self) {
        for (feed, source) in &mut self.sources {
            source.listen();
            for unit in source.ear.take() {
                self.mixer.push(*feed, &unit);
            }
        }
    }

    /// Mixes and publishes the frame that is due now.
    fn mix(&mut self, now: Instant) {
        let captured = now.checked_sub(AGE).unwrap_or(now);
        let Self { mixer, outputs, .. } = self;
        let mut frames = Vec::new();
        let is_taken = |feed| outputs.get(&feed).is_some_and(|output: &Output| output.demand.watchers() > 0);
        mixer.mix(now, is_taken, |feed, frame| frames.push((feed, frame.to_vec())));
        for (feed, frame) in frames {
            let Some(output) = outputs.get_mut(&feed) else { continue };
            match output.encoder.encode(&frame) {
                Ok(data) => output.outlet.publish(AudioPacket { data, captured, ticks: FRAME_TICKS }),
                Err(error) => tracing::error!(%error, "a mix cannot be encoded"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;
    use std::sync::mpsc::sync_channel;

    use super::*;
    use crate::encode::audio::{CHANNELS, OpusDecoder, SAMPLE_RATE};
    use crate::feed::{AudioUnit, NewListeners};

    /// Somebody who whistles, in packets.
    pub struct Tone {
        hz: f64,
        /// Values of a packet.
        values: usize,
        pub amplitude: f64,
        at: usize,
        encoder: opus::Encoder,
    }

    impl Tone {
        pub fn new(hz: f64, values: usize) -> Self {
            let encoder =
                opus::Encoder::new(SAMPLE_RATE, opus::Channels::Stereo, opus::Application::LowDelay).unwrap();
            Self { hz, values, amplitude: 4000.0, at: 0, encoder }
        }

        /// The next packet.
        pub fn unit(&mut self, captured: Instant) -> AudioUnit {
            let sample = |i: usize| {
                let time = (self.at + i / CHANNELS) as f64 / f64::from(SAMPLE_RATE);
                ((time * self.hz * TAU).sin() * self.amplitude) as i16
            };
            // More than a frame goes into a packet as several of the longest one.
            let samples: Vec<i16> = (0..self.values).map(sample).collect();
            self.at += self.values / CHANNELS;
            let payload = self.encoder.encode_vec(&samples, 4000).unwrap().into();
            AudioUnit { captured, time: 0, marker: false, payload }
        }
    }

    /// The share of the power of `samples` that is in a tone, of 1.
    pub fn tone_in(samples: &[i16], hz: f64) -> f64 {
        let power: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
        if samples.is_empty() || power == 0.0 {
            return 0.0;
        }
        let mut re = 0.0;
        let mut im = 0.0;
        for (i, sample) in samples.iter().enumerate() {
            let phase = (i / CHANNELS) as f64 / f64::from(SAMPLE_RATE) * hz * TAU;
            re += f64::from(*sample) * phase.cos();
            im += f64::from(*sample) * phase.sin();
        }
        2.0 * re.hypot(im).powi(2) / samples.len() as f64 / power
    }

    fn demand() -> Arc<Demand> {
        Arc::new(Demand::new().unwrap())
    }

    fn heard() -> (Heard, NewListeners) {
        let (listening, listeners) = Listening::new();
        (Heard { published: true, demand: demand(), listening }, listeners)
    }

    #[test]
    fn plans_differ_in_what_is_heard_where_and_in_sources_that_were_started_again() {
        let mixed = |of: &[u32]| Mixed { demand: demand(), of: of.iter().copied().map(FeedId).collect() };
        let (first, _) = heard();
        let sources = BTreeMap::from([(FeedId(1), first)]);
        let plan = Plan { sources, mixes: BTreeMap::from([(FeedId(9), mixed(&[1]))]) };
        assert!(plan.is_same(&plan.clone()) && Plan::default().is_same(&Plan::default()));
        let again = Plan { sources: BTreeMap::from([(FeedId(1), heard().0)]), ..plan.clone() };
        let other = Plan { mixes: BTreeMap::from([(FeedId(9), mixed(&[]))]), ..plan.clone() };
        let more = Plan { mixes: BTreeMap::from([(FeedId(8), mixed(&[1]))]), ..plan.clone() };
        for changed in [&again, &other, &more, &Plan::default()] {
            assert!(!plan.is_same(changed) && !changed.is_same(&plan), "{changed:?}");
        }
    }

    #[test]
    fn the_thread_mixes_what_it_is_told_to_and_ends_when_nobody_holds_it() {
        let (sent, frames) = sync_channel(1000);
        let mixer = Handle::start(Box::new(move |_, demand| {
            let sent = sent.clone();
            AudioOutlet::new(demand, Instant::now(), move |unit| {
                let _ = sent.try_send(unit);
            })
        }))
        .unwrap();
        let (source, listeners) = heard();
        // It is listened to all the same once there is room.
        for _ in 0..16 {
            assert!(source.listening.listen(Box::new(|_| false)).is_ok());
        }
        let mut outlet = AudioOutlet::new(Arc::clone(&source.demand), Instant::now(), |_| {});
        outlet.take_listeners(listeners);
        let demand_of_source = Arc::clone(&source.demand);
        let mixed = Mixed { demand: demand(), of: [FeedId(1)].into() };
        mixed.demand.add_watcher();
        mixer.follow(Plan {
            sources: BTreeMap::from([(FeedId(1), source)]),
            mixes: BTreeMap::from([(FeedId(9), mixed)]),
        });
        let mut tone = Tone::new(440.0, FRAME);
        let mut decoder = OpusDecoder::new().unwrap();
        let mut samples = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut next = Instant::now();
        while samples.len() < 50 * FRAME || tone_in(&samples[samples.len() - 25 * FRAME..], 440.0) < 0.9 {
            assert!(Instant::now() < deadline, "{} frames", samples.len() / FRAME);
            while Instant::now() >= next {
                let AudioUnit { payload: data, captured, .. } = tone.unit(next);
                outlet.publish(AudioPacket { data, captured, ticks: FRAME_TICKS });
                next += FRAME_TIME;
            }
            if let Ok(unit) = frames.recv_timeout(next.saturating_duration_since(Instant::now())) {
                samples.extend(decoder.decode(&unit.payload).unwrap());
            }
        }
        assert!(!mixer.has_crashed());
        assert_eq!(demand_of_source.watchers(), 1);
        drop(mixer);
        while frames.recv_timeout(Duration::from_secs(30)).is_ok() {}
        while demand_of_source.watchers() > 0 {
            assert!(Instant::now() < deadline + Duration::from_secs(60));
            std::thread::yield_now();
        }
    }
}
