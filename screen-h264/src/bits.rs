//! Bits of a raw byte sequence payload, and NAL units in the byte stream format (H.264 §7.3.1, §9.1, annex B).

/// Writes a raw byte sequence payload, most significant bit first.
#[derive(Debug, Default)]
pub(crate) struct BitWriter {
    bytes: Vec<u8>,
    /// The last `pending` bits written; above them are bits that are in `bytes` already.
    cache: u64,
    /// Bits of `cache` that are not in `bytes` yet; below 32.
    pending: u32,
}

/// A place in a [`BitWriter`] to go back to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    len: usize,
    cache: u64,
    pending: u32,
}

impl BitWriter {
    /// Writes the low `count` bits of `value`: `u(n)`. `count` is at most 32, and `value` has no bit above it.
    #[inline]
    pub(crate) fn put(&mut self, value: u32, count: u32) {
        debug_assert!(count <= 32 && u64::from(value) < 1 << count, "{value} in {count} bits");
        self.cache = self.cache << count | u64::from(value);
        self.pending += count;
        if self.pending >= 32 {
            self.pending -= 32;
            self.bytes.extend_from_slice(&((self.cache >> self.pending) as u32).to_be_bytes());
        }
    }

    /// Writes an unsigned Exp-Golomb code: `ue(v)`, H.264 §9.1. `value` is below `u32::MAX`.
    #[inline]
    pub(crate) fn ue(&mut self, value: u32) {
        let code = value + 1;
        let zeros = code.ilog2();
        if zeros < 16 {
            self.put(code, 2 * zeros + 1);
        } else {
            self.put(0, zeros);
            self.put(code, zeros + 1);
        }
    }

    /// Writes a signed Exp-Golomb code: `se(v)`, H.264 §9.1.1.
    #[inline]
    pub(crate) fn se(&mut self, value: i32) {
        let magnitude = value.unsigned_abs();
        self.ue(if value > 0 { 2 * magnitude - 1 } else { 2 * magnitude });
    }

    /// Bits written so far.
    pub(crate) fn len_bits(&self) -> usize {
        8 * self.bytes.len() + self.pending as usize
    }

    /// Where the next bit goes.
    pub(crate) fn mark(&self) -> Mark {
        Mark { len: self.bytes.len(), cache: self.cache, pending: self.pending }
    }

    /// Forgets everything written since `mark`.
    pub(crate) fn rewind(&mut self, mark: Mark) {
        self.bytes.truncate(mark.len);
        self.cache = mark.cache;
        self.pending = mark.pending;
    }

    /// Ends the payload with its trailing bits (H.264 §7.3.2.11), appends it to `out` as a NAL unit with a
    /// start code of four bytes, and empties the writer for the next one.
    pub(crate) fn finish(&mut self, header: u8, out: &mut Vec<u8>) {
        self.put(1, 1);
        let unaligned = self.pending % 8;
        if unaligned != 0 {
            self.put(0, 8 - unaligned);
        }
        while self.pending > 0 {
            self.pending -= 8;
            self.bytes.push((self.cache >> self.pending) as u8);
        }
        nal_unit(header, &self.bytes, out);
        self.bytes.clear();
        self.cache = 0;
    }
}

/// Appends a NAL unit to a byte stream, with emulation prevention (H.264 §7.4.1.1, annex B).
fn nal_unit(header: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.reserve(payload.len() + payload.len() / 64 + 5);
    out.extend_from_slice(&[0, 0, 0, 1, header]);
    let mut zeros = 0;
    // What lies between two places that need attention is copied at once.
    let mut copied = 0;
    for (at, &byte) in payload.iter().enumerate() {
        if zeros >= 2 && byte <= 3 {
            out.extend_from_slice(&payload[copied..at]);
            out.push(3);
            copied = at;
            zeros = 0;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
    }
    out.extend_from_slice(&payload[copied..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The NAL unit's payload without emulation prevention.
    fn payload(unit: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut zeros = 0;
        for &byte in &unit[5..] {
            if zeros == 2 && byte == 3 {
                zeros = 0;
                continue;
            }
            assert!(zeros < 2 || byte > 3, "a start code within the unit");
            zeros = if byte == 0 { zeros + 1 } else { 0 };
            bytes.push(byte);
        }
        bytes
    }

    #[test]
    fn exp_golomb_codes_are_those_of_the_standard() {
        for (value, code) in [(0, "1"), (1, "010"), (2, "011"), (3, "00100"), (7, "0001000")] {
            let mut writer = BitWriter::default();
            writer.ue(value);
            assert_eq!(format!("{:0width$b}", writer.cache, width = code.len()), code);
        }
        for (value, same) in [(0, 0), (1, 1), (-1, 2), (2, 3), (-2, 4), (2063, 4125), (-26, 52)] {
            let mut signed = BitWriter::default();
            signed.se(value);
            let mut unsigned = BitWriter::default();
            unsigned.ue(same);
            assert_eq!((signed.cache, signed.pending), (unsigned.cache, unsigned.pending), "{value}");
        }
        let mut long = BitWriter::default();
        long.ue(1 << 20);
        assert_eq!(long.len_bits(), 41);
    }

    #[test]
    fn what_follows_a_mark_can_be_taken_back() {
        let mut writer = BitWriter::default();
        writer.put(5, 3);
        let mark = writer.mark();
        for value in 0..100 {
            writer.ue(value);
        }
        writer.rewind(mark);
        assert_eq!(writer.len_bits(), 3);
        writer.put(0x155, 9);
        let mut out = Vec::new();
        writer.finish(0x65, &mut out);
        assert_eq!(out, [0, 0, 0, 1, 0x65, 0b1011_0101, 0b0101_1000]);
    }

    proptest! {
        #[test]
        fn bits_arrive_in_order_and_no_start_code_is_emulated(
            fields in prop::collection::vec((prop_oneof![3 => Just(0u32), 1 => any::<u32>()], 0u32..=32), 0..200)
        ) {
            let mut writer = BitWriter::default();
            let mut expected = String::new();
            for (value, count) in fields {
                let value = (u64::from(value) & ((1u64 << count) - 1)) as u32;
                writer.put(value, count);
                if count > 0 {
                    expected += &format!("{value:0width$b}", width = count as usize);
                }
            }
            let mut out = Vec::new();
            writer.finish(0x41, &mut out);
            let bits: String = payload(&out).iter().map(|byte| format!("{byte:08b}")).collect();
            prop_assert_eq!(bits.rfind('1'), Some(expected.len()));
            prop_assert!(bits.starts_with(&expected));
        }
    }
}
