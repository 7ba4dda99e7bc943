//! What was changed of a streamer at run time: sources that were added or removed, what slots show, and whether one at a time has
//! control. Kept so that a new process of the streamer can be given it again.
//!
//! Windows are not: those of a new X server are others. Pure.

use std::collections::{BTreeMap, BTreeSet};

use common::control::{ControlChange, ControlMode};
use common::id::{SlotIndex, SourceName};
use common::ipc::request::{self, ChangeControl, ClearSlot, RemoveSource};
use common::ipc::{AnyRequest, Json};
use common::slots::{BindSlot, SlotSource};
use common::spec::{SourceSpec, StreamerSpec};
use serde::{Deserialize, Serialize};

/// The differences from what the spec says.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Arrangement {
    /// Sources that were added.
    added: BTreeMap<SourceName, SourceSpec>,
    /// Sources of the spec that were removed.
    removed: BTreeSet<SourceName>,
    /// What slots were told to show; `None`: nothing.
    slots: BTreeMap<SlotIndex, Option<BindSlot>>,
    /// How controllers share it.
    control: ControlMode,
}

/// Something that a streamer has done, and that its next process shall do again.
#[derive(Debug, Clone, PartialEq)]
pub enum Arranged {
    /// A source was added.
    Added(SourceName, SourceSpec),
    /// A source was removed.
    Removed(SourceName),
    /// A slot shows something else.
    Bound(SlotIndex, BindSlot),
    /// A slot shows nothing.
    Cleared(SlotIndex),
    /// Controllers share it in this way.
    Control(ControlMode),
}

impl Arranged {
    /// What has been done when this request of [`Arrangement::replay`] has succeeded.
    pub fn by(request: &AnyRequest) -> Option<Self> {
        match request {
            AnyRequest::AddSource(request) => {
                Some(Arranged::Added(request.name.clone(), request.source.0.clone()))
            }
            AnyRequest::RemoveSource(request) => Some(Arranged::Removed(request.name.clone())),
            AnyRequest::BindSlot(request) => {
                request.slot.map(|slot| Arranged::Bound(slot, request.bind.0.clone()))
            }
            AnyRequest::ClearSlot(request) => Some(Arranged::Cleared(request.slot)),
            _ => None,
        }
    }
}

impl Arrangement {
    /// Takes in what has been done to a streamer of `spec`.
    pub fn take(&mut self, spec: &StreamerSpec, arranged: Arranged) {
        match arranged {
            Arranged::Added(name, source) => {
                self.added.insert(name, source);
            }
            Arranged::Removed(name) => {
                self.added.remove(&name);
                if spec.sources.contains_key(&name) {
                    self.removed.insert(name.clone());
                }
                // It has left every slot that showed it.
                self.slots.retain(|_, bound| !bound.as_ref().is_some_and(|bound| shows(bound, &name)));
            }
            Arranged::Bound(slot, BindSlot { source: SlotSource::Spec(SourceSpec::Window(_)), .. }) => {
                self.slots.remove(&slot);
            }
            Arranged::Bound(slot, bind) => {
                self.slots.insert(slot, Some(bind));
            }
            Arranged::Cleared(slot) => {
                self.slots.insert(slot, None);
            }
            Arranged::Control(mode) => self.control = mode,
        }
    }

    /// What a new process must know before anybody joins it, or for a moment all would steer where one at a time may.
    pub fn replay_first(&self) -> Option<ChangeControl> {
        let change = ControlChange { mode: Some(self.control), ..ControlChange::default() };
        (self.control != ControlMode::default()).then_some(ChangeControl { change: Json(change) })
    }

    /// What to ask of a new process, in this order, once its source runs.
    pub fn replay(&self) -> Vec<AnyRequest> {
        let removed = self.removed.iter().map(|name| RemoveSource { name: name.clone() }.into());
        let added = self.added.iter().map(|(name, source)| {
            request::AddSource { name: name.clone(), source: Json(source.clone()) }.into()
        });
        let slots = self.slots.iter().map(|(slot, bound)| match bound {
            Some(bind) => request::BindSlot { slot: Some(*slot), bind: Json(bind.clone()) }.into(),
            None => ClearSlot { slot: *slot }.into(),
        });
        removed.chain(added).chain(slots).collect()
    }
}

fn shows(bound: &BindSlot, name: &str) -> bool {
    matches!(&bound.source, SlotSource::Name(shown) if shown == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> SourceSpec {
        serde_json::from_str(text).unwrap()
    }

    fn camera() -> SourceSpec {
        source(r#"{"type":"rtsp","url":"rtsp://user:secret@10.0.0.7/1"}"#)
    }

    fn named(name: &str) -> BindSlot {
        BindSlot { source: SlotSource::Name(name.into()), quality: String::new() }
    }

    fn spec() -> StreamerSpec {
        let mut spec = StreamerSpec::new(source(r#"{"type":"test"}"#));
        spec.sources.insert("door".into(), camera());
        spec
    }

    fn after(done: impl IntoIterator<Item = Arranged>) -> Arrangement {
        let mut arrangement = Arrangement::default();
        for arranged in done {
            arrangement.take(&spec(), arranged);
        }
        arrangement
    }

    #[test]
    fn a_new_process_is_asked_for_what_the_old_one_had_become() {
        let arrangement = after([
            Arranged::Added("yard".into(), camera()),
            Arranged::Bound(1, named("yard")),
            Arranged::Bound(2, named("door")),
            Arranged::Removed("door".into()),
            Arranged::Cleared(0),
        ]);
        assert_eq!(
            arrangement.replay(),
            [
                RemoveSource { name: "door".into() }.into(),
                request::AddSource { name: "yard".into(), source: Json(camera()) }.into(),
                ClearSlot { slot: 0 }.into(),
                request::BindSlot { slot: Some(1), bind: Json(named("yard")) }.into(),
            ]
        );
    }

    #[test]
    fn what_was_added_and_removed_again_leaves_no_trace() {
        let done = [Arranged::Added("yard".into(), camera()), Arranged::Removed("yard".into())];
        assert_eq!(after(done), Arrangement::default());
    }

    #[test]
    fn who_may_steer_is_said_before_anybody_joins() {
        assert_eq!(after([]).replay_first(), None);
        let arrangement = after([Arranged::Control(ControlMode::Exclusive)]);
        let change = ControlChange { mode: Some(ControlMode::Exclusive), ..ControlChange::default() };
        assert_eq!(arrangement.replay_first(), Some(ChangeControl { change: Json(change) }));
        assert_eq!(arrangement.replay(), []);
    }

    #[test]
    fn windows_are_not_asked_for_again() {
        let window = source(r#"{"type":"window","window_id":7}"#);
        let bind = BindSlot { source: SlotSource::Spec(window), quality: String::new() };
        let arrangement = after([Arranged::Bound(1, named("door")), Arranged::Bound(1, bind)]);
        assert_eq!(arrangement.replay(), []);
    }

    #[test]
    fn it_is_read_back_as_it_was_with_its_passwords() {
        let arrangement = after([Arranged::Added("yard".into(), camera()), Arranged::Cleared(0)]);
        let text = serde_json::to_string(&arrangement).unwrap();
        assert!(text.contains("secret"), "{text}");
        assert_eq!(serde_json::from_str::<Arrangement>(&text).unwrap(), arrangement);
        assert_eq!(serde_json::from_str::<Arrangement>("{}").unwrap(), Arrangement::default());
    }
}
