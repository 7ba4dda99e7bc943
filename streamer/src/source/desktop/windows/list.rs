//! Finds the windows of a desktop that can be shared.

use std::collections::{HashMap, HashSet};

use common::slots::Window as Listed;
use common::spec::MIN_SIDE;
use x11rb::cookie::Cookie;
use x11rb::errors::ConnectionError;
use x11rb::protocol::xproto::{
    Atom, ConnectionExt as _, EventMask, GetGeometryReply, GetPropertyReply, GetWindowAttributesReply,
    MapState, Window, WindowClass,
};
use x11rb::rust_connection::RustConnection;

use super::ewmh::{self, Atoms, Names, of_window};

/// How far below a child of the root a program's own window is searched for: frames are one or two windows.
const FRAMES: usize = 3;
/// More windows than this are not listed.
const MOST: usize = 256;

/// The windows that can be shared, the topmost first: they are on the screen (perhaps covered), they belong to a program
/// rather than to the desktop itself, and each side has the size of a picture at least.
///
/// # Errors
/// When the server is gone.
pub fn list(x: &RustConnection, root: Window, atoms: &Atoms) -> Result<Vec<Listed>, ConnectionError> {
    let supported = ewmh::manager(x, root, atoms)?.unwrap_or_default();
    let lists = [atoms._NET_CLIENT_LIST_STACKING, atoms._NET_CLIENT_LIST];
    let lists: Vec<Atom> = lists.into_iter().filter(|list| supported.contains(list)).collect();
    let mut clients = if lists.is_empty() { unmanaged(x, root, atoms)? } else { managed(x, root, &lists)? };
    clients.reverse();
    clients.truncate(MOST);
    let asked: Vec<_> = clients.iter().map(|id| Asked::ask(x, *id, atoms)).collect::<Result<_, _>>()?;
    let focused = ewmh::focused(x, root)?;
    let mut windows = Vec::new();
    for asked in asked {
        windows.extend(asked.reply(atoms, &focused)?);
    }
    Ok(windows)
}

/// The windows in the window manager's list, the topmost last. It knows best which windows there are; their order
/// comes from the server. Window managers have the order of `_NET_CLIENT_LIST_STACKING` reversed (jwm), never change it
/// (fluxbox) or change it late (icewm).
fn managed(x: &RustConnection, root: Window, lists: &[Atom]) -> Result<Vec<Window>, ConnectionError> {
    let mut clients = Vec::new();
    let mut seen = HashSet::new();
    for list in lists {
        let listed = ewmh::words(ewmh::property(x, root, *list)?)?;
        clients.extend(listed.into_iter().filter(|client| seen.insert(*client)));
    }
    let Some(tree) = of_window(x.query_tree(root)?.reply())? else { return Ok(Vec::new()) };
    let heights: HashMap<Window, usize> =
        tree.children.into_iter().enumerate().map(|(height, top)| (top, height)).collect();
    let tops = tops(x, root, &clients)?;
    // Windows in one frame (tabs), or all of them on a desktop within the root, keep the window manager's order.
    let mut sorted: Vec<(Option<usize>, Window)> =
        tops.iter().map(|top| heights.get(top).copied()).zip(clients).collect();
    sorted.sort_by_key(|(height, _)| *height);
    Ok(sorted.into_iter().map(|(_, client)| client).collect())
}

/// For each window the child of the root that it is in, if it is found within [`FRAMES`] steps. One round trip a step.
fn tops(x: &RustConnection, root: Window, windows: &[Window]) -> Result<Vec<Window>, ConnectionError> {
    let mut tops = windows.to_vec();
    for _ in 0..=FRAMES {
        let trees: Vec<_> = tops.iter().map(|window| x.query_tree(*window)).collect::<Result<_, _>>()?;
        let mut moved = false;
        for (top, tree) in tops.iter_mut().zip(trees) {
            let Some(tree) = of_window(tree.reply())? else { continue };
            if tree.parent != root && tree.parent != x11rb::NONE {
                *top = tree.parent;
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
    Ok(tops)
}

/// The windows without a window manager that keeps a list: programs' windows below the root, the topmost last. A window manager
/// without a list (twm) still marks those of programs (`WM_STATE`); the others are its own menus.
fn unmanaged(x: &RustConnection, root: Window, atoms: &Atoms) -> Result<Vec<Window>, ConnectionError> {
    let is_managed = of_window(x.get_window_attributes(root)?.reply())?
        .is_some_and(|root| root.all_event_masks.contains(EventMask::SUBSTRUCTURE_REDIRECT));
    let Some(tree) = of_window(x.query_tree(root)?.reply())? else { return Ok(Vec::new()) };
    let asked: Vec<_> =
        tree.children.iter().map(|top| x.get_window_attributes(*top)).collect::<Result<_, _>>()?;
    let mut clients = Vec::new();
    for (top, asked) in tree.children.into_iter().zip(asked) {
        let Some(attributes) = of_window(asked.reply())? else { continue };
        if attributes.map_state != MapState::VIEWABLE {
            continue;
        }
        let own = (!is_managed && !attributes.override_redirect).then_some(top);
        clients.extend(client_in(x, top, atoms)?.or(own));
    }
    Ok(clients)
}

/// The window in a frame that a window manager has put it into: it has a `WM_STATE`.
pub(super) fn client_in(
    x: &RustConnection,
    top: Window,
    atoms: &Atoms,
) -> Result<Option<Window>, ConnectionError> {
    let mut level = vec![top];
    for _ in 0..=FRAMES {
        let mut below = Vec::new();
        let states: Vec<_> = level
            .iter()
            .map(|window| ewmh::property(x, *window, atoms.WM_STATE))
            .collect::<Result<_, _>>()?;
        let trees: Vec<_> = level.iter().map(|window| x.query_tree(*window)).collect::<Result<_, _>>()?;
        for ((window, state), tree) in level.iter().zip(states).zip(trees) {
            if !ewmh::words(state)?.is_empty() {
                return Ok(Some(*window));
            }
            below.extend(of_window(tree.reply())?.map(|tree| tree.children).unwrap_or_default());
        }
        below.truncate(MOST);
        level = below;
    }
    Ok(None)
}

/// Queries about a window; all replies come in one round trip.
struct Asked<'c> {
    id: Window,
    attributes: Cookie<'c, RustConnection, GetWindowAttributesReply>,
    geometry: Cookie<'c, RustConnection, GetGeometryReply>,
    kind: Cookie<'c, RustConnection, GetPropertyReply>,
    names: Names<'c>,
}

impl<'c> Asked<'c> {
    fn ask(x: &'c RustConnection, id: Window, atoms: &Atoms) -> Result<Self, ConnectionError> {
        Ok(Self {
            id,
            attributes: x.get_window_attributes(id)?,
            geometry: x.get_geometry(id)?,
            kind: ewmh::property(x, id, atoms._NET_WM_WINDOW_TYPE)?,
            names: Names::ask(x, id, atoms)?,
        })
    }

    /// `None` if it cannot be shared.
    fn reply(self, atoms: &Atoms, focused: &[Window]) -> Result<Option<Listed>, ConnectionError> {
        let attributes = of_window(self.attributes.reply())?;
        let geometry = of_window(self.geometry.reply())?;
        let kinds = ewmh::words(self.kind)?;
        let (title, app) = self.names.reply()?;
        let (Some(attributes), Some(geometry)) = (attributes, geometry) else { return Ok(None) };
        let furniture = [atoms._NET_WM_WINDOW_TYPE_DOCK, atoms._NET_WM_WINDOW_TYPE_DESKTOP];
        let width = u32::from(geometry.width);
        let height = u32::from(geometry.height);
        let shareable = attributes.map_state == MapState::VIEWABLE
            && attributes.class == WindowClass::INPUT_OUTPUT
            && !attributes.override_redirect
            && !kinds.iter().any(|kind| furniture.contains(kind))
            && width >= MIN_SIDE
            && height >= MIN_SIDE;
        let focused = focused.contains(&self.id);
        Ok(shareable.then_some(Listed { id: self.id, title, app, width, height, focused }))
    }
}
