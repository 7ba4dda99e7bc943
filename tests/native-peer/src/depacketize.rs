//! From RTP payloads back to access units (RFC 6184), of packets that arrive in order.

use bytes::Bytes;

use crate::Unit;

const STAP_A: u8 = 24;
const FU_A: u8 = 28;
const FU_START: u8 = 0x80;
const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// One stream. A unit with a packet missing is left out.
#[derive(Default)]
pub struct Depacketizer {
    next_sequence: Option<u16>,
    rtp_time: u32,
    data: Vec<u8>,
    broken: bool,
}

impl Depacketizer {
    /// Takes a packet; returns the unit that it completes.
    pub fn push(&mut self, header: &rtc::rtp::Header, payload: &[u8]) -> Option<Unit> {
        let follows = self.next_sequence.is_none_or(|next| next == header.sequence_number);
        self.next_sequence = Some(header.sequence_number.wrapping_add(1));
        if header.timestamp != self.rtp_time {
            self.rtp_time = header.timestamp;
            self.data.clear();
            self.broken = false;
        }
        self.broken |= !follows;
        self.take(payload);
        if !header.marker {
            return None;
        }
        let data = Bytes::from(std::mem::take(&mut self.data));
        let whole = !std::mem::take(&mut self.broken) && !data.is_empty();
        whole.then_some(Unit { ssrc: header.ssrc, rtp_time: header.timestamp, data })
    }

    fn take(&mut self, payload: &[u8]) {
        let Some((&first, rest)) = payload.split_first() else { return };
        match first & 0x1f {
            STAP_A => {
                let mut rest = rest;
                while let Some((len, tail)) = rest.split_at_checked(2) {
                    let len = usize::from(u16::from_be_bytes([len[0], len[1]]));
                    let Some((nal, tail)) = tail.split_at_checked(len) else { return };
                    self.data.extend_from_slice(&START_CODE);
                    self.data.extend_from_slice(nal);
                    rest = tail;
                }
            }
            FU_A => {
                let Some((&header, body)) = rest.split_first() else { return };
                // In the middle of a unit when nothing came before: its beginning was lost.
                self.broken |= header & FU_START == 0 && self.data.is_empty();
                if header & FU_START != 0 {
                    self.data.extend_from_slice(&START_CODE);
                    self.data.push(first & 0xe0 | header & 0x1f);
                }
                self.data.extend_from_slice(body);
            }
            _ => {
                self.data.extend_from_slice(&START_CODE);
                self.data.extend_from_slice(payload);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(depacketizer: &mut Depacketizer, sequence: u16, marker: bool, payload: &[u8]) -> Option<Bytes> {
        let header =
            rtc::rtp::Header { sequence_number: sequence, timestamp: 7, marker, ..Default::default() };
        depacketizer.push(&header, payload).map(|unit| unit.data)
    }

    #[test]
    fn aggregates_fragments_and_single_units_become_one_access_unit() {
        let mut stream = Depacketizer::default();
        assert_eq!(push(&mut stream, 9, false, &[24, 0, 1, 0x67, 0, 2, 0x68, 5]), None);
        assert_eq!(push(&mut stream, 10, false, &[0x7c, 0x85, 1, 2]), None);
        assert_eq!(push(&mut stream, 11, false, &[0x7c, 0x45, 3]), None);
        let unit = push(&mut stream, 12, true, &[0x41, 9]).unwrap();
        assert_eq!(
            unit[..],
            [0, 0, 0, 1, 0x67, 0, 0, 0, 1, 0x68, 5, 0, 0, 0, 1, 0x65, 1, 2, 3, 0, 0, 0, 1, 0x41, 9]
        );
    }

    #[test]
    fn a_unit_without_its_beginning_is_left_out() {
        let mut stream = Depacketizer::default();
        assert_eq!(push(&mut stream, 1, true, &[0x7c, 0x45, 3]), None);
        assert!(push(&mut stream, 2, true, &[0x41, 3]).is_some());
    }

    #[test]
    fn a_unit_with_a_hole_is_left_out_and_the_next_one_is_not() {
        let mut stream = Depacketizer::default();
        assert_eq!(push(&mut stream, 1, false, &[0x41, 1]), None);
        assert_eq!(push(&mut stream, 3, true, &[0x41, 2]), None);
        assert!(push(&mut stream, 4, true, &[0x41, 3]).is_some());
    }
}
