//! Input for one window: it is brought to the front before anything is injected.
//!
//! ```text
//! untargeted ──aim──▶ bring up: mapped ▶ raised ▶ focused, each verified ───────▶ target
//!                        ▲                                                       │
//!                        └── the focus is elsewhere, or some window has moved ───┘
//! ```
//!
//! While nothing changes, aiming takes one round trip: the focus is queried, and the reply comes after the
//! events of everything that has changed. If there is a window manager, it does the work; otherwise the window is raised
//! and focused directly. Windows without a frame above it (menus, tooltips) belong to the program and
//! stay where they are.

#![expect(clippy::disallowed_methods, reason = "waits for somebody else, with a deadline")]

use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use common::input::Position;
use x11rb::connection::Connection as _;
use x11rb::protocol::Event;
use x11rb::protocol::xproto::{
    AtomEnum, ChangeWindowAttributesAux, ConfigureWindowAux, ConnectionExt as _, EventMask, GetGeometryReply,
    InputFocus, MapState, StackMode, Window, WindowClass,
};
use x11rb::rust_connection::RustConnection;

use super::X11Sink;
use crate::input::sink::Error;
use crate::source::desktop::windows::ewmh::{self, Atoms, of_window};
use crate::wake::wait_readable;

/// How long a window may take to get the focus, or to move.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long the window manager may take before the focus is set without it: it refuses windows that
/// claim to want none, but a window that is aimed at is to get input.
const MANAGER_TIME: Duration = Duration::from_millis(50);
/// How long a minimised window may take to be restored: some window managers animate this.
const RETURN: Duration = Duration::from_millis(500);
/// It is restored when nothing has moved for this long.
const AT_REST: Duration = Duration::from_millis(50);
/// Polling interval for changes that end without an event.
const LOOK: Duration = Duration::from_millis(5);
/// We act for the user, as a pager does (EWMH, source indication).
const PAGER: u32 = 2;
/// `_NET_MOVERESIZE_WINDOW`: x and y are those of the window itself, not of its frame; they are given; by a pager.
const MOVE: u32 = 10 | 1 << 8 | 1 << 9 | PAGER << 12;

/// Where input goes.
pub(super) struct Aim {
    atoms: Atoms,
    target: Option<Target>,
    /// Whether windows have moved, appeared or disappeared since the target was brought up.
    stale: bool,
}

#[derive(Debug)]
struct Target {
    window: Window,
    /// The window with the focus: the target, or a window in it.
    focus: Window,
    place: Place,
    /// Windows that stay above it although it was raised, because the window manager wants that.
    over: Vec<Window>,
}

/// Where a window is on the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    x: i32,
    y: i32,
    width: i32,
    height: i32,
    screen: (i32, i32),
}

/// The ancestor of a window that is a child of the root, and what is over it.
struct Stack {
    top: Window,
    above: Vec<Window>,
}

impl Aim {
    /// Aims at the whole screen, and subscribes to windows that appear, disappear and move.
    pub(super) fn new(x: &RustConnection, root: Window) -> Result<Self, Error> {
        let atoms = Atoms::new(x)?;
        let events = EventMask::SUBSTRUCTURE_NOTIFY | EventMask::STRUCTURE_NOTIFY;
        x.change_window_attributes(root, &ChangeWindowAttributesAux::new().event_mask(events))?;
        Ok(Self { atoms: atoms.reply()?, target: None, stale: true })
    }

    /// Takes note of an event.
    pub(super) fn note(&mut self, event: &Event) {
        self.stale |= matches!(
            event,
            Event::ConfigureNotify(_)
                | Event::MapNotify(_)
                | Event::UnmapNotify(_)
                | Event::DestroyNotify(_)
                | Event::ReparentNotify(_)
                | Event::CirculateNotify(_)
                | Event::GravityNotify(_)
        );
    }
}

impl X11Sink {
    /// As [`Sink::aim`](crate::input::sink::Sink::aim).
    pub(super) fn aim_at(&mut self, window: Option<Window>) -> Result<(), Error> {
        let Some(window) = window else {
            if self.aim.target.take().is_some() {
                self.give_back()?;
            }
            return Ok(());
        };
        let focus = self.x.get_input_focus()?.reply()?.focus;
        self.listen()?;
        match &self.aim.target {
            Some(target) if target.window == window => {
                if !self.aim.stale && target.focus == focus {
                    return Ok(());
                }
            }
            _ => self.begin(window)?,
        }
        // There is no target if this fails.
        let known = self.aim.target.take().filter(|target| target.window == window);
        let target = self.bring_up(window, &known.map(|target| target.over).unwrap_or_default())?;
        self.aim.target = Some(target);
        Ok(())
    }

    /// Prepares for a window that was not aimed at before.
    fn begin(&mut self, window: Window) -> Result<(), Error> {
        if window == self.root || window == x11rb::NONE {
            return Err(Error::NoSuchWindow(window));
        }
        // Modifiers that were changed for characters of another window are restored first.
        self.give_back()?;
        let events = EventMask::FOCUS_CHANGE | EventMask::STRUCTURE_NOTIFY;
        let events = ChangeWindowAttributesAux::new().event_mask(events);
        self.x.change_window_attributes(window, &events)?.ignore_error();
        Ok(())
    }

    /// Maps, raises and focuses it, as far as needed. `known` are the windows that stay above it.
    fn bring_up(&mut self, window: Window, known: &[Window]) -> Result<Target, Error> {
        // Whatever happens from here on makes it stale again.
        self.aim.stale = false;
        let managed = ewmh::manager(&self.x, self.root, &self.aim.atoms)?
            .is_some_and(|supported| supported.contains(&self.aim.atoms._NET_ACTIVE_WINDOW));
        let attributes = of_window(self.x.get_window_attributes(window)?.reply())?;
        let mapped = attributes.ok_or(Error::NoSuchWindow(window))?.map_state == MapState::VIEWABLE;
        let mut over = self.covering(window)?;
        let covered = over.iter().any(|other| !known.contains(other));
        if !mapped && managed {
            self.ask_to_activate(window)?;
            self.wait_returned(window)?;
        }
        if !mapped || covered || self.focus_in(window)?.is_none() {
            if managed {
                self.ask_to_activate(window)?;
            } else {
                self.activate(window, mapped)?;
            }
        }
        let focus = self.confirm_focus(window, managed)?;
        if covered {
            over = self.wait_uncovered(window)?;
        }
        Ok(Target { window, focus, place: self.place(window)?, over })
    }

    /// The window with the focus, if it is `window` or in it. A focus that follows the pointer does not count.
    fn focus_in(&self, window: Window) -> Result<Option<Window>, Error> {
        let focus = self.x.get_input_focus()?.reply()?.focus;
        if focus == u32::from(InputFocus::POINTER_ROOT) || focus == self.root {
            return Ok(None);
        }
        let inside = ewmh::focused(&self.x, self.root)?.contains(&window);
        Ok(inside.then_some(focus))
    }

    /// The window manager maps, raises and focuses it.
    fn ask_to_activate(&self, window: Window) -> Result<(), Error> {
        let active = self.aim.atoms._NET_ACTIVE_WINDOW;
        ewmh::ask_manager(&self.x, self.root, window, active, [PAGER, x11rb::CURRENT_TIME, 0, 0, 0])?;
        Ok(())
    }

    fn activate(&self, window: Window, mapped: bool) -> Result<(), Error> {
        if !mapped {
            self.x.map_window(window)?.ignore_error();
        }
        let raise = ConfigureWindowAux::new().stack_mode(StackMode::ABOVE);
        self.x.configure_window(self.stack(window)?.top, &raise)?.ignore_error();
        self.set_focus(window)
    }

    fn set_focus(&self, window: Window) -> Result<(), Error> {
        self.x.set_input_focus(InputFocus::POINTER_ROOT, window, x11rb::CURRENT_TIME)?.ignore_error();
        Ok(())
    }

    /// Waits until the server reports that the focus is in `window`.
    fn confirm_focus(&mut self, window: Window, managed: bool) -> Result<Window, Error> {
        let start = Instant::now();
        let mut forced = !managed;
        loop {
            if let Some(focus) = self.focus_in(window)? {
                return Ok(focus);
            }
            let elapsed = start.elapsed();
            let exists = of_window(self.x.get_geometry(window)?.reply())?.is_some();
            if !exists || elapsed >= PATIENCE {
                return Err(Error::NoSuchWindow(window));
            }
            if !forced && elapsed >= MANAGER_TIME {
                forced = true;
                self.set_focus(window)?;
            }
            self.wait_for_event()?;
        }
    }

    /// Waits until it is on the screen and has come to rest.
    fn wait_returned(&mut self, window: Window) -> Result<(), Error> {
        let start = Instant::now();
        let mut moved = start;
        while start.elapsed() < RETURN {
            let attributes = of_window(self.x.get_window_attributes(window)?.reply())?;
            let mapped = attributes.ok_or(Error::NoSuchWindow(window))?.map_state == MapState::VIEWABLE;
            if std::mem::take(&mut self.aim.stale) || !mapped {
                moved = Instant::now();
            } else if moved.elapsed() >= AT_REST {
                break;
            }
            self.wait_for_event()?;
        }
        Ok(())
    }

    /// Waits until nothing is above it; returns the windows that stay there.
    fn wait_uncovered(&mut self, window: Window) -> Result<Vec<Window>, Error> {
        let start = Instant::now();
        loop {
            let over = self.covering(window)?;
            if over.is_empty() || start.elapsed() >= MANAGER_TIME {
                return Ok(over);
            }
            self.wait_for_event()?;
        }
    }

    /// Windows, or their frames, that are over a part of it.
    fn covering(&self, window: Window) -> Result<Vec<Window>, Error> {
        let Stack { top, above } = self.stack(window)?;
        let itself = of_window(self.x.get_geometry(top)?.reply())?.ok_or(Error::NoSuchWindow(window))?;
        let mut asked = Vec::with_capacity(above.len());
        for other in above {
            let transient = ewmh::property(&self.x, other, AtomEnum::WM_TRANSIENT_FOR)?;
            asked.push((other, self.x.get_window_attributes(other)?, self.x.get_geometry(other)?, transient));
        }
        let mut covering = Vec::new();
        for (other, attributes, geometry, transient) in asked {
            let attributes = of_window(attributes.reply())?;
            let geometry = of_window(geometry.reply())?;
            // A dialog of the window stays over it.
            let dialog = ewmh::words(transient)?.contains(&window);
            if let (Some(attributes), Some(geometry)) = (attributes, geometry)
                && attributes.map_state == MapState::VIEWABLE
                && attributes.class == WindowClass::INPUT_OUTPUT
                && !attributes.override_redirect
                && !dialog
                && overlap(&itself, &geometry)
            {
                covering.push(other);
            }
        }
        Ok(covering)
    }

    fn stack(&self, window: Window) -> Result<Stack, Error> {
        let mut top = window;
        loop {
            let tree = of_window(self.x.query_tree(top)?.reply())?.ok_or(Error::NoSuchWindow(window))?;
            if tree.parent == self.root || tree.parent == x11rb::NONE {
                break;
            }
            top = tree.parent;
        }
        let all = self.x.query_tree(self.root)?.reply()?.children;
        let above = all.into_iter().rev().take_while(|other| *other != top).collect();
        Ok(Stack { top, above })
    }

    fn place(&self, window: Window) -> Result<Place, Error> {
        let at = self.x.translate_coordinates(window, self.root, 0, 0)?;
        let geometry = self.x.get_geometry(window)?;
        let screen = self.x.get_geometry(self.root)?;
        let at = of_window(at.reply())?.ok_or(Error::NoSuchWindow(window))?;
        let geometry = of_window(geometry.reply())?.ok_or(Error::NoSuchWindow(window))?;
        let screen = screen.reply()?;
        Ok(Place {
            x: at.dst_x.into(),
            y: at.dst_y.into(),
            width: geometry.width.into(),
            height: geometry.height.into(),
            screen: (screen.width.into(), screen.height.into()),
        })
    }

    /// Converts a position of the target to one on the screen; the target is moved if that is outside of the screen.
    pub(super) fn on_screen(&mut self, at: Position) -> Result<(i32, i32), Error> {
        // `as` saturates.
        let point = (at.x.floor() as i32, at.y.floor() as i32);
        let Some(&Target { window, place, .. }) = self.aim.target.as_ref() else { return Ok(point) };
        if place.shift(point) == (0, 0) {
            return Ok(place.on_screen(point));
        }
        self.move_by(window, place, place.shift(point))?;
        let start = Instant::now();
        loop {
            let place = self.place(window)?;
            if let Some(target) = &mut self.aim.target {
                target.place = place;
            }
            if place.shift(point) == (0, 0) {
                return Ok(place.on_screen(point));
            }
            if start.elapsed() >= PATIENCE {
                return Err(Error::NoSuchWindow(window));
            }
            self.wait_for_event()?;
        }
    }

    fn move_by(&self, window: Window, place: Place, (dx, dy): (i32, i32)) -> Result<(), Error> {
        let message = self.aim.atoms._NET_MOVERESIZE_WINDOW;
        let managed = ewmh::manager(&self.x, self.root, &self.aim.atoms)?;
        if managed.is_some_and(|supported| supported.contains(&message)) {
            let x = (place.x + dx).cast_unsigned();
            let y = (place.y + dy).cast_unsigned();
            ewmh::ask_manager(&self.x, self.root, window, message, [MOVE, x, y, 0, 0])?;
            return Ok(());
        }
        let top = self.stack(window)?.top;
        let geometry = of_window(self.x.get_geometry(top)?.reply())?.ok_or(Error::NoSuchWindow(window))?;
        let x = i32::from(geometry.x) + dx;
        let y = i32::from(geometry.y) + dy;
        self.x.configure_window(top, &ConfigureWindowAux::new().x(x).y(y))?.ignore_error();
        Ok(())
    }

    /// Waits a little for something to happen.
    fn wait_for_event(&mut self) -> Result<(), Error> {
        self.x.flush()?;
        wait_readable([self.x.stream().as_fd()], Some(Instant::now() + LOOK))
            .map_err(|error| Error::Gone(error.to_string()))?;
        self.listen()
    }
}

impl Place {
    /// A point of the window; one outside is moved to its edge.
    fn clamp(self, (x, y): (i32, i32)) -> (i32, i32) {
        (x.clamp(0, (self.width - 1).max(0)), y.clamp(0, (self.height - 1).max(0)))
    }

    /// Where a point of the window is on the screen.
    fn on_screen(self, point: (i32, i32)) -> (i32, i32) {
        let (x, y) = self.clamp(point);
        (self.x + x, self.y + y)
    }

    /// By how much the window must be moved to have this point on the screen. If it is to be moved, all
    /// of it that fits is brought there.
    fn shift(self, point: (i32, i32)) -> (i32, i32) {
        let (x, y) = self.clamp(point);
        let (width, height) = self.screen;
        (axis(self.x, self.width, x, width), axis(self.y, self.height, y, height))
    }
}

/// The same in one dimension: a window of length `len` at `start`, a point `at` in it, a screen of `screen`.
fn axis(start: i32, len: i32, at: i32, screen: i32) -> i32 {
    if (0..screen).contains(&(start + at)) {
        return 0;
    }
    let wanted = if len <= screen {
        start.clamp(0, screen - len)
    } else {
        // As near to the middle as it can be without a gap at an edge.
        (screen / 2 - at).clamp(screen - len, 0)
    };
    wanted - start
}

fn overlap(a: &GetGeometryReply, b: &GetGeometryReply) -> bool {
    let apart = |a: i16, a_len: u16, b: i16, b_len: u16| {
        i32::from(a) + i32::from(a_len) <= i32::from(b) || i32::from(b) + i32::from(b_len) <= i32::from(a)
    };
    !apart(a.x, a.width, b.x, b.width) && !apart(a.y, a.height, b.y, b.height)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_window_is_moved_only_if_the_point_is_off_the_screen_and_then_comes_whole() {
        assert_eq!(axis(900, 300, 50, 1000), 0);
        assert_eq!(axis(900, 300, 100, 1000), -200);
        assert_eq!(axis(-200, 300, 199, 1000), 200);
        assert_eq!(axis(-200, 300, 200, 1000), 0);
        assert_eq!(axis(1500, 300, 0, 1000), -800);
    }

    proptest! {
        #[test]
        fn after_the_shift_the_point_is_on_the_screen(
            x in -32_000..32_000i32, len in 1..32_000i32, at in -100..33_000i32, screen in 16..8000i32
        ) {
            let place = Place { x, y: 0, width: len, height: 1, screen: (screen, 16) };
            let (dx, dy) = place.shift((at, 0));
            let moved = Place { x: x + dx, ..place };
            prop_assert_eq!(dy, 0);
            prop_assert!((0..screen).contains(&moved.on_screen((at, 0)).0));
            prop_assert_eq!(moved.shift((at, 0)), (0, 0));
        }
    }
}
