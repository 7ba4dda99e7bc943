//! Texts that are being typed, and input that waits for them.
//!
//! A character that no key has takes milliseconds to type, and a text may have thousands. So texts are typed in short
//! slices, and between two of them everybody else's input is carried out. Further input of an actor
//! whose own text is being typed waits in its [`Lane`], in order. So do commands after a wait: the lane
//! is paused until then. Pure: [`super::Router`] carries out.
//!
//! ```text
//!           takes time?       Lanes (one per actor with a text, a wait or a drag)
//! event ──┬── yes ─────────▶ [ text ▪ key ▪ commands ]  one step of one lane per turn, in rotation
//!         ├── its actor has a lane ──▶ (behind)
//!         └── no ──▶ at once
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use common::id::SlotIndex;
use common::input::{Actor, Button, DEFAULT_HOLD_MS, InputCommand, KeyAction, KeysMessage, Position};
use tokio::sync::oneshot;

use super::CommandError;
use super::sink;

/// Characters of a slice. Those that need a spare keycode take about two milliseconds each, more on a busy
/// machine, and others wait that long.
const SLICE: usize = 8;
/// Most jobs of one actor that wait for its texts; further ones are refused.
const MAX_WAITING: usize = 256;

/// A pointer that is dragged is moved this often: once per picture of a program that draws 60 of them a second.
const DRAG_STEP_MS: u32 = 16;
/// Most positions between the ends of a drag, however long it takes.
const MOST_DRAG_STEPS: u32 = 64;

/// A job of an actor.
#[derive(Debug)]
pub enum Job {
    /// A message of a peer.
    Keys(KeysMessage),
    /// Commands of a program.
    Commands(Batch),
    /// The actor has left: its last job.
    Forget,
}

impl Job {
    /// Whether it contains something that others must not wait for: a text, or a wait.
    fn takes_time(&self) -> bool {
        match self {
            Job::Keys(message) => matches!(message, KeysMessage::Text { .. }),
            Job::Commands(batch) => batch
                .commands
                .iter()
                .any(|command| matches!(command, InputCommand::Text { .. }) || command.takes_ms() > 0),
            Job::Forget => false,
        }
    }
}

/// The remaining commands of a program.
#[derive(Debug)]
pub struct Batch {
    /// The slot that they are for.
    pub slot: SlotIndex,
    commands: VecDeque<InputCommand>,
    /// The remaining parts of the last command, if it consists of several.
    parts: VecDeque<InputCommand>,
    /// Commands taken so far.
    taken: usize,
    done: oneshot::Sender<Result<(), CommandError>>,
}

impl Batch {
    /// Commands, and the channel for their result.
    pub fn new(
        slot: SlotIndex,
        commands: Vec<InputCommand>,
        done: oneshot::Sender<Result<(), CommandError>>,
    ) -> Self {
        Self { slot, commands: commands.into(), parts: VecDeque::new(), taken: 0, done }
    }

    /// The next command. A drag is split into its parts.
    pub fn next(&mut self) -> Option<InputCommand> {
        if let Some(part) = self.parts.pop_front() {
            return Some(part);
        }
        let command = self.commands.pop_front()?;
        self.taken += 1;
        match command {
            InputCommand::Drag { from, to, button, duration_ms } => {
                self.parts = drag(from, to, button, duration_ms);
                self.parts.pop_front()
            }
            command => Some(command),
        }
    }

    /// Sends the result.
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

/// The commands of a drag: programs want to see the pointer move.
fn drag(from: Position, to: Position, button: Button, duration_ms: u32) -> VecDeque<InputCommand> {
    let steps = (duration_ms / DRAG_STEP_MS).clamp(1, MOST_DRAG_STEPS);
    // Longer than the drag takes, so that the button is not released early on a busy machine.
    let hold_ms = duration_ms + DEFAULT_HOLD_MS;
    let press = |action| InputCommand::Button { button, action, at: None, hold_ms };
    let mut parts = VecDeque::from([InputCommand::Pointer { at: from }, press(KeyAction::Down)]);
    for step in 1..=steps {
        let ms = duration_ms * step / steps - duration_ms * (step - 1) / steps;
        let share = f64::from(step) / f64::from(steps);
        let between = |from: f64, to: f64| from + (to - from) * share;
        let at = Position { x: between(from.x, to.x), y: between(from.y, to.y) };
        parts.extend([InputCommand::Wait { ms }, InputCommand::Pointer { at }]);
    }
    parts.push_back(press(KeyAction::Up));
    parts
}

/// A text that is being typed.
#[derive(Debug)]
pub struct Typing {
    /// The slot that it is for.
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

    /// Notes the result of a slice. Returns the result of the whole text after the last one: characters that cannot be typed are
    /// left out and reported at the end.
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

/// The waiting input of one actor: the text, then the commands that it was one of, then further jobs.
#[derive(Debug, Default)]
pub struct Lane {
    /// A text that has been begun.
    pub typing: Option<Typing>,
    /// Commands that have been begun.
    pub batch: Option<Batch>,
    jobs: VecDeque<Job>,
    /// Nothing of it is carried out before this time.
    paused_until: Option<Instant>,
    /// Whether a refusal has been reported.
    refusal_reported: bool,
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

    /// Pauses the lane.
    pub fn pause(&mut self, now: Instant, time: Duration) {
        self.paused_until = Some(now + time);
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.typing.is_none() && self.batch.is_none() && self.jobs.is_empty()
    }
}

/// The decision about a job.
#[derive(Debug)]
pub enum Admission {
    /// The caller is to carry it out now.
    Now(Job),
    /// It waits in its actor's lane.
    Waits,
    /// Too many wait already.
    Refused {
        /// The job that is not carried out.
        job: Job,
        /// True for the first one of the lane, of which the actor is to be told.
        first: bool,
    },
}

/// The lanes of all actors that have texts to be typed.
#[derive(Debug, Default)]
pub struct Lanes {
    lanes: BTreeMap<Actor, Lane>,
    /// The actor whose turn it was last.
    last: Option<Actor>,
}

impl Lanes {
    /// Decides about a job.
    pub fn admit(&mut self, actor: Actor, job: Job) -> Admission {
        let Some(lane) = self.lanes.get_mut(&actor) else {
            if !job.takes_time() {
                return Admission::Now(job);
            }
            self.lanes.insert(actor, Lane::of(job));
            return Admission::Waits;
        };
        if lane.jobs.len() >= MAX_WAITING && !matches!(job, Job::Forget) {
            let first = !std::mem::replace(&mut lane.refusal_reported, true);
            return Admission::Refused { job, first };
        }
        lane.jobs.push_back(job);
        Admission::Waits
    }

    /// Takes out the lane whose turn it is, of those that are not paused; [`Lanes::put_back`] follows.
    pub fn take(&mut self, now: Instant) -> Option<(Actor, Lane)> {
        let awake = |(_, lane): &(&Actor, &Lane)| lane.paused_until.is_none_or(|until| until <= now);
        let is_later = |actor: &Actor| self.last.is_none_or(|last| *actor > last);
        let later = self.lanes.iter().filter(awake).find(|(actor, _)| is_later(actor));
        let actor = *later.or_else(|| self.lanes.iter().find(awake))?.0;
        self.last = Some(actor);
        let mut lane = self.lanes.remove(&actor)?;
        lane.paused_until = None;
        Some((actor, lane))
    }

    /// Puts back what is left of a lane.
    pub fn put_back(&mut self, actor: Actor, lane: Lane) {
        if !lane.is_empty() {
            self.lanes.insert(actor, lane);
        }
    }

    /// An actor may not steer any more: its waiting input is dropped.
    pub fn remove(&mut self, actor: Actor) {
        self.lanes.remove(&actor);
    }

    /// When [`Lanes::take`] returns one, if at all.
    pub fn ready_at(&self, now: Instant) -> Option<Instant> {
        self.lanes.values().map(|lane| lane.paused_until.unwrap_or(now)).min()
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
        let a = Actor::Peer(common::id::PeerId::unique());
        let b = Actor::Api;
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
        let now = Instant::now();
        while let Some((actor, mut lane)) = lanes.take(now) {
            turns.push(actor);
            lane.next_job();
            lanes.put_back(actor, lane);
        }
        assert_eq!(turns.len(), 2 * MAX_WAITING + 1);
        assert!(turns.windows(2).take(2 * MAX_WAITING - 1).all(|pair| pair[0] != pair[1]));
    }

    fn batch(commands: Vec<InputCommand>) -> Batch {
        Batch::new(0, commands, oneshot::channel().0)
    }

    #[test]
    fn a_lane_that_is_paused_is_passed_over_until_its_time_has_come() {
        let now = Instant::now();
        let job = || Job::Commands(batch(vec![InputCommand::Wait { ms: 50 }]));
        let a = Actor::Peer(common::id::PeerId::unique());
        let b = Actor::Api;
        let mut lanes = Lanes::default();
        assert_eq!(lanes.ready_at(now), None);
        for actor in [a, b] {
            assert!(matches!(lanes.admit(actor, job()), Admission::Waits));
        }
        let (first, mut lane) = lanes.take(now).unwrap();
        lane.pause(now, Duration::from_millis(50));
        lanes.put_back(first, lane);
        assert_eq!(lanes.ready_at(now), Some(now));
        let (second, mut lane) = lanes.take(now).unwrap();
        assert_ne!(first, second);
        lane.pause(now, Duration::from_millis(80));
        lanes.put_back(second, lane);
        let ready = now + Duration::from_millis(50);
        assert_eq!(lanes.ready_at(now), Some(ready));
        assert!(lanes.take(now).is_none());
        assert_eq!(lanes.take(ready).map(|(actor, _)| actor), Some(first));
    }

    #[test]
    fn a_drag_moves_on_its_way_takes_its_time_and_is_one_command() {
        let from = Position { x: 0.0, y: 10.0 };
        let to = Position { x: 100.0, y: 10.0 };
        for duration_ms in [0, 5, 200, 10_000] {
            let drag = InputCommand::Drag { from, to, button: Button::LEFT, duration_ms };
            let mut batch = batch(vec![InputCommand::Wait { ms: 1 }, drag]);
            batch.next().unwrap();
            let mut time = 0;
            let mut way = Vec::new();
            let mut presses = Vec::new();
            while let Some(part) = batch.next() {
                assert_eq!(batch.taken, 2);
                match part {
                    InputCommand::Wait { ms } => time += ms,
                    InputCommand::Pointer { at } => way.push(at.x),
                    InputCommand::Button { action, .. } => presses.push((action, way.len())),
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(time, duration_ms);
            assert_eq!((way[0], way[way.len() - 1]), (0.0, 100.0));
            assert!(way.windows(2).all(|pair| pair[0] < pair[1]), "{way:?}");
            assert_eq!(presses, [(KeyAction::Down, 1), (KeyAction::Up, way.len())]);
        }
    }
}
