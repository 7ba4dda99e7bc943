//! Sends the control loop's commands to a shard: they arrive in order, sending never waits, and no loss goes unnoticed.
//!
//! ```text
//! control loop ── send, offer ──▶ Commands [ backlog ] ──▶ queue ──▶ shard
//!                                    └─ overrun(): the session cannot go on
//! ```
//!
//! Commands for which the shard's queue has no room wait in a bounded backlog and follow as soon as there is room. When the
//! backlog is full, the session ends with [`Overrun`] as its reason. The session notices a stuck shard by its missing reports
//! (`session::heartbeat`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use super::Command;
use crate::wake::Wake;

/// Commands in a shard's own queue. Further ones wait in the backlog.
const QUEUE: usize = 1024;
/// The backlog up to which commands on behalf of peers are taken; the peer of a further one is refused.
const BACKLOG_FOR_PEERS: usize = 1024;
/// The backlog up to which the session's own commands are taken: many times what a session sends in
/// ten seconds. A lost command would leave peers in a wrong state for ever, so the session ends instead.
const BACKLOG: usize = 4096;

/// The shard is too far behind for commands on behalf of peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlogged;

/// A command was lost, which nothing would repair: the session cannot go on with this shard.
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
    /// The sender, and the receiver for the shard that `wake` wakes.
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

    /// Sends a command on behalf of a peer.
    ///
    /// # Errors
    /// [`Backlogged`] when the shard is far behind; the peer is to be told.
    pub fn offer(&mut self, command: Command) -> Result<(), Backlogged> {
        if self.backlog.len() >= BACKLOG_FOR_PEERS {
            return Err(Backlogged);
        }
        self.send(command);
        Ok(())
    }

    /// The loss of a command, if there ever was one.
    pub fn overrun(&self) -> Option<Overrun> {
        self.overrun.then_some(Overrun)
    }

    /// Moves commands from the backlog to the queue, as far as there is room.
    pub fn flush(&mut self) {
        let mut passed = false;
        while let Some(command) = self.backlog.pop_front() {
            match self.queue.try_send(command) {
                Ok(()) => passed = true,
                Err(TrySendError::Full(command)) => {
                    self.backlog.push_front(command);
                    break;
                }
                // The shard has ended, which the session notices by its thread.
                Err(TrySendError::Disconnected(_)) => self.backlog.clear(),
            }
        }
        if passed {
            self.wake.wake();
        }
    }

    /// Ends the shard. If it is so stuck that its queue is full, it is not waited for.
    pub fn stop(&mut self) {
        self.backlog.push_back(Command::Stop);
        self.flush();
        if !self.backlog.is_empty() {
            tracing::error!("a shard is stuck: it cannot be told to stop");
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
