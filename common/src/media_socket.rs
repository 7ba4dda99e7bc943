//! Media over the WebSocket: the frames on a peer's media socket, for viewers that neither UDP nor TCP of ICE reaches. Pure.
//!
//! ```text
//! client ──binary messages──▶ web-server ──length, frame──▶ streamer        ToStreamer
//! client ◀─binary messages─── web-server ◀─length, frame─── streamer        ToClient
//! ```
//!
//! A frame is one binary message of the WebSocket. Between web-server and streamer, on a local socket, four bytes of length come before
//! each. The web-server reads nothing but lengths. All numbers are big-endian.
//!
//! | first byte | to the client | to the streamer |
//! |---|---|---|
//! | 0 | the socket is attached: nothing follows | |
//! | 1 | a picture: slot, codec, flags, time (8 bytes, µs), access unit | |
//! | 2 | sound: slot, two zeros, time (8 bytes, µs), Opus packet | |
//! | 3 | a message: channel, text | a message: channel, text |
//! | 4 | | received: bytes of all frames that came (8 bytes) |

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::id::{PeerId, SlotIndex};
use crate::input::MAX_CHANNEL_MESSAGE;
use crate::media::VideoCodec;

/// The WebSocket's subprotocol.
pub const SUBPROTOCOL: &str = "oriel.media.v1";
/// Bytes of the length before each frame on the local socket.
pub const PREFIX: usize = 4;
/// Bytes before an access unit or a packet of sound in its frame.
pub const MEDIA_HEADER: usize = 12;
/// The longest frame to a client. The largest keyframes of a 4K screen have a third of it; a longer picture is left out.
pub const MAX_TO_CLIENT: usize = 4 * 1024 * 1024;
/// The longest frame to a streamer: a message on a channel.
pub const MAX_TO_STREAMER: usize = MAX_CHANNEL_MESSAGE + 2;

const ATTACHED: u8 = 0;
const PICTURE: u8 = 1;
const SOUND: u8 = 2;
const MESSAGE: u8 = 3;
const RECEIVED: u8 = 4;
/// In the flags of a picture: it is decodable alone.
const KEYFRAME: u8 = 1;

/// The first message on a media socket, the only one that is text: whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct AttachMedia {
    /// The peer, as its `welcome` named it.
    pub peer_id: PeerId,
    /// The token of that `welcome`.
    pub resume_token: String,
    /// What the client decodes.
    pub codecs: Vec<VideoCodec>,
    /// Authenticates the client where the request could not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub token: Option<String>,
}

/// A channel for messages, as the data channel of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Keys, buttons, clipboard.
    Keys,
    /// Positions.
    Motion,
    /// Everything else.
    General,
}

/// All channels, each with its byte.
const CHANNELS: [(Channel, u8); 3] = [(Channel::Keys, 0), (Channel::Motion, 1), (Channel::General, 2)];
/// All codecs, each with its byte.
const CODECS: [(VideoCodec, u8); 5] = [
    (VideoCodec::H264, 1),
    (VideoCodec::H265, 2),
    (VideoCodec::VP8, 3),
    (VideoCodec::VP9, 4),
    (VideoCodec::AV1, 5),
];

/// A frame that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A frame without bytes.
    #[error("a frame has no bytes")]
    Empty,
    /// A frame that is too long.
    #[error("a frame has {0} bytes, more than may be")]
    TooLong(usize),
    /// A kind, channel or codec that does not exist, or a frame that is too short for its kind.
    #[error("a frame of kind {0} cannot be read")]
    Unreadable(u8),
}

/// A frame to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToClient<'a> {
    /// The socket is the peer's from now on.
    Attached,
    /// One access unit. H.264, H.265: Annex B, and a keyframe begins with its parameter sets. AV1: OBUs with their lengths.
    Picture {
        /// What is known of it besides its bytes.
        about: Picture,
        /// The access unit.
        data: &'a [u8],
    },
    /// One packet of Opus, 48 kHz stereo.
    Sound {
        /// The slot that it belongs to.
        slot: SlotIndex,
        /// When it was captured, on the clock of all slots.
        time_us: u64,
        /// The packet.
        data: &'a [u8],
    },
    /// A message, as on a data channel.
    Message {
        /// The channel.
        channel: Channel,
        /// JSON.
        text: &'a str,
    },
}

/// What is known of a picture besides its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picture {
    /// The slot that shows it.
    pub slot: SlotIndex,
    /// Its codec, which may change with a keyframe.
    pub codec: VideoCodec,
    /// Decodable alone.
    pub keyframe: bool,
    /// When it was captured, on the clock of all slots.
    pub time_us: u64,
}

impl Picture {
    /// What comes before the access unit in its frame.
    pub fn header(&self) -> [u8; MEDIA_HEADER] {
        let flags = if self.keyframe { KEYFRAME } else { 0 };
        media_header(PICTURE, self.slot, codec_byte(self.codec), flags, self.time_us)
    }
}

impl<'a> ToClient<'a> {
    /// Appends the frame, without a length.
    pub fn put(&self, out: &mut BytesMut) {
        match *self {
            ToClient::Attached => out.put_u8(ATTACHED),
            ToClient::Picture { about, data } => {
                out.put_slice(&about.header());
                out.put_slice(data);
            }
            ToClient::Sound { slot, time_us, data } => {
                out.put_slice(&media_header(SOUND, slot, 0, 0, time_us));
                out.put_slice(data);
            }
            ToClient::Message { channel, text } => {
                out.put_slice(&[MESSAGE, channel_byte(channel)]);
                out.put_slice(text.as_bytes());
            }
        }
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// It is none.
    pub fn read(frame: &'a [u8]) -> Result<Self, Malformed> {
        let (&kind, rest) = frame.split_first().ok_or(Malformed::Empty)?;
        let read = match kind {
            ATTACHED => Some(ToClient::Attached),
            PICTURE => picture(rest),
            SOUND => media(rest).map(|([slot, _, _], time_us, data)| ToClient::Sound { slot, time_us, data }),
            MESSAGE => message(rest).and_then(|(channel, text)| {
                let text = std::str::from_utf8(text).ok()?;
                Some(ToClient::Message { channel, text })
            }),
            _ => None,
        };
        read.ok_or(Malformed::Unreadable(kind))
    }
}

/// A frame to the streamer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToStreamer<'a> {
    /// A message, as on a data channel.
    Message {
        /// The channel.
        channel: Channel,
        /// Untrusted bytes, to be decoded as those of the data channel.
        bytes: &'a [u8],
    },
    /// How many bytes of frames have come so far, without their lengths.
    Received {
        /// The sum.
        bytes: u64,
    },
}

impl<'a> ToStreamer<'a> {
    /// The frame, without a length.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match *self {
            ToStreamer::Message { channel, bytes } => {
                out.put_slice(&[MESSAGE, channel_byte(channel)]);
                out.put_slice(bytes);
            }
            ToStreamer::Received { bytes } => {
                out.put_u8(RECEIVED);
                out.put_u64(bytes);
            }
        }
        out.freeze()
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// It is none.
    pub fn read(frame: &'a [u8]) -> Result<Self, Malformed> {
        let (&kind, rest) = frame.split_first().ok_or(Malformed::Empty)?;
        let read = match kind {
            MESSAGE => message(rest).map(|(channel, bytes)| ToStreamer::Message { channel, bytes }),
            RECEIVED => {
                rest.try_into().ok().map(|bytes| ToStreamer::Received { bytes: u64::from_be_bytes(bytes) })
            }
            _ => None,
        };
        read.ok_or(Malformed::Unreadable(kind))
    }
}

fn picture(rest: &[u8]) -> Option<ToClient<'_>> {
    let ([slot, codec, flags], time_us, data) = media(rest)?;
    let (codec, _) = *CODECS.iter().find(|(_, byte)| *byte == codec)?;
    let about = Picture { slot, codec, keyframe: flags & KEYFRAME != 0, time_us };
    Some(ToClient::Picture { about, data })
}

fn media(rest: &[u8]) -> Option<([u8; 3], u64, &[u8])> {
    let (about, rest) = rest.split_first_chunk::<3>()?;
    let (time, data) = rest.split_first_chunk::<8>()?;
    Some((*about, u64::from_be_bytes(*time), data))
}

fn message(rest: &[u8]) -> Option<(Channel, &[u8])> {
    let (channel, bytes) = rest.split_first()?;
    let (channel, _) = *CHANNELS.iter().find(|(_, byte)| byte == channel)?;
    Some((channel, bytes))
}

fn media_header(kind: u8, slot: SlotIndex, codec: u8, flags: u8, time_us: u64) -> [u8; MEDIA_HEADER] {
    let mut header = [kind, slot, codec, flags, 0, 0, 0, 0, 0, 0, 0, 0];
    header[4..].copy_from_slice(&time_us.to_be_bytes());
    header
}

fn channel_byte(channel: Channel) -> u8 {
    CHANNELS.iter().find(|(known, _)| *known == channel).map_or(0, |(_, byte)| *byte)
}

fn codec_byte(codec: VideoCodec) -> u8 {
    CODECS.iter().find(|(known, _)| *known == codec).map_or(0, |(_, byte)| *byte)
}

/// The length that a prefix says.
///
/// # Errors
/// No frame of at most `longest` bytes has this length.
pub fn length(prefix: [u8; PREFIX], longest: usize) -> Result<usize, Malformed> {
    match usize::try_from(u32::from_be_bytes(prefix)).unwrap_or(usize::MAX) {
        0 => Err(Malformed::Empty),
        len if len > longest => Err(Malformed::TooLong(len)),
        len => Ok(len),
    }
}

/// The prefix of a frame. `None` when the frame is too long to have one.
pub fn prefix(frame: &[u8]) -> Option<[u8; PREFIX]> {
    u32::try_from(frame.len()).ok().map(u32::to_be_bytes)
}

/// Takes frames out of a stream that arrives in pieces. Holds less than one frame between reads, if all are taken.
#[derive(Debug)]
pub struct Frames {
    bytes: BytesMut,
    longest: usize,
}

impl Frames {
    /// For frames of at most `longest` bytes.
    pub fn new(longest: usize) -> Self {
        Self { bytes: BytesMut::new(), longest }
    }

    /// Takes what has arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next frame, if all of it is there.
    ///
    /// # Errors
    /// The stream cannot be read any further.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, Malformed> {
        let Some(prefix) = self.bytes.first_chunk::<PREFIX>() else { return Ok(None) };
        let len = length(*prefix, self.longest)?;
        if self.bytes.len() < PREFIX + len {
            return Ok(None);
        }
        self.bytes.advance(PREFIX);
        Ok(Some(self.bytes.split_to(len).freeze()))
    }

    /// Bytes that have not been taken yet.
    pub fn buffered(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn put(frame: &ToClient<'_>) -> BytesMut {
        let mut out = BytesMut::new();
        frame.put(&mut out);
        out
    }

    #[test]
    fn frames_are_read_as_they_were_put() {
        let about = Picture { slot: 3, codec: VideoCodec::VP9, keyframe: true, time_us: 1 << 40 };
        for frame in [
            ToClient::Attached,
            ToClient::Picture { about, data: &[9, 8] },
            ToClient::Picture { about: Picture { keyframe: false, ..about }, data: &[] },
            ToClient::Sound { slot: 0, time_us: 5, data: &[7] },
            ToClient::Message { channel: Channel::General, text: "{}" },
        ] {
            assert_eq!(ToClient::read(&put(&frame)), Ok(frame));
        }
        for frame in [
            ToStreamer::Message { channel: Channel::Motion, bytes: b"{}" },
            ToStreamer::Received { bytes: u64::MAX },
        ] {
            assert_eq!(ToStreamer::read(&frame.encode()), Ok(frame));
        }
    }

    /// The bytes that other implementations rely on.
    #[test]
    fn a_picture_and_a_message_on_the_wire() {
        let about = Picture { slot: 2, codec: VideoCodec::H264, keyframe: true, time_us: 258 };
        let picture = put(&ToClient::Picture { about, data: &[0xab] });
        assert_eq!(picture[..], [1, 2, 1, 1, 0, 0, 0, 0, 0, 0, 1, 2, 0xab]);
        let message = ToStreamer::Message { channel: Channel::Keys, bytes: b"{}" }.encode();
        assert_eq!(message[..], [3, 0, b'{', b'}']);
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        for bytes in [&[1][..], &[1, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[3], &[3, 9], &[3, 2, 0xff], &[77]] {
            assert_eq!(ToClient::read(bytes), Err(Malformed::Unreadable(bytes[0])), "{bytes:?}");
        }
        for bytes in [&[0][..], &[1], &[3], &[3, 3], &[4, 0], &[4, 0, 0, 0, 0, 0, 0, 0, 0, 0]] {
            assert_eq!(ToStreamer::read(bytes), Err(Malformed::Unreadable(bytes[0])), "{bytes:?}");
        }
        assert_eq!(ToStreamer::read(&[]), Err(Malformed::Empty));
    }

    #[test]
    fn a_length_is_bounded_before_anything_of_the_frame_is_waited_for() {
        let mut frames = Frames::new(8);
        frames.push(&9u32.to_be_bytes());
        assert_eq!(frames.next_frame(), Err(Malformed::TooLong(9)));
        let mut frames = Frames::new(8);
        frames.push(&[0; 4]);
        assert_eq!(frames.next_frame(), Err(Malformed::Empty));
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_the_stream_is_cut(
            sent in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..64), 0..8),
            cut in 1_usize..32,
        ) {
            let stream: Vec<u8> =
                sent.iter().flat_map(|frame| [&prefix(frame).unwrap()[..], frame].concat()).collect();
            let mut frames = Frames::new(64);
            let mut taken = Vec::new();
            for piece in stream.chunks(cut) {
                frames.push(piece);
                while let Some(frame) = frames.next_frame().unwrap() {
                    taken.push(frame.to_vec());
                }
            }
            prop_assert_eq!(taken, sent);
            prop_assert_eq!(frames.buffered(), 0);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = ToClient::read(&bytes);
            let _ = ToStreamer::read(&bytes);
        }
    }
}
