//! Depacketizes RTP: H.264 (RFC 6184) and AAC (RFC 3640). All input comes from outside.
//!
//! `retina` can do this, too, but only for sessions all of whose streams it supports, and it does not support Opus.

use bytes::{Bytes, BytesMut};

use crate::feed::packetize::h264::{FU_A, FU_END, FU_START, STAP_A, TYPE_MASK};
use crate::feed::packetize::nal_units;
use crate::source::live::h264::{MAX_UNIT, is_slice};

/// NAL units of an access unit; real ones have a few dozen.
const MAX_NALS: usize = 1024;

/// One RTP packet of H.264.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    /// Behind the RTP header.
    pub payload: &'a [u8],
    /// RTP timestamp, unwrapped.
    pub ticks: i64,
    /// The last packet of its access unit.
    pub marker: bool,
    /// Packets are missing before it.
    pub loss: bool,
}

/// The NAL units of one access unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nals {
    /// Without start codes, in order.
    pub units: Vec<Bytes>,
    /// RTP time.
    pub ticks: i64,
    /// Something is missing in it or before it.
    pub loss: bool,
}

/// Assembles access units. Some cameras set the marker on parameter sets, or put start codes into packets: both are
/// handled.
#[derive(Debug, Default)]
pub struct H264 {
    nals: Vec<Bytes>,
    bytes: usize,
    /// A NAL unit of which only the first fragments have arrived.
    fragments: Option<BytesMut>,
    ticks: Option<i64>,
    loss: bool,
}

impl H264 {
    /// Takes a packet, and returns the access units that it completes: two when the one before had no marker.
    pub fn push(&mut self, packet: Packet<'_>) -> impl Iterator<Item = Nals> + use<> {
        let ended = self.ticks.is_some_and(|ticks| ticks != packet.ticks).then(|| self.take()).flatten();
        self.ticks = Some(packet.ticks);
        if packet.loss {
            self.loss = true;
            self.fragments = None;
        }
        if self.payload(packet.payload).is_none() || self.bytes > MAX_UNIT || self.nals.len() > MAX_NALS {
            (self.loss, self.bytes) = (true, 0);
            (self.fragments, self.nals) = (None, Vec::new());
        }
        let complete = packet.marker.then(|| self.take()).flatten();
        ended.into_iter().chain(complete)
    }

    /// The collected access unit, if it contains a picture; parameter sets alone belong to the next one.
    fn take(&mut self) -> Option<Nals> {
        self.loss |= self.fragments.take().is_some();
        if !self.nals.iter().any(|nal| is_slice(nal)) {
            return None;
        }
        self.bytes = 0;
        let units = std::mem::take(&mut self.nals);
        Some(Nals { units, ticks: self.ticks.take()?, loss: std::mem::take(&mut self.loss) })
    }

    /// RFC 6184 §5.6 to §5.8. `None` when it is malformed or of a kind that is not sent in packetization mode 1.
    fn payload(&mut self, payload: &[u8]) -> Option<()> {
        let (&header, rest) = payload.split_first()?;
        match header & TYPE_MASK {
            1..=23 => {
                self.nal(payload);
                Some(())
            }
            STAP_A => {
                let mut rest = rest;
                while let Some((len, after)) = rest.split_first_chunk::<2>() {
                    let (nal, after) = after.split_at_checked(u16::from_be_bytes(*len).into())?;
                    self.nal(nal);
                    rest = after;
                }
                Some(())
            }
            FU_A => {
                let (&fragment, data) = rest.split_first()?;
                if fragment & FU_START != 0 {
                    let nal = [header & !TYPE_MASK | fragment & TYPE_MASK];
                    self.fragments = Some(BytesMut::from(&nal[..]));
                }
                // The rest of a unit whose beginning is lost is left out.
                let Some(nal) = &mut self.fragments else { return Some(()) };
                nal.extend_from_slice(data);
                if nal.len() > MAX_UNIT {
                    return None;
                }
                if fragment & FU_END != 0
                    && let Some(nal) = self.fragments.take()
                {
                    self.nal(&nal);
                }
                Some(())
            }
            _ => None,
        }
    }

    fn nal(&mut self, nal: &[u8]) {
        // A NAL unit may be followed by start codes and further ones.
        let cut = nal.windows(3).position(|bytes| bytes == [0, 0, 1]);
        let (first, more) = nal.split_at(cut.unwrap_or(nal.len()));
        self.push_nal(first);
        if cut.is_some() {
            for nal in nal_units(more) {
                self.push_nal(nal);
            }
        }
    }

    fn push_nal(&mut self, nal: &[u8]) {
        let len = nal.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        if len > 0 {
            self.bytes += len;
            self.nals.push(Bytes::copy_from_slice(&nal[..len]));
        }
    }
}

/// The frames in a packet of AAC (RFC 3640 §3.3.6, mode `AAC-hbr`: sizes of 13 bits, indices of 3), as far as they are complete.
/// Malformed ones and fragments are left out.
pub fn aac_frames(payload: &[u8]) -> impl Iterator<Item = &[u8]> {
    let split = |payload: &'_ [u8]| -> Option<(usize, usize)> {
        let bits = u16::from_be_bytes(*payload.first_chunk::<2>()?);
        let headers = usize::from(bits).div_ceil(8);
        (headers.is_multiple_of(2) && payload.len() >= 2 + headers).then_some((2, 2 + headers))
    };
    let (begin, end) = split(payload).unwrap_or((0, 0));
    let headers = &payload[begin..end];
    let mut data = &payload[end..];
    headers.as_chunks::<2>().0.iter().map_while(move |header| {
        let size = usize::from(u16::from_be_bytes(*header) >> 3);
        let (frame, rest) = data.split_at_checked(size)?;
        data = rest;
        Some(frame)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::packetize;
    use proptest::prelude::*;

    fn push(h264: &mut H264, payload: &[u8], ticks: i64, marker: bool) -> Vec<Nals> {
        h264.push(Packet { payload, ticks, marker, loss: false }).collect()
    }

    #[test]
    fn what_is_cut_into_payloads_comes_out_again() {
        let large: Vec<u8> = [0x65].into_iter().chain((0..5000).map(|i| (i % 250 + 1) as u8)).collect();
        let nals: [&[u8]; 4] = [&[0x67, 1, 2, 3], &[0x68, 4, 5], &large, &[0x65, 9]];
        let annex_b: Vec<u8> = nals.iter().flat_map(|nal| [&[0, 0, 0, 1], *nal].concat()).collect();
        let payloads = packetize::h264::payloads(&annex_b);
        let mut h264 = H264::default();
        let (last, before) = payloads.split_last().unwrap();
        for payload in before {
            assert!(push(&mut h264, payload, 7, false).is_empty());
        }
        let units = push(&mut h264, last, 7, true);
        assert_eq!(units.len(), 1);
        assert_eq!((units[0].ticks, units[0].loss), (7, false));
        assert_eq!(units[0].units, nals);
    }

    #[test]
    fn a_marker_on_parameter_sets_and_a_missing_marker_do_no_harm() {
        let mut h264 = H264::default();
        assert!(push(&mut h264, &[0x67, 1], 1, true).is_empty());
        assert!(push(&mut h264, &[0x68, 1], 2, true).is_empty());
        assert!(push(&mut h264, &[0x65, 1], 3, false).is_empty());
        let units = push(&mut h264, &[0x41, 1], 4, true);
        assert_eq!(
            units.iter().map(|unit| (unit.ticks, unit.units.len())).collect::<Vec<_>>(),
            [(3, 3), (4, 1)]
        );
    }

    #[test]
    fn start_codes_within_a_packet_separate_units() {
        let units = push(&mut H264::default(), &[0x67, 1, 0, 0, 0, 1, 0x68, 2, 0, 0, 1, 0x65, 3], 1, true);
        assert_eq!(units[0].units, [&[0x67, 1][..], &[0x68, 2], &[0x65, 3]]);
    }

    #[test]
    fn loss_is_told_and_the_broken_unit_left_out() {
        let mut h264 = H264::default();
        push(&mut h264, &[0x7c, 0x85, 1], 1, false);
        let packet = Packet { payload: &[0x7c, 0x45, 3], ticks: 1, marker: true, loss: true };
        assert_eq!(h264.push(packet).count(), 0);
        let units = push(&mut h264, &[0x41, 1], 2, true);
        assert!(units[0].loss);
        assert!(!push(&mut h264, &[0x41, 1], 3, true)[0].loss);
    }

    #[test]
    fn aac_frames_are_taken_apart() {
        let payload = [0, 32, 0, 2 << 3, 0, 1 << 3, 7, 8, 9];
        assert_eq!(aac_frames(&payload).collect::<Vec<_>>(), [&[7, 8][..], &[9]]);
        let short = [0, 16, 0, 9 << 3, 7];
        assert_eq!(aac_frames(&short).count(), 0);
        assert_eq!(aac_frames(&[0]).count() + aac_frames(&[0xff, 0xff, 1]).count(), 0);
    }

    proptest! {
        #[test]
        fn anything_is_taken(
            packets in proptest::collection::vec(
                (
                    prop_oneof![Just(0x65u8), Just(0x67), Just(0x7c), Just(0x78), any::<u8>()],
                    proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(0x85), any::<u8>()], 0..40),
                    0i64..4,
                    any::<bool>(),
                    any::<bool>(),
                ),
                0..40,
            )
        ) {
            let mut h264 = H264::default();
            for (first, mut payload, ticks, marker, loss) in packets {
                payload.insert(0, first);
                for unit in h264.push(Packet { payload: &payload, ticks, marker, loss }) {
                    prop_assert!(unit.units.iter().all(|nal| !nal.is_empty()));
                    prop_assert!(unit.units.iter().any(|nal| is_slice(nal)));
                }
                for frame in aac_frames(&payload) {
                    assert!(frame.len() <= payload.len());
                }
            }
        }
    }
}
