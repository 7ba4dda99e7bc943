//! The sound of a desktop: a PulseAudio server of its own with one null sink, whose monitor
//! is captured and encoded.
//!
//! ```text
//! programs ─▶ sink "desk" ─▶ its monitor ─▶ capture ─▶ blocks of 10 ms ─▶ Opus ─▶ outlet
//! peers ─▶ microphone ─▶ sink "peers" ─▶ source "microphone" ─▶ programs
//! ```
//!
//! All of it happens on one thread, which also brings the server up, so that a desktop does not wait for
//! its sound; only the session's command does for a moment ([`Sound::wait_ready`]). When the server dies it is restarted, without affecting video. Silence is not encoded, and
//! while nobody listens or no program plays anything nothing is even captured.

mod blocks;
mod capture;
mod microphone;
mod server;

use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::backoff::{Attempts, Backoff};

use crate::feed::AudioOutlet;
use crate::source::{Error, Microphone};
use crate::stats::SourceCounters;
use crate::wake::{Wake, wait_readable};
use microphone::Jacks;

/// Pauses before a failed server is restarted. There is no jitter, as no other session retries the same thing.
const BACKOFF: Backoff =
    Backoff { first: Duration::from_millis(250), longest: Duration::from_secs(30), least: 1.0, most: 1.0 };
/// A server that ran for this long counts as healthy: the next pause is the first one again.
const GOOD_RUN: Duration = Duration::from_secs(60);

/// A session's sound. Dropping it ends the server and waits for its thread.
#[derive(Debug)]
pub struct Sound {
    address: String,
    stop: Arc<Stop>,
    ready: Arc<Ready>,
    jacks: Option<Jacks>,
    thread: Option<JoinHandle<()>>,
}

impl Sound {
    /// Starts bringing up the server, and returns at once. `microphone`: it has a recording device that peers speak into.
    ///
    /// # Errors
    /// The system has no more threads or descriptors.
    pub fn start(
        dir: &Path,
        outlet: AudioOutlet,
        counters: Arc<SourceCounters>,
        microphone: bool,
    ) -> Result<Self, Error> {
        let failed = |source| Error::Io { what: "starting sound".into(), source };
        let socket = dir.join("pulse.sock");
        let address = format!("unix:{}", socket.display());
        let stop = Arc::new(Stop::new().map_err(failed)?);
        let ready = Arc::new(Ready::default());
        let jacks = microphone.then(Jacks::new).transpose().map_err(failed)?;
        let dir = dir.to_owned();
        let told = Arc::clone(&ready);
        let work = Work {
            dir,
            socket,
            stop: Arc::clone(&stop),
            ready: told,
            outlet,
            jacks: jacks.clone(),
            counters,
        };
        let thread = crate::thread::spawn("sound", move || work.run()).map_err(failed)?;
        Ok(Self { address, stop, ready, jacks, thread: Some(thread) })
    }

    /// Waits until programs can connect, as they do not try twice. Waits for `patience` at most, and not for a
    /// server that failed to come up: without sound is better than without programs.
    pub fn wait_ready(&self, patience: Duration) {
        self.ready.wait(patience);
    }

    /// Where peers are plugged in, if programs have a microphone.
    pub fn microphone(&self) -> Option<Arc<dyn Microphone>> {
        self.jacks.clone().map(|jacks| Arc::new(jacks) as Arc<dyn Microphone>)
    }

    /// The value of `PULSE_SERVER` for programs of the session.
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Sound {
    fn drop(&mut self) {
        self.stop.stop();
        if let Some(thread) = self.thread.take() {
            // Only a panic, which has been reported.
            let _ = thread.join();
        }
    }
}

/// Whether the first server has come up, or failed to.
#[derive(Debug, Default)]
struct Ready {
    decided: Mutex<bool>,
    changed: Condvar,
}

impl Ready {
    fn decide(&self) {
        *self.decided.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    fn wait(&self, patience: Duration) {
        let decided = self.decided.lock().unwrap_or_else(PoisonError::into_inner);
        // Nothing depends on whether the message arrived.
        let _ = self.changed.wait_timeout_while(decided, patience, |decided| !*decided);
    }
}

/// Tells the thread to stop.
#[derive(Debug)]
struct Stop {
    stopped: AtomicBool,
    /// Never reset: once stopped, every wait ends at once.
    wake: Wake,
}

impl Stop {
    fn new() -> std::io::Result<Self> {
        Ok(Self { stopped: AtomicBool::new(false), wake: Wake::new()? })
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.wake.wake();
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Waits for `time`, or until stopped.
    #[expect(clippy::disallowed_methods, reason = "waits for somebody else, with a deadline")]
    fn sleep(&self, time: Duration) {
        if let Err(error) = wait_readable([self.wake.as_fd()], Some(Instant::now() + time)) {
            tracing::error!(%error, "the sound's thread cannot wait");
        }
    }
}

/// What the thread owns.
struct Work {
    dir: PathBuf,
    socket: PathBuf,
    stop: Arc<Stop>,
    ready: Arc<Ready>,
    outlet: AudioOutlet,
    jacks: Option<Jacks>,
    counters: Arc<SourceCounters>,
}

impl Work {
    #[expect(clippy::disallowed_methods, reason = "the loop of a thread is where the time is asked for")]
    fn run(mut self) {
        let mut attempts = Attempts::new(BACKOFF, GOOD_RUN);
        loop {
            let started = Instant::now();
            let result = self.run_once();
            self.ready.decide();
            if self.stop.is_stopped() {
                return;
            }
            let pause = attempts.failed(started.elapsed(), 1.0);
            if let Err(error) = result {
                tracing::warn!("{error}; starting the sound server again in {} ms", pause.as_millis());
            }
            self.counters.sound_restarts.add(1);
            self.stop.sleep(pause);
            if self.stop.is_stopped() {
                return;
            }
        }
    }

    /// One life of the server.
    fn run_once(&mut self) -> Result<(), Error> {
        let server = server::Server::start(&self.dir, &self.socket, self.jacks.is_some())?;
        if !server.wait_ready(&self.stop)? {
            return Ok(());
        }
        self.ready.decide();
        let result =
            capture::run(&self.socket, &self.stop, &mut self.outlet, self.jacks.as_ref(), &self.counters);
        match server.died() {
            Some(how) if !self.stop.is_stopped() => Err(how),
            _ => result,
        }
    }
}
