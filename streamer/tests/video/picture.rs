//! What a receiver sees: RTP payloads to access units to pictures.

use std::ops::Range;

use common::timecode::{Grid, TimeCode};
use openh264::formats::YUVSource as _;
use streamer::encode::convert::I420;
use streamer::feed::VideoUnit;
use streamer::media::{Picture, Size};

/// One decoded picture.
pub struct Decoded {
    pub size: Size,
    pub keyframe: bool,
    y: Vec<u8>,
    u: Vec<u8>,
    v: Vec<u8>,
}

pub struct Decoder(openh264::decoder::Decoder);

impl Decoder {
    pub fn new() -> Self {
        Self(openh264::decoder::Decoder::new().unwrap())
    }

    pub fn decode(&mut self, unit: &VideoUnit) -> Decoded {
        let picture = self.0.decode(&annex_b(unit)).unwrap().expect("an access unit is a picture");
        let ((width, height), strides) = (picture.dimensions(), picture.strides());
        let plane = |data: &[u8], stride: usize, width: usize, height: usize| -> Vec<u8> {
            data.chunks(stride).take(height).flat_map(|row| row[..width].to_vec()).collect()
        };
        Decoded {
            size: Size { width: width as u32, height: height as u32 },
            keyframe: unit.keyframe,
            y: plane(picture.y(), strides.0, width, height),
            u: plane(picture.u(), strides.1, width / 2, height / 2),
            v: plane(picture.v(), strides.2, width / 2, height / 2),
        }
    }
}

impl Decoded {
    /// Y, U and V of a pixel.
    pub fn at(&self, x: u32, y: u32) -> [u8; 3] {
        let chroma = (y / 2 * self.size.width / 2 + x / 2) as usize;
        [self.y[(y * self.size.width + x) as usize], self.u[chroma], self.v[chroma]]
    }

    /// True if a pixel has about this colour.
    pub fn shows(&self, x: u32, y: u32, yuv: [u8; 3]) -> bool {
        self.at(x, y).into_iter().zip(yuv).all(|(seen, expected)| seen.abs_diff(expected) < 12)
    }

    pub fn code(&self) -> Option<TimeCode> {
        Grid::new(self.size.width, self.size.height)?.read(|x, y| self.at(x, y)[0])
    }

    /// How much its luma is like that of a picture, in dB.
    pub fn psnr(&self, original: &Picture) -> f64 {
        self.psnr_within(original, 0..self.size.width, 0..self.size.height)
    }

    /// The same for a part of it: a snapshot shows the cursor, where it is.
    pub fn psnr_within(&self, original: &Picture, columns: Range<u32>, rows: Range<u32>) -> f64 {
        assert_eq!(self.size, original.size);
        let mut expected = I420::new(original.size).unwrap();
        let stride = 4 * original.size.width as usize;
        expected.convert(0..original.size.height, &original.pixels, stride).unwrap();
        let samples = f64::from(columns.end - columns.start) * f64::from(rows.end - rows.start);
        let mut error = 0.0;
        for y in rows {
            for x in columns.clone() {
                let at = (y * self.size.width + x) as usize;
                error += f64::from(expected.planes().0[at].abs_diff(self.y[at])).powi(2);
            }
        }
        10.0 * (255.0 * 255.0 * samples / error.max(1.0)).log10()
    }
}

/// RFC 6184: single NAL units, STAP-A, FU-A.
fn annex_b(unit: &VideoUnit) -> Vec<u8> {
    const START: [u8; 4] = [0, 0, 0, 1];
    let mut data = Vec::new();
    for payload in &unit.payloads {
        match payload[0] & 31 {
            24 => {
                let mut rest = &payload[1..];
                while let Some((len, after)) = rest.split_first_chunk::<2>() {
                    let (nal, after) = after.split_at(u16::from_be_bytes(*len).into());
                    data.extend(START.iter().chain(nal));
                    rest = after;
                }
            }
            28 => {
                if payload[1] & 0x80 != 0 {
                    data.extend(START);
                    data.push(payload[0] & 0xe0 | payload[1] & 0x1f);
                }
                data.extend(&payload[2..]);
            }
            _ => data.extend(START.iter().chain(&payload[..])),
        }
    }
    data
}
