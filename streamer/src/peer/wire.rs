//! The media socket of a peer: its pictures, its sound and its messages as frames on one stream, for viewers that neither UDP nor TCP
//! of ICE reaches. The web-server relays it; see [`common::media_socket`].
//!
//! ```text
//! pictures, sound, messages ─▶ queues ─▶ local socket ─▶ web-server ─▶ WebSocket
//!                   messages ◀───────────────┘
//! ```
//!
//! Nothing here waits. Sound and messages go before pictures that are queued. How much may be queued follows from what the client says
//! it has received ([`Flow`]); a client that receives nothing gets no pictures, and costs nobody else anything.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use common::id::SlotIndex;
use common::media::{AUDIO_CLOCK_HZ, VIDEO_CLOCK_HZ, VideoCodec};
use common::media_socket::{self, Frames, MAX_TO_CLIENT, MAX_TO_STREAMER, PREFIX, ToClient, ToStreamer};

use super::connection::Channel;
use super::flow::Flow;
use super::slot::Whole;
use super::tcp::read_available;
use crate::feed::AudioUnit;
use crate::publish::whole;

/// Sound and messages that may be queued: some seconds of sound. Further ones are dropped, as on a channel that is not read.
const MAX_URGENT: usize = 256;
/// Bytes of them.
const MAX_URGENT_BYTES: usize = 2 * 1024 * 1024;
/// Most bytes read in one turn of the shard. The rest waits for the next turn.
const READ: usize = 64 * 1024;

/// A message of the client.
#[derive(Debug)]
pub struct Message {
    /// The channel that it would have come by.
    pub channel: Channel,
    /// Untrusted.
    pub bytes: Bytes,
}

/// A media socket.
#[derive(Debug)]
pub struct Wire {
    stream: UnixStream,
    codecs: Vec<VideoCodec>,
    frames: Frames,
    /// What is being written, and must be finished before anything else.
    writing: Bytes,
    urgent: VecDeque<Bytes>,
    urgent_bytes: usize,
    pictures: VecDeque<Bytes>,
    flow: Flow,
    /// The socket takes no more for now.
    blocked: bool,
    readable: bool,
    failed: bool,
}

impl Wire {
    /// Takes a connection of the web-server's for a client that decodes `codecs`.
    ///
    /// # Errors
    /// It cannot be set up.
    pub fn new(now: Instant, stream: UnixStream, codecs: Vec<VideoCodec>) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let mut wire = Self {
            stream,
            codecs,
            frames: Frames::new(MAX_TO_STREAMER),
            writing: Bytes::new(),
            urgent: VecDeque::new(),
            urgent_bytes: 0,
            pictures: VecDeque::new(),
            flow: Flow::new(now),
            blocked: false,
            readable: true,
            failed: false,
        };
        wire.say(now, &ToClient::Attached);
        Ok(wire)
    }

    /// Whether the client decodes this codec; any, while it is not known.
    pub fn supports(&self, codec: Option<VideoCodec>) -> bool {
        codec.is_none_or(|codec| self.codecs.contains(&codec))
    }

    /// So much is under way that no pictures are to be queued.
    pub fn is_full(&mut self, now: Instant) -> bool {
        self.flow.is_full(now)
    }

    /// What its path carries, bits per second; `None` while it has shown no limit.
    pub fn limit_bps(&self) -> Option<f64> {
        self.flow.limit_bps()
    }

    /// The shortest round trip to the client.
    pub fn round_trip(&self) -> Option<Duration> {
        self.flow.round_trip()
    }

    /// Queues a picture. Returns the bytes of its frame; none for one that the client does not decode, or that does not fit.
    fn picture(&mut self, now: Instant, slot: SlotIndex, picture: &Whole) -> Option<usize> {
        let Whole { unit, time } = picture;
        if !self.codecs.contains(&unit.codec) {
            return None;
        }
        let time_us = micros(*time, VIDEO_CLOCK_HZ);
        let about = media_socket::Picture { slot, codec: unit.codec, keyframe: unit.keyframe, time_us };
        let mut frame = begin(unit.bytes + unit.payloads.len());
        frame.put_slice(&about.header());
        whole::put(unit.codec, &unit.payloads, &mut frame)?;
        let frame = finish(frame)?;
        let bytes = frame.len() - PREFIX;
        self.flow.sent(now, bytes);
        self.pictures.push_back(frame);
        Some(bytes)
    }

    /// Queues pictures of a slot. Returns the bytes of their frames.
    pub fn pictures(&mut self, now: Instant, slot: SlotIndex, pictures: &[Whole]) -> usize {
        pictures.iter().filter_map(|picture| self.picture(now, slot, picture)).sum()
    }

    /// Queues a packet of sound. Returns the bytes of its frame, unless it was dropped.
    pub fn sound(&mut self, now: Instant, slot: SlotIndex, unit: &AudioUnit) -> Option<usize> {
        let time_us = micros(unit.time, AUDIO_CLOCK_HZ);
        self.say(now, &ToClient::Sound { slot, time_us, data: &unit.payload })
    }

    /// Queues a text on the channel `general`. False when it was dropped.
    pub fn text(&mut self, now: Instant, text: &str) -> bool {
        self.say(now, &ToClient::Message { channel: media_socket::Channel::General, text }).is_some()
    }

    fn say(&mut self, now: Instant, frame: &ToClient<'_>) -> Option<usize> {
        let mut bytes = begin(64);
        frame.put(&mut bytes);
        let bytes = finish(bytes)?;
        if self.urgent.len() >= MAX_URGENT || self.urgent_bytes + bytes.len() > MAX_URGENT_BYTES {
            return None;
        }
        let len = bytes.len() - PREFIX;
        self.flow.sent(now, len);
        self.urgent_bytes += bytes.len();
        self.urgent.push_back(bytes);
        Some(len)
    }

    /// It has something to read or to write, or has ended.
    pub fn is_due(&self) -> bool {
        let unsent = !self.writing.is_empty() || !self.urgent.is_empty() || !self.pictures.is_empty();
        self.readable || self.failed || unsent && !self.blocked
    }

    /// The descriptor, and whether it waits for room to write.
    pub fn poll(&self) -> (BorrowedFd<'_>, bool) {
        (self.stream.as_fd(), self.blocked)
    }

    /// What `poll` has said.
    pub fn polled(&mut self, readable: bool, writable: bool) {
        self.readable |= readable;
        if writable {
            self.blocked = false;
        }
    }

    /// Writes as much as the socket takes at once.
    pub fn flush(&mut self) {
        while !self.blocked && !self.failed {
            if self.writing.is_empty() {
                let Some(next) = self.next_frame() else { return };
                self.writing = next;
            }
            match self.stream.write(&self.writing) {
                Ok(len) => self.writing.advance(len),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.blocked = true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::debug!(%error, "a media socket has ended");
                    self.failed = true;
                }
            }
        }
    }

    fn next_frame(&mut self) -> Option<Bytes> {
        if let Some(urgent) = self.urgent.pop_front() {
            self.urgent_bytes -= urgent.len();
            return Some(urgent);
        }
        self.pictures.pop_front()
    }

    /// Reads what has arrived. False when the socket has ended.
    pub fn receive(&mut self, now: Instant, messages: &mut Vec<Message>) -> bool {
        if self.failed {
            return false;
        }
        if !std::mem::take(&mut self.readable) {
            return true;
        }
        match self.read(now, messages) {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(%error, "a media socket has ended");
                false
            }
        }
    }

    fn read(&mut self, now: Instant, messages: &mut Vec<Message>) -> io::Result<()> {
        let Self { stream, frames, flow, .. } = self;
        read_available(stream, READ, |bytes| {
            frames.push(bytes);
            while let Some(frame) = frames.next_frame().map_err(io::Error::other)? {
                match ToStreamer::read(&frame).map_err(io::Error::other)? {
                    ToStreamer::Received { bytes } => flow.received(now, bytes),
                    ToStreamer::Message { channel, bytes } => {
                        messages.push(Message { channel: channel.into(), bytes: frame.slice_ref(bytes) });
                    }
                }
            }
            Ok(())
        })
    }
}

impl From<media_socket::Channel> for Channel {
    fn from(channel: media_socket::Channel) -> Self {
        match channel {
            media_socket::Channel::Keys => Channel::Keys,
            media_socket::Channel::Motion => Channel::Motion,
            media_socket::Channel::General => Channel::General,
        }
    }
}

/// A frame with room for its length.
fn begin(capacity: usize) -> BytesMut {
    let mut frame = BytesMut::with_capacity(PREFIX + capacity + 64);
    frame.put_slice(&[0; PREFIX]);
    frame
}

/// A frame behind its length; `None` when it is too long for one.
fn finish(mut frame: BytesMut) -> Option<Bytes> {
    let body = frame.get(PREFIX..).filter(|body| body.len() <= MAX_TO_CLIENT)?;
    let prefix = media_socket::prefix(body)?;
    frame[..PREFIX].copy_from_slice(&prefix);
    Some(frame.freeze())
}

fn micros(ticks: u64, hz: u32) -> u64 {
    // A clock of 90 kHz would have to run for 6 years to overflow.
    ticks * 1_000_000 / u64::from(hz)
}
