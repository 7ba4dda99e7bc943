//! The queue of the input thread. Senders never wait, and the order is kept.
//!
//! Droppable events are refused when [`MOST_OFFERED`] events wait; events that must not be lost have room beyond that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

/// Queued events of peers: a second of several fast mice. When this many wait, motion is dropped
/// (the next one repairs it) and keys are refused to their peer, whose next snapshot repairs what is held.
const MOST_OFFERED: usize = 4096;
/// Room for events that must not be lost: what slots show, and who has left. It is enough for minutes of a session in which
/// everybody joins, switches and leaves. When it is full, the thread is given up ([`Sender::has_lost`]).
const RESERVED: usize = 4096;

/// The sending end.
pub struct Sender<T> {
    events: SyncSender<T>,
    shared: Arc<Shared>,
}

/// The receiving end.
pub struct Inbox<T> {
    events: Receiver<T>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Events in the queue, or about to be.
    waiting: AtomicUsize,
    lost: AtomicBool,
}

/// An empty queue.
pub fn queue<T>() -> (Sender<T>, Inbox<T>) {
    let (sender, receiver) = sync_channel(MOST_OFFERED + RESERVED);
    let shared = Arc::<Shared>::default();
    (Sender { events: sender, shared: Arc::clone(&shared) }, Inbox { events: receiver, shared })
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { events: self.events.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<T> Sender<T> {
    /// Queues a droppable event.
    ///
    /// # Errors
    /// Returns the event when the queue is full, or the receiver is gone.
    pub fn offer(&self, event: T) -> Result<(), T> {
        if self.shared.waiting.load(Ordering::Relaxed) >= MOST_OFFERED {
            return Err(event);
        }
        self.put(event).map_err(|error| match error {
            TrySendError::Full(event) | TrySendError::Disconnected(event) => event,
        })
    }

    /// Queues an event that must not be lost.
    pub fn insist(&self, event: T) {
        // If the receiver is gone, nobody needs the event.
        if let Err(TrySendError::Full(_)) = self.put(event) {
            self.shared.lost.store(true, Ordering::Relaxed);
        }
    }

    /// Whether an event that must not be lost was lost.
    pub fn has_lost(&self) -> bool {
        self.shared.lost.load(Ordering::Relaxed)
    }

    fn put(&self, event: T) -> Result<(), TrySendError<T>> {
        // Before the event can be received, or the count would fall below zero.
        self.shared.waiting.fetch_add(1, Ordering::Relaxed);
        self.events.try_send(event).inspect_err(|_| {
            self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
        })
    }
}

impl<T> Inbox<T> {
    /// The next event; waits for it, until `timeout` has passed if there is one.
    ///
    /// # Errors
    /// The timeout has passed, or all senders are gone and the queue is empty.
    pub fn next(&self, timeout: Option<Duration>) -> Result<T, RecvTimeoutError> {
        let event = match timeout {
            None => self.events.recv().map_err(|_| RecvTimeoutError::Disconnected)?,
            Some(timeout) => self.events.recv_timeout(timeout)?,
        };
        self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
        Ok(event)
    }

    /// The next event, if there is one.
    pub fn next_if_any(&self) -> Option<T> {
        let event = self.events.try_recv().ok()?;
        self.shared.waiting.fetch_sub(1, Ordering::Relaxed);
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_not_be_lost_has_room_of_its_own_and_the_order_is_kept() {
        let (sender, inbox) = queue();
        let mut offered = 0;
        while sender.offer(offered).is_ok() {
            offered += 1;
        }
        assert_eq!(offered, MOST_OFFERED);
        for n in 0..RESERVED {
            sender.insist(offered + n);
        }
        assert!(!sender.has_lost());
        sender.insist(0);
        assert!(sender.has_lost(), "and that is known");
        for n in 0..=RESERVED {
            assert_eq!(sender.offer(0), Err(0), "{n} taken out");
            assert_eq!(inbox.next(None), Ok(n));
        }
        assert_eq!(sender.offer(1), Ok(()), "there is room again");
    }
}
