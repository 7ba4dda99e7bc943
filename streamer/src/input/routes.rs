//! Decides where an actor's input to a slot goes. Pure.

use std::collections::BTreeMap;

use common::id::{SlotIndex, SourceName};
use common::input::Actor;

use super::{Target, TargetChoice};

/// What slots show to everybody, and the choices of single actors.
#[derive(Debug, Default)]
pub struct Routes {
    slots: BTreeMap<SlotIndex, Target>,
    /// What actors have chosen; `None`: it takes no input.
    choices: BTreeMap<(Actor, SlotIndex), Option<Target>>,
}

impl Routes {
    /// The target of an actor's input to a slot; `None`: it takes none.
    pub fn target(&self, actor: Actor, slot: SlotIndex) -> Option<&Target> {
        match self.choices.get(&(actor, slot)) {
            Some(choice) => choice.as_ref(),
            None => self.slots.get(&slot),
        }
    }

    /// Whether an actor's input goes to what the slot shows to everybody.
    pub fn follows(&self, actor: Actor, slot: SlotIndex) -> bool {
        !self.choices.contains_key(&(actor, slot))
    }

    /// Changes what a slot shows to everybody who follows. If that is a change, returns the source that the input of those who
    /// [follow](Self::follows) has gone to so far.
    pub fn bind(&mut self, slot: SlotIndex, target: Option<Target>) -> Option<SourceName> {
        let before = match target.clone() {
            Some(target) => self.slots.insert(slot, target),
            None => self.slots.remove(&slot),
        };
        before.filter(|before| Some(before) != target.as_ref()).map(|before| before.source)
    }

    /// Changes what an actor sees in a slot. If its input goes elsewhere from now on, returns the source that it has gone to so far.
    pub fn switch(&mut self, actor: Actor, slot: SlotIndex, choice: TargetChoice) -> Option<SourceName> {
        let before = self.target(actor, slot).cloned();
        match choice {
            TargetChoice::Own(target) => self.choices.insert((actor, slot), target),
            TargetChoice::Follow => self.choices.remove(&(actor, slot)),
        };
        before.filter(|before| Some(before) != self.target(actor, slot)).map(|before| before.source)
    }

    /// An actor has left for good.
    pub fn forget(&mut self, actor: Actor) {
        self.choices.retain(|(chooser, _), _| *chooser != actor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::id::PeerId;

    fn target(source: &str, window: Option<u32>) -> Target {
        Target { source: source.into(), window }
    }

    #[test]
    fn who_has_chosen_sends_there_and_all_others_to_what_the_slot_shows() {
        let [follower, chooser, blind] =
            [PeerId::unique(), PeerId::unique(), PeerId::unique()].map(Actor::Peer);
        let mut routes = Routes::default();
        routes.bind(0, Some(target("main", None)));
        routes.switch(chooser, 0, TargetChoice::Own(Some(target("camera", None))));
        routes.switch(blind, 0, TargetChoice::Own(None));
        for (actor, slot, expected, follows) in [
            (follower, 0, Some("main"), true),
            (Actor::Api, 0, Some("main"), true),
            (chooser, 0, Some("camera"), false),
            (blind, 0, None, false),
            (follower, 1, None, true),
            (chooser, 1, None, true),
        ] {
            let found = routes.target(actor, slot).map(|target| target.source.as_str());
            assert_eq!((found, routes.follows(actor, slot)), (expected, follows), "{actor:?} {slot}");
        }
        routes.forget(chooser);
        assert_eq!(routes.target(chooser, 0), Some(&target("main", None)));
    }

    #[test]
    fn a_slot_that_shows_something_else_is_a_change_and_the_same_again_is_none() {
        for (before, after, former) in [
            (None, None, None),
            (None, Some(target("a", None)), None),
            (Some(target("a", None)), Some(target("a", None)), None),
            (Some(target("a", None)), Some(target("a", Some(7))), Some("a")),
            (Some(target("a", None)), Some(target("b", None)), Some("a")),
            (Some(target("a", None)), None, Some("a")),
        ] {
            let mut routes = Routes::default();
            routes.bind(0, before.clone());
            let changed = routes.bind(0, after.clone());
            assert_eq!(changed, former.map(SourceName::from), "{before:?} {after:?}");
            assert_eq!(routes.target(Actor::Api, 0), after.as_ref());
        }
    }

    #[test]
    fn a_choice_is_a_change_for_its_actor_if_it_sends_elsewhere() {
        let shown = || target("a", None);
        let follow = || TargetChoice::Follow;
        let nothing = || TargetChoice::Own(None);
        let own = |target| TargetChoice::Own(Some(target));
        for (before, after, former) in [
            (follow(), own(target("b", None)), Some("a")),
            (follow(), own(shown()), None),
            (follow(), nothing(), Some("a")),
            (nothing(), follow(), None),
            (nothing(), own(shown()), None),
            (own(target("b", None)), follow(), Some("b")),
            (own(target("b", None)), own(target("b", Some(7))), Some("b")),
            (own(shown()), follow(), None),
        ] {
            let mut routes = Routes::default();
            routes.bind(0, Some(shown()));
            routes.switch(Actor::Api, 0, before.clone());
            let changed = routes.switch(Actor::Api, 0, after.clone());
            assert_eq!(changed, former.map(SourceName::from), "{before:?} {after:?}");
        }
    }
}
