//! The input thread: which event goes to which aggregator, when, and at which window the sink is aimed for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use common::id::{SlotIndex, SourceName};
use common::input::{Actor, InputCommand, KeysMessage, MotionMessage};
use tokio::sync::mpsc;

use super::aggregate::Aggregator;
use super::lanes::{Admission, Batch, Job, Lane, Lanes, Typing};
use super::queue::Inbox;
use super::sink::{self, Action, Sink};
use super::{CommandError, Event, Notice, PointerNotice, Target};
use crate::stats::Counter;

/// How often others are told where the pointer is, at most.
const POINTER_NOTICE_INTERVAL: Duration = Duration::from_millis(33);
/// Events taken between two slices of texts, at most: texts get on in the worst flood.
const PER_TURN: usize = 256;
/// Whoever types or clicks in a window keeps it in front of others' moving pointers for this long.
const AIM_HOLDS: Duration = Duration::from_secs(1);

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

/// State of the thread.
pub struct Router {
    takers: BTreeMap<SourceName, Taker>,
    slots: BTreeMap<SlotIndex, Target>,
    choices: BTreeMap<(Actor, SlotIndex), Option<Target>>,
    lanes: Lanes,
    /// To the control loop; a notice that does not fit is left out, a newer one follows.
    notices: mpsc::Sender<Notice>,
    last_notice: Option<Instant>,
    /// The newest position, if it came too soon after the last notice.
    pending_notice: Option<PointerNotice>,
    applied: Arc<Counter>,
}

impl Router {
    /// Nothing takes input yet.
    pub fn new(notices: mpsc::Sender<Notice>, applied: Arc<Counter>) -> Self {
        Self {
            takers: BTreeMap::new(),
            slots: BTreeMap::new(),
            choices: BTreeMap::new(),
            lanes: Lanes::default(),
            notices,
            last_notice: None,
            pending_notice: None,
            applied,
        }
    }

    /// Works until nobody can send events any more.
    pub fn run(mut self, events: &Inbox<Event>) {
        loop {
            let releases = self.takers.values().filter_map(|taker| taker.aggregator.deadline());
            let now = Instant::now();
            let deadline = releases.chain(self.next_notice()).chain(self.lanes.ready_at(now)).min();
            let timeout = deadline.map(|at| at.saturating_duration_since(now));
            match events.next(timeout) {
                Ok(event) => self.handle(Instant::now(), event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            // All that has come goes before the next slice of a text.
            for _ in 0..PER_TURN {
                let Some(event) = events.next_if_any() else { break };
                self.handle(Instant::now(), event);
            }
            let now = Instant::now();
            if let Some((actor, mut lane)) = self.lanes.take(now) {
                self.step(now, actor, &mut lane);
                self.lanes.put_back(actor, lane);
            }
            let now = Instant::now();
            self.everywhere(|aggregator| aggregator.timeout(now));
            self.notice(now);
        }
    }

    fn handle(&mut self, now: Instant, event: Event) {
        match event {
            Event::Gone(actor) => {
                self.lanes.remove(actor);
                self.everywhere(|aggregator| aggregator.gone(actor));
            }
            Event::Forget(actor) => self.submit(now, actor, Job::Forget),
            Event::Keys(actor, message) => self.submit(now, actor, Job::Keys(message)),
            Event::Motion(actor, message) => self.motion(now, actor, message),
            Event::Commands(slot, commands, done) => {
                self.submit(now, Actor::Api, Job::Commands(Batch::new(slot, commands, done)));
            }
            Event::Attach(source, sink) => {
                let taker = Taker { aggregator: Aggregator::default(), sink, aim: Aim::default() };
                self.takers.insert(source, taker);
            }
            Event::Detach(source) => {
                self.takers.remove(&source);
            }
            Event::Bind(slot, target) => self.bind(slot, target),
            Event::Rumble(source, number, motors) => {
                let owner = self.takers.get(&source).and_then(|taker| taker.aggregator.pad_of(number));
                if let Some((Actor::Peer(peer), slot, pad)) = owner {
                    // A game says it again while it lasts.
                    let _ = self.notices.try_send(Notice::Rumble(peer, slot, pad, motors));
                }
            }
            Event::Switch(actor, slot, choice) => self.switch(actor, slot, choice),
        }
    }

    fn bind(&mut self, slot: SlotIndex, target: Option<Target>) {
        let before = match target.clone() {
            Some(target) => self.slots.insert(slot, target),
            None => self.slots.remove(&slot),
        };
        if before == target {
            return;
        }
        let choices = &self.choices;
        let follows = |actor: Actor| !choices.contains_key(&(actor, slot));
        if let Some(taker) = before.and_then(|target| self.takers.get_mut(&target.source)) {
            let actions = taker.aggregator.rebound(slot, follows);
            taker.apply_all(&self.applied, &actions);
        }
    }

    fn switch(&mut self, actor: Actor, slot: SlotIndex, choice: Option<Option<Target>>) {
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

    fn submit(&mut self, now: Instant, actor: Actor, job: Job) {
        let lives = !matches!(job, Job::Forget);
        match self.lanes.admit(actor, job) {
            Admission::Now(job) => {
                let mut lane = Lane::of(job);
                while !lane.is_empty() {
                    self.step(now, actor, &mut lane);
                }
            }
            // It says so itself when it comes to its turn; until then what it holds must not be taken for forgotten.
            Admission::Waits if lives => {
                self.takers.values_mut().for_each(|taker| taker.aggregator.seen(now, actor));
            }
            Admission::Waits => {}
            Admission::Refused { job: Job::Commands(batch), .. } => batch.finish(Err(CommandError::Busy)),
            // A peer's next snapshot repairs what is held.
            Admission::Refused { first, .. } => {
                if let (true, Actor::Peer(peer)) = (first, actor) {
                    let _ = self.notices.try_send(Notice::Refused(peer));
                }
            }
        }
    }

    /// Carries out the next bit of what an actor wants: a slice of a text, or one command or message.
    fn step(&mut self, now: Instant, actor: Actor, lane: &mut Lane) {
        if let Some(typing) = lane.typing.take() {
            lane.typing = self.type_slice(now, actor, typing, &mut lane.batch);
        } else if let Some(batch) = lane.batch.take() {
            self.command(now, batch, lane);
        } else {
            match lane.next_job() {
                Some(Job::Keys(KeysMessage::Blur)) => self.everywhere(|aggregator| aggregator.gone(actor)),
                Some(Job::Keys(message)) => self.keys(now, actor, message, lane),
                Some(Job::Commands(batch)) => lane.batch = Some(batch),
                Some(Job::Forget) => {
                    self.choices.retain(|(chooser, _), _| *chooser != actor);
                    self.everywhere(|aggregator| aggregator.forget(actor));
                }
                None => {}
            }
        }
    }

    /// Returns the text while there is more of it. Its end is told to the batch that it belongs to, if it failed.
    fn type_slice(
        &mut self,
        now: Instant,
        actor: Actor,
        mut typing: Typing,
        batch: &mut Option<Batch>,
    ) -> Option<Typing> {
        let Some((target, taker)) = taker(&self.slots, &self.choices, &mut self.takers, actor, typing.slot)
        else {
            if let Some(batch) = batch.take() {
                batch.finish(Err(CommandError::NoSink(typing.slot)));
            }
            return None;
        };
        // Others may have turned to another window between two slices.
        taker.take_aim(now, target.window, actor, Wants::Aim, &self.applied);
        let result = taker.sink.aim(target.window);
        let result = result.and_then(|()| taker.sink.apply(&Action::Text(typing.slice().to_owned())));
        match typing.typed(result) {
            None => return Some(typing),
            Some(Ok(())) => self.applied.add(1),
            Some(Err(error)) => match batch.take() {
                Some(batch) => batch.fail(error),
                None => tracing::debug!(%error, "input not carried out"),
            },
        }
        None
    }

    fn keys(&mut self, now: Instant, actor: Actor, message: KeysMessage, lane: &mut Lane) {
        let Some(slot) = slot_of(&message) else { return };
        let Some((target, taker)) = taker(&self.slots, &self.choices, &mut self.takers, actor, slot) else {
            return;
        };
        if matches!(message, KeysMessage::Held { .. }) && taker.aim.window != target.window {
            // All that was held there has been taken away; saying again that it is held must press it nowhere else.
            return taker.aggregator.seen(now, actor);
        }
        taker.take_aim(now, target.window, actor, wants_aim(&message), &self.applied);
        let mut actions = taker.aggregator.keys(now, actor, message);
        lane.typing = take_text(&mut actions).map(|text| Typing::new(slot, text));
        if taker.bring_up(&actions).is_ok() {
            taker.apply_all(&self.applied, &actions);
            self.moved(slot, actor, &actions);
        }
    }

    fn motion(&mut self, now: Instant, actor: Actor, message: MotionMessage) {
        let slot = message.slot();
        let Some((target, taker)) = taker(&self.slots, &self.choices, &mut self.takers, actor, slot) else {
            return;
        };
        if !taker.take_aim(now, target.window, actor, Wants::Motion, &self.applied) {
            return;
        }
        let actions = taker.aggregator.motion(now, actor, message);
        if taker.bring_up(&actions).is_ok() {
            taker.apply_all(&self.applied, &actions);
            self.moved(slot, actor, &actions);
        }
    }

    /// Carries out one command of a batch. What is left of it goes back to the lane.
    fn command(&mut self, now: Instant, mut batch: Batch, lane: &mut Lane) {
        let slot = batch.slot;
        let found = taker(&self.slots, &self.choices, &mut self.takers, Actor::Api, slot);
        let Some((target, taker)) = found else {
            return batch.finish(Err(CommandError::NoSink(slot)));
        };
        let Some(command) = batch.next() else { return batch.finish(Ok(())) };
        if let InputCommand::Wait { ms } = command {
            lane.rest(now, Duration::from_millis(ms.into()));
            lane.batch = Some(batch);
            return;
        }
        taker.take_aim(now, target.window, Actor::Api, Wants::Aim, &self.applied);
        let mut actions = taker.aggregator.command(now, slot, command);
        lane.typing = take_text(&mut actions).map(|text| Typing::new(slot, text));
        let result = taker.bring_up(&actions);
        let result =
            result.and_then(|()| actions.iter().try_for_each(|action| taker.apply(&self.applied, action)));
        match result {
            Ok(()) => lane.batch = Some(batch),
            Err(error) => batch.fail(error),
        }
        self.moved(slot, Actor::Api, &actions);
    }

    fn target(&self, actor: Actor, slot: SlotIndex) -> Option<&Target> {
        target(&self.slots, &self.choices, actor, slot)
    }

    fn everywhere(&mut self, mut act: impl FnMut(&mut Aggregator) -> Vec<Action>) {
        for taker in self.takers.values_mut() {
            let actions = act(&mut taker.aggregator);
            taker.apply_all(&self.applied, &actions);
        }
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
            let _ = self.notices.try_send(Notice::Pointer(notice));
        }
    }
}

impl Aim {
    /// Whether somebody's event may turn the sink to another window. A pointer that merely moves over a window
    /// must not take the keyboard from somebody who types in another.
    fn yields(&self, now: Instant, window: Option<u32>, by: Actor, wants: Wants) -> bool {
        let in_use =
            |(actor, at): (Actor, Instant)| actor != by && now.saturating_duration_since(at) < AIM_HOLDS;
        match wants {
            Wants::Aim => true,
            Wants::Motion => self.window == window || !self.last.is_some_and(in_use),
            Wants::Nothing => false,
        }
    }
}

impl Taker {
    /// Turns to the window that an event is for. What is held in the one before is let go of first, by
    /// everybody, while it still reaches that. False when the sink is left as it is.
    fn take_aim(
        &mut self,
        now: Instant,
        window: Option<u32>,
        by: Actor,
        wants: Wants,
        applied: &Counter,
    ) -> bool {
        if !self.aim.yields(now, window, by, wants) {
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

/// Where what somebody sends to a slot goes.
fn target<'a>(
    slots: &'a BTreeMap<SlotIndex, Target>,
    choices: &'a BTreeMap<(Actor, SlotIndex), Option<Target>>,
    actor: Actor,
    slot: SlotIndex,
) -> Option<&'a Target> {
    match choices.get(&(actor, slot)) {
        Some(choice) => choice.as_ref(),
        None => slots.get(&slot),
    }
}

/// The same, and what takes it.
fn taker<'a>(
    slots: &'a BTreeMap<SlotIndex, Target>,
    choices: &'a BTreeMap<(Actor, SlotIndex), Option<Target>>,
    takers: &'a mut BTreeMap<SourceName, Taker>,
    actor: Actor,
    slot: SlotIndex,
) -> Option<(&'a Target, &'a mut Taker)> {
    let target = target(slots, choices, actor, slot)?;
    Some((target, takers.get_mut(&target.source)?))
}

fn wants_aim(message: &KeysMessage) -> Wants {
    match message {
        KeysMessage::Key { down: true, .. }
        | KeysMessage::Char { down: true, .. }
        | KeysMessage::Button { down: true, .. }
        | KeysMessage::Touch { down: true, .. }
        | KeysMessage::Text { .. }
        | KeysMessage::Wheel { .. } => Wants::Aim,
        _ => Wants::Nothing,
    }
}

/// The text among actions, which is then the only one.
fn take_text(actions: &mut Vec<Action>) -> Option<String> {
    match actions.pop_if(|action| matches!(action, Action::Text(_))) {
        Some(Action::Text(text)) => Some(text),
        _ => None,
    }
}

/// The slot that a message is for; `None` for those that are for all or none.
fn slot_of(message: &KeysMessage) -> Option<SlotIndex> {
    match message {
        KeysMessage::Key { slot, .. }
        | KeysMessage::Char { slot, .. }
        | KeysMessage::Locks { slot, .. }
        | KeysMessage::Text { slot, .. }
        | KeysMessage::Button { slot, .. }
        | KeysMessage::Wheel { slot, .. }
        | KeysMessage::Touch { slot, .. }
        | KeysMessage::Pad { slot, .. }
        | KeysMessage::PadGone { slot, .. }
        | KeysMessage::Held { slot, .. } => Some(*slot),
        KeysMessage::Blur | KeysMessage::Clipboard { .. } | KeysMessage::ClipboardPicture { .. } => None,
    }
}
