//! Re-encodes media that we already have by an ffmpeg: pictures that browsers cannot show or that are to be
//! smaller, and sound that is not Opus. Timestamps are kept: output has the capture time of its input.

#![expect(clippy::disallowed_methods, reason = "the loop of a thread is where the time is asked for")]

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::media::VideoCodec;

use super::arguments::{Input, Picture};
use super::child::{Child, End, Output, Reads};
use super::read::{Reader, Times};
use super::secrets::Secrets;
use super::{flv, ivf};
use crate::media::{AccessUnit, AudioPacket};
use crate::source::live::h264::Format;

/// Offset of the first timestamp, so that pictures that are decoded before they are shown have one, too.
const LEAD: Duration = Duration::from_secs(2);
/// How much earlier than it is shown a picture may have to be decoded: more than any reordering takes.
const REORDERING: u32 = 1000;
/// Output follows input at once. Without any for this long, ffmpeg hangs.
const STALLED: Duration = Duration::from_secs(10);
/// Timestamps of FLV are milliseconds in 32 bits, 49 days. ffmpeg is restarted before.
const LIFE: Duration = Duration::from_secs(40 * 24 * 3600);

/// Output of a transcoder.
#[derive(Debug)]
pub enum Encoded {
    /// A picture, and its parameter set.
    Picture(AccessUnit, Option<Format>),
    /// A picture that was only decoded, in I420.
    Raw(Bytes),
    /// Sound.
    Sound(AudioPacket),
}

/// One ffmpeg that encodes either pictures or sound.
pub struct Transcoder {
    child: Child,
    began: Instant,
    reader: Reader,
    /// Kind of sound, if it is sound.
    sound: Option<flv::Sound>,
    reordered: bool,
    /// The newest configuration.
    config: Bytes,
    last_decoded: u32,
    /// A picture was skipped: nothing can be decoded before the next keyframe.
    waits: bool,
    /// When the last input without any output since was written.
    unanswered: Option<Instant>,
    ready: VecDeque<AudioPacket>,
}

impl Transcoder {
    /// For pictures like `first`, the first of them: of its codec, and of its size where the container has it. They may come
    /// `reordered`, with the time at which they are to be shown.
    ///
    /// # Errors
    /// [`End`] when ffmpeg does not start.
    pub fn pictures(picture: Picture, reordered: bool, first: &AccessUnit) -> Result<Self, End> {
        let (input, header) = match ivf::header(first.codec, first.size) {
            Some(header) => (Input::OurIvf, header),
            None if first.codec == VideoCodec::H264 => (Input::OurFlv, flv::header(true)),
            None => return Err(End::Failed(format!("{:?} cannot be encoded anew", first.codec))),
        };
        let child = Child::start(input, Reads::Ours, Some(picture), false, Secrets::default())?;
        Ok(Self::new(child, header, None, reordered, first.captured))
    }

    /// For sound, the first of which is of `first`. `config` is the `AudioSpecificConfig` of AAC.
    ///
    /// # Errors
    /// [`End`] when ffmpeg does not start.
    pub fn sound(kind: flv::Sound, config: &[u8], first: Instant) -> Result<Self, End> {
        let child = Child::start(Input::OurFlv, Reads::Ours, None, true, Secrets::default())?;
        let mut this = Self::new(child, flv::header(false), Some(kind), false, first);
        if kind == flv::Sound::Aac {
            this.child.write(flv::aac_config(config));
        }
        Ok(this)
    }

    fn new(
        mut child: Child,
        header: Bytes,
        sound: Option<flv::Sound>,
        reordered: bool,
        first: Instant,
    ) -> Self {
        // There is room for it, as it is the first input.
        child.write(header);
        let began = first.checked_sub(LEAD).unwrap_or(first);
        Self {
            child,
            began,
            reader: Reader::new(Times::Ours(began)),
            sound,
            reordered,
            config: Bytes::new(),
            last_decoded: 0,
            waits: true,
            unanswered: None,
            ready: VecDeque::new(),
        }
    }

    /// Queues a picture. False when it was skipped, as all further ones up to the next keyframe will be.
    pub fn push_picture(&mut self, unit: &AccessUnit) -> bool {
        if self.waits && !unit.keyframe {
            return false;
        }
        let show = self.millis(unit.captured);
        let decode = if self.reordered { show.saturating_sub(REORDERING) } else { show };
        let decode = decode.max(self.last_decoded + 1);
        let framed = unit.codec != VideoCodec::H264;
        if unit.keyframe && !framed {
            let config = flv::video_config(0, &unit.data);
            if config != self.config {
                self.child.write(flv::video_config(decode, &unit.data));
                self.config = config;
            }
        }
        let taken = self.child.write(if framed {
            ivf::frame(decode, &unit.data)
        } else {
            flv::video(decode, show.max(decode), unit.keyframe, &unit.data)
        });
        self.waits = !taken;
        if taken {
            self.last_decoded = decode;
            self.given();
        }
        taken
    }

    /// Queues a packet of sound, which is dropped when ffmpeg does not keep up.
    pub fn push_sound(&mut self, data: &[u8], captured: Instant) {
        let time = self.millis(captured);
        if let Some(kind) = self.sound
            && self.child.write(flv::sound(time, kind, data))
        {
            self.given();
        }
    }

    fn given(&mut self) {
        self.unanswered.get_or_insert_with(Instant::now);
    }

    fn millis(&self, at: Instant) -> u32 {
        // ffmpeg is restarted long before this saturates.
        u32::try_from(at.saturating_duration_since(self.began).as_millis()).unwrap_or(u32::MAX)
    }

    /// The next output. Cancel safe.
    ///
    /// # Errors
    /// [`End`] when ffmpeg has ended, or hangs.
    pub async fn next(&mut self) -> Result<Encoded, End> {
        let hangs = self.unanswered.map(|since| since + STALLED);
        let deadline = hangs.unwrap_or(self.began + LIFE).min(self.began + LIFE);
        let output = async {
            loop {
                if let Some(packet) = self.ready.pop_front() {
                    return Ok(Encoded::Sound(packet));
                }
                let output = self.child.next().await?;
                self.unanswered = None;
                match output {
                    Output::Picture(packet) => {
                        if let Some(unit) = self.reader.picture(&packet, Instant::now()) {
                            return Ok(Encoded::Picture(unit, self.reader.format()));
                        }
                    }
                    Output::Frame(format, packet) => {
                        if let Some(unit) = self.reader.frame(format, &packet, Instant::now()) {
                            return Ok(Encoded::Picture(unit, None));
                        }
                    }
                    Output::Raw(picture) => return Ok(Encoded::Raw(picture)),
                    Output::Sound(packet) => self.ready.extend(self.reader.sound(&packet, Instant::now())),
                }
            }
        };
        let timed_out = |_| Err(End::Failed("ffmpeg gives nothing any more".into()));
        tokio::time::timeout_at(deadline.into(), output).await.unwrap_or_else(timed_out)
    }
}

/// The next output of a transcoder, if there is one; without one, waits for ever.
///
/// # Errors
/// As [`Transcoder::next`].
pub async fn next(transcoder: &mut Option<Transcoder>) -> Result<Encoded, End> {
    match transcoder {
        Some(transcoder) => transcoder.next().await,
        None => std::future::pending().await,
    }
}
