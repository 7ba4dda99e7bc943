//! Annex B byte streams (H.264 and H.265 §B.1): NAL units one after another, with start codes between them.

/// The NAL units of an Annex B byte stream (H.264 §B.1), without start codes.
///
/// Empty units and trailing zero bytes are left out. Bytes before the first start code are ignored.
pub fn nal_units(annex_b: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = after_start_code(annex_b).unwrap_or_default();
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let end = find_start_code(rest).unwrap_or(rest.len());
            let (unit, tail) = rest.split_at(end);
            rest = after_start_code(tail).unwrap_or_default();
            // A trailing_zero_8bits or the first byte of a four byte start code.
            let len = unit.iter().rposition(|&b| b != 0).map_or(0, |last| last + 1);
            if len > 0 {
                return Some(&unit[..len]);
            }
        }
        None
    })
}

fn after_start_code(bytes: &[u8]) -> Option<&[u8]> {
    find_start_code(bytes).map(|at| &bytes[at + 3..])
}

/// Where the next `00 00 01` begins. Steps by up to three bytes: most bytes of video are above one.
fn find_start_code(bytes: &[u8]) -> Option<usize> {
    let mut at = 2;
    while at < bytes.len() {
        match bytes[at] {
            1 if bytes[at - 1] == 0 && bytes[at - 2] == 0 => return Some(at - 2),
            0 => at += 1,
            _ => at += 3,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_byte_start_codes_and_trailing_zeros_are_understood() {
        let stream = [&[0, 0, 1, 0x65, 7, 7], &[0, 0, 0, 0][..], &[0, 0, 1, 0x41, 9]].concat();
        assert_eq!(nal_units(&stream).collect::<Vec<_>>(), [&[0x65, 7, 7][..], &[0x41, 9]]);
        assert_eq!(nal_units(&[1, 2, 3]).count(), 0);
        assert_eq!(nal_units(&[0, 0, 1]).count(), 0);
    }
}
