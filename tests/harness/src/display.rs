//! The X server of a session, seen by a client that has nothing to do with the streamer.

use std::fs;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use x11rb::CURRENT_TIME;
use x11rb::connection::Connection;
use x11rb::protocol::Event;
use x11rb::protocol::xproto::{
    Atom, AtomEnum, ConnectionExt as _, CreateWindowAux, EventMask, ImageFormat, KeyButMask, PropMode,
    SELECTION_NOTIFY_EVENT, SelectionNotifyEvent, SelectionRequestEvent, Window, WindowClass,
};
use x11rb::rust_connection::{DefaultStream, RustConnection};
use x11rb::wrapper::ConnectionExt as _;

use crate::picture::Picture;
use crate::process::Process;
use crate::wait::eventually;

/// A connection to a session's X server.
pub struct Display {
    x: Arc<RustConnection>,
    root: Window,
    atoms: Atoms,
}

#[derive(Clone, Copy)]
struct Atoms {
    clipboard: Atom,
    targets: Atom,
    /// Where something is put that we ask for.
    here: Atom,
}

impl Display {
    /// Connects as a program of the session would: by its `DISPLAY` and `XAUTHORITY`.
    ///
    /// # Panics
    /// When that does not work.
    #[track_caller]
    pub fn of(program: &Process) -> Self {
        let variable = |name| program.variable(name).unwrap_or_else(|| panic!("{name} of {program:?}"));
        let number = variable("DISPLAY").trim_start_matches(':');
        let cookie = fs::read(variable("XAUTHORITY")).ok().and_then(|file| cookie(&file));
        let (name, data) = cookie.expect("an entry in the authority file");
        Self::connect(number, name, data)
    }

    /// Connects to an X server that trusts its own user.
    ///
    /// # Panics
    /// When that does not work.
    #[track_caller]
    pub fn without_cookie(number: &str) -> Self {
        Self::connect(number, Vec::new(), Vec::new())
    }

    #[track_caller]
    fn connect(number: &str, name: Vec<u8>, data: Vec<u8>) -> Self {
        let stream = UnixStream::connect(format!("/tmp/.X11-unix/X{number}")).expect("the X server's socket");
        let (stream, _) = DefaultStream::from_unix_stream(stream).expect("a stream that does not block");
        let x = RustConnection::connect_to_stream_with_auth_info(stream, 0, name, data);
        let x = x.expect("the X server lets us in");
        let root = x.setup().roots[0].root;
        let atom = |name| intern(&x, name);
        let atoms =
            Atoms { clipboard: atom("CLIPBOARD"), targets: atom("TARGETS"), here: atom("ORIEL_TEST") };
        Self { x: Arc::new(x), root, atoms }
    }

    fn atom(&self, name: &str) -> Atom {
        intern(&self.x, name)
    }

    fn window(&self) -> Window {
        let window = self.x.generate_id().expect("an id");
        let look = CreateWindowAux::new().event_mask(EventMask::PROPERTY_CHANGE);
        let class = WindowClass::INPUT_ONLY;
        self.x.create_window(0, window, self.root, 0, 0, 1, 1, 0, class, 0, &look).expect("a connection");
        window
    }

    /// The text on the clipboard, asked for as any program does that pastes.
    ///
    /// # Panics
    /// Nobody owns it, or its owner does not reply.
    #[track_caller]
    pub fn clipboard(&self) -> String {
        let text = self.clipboard_as("UTF8_STRING").expect("the owner of the clipboard has a text");
        String::from_utf8(text).expect("UTF-8")
    }

    /// The clipboard's content of this type; `None` if its owner has none.
    ///
    /// # Panics
    /// When the owner does not answer.
    #[track_caller]
    pub fn clipboard_as(&self, kind: &str) -> Option<Vec<u8>> {
        let window = self.window();
        let Atoms { clipboard, here, .. } = self.atoms;
        let kind = self.atom(kind);
        self.x.convert_selection(window, clipboard, kind, here, CURRENT_TIME).expect("a connection");
        self.x.flush().expect("a connection");
        let answer = eventually("the owner of the clipboard answers", || {
            match self.x.poll_for_event().expect("a connection") {
                Some(Event::SelectionNotify(answer)) if answer.requestor == window => Some(answer),
                _ => None,
            }
        });
        if answer.property != here {
            return None;
        }
        let value = self.x.get_property(true, window, here, kind, 0, u32::MAX).expect("a connection");
        Some(value.reply().expect("the property").value)
    }

    /// Copies a text to the clipboard as a program does, and serves it until the returned value is dropped.
    ///
    /// # Panics
    /// When the X server is gone.
    #[track_caller]
    pub fn own_clipboard(&self, content: &str) -> ClipboardOwner {
        self.own_clipboard_as("UTF8_STRING", content.as_bytes())
    }

    /// The same with something of any type.
    ///
    /// # Panics
    /// When the X server is gone.
    #[track_caller]
    pub fn own_clipboard_as(&self, kind: &str, content: &[u8]) -> ClipboardOwner {
        let window = self.window();
        let kind = self.atom(kind);
        self.x.set_selection_owner(window, self.atoms.clipboard, CURRENT_TIME).expect("a connection");
        self.x.sync().expect("a connection");
        let x = Arc::clone(&self.x);
        let atoms = self.atoms;
        let content = content.to_vec();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                match x.poll_for_event() {
                    Ok(Some(Event::SelectionRequest(request))) => serve(&x, atoms, &request, kind, &content),
                    Ok(_) => std::thread::sleep(Duration::from_millis(2)),
                    Err(_) => return,
                }
            }
        });
        ClipboardOwner { stop, thread: Some(thread) }
    }

    /// Takes the clipboard and never replies, like a program that hangs.
    ///
    /// # Panics
    /// When the X server is gone.
    #[track_caller]
    pub fn hold_clipboard_silently(&self) {
        let window = self.window();
        self.x.set_selection_owner(window, self.atoms.clipboard, CURRENT_TIME).expect("a connection");
        self.x.sync().expect("a connection");
    }

    /// Size of the screen, pixels.
    ///
    /// # Panics
    /// When the X server is gone.
    #[track_caller]
    pub fn size(&self) -> (u32, u32) {
        let geometry =
            self.x.get_geometry(self.root).expect("a connection").reply().expect("the root window");
        (geometry.width.into(), geometry.height.into())
    }

    /// Where the pointer is, pixels.
    ///
    /// # Panics
    /// When the X server is gone.
    #[track_caller]
    pub fn pointer(&self) -> (u32, u32) {
        let pointer = self.x.query_pointer(self.root).expect("a connection").reply().expect("the pointer");
        (pointer.root_x.max(0) as u32, pointer.root_y.max(0) as u32)
    }

    /// Whether Num Lock is on: the second modifier, in the keymap of an X server without a configuration.
    ///
    /// # Panics
    /// When the X server is gone.
    #[track_caller]
    pub fn num_lock(&self) -> bool {
        let pointer = self.x.query_pointer(self.root).expect("a connection").reply().expect("the pointer");
        pointer.mask.contains(KeyButMask::MOD2)
    }

    /// The whole screen.
    ///
    /// # Panics
    /// When the X server is gone.
    #[track_caller]
    pub fn picture(&self) -> Picture {
        let (width, height) = self.size();
        let w = width as u16;
        let h = height as u16;
        let image = self.x.get_image(ImageFormat::Z_PIXMAP, self.root, 0, 0, w, h, u32::MAX);
        let data = image.expect("a connection").reply().expect("the screen's pixels").data;
        let rgb = data.chunks_exact(4).flat_map(|pixel| [pixel[2], pixel[1], pixel[0]]).collect();
        Picture { width, height, rgb }
    }
}

/// An owner of the clipboard.
pub struct ClipboardOwner {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for ClipboardOwner {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(
            std::thread::panicking() || matches!(ended, Some(Ok(()))),
            "the owner of the clipboard failed"
        );
    }
}

fn intern(x: &RustConnection, name: &str) -> Atom {
    x.intern_atom(false, name.as_bytes()).expect("a connection").reply().expect("an atom").atom
}

/// Replies to a program that pastes or requests the list of types.
fn serve(x: &RustConnection, atoms: Atoms, request: &SelectionRequestEvent, kind: Atom, content: &[u8]) {
    let to = request.requestor;
    let at = request.property;
    let property = if request.target == kind {
        x.change_property8(PropMode::REPLACE, to, at, kind, content).expect("a connection");
        at
    } else if request.target == atoms.targets {
        let all = [atoms.targets, kind];
        x.change_property32(PropMode::REPLACE, to, at, AtomEnum::ATOM, &all).expect("a connection");
        at
    } else {
        x11rb::NONE
    };
    let answer = SelectionNotifyEvent {
        response_type: SELECTION_NOTIFY_EVENT,
        sequence: 0,
        time: request.time,
        requestor: request.requestor,
        selection: request.selection,
        target: request.target,
        property,
    };
    x.send_event(false, request.requestor, EventMask::NO_EVENT, answer).expect("a connection");
    x.flush().expect("a connection");
}

/// Name and data of the first entry of an authority file.
fn cookie(file: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut rest = file.get(2..)?;
    let mut next = || {
        let len = usize::from(u16::from_be_bytes(*rest.first_chunk::<2>()?));
        let text = rest.get(2..2 + len)?.to_vec();
        rest = &rest[2 + len..];
        Some(text)
    };
    let _address = next()?;
    let _number = next()?;
    Some((next()?, next()?))
}
