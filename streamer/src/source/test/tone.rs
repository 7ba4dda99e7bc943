//! The tone of the test source: 440 Hz, and a click at the beginning of each second.

#![expect(clippy::disallowed_methods, reason = "the loop of a thread is where the time is asked for")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Timeline, poll_failed};
use crate::encode::audio::{BLOCK, CHANNELS, FRAME_SAMPLES, OpusEncoder, SAMPLE_RATE};
use crate::feed::AudioOutlet;
use crate::media::AudioPacket;
use crate::source::Error;
use crate::source::worker::{Inbox, Next, Worker};
use crate::stats::SourceCounters;

/// Length of a block.
const BLOCK_TIME: Duration = Duration::from_millis(FRAME_SAMPLES as u64 * 1000 / SAMPLE_RATE as u64);
/// Pitch and loudness of the tone.
const TONE: (f64, f64) = (440.0, 3000.0);
/// Pitch and loudness of a click.
const CLICK: (f64, f64) = (2000.0, 20_000.0);
/// Length of a click.
const CLICK_TIME: Duration = Duration::from_millis(5);

/// The running tone; dropping it ends it.
pub type Tone = Worker<Never>;

/// The tone takes no commands.
pub enum Never {}

/// Starts the tone. It is made while somebody listens.
///
/// # Errors
/// The encoder or the thread does not start.
pub fn start(timeline: Timeline, outlet: AudioOutlet, counters: Arc<SourceCounters>) -> Result<Tone, Error> {
    let opus = OpusEncoder::new()?;
    Worker::spawn("test-tone", move |inbox| {
        let tone = Play { timeline, opus, outlet, counters };
        if let Err(error) = tone.run(&inbox) {
            // The picture goes on without sound.
            tracing::error!(%error, "the tone ended");
        }
    })
}

struct Play {
    timeline: Timeline,
    opus: OpusEncoder,
    outlet: AudioOutlet,
    counters: Arc<SourceCounters>,
}

impl Play {
    fn run(mut self, inbox: &Inbox<Never>) -> Result<(), Error> {
        let demand = Arc::clone(self.outlet.demand());
        let mut next = 0;
        loop {
            match inbox.next() {
                Next::Command(never) => match never {},
                Next::Stop => return Ok(()),
                Next::Empty => {}
            }
            demand.reset_wake();
            let until = if demand.watchers() == 0 {
                None
            } else {
                // After a pause, or when the machine was too busy, sound continues at the current time.
                let elapsed = self.timeline.start.elapsed();
                next = next.max((elapsed.as_nanos() / BLOCK_TIME.as_nanos()) as u32);
                let begins = self.timeline.start + BLOCK_TIME * next;
                if elapsed >= BLOCK_TIME * next {
                    self.block(begins)?;
                    next += 1;
                    continue;
                }
                Some(begins)
            };
            inbox.sleep(&[demand.wake_fd()], until).map_err(poll_failed)?;
        }
    }

    /// Makes the block that begins at `begins`.
    fn block(&mut self, begins: Instant) -> Result<(), Error> {
        let data = self.opus.encode(&samples(&self.timeline, begins))?;
        self.counters.audio_captured.add(1);
        self.counters.audio_encoded.add(1);
        self.counters.audio_bytes.add(data.len() as u64);
        self.outlet.publish(AudioPacket { data, captured: begins, ticks: FRAME_SAMPLES as u32 });
        Ok(())
    }
}

/// The samples of the block that begins at `begins`, the same in both channels.
fn samples(timeline: &Timeline, begins: Instant) -> [i16; BLOCK] {
    std::array::from_fn(|index| {
        let at = Duration::from_secs(1) * (index / CHANNELS) as u32 / SAMPLE_RATE;
        let within = timeline.within_second(begins + at);
        let (pitch, loudness) = if within < CLICK_TIME { CLICK } else { TONE };
        // Both pitches are whole numbers: their waves continue from one second to the next.
        ((within.as_secs_f64() * pitch * std::f64::consts::TAU).sin() * loudness) as i16
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_begins_with_a_click() {
        let timeline = Timeline { start: Instant::now(), offset: Duration::from_millis(300) };
        let loudest = |ms: u64| {
            let block = samples(&timeline, timeline.start + Duration::from_millis(ms));
            block.into_iter().max().unwrap()
        };
        let clicks: Vec<_> = (0..3000).step_by(10).filter(|ms| loudest(*ms) > 10_000).collect();
        assert_eq!(clicks, [700, 1700, 2700]);
    }
}
