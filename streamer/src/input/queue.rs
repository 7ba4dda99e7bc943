//! The queue of the input thread. Nobody who puts something in waits, and the order is kept.
//!
//! What can be left out is refused when [`MOST_OFFERED`] events wait; what must not be lost has room beyond that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

/// Events of peers on their way to the input thread: a second of several fast mice. When so many wait, motion is left
/// out (the next one makes it good) and keys are refused to their peer, whose snapshot repairs what is held.
const MOST_OFFERED: usize = 4096;
/// Room for what must not be lost: what slots show, and who has left. It lasts for minutes of a session in which
/// everybody comes, switches and goes. When it is full, the thread is given up ([`Sender::has_lost`]).
const RESERVED: usize = 4096;

/// Puts in.
pub struct Sender<T> {
    events: SyncSender<T>,
    shared: Arc<Shared>,
}

/// Takes out.
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
    /// Puts in what can be left out.
    ///
    /// # Errors
    /// The event, when the queue is full, or nobody takes out any more.
    pub fn offer(&self, event: T) -> Result<(), T> {
        if self.shared.waiting.load(Ordering::Relaxed) >= MOST_OFFERED {
            return Err(event);
        }
        self.put(event).map_err(|error| match error {
            TrySendError::Full(event) | TrySendError::Disconnected(event) => event,
        })
    }

    /// Puts in what must not be lost.
    pub fn insist(&self, event: T) {
        // Once nobody takes out any more there is nobody who must know.
        if let Err(TrySendError::Full(_)) = self.put(event) {
            self.shared.lost.store(true, Ordering::Relaxed);
        }
    }

    /// Whether something that must not be lost was.
    pub fn has_lost(&self) -> bool {
        self.shared.lost.load(Ordering::Relaxed)
    }

    fn put(&self, event: T) -> Result<(), TrySendError<T>> {
        // Before it can be taken out, or the count would fall below zero.
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
    /// When that has passed, or when nobody can put anything in any more and all has been taken out.
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
