//! Opus packets from other encoders.

/// Longest packet in ticks of 48 kHz: 120 ms (RFC 6716 §3.2.5).
const MAX_TICKS: u32 = 5760;
/// Longest packet that is passed through, in bytes: it must fit into a datagram. Real ones have a few hundred.
const MAX_LEN: usize = 1152;

/// Duration of a packet, in ticks of 48 kHz (RFC 6716 §3.1). `None` when it is no Opus packet, or too long
/// for a datagram.
pub fn ticks(packet: &[u8]) -> Option<u32> {
    if packet.len() > MAX_LEN {
        return None;
    }
    let (toc, rest) = packet.split_first()?;
    let frame = match toc >> 3 {
        config @ 0..=11 => [480, 960, 1920, 2880][usize::from(config % 4)],
        config @ 12..=15 => [480, 960][usize::from(config % 2)],
        config => [120, 240, 480, 960][usize::from(config % 4)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(rest.first()? & 0x3f),
    };
    Some(frame * frames).filter(|ticks| (1..=MAX_TICKS).contains(ticks))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_length_of_a_packet_is_read_from_its_first_byte() {
        // The configuration, then the code of the number of frames.
        let toc = |config: u8, code: u8| [config << 3 | code, 3, 0];
        assert_eq!(ticks(&toc(31, 0)), Some(960));
        assert_eq!(ticks(&toc(30, 0)), Some(480));
        assert_eq!(ticks(&toc(16, 1)), Some(240));
        assert_eq!(ticks(&toc(3, 0)), Some(2880));
        assert_eq!(ticks(&toc(13, 2)), Some(1920));
        assert_eq!(ticks(&toc(31, 3)), Some(2880));
        assert_eq!(ticks(&[3 << 3 | 3, 3]), None, "180 ms");
        assert_eq!(ticks(&[31 << 3 | 3]), None);
        assert_eq!(ticks(&[]), None);
        assert_eq!(ticks(&[0; 1153]), None);
    }

    proptest! {
        #[test]
        fn anything_is_read(packet in proptest::collection::vec(any::<u8>(), 0..20)) {
            prop_assert!(ticks(&packet).is_none_or(|ticks| ticks > 0));
        }

        #[test]
        fn libopus_agrees(packet in proptest::collection::vec(any::<u8>(), 2..20)) {
            let theirs = opus::packet::get_nb_samples(&packet, 48_000).ok();
            prop_assert_eq!(ticks(&packet), theirs.map(|samples| samples as u32).filter(|ticks| *ticks > 0));
        }
    }
}
