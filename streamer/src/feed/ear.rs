//! The sound of a feed on its way to a thread inside the streamer that listens to it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, TrySendError, sync_channel};

use super::{AudioUnit, Demand, Listener};

/// Packets for a thread, with room for `room`, and what puts them there: `woken` is called after each, on the thread that
/// publishes. A packet that does not fit is dropped.
pub fn line(room: usize, woken: impl Fn() + Send + 'static) -> (Listener, Receiver<Arc<AudioUnit>>) {
    let (sender, units) = sync_channel(room);
    let listener = move |unit: &Arc<AudioUnit>| match sender.try_send(Arc::clone(unit)) {
        Ok(()) | Err(TrySendError::Full(_)) => {
            woken();
            true
        }
        Err(TrySendError::Disconnected(_)) => false,
    };
    (Box::new(listener), units)
}

/// Sound of a feed, on its way to a thread. While it lives it counts as a listener, so that the source encodes.
pub struct Ear {
    units: Receiver<Arc<AudioUnit>>,
    demand: Arc<Demand>,
}

impl Ear {
    /// Of the feed that `demand` belongs to, and what is to listen to that; otherwise as [`line()`].
    pub fn new(demand: Arc<Demand>, room: usize, woken: impl Fn() + Send + 'static) -> (Self, Listener) {
        let (listener, units) = line(room, woken);
        demand.add_watcher();
        (Self { units, demand }, listener)
    }

    /// What has come since the last call.
    pub fn take(&self) -> impl Iterator<Item = Arc<AudioUnit>> {
        self.units.try_iter()
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.demand.remove_watcher();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use bytes::Bytes;

    use super::*;

    #[test]
    fn who_listens_is_counted_and_hears_as_much_as_there_is_room_for() {
        let demand = Arc::new(Demand::new().unwrap());
        let (ear, mut listener) = Ear::new(Arc::clone(&demand), 2, || {});
        assert_eq!(demand.watchers(), 1);
        for n in 0..3 {
            let payload = Bytes::copy_from_slice(&[n]);
            assert!(listener(&Arc::new(AudioUnit {
                captured: Instant::now(),
                time: 0,
                marker: false,
                payload
            })));
        }
        assert_eq!(ear.take().map(|unit| unit.payload[0]).collect::<Vec<_>>(), [0, 1]);
        drop(ear);
        let payload = Bytes::new();
        assert!(!listener(&Arc::new(AudioUnit {
            captured: Instant::now(),
            time: 0,
            marker: false,
            payload
        })));
        assert_eq!(demand.watchers(), 0);
    }
}
