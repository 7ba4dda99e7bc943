//! Reed-Solomon parity over GF(2^8) with the polynomial 0x11D.
//!
//! Parity shard `j` is the sum over data shards `i` of `matrix[j][i] * data_i`, byte by byte. Video has a Cauchy matrix,
//! sound a fixed one.

use std::sync::LazyLock;

/// x^8 + x^4 + x^3 + x^2 + 1.
const POLYNOMIAL: u16 = 0x11d;
/// Data shards of a block of sound.
pub const AUDIO_DATA: usize = 4;
/// The two parity rows of sound.
pub const AUDIO_MATRIX: [[u8; AUDIO_DATA]; 2] = [[0x77, 0x40, 0x38, 0x0e], [0xc7, 0xa7, 0x0d, 0x6c]];

/// Multiplies by shifting and adding: slow, and plain to see that it is right.
pub const fn multiply(a: u8, b: u8) -> u8 {
    let mut a = a as u16;
    let mut b = b;
    let mut product = 0;
    while b != 0 {
        if b & 1 != 0 {
            product ^= a;
        }
        a <<= 1;
        if a & 0x100 != 0 {
            a ^= POLYNOMIAL;
        }
        b >>= 1;
    }
    product as u8
}

/// All products, by both factors.
static PRODUCTS: LazyLock<Vec<[u8; 256]>> =
    LazyLock::new(|| (0..=255).map(|a| std::array::from_fn(|b| multiply(a, b as u8))).collect());

/// The number that gives 1 when multiplied by `value`, which is not 0: its 254th power.
pub const fn inverse(value: u8) -> u8 {
    let mut power = value;
    let mut n = 0;
    // 254 = 0b11111110: six more ones, then a zero.
    while n < 6 {
        power = multiply(multiply(power, power), value);
        n += 1;
    }
    multiply(power, power)
}

/// Rows of parity for `data` data shards and `parity` parity shards of video.
pub fn cauchy(data: usize, parity: usize) -> Vec<Vec<u8>> {
    assert!(data + parity <= 255, "a block has at most 255 shards, not {data} + {parity}");
    let element = |row, column| inverse(((parity + column) ^ row) as u8);
    (0..parity).map(|row| (0..data).map(|column| element(row, column)).collect()).collect()
}

/// One parity shard by its row of the matrix. All of `data` have one length.
pub fn parity<'a>(row: &[u8], data: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut sum = Vec::new();
    for (factor, shard) in row.iter().zip(data) {
        let products = &PRODUCTS[usize::from(*factor)];
        sum.resize(shard.len(), 0);
        for (sum, byte) in sum.iter_mut().zip(shard) {
            *sum ^= products[usize::from(*byte)];
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::from_hex;

    #[test]
    fn inverses_are_as_published() {
        let first: Vec<u8> = (1..16).map(inverse).collect();
        assert_eq!(first, from_hex("018ef447a77abaad9ddd983daa5d96").unwrap());
        assert!((1..=255).all(|value| multiply(value, inverse(value)) == 1));
    }

    #[test]
    fn matrices_are_as_published() {
        assert_eq!(cauchy(1, 2), [[0x8e], [0xf4]]);
        assert_eq!(cauchy(3, 2), [[0x8e, 0xf4, 0x47], [0xf4, 0x8e, 0xa7]]);
        assert_eq!(cauchy(4, 2), [[0x8e, 0xf4, 0x47, 0xa7], [0xf4, 0x8e, 0xa7, 0x47]]);
        assert_eq!(cauchy(5, 1), [[0x01, 0x8e, 0xf4, 0x47, 0xa7]]);
    }

    #[test]
    fn parity_is_as_published() {
        let data = ["05101b26313c4752", "2a35404b56616c77", "4f5a65707c87929d", "747f8a96a1acb8c3"];
        let data = data.map(|shard| from_hex(shard).unwrap());
        let parity = |row: &[u8]| parity(row, data.iter().map(Vec::as_slice));
        let video = cauchy(4, 2);
        assert_eq!(parity(&video[0]), from_hex("54c96d183cf5f05b").unwrap());
        assert_eq!(parity(&video[1]), from_hex("baab6fa01eaaad02").unwrap());
        assert_eq!(parity(&AUDIO_MATRIX[0]), from_hex("958efa9bd9614ed8").unwrap());
        assert_eq!(parity(&AUDIO_MATRIX[1]), from_hex("ab00048f342a2c0e").unwrap());
    }
}
