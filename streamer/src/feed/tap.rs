//! Access units of a feed for a reader inside the streamer: a source that re-encodes another one.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use super::Demand;
use crate::media::AccessUnit;

/// Units queued for the reader: two seconds' worth. When it is further behind, units are dropped up to the next keyframe.
const QUEUE: usize = 60;

/// The reader's end. While it lives it counts as a viewer of the feed, so that the source encodes.
pub struct Tap {
    units: Receiver<AccessUnit>,
    demand: Arc<Demand>,
}

/// The feed's end.
pub struct TapSender {
    units: SyncSender<AccessUnit>,
    /// A unit was dropped: nothing can be decoded before the next keyframe.
    waits: bool,
    demand: Arc<Demand>,
}

/// A tap of the feed that `demand` belongs to. It needs a keyframe, to be asked for when the feed has its sender: one that is made before
/// never comes to it, and of a picture that stands still there is no other.
pub fn tap(demand: Arc<Demand>) -> (TapSender, Tap) {
    let (sender, units) = sync_channel(QUEUE);
    demand.add_watcher();
    (TapSender { units: sender, waits: true, demand: Arc::clone(&demand) }, Tap { units, demand })
}

impl TapSender {
    /// Passes a unit on, if there is room. False when nobody reads any more.
    pub fn send(&mut self, unit: &AccessUnit) -> bool {
        if self.waits && !unit.keyframe {
            return true;
        }
        match self.units.try_send(unit.clone()) {
            Ok(()) => self.waits = false,
            Err(TrySendError::Full(_)) => {
                self.waits = true;
                self.demand.ask_keyframe();
            }
            Err(TrySendError::Disconnected(_)) => return false,
        }
        true
    }
}

/// The result of reading a tap.
#[derive(Debug)]
pub enum Tapped {
    /// A unit; the first one, and the first after dropped ones, is a keyframe.
    Unit(AccessUnit),
    /// None came in time.
    Nothing,
    /// The feed has ended.
    End,
}

impl Tap {
    /// Requests a keyframe: the reader has lost its place.
    pub fn ask_keyframe(&self) {
        self.demand.ask_keyframe();
    }

    /// The next unit; waits for `patience` at most.
    pub fn next(&self, patience: Duration) -> Tapped {
        match self.units.recv_timeout(patience) {
            Ok(unit) => Tapped::Unit(unit),
            Err(RecvTimeoutError::Timeout) => Tapped::Nothing,
            Err(RecvTimeoutError::Disconnected) => Tapped::End,
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.demand.remove_watcher();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(keyframe: bool) -> AccessUnit {
        AccessUnit::sample(&[0, 0, 1, 0x65], keyframe)
    }

    #[test]
    fn a_reader_that_is_behind_goes_on_with_a_keyframe() {
        let demand = Arc::new(Demand::new().unwrap());
        let (mut sender, tap) = tap(Arc::clone(&demand));
        assert_eq!(demand.watchers(), 1);
        assert!(sender.send(&unit(false)), "nothing can be decoded before a keyframe");
        assert!(matches!(tap.next(Duration::ZERO), Tapped::Nothing));
        for n in 0..=QUEUE {
            assert!(sender.send(&unit(n == 0)));
        }
        assert!(demand.take_keyframe());
        let first: Vec<_> = std::iter::from_fn(|| match tap.next(Duration::ZERO) {
            Tapped::Unit(unit) => Some(unit.keyframe),
            _ => None,
        })
        .collect();
        assert_eq!((first.len(), first[0]), (QUEUE, true));
        sender.send(&unit(false));
        sender.send(&unit(true));
        assert!(matches!(tap.next(Duration::ZERO), Tapped::Unit(unit) if unit.keyframe));
        drop(tap);
        assert!(!sender.send(&unit(true)));
        assert_eq!(demand.watchers(), 0);
    }
}
