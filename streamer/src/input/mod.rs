//! Input: decoded from peers, merged by [`aggregate`], carried out by a [`sink`].
//!
//! ```text
//! shards, control loop ── Event ──▶ thread `input`: Router ─▶ Aggregator (per source) ─▶ Sink (X, …)
//! ```
//!
//! Input for a slot goes where the slot's picture comes from: to a source, or to a window of one. There
//! is one sink per source, so input for its windows is carried out one after the other: before each event,
//! the sink is aimed at its window, after what is held in the previous one was released.
//!
//! The thread owns the aggregators and the sinks. Nothing is batched: an event reaches the sink as soon as the thread
//! gets it. Only input of an actor whose own text is being typed waits for that (`lanes`).

pub mod aggregate;
mod aim;
mod devices;
mod lanes;
mod pointer;
mod queue;
mod router;
mod routes;
pub mod sink;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use common::id::{PeerId, SlotIndex, SourceName};
use common::input::{Actor, InputCommand, KeysMessage, MotionMessage, Position};
use tokio::sync::{mpsc, oneshot};

use crate::stats::Counter;
use queue::Sender;
use router::Router;
use sink::Sink;

/// An event for the input thread.
pub enum Event {
    /// A message of a peer.
    Keys(Actor, KeysMessage),
    /// A message of a peer.
    Motion(Actor, MotionMessage),
    /// Commands of a program; the reply comes when all have reached the sink.
    Commands(SlotIndex, Vec<InputCommand>, oneshot::Sender<Result<(), CommandError>>),
    /// An actor may not steer any more: what only it held is released.
    Gone(Actor),
    /// An actor has left for good.
    Forget(Actor),
    /// A source takes input from now on.
    Attach(SourceName, Box<dyn Sink>),
    /// A source takes no more input.
    Detach(SourceName),
    /// Changes where input to a slot goes, for everybody who has not chosen otherwise.
    Bind(SlotIndex, Option<Target>),
    /// A source makes a gamepad rumble, by its number in [`sink::Action::Pad`].
    Rumble(SourceName, u8, Motors),
    /// Changes where the input of one actor to a slot goes.
    Switch(Actor, SlotIndex, TargetChoice),
}

/// Strength of a gamepad's motors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Motors {
    /// The slow one, 0 to 1.
    pub strong: f32,
    /// The fast one, 0 to 1.
    pub weak: f32,
}

/// Who decides where the input of an actor to a slot goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetChoice {
    /// The session: it goes where everybody's goes.
    Follow,
    /// The actor, by what it has chosen to see in the slot; `None`: that takes no input.
    Own(Option<Target>),
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
    /// Too much is queued already.
    #[error("too much input waits to be carried out; try again")]
    Busy,
    /// The sink refused a command; those before it have been carried out.
    #[error("event {index}: {error}")]
    Sink {
        /// Index in the request.
        index: usize,
        /// The error of the sink.
        error: sink::Error,
    },
}

/// A notice of the thread to the control loop.
#[derive(Debug, Clone)]
pub enum Notice {
    /// The pointer was moved, for the other peers.
    Pointer(PointerNotice),
    /// Where actors point now who have moved the pointer, each once.
    Pointings(Vec<PointerNotice>),
    /// Input of this peer was refused, because too much of it is waiting.
    Refused(PeerId),
    /// A gamepad of this peer is to rumble: the slot, and the peer's number of the gamepad.
    Rumble(PeerId, SlotIndex, u8, Motors),
}

/// Somebody moved the pointer.
#[derive(Debug, Clone, Copy)]
pub struct PointerNotice {
    /// Its position.
    pub at: Position,
    /// The slot.
    pub slot: SlotIndex,
    /// The actor who moved it.
    pub by: Actor,
}

/// The queue was full.
#[derive(Debug)]
pub struct Busy;

/// Why the input thread is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the thread `input` is stuck: what it must know does not fit into its queue any more")]
pub struct Stuck;

/// Sends events to the input thread. Nothing here waits: a hanging X server, and the thread with it, blocks nobody else.
#[derive(Clone)]
pub struct Handle {
    events: Sender<Event>,
    applied: Arc<Counter>,
}

impl Handle {
    /// A message of a peer's `keys`.
    ///
    /// # Errors
    /// [`Busy`] when the queue is full; then the message has no effect.
    pub fn keys(&self, actor: Actor, message: KeysMessage) -> Result<(), Busy> {
        self.events.offer(Event::Keys(actor, message)).map_err(|_| Busy)
    }

    /// A message of a peer's `motion`; dropped when the queue is full.
    pub fn motion(&self, actor: Actor, message: MotionMessage) {
        let _ = self.events.offer(Event::Motion(actor, message));
    }

    /// Commands of a program. `done` gets the result when all have reached the sink, or at once when the queue is full.
    pub fn commands(
        &self,
        slot: SlotIndex,
        commands: Vec<InputCommand>,
        done: oneshot::Sender<Result<(), CommandError>>,
    ) {
        if let Err(Event::Commands(_, _, done)) = self.events.offer(Event::Commands(slot, commands, done)) {
            // Fails when nobody waits any more.
            let _ = done.send(Err(CommandError::Busy));
        }
    }

    /// An actor may not steer any more. If the queue is full, a timeout has the same effect within two seconds.
    pub fn gone(&self, actor: Actor) {
        let _ = self.events.offer(Event::Gone(actor));
    }

    /// An actor has left for good.
    pub fn forget(&self, actor: Actor) {
        self.send(Event::Forget(actor));
    }

    /// A source makes a gamepad rumble; dropped when the queue is full, as the source repeats it.
    pub fn rumble(&self, source: SourceName, pad: u8, motors: Motors) {
        let _ = self.events.offer(Event::Rumble(source, pad, motors));
    }

    /// Queues an event that must not be lost. There is room for it even when the queue is full of messages of peers.
    pub fn send(&self, event: Event) {
        self.events.insist(event);
    }

    /// Whether an event that must not be lost was lost. It stays so.
    pub fn trouble(&self) -> Option<Stuck> {
        self.events.has_lost().then_some(Stuck)
    }

    /// Actions carried out so far.
    pub fn applied(&self) -> u64 {
        self.applied.get()
    }
}

/// Starts the input thread. It ends when the last [`Handle`] is dropped, and releases everything.
///
/// # Errors
/// No thread can be started.
pub fn start(notices: mpsc::Sender<Notice>) -> io::Result<(Handle, JoinHandle<()>)> {
    let (events, receiver) = queue::queue();
    let applied = Arc::new(Counter::default());
    let router = Router::new(notices, applied.clone());
    let thread = crate::thread::spawn("input", move || router.run(&receiver))?;
    Ok((Handle { events, applied }, thread))
}

#[cfg(test)]
mod tests {
    use super::sink::Action;
    use super::*;
    use common::input::{Button, KeyAction, KeyCode, PadKind, PadState};
    use sink::Press;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

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

    fn started() -> (Handle, Receiver<Action>, mpsc::Receiver<Notice>) {
        let (notices, noticed) = mpsc::channel(16);
        let (handle, _) = start(notices).unwrap();
        let (actions, done) = sync_channel(64);
        handle.send(Event::Attach("main".into(), Box::new(Recorder(actions))));
        handle.send(Event::Bind(0, Some(Target { source: "main".into(), window: None })));
        (handle, done, noticed)
    }

    fn commands(handle: &Handle, slot: SlotIndex, commands: Vec<InputCommand>) -> Result<(), CommandError> {
        let (sender, done) = oneshot::channel();
        handle.commands(slot, commands, sender);
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
            match noticed.blocking_recv().unwrap() {
                Notice::Pointer(notice) => last = Some(notice.at.x),
                Notice::Pointings(_) => {}
                other => panic!("{other:?} instead of a position"),
            }
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

    #[test]
    fn a_gamepad_shakes_where_it_is_held_and_is_unplugged_when_its_peer_leaves() {
        let (handle, done, mut noticed) = started();
        let [a, b] = [PeerId::unique(), PeerId::unique()];
        let kind = PadKind::Xbox;
        let state = PadState { buttons: 1, ..PadState::default() };
        let plugged = |pad| KeysMessage::Pad { slot: 0, pad, kind, state };
        handle.keys(Actor::Peer(a), plugged(0)).unwrap();
        handle.keys(Actor::Peer(b), plugged(2)).unwrap();
        assert_eq!(done.recv().unwrap(), Action::Pad(0, kind, state));
        assert_eq!(done.recv().unwrap(), Action::Pad(1, kind, state));
        let motors = Motors { strong: 1.0, weak: 0.5 };
        // Nobody has number 5.
        for number in [5, 1] {
            handle.send(Event::Rumble("main".into(), number, motors));
        }
        let notice = noticed.blocking_recv().unwrap();
        assert!(
            matches!(notice, Notice::Rumble(peer, 0, 2, felt) if peer == b && felt == motors),
            "{notice:?}"
        );
        handle.forget(Actor::Peer(b));
        assert_eq!(done.recv().unwrap(), Action::Pad(1, kind, PadState::default()));
        assert_eq!(done.recv().unwrap(), Action::PadGone(1));
        handle.send(Event::Bind(0, None));
        assert_eq!(done.recv().unwrap(), Action::PadGone(0), "the slot shows something else");
    }

    /// Actions until all handles are gone; the recorder has room for 64 that are not taken.
    fn remaining(handle: Handle, done: &Receiver<Action>) -> Vec<Action> {
        drop(handle);
        done.iter().collect()
    }

    fn text(text: &str) -> KeysMessage {
        KeysMessage::Text { slot: 0, text: text.to_owned() }
    }

    #[test]
    fn a_long_text_holds_up_nobody_but_its_own_peer() {
        let (handle, done, _) = started();
        let a = Actor::Peer(PeerId::unique());
        let b = Actor::Peer(PeerId::unique());
        let long: String = ('\u{4e00}'..).take(4096).collect();
        let press =
            |code: &str, down| KeysMessage::Key { slot: 0, code: KeyCode::parse(code).unwrap(), down };
        handle.keys(a, text(&long)).unwrap();
        handle.keys(a, press("KeyA", true)).unwrap();
        handle.forget(a);
        // The sink takes nothing now but what it has room for: most of the text is still to come.
        handle.keys(b, press("KeyB", true)).unwrap();
        handle.keys(b, press("KeyB", false)).unwrap();
        let mut actions = Vec::new();
        while actions.last() != Some(&Action::Key(KeyCode::parse("KeyA").unwrap(), Press::Up)) {
            actions.push(done.recv().unwrap());
        }
        let key = |code: &str, press| Action::Key(KeyCode::parse(code).unwrap(), press);
        let at = |wanted: Action| actions.iter().position(|action| *action == wanted).unwrap();
        let other = at(key("KeyB", Press::Down));
        assert!(other < 70, "the other's key came after {other} slices");
        assert_eq!(at(key("KeyB", Press::Up)), other + 1);
        let typed: String = actions
            .iter()
            .filter_map(|action| match action {
                Action::Text(slice) => Some(slice.as_str()),
                _ => None,
            })
            .collect();
        assert!(typed == long);
        assert_eq!(at(key("KeyA", Press::Down)), actions.len() - 2, "its own key comes after its text");
    }

    #[test]
    fn a_program_is_answered_when_its_last_text_has_been_typed() {
        let (handle, done, _) = started();
        let long = "ä".repeat(1000);
        let sequence = || {
            let text = || InputCommand::Text { text: long.clone() };
            vec![text(), key("KeyA", KeyAction::Tap, 0), text()]
        };
        let (sender, answer) = oneshot::channel();
        handle.commands(0, sequence(), sender);
        let (refused, second) = oneshot::channel();
        handle.commands(0, vec![key("Nonsense", KeyAction::Tap, 0)], refused);
        let answered = std::thread::spawn(move || answer.blocking_recv().unwrap());
        // Two texts of 125 slices, and a key between them. The recorder has room for 64 that are not taken yet.
        let mut actions = Vec::new();
        let all = 2 * 125 + 2;
        while actions.len() < all {
            let early = answered.is_finished() && actions.len() + 65 < all;
            assert!(!early, "answered after {} actions", actions.len());
            actions.push(done.recv().unwrap());
        }
        answered.join().unwrap().unwrap();
        assert!(matches!(actions[125], Action::Key(_, Press::Down)), "in order");
        // The next request comes after the one before.
        assert!(matches!(second.blocking_recv().unwrap(), Err(CommandError::Sink { index: 0, .. })));
    }

    /// Hangs until `go_on` has no sender any more, and tells of gamepads that were unplugged.
    struct Hanging {
        hangs: SyncSender<()>,
        go_on: Receiver<()>,
        unplugged: SyncSender<u8>,
    }

    impl Sink for Hanging {
        fn apply(&mut self, action: &Action) -> Result<(), sink::Error> {
            let _ = self.hangs.try_send(());
            let _ = self.go_on.recv();
            if let Action::PadGone(pad) = action {
                self.unplugged.send(*pad).unwrap();
            }
            Ok(())
        }
    }

    #[test]
    fn a_sink_that_hangs_holds_up_nobody_and_who_left_is_forgotten_all_the_same() {
        let (handle, _) = start(mpsc::channel(16).0).unwrap();
        let (hangs, hanging) = sync_channel(1);
        let (end, go_on) = sync_channel(0);
        let (unplugged, gone) = sync_channel(1);
        handle.send(Event::Attach("main".into(), Box::new(Hanging { hangs, go_on, unplugged })));
        handle.send(Event::Bind(0, Some(Target { source: "main".into(), window: None })));
        let [a, b] = [Actor::Peer(PeerId::unique()), Actor::Peer(PeerId::unique())];
        let kind = PadKind::Xbox;
        let state = PadState::default();
        handle.keys(a, KeysMessage::Pad { slot: 0, pad: 0, kind, state }).unwrap();
        hanging.recv().unwrap();
        let button = |down| KeysMessage::Button { slot: 0, button: Button::LEFT, down, at: None };
        let mut down = true;
        while handle.keys(b, button(down)).is_ok() {
            down = !down;
        }
        let (sender, refused) = oneshot::channel();
        handle.commands(0, Vec::new(), sender);
        assert!(matches!(refused.blocking_recv().unwrap(), Err(CommandError::Busy)));
        handle.forget(a);
        handle.send(Event::Bind(1, Some(Target { source: "main".into(), window: None })));
        assert_eq!(handle.trouble(), None);
        drop((end, handle));
        assert_eq!(gone.recv(), Ok(0));
    }

    #[test]
    fn who_may_not_steer_any_more_types_no_further() {
        let (handle, done, _) = started();
        let actor = Actor::Peer(PeerId::unique());
        handle.keys(actor, text(&"x".repeat(4096))).unwrap();
        handle.gone(actor);
        let slices = remaining(handle, &done).len();
        assert!(slices < 70, "{slices} slices were typed");
    }

    #[test]
    fn a_peer_that_floods_a_session_with_texts_is_told_once() {
        let (handle, done, mut noticed) = started();
        let peer = PeerId::unique();
        for _ in 0..1000 {
            handle.keys(Actor::Peer(peer), text(&"x".repeat(4096))).unwrap();
        }
        remaining(handle, &done);
        assert!(matches!(noticed.blocking_recv(), Some(Notice::Refused(refused)) if refused == peer));
        assert!(noticed.blocking_recv().is_none());
    }
}
