//! The control loop's way to a shard: commands arrive in their order, sending never waits, and none is lost in silence.
//!
//! ```text
//! control loop ── send, offer ──▶ Commands [ backlog ] ──▶ queue ──▶ shard
//!                                    └─ trouble(): the session cannot go on
//! ```
//!
//! What the shard's queue has no room for waits here, up to a bound, and follows as soon as there is room. A shard that is
//! stuck is known by its silence: each second it is asked for its counters, in the same queue. Its peers see
//! nothing any more and a thread cannot be replaced, so the session ends with [`Trouble`] for its reason, and whoever
//! supervises it sees which shard it was.

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
/// A shard that has been asked so often, once a second, and has not answered is stuck: its longest work, a join, takes
/// milliseconds. Counted in questions and not in time, as time passes for a process that is halted, too.
const MAX_UNANSWERED: u32 = 10;

/// The shard is too far behind for what peers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy;

/// Why a session cannot go on with a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// It does not answer.
    #[error("it is stuck and has not answered for {MAX_UNANSWERED} s")]
    Stuck,
    /// A command found no room.
    #[error("it is too far behind: a command for it found no room after {BACKLOG} others")]
    Overrun,
}

/// Sends commands to one shard.
pub struct Commands {
    queue: SyncSender<Command>,
    wake: Arc<Wake>,
    backlog: VecDeque<Command>,
    /// A command was lost.
    overrun: bool,
    /// How often it has been asked for its counters since its last answer.
    unanswered: u32,
}

impl Commands {
    /// The way to the shard that reads the receiver, and is woken by `wake`.
    pub fn new(wake: Arc<Wake>) -> (Self, Receiver<Command>) {
        let (queue, receiver) = sync_channel(QUEUE);
        (Self { queue, wake, backlog: VecDeque::new(), overrun: false, unanswered: 0 }, receiver)
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

    /// Asks for [`super::Report::Stats`]. Each second.
    pub fn ask_stats(&mut self) {
        self.unanswered += 1;
        self.send(Command::Stats);
    }

    /// It has answered.
    pub fn answered(&mut self) {
        self.unanswered = 0;
    }

    /// It has been asked and has not answered yet.
    pub fn owes_answer(&self) -> bool {
        self.unanswered > 0
    }

    /// Why the session must end, if it must.
    pub fn trouble(&self) -> Option<Trouble> {
        let stuck = (self.unanswered >= MAX_UNANSWERED).then_some(Trouble::Stuck);
        stuck.or(self.overrun.then_some(Trouble::Overrun))
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
        assert_eq!(commands.trouble(), None);
    }

    #[test]
    fn peers_are_refused_before_the_session_is_and_then_it_must_end() {
        let (mut commands, shard) = commands();
        let taken = (0..).take_while(|n| commands.offer(said(*n)).is_ok()).count();
        assert_eq!(taken, QUEUE + BACKLOG_FOR_PEERS);
        for n in taken..QUEUE + BACKLOG {
            commands.send(said(n));
        }
        assert_eq!(commands.trouble(), None);
        commands.send(said(0));
        assert_eq!(commands.trouble(), Some(Trouble::Overrun));
        drop(shard);
        commands.flush();
        assert!(commands.backlog.is_empty(), "nothing is kept for a shard that has ended");
    }

    #[test]
    fn a_shard_is_stuck_when_it_has_been_asked_too_often_without_an_answer() {
        let (mut commands, _shard) = commands();
        for _ in 0..2 {
            for _ in 0..MAX_UNANSWERED {
                assert_eq!(commands.trouble(), None);
                commands.ask_stats();
            }
            assert_eq!(commands.trouble(), Some(Trouble::Stuck));
            commands.answered();
        }
    }
}
