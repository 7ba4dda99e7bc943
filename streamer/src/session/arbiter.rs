//! Who may steer where one at a time does: decides what becomes of each wish. Pure.
//!
//! ```text
//! shared ─PUT exclusive▶ free ──request, take, grant──▶ held ──request──▶ held, and asked for
//!    ▲                    ▲                              │ release, the holder leaves or may not steer any more
//!    └────PUT shared──────┴──────────nobody asks─────────┴──somebody does: the first of them holds it
//! ```

use common::control::{Control, ControlChange, ControlMode};
use common::id::PeerId;
use common::ipc::{Code, RequestError};

/// Most peers that ask at a time; whoever comes later may take control, or ask again.
const MAX_REQUESTS: usize = 64;

/// What a peer wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// To have control when it is free.
    Request,
    /// To have it now.
    Take,
    /// To have it no more, or ask for it no longer.
    Release,
    /// Somebody else to have it.
    Grant(PeerId),
}

/// Holds who may steer.
#[derive(Debug, Default)]
pub struct Arbiter {
    control: Control,
}

impl Arbiter {
    /// Who may steer now.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// What a peer, whose role permits to steer, wants. True when something has changed.
    ///
    /// # Errors
    /// It cannot have that. `may_steer` tells of a peer whether its role permits that.
    pub fn wish(
        &mut self,
        by: PeerId,
        wish: Wish,
        may_steer: impl Fn(PeerId) -> bool,
    ) -> Result<bool, RequestError> {
        if self.control.mode == ControlMode::Shared {
            return Err(refused(Code::ControlIsShared, "everybody who may steer has control here"));
        }
        if !may_steer(by) {
            return Err(refused(Code::NotAController, "this peer is a viewer: it may watch, not steer"));
        }
        let holds = self.control.holder == Some(by);
        match wish {
            Wish::Request if holds || self.control.requests.contains(&by) => Ok(false),
            Wish::Request if self.control.holder.is_none() => Ok(self.give(by)),
            Wish::Request if self.control.requests.len() >= MAX_REQUESTS => {
                Err(RequestError::new(Code::Busy, "too many ask for control already"))
            }
            Wish::Request => {
                self.control.requests.push(by);
                Ok(true)
            }
            Wish::Take => Ok(!holds && self.give(by)),
            Wish::Release => Ok(self.leave(by)),
            Wish::Grant(_) if !holds => Err(refused(Code::NotInControl, "only who has control can grant it")),
            Wish::Grant(to) if !may_steer(to) => Err(no_controller(to)),
            Wish::Grant(to) => Ok(to != by && self.give(to)),
        }
    }

    /// What an administrator wants. True when something has changed.
    ///
    /// # Errors
    /// It cannot be.
    pub fn change(
        &mut self,
        change: ControlChange,
        may_steer: impl Fn(PeerId) -> bool,
    ) -> Result<bool, RequestError> {
        let before = self.control.clone();
        let mode = change.mode.unwrap_or(before.mode);
        if mode == ControlMode::Shared {
            if change.holder.is_some() {
                return Err(refused(Code::ControlIsShared, "nobody can be given what everybody has")
                    .with_field("holder"));
            }
            self.control = Control::default();
            return Ok(self.control != before);
        }
        if let Some(holder) = change.holder
            && !may_steer(holder)
        {
            return Err(no_controller(holder).with_field("holder"));
        }
        self.control.mode = mode;
        match change.holder {
            Some(holder) => drop(self.give(holder)),
            None if change.release => self.control.holder = None,
            None => {}
        }
        Ok(self.control != before)
    }

    /// A peer is gone, or may not steer any more. True when something has changed.
    pub fn leave(&mut self, peer: PeerId) -> bool {
        let asked = self.control.requests.len();
        self.control.requests.retain(|asking| *asking != peer);
        if self.control.holder != Some(peer) {
            return self.control.requests.len() != asked;
        }
        self.control.holder = None;
        if !self.control.requests.is_empty() {
            self.control.holder = Some(self.control.requests.remove(0));
        }
        true
    }

    fn give(&mut self, to: PeerId) -> bool {
        self.control.requests.retain(|asking| *asking != to);
        self.control.holder = Some(to);
        true
    }
}

fn refused(code: Code, message: &str) -> RequestError {
    RequestError::new(code, message)
}

fn no_controller(peer: PeerId) -> RequestError {
    RequestError::new(Code::NotAController, format!("there is no controller {peer}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(_: PeerId) -> bool {
        true
    }

    fn exclusive() -> Arbiter {
        let mut arbiter = Arbiter::default();
        let change = ControlChange { mode: Some(ControlMode::Exclusive), ..ControlChange::default() };
        assert_eq!(arbiter.change(change, all), Ok(true));
        arbiter
    }

    fn code<T: std::fmt::Debug>(result: Result<T, RequestError>) -> &'static str {
        result.unwrap_err().code.as_str()
    }

    #[test]
    fn shared_control_is_everybodys_and_nobody_can_have_it() {
        let (mut arbiter, a) = (Arbiter::default(), PeerId::unique());
        assert!(arbiter.control().admits(a));
        assert_eq!(code(arbiter.wish(a, Wish::Take, all)), "control_is_shared");
        let change = ControlChange { holder: Some(a), ..ControlChange::default() };
        assert_eq!(code(arbiter.change(change, all)), "control_is_shared");
    }

    #[test]
    fn control_is_asked_for_granted_taken_and_released() {
        let (mut arbiter, a, b, c) = (exclusive(), PeerId::unique(), PeerId::unique(), PeerId::unique());
        assert!(!arbiter.control().admits(a));
        assert_eq!(arbiter.wish(a, Wish::Request, all), Ok(true));
        assert!(arbiter.control().admits(a) && !arbiter.control().admits(b));
        assert_eq!(arbiter.wish(b, Wish::Request, all), Ok(true));
        assert_eq!(arbiter.wish(b, Wish::Request, all), Ok(false));
        assert_eq!(arbiter.control().requests, [b]);
        assert_eq!(code(arbiter.wish(b, Wish::Grant(b), all)), "not_in_control");
        assert_eq!(arbiter.wish(a, Wish::Grant(b), all), Ok(true));
        assert_eq!((arbiter.control().holder, arbiter.control().requests.len()), (Some(b), 0));
        assert_eq!(arbiter.wish(c, Wish::Take, all), Ok(true));
        assert_eq!(arbiter.control().holder, Some(c));
        assert_eq!(arbiter.wish(c, Wish::Release, all), Ok(true));
        assert_eq!(arbiter.control().holder, None);
    }

    #[test]
    fn who_leaves_makes_way_for_who_asked_first() {
        let (mut arbiter, a, b, c) = (exclusive(), PeerId::unique(), PeerId::unique(), PeerId::unique());
        for peer in [a, b, c] {
            arbiter.wish(peer, Wish::Request, all).unwrap();
        }
        assert!(arbiter.leave(b) && !arbiter.leave(b));
        assert!(arbiter.leave(a));
        assert_eq!(arbiter.control().holder, Some(c));
        assert!(arbiter.leave(c));
        assert_eq!(arbiter.control(), &Control { mode: ControlMode::Exclusive, ..Control::default() });
    }

    #[test]
    fn viewers_get_no_control_by_whatever_way() {
        let (mut arbiter, a, viewer) = (exclusive(), PeerId::unique(), PeerId::unique());
        let steers = |peer| peer != viewer;
        assert_eq!(code(arbiter.wish(viewer, Wish::Take, steers)), "not_a_controller");
        arbiter.wish(a, Wish::Take, steers).unwrap();
        assert_eq!(code(arbiter.wish(a, Wish::Grant(viewer), steers)), "not_a_controller");
        let change = ControlChange { holder: Some(viewer), ..ControlChange::default() };
        assert_eq!(code(arbiter.change(change, steers)), "not_a_controller");
        assert_eq!(arbiter.control().holder, Some(a));
    }

    #[test]
    fn an_administrator_gives_takes_and_ends_it() {
        let (mut arbiter, a) = (exclusive(), PeerId::unique());
        let give = ControlChange { holder: Some(a), ..ControlChange::default() };
        assert_eq!(arbiter.change(give, all), Ok(true));
        assert_eq!(arbiter.change(give, all), Ok(false));
        assert_eq!(arbiter.change(ControlChange::default(), all), Ok(false));
        let release = ControlChange { release: true, ..ControlChange::default() };
        assert_eq!(arbiter.change(release, all), Ok(true));
        assert_eq!(arbiter.control().holder, None);
        let shared = ControlChange { mode: Some(ControlMode::Shared), ..ControlChange::default() };
        assert_eq!(arbiter.change(shared, all), Ok(true));
        assert!(arbiter.control().admits(a));
    }

    #[test]
    fn those_who_ask_are_bounded() {
        let (mut arbiter, holder) = (exclusive(), PeerId::unique());
        arbiter.wish(holder, Wish::Take, all).unwrap();
        for _ in 0..MAX_REQUESTS {
            arbiter.wish(PeerId::unique(), Wish::Request, all).unwrap();
        }
        assert_eq!(code(arbiter.wish(PeerId::unique(), Wish::Request, all)), "busy");
    }
}
