//! Recovery of lost shards, from the document's formula alone.

fn times(a: u8, b: u8) -> u8 {
    (0..8).filter(|bit| b >> bit & 1 == 1).fold(0, |sum, bit| {
        let mut shifted = a;
        for _ in 0..bit {
            shifted = if shifted & 0x80 == 0 { shifted << 1 } else { shifted << 1 ^ 0x1d };
        }
        sum ^ shifted
    })
}

fn inverse(a: u8) -> u8 {
    (1..=255).find(|b| times(a, *b) == 1).expect("every number but 0 has an inverse")
}

/// Row `j` of video's parity.
pub fn video_row(data: usize, parity: usize, j: usize) -> Vec<u8> {
    (0..data).map(|i| inverse(((parity + i) ^ j) as u8)).collect()
}

/// Row `j` of sound's parity.
pub fn audio_row(j: usize) -> Vec<u8> {
    [[0x77, 0x40, 0x38, 0x0e], [0xc7, 0xa7, 0x0d, 0x6c]][j].to_vec()
}

/// Fills in the data shards that are missing; false when there is too little parity. `shards` are data, then parity.
pub fn recover(shards: &mut [Option<Vec<u8>>], data: usize, row: impl Fn(usize) -> Vec<u8>) -> bool {
    let missing: Vec<usize> = (0..data).filter(|i| shards[*i].is_none()).collect();
    let have: Vec<usize> =
        (data..shards.len()).filter(|j| shards[*j].is_some()).take(missing.len()).collect();
    if have.len() < missing.len() {
        return false;
    }
    // Equations of the missing ones alone, by Gauss and Jordan.
    let mut equations: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for j in have {
        let row = row(j - data);
        let mut sum = shards[j].clone().expect("it is there");
        for i in (0..data).filter(|i| !missing.contains(i)) {
            let shard = shards[i].as_ref().expect("it is not missing");
            for (sum, byte) in sum.iter_mut().zip(shard) {
                *sum ^= times(row[i], *byte);
            }
        }
        equations.push((missing.iter().map(|i| row[*i]).collect(), sum));
    }
    for column in 0..missing.len() {
        let pivot =
            (column..missing.len()).find(|n| equations[*n].0[column] != 0).expect("the matrix is regular");
        equations.swap(column, pivot);
        let factor = inverse(equations[column].0[column]);
        let scale = |bytes: &mut Vec<u8>| {
            for byte in bytes {
                *byte = times(*byte, factor);
            }
        };
        scale(&mut equations[column].0);
        scale(&mut equations[column].1);
        let (left, right) = equations[column].clone();
        for n in (0..missing.len()).filter(|n| *n != column) {
            let factor = equations[n].0[column];
            let add = |to: &mut Vec<u8>, from: &[u8]| {
                for (to, from) in to.iter_mut().zip(from) {
                    *to ^= times(*from, factor);
                }
            };
            add(&mut equations[n].0, &left);
            add(&mut equations[n].1, &right);
        }
    }
    for (i, (_, shard)) in missing.into_iter().zip(equations) {
        shards[i] = Some(shard);
    }
    true
}
