//! Reed–Solomon over GF(2⁸) with the polynomial 0x11D: recovers lost shards from parity.
//!
//! The code is systematic, parity row `j` is the sum of `coefficient(j, i) · data[i]`. Video has a Cauchy matrix that depends on
//! the number of parity shards, audio one fixed matrix for its 4 + 2. Only as many equations are solved as
//! shards are lost, so that the cost is that of the loss and not of the block.

use std::sync::LazyLock;

/// Most shards of a block, data and parity.
pub const MAX_SHARDS: usize = 255;

/// Products of all pairs, one row for each left factor, and inverses.
struct Field {
    product: Box<[[u8; 256]; 256]>,
    inverse: [u8; 256],
}

static FIELD: LazyLock<Field> = LazyLock::new(|| {
    let mut product = Box::new([[0; 256]; 256]);
    let mut inverse = [0; 256];
    for a in 0..=255u8 {
        for b in 0..=255u8 {
            let value = multiply(a, b);
            product[usize::from(a)][usize::from(b)] = value;
            if value == 1 {
                inverse[usize::from(a)] = b;
            }
        }
    }
    Field { product, inverse }
});

/// The textbook multiplication.
fn multiply(mut a: u8, mut b: u8) -> u8 {
    let mut sum = 0;
    while b != 0 {
        if b & 1 != 0 {
            sum ^= a;
        }
        let carry = a & 0x80 != 0;
        a <<= 1;
        if carry {
            a ^= 0x1d;
        }
        b >>= 1;
    }
    sum
}

/// Which coefficients a block has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matrix {
    /// Of video: Cauchy, `1 / ((parity + i) XOR j)`.
    Cauchy {
        /// Parity shards of the block.
        parity: usize,
    },
    /// Of audio: four data shards, two of parity.
    Audio,
}

/// Data shards of an audio block.
pub const AUDIO_DATA: usize = 4;
/// Parity shards of an audio block.
pub const AUDIO_PARITY: usize = 2;
const AUDIO_ROWS: [[u8; AUDIO_DATA]; AUDIO_PARITY] = [[0x77, 0x40, 0x38, 0x0e], [0xc7, 0xa7, 0x0d, 0x6c]];

impl Matrix {
    fn coefficient(self, row: usize, column: usize) -> u8 {
        match self {
            Self::Cauchy { parity } => FIELD.inverse[((parity + column) ^ row) & 0xff],
            Self::Audio => AUDIO_ROWS.get(row).and_then(|row| row.get(column)).copied().unwrap_or(0),
        }
    }
}

/// One shard: where it is, and its bytes.
pub type Shard<'a> = (usize, &'a [u8]);

/// Recovers the data shards that are missing, in the order of `missing`. `data` are those that came; `parity` are as many
/// as are missing, or more. All have `len` bytes. `None` when there is too little, or when lengths differ.
pub fn recover(
    matrix: Matrix,
    len: usize,
    data: &[Shard<'_>],
    parity: &[Shard<'_>],
    missing: &[usize],
) -> Option<Vec<Vec<u8>>> {
    let parity = parity.get(..missing.len())?;
    if data.iter().chain(parity).any(|(_, shard)| shard.len() != len) {
        return None;
    }
    // The contribution of the missing shards to each parity shard.
    let mut rest: Vec<Vec<u8>> = parity.iter().map(|(_, shard)| shard.to_vec()).collect();
    for ((row, _), rest) in parity.iter().zip(&mut rest) {
        for (column, shard) in data {
            add(rest, shard, matrix.coefficient(*row, *column));
        }
    }
    let mut equations: Vec<Vec<u8>> = parity
        .iter()
        .map(|(row, _)| missing.iter().map(|column| matrix.coefficient(*row, *column)).collect())
        .collect();
    solve(&mut equations, &mut rest)?;
    Some(rest)
}

/// Gauss–Jordan elimination; afterwards `values` are the unknowns. `None` when there is no unique solution.
fn solve(equations: &mut [Vec<u8>], values: &mut [Vec<u8>]) -> Option<()> {
    let unknowns = equations.len();
    for column in 0..unknowns {
        let pivot = (column..unknowns).find(|row| equations[*row][column] != 0)?;
        equations.swap(column, pivot);
        values.swap(column, pivot);
        let inverse = FIELD.inverse[usize::from(equations[column][column])];
        scale(&mut equations[column], inverse);
        scale(&mut values[column], inverse);
        let equation = equations[column].clone();
        let value = std::mem::take(&mut values[column]);
        for row in (0..unknowns).filter(|row| *row != column) {
            let factor = equations[row][column];
            add(&mut equations[row], &equation, factor);
            add(&mut values[row], &value, factor);
        }
        values[column] = value;
    }
    Some(())
}

/// `sum += factor · shard`.
fn add(sum: &mut [u8], shard: &[u8], factor: u8) {
    let row = &FIELD.product[usize::from(factor)];
    match factor {
        0 => {}
        1 => {
            for (sum, byte) in sum.iter_mut().zip(shard) {
                *sum ^= byte;
            }
        }
        _ => {
            for (sum, byte) in sum.iter_mut().zip(shard) {
                *sum ^= row[usize::from(*byte)];
            }
        }
    }
}

fn scale(values: &mut [u8], factor: u8) {
    let row = &FIELD.product[usize::from(factor)];
    for value in values {
        *value = row[usize::from(*value)];
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn encode(matrix: Matrix, parity: usize, data: &[Vec<u8>]) -> Vec<Vec<u8>> {
        (0..parity)
            .map(|row| {
                let mut sum = vec![0; data[0].len()];
                for (column, shard) in data.iter().enumerate() {
                    add(&mut sum, shard, matrix.coefficient(row, column));
                }
                sum
            })
            .collect()
    }

    const DATA: [&str; 4] = ["05101b26313c4752", "2a35404b56616c77", "4f5a65707c87929d", "747f8a96a1acb8c3"];

    fn shards() -> Vec<Vec<u8>> {
        DATA.iter().map(|shard| hex::decode(shard).unwrap()).collect()
    }

    #[test]
    fn inverses_and_matrices_are_those_of_the_protocol() {
        let inverses: Vec<u8> = FIELD.inverse[1..16].to_vec();
        assert_eq!(hex::encode(inverses), "018ef447a77abaad9ddd983daa5d96");
        for (data, parity, rows) in
            [(1, 2, "8e f4"), (3, 2, "8ef447 f48ea7"), (4, 2, "8ef447a7 f48ea747"), (5, 1, "018ef447a7")]
        {
            let matrix = Matrix::Cauchy { parity };
            let row = |row| hex::encode((0..data).map(|i| matrix.coefficient(row, i)).collect::<Vec<_>>());
            assert_eq!((0..parity).map(row).collect::<Vec<_>>().join(" "), rows);
        }
    }

    #[test]
    fn parity_is_that_of_the_protocol() {
        let hex = |parity: Vec<Vec<u8>>| parity.iter().map(hex::encode).collect::<Vec<_>>().join(" ");
        let video = encode(Matrix::Cauchy { parity: 2 }, 2, &shards());
        assert_eq!(hex(video), "54c96d183cf5f05b baab6fa01eaaad02");
        assert_eq!(hex(encode(Matrix::Audio, 2, &shards())), "958efa9bd9614ed8 ab00048f342a2c0e");
    }

    #[test]
    fn every_pair_of_lost_shards_of_an_audio_block_comes_back() {
        let data = shards();
        let parity = encode(Matrix::Audio, 2, &data);
        let all: Vec<_> = data.iter().chain(&parity).collect();
        for (a, b) in (0..6).flat_map(|a| (0..a).map(move |b| (a, b))) {
            let came = |i: &usize| *i != a && *i != b;
            let given = |range: std::ops::Range<usize>, from: usize| -> Vec<Shard<'_>> {
                range.filter(came).map(|i| (i - from, &all[i][..])).collect()
            };
            let missing: Vec<_> = (0..4).filter(|i| !came(i)).collect();
            let back = recover(Matrix::Audio, 8, &given(0..4, 0), &given(4..6, 4), &missing).unwrap();
            assert!(missing.iter().zip(&back).all(|(i, shard)| *shard == data[*i]), "{a} and {b}");
        }
    }

    #[test]
    fn too_little_or_uneven_shards_are_refused() {
        let data = shards();
        assert!(recover(Matrix::Audio, 8, &[(0, &data[0])], &[(0, &data[1])], &[1, 2, 3]).is_none());
        assert!(recover(Matrix::Audio, 8, &[(0, &data[0][1..])], &[(0, &data[1])], &[1]).is_none());
        // Twice the same equation.
        assert!(recover(Matrix::Audio, 8, &[], &[(0, &data[0]), (0, &data[0])], &[0, 1]).is_none());
    }

    proptest! {
        #[test]
        fn whatever_is_lost_within_the_parity_comes_back(
            count in 1usize..213,
            percent in 1usize..60,
            len in 1usize..40,
            seed in any::<u64>(),
        ) {
            let parity = count.saturating_mul(percent).div_ceil(100).min(MAX_SHARDS - count).max(1);
            let mut state = seed | 1;
            let mut random = || { state ^= state << 13; state ^= state >> 7; state ^= state << 17; state };
            let data: Vec<Vec<u8>> =
                (0..count).map(|_| (0..len).map(|_| random() as u8).collect()).collect();
            let matrix = Matrix::Cauchy { parity };
            let all: Vec<_> = data.iter().cloned().chain(encode(matrix, parity, &data)).collect();
            let mut lost = vec![false; all.len()];
            for _ in 0..parity {
                lost[(random() % all.len() as u64) as usize] = true;
            }
            let missing: Vec<_> = (0..count).filter(|i| lost[*i]).collect();
            let came: Vec<Shard<'_>> = (0..count).filter(|i| !lost[*i]).map(|i| (i, &data[i][..])).collect();
            let rest: Vec<Shard<'_>> =
                (0..parity).filter(|j| !lost[count + j]).map(|j| (j, &all[count + j][..])).collect();
            let back = recover(matrix, len, &came, &rest, &missing).unwrap();
            for (i, shard) in missing.iter().zip(&back) {
                prop_assert_eq!(shard, &data[*i]);
            }
        }
    }
}
