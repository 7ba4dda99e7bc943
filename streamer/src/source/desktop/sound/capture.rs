//! Captures the monitor of the session's sink and lets peers speak, as a client of its sound server.

#![expect(clippy::disallowed_methods, reason = "the loop of a thread is where the time is asked for")]

use std::cell::Cell;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use libpulse_binding as pulse;
use pulse::callbacks::ListResult;
use pulse::context::subscribe::InterestMaskSet;
use pulse::context::{self, Context};
use pulse::def::BufferAttr;
use pulse::mainloop::api::Mainloop as _;
use pulse::mainloop::events::io::{FlagSet as IoFlags, IoEvent};
use pulse::mainloop::standard::{IterateResult, Mainloop};
use pulse::sample::{Format, Spec};
use pulse::stream::{self, PeekResult, Stream};

use super::Stop;
use super::blocks::{Block, Blocks};
use super::microphone::{Jacks, Voices};
use crate::encode::audio::{CHANNELS, FRAME_SAMPLES, OpusEncoder, SAMPLE_RATE};
use crate::feed::AudioOutlet;
use crate::media::AudioPacket;
use crate::source::Error;
use crate::stats::SourceCounters;

/// The format that is captured.
const SOURCE: &str = "desk.monitor";
/// Bytes of one sample of both channels.
pub const SAMPLE_BYTES: usize = 2 * CHANNELS;
/// Bytes that the server sends at once: one block. The default is seconds' worth.
const FRAGMENT: u32 = (FRAME_SAMPLES * SAMPLE_BYTES) as u32;

/// Captures until stopped, or until the server is gone. Meanwhile who is plugged into `jacks` is heard by programs.
///
/// # Errors
/// [`Error::Sound`] when the server is gone or refuses something.
pub fn run(
    socket: &Path,
    stop: &Stop,
    outlet: &mut AudioOutlet,
    jacks: Option<&Jacks>,
    counters: &SourceCounters,
) -> Result<(), Error> {
    let mut client = Client::connect(socket, stop, outlet, jacks)?;
    let mut worker = Worker { encoder: OpusEncoder::new()?, outlet, counters };
    let mut blocks = Blocks::new();
    while !stop.is_stopped() {
        client.follow(worker.outlet, &mut blocks);
        client.read(&mut blocks, &mut worker)?;
        client.speak()?;
        client.iterate()?;
    }
    Ok(())
}

/// Encodes blocks and publishes them.
struct Worker<'a> {
    encoder: OpusEncoder,
    outlet: &'a mut AudioOutlet,
    counters: &'a SourceCounters,
}

impl Worker<'_> {
    fn take(&mut self, block: Block<'_>) -> Result<(), Error> {
        self.counters.audio_captured.add(1);
        if block.silent || self.outlet.demand().watchers() == 0 {
            return Ok(());
        }
        let data = self.encoder.encode(block.samples)?;
        self.counters.audio_encoded.add(1);
        self.counters.audio_bytes.add(data.len() as u64);
        self.outlet.publish(AudioPacket { data, captured: block.captured, ticks: FRAME_SAMPLES as u32 });
        Ok(())
    }
}

type Watch = IoEvent<<Mainloop as pulse::mainloop::api::Mainloop>::MI>;

/// The connection. Fields are dropped in order: what belongs to the loop before the loop.
struct Client {
    voices: Option<Voices>,
    stream: Stream,
    context: Context,
    _watches: Vec<Watch>,
    mainloop: Mainloop,
    programs: Programs,
    corked: bool,
}

/// Whether any program plays something, or records: while none does, nothing is captured and no peer is decoded, and an
/// idle desktop costs nothing.
#[derive(Debug, Default, Clone)]
struct Programs {
    /// Something has changed since the last query.
    changed: Rc<Cell<bool>>,
    playing: Rc<Cell<bool>>,
    recording: Rc<Cell<bool>>,
}

impl Programs {
    /// Watches the streams of programs.
    fn watch(context: &mut Context) -> Self {
        let programs = Self { changed: Rc::new(Cell::new(true)), ..Self::default() };
        let changed = Rc::clone(&programs.changed);
        context.set_subscribe_callback(Some(Box::new(move |_, _, _| changed.set(true))));
        // Dropping the operation does not cancel it.
        drop(context.subscribe(InterestMaskSet::SINK_INPUT | InterestMaskSet::SOURCE_OUTPUT, |_| {}));
        programs
    }

    /// Queries the server again, if something has changed.
    fn ask(&self, context: &Context) {
        if !self.changed.take() {
            return;
        }
        // Streams of the server's own modules have no client.
        let ours = context.get_index();
        let is_program = move |client: Option<u32>| client.is_some() && client != ours;
        let playing = Rc::clone(&self.playing);
        let mut found = false;
        drop(context.introspect().get_sink_input_info_list(move |result| match result {
            ListResult::Item(stream) => found |= !stream.corked && is_program(stream.client),
            ListResult::End => playing.set(found),
            ListResult::Error => playing.set(true),
        }));
        let recording = Rc::clone(&self.recording);
        let mut found = false;
        drop(context.introspect().get_source_output_info_list(move |result| match result {
            ListResult::Item(stream) => found |= !stream.corked && is_program(stream.client),
            ListResult::End => recording.set(found),
            ListResult::Error => recording.set(true),
        }));
    }
}

pub fn failed(what: &'static str) -> impl Fn(pulse::error::PAErr) -> Error {
    move |error| Error::Sound(format!("{what}: {error}"))
}

pub fn none(what: &'static str) -> impl Fn() -> Error {
    move || Error::Sound(format!("{what}: out of memory"))
}

impl Client {
    /// Connects and begins to record, corked.
    fn connect(
        socket: &Path,
        stop: &Stop,
        outlet: &AudioOutlet,
        jacks: Option<&Jacks>,
    ) -> Result<Self, Error> {
        let mut mainloop = Mainloop::new().ok_or_else(none("main loop"))?;
        let mut watches =
            vec![watch(&mut mainloop, &stop.wake)?, watch(&mut mainloop, outlet.demand().wake_fd())?];
        if let Some(jacks) = jacks {
            watches.push(watch(&mut mainloop, jacks)?);
        }
        let mut context = Context::new(&mainloop, "oriel").ok_or_else(none("context"))?;
        // Without a cookie file of its own the library creates one in our home directory.
        let cookie = socket.with_extension("cookie");
        std::fs::write(&cookie, [0; 256])
            .map_err(|source| Error::Io { what: "sound cookie".into(), source })?;
        context.load_cookie_from_file(&cookie.to_string_lossy()).map_err(failed("cookie"))?;
        let server = format!("unix:{}", socket.display());
        context.connect(Some(&server), context::FlagSet::NOAUTOSPAWN, None).map_err(failed("connecting"))?;
        while context.get_state() != context::State::Ready {
            if !context.get_state().is_good() || stop.is_stopped() {
                return Err(failed("connecting")(context.errno()));
            }
            iterate(&mut mainloop)?;
        }
        let programs = Programs::watch(&mut context);
        let stream = record(&mut context)?;
        let voices = jacks.cloned().map(Voices::of);
        let mut client =
            Self { voices, stream, context, _watches: watches, mainloop, programs, corked: true };
        while client.stream.get_state() != stream::State::Ready {
            if stop.is_stopped() {
                return Err(Error::Ended);
            }
            client.iterate()?;
        }
        Ok(client)
    }

    /// One turn of the loop: waits for sound, for a change of demand, or for the stop.
    fn iterate(&mut self) -> Result<(), Error> {
        iterate(&mut self.mainloop)?;
        let good = self.context.get_state().is_good() && self.stream.get_state().is_good();
        if good { Ok(()) } else { Err(failed("the sound server has gone")(self.context.errno())) }
    }

    /// Records while somebody listens and there is something to hear.
    fn follow(&mut self, outlet: &AudioOutlet, blocks: &mut Blocks) {
        outlet.demand().reset_wake();
        self.programs.ask(&self.context);
        let quiet = !self.programs.playing.get() && blocks.is_silent();
        let cork = outlet.demand().watchers() == 0 || quiet;
        if cork != self.corked {
            self.corked = cork;
            drop(self.stream.set_corked_state(cork, None));
            blocks.interrupted();
        }
    }

    /// Lets peers speak, while a program records.
    fn speak(&mut self) -> Result<(), Error> {
        let recorded = self.programs.recording.get();
        self.voices.as_mut().map_or(Ok(()), |voices| voices.speak(&mut self.context, recorded))
    }

    /// Takes all samples that have arrived.
    fn read(&mut self, blocks: &mut Blocks, worker: &mut Worker<'_>) -> Result<(), Error> {
        let mut samples = Vec::new();
        loop {
            let now = Instant::now();
            // What waits was captured just now, at the rate of the samples: the sink that goes nowhere hands
            // them out as they are due. The library's own estimate is off by up to a second after a pause.
            let waiting = self.stream.readable_size().unwrap_or(0) / SAMPLE_BYTES;
            let age = Duration::from_secs(1) * waiting as u32 / SAMPLE_RATE;
            samples.clear();
            match self.stream.peek().map_err(failed("reading"))? {
                PeekResult::Empty => return Ok(()),
                PeekResult::Hole(bytes) => samples.resize(bytes / 2, 0),
                PeekResult::Data(bytes) => {
                    samples.extend(bytes.as_chunks::<2>().0.iter().map(|sample| i16::from_le_bytes(*sample)));
                }
            }
            self.stream.discard().map_err(failed("reading"))?;
            let captured = now.checked_sub(age).unwrap_or(now);
            let mut result = Ok(());
            blocks.push(&samples, captured, |block| {
                if result.is_ok() {
                    result = worker.take(block);
                }
            });
            result?;
        }
    }
}

fn iterate(mainloop: &mut Mainloop) -> Result<(), Error> {
    match mainloop.iterate(true) {
        IterateResult::Success(_) => Ok(()),
        IterateResult::Err(error) => Err(failed("main loop")(error)),
        IterateResult::Quit(_) => Err(Error::Ended),
    }
}

/// Wakes the loop when `fd` is readable; the descriptor itself is handled after each turn.
fn watch(mainloop: &mut Mainloop, fd: impl std::os::fd::AsFd) -> Result<Watch, Error> {
    let fd: BorrowedFd<'_> = fd.as_fd();
    let watch = mainloop.new_io_event(fd.as_raw_fd(), IoFlags::INPUT, Box::new(|_, _, _| {}));
    watch.ok_or_else(none("event"))
}

fn record(context: &mut Context) -> Result<Stream, Error> {
    let spec = Spec { format: Format::S16le, channels: CHANNELS as u8, rate: SAMPLE_RATE };
    let mut stream = Stream::new(context, "session", &spec, None).ok_or_else(none("stream"))?;
    let attributes = BufferAttr {
        // A second: more is lost, should this thread not be scheduled for so long.
        maxlength: SAMPLE_RATE * SAMPLE_BYTES as u32,
        fragsize: FRAGMENT,
        tlength: u32::MAX,
        prebuf: u32::MAX,
        minreq: u32::MAX,
    };
    let flags = stream::FlagSet::ADJUST_LATENCY | stream::FlagSet::START_CORKED | stream::FlagSet::DONT_MOVE;
    stream.connect_record(Some(SOURCE), Some(&attributes), flags).map_err(failed("recording"))?;
    Ok(stream)
}
