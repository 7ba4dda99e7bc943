//! An IP camera, by RTSP.
//!
//! ```text
//! Connection ── RTP ──▶ depacketize ──▶ Assembler ──▶ Publisher          H.264 that browsers can show, Opus
//!                 │                         └──▶ Transcoder ──▶ Publisher  other H.264
//!                 │           └───── AAC, G.711 ──▶ Transcoder ──▶ Publisher
//!                 └ RTCP ──▶ Sync, Clock: when it was captured
//! ```
//!
//! Pictures that browsers can show are passed through without any encoder. Others go through ffmpeg, which
//! is started when the first of them arrives. AAC and G.711 also go through an ffmpeg; without ffmpeg there is no sound.
//! After a loss of packets (UDP), pictures are dropped up to the next keyframe: a still picture is better than
//! a broken one. A lost camera is retried (see [`crate::source::live`]).
//!
//! `retina` does not support TLS, and only H.264 is depacketized here: cameras at `rtsps://`, and those with other
//! codecs, are read by ffmpeg entirely. `retina` is also strict: if it does not understand a camera that has not been
//! read for a while, ffmpeg is tried once. If that yields no picture either, `retina` reads it again. The reader and the reason are
//! reported ([`Publisher::has_reader`]). Redirections are followed here (`redirect`), as `retina` follows none, and ffmpeg any number.

mod connection;
pub mod depacketize;
mod redirect;
pub mod sync;

use std::time::{Duration, Instant};

use common::media::VideoCodec;
use common::slots::{Reader, ReaderProgram};
use common::spec::RtspSpec;
use retina::client::PacketItem;
use retina::rtcp::ReceivedCompoundPacket;
use retina::rtp::ReceivedPacket;

use self::connection::{Address, Connection, Lost, Refused, Sound, Track};
use self::depacketize::{H264, Nals, Packet, aac_frames};
use self::sync::{Sync, ntp_nanos};
use super::ffmpeg::arguments::{Action, Encoder, Picture};
use super::ffmpeg::transcode::{self, Encoded, Transcoder};
use super::ffmpeg::{self, flv};
use super::live::clock::{self, Clock, nanos};
use super::live::h264::{Assembler, Obstacle};
use super::live::watch::{Seen, Watch};
use super::live::{Live, Publisher, opus};
use super::{Error, Outlets};
use crate::media::{AccessUnit, AudioPacket};

/// A camera that sends nothing for this long is lost.
const SILENT: Duration = Duration::from_secs(10);
/// A camera that was read for this long is understood: later errors are disturbances.
const SETTLED: Duration = Duration::from_secs(20);
/// Frame rate for which a bitrate is chosen when the camera does not declare its own.
const USUAL_FPS: u32 = 25;

/// Starts a source of `type` `rtsp`. Returns at once; events report whether the camera can be reached.
///
/// # Errors
/// [`Error`] when the URL cannot be read, or the system has no more threads.
#[expect(clippy::disallowed_methods, reason = "waits for somebody else, with a deadline")]
pub fn start(spec: &RtspSpec, outlets: Outlets) -> Result<Live, Error> {
    if spec.url.expose().starts_with("rtsps:") {
        return ffmpeg::start_camera(&spec.url, spec.audio, outlets);
    }
    let address = Address::of(&spec.url).map_err(|why| Error::Media(format!("source.url: {why}")))?;
    let spec = spec.clone();
    Live::start("rtsp", outlets, ffmpeg::still::newest, move |mut publisher| async move {
        publisher.has_reader(Reader { program: ReaderProgram::Streamer, reason: None });
        // ffmpeg may still be tried, or has failed with this.
        let mut may_try = true;
        let mut tried = None;
        loop {
            let began = Instant::now();
            // A camera that has moved may move again, so the redirection is queried each time.
            let mut place = address.clone();
            let opened = Connection::reach(&mut place, &spec).await;
            let Lost { mut reason, form, .. } = match opened {
                Ok(connection) => {
                    let lost = Camera::new(connection, &mut publisher).run(&place).await;
                    // A camera that sends nothing that can be shown counts as not understood.
                    Lost { form: lost.form || !publisher.is_online(), ..lost }
                }
                Err(Refused::Failed(lost)) => lost,
                Err(Refused::OtherCodec(codec)) => {
                    tracing::info!(%codec, "a camera's video is not H.264: it is read by ffmpeg");
                    publisher.has_reader(ffmpeg::reader(format!("its video is {codec}")));
                    return ffmpeg::run_camera(&place.secret(), spec.audio, publisher).await;
                }
            };
            may_try &= began.elapsed() < SETTLED;
            if form && may_try {
                may_try = false;
                tracing::info!(%reason, "a camera is not understood: it is tried by ffmpeg");
                if publisher.is_online() {
                    publisher.lost(reason.clone()).await;
                }
                publisher.has_reader(ffmpeg::reader(reason.clone()));
                tried = Some(ffmpeg::try_camera(&place.secret(), spec.audio, &mut publisher).await);
                publisher.has_reader(Reader { program: ReaderProgram::Streamer, reason: None });
            }
            if let Some(end) = tried.as_ref().filter(|_| form) {
                reason = format!("{reason}; {end}");
            }
            let wait = publisher.lost(reason).await;
            tokio::time::sleep(wait).await;
        }
    })
}

/// One connection with a camera.
struct Camera<'p> {
    connection: Connection,
    publisher: &'p mut Publisher,
    times: Times,
    pictures: Pictures,
    sound: Option<Sounds>,
}

/// Maps arrival to capture times.
struct Times {
    origin: Instant,
    sync: Sync,
    clock: Clock,
}

/// Longest distance between two packets of a stream; more means a clock that was set.
const LONGEST_GAP: i64 = 5 * clock::SECOND;

impl Times {
    /// Maps the sender's time to ours: evenly, as encoders require.
    fn even(&self, time: i64) -> Instant {
        self.origin + Duration::from_nanos(time.max(0).unsigned_abs())
    }

    /// The capture time.
    #[expect(clippy::disallowed_methods, reason = "the task of a source is where the time is asked for")]
    fn uneven(&self, even: Instant) -> Instant {
        self.clock.placed(Instant::now(), nanos(even.saturating_duration_since(self.origin)))
    }

    /// The time of the sender, and ours.
    fn place(
        &mut self,
        track: &Track,
        placed: &mut clock::Track,
        ticks: i64,
        now: Instant,
    ) -> (i64, Instant) {
        let arrived = nanos(now.saturating_duration_since(self.origin));
        let time = self.sync.time(track.stream, track.rate, ticks, arrived);
        (time, self.clock.place(placed, now, time))
    }
}

/// Handles pictures.
struct Pictures {
    track: Track,
    depacketizer: H264,
    assembler: Assembler,
    watch: Watch,
    placed: clock::Track,
    /// Packets were lost: nothing can be decoded before the next keyframe.
    broken: bool,
    /// The reason why they are re-encoded.
    obstacle: Option<Obstacle>,
    /// The sender's time of the last one that was.
    last: Option<i64>,
    transcoder: Option<Transcoder>,
}

/// Handles sound.
struct Sounds {
    track: Track,
    kind: Sound,
    placed: clock::Track,
    /// The sender's time of the last packet.
    last: Option<i64>,
    transcoder: Option<Transcoder>,
}

impl<'p> Camera<'p> {
    #[expect(clippy::disallowed_methods, reason = "the task of a source is where the time is asked for")]
    fn new(connection: Connection, publisher: &'p mut Publisher) -> Self {
        let now = Instant::now();
        let mut assembler = Assembler::default();
        for set in &connection.parameter_sets {
            assembler.add_parameter_set(set);
        }
        let pictures = Pictures {
            track: connection.picture.clone(),
            depacketizer: H264::default(),
            assembler,
            watch: Watch::new(now),
            placed: clock::Track::default(),
            broken: false,
            obstacle: None,
            last: None,
            transcoder: None,
        };
        let sound = connection.sound.clone().map(|(track, kind)| Sounds {
            track,
            kind,
            placed: clock::Track::default(),
            last: None,
            transcoder: None,
        });
        publisher.has_audio(sound.is_some());
        let times = Times { origin: now, sync: Sync::default(), clock: Clock::new(now) };
        Self { connection, publisher, times, pictures, sound }
    }

    /// Runs until the camera is lost; returns the reason.
    #[expect(clippy::disallowed_methods, reason = "the task of a source is where the time is asked for")]
    async fn run(&mut self, address: &Address) -> Lost {
        let mut silent_at = tokio::time::Instant::now() + SILENT;
        loop {
            let sounds = self.sound.as_mut();
            tokio::select! {
                biased;
                encoded = transcode::next(&mut self.pictures.transcoder) => match encoded {
                    Ok(Encoded::Picture(unit, format)) => {
                        let captured = self.pictures.placed.increasing(self.times.uneven(unit.captured));
                        self.publisher.video(AccessUnit { captured, ..unit }, format).await;
                    }
                    Ok(Encoded::Sound(_) | Encoded::Raw(_)) => {}
                    Err(end) => return end.to_string().into(),
                },
                encoded = next_sound(sounds) => match encoded {
                    Ok(Encoded::Sound(packet)) => self.encoded_sound(packet),
                    Ok(Encoded::Picture(..) | Encoded::Raw(_)) => {}
                    Err(end) => self.no_sound(&end.to_string()),
                },
                item = self.connection.next(address) => {
                    silent_at = tokio::time::Instant::now() + SILENT;
                    let result = match item {
                        Ok(PacketItem::Rtp(packet)) => self.packet(&packet).await.map_err(Lost::from),
                        Ok(PacketItem::Rtcp(report)) => {
                            self.report(&report);
                            Ok(())
                        }
                        Ok(_) => Ok(()),
                        Err(lost) => Err(lost),
                    };
                    if let Err(lost) = result {
                        return lost;
                    }
                }
                () = tokio::time::sleep_until(silent_at) => {
                    return format!("the camera has sent nothing for {} s", SILENT.as_secs()).into();
                }
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the task of a source is where the time is asked for")]
    async fn packet(&mut self, packet: &ReceivedPacket) -> Result<(), String> {
        let now = Instant::now();
        if packet.stream_id() == self.pictures.track.stream {
            let piece = Packet {
                payload: packet.payload(),
                ticks: packet.timestamp().timestamp(),
                marker: packet.mark(),
                loss: packet.loss() > 0,
            };
            for nals in self.pictures.depacketizer.push(piece) {
                self.picture(&nals, now).await?;
            }
        } else if let Some(sounds) = &mut self.sound {
            let pushed = sounds.push(packet, now, &mut self.times, self.publisher);
            if let Err(reason) = pushed {
                self.no_sound(&reason);
            }
        }
        Ok(())
    }

    async fn picture(&mut self, nals: &Nals, now: Instant) -> Result<(), String> {
        let Self { pictures, times, publisher, .. } = self;
        let Some(unit) = pictures.assembler.assemble(nals.units.iter().map(|nal| &nal[..])) else {
            return Ok(());
        };
        let format = pictures.assembler.format();
        let (time, at) = times.place(&pictures.track, &mut pictures.placed, nals.ticks, now);
        let keyframe = unit.keyframe;
        let bidirectional = unit.bidirectional;
        let known = format.and_then(|format| format.obstacle);
        let obstacle = pictures.watch.see(now, time, Seen { keyframe, bidirectional, known });
        if let Some(obstacle) = obstacle
            && pictures.obstacle.is_none()
        {
            tracing::info!(%obstacle, "a camera's pictures are encoded anew, as browsers cannot show them");
            pictures.obstacle = Some(obstacle);
        }
        pictures.broken = (pictures.broken || nals.loss) && !unit.keyframe;
        let Some(format) = format.filter(|_| !pictures.broken) else { return Ok(()) };
        let codec = VideoCodec::H264;
        let size = format.size;
        let unit = AccessUnit { codec, data: unit.data, keyframe: unit.keyframe, captured: at, size };
        if pictures.obstacle.is_some() {
            if jumped(pictures.last.replace(time), time) {
                pictures.transcoder = None;
            }
            return pictures.transcode(AccessUnit { captured: times.even(time), ..unit }, format.fps);
        }
        let captured = pictures.placed.increasing(at);
        publisher.video(AccessUnit { captured, ..unit }, Some(format)).await;
        Ok(())
    }

    fn encoded_sound(&mut self, packet: AudioPacket) {
        if let Some(sounds) = &mut self.sound {
            let captured = sounds.placed.increasing(self.times.uneven(packet.captured));
            self.publisher.audio(AudioPacket { captured, ..packet });
        }
    }

    fn report(&mut self, packet: &ReceivedCompoundPacket) {
        let report = packet.pkts().find_map(|packet| packet.as_sender_report().ok().flatten());
        if let (Some(ticks), Some(report)) = (packet.rtp_timestamp(), report) {
            let ntp = ntp_nanos(report.ntp_timestamp().0);
            self.times.sync.report(packet.stream_id(), ticks.timestamp(), ntp);
        }
    }

    fn no_sound(&mut self, reason: &str) {
        tracing::warn!(%reason, "a camera goes on without sound");
        self.sound = None;
        self.publisher.has_audio(false);
    }
}

impl Pictures {
    fn transcode(&mut self, mut unit: AccessUnit, fps: Option<u32>) -> Result<(), String> {
        let transcoder = match &mut self.transcoder {
            Some(transcoder) => transcoder,
            None => {
                if self.obstacle == Some(Obstacle::NoKeyframes) && !unit.keyframe {
                    unit = self.as_keyframe(unit);
                }
                if !unit.keyframe {
                    return Ok(());
                }
                let picture = Picture {
                    action: Action::Encode(Encoder::H264),
                    height: None,
                    interlaced: self.obstacle == Some(Obstacle::Interlaced),
                    bitrate_kbps: None,
                    known: Some((unit.size, fps.unwrap_or(USUAL_FPS))),
                    hdtv: false,
                };
                let started = Transcoder::pictures(picture, true, &unit);
                self.transcoder.insert(started.map_err(|end| end.to_string())?)
            }
        };
        transcoder.push_picture(&unit);
        Ok(())
    }

    /// Adds what a decoder needs to begin here. The picture is broken until all of it has been refreshed.
    fn as_keyframe(&self, unit: AccessUnit) -> AccessUnit {
        let mut data = Vec::with_capacity(unit.data.len() + 64);
        for set in self.assembler.parameter_sets() {
            data.extend_from_slice(&[0, 0, 0, 1]);
            data.extend_from_slice(set);
        }
        data.extend_from_slice(&unit.data);
        AccessUnit { data: data.into(), keyframe: true, ..unit }
    }
}

impl Sounds {
    fn push(
        &mut self,
        packet: &ReceivedPacket,
        now: Instant,
        times: &mut Times,
        publisher: &mut Publisher,
    ) -> Result<(), String> {
        let ticks = packet.timestamp().timestamp();
        let (time, at) = times.place(&self.track, &mut self.placed, ticks, now);
        if jumped(self.last.replace(time), time) {
            self.transcoder = None;
        }
        let even = times.even(time);
        match self.kind.clone() {
            Sound::Opus => {
                if let Some(ticks) = opus::ticks(packet.payload()) {
                    let data = bytes::Bytes::copy_from_slice(packet.payload());
                    publisher.audio(AudioPacket { data, captured: self.placed.increasing(at), ticks });
                }
            }
            Sound::Aac { config, frame } => {
                let length = Duration::from_secs(frame.unsigned_abs()) / self.track.rate.max(1);
                let transcoder = self.transcoder(flv::Sound::Aac, &config, even)?;
                let mut at = even;
                for data in aac_frames(packet.payload()) {
                    transcoder.push_sound(data, at);
                    at += length;
                }
            }
            Sound::G711(kind) => self.transcoder(kind, &[], even)?.push_sound(packet.payload(), even),
        }
        Ok(())
    }

    fn transcoder(
        &mut self,
        kind: flv::Sound,
        config: &[u8],
        at: Instant,
    ) -> Result<&mut Transcoder, String> {
        match &mut self.transcoder {
            Some(transcoder) => Ok(transcoder),
            none => {
                let started = Transcoder::sound(kind, config, at).map_err(|end| end.to_string())?;
                Ok(none.insert(started))
            }
        }
    }
}

/// An encoder cannot continue after this: a new one is started.
fn jumped(last: Option<i64>, time: i64) -> bool {
    last.is_some_and(|last| time.saturating_sub(last).saturating_abs() > LONGEST_GAP)
}

async fn next_sound(sounds: Option<&mut Sounds>) -> Result<Encoded, ffmpeg::child::End> {
    match sounds {
        Some(sounds) => transcode::next(&mut sounds.transcoder).await,
        None => std::future::pending().await,
    }
}
