//! How long a frame is under way inside of a relay: from the moment at which it was sent whole, to its packets at each peer. Pure.

use anyhow::{Context, Result, ensure};

/// When a frame came, microseconds since 1970: its first packet and its last.
pub type Came = (u64, u64);

/// Of frames that all peers have got, one by one, milliseconds.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Delays {
    /// From the frame sent to its first packet at the last peer.
    pub to_first: Vec<f64>,
    /// From the frame sent to its last packet at the last peer.
    pub to_last: Vec<f64>,
}

/// Matches what was sent (in order, microseconds since 1970) with what each peer has got. No frame may be missing on either side,
/// so that those of a peer are some that were sent in a row: which, most of them tell, as each came before the next was sent.
///
/// # Errors
/// When a peer has got nothing, or frames before they were sent.
pub fn delays(sent: &[u64], peers: &[Vec<Came>]) -> Result<Delays> {
    let offsets = peers.iter().map(|frames| offset(sent, frames)).collect::<Result<Vec<_>>>()?;
    let begin = offsets.iter().max().copied().context("no peers")?;
    let ends = peers.iter().zip(&offsets).map(|(frames, offset)| offset + frames.len());
    let end = ends.min().context("no peers")?.min(sent.len());
    ensure!(begin < end, "no frame that all peers have got");
    let mut delays = Delays::default();
    for (n, at) in sent.iter().enumerate().take(end).skip(begin) {
        let came = || peers.iter().zip(&offsets).map(|(frames, offset)| frames[n - offset]);
        let ms = |last: Option<u64>| last.map_or(0.0, |last| (last as f64 - *at as f64) / 1000.0);
        let first = ms(came().map(|(first, _)| first).max());
        let last = ms(came().map(|(_, last)| last).max());
        ensure!(first > 0.0, "a frame came {first} ms after it was sent");
        delays.to_first.push(first);
        delays.to_last.push(last);
    }
    Ok(delays)
}

/// Which of the frames that were sent is the first one that a peer has got.
fn offset(sent: &[u64], frames: &[Came]) -> Result<usize> {
    let mut offsets: Vec<usize> = (0..frames.len())
        .filter_map(|n| {
            let before = sent.partition_point(|at| *at <= frames[n].0);
            before.checked_sub(1)?.checked_sub(n)
        })
        .collect();
    offsets.sort_unstable();
    offsets.get(offsets.len() / 2).copied().context("a peer has got no frame that was sent")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_that_is_later_than_the_next_one_was_sent_is_taken_for_itself() {
        let sent: Vec<u64> = (0..10).map(|n| 1000 + n * 10_000).collect();
        let came = |late: u64| move |at: &u64| (at + late, at + late + 100);
        let mut slow: Vec<Came> = sent[2..9].iter().map(came(500)).collect();
        slow[3] = (sent[5] + 12_000, sent[5] + 12_100);
        let peers = [sent[1..].iter().map(came(200)).collect(), slow];
        let seen = delays(&sent, &peers).unwrap();
        assert_eq!(seen.to_first, [0.5, 0.5, 0.5, 12.0, 0.5, 0.5, 0.5]);
        assert_eq!(seen.to_last[0], 0.6);
        assert!(delays(&sent, &[Vec::new()]).is_err() && delays(&[], &peers).is_err());
    }
}
