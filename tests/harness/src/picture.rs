//! A picture as bytes of red, green and blue.

use std::io::Cursor;

/// Rows of RGB, top to bottom, without padding.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Three bytes for each pixel.
    pub rgb: Vec<u8>,
}

impl Picture {
    /// Reads a PNG of eight bits per sample.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub fn from_png(bytes: &[u8]) -> Self {
        let mut reader = png::Decoder::new(Cursor::new(bytes)).read_info().expect("a PNG");
        let mut pixels = vec![0; reader.output_buffer_size().expect("a picture that fits memory")];
        let info = reader.next_frame(&mut pixels).expect("the pixels of a PNG");
        pixels.truncate(info.buffer_size());
        let rgb = match info.color_type {
            png::ColorType::Rgb => pixels,
            png::ColorType::Rgba => pixels.chunks_exact(4).flat_map(|p| [p[0], p[1], p[2]]).collect(),
            other => panic!("a picture in colours, not {other:?}"),
        };
        Self { width: info.width, height: info.height, rgb }
    }

    /// The number of different colours; one means an empty picture.
    pub fn colours(&self) -> usize {
        self.rgb.chunks_exact(3).collect::<std::collections::HashSet<_>>().len()
    }

    /// Where pixels are not as in `other`, which has the same size.
    ///
    /// # Panics
    /// When it has another size.
    #[track_caller]
    pub fn differing(&self, other: &Self) -> Vec<(u32, u32)> {
        assert_eq!((self.width, self.height), (other.width, other.height));
        let pairs = self.rgb.chunks_exact(3).zip(other.rgb.chunks_exact(3));
        let places = (0u32..).map(|n| (n % self.width, n / self.width));
        pairs.zip(places).filter(|((a, b), _)| a != b).map(|(_, place)| place).collect()
    }
}
