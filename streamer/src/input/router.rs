//! The input thread: passes events to aggregators and carries out their actions.
//!
//! Decisions are made in pure modules beside it: where an event goes (`routes`), at which window the sink is aimed for it (`aim`),
//! whose turn it is (`lanes`), when others are shown the pointer (`pointer`).

#![expect(clippy::disallowed_methods, reason = "the loop of a thread is where the time is asked for")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use common::id::{SlotIndex, SourceName};
use common::input::{Actor, InputCommand, KeysMessage, MotionMessage};
use tokio::sync::mpsc;

use super::aggregate::Aggregator;
use super::aim::{Aim, Need, Turn};
use super::lanes::{Admission, Batch, Job, Lane, Lanes, Typing};
use super::pointer::{PointerNotices, Pointings};
use super::queue::Inbox;
use super::routes::Routes;
use super::sink::{self, Action, Sink};
use super::{CommandError, Event, Notice, PointerNotice, Target, TargetChoice};
use crate::stats::Counter;

/// Most events taken between two slices of texts, so that texts make progress in a flood of events.
const PER_TURN: usize = 256;

/// A source that takes input.
struct Recipient {
    aggregator: Aggregator,
    sink: Box<dyn Sink>,
    aim: Aim,
}

/// State of the thread.
pub struct Router {
    recipients: BTreeMap<SourceName, Recipient>,
    routes: Routes,
    lanes: Lanes,
    /// Sends notices to the control loop; one for which there is no room is dropped, and a newer one follows.
    notices: mpsc::Sender<Notice>,
    pointer: PointerNotices,
    pointings: Pointings,
    applied: Arc<Counter>,
}

impl Router {
    /// A router without any source that takes input.
    pub fn new(notices: mpsc::Sender<Notice>, applied: Arc<Counter>) -> Self {
        Self {
            recipients: BTreeMap::new(),
            routes: Routes::default(),
            lanes: Lanes::default(),
            notices,
            pointer: PointerNotices::default(),
            pointings: Pointings::default(),
            applied,
        }
    }

    /// Runs until nobody can send events any more.
    pub fn run(mut self, events: &Inbox<Event>) {
        loop {
            let now = Instant::now();
            let timeout = self.deadline(now).map(|at| at.saturating_duration_since(now));
            match events.next(timeout) {
                Ok(event) => self.handle(Instant::now(), event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            // All queued events come before the next slice of a text.
            for _ in 0..PER_TURN {
                let Some(event) = events.next_if_any() else { break };
                self.handle(Instant::now(), event);
            }
            self.step_lane(Instant::now());
            self.timeout(Instant::now());
        }
    }

    /// When there is something to do without an event.
    fn deadline(&self, now: Instant) -> Option<Instant> {
        let releases = self.recipients.values().filter_map(|recipient| recipient.aggregator.deadline());
        let notices = self.pointer.due().into_iter().chain(self.pointings.due());
        releases.chain(notices).chain(self.lanes.ready_at(now)).min()
    }

    /// Carries out the next step of a lane.
    fn step_lane(&mut self, now: Instant) {
        if let Some((actor, mut lane)) = self.lanes.take(now) {
            self.step(now, actor, &mut lane);
            self.lanes.put_back(actor, lane);
        }
    }

    /// Releases what was held for too long, and reports where the pointer is and who points where.
    fn timeout(&mut self, now: Instant) {
        self.everywhere(|aggregator| aggregator.timeout(now));
        if let Some(notice) = self.pointer.take(now) {
            // A newer one follows the next movement.
            let _ = self.notices.try_send(Notice::Pointer(notice));
        }
        if let Some(pointings) = self.pointings.take(now) {
            let _ = self.notices.try_send(Notice::Pointings(pointings));
        }
    }

    fn handle(&mut self, now: Instant, event: Event) {
        match event {
            Event::Gone(actor) => {
                self.lanes.remove(actor);
                self.pointings.forget(actor);
                self.everywhere(|aggregator| aggregator.gone(actor));
            }
            Event::Forget(actor) => self.submit(now, actor, Job::Forget),
            Event::Keys(actor, message) => self.submit(now, actor, Job::Keys(message)),
            Event::Motion(actor, message) => self.motion(now, actor, message),
            Event::Commands(slot, commands, done) => {
                self.submit(now, Actor::Api, Job::Commands(Batch::new(slot, commands, done)));
            }
            Event::Attach(source, sink) => {
                let recipient = Recipient { aggregator: Aggregator::default(), sink, aim: Aim::default() };
                self.recipients.insert(source, recipient);
            }
            Event::Detach(source) => {
                self.recipients.remove(&source);
            }
            Event::Bind(slot, target) => self.bind(slot, target),
            Event::Rumble(source, number, motors) => {
                let recipient = self.recipients.get(&source);
                let owner = recipient.and_then(|recipient| recipient.aggregator.pad_of(number));
                if let Some((Actor::Peer(peer), slot, pad)) = owner {
                    // A game repeats it while it lasts.
                    let _ = self.notices.try_send(Notice::Rumble(peer, slot, pad, motors));
                }
            }
            Event::Switch(actor, slot, choice) => self.switch(actor, slot, choice),
        }
    }

    fn bind(&mut self, slot: SlotIndex, target: Option<Target>) {
        let former = self.routes.bind(slot, target);
        if let Some(recipient) = former.and_then(|source| self.recipients.get_mut(&source)) {
            let actions = recipient.aggregator.rebound(slot, |actor| self.routes.follows(actor, slot));
            recipient.apply_all(&self.applied, &actions);
        }
    }

    fn switch(&mut self, actor: Actor, slot: SlotIndex, choice: TargetChoice) {
        let former = self.routes.switch(actor, slot, choice);
        if let Some(recipient) = former.and_then(|source| self.recipients.get_mut(&source)) {
            let actions = recipient.aggregator.rebound(slot, |holder| holder == actor);
            recipient.apply_all(&self.applied, &actions);
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
            // The event refreshes its holds only when its turn comes; until then they must not time out.
            Admission::Waits if lives => {
                for recipient in self.recipients.values_mut() {
                    recipient.aggregator.seen(now, actor);
                }
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

    /// Carries out the next step of a lane: a slice of a text, or one command or message.
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
                    self.routes.forget(actor);
                    self.everywhere(|aggregator| aggregator.forget(actor));
                }
                None => {}
            }
        }
    }

    /// Returns the text while there is more of it. If it failed, its batch is notified at its end.
    fn type_slice(
        &mut self,
        now: Instant,
        actor: Actor,
        mut typing: Typing,
        batch: &mut Option<Batch>,
    ) -> Option<Typing> {
        let Some((target, recipient)) = recipient(&self.routes, &mut self.recipients, actor, typing.slot)
        else {
            if let Some(batch) = batch.take() {
                batch.finish(Err(CommandError::NoSink(typing.slot)));
            }
            return None;
        };
        // Others may have aimed at another window between two slices.
        recipient.take_aim(now, target.window, actor, Need::Front, &self.applied);
        let result = recipient.sink.aim(target.window);
        let result = result.and_then(|()| recipient.sink.apply(&Action::Text(typing.slice().to_owned())));
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
        let Some((target, recipient)) = recipient(&self.routes, &mut self.recipients, actor, slot) else {
            return;
        };
        if matches!(message, KeysMessage::Held { .. }) && recipient.aim.window() != target.window {
            // Everything that was held there has been released; a repeated snapshot must not press it elsewhere.
            return recipient.aggregator.seen(now, actor);
        }
        recipient.take_aim(now, target.window, actor, Need::of(&message), &self.applied);
        let mut actions = recipient.aggregator.keys(now, actor, message);
        lane.typing = take_text(&mut actions).map(|text| Typing::new(slot, text));
        if recipient.bring_up(&actions).is_ok() {
            recipient.apply_all(&self.applied, &actions);
            self.moved(slot, actor, &actions);
        }
    }

    fn motion(&mut self, now: Instant, actor: Actor, message: MotionMessage) {
        let slot = message.slot();
        let Some((target, recipient)) = recipient(&self.routes, &mut self.recipients, actor, slot) else {
            return;
        };
        if !recipient.take_aim(now, target.window, actor, Need::FrontIfFree, &self.applied) {
            return;
        }
        let actions = recipient.aggregator.motion(now, actor, message);
        if recipient.bring_up(&actions).is_ok() {
            recipient.apply_all(&self.applied, &actions);
            self.moved(slot, actor, &actions);
        }
    }

    /// Carries out one command of a batch. What is left of it goes back to the lane.
    fn command(&mut self, now: Instant, mut batch: Batch, lane: &mut Lane) {
        let slot = batch.slot;
        let found = recipient(&self.routes, &mut self.recipients, Actor::Api, slot);
        let Some((target, recipient)) = found else {
            return batch.finish(Err(CommandError::NoSink(slot)));
        };
        let Some(command) = batch.next() else { return batch.finish(Ok(())) };
        if let InputCommand::Wait { ms } = command {
            lane.pause(now, Duration::from_millis(ms.into()));
            lane.batch = Some(batch);
            return;
        }
        recipient.take_aim(now, target.window, Actor::Api, Need::Front, &self.applied);
        let mut actions = recipient.aggregator.command(now, slot, command);
        lane.typing = take_text(&mut actions).map(|text| Typing::new(slot, text));
        let result = recipient.bring_up(&actions);
        let result = result
            .and_then(|()| actions.iter().try_for_each(|action| recipient.apply(&self.applied, action)));
        match result {
            Ok(()) => lane.batch = Some(batch),
            Err(error) => batch.fail(error),
        }
        self.moved(slot, Actor::Api, &actions);
    }

    fn everywhere(&mut self, mut act: impl FnMut(&mut Aggregator) -> Vec<Action>) {
        for recipient in self.recipients.values_mut() {
            let actions = act(&mut recipient.aggregator);
            recipient.apply_all(&self.applied, &actions);
        }
    }

    fn moved(&mut self, slot: SlotIndex, by: Actor, actions: &[Action]) {
        let position = actions.iter().rev().find_map(|action| match action {
            Action::PointerTo(at) => Some(*at),
            _ => None,
        });
        if let Some(at) = position {
            let notice = PointerNotice { at, slot, by };
            self.pointer.moved(notice);
            self.pointings.moved(notice);
        }
    }
}

impl Recipient {
    /// Aims at the window that an event is for. What anybody holds in the previous one is released first,
    /// while that is still the target. False when the sink is left as it is.
    fn take_aim(
        &mut self,
        now: Instant,
        window: Option<u32>,
        by: Actor,
        need: Need,
        applied: &Counter,
    ) -> bool {
        match self.aim.turn(now, window, by, need) {
            Turn::Refused => false,
            Turn::Kept => true,
            Turn::Turned => {
                let actions = self.aggregator.take_away();
                self.apply_all(applied, &actions);
                true
            }
        }
    }

    /// To be called before actions are carried out: their window may be covered by now, or gone.
    fn bring_up(&mut self, actions: &[Action]) -> Result<(), sink::Error> {
        if actions.is_empty() {
            return Ok(());
        }
        self.sink.aim(self.aim.window()).inspect_err(|error| tracing::debug!(%error, "input not carried out"))
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

/// The target of an actor's input to a slot, and its recipient.
fn recipient<'a>(
    routes: &'a Routes,
    recipients: &'a mut BTreeMap<SourceName, Recipient>,
    actor: Actor,
    slot: SlotIndex,
) -> Option<(&'a Target, &'a mut Recipient)> {
    let target = routes.target(actor, slot)?;
    Some((target, recipients.get_mut(&target.source)?))
}

/// The text among actions, which is then the only action.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::sink::Press;
    use common::id::PeerId;
    use common::input::{KeyCode, Position};
    use std::sync::{Mutex, PoisonError};

    /// A recorded action of a sink.
    #[derive(Debug, Clone, PartialEq)]
    enum Done {
        Aimed(Option<u32>),
        Applied(Action),
    }

    #[derive(Clone, Default)]
    struct Recorder(Arc<Mutex<Vec<Done>>>);

    impl Recorder {
        fn push(&self, done: Done) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(done);
        }

        /// The actions since the last call.
        fn take(&self) -> Vec<Done> {
            std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
        }
    }

    impl Sink for Recorder {
        fn apply(&mut self, action: &Action) -> Result<(), sink::Error> {
            self.push(Done::Applied(action.clone()));
            Ok(())
        }

        fn aim(&mut self, window: Option<u32>) -> Result<(), sink::Error> {
            self.push(Done::Aimed(window));
            Ok(())
        }
    }

    /// A router without its thread: the test says what time it is.
    fn router() -> (Router, mpsc::Receiver<Notice>) {
        let (notices, noticed) = mpsc::channel(16);
        (Router::new(notices, Arc::default()), noticed)
    }

    /// A source that takes input, in these slots with these windows.
    fn attach(router: &mut Router, source: &str, slots: &[(SlotIndex, Option<u32>)]) -> Recorder {
        let recorder = Recorder::default();
        let now = Instant::now();
        router.handle(now, Event::Attach(source.into(), Box::new(recorder.clone())));
        for (slot, window) in slots {
            router.handle(now, Event::Bind(*slot, Some(Target { source: source.into(), window: *window })));
        }
        recorder
    }

    fn peer() -> Actor {
        Actor::Peer(PeerId::unique())
    }

    fn key_down(slot: SlotIndex) -> KeysMessage {
        KeysMessage::Key { slot, code: KeyCode::parse("KeyA").unwrap(), down: true }
    }

    fn key(press: Press) -> Done {
        Done::Applied(Action::Key(KeyCode::parse("KeyA").unwrap(), press))
    }

    #[test]
    fn who_types_keeps_a_window_until_a_pause_and_what_is_held_is_released_before_it_changes() {
        let (mut router, _noticed) = router();
        let sink = attach(&mut router, "main", &[(0, Some(1)), (1, Some(2))]);
        let typist = peer();
        let other = peer();
        let start = Instant::now();
        let at = Position { x: 1.0, y: 2.0 };
        let pointer = |seq| MotionMessage::Pointer { slot: 1, seq, at };
        router.handle(start, Event::Keys(typist, key_down(0)));
        assert_eq!(sink.take(), [Done::Aimed(Some(1)), key(Press::Down)]);
        router.handle(start + Duration::from_millis(999), Event::Motion(other, pointer(1)));
        assert_eq!(sink.take(), []);
        router.handle(start + Duration::from_secs(1), Event::Motion(other, pointer(2)));
        let moved = Done::Applied(Action::PointerTo(at));
        assert_eq!(sink.take(), [key(Press::Up), Done::Aimed(Some(2)), moved]);
    }

    #[test]
    fn what_is_held_is_released_when_its_time_is_over_and_not_before() {
        let (mut router, _noticed) = router();
        let sink = attach(&mut router, "main", &[(0, None)]);
        let start = Instant::now();
        router.handle(start, Event::Keys(peer(), key_down(0)));
        sink.take();
        let due = router.deadline(start).unwrap();
        router.timeout(due - Duration::from_millis(1));
        assert_eq!(sink.take(), []);
        router.timeout(due);
        assert_eq!(sink.take(), [key(Press::Up)]);
        assert_eq!(router.deadline(due), None);
    }

    #[test]
    fn a_slot_that_shows_something_else_releases_what_those_hold_who_follow_it() {
        let now = Instant::now();
        let camera = || Some(Target { source: "camera".into(), window: None });
        let main = || Some(Target { source: "main".into(), window: None });
        for (choice, released) in [(TargetChoice::Follow, true), (TargetChoice::Own(main()), false)] {
            let (mut router, _noticed) = router();
            let sink = attach(&mut router, "main", &[(0, None)]);
            attach(&mut router, "camera", &[]);
            let actor = peer();
            router.handle(now, Event::Switch(actor, 0, choice.clone()));
            router.handle(now, Event::Keys(actor, key_down(0)));
            sink.take();
            router.handle(now, Event::Bind(0, camera()));
            let expected: &[Done] = if released { &[key(Press::Up)] } else { &[] };
            assert_eq!(sink.take(), expected, "{choice:?}");
        }
    }

    #[test]
    fn a_pause_between_commands_holds_up_only_what_comes_after_it() {
        let (mut router, _noticed) = router();
        let sink = attach(&mut router, "main", &[(0, None)]);
        let start = Instant::now();
        let pointer = |x| InputCommand::Pointer { at: Position { x, y: 0.0 } };
        let moved = |x| Done::Applied(Action::PointerTo(Position { x, y: 0.0 }));
        let (done, mut outcome) = tokio::sync::oneshot::channel();
        let commands = vec![pointer(1.0), InputCommand::Wait { ms: 50 }, pointer(2.0)];
        router.handle(start, Event::Commands(0, commands, done));
        let mut now = start;
        while router.deadline(now) == Some(now) {
            router.step_lane(now);
        }
        assert_eq!(sink.take(), [Done::Aimed(None), moved(1.0)]);
        now = router.deadline(now).unwrap();
        assert_eq!(now, start + Duration::from_millis(50));
        assert!(outcome.try_recv().is_err());
        while router.deadline(now) == Some(now) {
            router.step_lane(now);
        }
        assert_eq!(sink.take(), [Done::Aimed(None), moved(2.0)]);
        assert!(outcome.try_recv().unwrap().is_ok());
    }
}
