//! From pixels to the feed: the picture as the encoder takes it, the encoder, and the outlet.
//! Owned by the thread of a source, which decides when.

#![expect(clippy::disallowed_methods, reason = "measures how long pictures take")]

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::media::VideoCodec;

use super::{Error, Event, Events};
use crate::encode::convert::I420;
use crate::encode::encoder::{Config, Content, Encoder};
use crate::encode::rate::default_bitrate;
use crate::feed::VideoOutlet;
use crate::media::{AccessUnit, Size};
use crate::stats::SourceCounters;

/// What a spec says about video.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Highest frame rate.
    pub fps: u32,
    /// Target bitrate; chosen by the size if absent.
    pub bitrate_kbps: Option<u32>,
}

impl Settings {
    /// The bitrate for pictures of this size.
    pub fn bitrate_bps(&self, size: Size) -> u32 {
        self.bitrate_kbps.map_or_else(|| default_bitrate(size, self.fps), |kbps| kbps * 1000)
    }
}

/// One encoding of a source.
pub struct Video {
    picture: I420,
    encoding: Encoding,
}

/// An encoder and where its access units go.
pub struct Encoding {
    settings: Settings,
    content: Content,
    /// `None` until the size of the pictures is known.
    encoder: Option<Encoder>,
    outlet: VideoOutlet,
    counters: Arc<SourceCounters>,
}

/// What came out of one call of the encoder.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// Length of the access unit.
    pub len_bytes: usize,
    /// It was a keyframe.
    pub keyframe: bool,
    /// How long encoding took.
    pub encoding: Duration,
}

/// No encoder is asked for less.
const MIN_BPS: u32 = 80_000;

impl Encoding {
    /// Ready for its first picture, which will be a keyframe. The encoder is made for it.
    pub fn new(
        settings: Settings,
        content: Content,
        outlet: VideoOutlet,
        counters: Arc<SourceCounters>,
    ) -> Self {
        Self { settings, content, encoder: None, outlet, counters }
    }

    /// What the peers want.
    pub fn outlet(&self) -> &VideoOutlet {
        &self.outlet
    }

    /// Target bitrate of now, for pictures of this size: what the spec says, or what helps those who watch if that is less.
    pub fn bitrate_bps(&self, size: Size) -> u32 {
        let wanted = self.settings.bitrate_bps(size);
        self.outlet.demand().limit_bps().map_or(wanted, |limit| wanted.min(limit.max(MIN_BPS)))
    }

    /// Starts again with pictures of this size and kind. The next one is a keyframe.
    ///
    /// # Errors
    /// [`Error::Encode`]; the encoding is then as it was.
    pub fn restart(&mut self, size: Size, content: Content) -> Result<(), Error> {
        self.encoder = Some(encoder(self.settings, size, content)?);
        self.content = content;
        Ok(())
    }

    /// Encodes a picture and hands it to the feed. One of another size than before is a keyframe.
    ///
    /// # Errors
    /// [`Error::Encode`] when the encoder fails.
    pub fn send(&mut self, picture: &I420, captured: Instant, keyframe: bool) -> Result<Sent, Error> {
        let size = picture.size();
        let bitrate_bps = self.bitrate_bps(size);
        self.encoder.take_if(|encoder| encoder.config().size != size);
        let encoder = match &mut self.encoder {
            Some(encoder) => encoder,
            none => none.insert(encoder(self.settings, size, self.content)?),
        };
        encoder.set_bitrate(bitrate_bps)?;
        let start = Instant::now();
        let encoded = encoder.encode(picture, captured, keyframe)?;
        let encoding = start.elapsed();
        let len_bytes = encoded.data.len();
        let keyframe = encoded.keyframe;
        self.counters.encode_us.add_time(encoding);
        self.counters.encoded.add(1);
        self.counters.keyframes.add(u64::from(keyframe));
        self.counters.encoded_bytes.add(len_bytes as u64);
        if len_bytes > 0 {
            let codec = VideoCodec::H264;
            let data = encoded.data;
            self.outlet.publish(AccessUnit { codec, data, keyframe, captured, size });
        }
        Ok(Sent { len_bytes, keyframe, encoding })
    }
}

impl Video {
    /// Ready for its first picture, which will be a keyframe.
    ///
    /// # Errors
    /// [`Error::Encode`] when the encoder does not start.
    pub fn new(
        settings: Settings,
        size: Size,
        content: Content,
        outlet: VideoOutlet,
        counters: Arc<SourceCounters>,
    ) -> Result<Self, Error> {
        let picture = I420::new(size)?;
        let mut encoding = Encoding::new(settings, content, outlet, counters);
        encoding.restart(size, content)?;
        Ok(Self { picture, encoding })
    }

    /// What the peers want.
    pub fn outlet(&self) -> &VideoOutlet {
        self.encoding.outlet()
    }

    /// The picture as of the last conversion.
    pub fn picture(&self) -> &I420 {
        &self.picture
    }

    /// Size of the picture.
    pub fn size(&self) -> Size {
        self.picture.size()
    }

    /// Target bitrate of now.
    pub fn bitrate_bps(&self) -> u32 {
        self.encoding.bitrate_bps(self.size())
    }

    /// Starts again with pictures of this size and kind. The next one is a keyframe. Without another
    /// size, the picture stays as it is.
    ///
    /// # Errors
    /// [`Error::Encode`]; the encoding is then as it was.
    pub fn restart(&mut self, size: Size, content: Content) -> Result<(), Error> {
        let resized = (size != self.size()).then(|| I420::new(size)).transpose()?;
        self.encoding.restart(size, content)?;
        if let Some(picture) = resized {
            self.picture = picture;
        }
        Ok(())
    }

    /// Takes over changed rows, as [`I420::convert`] does.
    ///
    /// # Errors
    /// [`Error::Encode`] when they are not rows of the picture.
    pub fn convert(&mut self, rows: Range<u32>, pixels: &[u8], stride: usize) -> Result<(), Error> {
        let start = Instant::now();
        let len = rows.len() * self.size().width as usize * 4;
        self.picture.convert(rows, pixels, stride)?;
        let counters = &self.encoding.counters;
        counters.convert_us.add_time(start.elapsed());
        counters.converted_bytes.add(len as u64);
        Ok(())
    }

    /// Encodes the picture and hands it to the feed.
    ///
    /// # Errors
    /// [`Error::Encode`] when the encoder fails.
    pub fn send(&mut self, captured: Instant, keyframe: bool) -> Result<Sent, Error> {
        self.encoding.send(&self.picture, captured, keyframe)
    }
}

fn encoder(settings: Settings, size: Size, content: Content) -> Result<Encoder, Error> {
    let config = Config { size, fps: settings.fps, bitrate_bps: settings.bitrate_bps(size), content };
    Ok(Encoder::new(config, Instant::now())?)
}

/// Events on their way to the control loop. The source's thread must never wait for a loop that may
/// itself be waiting for the thread to end, so what does not fit is kept here and offered again.
pub struct Outbox {
    events: Events,
    /// Waiting, oldest first: at most one of each kind that a newer one replaces.
    waiting: VecDeque<Event>,
}

/// How soon events that did not fit are offered again.
const RETRY: Duration = Duration::from_millis(10);

impl Outbox {
    /// Empty.
    pub fn new(events: Events) -> Self {
        Self { events, waiting: VecDeque::new() }
    }

    /// Sends an event now, or as soon as there is room. A newer cursor, size or title replaces one
    /// that waits.
    pub fn send(&mut self, event: Event) {
        let kind = std::mem::discriminant(&event);
        if matches!(event, Event::Cursor(_) | Event::Resized(_) | Event::Window(_)) {
            self.waiting.retain(|waiting| std::mem::discriminant(waiting) != kind);
        }
        self.waiting.push_back(event);
        self.flush();
    }

    /// Offers what waits.
    pub fn flush(&mut self) {
        while let Some(event) = self.waiting.pop_front() {
            if let Err(event) = self.events.try_send(event) {
                return self.waiting.push_front(event);
            }
        }
    }

    /// When [`Outbox::flush`] is to be called again, if anything waits.
    pub fn retry_at(&self, now: Instant) -> Option<Instant> {
        (!self.waiting.is_empty()).then(|| now + RETRY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::SourceKey;

    #[test]
    fn an_outbox_keeps_what_does_not_fit_and_only_the_newest_cursor() {
        let (events, mut received) = tokio::sync::mpsc::channel(1);
        let mut outbox = Outbox::new(Events::new(SourceKey::default(), events));
        let size = |width| Event::Resized(Size { width, height: 2 });
        outbox.send(Event::Started);
        let now = Instant::now();
        assert_eq!(outbox.retry_at(now), None);
        outbox.send(size(2));
        outbox.send(Event::Cursor(None));
        outbox.send(size(4));
        assert_eq!(outbox.retry_at(now), Some(now + RETRY));
        let mut seen = Vec::new();
        while let Ok((_, event)) = received.try_recv() {
            seen.push(format!("{event:?}"));
            outbox.flush();
        }
        assert_eq!(seen, ["Started", "Cursor(None)", "Resized(Size { width: 4, height: 2 })"]);
        assert_eq!(outbox.retry_at(now), None);
    }
}
