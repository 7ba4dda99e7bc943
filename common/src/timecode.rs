//! A frame number and a time drawn into a picture, so that a program can read them back from
//! decoded video: latency and continuity are measured with it.
//!
//! The code is a field of 16 columns and 8 rows of square cells, black (0) and white (1), whose top
//! left corner is that of the picture (or of the area that it was drawn into). The side of a cell is
//!
//! ```text
//! side = min(width / 32, height / 16)      pixels, not rounded
//! ```
//!
//! and an edge at `n * side` is drawn at the nearest pixel. As the side is relative to the picture,
//! the code is found in a scaled one by the same rule. Below [`MIN_CELL`] pixels the code would not
//! survive encoding: smaller pictures (less than 128×64) have none.
//!
//! The 128 cells, from left to right and then from top to bottom, are these bits, most significant first:
//!
//! | bits | what |
//! |---|---|
//! | 16 | [`MAGIC`]; half of them are white, so that they also tell black from white |
//! | 32 | frame number |
//! | 64 | microseconds since 1970-01-01 UTC |
//! | 16 | CRC-16/CCITT-FALSE (polynomial 0x1021, initially 0xffff) of the 12 bytes of number and time |

/// Cells in a row.
pub const COLUMNS: u32 = 16;
/// Rows of cells.
pub const ROWS: u32 = 8;
/// Cells, and bits.
pub const CELLS: usize = (COLUMNS * ROWS) as usize;
/// The first 16 bits.
pub const MAGIC: u16 = 0xa5c3;
/// Smallest side of a cell in pixels.
pub const MIN_CELL: f64 = 4.0;
/// Least difference between the luma of white and black cells: less is no code.
const MIN_CONTRAST: u32 = 48;

/// What a picture says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeCode {
    /// Counts the frames of the source.
    pub frame: u32,
    /// When the frame was made, microseconds since 1970-01-01 UTC.
    pub time_us: u64,
}

/// A rectangle of pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rect {
    /// Leftmost column.
    pub x: u32,
    /// Topmost row.
    pub y: u32,
    /// Width in columns.
    pub width: u32,
    /// Height in rows.
    pub height: u32,
}

/// Where the cells are in a picture of some size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    side: f64,
}

impl Grid {
    /// The grid of a picture of this size; `None` if it is too small for one.
    pub fn new(width: u32, height: u32) -> Option<Self> {
        let side = (f64::from(width) / 32.0).min(f64::from(height) / 16.0);
        (side >= MIN_CELL).then_some(Self { side })
    }

    /// Pixels that all cells cover together, from the top left corner.
    pub fn area(&self) -> Rect {
        Rect { x: 0, y: 0, width: self.edge(COLUMNS), height: self.edge(ROWS) }
    }

    /// Pixels of cell `index`, 0..[`CELLS`].
    pub fn cell(&self, index: usize) -> Rect {
        let column = index as u32 % COLUMNS;
        let row = index as u32 / COLUMNS;
        let x = self.edge(column);
        let y = self.edge(row);
        Rect { x, y, width: self.edge(column + 1) - x, height: self.edge(row + 1) - y }
    }

    fn edge(&self, n: u32) -> u32 {
        (f64::from(n) * self.side).round() as u32
    }

    /// Reads the code from a picture by the luma (or any measure of brightness) of its pixels.
    /// `None` if there is none, or it is damaged.
    pub fn read(&self, luma: impl Fn(u32, u32) -> u8) -> Option<TimeCode> {
        let mut cells = [0; CELLS];
        for (index, value) in cells.iter_mut().enumerate() {
            *value = self.brightness(index, &luma);
        }
        let threshold = threshold(&cells)?;
        let mut bits = 0u128;
        for value in cells {
            bits = bits << 1 | u128::from(value > threshold);
        }
        TimeCode::from_bits(bits)
    }

    /// Mean of nine points in the inner half of a cell: its edges are blurred by encoding and scaling.
    fn brightness(&self, index: usize, luma: impl Fn(u32, u32) -> u8) -> u32 {
        let corner = [index as u32 % COLUMNS, index as u32 / COLUMNS].map(f64::from);
        let mut sum = 0;
        for dy in [0.3, 0.5, 0.7] {
            for dx in [0.3, 0.5, 0.7] {
                let at = |corner: f64, inside: f64| ((corner + inside) * self.side) as u32;
                sum += u32::from(luma(at(corner[0], dx), at(corner[1], dy)));
            }
        }
        sum / 9
    }
}

/// Half way between black and white, by the cells of [`MAGIC`].
fn threshold(cells: &[u32; CELLS]) -> Option<u32> {
    let mut white = 0;
    let mut black = 0;
    for (index, value) in cells[..16].iter().enumerate() {
        let sum = if MAGIC >> (15 - index) & 1 == 1 { &mut white } else { &mut black };
        *sum += value;
    }
    let white = white / MAGIC.count_ones();
    let black = black / MAGIC.count_zeros();
    (white >= black + MIN_CONTRAST).then_some((white + black) / 2)
}

impl TimeCode {
    /// The cells, true for white.
    pub fn cells(&self) -> [bool; CELLS] {
        let body = u128::from(self.frame) << 64 | u128::from(self.time_us);
        let bits = u128::from(MAGIC) << 112 | body << 16 | u128::from(self.crc());
        std::array::from_fn(|index| bits >> (CELLS - 1 - index) & 1 == 1)
    }

    fn from_bits(bits: u128) -> Option<Self> {
        let code = Self { frame: (bits >> 80) as u32, time_us: (bits >> 16) as u64 };
        ((bits >> 112) as u16 == MAGIC && bits as u16 == code.crc()).then_some(code)
    }

    fn crc(&self) -> u16 {
        crc(self.frame.to_be_bytes().into_iter().chain(self.time_us.to_be_bytes()))
    }
}

/// CRC-16/CCITT-FALSE.
fn crc(bytes: impl Iterator<Item = u8>) -> u16 {
    bytes.fold(0xffff, |crc, byte| {
        (0..8).fold(
            crc ^ u16::from(byte) << 8,
            |crc, _| {
                if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CODE: TimeCode = TimeCode { frame: 0x0102_0304, time_us: 0x0005_1122_3344_5566 };

    /// A picture with the code on it, black and white as in limited range.
    fn drawn(code: TimeCode, width: u32, height: u32) -> Vec<u8> {
        let grid = Grid::new(width, height).unwrap();
        let mut luma = vec![128; (width * height) as usize];
        for (index, white) in code.cells().into_iter().enumerate() {
            let cell = grid.cell(index);
            for y in cell.y..cell.y + cell.height {
                for x in cell.x..cell.x + cell.width {
                    luma[(y * width + x) as usize] = if white { 235 } else { 16 };
                }
            }
        }
        luma
    }

    fn read(luma: &[u8], width: u32, height: u32) -> Option<TimeCode> {
        Grid::new(width, height)?.read(|x, y| luma[(y * width + x) as usize])
    }

    #[test]
    fn the_bits_are_as_documented() {
        let bits: String = CODE.cells().map(|white| if white { '1' } else { '0' }).iter().collect();
        let hex = format!("{:032x}", u128::from_str_radix(&bits, 2).unwrap());
        assert_eq!(hex[..28], *"a5c3010203040005112233445566");
    }

    #[test]
    fn the_crc_has_its_published_check_value() {
        assert_eq!(crc("123456789".bytes()), 0x29b1);
    }

    #[test]
    fn every_usual_size_has_room_for_it() {
        for (width, height) in [(128, 64), (640, 360), (1280, 720), (1366, 768), (3840, 2160), (64 * 8, 64)] {
            let area = Grid::new(width, height).unwrap().area();
            assert!(area.width <= width.div_ceil(2) && area.height <= height.div_ceil(2), "{width}x{height}");
            assert_eq!(read(&drawn(CODE, width, height), width, height), Some(CODE), "{width}x{height}");
        }
        assert_eq!(Grid::new(126, 64), None);
        assert_eq!(Grid::new(128, 62), None);
    }

    #[test]
    fn a_picture_without_a_code_has_none() {
        for value in [0, 16, 128, 235, 255] {
            assert_eq!(read(&vec![value; 640 * 360], 640, 360), None);
        }
    }

    #[test]
    fn a_scaled_picture_is_read_by_the_same_rule() {
        let luma = drawn(CODE, 1280, 720);
        for (width, height) in [(640, 360), (852, 480), (1600, 900), (1278, 718)] {
            let nearest = |x: u32, y: u32| luma[(y * 720 / height * 1280 + x * 1280 / width) as usize];
            let code = Grid::new(width, height).unwrap().read(nearest);
            assert_eq!(code, Some(CODE), "{width}x{height}");
        }
    }

    proptest! {
        #[test]
        fn noise_and_low_contrast_do_not_matter(frame: u32, time_us: u64, seed: u32) {
            let code = TimeCode { frame, time_us };
            let mut state = seed;
            let mut luma = drawn(code, 320, 180);
            for value in &mut luma {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let noise = (state >> 26) as i32 - 32;
                *value = (i32::from(*value) * 2 / 3 + 40 + noise).clamp(0, 255) as u8;
            }
            prop_assert_eq!(read(&luma, 320, 180), Some(code));
        }

        #[test]
        fn a_damaged_cell_is_noticed(frame: u32, time_us: u64, index in 0..CELLS) {
            let code = TimeCode { frame, time_us };
            let mut cells = code.cells();
            cells[index] = !cells[index];
            let bits = cells.iter().fold(0u128, |bits, white| bits << 1 | u128::from(*white));
            prop_assert_eq!(TimeCode::from_bits(bits), None);
        }
    }
}
