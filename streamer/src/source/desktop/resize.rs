//! Sets the size of a screen by RandR: a mode of that size on its one output.

use x11rb::cookie::Cookie;
use x11rb::protocol::randr::{self, ConnectionExt as _, SetConfig};
use x11rb::protocol::xproto::{ConnectionExt as _, Window};
use x11rb::rust_connection::RustConnection;

use super::display::x;
use crate::media::Size;
use crate::source::Error;

/// Prefix of the names of our modes, which are removed when they are no longer used.
const PREFIX: &str = "oriel-";
/// Sizes that games ask for when they want the whole screen. Where the one that they want is missing they take the next larger
/// one (SDL), and that would be the X server's whole frame buffer. So those that are larger than the screen are listed, too: a
/// game that asks for 1024x768 gets that on a screen of 1280x720.
const USUAL: [(u32, u32); 16] = [
    (640, 480),
    (800, 600),
    (1024, 768),
    (1152, 864),
    (1280, 720),
    (1280, 800),
    (1280, 960),
    (1280, 1024),
    (1366, 768),
    (1440, 900),
    (1600, 900),
    (1680, 1050),
    (1920, 1080),
    (1920, 1200),
    (2560, 1440),
    (3840, 2160),
];
/// The size of a pixel for programs: 96 to the inch.
const DPI: f64 = 96.0;

/// The output that shows the screen, and its CRTC.
struct Head {
    crtc: randr::Crtc,
    output: randr::Output,
    /// The current mode; 0 if the output is off.
    mode: randr::Mode,
    size: Size,
}

/// Sets the size of the screen that `root` is on.
///
/// # Errors
/// [`Error::X`] when the server cannot do that; the size is then as it was.
pub fn set_size(connection: &RustConnection, root: Window, size: Size) -> Result<(), Error> {
    let range = connection.randr_get_screen_size_range(root).map_err(x)?.reply().map_err(x)?;
    let fits = (u32::from(range.min_width)..=u32::from(range.max_width)).contains(&size.width)
        && (u32::from(range.min_height)..=u32::from(range.max_height)).contains(&size.height);
    if !fits {
        let message = format!(
            "a screen from {}x{} to {}x{} is possible, not {}x{}",
            range.min_width, range.min_height, range.max_width, range.max_height, size.width, size.height
        );
        return Err(x(message));
    }
    let head = head(connection, root)?;
    let mode = mode(connection, root, head.output, size)?;
    if let Err(error) = apply(connection, root, &head, size, mode) {
        // A partial change is undone; the first error is reported.
        let _ = apply(connection, root, &head, head.size, head.mode);
        return Err(error);
    }
    let most = Size { width: range.max_width.into(), height: range.max_height.into() };
    offer(connection, root, head.output, size, most)
}

/// Has the output list the usual sizes up to `most`, that of the screen, and no other mode of ours. The server's own, of its
/// frame buffer, cannot be removed (RandR refuses that with `BadAccess`).
fn offer(
    connection: &RustConnection,
    root: Window,
    output: randr::Output,
    screen: Size,
    most: Size,
) -> Result<(), Error> {
    let sizes = USUAL.map(|(width, height)| Size { width, height });
    let possible = sizes.into_iter().filter(|size| size.width <= most.width && size.height <= most.height);
    let wanted: Vec<_> = possible.chain([screen]).collect();
    let known = Modes::of(connection, root, output)?;
    // All are requested before the first reply is waited for.
    let missing = wanted.iter().filter(|size| known.of_size(**size).is_none());
    let created: Vec<_> = missing.map(|size| create(connection, root, *size)).collect::<Result<_, _>>()?;
    for created in created {
        let mode = created.reply().map_err(x)?.mode;
        connection.randr_add_output_mode(output, mode).map_err(x)?.ignore_error();
    }
    for (size, mode) in known.ours() {
        if !wanted.contains(&size) {
            // If another client uses it, it stays.
            connection.randr_delete_output_mode(output, mode).map_err(x)?.ignore_error();
            connection.randr_destroy_mode(mode).map_err(x)?.ignore_error();
        }
    }
    Ok(())
}

/// The modes of an output.
struct Modes(Vec<(randr::ModeInfo, bool)>);

impl Modes {
    fn of(connection: &RustConnection, root: Window, output: randr::Output) -> Result<Self, Error> {
        let resources = connection.randr_get_screen_resources_current(root).map_err(x)?;
        let listed = connection.randr_get_output_info(output, 0).map_err(x)?;
        let resources = resources.reply().map_err(x)?;
        let listed = listed.reply().map_err(x)?.modes;
        let mut names = &resources.names[..];
        let mut modes = Vec::new();
        for mode in resources.modes {
            let (name, rest) = names.split_at(names.len().min(mode.name_len.into()));
            names = rest;
            if listed.contains(&mode.id) {
                modes.push((mode, name.starts_with(PREFIX.as_bytes())));
            }
        }
        Ok(Self(modes))
    }

    fn of_size(&self, size: Size) -> Option<randr::Mode> {
        let mut all = self.0.iter();
        all.find(|(mode, _)| size_of(mode) == size).map(|(mode, _)| mode.id)
    }

    /// The modes that we have created.
    fn ours(&self) -> impl Iterator<Item = (Size, randr::Mode)> {
        self.0.iter().filter(|(_, is_ours)| *is_ours).map(|(mode, _)| (size_of(mode), mode.id))
    }
}

fn size_of(mode: &randr::ModeInfo) -> Size {
    Size { width: mode.width.into(), height: mode.height.into() }
}

fn head(connection: &RustConnection, root: Window) -> Result<Head, Error> {
    let resources = connection.randr_get_screen_resources_current(root).map_err(x)?.reply().map_err(x)?;
    let size = root_size(connection, root)?;
    for output in resources.outputs {
        let info = connection.randr_get_output_info(output, 0).map_err(x)?.reply().map_err(x)?;
        let crtc = if info.crtc == x11rb::NONE { info.crtcs.first().copied() } else { Some(info.crtc) };
        if let (randr::Connection::CONNECTED, Some(crtc)) = (info.connection, crtc) {
            let mode = connection.randr_get_crtc_info(crtc, 0).map_err(x)?.reply().map_err(x)?.mode;
            return Ok(Head { crtc, output, mode, size });
        }
    }
    Err(x("it has no output that could be resized"))
}

/// The output's mode of this size; a new one if there is none.
fn mode(
    connection: &RustConnection,
    root: Window,
    output: randr::Output,
    size: Size,
) -> Result<randr::Mode, Error> {
    if let Some(mode) = Modes::of(connection, root, output)?.of_size(size) {
        return Ok(mode);
    }
    let mode = create(connection, root, size)?.reply().map_err(x)?.mode;
    connection.randr_add_output_mode(output, mode).map_err(x)?.check().map_err(x)?;
    Ok(mode)
}

/// Creates a mode of this size.
fn create(
    connection: &RustConnection,
    root: Window,
    size: Size,
) -> Result<Cookie<'_, RustConnection, randr::CreateModeReply>, Error> {
    let width = size.width as u16;
    let height = size.height as u16;
    let name = format!("{PREFIX}{width}x{height}");
    // Without a monitor the timings mean nothing, but they must be plausible: 60 Hz.
    let info = randr::ModeInfo {
        width,
        height,
        dot_clock: size.width * size.height * 60,
        htotal: width,
        vtotal: height,
        hsync_start: width,
        hsync_end: width,
        vsync_start: height,
        vsync_end: height,
        name_len: name.len() as u16,
        ..Default::default()
    };
    connection.randr_create_mode(root, info, name.as_bytes()).map_err(x)
}

/// A CRTC must stay within the screen, so the screen is both sizes while its mode changes. The output is never off for
/// programs to see, and the server is not grabbed: that would wait for whoever has grabbed it.
fn apply(
    connection: &RustConnection,
    root: Window,
    head: &Head,
    size: Size,
    mode: randr::Mode,
) -> Result<(), Error> {
    let now = root_size(connection, root)?;
    let both = Size { width: now.width.max(size.width), height: now.height.max(size.height) };
    if both != now {
        set_screen_size(connection, root, both)?;
    }
    let outputs: &[_] = if mode == x11rb::NONE { &[] } else { &[head.output] };
    configure(connection, head.crtc, mode, outputs)?;
    if both != size {
        set_screen_size(connection, root, size)?;
    }
    Ok(())
}

fn set_screen_size(connection: &RustConnection, root: Window, size: Size) -> Result<(), Error> {
    let millimetres = |pixels: u32| (f64::from(pixels) / DPI * 25.4).round() as u32;
    let width = size.width as u16;
    let height = size.height as u16;
    connection
        .randr_set_screen_size(root, width, height, millimetres(size.width), millimetres(size.height))
        .map_err(x)?
        .check()
        .map_err(x)
}

/// The size of the screen as it is now.
pub fn root_size(connection: &RustConnection, root: Window) -> Result<Size, Error> {
    let geometry = connection.get_geometry(root).map_err(x)?.reply().map_err(x)?;
    Ok(Size { width: geometry.width.into(), height: geometry.height.into() })
}

fn configure(
    connection: &RustConnection,
    crtc: randr::Crtc,
    mode: randr::Mode,
    outputs: &[randr::Output],
) -> Result<(), Error> {
    let rotation = randr::Rotation::ROTATE0;
    let now = x11rb::CURRENT_TIME;
    let reply = connection.randr_set_crtc_config(crtc, now, now, 0, 0, mode, rotation, outputs);
    match reply.map_err(x)?.reply().map_err(x)?.status {
        SetConfig::SUCCESS => Ok(()),
        status => Err(x(format!("setting a mode: {status:?}"))),
    }
}
