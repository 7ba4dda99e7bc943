//! Context-adaptive variable-length codes for transform coefficients (H.264 §9.2) and coded block patterns
//! (§9.1.2).

use crate::bits::BitWriter;

/// The largest magnitude of a level that a `level_prefix` of 15 can carry whatever its suffix length is; larger
/// prefixes are not allowed in the baseline profile (H.264 §9.2.2.1).
pub(crate) const MAX_LEVEL: i32 = 2063;

/// Bits that `coeff_token` is chosen by: how many coefficients the blocks to the left and above have, on
/// average (`nC`, H.264 §9.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Context {
    /// A block of 15 or 16 coefficients.
    Neighbours(u8),
    /// The four DC coefficients of a chroma plane.
    ChromaDc,
}

/// Length and code; length 0 where the standard has none.
type Code = (u8, u8);

/// Joins lengths and codes of a table.
const fn codes<const N: usize>(lengths: [u8; N], values: [u8; N]) -> [Code; N] {
    let mut table = [(0, 0); N];
    let mut at = 0;
    while at < N {
        table[at] = (lengths[at], values[at]);
        at += 1;
    }
    table
}

/// `coeff_token` by `nC` (0–1, 2–3, 4–7), trailing ones and coefficients (H.264 table 9-5).
const COEFF_TOKEN: [[[Code; 17]; 4]; 3] = [
    [
        codes(
            [1, 6, 8, 9, 10, 11, 13, 13, 13, 14, 14, 15, 15, 16, 16, 16, 16],
            [1, 5, 7, 7, 7, 7, 15, 11, 8, 15, 11, 15, 11, 15, 11, 7, 4],
        ),
        codes(
            [0, 2, 6, 8, 9, 10, 11, 13, 13, 14, 14, 15, 15, 15, 16, 16, 16],
            [0, 1, 4, 6, 6, 6, 6, 14, 10, 14, 10, 14, 10, 1, 14, 10, 6],
        ),
        codes(
            [0, 0, 3, 7, 8, 9, 10, 11, 13, 13, 14, 14, 15, 15, 16, 16, 16],
            [0, 0, 1, 5, 5, 5, 5, 5, 13, 9, 13, 9, 13, 9, 13, 9, 5],
        ),
        codes(
            [0, 0, 0, 5, 6, 7, 8, 9, 10, 11, 13, 14, 14, 15, 15, 16, 16],
            [0, 0, 0, 3, 3, 4, 4, 4, 4, 4, 12, 12, 8, 12, 8, 12, 8],
        ),
    ],
    [
        codes(
            [2, 6, 6, 7, 8, 8, 9, 11, 11, 12, 12, 12, 13, 13, 13, 14, 14],
            [3, 11, 7, 7, 7, 4, 7, 15, 11, 15, 11, 8, 15, 11, 7, 9, 7],
        ),
        codes(
            [0, 2, 5, 6, 6, 7, 8, 9, 11, 11, 12, 12, 13, 13, 14, 14, 14],
            [0, 2, 7, 10, 6, 6, 6, 6, 14, 10, 14, 10, 14, 10, 11, 8, 6],
        ),
        codes(
            [0, 0, 3, 6, 6, 7, 8, 9, 11, 11, 12, 12, 13, 13, 13, 14, 14],
            [0, 0, 3, 9, 5, 5, 5, 5, 13, 9, 13, 9, 13, 9, 6, 10, 5],
        ),
        codes(
            [0, 0, 0, 4, 4, 5, 6, 6, 7, 9, 11, 11, 12, 13, 13, 13, 14],
            [0, 0, 0, 5, 4, 6, 8, 4, 4, 4, 12, 8, 12, 12, 8, 1, 4],
        ),
    ],
    [
        codes(
            [4, 6, 6, 6, 7, 7, 7, 7, 8, 8, 9, 9, 9, 10, 10, 10, 10],
            [15, 15, 11, 8, 15, 11, 9, 8, 15, 11, 15, 11, 8, 13, 9, 5, 1],
        ),
        codes(
            [0, 4, 5, 5, 5, 5, 6, 6, 7, 8, 8, 9, 9, 9, 10, 10, 10],
            [0, 14, 15, 12, 10, 8, 14, 10, 14, 14, 10, 14, 10, 7, 12, 8, 4],
        ),
        codes(
            [0, 0, 4, 5, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 10],
            [0, 0, 13, 14, 11, 9, 13, 9, 13, 10, 13, 9, 13, 9, 11, 7, 3],
        ),
        codes(
            [0, 0, 0, 4, 4, 4, 4, 4, 5, 6, 7, 8, 8, 9, 10, 10, 10],
            [0, 0, 0, 12, 11, 10, 9, 8, 13, 12, 12, 12, 8, 12, 10, 6, 2],
        ),
    ],
];

/// `coeff_token` of chroma DC coefficients (H.264 table 9-5, `nC` −1).
const COEFF_TOKEN_CHROMA_DC: [[Code; 5]; 4] = [
    codes([2, 6, 6, 6, 6], [1, 7, 4, 3, 2]),
    codes([0, 1, 6, 7, 8], [0, 1, 6, 3, 3]),
    codes([0, 0, 3, 7, 8], [0, 0, 1, 2, 2]),
    codes([0, 0, 0, 6, 7], [0, 0, 0, 5, 0]),
];

/// `total_zeros` by coefficients, from 1 (H.264 tables 9-7, 9-8).
const TOTAL_ZEROS: [[Code; 16]; 15] = [
    codes([1, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 9], [1, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 1]),
    codes([3, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 6, 6, 6, 6, 0], [7, 6, 5, 4, 3, 5, 4, 3, 2, 3, 2, 3, 2, 1, 0, 0]),
    codes([4, 3, 3, 3, 4, 4, 3, 3, 4, 5, 5, 6, 5, 6, 0, 0], [5, 7, 6, 5, 4, 3, 4, 3, 2, 3, 2, 1, 1, 0, 0, 0]),
    codes([5, 3, 4, 4, 3, 3, 3, 4, 3, 4, 5, 5, 5, 0, 0, 0], [3, 7, 5, 4, 6, 5, 4, 3, 3, 2, 2, 1, 0, 0, 0, 0]),
    codes([4, 4, 4, 3, 3, 3, 3, 3, 4, 5, 4, 5, 0, 0, 0, 0], [5, 4, 3, 7, 6, 5, 4, 3, 2, 1, 1, 0, 0, 0, 0, 0]),
    codes([6, 5, 3, 3, 3, 3, 3, 3, 4, 3, 6, 0, 0, 0, 0, 0], [1, 1, 7, 6, 5, 4, 3, 2, 1, 1, 0, 0, 0, 0, 0, 0]),
    codes([6, 5, 3, 3, 3, 2, 3, 4, 3, 6, 0, 0, 0, 0, 0, 0], [1, 1, 5, 4, 3, 3, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0]),
    codes([6, 4, 5, 3, 2, 2, 3, 3, 6, 0, 0, 0, 0, 0, 0, 0], [1, 1, 1, 3, 3, 2, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
    codes([6, 6, 4, 2, 2, 3, 2, 5, 0, 0, 0, 0, 0, 0, 0, 0], [1, 0, 1, 3, 2, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
    codes([5, 5, 3, 2, 2, 2, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0], [1, 0, 1, 3, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    codes([4, 4, 3, 3, 1, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], [0, 1, 1, 2, 1, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    codes([4, 4, 2, 1, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], [0, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    codes([3, 3, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], [0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    codes([2, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], [0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    codes([1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
];

/// `total_zeros` of chroma DC coefficients (H.264 table 9-9 a).
const TOTAL_ZEROS_CHROMA_DC: [[Code; 4]; 3] =
    [codes([1, 2, 3, 3], [1, 1, 1, 0]), codes([1, 2, 2, 0], [1, 1, 0, 0]), codes([1, 1, 0, 0], [1, 0, 0, 0])];

/// `run_before` by zeros left, from 1; the last row is for all above 6 (H.264 table 9-10).
const RUN_BEFORE: [[Code; 15]; 7] = [
    codes([1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    codes([1, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    codes([2, 2, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], [3, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    codes([2, 2, 2, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], [3, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    codes([2, 2, 3, 3, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0], [3, 2, 3, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
    codes([2, 3, 3, 3, 3, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0], [3, 0, 1, 3, 2, 5, 4, 0, 0, 0, 0, 0, 0, 0, 0]),
    codes([3, 3, 3, 3, 3, 3, 3, 4, 5, 6, 7, 8, 9, 10, 11], [7, 6, 5, 4, 3, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
];

/// `coded_block_pattern` by `codeNum`, for Intra_4x4 and for Inter (H.264 table 9-4, ChromaArrayType 1).
const CODED_BLOCK_PATTERN: [(u8, u8); 48] = [
    (47, 0),
    (31, 16),
    (15, 1),
    (0, 2),
    (23, 4),
    (27, 8),
    (29, 32),
    (30, 3),
    (7, 5),
    (11, 10),
    (13, 12),
    (14, 15),
    (39, 47),
    (43, 7),
    (45, 11),
    (46, 13),
    (16, 14),
    (3, 6),
    (5, 9),
    (10, 31),
    (12, 35),
    (19, 37),
    (21, 42),
    (26, 44),
    (28, 33),
    (35, 34),
    (37, 36),
    (42, 40),
    (44, 39),
    (1, 43),
    (2, 45),
    (4, 46),
    (8, 17),
    (17, 18),
    (18, 20),
    (20, 24),
    (24, 19),
    (6, 21),
    (9, 26),
    (22, 28),
    (25, 23),
    (32, 27),
    (33, 29),
    (34, 30),
    (36, 22),
    (40, 25),
    (38, 38),
    (41, 41),
];

/// `codeNum` of each coded block pattern.
const fn code_numbers(intra: bool) -> [u8; 48] {
    let mut numbers = [0; 48];
    let mut number = 0;
    while number < 48 {
        let (of_intra, of_inter) = CODED_BLOCK_PATTERN[number];
        let pattern = if intra { of_intra } else { of_inter };
        numbers[pattern as usize] = number as u8;
        number += 1;
    }
    numbers
}

const CODE_NUMBERS_INTRA: [u8; 48] = code_numbers(true);
const CODE_NUMBERS_INTER: [u8; 48] = code_numbers(false);

/// Writes `coded_block_pattern`: four bits for the quarters of luma, above them 0 to 2 for chroma.
pub(crate) fn coded_block_pattern(pattern: u8, intra_4x4: bool, writer: &mut BitWriter) {
    let numbers = if intra_4x4 { &CODE_NUMBERS_INTRA } else { &CODE_NUMBERS_INTER };
    writer.ue(u32::from(numbers[usize::from(pattern)]));
}

/// Writes a block of levels in scan order and returns how many of them are not zero (`TotalCoeff`). There are
/// 4, 15 or 16 of them; none is larger than [`MAX_LEVEL`].
pub(crate) fn block(levels: &[i16], context: Context, writer: &mut BitWriter) -> u8 {
    // Highest frequency first, each with the number of zeros between it and the next lower one.
    let mut values = [0i32; 16];
    let mut runs = [0u8; 16];
    let mut total = 0;
    let mut last = 0;
    let mut zeros = 0;
    for (at, &level) in levels.iter().enumerate().rev() {
        if level != 0 {
            if total == 0 {
                last = at;
            } else {
                runs[total - 1] = zeros;
            }
            values[total] = i32::from(level);
            total += 1;
            zeros = 0;
        } else {
            zeros += 1;
        }
    }
    let values = &values[..total];
    let trailing = values.iter().take(3).take_while(|value| value.abs() == 1).count();
    token(context, trailing, total, writer);
    if total == 0 {
        return 0;
    }
    for &value in &values[..trailing] {
        writer.put(u32::from(value < 0), 1);
    }
    self::levels(values, trailing, writer);
    let mut left = last + 1 - total;
    if total < levels.len() {
        let (length, code) = match context {
            Context::ChromaDc => TOTAL_ZEROS_CHROMA_DC[total - 1][left],
            Context::Neighbours(_) => TOTAL_ZEROS[total - 1][left],
        };
        writer.put(u32::from(code), u32::from(length));
    }
    for &run in &runs[..total - 1] {
        if left == 0 {
            break;
        }
        let (length, code) = RUN_BEFORE[left.min(7) - 1][usize::from(run)];
        writer.put(u32::from(code), u32::from(length));
        left -= usize::from(run);
    }
    total as u8
}

/// Writes `coeff_token` (H.264 §9.2.1).
fn token(context: Context, trailing: usize, total: usize, writer: &mut BitWriter) {
    let (length, code) = match context {
        Context::ChromaDc => COEFF_TOKEN_CHROMA_DC[trailing][total],
        Context::Neighbours(0..=1) => COEFF_TOKEN[0][trailing][total],
        Context::Neighbours(2..=3) => COEFF_TOKEN[1][trailing][total],
        Context::Neighbours(4..=7) => COEFF_TOKEN[2][trailing][total],
        Context::Neighbours(_) if total == 0 => (6, 3),
        Context::Neighbours(_) => (6, (4 * (total - 1) + trailing) as u8),
    };
    writer.put(u32::from(code), u32::from(length));
}

/// Writes the levels after the trailing ones (H.264 §9.2.2).
fn levels(values: &[i32], trailing: usize, writer: &mut BitWriter) {
    let mut suffix_length = u32::from(values.len() > 10 && trailing < 3);
    for (at, &value) in values.iter().enumerate().skip(trailing) {
        let magnitude = value.unsigned_abs();
        let mut code = 2 * magnitude - 2 + u32::from(value < 0);
        if at == trailing && trailing < 3 {
            code -= 2; // it would have been a trailing one
        }
        if suffix_length == 0 {
            match code {
                0..14 => writer.put(1, code + 1),
                14..30 => writer.put(1 << 4 | (code - 14), 19),
                _ => writer.put(1 << 12 | (code - 30), 28),
            }
            suffix_length = 1;
        } else if code < 15 << suffix_length {
            let prefix = code >> suffix_length;
            let suffix = code & ((1 << suffix_length) - 1);
            writer.put(1 << suffix_length | suffix, prefix + 1 + suffix_length);
        } else {
            writer.put(1 << 12 | (code - (15 << suffix_length)), 28);
        }
        if magnitude > 3 << (suffix_length - 1) && suffix_length < 6 {
            suffix_length += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that no code is the beginning of another one, and returns the share of all bit strings that begin
    /// with none of them, in units of 2^-16.
    fn unused(codes: &[Code]) -> u32 {
        let codes = codes.iter().filter(|(length, _)| *length > 0);
        let codes: Vec<_> = codes.map(|&(length, code)| (u32::from(length), u32::from(code))).collect();
        for (at, (length, code)) in codes.iter().enumerate() {
            assert!(*code < 1 << length, "{code} does not fit {length} bits");
            for (other_length, other) in &codes[..at] {
                let common = length.min(other_length);
                let same = code >> (length - common) == other >> (other_length - common);
                assert!(!same, "{code:b}/{length} and {other:b}/{other_length}");
            }
        }
        let used: u32 = codes.iter().map(|(length, _)| 1 << (16 - length)).sum();
        (1 << 16) - used
    }

    #[test]
    fn codes_of_coefficient_tokens_are_prefix_free_and_leave_out_what_the_standard_leaves_out() {
        for (table, unused_codes) in COEFF_TOKEN.iter().zip([2, 8, 64]) {
            let codes: Vec<_> = table.iter().flatten().copied().collect();
            assert_eq!(codes.iter().filter(|(length, _)| *length > 0).count(), 62);
            // A run of zeros, so that no start code is emulated.
            assert_eq!(unused(&codes), unused_codes);
        }
        let codes: Vec<_> = COEFF_TOKEN_CHROMA_DC.iter().flatten().copied().collect();
        assert_eq!(codes.iter().filter(|(length, _)| *length > 0).count(), 14);
        assert_eq!(unused(&codes), 0);
    }

    #[test]
    fn codes_of_zeros_are_prefix_free_and_complete() {
        for (at, table) in TOTAL_ZEROS.iter().enumerate() {
            assert_eq!(table.iter().filter(|(length, _)| *length > 0).count(), 16 - at);
            // With one coefficient, 0 0000 0000 stays unused.
            assert_eq!(unused(table), if at == 0 { 1 << 7 } else { 0 }, "{} coefficients", at + 1);
        }
        for (at, table) in TOTAL_ZEROS_CHROMA_DC.iter().enumerate() {
            assert_eq!(table.iter().filter(|(length, _)| *length > 0).count(), 4 - at);
            assert_eq!(unused(table), 0);
        }
        for (at, table) in RUN_BEFORE.iter().enumerate() {
            let count = if at == 6 { 15 } else { at + 2 };
            assert_eq!(table.iter().filter(|(length, _)| *length > 0).count(), count);
            assert_eq!(unused(table), if at == 6 { 1 << 5 } else { 0 }, "{} zeros left", at + 1);
        }
    }

    #[test]
    fn every_coded_block_pattern_has_one_code() {
        for intra in [false, true] {
            let mut numbers = code_numbers(intra);
            numbers.sort_unstable();
            assert!(numbers.iter().enumerate().all(|(at, &number)| at == usize::from(number)));
        }
    }

    #[test]
    fn a_block_has_the_bits_worked_out_by_hand() {
        let mut levels = [0i16; 16];
        levels[..8].copy_from_slice(&[0, 3, 0, 1, -1, -1, 0, 1]);
        let mut writer = BitWriter::default();
        assert_eq!(block(&levels, Context::Neighbours(0), &mut writer), 5);
        let mut expected = BitWriter::default();
        let token = (0b0000100, 7);
        let signs = (0b011, 3);
        let plus_one = (0b1, 1);
        let plus_three = (0b0010, 4);
        let three_zeros = (0b111, 3);
        let runs = [(0b10, 2), (0b1, 1), (0b1, 1), (0b01, 2)];
        for (value, count) in [token, signs, plus_one, plus_three, three_zeros].into_iter().chain(runs) {
            expected.put(value, count);
        }
        let bytes = |mut writer: BitWriter| {
            let mut out = Vec::new();
            writer.finish(0, &mut out);
            out
        };
        assert_eq!(bytes(writer), bytes(expected));
    }
}
