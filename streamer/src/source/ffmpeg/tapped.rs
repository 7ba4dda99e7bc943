//! A variant of another stream of this streamer.

#![expect(clippy::disallowed_methods, reason = "the loop of a thread is where the time is asked for")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use common::media::VideoCodec;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::arguments::Picture;
use super::child::End;
use super::transcode::{self, Encoded, Transcoder};
use crate::feed::packetize::nal_units;
use crate::feed::{Tap, Tapped};
use crate::media::{AccessUnit, Size};
use crate::source::Ended;
use crate::source::live::Publisher;
use crate::source::live::h264::Assembler;
use crate::source::live::still::HD_ROWS;

/// Frame rate for which a bitrate is chosen.
const USUAL_FPS: u32 = 30;
/// Longest delay until it is noticed that nobody reads the tap any more.
const PATIENCE: Duration = Duration::from_millis(50);

/// Runs until the other stream ends.
pub async fn run(tap: Tap, picture: Picture, mut publisher: Publisher) {
    let mut units = match Units::start(tap) {
        Ok(units) => units,
        Err(error) => {
            return publisher.ended(Ended::Failed(format!("no thread to read the stream: {error}"))).await;
        }
    };
    let mut variant = Variant::of(picture);
    loop {
        let reason = match variant.attempt(&mut units, &mut publisher).await {
            End::Finished => {
                return publisher
                    .ended(Ended::Failed("the stream that it is a variant of has ended".into()))
                    .await;
            }
            end => end.to_string(),
        };
        variant.transcoder = None;
        let until = Instant::now() + publisher.lost(reason).await;
        // Units that come meanwhile are skipped, so that no keyframes of the other stream are requested in vain.
        while tokio::time::timeout_at(until, units.next()).await.is_ok_and(|unit| unit.is_some()) {}
        units.ask_keyframe();
    }
}

/// Another stream, decoded and perhaps encoded again.
pub struct Variant {
    picture: Picture,
    transcoder: Option<Transcoder>,
    /// Codec and size of the transcoder's input.
    given: Option<(VideoCodec, Size)>,
}

impl Variant {
    /// Processed like this.
    pub fn of(picture: Picture) -> Self {
        Self { picture, transcoder: None, given: None }
    }

    /// The next output; none comes before a keyframe was given. Cancel safe.
    ///
    /// # Errors
    /// ffmpeg has ended, or hangs.
    pub async fn next(&mut self) -> Result<Encoded, End> {
        match transcode::next(&mut self.transcoder).await {
            Err(End::Finished) => Err(End::Failed("ffmpeg ended".into())),
            output => output,
        }
    }

    /// Runs until ffmpeg fails, or there is no more to encode ([`End::Finished`]).
    async fn attempt(&mut self, units: &mut Units, publisher: &mut Publisher) -> End {
        loop {
            tokio::select! {
                biased;
                encoded = self.next() => match encoded {
                    Ok(Encoded::Picture(unit, format)) => publisher.video(unit, format).await,
                    Ok(Encoded::Sound(packet)) => publisher.audio(packet),
                    // No source asks for these.
                    Ok(Encoded::Raw(_)) => {}
                    Err(end) => return end,
                },
                unit = units.next() => match unit {
                    Some(unit) => match self.push(&unit) {
                        Ok(true) => {}
                        Ok(false) => units.ask_keyframe(),
                        Err(end) => return end,
                    },
                    None => return End::Finished,
                },
            }
        }
    }

    /// Gives it to ffmpeg. False when it was skipped, as all further ones up to the next keyframe will be.
    ///
    /// # Errors
    /// ffmpeg does not start, or does not decode that.
    pub fn push(&mut self, unit: &AccessUnit) -> Result<bool, End> {
        // An encoder has one size, and a container one codec; another one needs another ffmpeg.
        let given = Some((unit.codec, unit.size));
        if unit.keyframe && self.given != given {
            self.transcoder = None;
        }
        let transcoder = match &mut self.transcoder {
            Some(transcoder) => transcoder,
            None if !unit.keyframe => return Ok(false),
            none => {
                let hdtv = is_hdtv_by_its_size(unit);
                let picture = Picture { known: Some((unit.size, USUAL_FPS)), hdtv, ..self.picture };
                self.given = given;
                none.insert(Transcoder::pictures(picture, false, unit)?)
            }
        };
        Ok(transcoder.push_picture(unit))
    }
}

/// The keyframe does not declare its colours, and is so large that those of HDTV apply. A scaled-down picture of the same stream would be
/// assumed to have others.
fn is_hdtv_by_its_size(keyframe: &AccessUnit) -> bool {
    if keyframe.codec != VideoCodec::H264 || keyframe.size.height < HD_ROWS {
        return false;
    }
    let mut assembler = Assembler::default();
    for nal in nal_units(&keyframe.data) {
        assembler.add_parameter_set(nal);
    }
    assembler.format().is_some_and(|format| format.colours.matrix.is_none())
}

/// The units of a tap, read by a thread, as a tap can only be waited for by one.
pub struct Units {
    units: mpsc::Receiver<AccessUnit>,
    ask: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Units {
    /// Reads this tap, until it is dropped.
    ///
    /// # Errors
    /// The system has no more threads.
    pub fn start(tap: Tap) -> std::io::Result<Self> {
        // One waits here; the others in the tap, which knows what to do when there are too many.
        let (sender, units) = mpsc::channel(1);
        let ask = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&ask);
        let read = move || {
            while !sender.is_closed() {
                if asked.swap(false, Ordering::AcqRel) {
                    tap.ask_keyframe();
                }
                match tap.next(PATIENCE) {
                    Tapped::Unit(unit) => drop(sender.blocking_send(unit)),
                    Tapped::Nothing => {}
                    Tapped::End => return,
                }
            }
        };
        let thread = crate::thread::spawn("tap", read)?;
        Ok(Self { units, ask, thread: Some(thread) })
    }

    /// The next unit; `None` at the end of the stream. Cancel safe.
    pub async fn next(&mut self) -> Option<AccessUnit> {
        self.units.recv().await
    }

    /// Nothing can be decoded before a keyframe.
    pub fn ask_keyframe(&self) {
        self.ask.store(true, Ordering::Release);
    }
}

impl Drop for Units {
    fn drop(&mut self) {
        self.units.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of a tap panicked");
        }
    }
}
