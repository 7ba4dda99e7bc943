//! The newest picture of a source that we do not capture: decoded from its last GOP on request.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use common::media::VideoCodec;
use openh264::decoder::{DecodedYUV, Decoder};
use openh264::formats::YUVSource as _;
use tokio::sync::oneshot;
use yuv::{YuvPlanarImage, YuvRange, YuvStandardMatrix, yuv420_to_bgra};

use super::h264::Colours;
use crate::media::{AccessUnit, Picture, Size};

/// Most units of a GOP that are kept: ten seconds at 60 frames a second. Of a longer one its beginning is
/// kept, so that its picture is an older one until the next keyframe.
const MAX_UNITS: usize = 600;
/// Most bytes of a GOP that are kept.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// Pictures with at least this many rows have the colours of HDTV, unless they declare others.
pub const HD_ROWS: u32 = 720;

/// Decodes a GOP of a codec other than H.264, of pictures of this size, and returns the last one. May take seconds.
pub type Decode = fn(VideoCodec, Size, &[Bytes]) -> Result<Picture, String>;

/// The newest GOP. Shared by the thread that publishes and those that request a picture.
#[derive(Debug)]
pub struct Still {
    gop: Mutex<Gop>,
    decode: Decode,
    /// A picture is being decoded; one at a time is enough, as it takes a core.
    busy: AtomicBool,
}

#[derive(Debug, Default)]
struct Gop {
    units: Vec<Bytes>,
    bytes: usize,
    full: bool,
    colours: Colours,
    /// Codec and size of its keyframe.
    kind: Option<(VideoCodec, Size)>,
}

/// Notes, when dropped, that nothing is being decoded any more.
struct DecodingGuard(Arc<Still>);

impl Drop for DecodingGuard {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Release);
    }
}

impl Still {
    /// Nothing published yet. Codecs other than H.264 are decoded by `decode`.
    pub fn new(decode: Decode) -> Self {
        Self { gop: Mutex::default(), decode, busy: AtomicBool::new(false) }
    }

    /// Takes a unit that was just published.
    pub fn push(&self, unit: &AccessUnit, colours: Colours) {
        let mut gop = self.gop.lock().unwrap_or_else(PoisonError::into_inner);
        if unit.keyframe {
            *gop = Gop { colours, kind: Some((unit.codec, unit.size)), ..Gop::default() };
        } else if gop.units.is_empty() {
            return;
        }
        gop.full |= gop.units.len() >= MAX_UNITS || gop.bytes + unit.data.len() > MAX_BYTES;
        if !gop.full {
            gop.bytes += unit.data.len();
            gop.units.push(unit.data.clone());
        }
    }

    /// Decodes it, on a thread of its own. The sender is dropped unsent when there is no picture yet, when it
    /// cannot be decoded, or when one is being decoded already.
    pub fn picture(self: &Arc<Self>) -> oneshot::Receiver<Picture> {
        let (answer, picture) = oneshot::channel();
        if self.busy.swap(true, Ordering::AcqRel) {
            return picture;
        }
        let busy = DecodingGuard(Arc::clone(self));
        let (units, colours, kind) = {
            let gop = self.gop.lock().unwrap_or_else(PoisonError::into_inner);
            (gop.units.clone(), gop.colours, gop.kind)
        };
        let decode_other = self.decode;
        let work = move || {
            let picture = match kind {
                Some((codec, size)) if codec != VideoCodec::H264 => decode_other(codec, size, &units),
                _ => decode(&units, colours),
            };
            drop(busy);
            match picture {
                // The requester may be gone.
                Ok(picture) => drop(answer.send(picture)),
                Err(reason) => tracing::debug!(%reason, "no picture"),
            }
        };
        if let Err(error) = crate::thread::spawn("still", work) {
            tracing::warn!(%error, "no thread to decode a picture");
        }
        picture
    }
}

fn decode(units: &[Bytes], colours: Colours) -> Result<Picture, String> {
    let (last, before) = units.split_last().ok_or("nothing has been received")?;
    let mut decoder = Decoder::new().map_err(|error| error.to_string())?;
    for unit in before {
        // A unit that cannot be decoded may not matter for the last picture.
        let _ = decoder.decode(unit);
    }
    match decoder.decode(last).map_err(|error| error.to_string())? {
        Some(decoded) => bgrx(&decoded, colours),
        None => Err("the decoder gives nothing".into()),
    }
}

fn bgrx(decoded: &DecodedYUV<'_>, colours: Colours) -> Result<Picture, String> {
    let (width, height) = decoded.dimensions();
    let strides = decoded.strides();
    // Sides of pictures that openh264 decodes are far below.
    let size = Size { width: width as u32, height: height as u32 };
    let image = YuvPlanarImage {
        y_plane: decoded.y(),
        y_stride: strides.0 as u32,
        u_plane: decoded.u(),
        u_stride: strides.1 as u32,
        v_plane: decoded.v(),
        v_stride: strides.2 as u32,
        width: size.width,
        height: size.height,
    };
    let range = if colours.full_range { YuvRange::Full } else { YuvRange::Limited };
    let matrix = matrix(colours, size);
    let mut pixels = vec![0; 4 * width * height];
    yuv420_to_bgra(&image, &mut pixels, 4 * size.width, range, matrix).map_err(|error| error.to_string())?;
    Ok(Picture { pixels, size })
}

/// The matrix by its coefficients: with the crate's own constant, version 0.8.20 turns pure red into green of 39.
const SMPTE_240M: YuvStandardMatrix = YuvStandardMatrix::Custom(0.212, 0.087);

/// The matrix that the stream declares (H.264 table E-5), otherwise by its size.
fn matrix(colours: Colours, size: Size) -> YuvStandardMatrix {
    match colours.matrix {
        Some(1) => YuvStandardMatrix::Bt709,
        Some(4) => YuvStandardMatrix::Fcc,
        Some(5 | 6) => YuvStandardMatrix::Bt601,
        Some(7) => SMPTE_240M,
        Some(9 | 10) => YuvStandardMatrix::Bt2020,
        _ if size.height < HD_ROWS => YuvStandardMatrix::Bt601,
        _ => YuvStandardMatrix::Bt709,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A colour of 0 to 1 as 8 bits of Y, Cb and Cr in limited range, by the two coefficients of a matrix.
    fn encoded([r, g, b]: [f64; 3], (kr, kb): (f64, f64)) -> [u8; 3] {
        let y = kr * r + (1.0 - kr - kb) * g + kb * b;
        let difference =
            |colour: f64, k: f64| (128.0 + 224.0 * (colour - y) / (2.0 * (1.0 - k))).round() as u8;
        [(16.0 + 219.0 * y).round() as u8, difference(b, kb), difference(r, kr)]
    }

    #[test]
    fn every_matrix_gives_back_the_colours_that_it_was_used_for() {
        // H.264 table E-5.
        let matrices = [
            (1, (0.2126, 0.0722)),
            (4, (0.30, 0.11)),
            (5, (0.299, 0.114)),
            (6, (0.299, 0.114)),
            (7, (0.212, 0.087)),
            (9, (0.2627, 0.0593)),
        ];
        let size = Size { width: 32, height: 32 };
        for (code, coefficients) in matrices {
            for colour in [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.5, 0.5, 0.5]] {
                let [y, u, v] = encoded(colour, coefficients);
                let y = vec![y; 32 * 32];
                let u = vec![u; 16 * 16];
                let v = vec![v; 16 * 16];
                let image = YuvPlanarImage {
                    y_plane: &y,
                    y_stride: 32,
                    u_plane: &u,
                    u_stride: 16,
                    v_plane: &v,
                    v_stride: 16,
                    width: 32,
                    height: 32,
                };
                let mut pixels = vec![0; 4 * 32 * 32];
                let matrix = matrix(Colours { full_range: false, matrix: Some(code) }, size);
                yuv420_to_bgra(&image, &mut pixels, 4 * 32, YuvRange::Limited, matrix).unwrap();
                let seen = [pixels[2], pixels[1], pixels[0]].map(|sample| f64::from(sample) / 255.0);
                let near = seen.iter().zip(colour).all(|(seen, meant)| (seen - meant).abs() < 0.02);
                assert!(near, "matrix {code}: {seen:?}, not {colour:?}");
            }
        }
    }

    #[test]
    fn what_a_stream_says_of_its_colours_counts_more_than_its_size() {
        let of =
            |code, height| matrix(Colours { full_range: false, matrix: code }, Size { width: 1280, height });
        assert_eq!(of(Some(6), 720), YuvStandardMatrix::Bt601);
        assert_eq!(of(Some(1), 360), YuvStandardMatrix::Bt709);
        assert_eq!((of(None, 360), of(None, 720)), (YuvStandardMatrix::Bt601, YuvStandardMatrix::Bt709));
        assert_eq!(of(Some(0), 720), YuvStandardMatrix::Bt709, "what 4:2:0 cannot have says nothing");
    }
}
