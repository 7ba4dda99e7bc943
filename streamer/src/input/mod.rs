//! Input: decoded from peers, merged by [`aggregate`], carried out by a [`sink`].
//!
//! ```text
//! shards, control loop ── Event ──▶ thread `input`: Router ─▶ Aggregator (per source) ─▶ Sink (X, …)
//! ```
//!
//! What is for a slot goes where the slot's picture comes from: to a source, or to a window of one. There
//! is one sink per source, and so one after the other all that its windows are sent: before anything is
//! carried out the sink is aimed at its window, after letting go of what is held in the one before.
//!
//! The thread owns the aggregators and the sinks. Nothing is batched and nothing waits: an event reaches the
//! sink as soon as the thread gets it.

pub mod aggregate;
pub mod sink;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::id::{SlotIndex, SourceName};
use common::input::{Actor, InputCommand, KeysMessage, MotionMessage, Position};
use tokio::sync::{mpsc, oneshot};

use crate::stats::Counter;
use aggregate::Aggregator;
use sink::{Action, Sink};

/// Events on their way to the input thread: a second of several fast mice. When it is full, motion is
/// left out (the next one makes it good) and keys are refused to their peer, whose snapshot repairs what is held.
const QUEUE: usize = 4096;
/// How often others are told where the pointer is, at most.
const POINTER_NOTICE_INTERVAL: Duration = Duration::from_millis(33);
/// Whoever types or clicks in a window keeps it in front of others' moving pointers for this long.
const AIM_HOLDS: Duration = Duration::from_secs(1);

/// Something for the input thread.
pub enum Event {
    /// A message of a peer.
    Keys(Actor, KeysMessage),
    /// A message of a peer.
    Motion(Actor, MotionMessage),
    /// Commands of a program; answered when all have reached the sink.
    Commands(SlotIndex, Vec<InputCommand>, oneshot::Sender<Result<(), CommandError>>),
    /// Somebody may not steer any more: releases what only it held.
    Gone(Actor),
    /// Somebody left for good.
    Forget(Actor),
    /// A source takes input from now on.
    Attach(SourceName, Box<dyn Sink>),
    /// A source takes no more input.
    Detach(SourceName),
    /// Where what is sent to a slot goes from now on, for everybody who has not chosen otherwise.
    Bind(SlotIndex, Option<Target>),
    /// What somebody has chosen for a slot; `None`: what everybody has.
    Switch(Actor, SlotIndex, Option<Option<Target>>),
}

/// Where input goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Which source takes it.
    pub source: SourceName,
    /// A window of it; `None`: all of it.
    pub window: Option<u32>,
}

/// Why commands of a program were not carried out.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// Nothing in this slot takes input.
    #[error("what slot {0} shows takes no input")]
    NoSink(SlotIndex),
    /// The sink refused one; those before it have been carried out.
    #[error("event {index}: {error}")]
    Sink {
        /// Index in the request.
        index: usize,
        /// Why.
        error: sink::Error,
    },
}

/// Somebody moved the pointer.
#[derive(Debug, Clone, Copy)]
pub struct PointerNotice {
    /// Where it is.
    pub at: Position,
    /// In which slot.
    pub slot: SlotIndex,
    /// Who.
    pub by: Actor,
}

/// The queue was full.
#[derive(Debug)]
pub struct Busy;

/// The way to the input thread.
#[derive(Clone)]
pub struct Handle {
    events: SyncSender<Event>,
    applied: Arc<Counter>,
}

impl Handle {
    /// A message of a peer's `keys`.
    ///
    /// # Errors
    /// [`Busy`] when the queue is full; nothing of the message is used then.
    pub fn keys(&self, actor: Actor, message: KeysMessage) -> Result<(), Busy> {
        self.events.try_send(Event::Keys(actor, message)).map_err(|_| Busy)
    }

    /// A message of a peer's `motion`; left out when the queue is full.
    pub fn motion(&self, actor: Actor, message: MotionMessage) {
        let _ = self.events.try_send(Event::Motion(actor, message));
    }

    /// Somebody may not steer any more. If the queue is full, silence does the same within two seconds.
    pub fn gone(&self, actor: Actor) {
        let _ = self.events.try_send(Event::Gone(actor));
    }

    /// Somebody left. If the queue is full, silence releases what it held.
    pub fn forget(&self, actor: Actor) {
        let _ = self.events.try_send(Event::Forget(actor));
    }

    /// Anything; waits while the queue is full. Not for shards.
    pub fn send(&self, event: Event) {
        let _ = self.events.send(event);
    }

    /// Actions carried out so far.
    pub fn applied(&self) -> u64 {
        self.applied.get()
    }
}

/// Starts the input thread. It ends when the last [`Handle`] is dropped, and releases everything.
///
/// # Errors
/// When no thread can be started.
pub fn start(pointer: mpsc::Sender<PointerNotice>) -> io::Result<(Handle, JoinHandle<()>)> {
    let (events, receiver) = sync_channel(QUEUE);
    let applied = Arc::new(Counter::default());
    let router = Router {
        takers: BTreeMap::new(),
        slots: BTreeMap::new(),
        choices: BTreeMap::new(),
        pointer,
        last_notice: None,
        pending_notice: None,
        applied: applied.clone(),
    };
    let thread = std::thread::Builder::new().name("input".into()).spawn(move || router.run(&receiver))?;
    Ok((Handle { events, applied }, thread))
}

/// A source that takes input.
struct Taker {
    aggregator: Aggregator,
    sink: Box<dyn Sink>,
    aim: Aim,
}

/// What a sink was aimed at last.
#[derive(Default)]
struct Aim {
    window: Option<u32>,
    /// Who did something else than to move the pointer there last, and when.
    last: Option<(Actor, Instant)>,
}

impl Aim {
    /// Whether somebody's event may turn the sink to another window. A pointer that merely moves over a window
    /// must not take the keyboard from somebody who types in another.
    fn yields(&self, now: Instant, window: Option<u32>, by: Actor, moves: bool) -> bool {
        let in_use = |(actor, at): (Actor, Instant)| {
            actor != by && now.saturating_duration_since(at) < AIM_HOLDS
        };
        self.window == window || !moves || !self.last.is_some_and(in_use)
    }
}

struct Router {
    takers: BTreeMap<SourceName, Taker>,
    slots: BTreeMap<SlotIndex, Target>,
    choices: BTreeMap<(Actor, SlotIndex), Option<Target>>,
    /// The control loop tells the others; a notice that does not fit is left out, a newer one follows.
    pointer: mpsc::Sender<PointerNotice>,
    last_notice: Option<Instant>,
    /// The newest position, if it came too soon after the last notice.
    pending_notice: Option<PointerNotice>,
    applied: Arc<Counter>,
}

impl Router {
    fn run(mut self, events: &Receiver<Event>) {
        loop {
            let releases = self.takers.values().filter_map(|taker| taker.aggregator.deadline());
            let deadline = releases.chain(self.next_notice()).min();
            let event = match deadline {
                None => events.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(at) => events.recv_timeout(at.saturating_duration_since(Instant::now())),
            };
            let now = Instant::now();
            match event {
                Ok(event) => self.handle(now, event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let applied = &self.applied;
            for taker in self.takers.values_mut() {
                let actions = taker.aggregator.timeout(now);
                taker.apply_all(applied, &actions);
            }
            self.notice(now);
        }
    }

    fn handle(&mut self, now: Instant, event: Event) {
        match event {
            Event::Keys(actor, KeysMessage::Blur) | Event::Gone(actor) => {
                self.everywhere(|aggregator| aggregator.gone(actor));
            }
            Event::Forget(actor) => {
                self.choices.retain(|(chooser, _), _| *chooser != actor);
                self.everywhere(|aggregator| aggregator.forget(actor));
            }
            Event::Keys(actor, message) => {
                let Some(slot) = slot_of(&message) else { return };
                // A snapshot of what is held and a release change no aim by themselves.
                let wants = wants_aim(&message);
                self.route(now, slot, actor, wants, |aggregator| aggregator.keys(now, actor, message));
            }
            Event::Motion(actor, message) => {
                let (MotionMessage::Pointer { slot, .. } | MotionMessage::Relative { slot, .. }) = message;
                self.route(now, slot, actor, Wants::Motion, |aggregator| {
                    aggregator.motion(now, actor, message)
                });
            }
            Event::Commands(slot, commands, done) => {
                let _ = done.send(self.commands(now, slot, commands));
            }
            Event::Attach(source, sink) => {
                let taker = Taker { aggregator: Aggregator::default(), sink, aim: Aim::default() };
                self.takers.insert(source, taker);
            }
            Event::Detach(source) => {
                self.takers.remove(&source);
            }
            Event::Bind(slot, target) => {
                let before = match target.clone() {
                    Some(target) => self.slots.insert(slot, target),
                    None => self.slots.remove(&slot),
                };
                if before != target {
                    let choices = &self.choices;
                    let follows = |actor: Actor| !choices.contains_key(&(actor, slot));
                    let taker = before.and_then(|target| self.takers.get_mut(&target.source));
                    if let Some(taker) = taker {
                        let actions = taker.aggregator.rebound(slot, follows);
                        taker.apply_all(&self.applied, &actions);
                    }
                }
            }
            Event::Switch(actor, slot, choice) => {
                let before = self.target(actor, slot).cloned();
                match choice {
                    Some(target) => self.choices.insert((actor, slot), target),
                    None => self.choices.remove(&(actor, slot)),
                };
                let changed = before.as_ref() != self.target(actor, slot);
                let taker = before.filter(|_| changed).and_then(|target| self.takers.get_mut(&target.source));
                if let Some(taker) = taker {
                    let actions = taker.aggregator.rebound(slot, |holder| holder == actor);
                    taker.apply_all(&self.applied, &actions);
                }
            }
        }
    }

    fn target(&self, actor: Actor, slot: SlotIndex) -> Option<&Target> {
        match self.choices.get(&(actor, slot)) {
            Some(choice) => choice.as_ref(),
            None => self.slots.get(&slot),
        }
    }

    fn everywhere(&mut self, mut act: impl FnMut(&mut Aggregator) -> Vec<Action>) {
        for taker in self.takers.values_mut() {
            let actions = act(&mut taker.aggregator);
            taker.apply_all(&self.applied, &actions);
        }
    }

    fn route(
        &mut self,
        now: Instant,
        slot: SlotIndex,
        by: Actor,
        wants: Wants,
        act: impl FnOnce(&mut Aggregator) -> Vec<Action>,
    ) {
        let Some(Target { source, window }) = self.target(by, slot).cloned() else { return };
        let Some(taker) = self.takers.get_mut(&source) else { return };
        if wants != Wants::Nothing && !taker.take_aim(now, window, by, wants, &self.applied) {
            return;
        }
        let actions = act(&mut taker.aggregator);
        if taker.bring_up(&actions).is_ok() {
            taker.apply_all(&self.applied, &actions);
            self.moved(slot, by, &actions);
        }
    }

    fn commands(
        &mut self,
        now: Instant,
        slot: SlotIndex,
        commands: Vec<InputCommand>,
    ) -> Result<(), CommandError> {
        let Target { source, window } =
            self.target(Actor::Api, slot).cloned().ok_or(CommandError::NoSink(slot))?;
        let taker = self.takers.get_mut(&source).ok_or(CommandError::NoSink(slot))?;
        let mut moved = Vec::new();
        for (index, command) in commands.into_iter().enumerate() {
            taker.take_aim(now, window, Actor::Api, Wants::Aim, &self.applied);
            let actions = taker.aggregator.command(now, slot, command);
            taker.bring_up(&actions).map_err(|error| CommandError::Sink { index, error })?;
            for action in &actions {
                taker.apply(&self.applied, action).map_err(|error| CommandError::Sink { index, error })?;
            }
            moved = actions;
        }
        self.moved(slot, Actor::Api, &moved);
        Ok(())
    }

    fn moved(&mut self, slot: SlotIndex, by: Actor, actions: &[Action]) {
        let position = actions.iter().rev().find_map(|action| match action {
            Action::PointerTo(at) => Some(*at),
            _ => None,
        });
        if let Some(at) = position {
            self.pending_notice = Some(PointerNotice { at, slot, by });
        }
    }

    fn next_notice(&self) -> Option<Instant> {
        self.pending_notice.and(self.last_notice).map(|last| last + POINTER_NOTICE_INTERVAL)
    }

    /// Tells where the pointer is, if it has moved and it is not too soon.
    fn notice(&mut self, now: Instant) {
        if self.next_notice().is_none_or(|at| now >= at)
            && let Some(notice) = self.pending_notice.take()
        {
            self.last_notice = Some(now);
            let _ = self.pointer.try_send(notice);
        }
    }
}

impl Taker {
    /// Turns to the window that an event is for. What is held in the one before is let go of first, by
    /// everybody, while it still reaches that. False when somebody else is using another window.
    fn take_aim(
        &mut self,
        now: Instant,
        window: Option<u32>,
        by: Actor,
        wants: Wants,
        applied: &Counter,
    ) -> bool {
        if !self.aim.yields(now, window, by, wants == Wants::Motion) {
            return false;
        }
        if self.aim.window != window {
            let actions = self.aggregator.take_away();
            self.apply_all(applied, &actions);
            self.aim.window = window;
        }
        if wants == Wants::Aim {
            self.aim.last = Some((by, now));
        }
        true
    }

    /// Before actions are carried out: the window that they are for may be covered by now, or gone.
    fn bring_up(&mut self, actions: &[Action]) -> Result<(), sink::Error> {
        if actions.is_empty() {
            return Ok(());
        }
        self.sink.aim(self.aim.window).inspect_err(|error| tracing::debug!(%error, "input not carried out"))
    }

    fn apply(&mut self, applied: &Counter, action: &Action) -> Result<(), sink::Error> {
        self.sink.apply(action)?;
        applied.add(1);
        Ok(())
    }

    fn apply_all(&mut self, applied: &Counter, actions: &[Action]) {
        for action in actions {
            if let Err(error) = self.apply(applied, action) {
                tracing::debug!(%error, "input not carried out");
            }
        }
    }
}

/// What an event wants of the sink's aim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wants {
    /// Its window in front.
    Aim,
    /// The same, if nobody else is using another one.
    Motion,
    /// Nothing: it lets go, or says again what is held.
    Nothing,
}

fn wants_aim(message: &KeysMessage) -> Wants {
    match message {
        KeysMessage::Key { down: true, .. }
        | KeysMessage::Char { down: true, .. }
        | KeysMessage::Button { down: true, .. }
        | KeysMessage::Text { .. }
        | KeysMessage::Wheel { .. } => Wants::Aim,
        _ => Wants::Nothing,
    }
}

/// The slot that a message is for; `None` for those that are for all or none.
fn slot_of(message: &KeysMessage) -> Option<SlotIndex> {
    match message {
        KeysMessage::Key { slot, .. }
        | KeysMessage::Char { slot, .. }
        | KeysMessage::Text { slot, .. }
        | KeysMessage::Button { slot, .. }
        | KeysMessage::Wheel { slot, .. }
        | KeysMessage::Held { slot, .. } => Some(*slot),
        KeysMessage::Blur | KeysMessage::Clipboard { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::id::PeerId;
    use common::input::{Button, KeyAction, KeyCode};
    use sink::Press;

    struct Recorder(SyncSender<Action>);

    impl Sink for Recorder {
        fn apply(&mut self, action: &Action) -> Result<(), sink::Error> {
            match action {
                Action::Key(code, _) if code.as_str() == "Nonsense" => {
                    Err(sink::Error::NoSuchKey(code.to_string()))
                }
                action => self.0.send(action.clone()).map_err(|error| sink::Error::Gone(error.to_string())),
            }
        }
    }

    fn started() -> (Handle, Receiver<Action>, mpsc::Receiver<PointerNotice>) {
        let (notices, noticed) = mpsc::channel(16);
        let (handle, _) = start(notices).unwrap();
        let (actions, done) = sync_channel(64);
        handle.send(Event::Attach("main".into(), Box::new(Recorder(actions))));
        handle.send(Event::Bind(0, Some(Target { source: "main".into(), window: None })));
        (handle, done, noticed)
    }

    fn commands(handle: &Handle, slot: SlotIndex, commands: Vec<InputCommand>) -> Result<(), CommandError> {
        let (sender, done) = oneshot::channel();
        handle.send(Event::Commands(slot, commands, sender));
        done.blocking_recv().unwrap()
    }

    fn key(code: &str, action: KeyAction, hold_ms: u32) -> InputCommand {
        InputCommand::Key { code: KeyCode::parse(code).unwrap(), action, hold_ms }
    }

    #[test]
    fn a_key_that_is_held_too_long_is_released_by_time_alone() {
        let (handle, done, _) = started();
        commands(&handle, 0, vec![key("KeyA", KeyAction::Down, 30)]).unwrap();
        let code = KeyCode::parse("KeyA").unwrap();
        assert_eq!(done.recv().unwrap(), Action::Key(code.clone(), Press::Down));
        assert_eq!(done.recv().unwrap(), Action::Key(code, Press::Up));
        let applied = handle.applied.clone();
        drop(handle);
        assert!(done.recv().is_err(), "the thread has ended");
        assert_eq!(applied.get(), 2);
    }

    #[test]
    fn a_refused_command_is_named_and_a_slot_without_sink_says_so() {
        let (handle, done, _) = started();
        let sequence = vec![key("KeyA", KeyAction::Tap, 0), key("Nonsense", KeyAction::Tap, 0)];
        assert!(matches!(commands(&handle, 0, sequence), Err(CommandError::Sink { index: 1, .. })));
        assert_eq!(done.try_iter().count(), 2);
        assert!(matches!(commands(&handle, 3, Vec::new()), Err(CommandError::NoSink(3))));
    }

    #[test]
    fn the_last_position_is_told_even_when_it_came_too_soon() {
        let (handle, _done, mut noticed) = started();
        let actor = Actor::Peer(PeerId::unique());
        for seq in 0..10 {
            let at = Position { x: f64::from(seq), y: 0.0 };
            handle.motion(actor, MotionMessage::Pointer { slot: 0, seq, at });
        }
        let mut last = None;
        while last != Some(9.0) {
            last = Some(noticed.blocking_recv().unwrap().at.x);
        }
    }

    #[test]
    fn what_is_held_is_released_when_a_peer_leaves_and_the_thread_ends_with_its_handles() {
        let (handle, done, _) = started();
        let actor = Actor::Peer(PeerId::unique());
        let press = KeysMessage::Button { slot: 0, button: Button::LEFT, down: true, at: None };
        handle.keys(actor, press).unwrap();
        handle.forget(actor);
        assert_eq!(done.recv().unwrap(), Action::Button(Button::LEFT, Press::Down));
        assert_eq!(done.recv().unwrap(), Action::Button(Button::LEFT, Press::Up));
        drop(handle);
        assert!(done.recv().is_err());
    }
}
