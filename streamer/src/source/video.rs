//! From pixels to the feed: the picture as the encoder takes it, the encoder, and the outlet.
//! Owned by the thread of a source, which decides when.

#![expect(clippy::disallowed_methods, reason = "measures how long pictures take")]

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::media::VideoCodec;

use super::{Error, Event, Events};
use crate::encode::content::{Classifier, Content};
use crate::encode::convert::I420;
use crate::encode::encoder::{Config, Encoded, Encoder, Order};
use crate::encode::rate::{Terms, default_bitrate};
use crate::encode::rows::Rows;
use crate::encode::screen;
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
    /// What was converted since it was encoded last.
    changed: Rows,
    encoding: Encoding,
    /// Where what it shows may turn out to be another kind of content.
    classifier: Option<Classifier>,
    /// The picture before, while the next one is to be surveyed.
    before: Option<I420>,
}

/// An encoder and where its access units go.
pub struct Encoding {
    settings: Settings,
    content: Content,
    /// `None` until the size of the pictures is known, and when the content has become another one.
    encoder: Option<Encoder>,
    outlet: VideoOutlet,
    counters: Arc<SourceCounters>,
}

/// What came out of one call of the encoder.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// Length of the access unit; zero if there was none.
    pub len_bytes: usize,
    /// There is no detail to add to the picture.
    pub is_complete: bool,
    /// Which share of the picture was new, if that is known.
    pub share_of_new: Option<f64>,
}

/// A film on a screen is over when it has been at rest for this long.
const FILM_OVER: Duration = Duration::from_millis(250);

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

    /// What pictures of this size have to keep to now: what the spec says, or what helps those who watch if that is less.
    pub fn terms(&self, size: Size) -> Terms {
        Terms::new(self.content, self.settings.bitrate_bps(size), self.outlet.demand().limit_bps())
    }

    /// What its pictures are like.
    pub fn content(&self) -> Content {
        self.content
    }

    /// Forgets the encoder, to save its memory. The next picture is a keyframe.
    pub fn rest(&mut self) {
        self.encoder = None;
    }

    /// Pictures are of this kind from now on. If that is another one, the next picture is a keyframe.
    pub fn set_content(&mut self, content: Content) {
        if content != self.content {
            self.content = content;
            self.encoder = None;
        }
    }

    /// Gives up the encoder, and with it what decoders have. The next picture is a keyframe, by a new one.
    pub fn shrink(&mut self) {
        self.encoder = None;
    }

    /// Starts again with pictures of this size. The next one is a keyframe.
    ///
    /// # Errors
    /// [`Error::Encode`]; the encoding is then as it was.
    pub fn restart(&mut self, size: Size) -> Result<(), Error> {
        self.encoder = Some(self.encoder_for(size)?);
        Ok(())
    }

    /// Encodes a picture that differs from the one before in `changed` at most, and hands it to the feed. One of another
    /// size than before is a keyframe.
    ///
    /// # Errors
    /// [`Error::Encode`] when the encoder fails.
    pub fn send(&mut self, picture: &I420, changed: &Rows, order: &Order) -> Result<Sent, Error> {
        let size = picture.size();
        let bitrate_bps = self.terms(size).bitrate_bps;
        self.encoder.take_if(|encoder| encoder.config().size != size);
        let mut encoder = match self.encoder.take() {
            Some(encoder) => encoder,
            None => self.encoder_for(size)?,
        };
        encoder.set_bitrate(bitrate_bps)?;
        let start = Instant::now();
        let encoded = encoder.encode(picture, changed, order)?;
        let sent = self.publish(encoded, encoder.is_at_rest(), order.captured, size, start.elapsed());
        self.encoder = Some(encoder);
        Ok(sent)
    }

    /// Adds detail, in about `max_bytes` where the encoder can be told, to the picture that was sent last. `None` if it was
    /// sent by an encoder that is gone: it is to be sent again.
    ///
    /// # Errors
    /// [`Error::Encode`] when the encoder fails.
    pub fn refine(
        &mut self,
        picture: &I420,
        captured: Instant,
        max_bytes: usize,
    ) -> Result<Option<Sent>, Error> {
        let Some(mut encoder) = self.encoder.take() else { return Ok(None) };
        let start = Instant::now();
        let encoded = encoder.refine(picture, captured, max_bytes)?;
        let sent = self.publish(encoded, encoder.is_at_rest(), captured, picture.size(), start.elapsed());
        self.encoder = Some(encoder);
        Ok(Some(sent))
    }

    fn publish(
        &mut self,
        encoded: Option<Encoded>,
        is_complete: bool,
        captured: Instant,
        size: Size,
        took: Duration,
    ) -> Sent {
        self.counters.encode_us.add_time(took);
        let Some(Encoded { data, keyframe, share_of_new }) = encoded else {
            return Sent { len_bytes: 0, is_complete, share_of_new: None };
        };
        let len_bytes = data.len();
        self.counters.encoded.add(1);
        self.counters.keyframes.add(u64::from(keyframe));
        self.counters.encoded_bytes.add(len_bytes as u64);
        if len_bytes > 0 {
            let codec = VideoCodec::H264;
            self.outlet.publish(AccessUnit { codec, data, keyframe, captured, size });
        }
        Sent { len_bytes, is_complete, share_of_new }
    }

    fn encoder_for(&self, size: Size) -> Result<Encoder, Error> {
        let Self { settings, content, .. } = *self;
        let bitrate_bps = settings.bitrate_bps(size);
        self.outlet.demand().set_wanted(bitrate_bps);
        let config = Config { size, fps: settings.fps, bitrate_bps, content };
        Ok(Encoder::new(config, Instant::now())?)
    }
}

impl Video {
    /// Ready for its first picture, which will be a keyframe. A film is one all the time; what a screen shows may turn
    /// out to be one.
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
        encoding.restart(size)?;
        let classifier = (content == Content::Screen).then(Classifier::new);
        Ok(Self { picture, changed: Rows::default(), encoding, classifier, before: None })
    }

    /// What the peers want.
    pub fn outlet(&self) -> &VideoOutlet {
        self.encoding.outlet()
    }

    /// The picture as of the last conversion.
    pub fn picture(&self) -> &I420 {
        &self.picture
    }

    /// What the picture is like.
    pub fn content(&self) -> Content {
        self.encoding.content()
    }

    /// Size of the picture.
    pub fn size(&self) -> Size {
        self.picture.size()
    }

    /// Gives up what the next picture can do without; that is a keyframe then.
    pub fn shrink(&mut self) {
        self.encoding.shrink();
        self.before = None;
    }

    /// What pictures have to keep to now.
    pub fn terms(&self) -> Terms {
        let terms = self.encoding.terms(self.size());
        let is_passing = self.classifier.is_some() && self.encoding.content == Content::Film;
        if is_passing { Terms { rest: FILM_OVER, ..terms } } else { terms }
    }

    /// Starts again with pictures of this size. The next one is a keyframe. Without another size, the picture stays
    /// as it is.
    ///
    /// # Errors
    /// [`Error::Encode`]; the encoding is then as it was.
    pub fn restart(&mut self, size: Size) -> Result<(), Error> {
        let resized = (size != self.size()).then(|| I420::new(size)).transpose()?;
        self.encoding.restart(size)?;
        if let Some(picture) = resized {
            self.picture = picture;
            self.changed = Rows::default();
            self.before = None;
        }
        Ok(())
    }

    /// Takes over changed rows, as [`I420::convert`] does.
    ///
    /// # Errors
    /// [`Error::Encode`] when they are not rows of the picture.
    pub fn convert(&mut self, rows: Range<u32>, pixels: &[u8], stride: usize) -> Result<(), Error> {
        let start = Instant::now();
        let size = self.size();
        let len = rows.len() * size.width as usize * 4;
        self.picture.convert(rows.clone(), pixels, stride)?;
        self.changed.add(rows, size.height);
        let counters = &self.encoding.counters;
        counters.convert_us.add_time(start.elapsed());
        counters.converted_bytes.add(len as u64);
        Ok(())
    }

    /// Encodes the picture and hands it to the feed. Nothing had changed for `pause` before what changed.
    ///
    /// # Errors
    /// [`Error::Encode`] when the encoder fails.
    pub fn send(&mut self, order: &Order, pause: Duration) -> Result<Sent, Error> {
        let changed = std::mem::take(&mut self.changed);
        let sent = self.encoding.send(&self.picture, &changed, order)?;
        let Some(classifier) = &mut self.classifier else { return Ok(sent) };
        let surveyed = match self.before.take() {
            Some(before) => Some(screen::share_of_new(&before, &self.picture, &changed)?),
            None => None,
        };
        if sent.len_bytes > 0
            && let Some(content) = classifier.judge(order.captured, surveyed.or(sent.share_of_new), pause)
        {
            self.turn(content);
        } else if classifier.wants_survey(order.captured) {
            self.before = Some(self.picture.clone());
        }
        Ok(sent)
    }

    /// Adds detail to the picture, in about `max_bytes`. A film that has been at rest for as long as [`Video::terms`] say
    /// is over. `None` if the picture is to be sent again, as that of another kind.
    ///
    /// # Errors
    /// [`Error::Encode`] when the encoder fails.
    pub fn refine(&mut self, now: Instant, max_bytes: usize) -> Result<Option<Sent>, Error> {
        if let Some(content) = self.classifier.as_mut().and_then(|classifier| classifier.rest(now)) {
            self.turn(content);
        }
        self.encoding.refine(&self.picture, now, max_bytes)
    }

    fn turn(&mut self, content: Content) {
        tracing::info!(?content, "what is shown is of another kind");
        self.before = None;
        self.encoding.set_content(content);
    }
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
mod tests;
