//! Texts, and what waits for them.
//!
//! A character that no key has takes milliseconds to type, and a text may have thousands. So texts are typed in short
//! slices, and between two of them everybody else's input is carried out. What an actor itself asks for
//! while a text of its own is being typed waits in its [`Lane`], in order. Pure: [`super::Router`] carries out.
//!
//! ```text
//!           has a text?       Lanes (one per actor with a text)
//! event ──┬── yes ─────────▶ [ text ▪ key ▪ commands ]  one step of one lane per turn, in rotation
//!         ├── its actor has a lane ──▶ (behind)
//!         └── no ──▶ at once
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use common::id::SlotIndex;
use common::input::{Actor, InputCommand, KeysMessage};
use tokio::sync::oneshot;

use super::CommandError;
use super::sink;

/// Characters that are typed at once. Those that need a spare keycode take about two milliseconds each, more on a busy
/// machine: so long others wait.
const SLICE: usize = 8;
/// Jobs of one actor that wait for its texts; more are refused.
const MAX_WAITING: usize = 256;

/// Something that an actor asks for.
#[derive(Debug)]
pub enum Job {
    /// A message of a peer.
    Keys(KeysMessage),
    /// Commands of a program.
    Commands(Batch),
    /// The actor has left: the last that comes of it.
    Forget,
}

impl Job {
    /// Has a text in it.
    fn has_text(&self) -> bool {
        match self {
            Job::Keys(message) => matches!(message, KeysMessage::Text { .. }),
            Job::Commands(batch) => {
                batch.commands.iter().any(|command| matches!(command, InputCommand::Text { .. }))
            }
            Job::Forget => false,
        }
    }
}

/// Commands of a program, as far as they have not been carried out.
#[derive(Debug)]
pub struct Batch {
    /// For what this slot shows.
    pub slot: SlotIndex,
    commands: VecDeque<InputCommand>,
    /// Commands taken so far.
    taken: usize,
    done: oneshot::Sender<Result<(), CommandError>>,
}

impl Batch {
    /// Commands, and who waits for their outcome.
    pub fn new(
        slot: SlotIndex,
        commands: Vec<InputCommand>,
        done: oneshot::Sender<Result<(), CommandError>>,
    ) -> Self {
        Self { slot, commands: commands.into(), taken: 0, done }
    }

    /// The next command.
    pub fn next(&mut self) -> Option<InputCommand> {
        let command = self.commands.pop_front()?;
        self.taken += 1;
        Some(command)
    }

    /// Tells the outcome.
    pub fn finish(self, result: Result<(), CommandError>) {
        // Whoever has stopped waiting does not miss it.
        let _ = self.done.send(result);
    }

    /// The sink refused the command that was taken last; those after it are not carried out.
    pub fn fail(self, error: sink::Error) {
        let index = self.taken.saturating_sub(1);
        self.finish(Err(CommandError::Sink { index, error }));
    }
}

/// A text that is being typed.
#[derive(Debug)]
pub struct Typing {
    /// In what this slot shows.
    pub slot: SlotIndex,
    text: String,
    /// Bytes that have been typed.
    typed: usize,
    missing: Option<sink::Error>,
}

impl Typing {
    /// A text that is to be typed.
    pub fn new(slot: SlotIndex, text: String) -> Self {
        Self { slot, text, typed: 0, missing: None }
    }

    /// What is to be typed next.
    pub fn slice(&self) -> &str {
        let rest = &self.text[self.typed..];
        let end = rest.char_indices().nth(SLICE).map_or(rest.len(), |(at, _)| at);
        // A line end of Windows is one key.
        let line_end = rest[..end].ends_with('\r') && rest[end..].starts_with('\n');
        &rest[..end + usize::from(line_end)]
    }

    /// The slice has been typed, or not. The outcome, when that was all: what cannot be typed is left out and told at
    /// the end.
    pub fn typed(&mut self, result: Result<(), sink::Error>) -> Option<Result<(), sink::Error>> {
        self.typed += self.slice().len();
        match result {
            Err(error @ (sink::Error::Gone(_) | sink::Error::NoSuchWindow(_))) => return Some(Err(error)),
            Err(error @ sink::Error::NoSuchKey(_)) => self.missing = Some(error),
            Ok(()) => {}
        }
        (self.typed == self.text.len()).then(|| self.missing.take().map_or(Ok(()), Err))
    }
}

/// What one actor still has to have carried out: the text, then the commands that it was one of, then the jobs.
#[derive(Debug, Default)]
pub struct Lane {
    /// A text that has been begun.
    pub typing: Option<Typing>,
    /// Commands that have been begun.
    pub batch: Option<Batch>,
    jobs: VecDeque<Job>,
    /// That something was refused has been told.
    told: bool,
}

impl Lane {
    /// A lane with one job.
    pub fn of(job: Job) -> Self {
        Self { jobs: [job].into(), ..Self::default() }
    }

    /// The next job.
    pub fn next_job(&mut self) -> Option<Job> {
        self.jobs.pop_front()
    }

    /// Nothing is left.
    pub fn is_empty(&self) -> bool {
        self.typing.is_none() && self.batch.is_none() && self.jobs.is_empty()
    }
}

/// What becomes of a job.
#[derive(Debug)]
pub enum Admission {
    /// It is for the caller, now.
    Now(Job),
    /// It waits in its actor's lane.
    Waits,
    /// Too many wait already.
    Refused {
        /// What is not carried out.
        job: Job,
        /// The actor has not been told yet.
        first: bool,
    },
}

/// The lanes of all actors that have texts to be typed.
#[derive(Debug, Default)]
pub struct Lanes {
    lanes: BTreeMap<Actor, Lane>,
    /// Whose turn it was last.
    last: Option<Actor>,
}

impl Lanes {
    /// Decides what becomes of a job.
    pub fn admit(&mut self, actor: Actor, job: Job) -> Admission {
        let Some(lane) = self.lanes.get_mut(&actor) else {
            if !job.has_text() {
                return Admission::Now(job);
            }
            self.lanes.insert(actor, Lane::of(job));
            return Admission::Waits;
        };
        if lane.jobs.len() >= MAX_WAITING && !matches!(job, Job::Forget) {
            let first = !std::mem::replace(&mut lane.told, true);
            return Admission::Refused { job, first };
        }
        lane.jobs.push_back(job);
        Admission::Waits
    }

    /// Takes out the lane whose turn it is; [`Lanes::put_back`] follows.
    pub fn take(&mut self) -> Option<(Actor, Lane)> {
        let after = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.lanes.range((after, Bound::Unbounded)).next().or(self.lanes.iter().next());
        let actor = *next?.0;
        self.last = Some(actor);
        self.lanes.remove_entry(&actor)
    }

    /// Puts back what is left of a lane.
    pub fn put_back(&mut self, actor: Actor, lane: Lane) {
        if !lane.is_empty() {
            self.lanes.insert(actor, lane);
        }
    }

    /// An actor may not steer any more: what it waits for is not carried out.
    pub fn remove(&mut self, actor: Actor) {
        self.lanes.remove(&actor);
    }

    /// Nobody has a text to be typed.
    pub fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_keys_and_nothing_of_it_is_lost() {
        for text in ["", "short", "1234567\r\n9 12345\r\n", &"漢😀é\n".repeat(9), "12345678"] {
            let mut typing = Typing::new(0, text.to_owned());
            let mut slices = vec![typing.slice().to_owned()];
            while typing.typed(Ok(())).is_none() {
                slices.push(typing.slice().to_owned());
            }
            assert_eq!(slices.concat(), text);
            assert!(slices.iter().all(|slice| slice.chars().count() <= SLICE + 1), "{slices:?}");
            assert!(
                slices.iter().all(|slice| !slice.starts_with('\n') || !text.contains('\r')),
                "{slices:?}"
            );
        }
    }

    #[test]
    fn what_cannot_be_typed_is_told_at_the_end_and_a_dead_sink_at_once() {
        let mut typing = Typing::new(0, "x".repeat(2 * SLICE));
        assert!(typing.typed(Err(sink::Error::NoSuchKey("x".into()))).is_none());
        assert!(matches!(typing.typed(Ok(())), Some(Err(sink::Error::NoSuchKey(_)))));
        let mut typing = Typing::new(0, "x".repeat(2 * SLICE));
        assert!(matches!(typing.typed(Err(sink::Error::Gone("dead".into()))), Some(Err(_))));
    }

    #[test]
    fn lanes_take_turns_and_are_bounded() {
        let text = || Job::Keys(KeysMessage::Text { slot: 0, text: "text".into() });
        let (a, b) = (Actor::Peer(common::id::PeerId::unique()), Actor::Api);
        let mut lanes = Lanes::default();
        assert!(matches!(lanes.admit(a, Job::Keys(KeysMessage::Blur)), Admission::Now(_)));
        for actor in [a, b] {
            for _ in 0..MAX_WAITING {
                assert!(matches!(lanes.admit(actor, text()), Admission::Waits));
            }
        }
        let key = || Job::Keys(KeysMessage::Blur);
        assert!(matches!(lanes.admit(a, key()), Admission::Refused { first: true, .. }));
        assert!(matches!(lanes.admit(a, key()), Admission::Refused { first: false, .. }));
        assert!(matches!(lanes.admit(a, Job::Forget), Admission::Waits));
        let mut turns = Vec::new();
        while let Some((actor, mut lane)) = lanes.take() {
            turns.push(actor);
            lane.next_job();
            lanes.put_back(actor, lane);
        }
        assert_eq!(turns.len(), 2 * MAX_WAITING + 1);
        assert!(turns.windows(2).take(2 * MAX_WAITING - 1).all(|pair| pair[0] != pair[1]));
    }
}
