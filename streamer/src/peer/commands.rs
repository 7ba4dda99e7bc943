//! The control loop's way to a shard: commands arrive in their order, sending never waits, and none is lost in silence.
//!
//! ```text
//! control loop ── send, offer ──▶ Commands [ backlog ] ──▶ queue ──▶ shard
//!                                    └─ overrun(): the session cannot go on
//! ```
//!
//! What the shard's queue has no room for waits here, up to a bound, and follows as soon as there is room. When there is
//! no room for a command, the session ends with [`Overrun`] for its reason. A shard that is stuck is known by its
//! silence, to the session (`session::heartbeat`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use super::Command;
use crate::wake::Wake;

/// Commands in a shard's own queue. What it has no room for waits in the backlog.
const QUEUE: usize = 1024;
/// The backlog up to which what peers say is taken; more is refused to the peer that says it.
const BACKLOG_FOR_PEERS: usize = 1024;
/// The backlog up to which the session's own commands are taken: many times what a session has to say in
/// ten seconds. When there is no room for one, peers would miss it for ever: the session ends.
const BACKLOG: usize = 4096;

/// The shard is too far behind for what peers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy;

/// A command was lost, and peers would miss it for ever: the session cannot go on with this shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is too far behind: a command for it found no room after {BACKLOG} others")]
pub struct Overrun;

/// Sends commands to one shard.
pub struct Commands {
    queue: SyncSender<Command>,
    wake: Arc<Wake>,
    backlog: VecDeque<Command>,
    /// A command was lost.
    overrun: bool,
}

impl Commands {
    /// The way to the shard that reads the receiver, and is woken by `wake`.
    pub fn new(wake: Arc<Wake>) -> (Self, Receiver<Command>) {
        let (queue, receiver) = sync_channel(QUEUE);
        (Self { queue, wake, backlog: VecDeque::new(), overrun: false }, receiver)
    }

    /// Sends a command of the session's. Ignored once the shard has ended.
    pub fn send(&mut self, command: Command) {
        if self.backlog.len() < BACKLOG {
            self.backlog.push_back(command);
            self.flush();
        } else {
            self.overrun = true;
        }
    }

    /// Sends what a peer wants.
    ///
    /// # Errors
    /// [`Busy`] when the shard is far behind; the peer is to be told.
    pub fn offer(&mut self, command: Command) -> Result<(), Busy> {
        if self.backlog.len() >= BACKLOG_FOR_PEERS {
            return Err(Busy);
        }
        self.send(command);
        Ok(())
    }

    /// Whether a command was lost. It stays so.
    pub fn overrun(&self) -> Option<Overrun> {
        self.overrun.then_some(Overrun)
    }

    /// Passes on what waits, as far as there is room.
    pub fn flush(&mut self) {
        let mut passed = false;
        while let Some(command) = self.backlog.pop_front() {
            match self.queue.try_send(command) {
                Ok(()) => passed = true,
                Err(TrySendError::Full(command)) => {
                    self.backlog.push_front(command);
                    break;
                }
                // It has ended; that a session notices by its thread.
                Err(TrySendError::Disconnected(_)) => self.backlog.clear(),
            }
        }
        if passed {
            self.wake.wake();
        }
    }

    /// Ends the shard. One so stuck that its queue is full is left behind.
    pub fn stop(&mut self) {
        self.backlog.push_back(Command::Stop);
        self.flush();
        if !self.backlog.is_empty() {
            tracing::error!("a shard is stuck: it is not told to stop");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::id::PeerId;

    fn commands() -> (Commands, Receiver<Command>) {
        Commands::new(Arc::new(Wake::new().unwrap()))
    }

    fn said(n: usize) -> Command {
        Command::Remove { peer: PeerId::unique(), reason: n.to_string() }
    }

    fn number(command: &Command) -> usize {
        match command {
            Command::Remove { reason, .. } => reason.parse().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_finds_no_room_waits_in_its_order() {
        let (mut commands, shard) = commands();
        let all = QUEUE + 500;
        for n in 0..all {
            commands.send(said(n));
        }
        let mut heard: Vec<_> = shard.try_iter().map(|command| number(&command)).collect();
        assert_eq!(heard.len(), QUEUE);
        commands.send(said(all));
        heard.extend(shard.try_iter().map(|command| number(&command)));
        assert_eq!(heard, (0..=all).collect::<Vec<_>>());
        assert_eq!(commands.overrun(), None);
    }

    #[test]
    fn peers_are_refused_before_the_session_is_and_then_it_must_end() {
        let (mut commands, shard) = commands();
        let taken = (0..).take_while(|n| commands.offer(said(*n)).is_ok()).count();
        assert_eq!(taken, QUEUE + BACKLOG_FOR_PEERS);
        for n in taken..QUEUE + BACKLOG {
            commands.send(said(n));
        }
        assert_eq!(commands.overrun(), None);
        commands.send(said(0));
        assert_eq!(commands.overrun(), Some(Overrun));
        drop(shard);
        commands.flush();
        assert!(commands.backlog.is_empty(), "nothing is kept for a shard that has ended");
    }
}
