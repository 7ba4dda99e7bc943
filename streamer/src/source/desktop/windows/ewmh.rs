//! Properties and messages by which window managers and programs communicate about windows (ICCCM, EWMH).
//!
//! All texts come from programs: they are bounded, and what cannot be printed is left out.

use x11rb::connection::Connection as _;
use x11rb::cookie::Cookie;
use x11rb::errors::{ConnectionError, ReplyError};
use x11rb::protocol::xproto::{
    Atom, AtomEnum, ClientMessageEvent, ConnectionExt as _, EventMask, GetPropertyReply, InputFocus, Window,
};
use x11rb::rust_connection::RustConnection;

/// Longest property that is read, in units of 4 bytes: room for the windows of any desktop and any title.
const MOST_WORDS: u32 = 4096;
/// Longest title or name, in characters.
const MOST_CHARS: usize = 256;
/// Deepest tree of windows that is followed.
const MOST_DEPTH: usize = 64;

x11rb::atom_manager! {
    /// Names of properties and messages.
    pub Atoms: AtomsCookie {
        UTF8_STRING,
        WM_STATE,
        _NET_SUPPORTING_WM_CHECK,
        _NET_SUPPORTED,
        _NET_CLIENT_LIST,
        _NET_CLIENT_LIST_STACKING,
        _NET_ACTIVE_WINDOW,
        _NET_MOVERESIZE_WINDOW,
        _NET_WM_NAME,
        _NET_WM_WINDOW_TYPE,
        _NET_WM_WINDOW_TYPE_DOCK,
        _NET_WM_WINDOW_TYPE_DESKTOP,
    }
}

/// The reply to a request about one window; `None` if it is gone.
///
/// # Errors
/// When the server is gone.
pub fn of_window<T>(reply: Result<T, ReplyError>) -> Result<Option<T>, ConnectionError> {
    match reply {
        Ok(reply) => Ok(Some(reply)),
        Err(ReplyError::X11Error(_)) => Ok(None),
        Err(ReplyError::ConnectionError(error)) => Err(error),
    }
}

/// Requests a property, of any type.
///
/// # Errors
/// When the server is gone.
pub fn property(
    x: &RustConnection,
    window: Window,
    name: impl Into<Atom>,
) -> Result<Cookie<'_, RustConnection, GetPropertyReply>, ConnectionError> {
    x.get_property(false, window, name, AtomEnum::ANY, 0, MOST_WORDS)
}

/// A property that is a list of windows or atoms.
///
/// # Errors
/// When the server is gone.
pub fn words(cookie: Cookie<'_, RustConnection, GetPropertyReply>) -> Result<Vec<u32>, ConnectionError> {
    let reply = of_window(cookie.reply())?;
    Ok(reply.and_then(|reply| Some(reply.value32()?.collect())).unwrap_or_default())
}

/// What the window manager can do: the content of `_NET_SUPPORTED`; `None` without one that knows EWMH.
///
/// # Errors
/// When the server is gone.
pub fn manager(
    x: &RustConnection,
    root: Window,
    atoms: &Atoms,
) -> Result<Option<Vec<Atom>>, ConnectionError> {
    let check = property(x, root, atoms._NET_SUPPORTING_WM_CHECK)?;
    let supported = property(x, root, atoms._NET_SUPPORTED)?;
    let check = words(check)?;
    let supported = words(supported)?;
    let Some(window) = check.first() else { return Ok(None) };
    // A window manager that is gone leaves the property behind, but not the window.
    let alive = words(property(x, *window, atoms._NET_SUPPORTING_WM_CHECK)?)?.first() == Some(window);
    Ok(alive.then_some(supported))
}

/// Sends a request for `window` to the window manager.
///
/// # Errors
/// When the server is gone.
pub fn ask_manager(
    x: &RustConnection,
    root: Window,
    window: Window,
    request: Atom,
    data: [u32; 5],
) -> Result<(), ConnectionError> {
    let event = ClientMessageEvent::new(32, window, request, data);
    let mask = EventMask::SUBSTRUCTURE_NOTIFY | EventMask::SUBSTRUCTURE_REDIRECT;
    x.send_event(false, root, mask, event)?;
    x.flush()
}

/// The window with the focus and its ancestors, without the root. Where the focus follows the pointer:
/// the windows under the pointer.
///
/// # Errors
/// When the server is gone.
pub fn focused(x: &RustConnection, root: Window) -> Result<Vec<Window>, ConnectionError> {
    let Some(focus) = of_window(x.get_input_focus()?.reply())? else { return Ok(Vec::new()) };
    if focus.focus == u32::from(InputFocus::POINTER_ROOT) || focus.focus == root {
        return under_pointer(x, root);
    }
    let mut chain = Vec::new();
    let mut window = focus.focus;
    while window != x11rb::NONE && window != root && chain.len() < MOST_DEPTH {
        chain.push(window);
        window = of_window(x.query_tree(window)?.reply())?.map_or(x11rb::NONE, |tree| tree.parent);
    }
    Ok(chain)
}

fn under_pointer(x: &RustConnection, root: Window) -> Result<Vec<Window>, ConnectionError> {
    let mut chain = Vec::new();
    let mut window = root;
    while chain.len() < MOST_DEPTH {
        match of_window(x.query_pointer(window)?.reply())? {
            Some(pointer) if pointer.child != x11rb::NONE => window = pointer.child,
            _ => break,
        }
        chain.push(window);
    }
    Ok(chain)
}

/// Properties with the names of a window.
pub struct Names<'c> {
    net: Cookie<'c, RustConnection, GetPropertyReply>,
    name: Cookie<'c, RustConnection, GetPropertyReply>,
    class: Cookie<'c, RustConnection, GetPropertyReply>,
    utf8: Atom,
}

impl<'c> Names<'c> {
    /// Requests them.
    ///
    /// # Errors
    /// When the server is gone.
    pub fn ask(x: &'c RustConnection, window: Window, atoms: &Atoms) -> Result<Self, ConnectionError> {
        Ok(Self {
            net: property(x, window, atoms._NET_WM_NAME)?,
            name: property(x, window, AtomEnum::WM_NAME)?,
            class: property(x, window, AtomEnum::WM_CLASS)?,
            utf8: atoms.UTF8_STRING,
        })
    }

    /// Title and name of the program; empty where there is none.
    ///
    /// # Errors
    /// When the server is gone.
    pub fn reply(self) -> Result<(String, String), ConnectionError> {
        let net = of_window(self.net.reply())?.unwrap_or_default();
        let name = of_window(self.name.reply())?.unwrap_or_default();
        let class = of_window(self.class.reply())?.unwrap_or_default();
        let title = if net.value.is_empty() { text(&name, self.utf8) } else { text(&net, self.utf8) };
        Ok((title, program(&class.value)))
    }
}

/// A text property: UTF-8 or, by ICCCM, Latin-1. Of compound text, ASCII is decoded correctly.
fn text(property: &GetPropertyReply, utf8: Atom) -> String {
    if property.type_ == utf8 || std::str::from_utf8(&property.value).is_ok() {
        printable(&String::from_utf8_lossy(&property.value))
    } else {
        printable(&property.value.iter().map(|byte| char::from(*byte)).collect::<String>())
    }
}

/// `WM_CLASS` is the name of the instance and that of the program, each ended by a zero.
fn program(class: &[u8]) -> String {
    let mut parts = class.split(|byte| *byte == 0).filter(|part| !part.is_empty());
    let instance = parts.next();
    let class = parts.next();
    printable(&String::from_utf8_lossy(class.or(instance).unwrap_or_default()))
}

fn printable(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).take(MOST_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(type_: Atom, value: &[u8]) -> GetPropertyReply {
        GetPropertyReply { type_, value: value.to_vec(), ..Default::default() }
    }

    #[test]
    fn titles_are_utf8_or_latin1_bounded_and_printable() {
        const UTF8: Atom = 300;
        assert_eq!(text(&reply(UTF8, "Fenêtre – 漢".as_bytes()), UTF8), "Fenêtre – 漢");
        assert_eq!(text(&reply(31, b"Fen\xeatre"), UTF8), "Fenêtre");
        assert_eq!(text(&reply(UTF8, b"a\xffb\n\x1b[2Jc"), UTF8), "a\u{fffd}b[2Jc");
        assert_eq!(text(&reply(UTF8, &b"x".repeat(5000)), UTF8).len(), MOST_CHARS);
    }

    #[test]
    fn the_name_of_a_program_is_its_class() {
        assert_eq!(program(b"xterm\0XTerm\0"), "XTerm");
        assert_eq!(program(b"xterm\0"), "xterm");
        assert_eq!(program(b"\0\0"), "");
        assert_eq!(program(b""), "");
    }
}
