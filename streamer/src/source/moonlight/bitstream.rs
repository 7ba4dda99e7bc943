//! Converts a host's frames, of any codec, to access units.

use bytes::Bytes;
use common::media::VideoCodec;
use common::spec::MoonlightCodec;
use gamestream::video::Frame;

use crate::feed::packetize::nal_units;
use crate::media::Size;
use crate::source::live::h264::{self, Obstacle};
use crate::source::live::{av1, h265, open_codecs};

/// The codec's name in WebRTC.
pub fn codec(codec: MoonlightCodec) -> VideoCodec {
    match codec {
        MoonlightCodec::H264 => VideoCodec::H264,
        MoonlightCodec::Hevc => VideoCodec::H265,
        MoonlightCodec::Av1 => VideoCodec::AV1,
    }
}

/// Whether a frame of a host that does not say so is decodable alone.
pub fn is_key(codec: MoonlightCodec) -> fn(&[u8]) -> bool {
    /// `nal_unit_type` of an IDR slice.
    const IDR: u8 = 5;
    match codec {
        MoonlightCodec::H264 => {
            |data| nal_units(data).any(|nal| nal.first().is_some_and(|byte| byte & 0x1f == IDR))
        }
        MoonlightCodec::Hevc => |data| nal_units(data).any(h265::is_key_slice),
        MoonlightCodec::Av1 => has_sequence_header,
    }
}

fn has_sequence_header(unit: &[u8]) -> bool {
    open_codecs::header(VideoCodec::AV1, unit).is_some_and(|header| header.keyframe)
}

/// A frame on its way into the feed.
#[derive(Debug)]
pub struct Unit {
    /// The access unit, as feeds take it.
    pub data: Bytes,
    /// Whether it can be decoded without any other.
    pub keyframe: bool,
    /// Size of the picture.
    pub size: Size,
    /// Its colours, if the bitstream declares them.
    pub colours: h264::Colours,
}

/// State kept from previous frames.
#[derive(Debug)]
pub enum Bitstream {
    /// H.264.
    H264(h264::Assembler),
    /// HEVC.
    Hevc(h265::Assembler),
    /// AV1, and its size so far.
    Av1(Option<Size>),
}

impl Bitstream {
    /// State at the beginning of a stream.
    pub fn new(codec: MoonlightCodec) -> Self {
        match codec {
            MoonlightCodec::H264 => Self::H264(h264::Assembler::default()),
            MoonlightCodec::Hevc => Self::Hevc(h265::Assembler::default()),
            MoonlightCodec::Av1 => Self::Av1(None),
        }
    }

    /// The access unit of a frame; `None` when it contains no decodable picture.
    ///
    /// # Errors
    /// The reason why browsers cannot show such pictures.
    pub fn unit(&mut self, frame: Frame) -> Result<Option<Unit>, Obstacle> {
        match self {
            Self::H264(assembler) => {
                let unit = assembler.assemble(nal_units(&frame.data));
                let Some((unit, format)) = unit.zip(assembler.format()) else { return Ok(None) };
                let h264::Unit { data, keyframe, bidirectional: _ } = unit;
                let size = format.size;
                let colours = format.colours;
                // The requested size, whatever the pixel aspect is.
                let obstacle = format.obstacle.filter(|obstacle| *obstacle != Obstacle::Pixels);
                obstacle.map_or(Ok(Some(Unit { data, keyframe, size, colours })), Err)
            }
            Self::Hevc(assembler) => {
                let unit = assembler.assemble(nal_units(&frame.data));
                let Some((unit, format)) = unit.zip(assembler.format()) else { return Ok(None) };
                let h265::Unit { data, keyframe } = unit;
                let unit = Unit { data, keyframe, size: format.size, colours: h264::Colours::default() };
                format.obstacle.map_or(Ok(Some(unit)), Err)
            }
            Self::Av1(known) => {
                let keyframe = has_sequence_header(&frame.data);
                if keyframe {
                    *known = av1::size(&frame.data).or(*known);
                }
                let Some(size) = *known else { return Ok(None) };
                Ok(Some(Unit {
                    data: Bytes::from(frame.data),
                    keyframe,
                    size,
                    colours: h264::Colours::default(),
                }))
            }
        }
    }
}
