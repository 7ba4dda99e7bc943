//! Windows of a program above its main window: menus, tooltips, dialogs.
//!
//! ```text
//! pixmap of the window ──┐
//! pixmaps of those above ┴─▶ a pixmap of ours, composed by the X server ──▶ Canvas
//! ```
//!
//! They are the windows above it that the window manager does not manage (`override_redirect`), or
//! that are transient for it (`WM_TRANSIENT_FOR`). Those that are transient for another window are left out. Their pixels
//! may have another depth than the window's, and be translucent, as in Qt's rounded menus: the server's RENDER extension
//! composes them. A server without it copies those of the window's own depth. While there are none, the window's
//! own pixmap is captured, and this costs nothing.

use std::collections::HashMap;
use std::ops::Range;

use x11rb::connection::{Connection as _, RequestConnection as _};
use x11rb::protocol::Event;
use x11rb::protocol::composite::{ConnectionExt as _, Redirect};
use x11rb::protocol::damage::{self, ConnectionExt as _};
use x11rb::protocol::render::{self, ConnectionExt as _, CreatePictureAux, PictOp, Pictformat};
use x11rb::protocol::xproto::{
    AtomEnum, ChangeWindowAttributesAux, ConnectionExt as _, CreateGCAux, EventMask, Gcontext,
    GetGeometryReply, GetWindowAttributesReply, MapState, Pixmap, Visualid, Window, WindowClass,
};
use x11rb::rust_connection::RustConnection;

use super::ewmh::{self, Atoms, of_window};
use super::list;
use crate::encode::rows::Rows;
use crate::media::Size;
use crate::source::Error;
use crate::source::desktop::canvas::Area;
use crate::source::desktop::display::x;

/// Most windows above one that are shown: menus of menus, and a tooltip.
const MOST: usize = 16;

/// See the module.
pub struct Overlay {
    root: Window,
    window: Window,
    depth: u8,
    /// The window's visual.
    visual: Visualid,
    /// The RENDER format of each visual; empty on a server without RENDER.
    formats: HashMap<Visualid, Pictformat>,
    /// The child of the root that the window is in, as it was last seen.
    top: Window,
    layers: Vec<Layer>,
    /// The pixmap in which they are composed, while there is something above the window.
    whole: Option<Whole>,
    gc: Gcontext,
    /// Windows have appeared, disappeared or moved.
    stale: bool,
    /// Rows of the picture that are to be captured again.
    dirty: Rows,
}

/// A window above the window.
struct Layer {
    place: Place,
    pixmap: Pixmap,
    /// The pixmap for RENDER.
    picture: Option<render::Picture>,
    damage: damage::Damage,
}

/// Which window it is, and where it is in the picture, its border included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    window: Window,
    visual: Visualid,
    x: i32,
    y: i32,
    width: u16,
    height: u16,
}

#[derive(Clone, Copy)]
struct Whole {
    pixmap: Pixmap,
    /// The pixmap for RENDER.
    picture: Option<render::Picture>,
    size: Size,
}

/// The part of a window that is in a strip of the picture.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    /// Its top left pixel in the window.
    from: (i16, i16),
    /// The same pixel in the picture.
    to: (i16, i16),
    width: u16,
    height: u16,
}

impl Overlay {
    /// Subscribes to windows that appear and disappear. `depth` and `visual` are those of the window.
    ///
    /// # Errors
    /// [`Error::X`] when the server is gone.
    pub fn watch(
        connection: &RustConnection,
        root: Window,
        window: Window,
        depth: u8,
        visual: Visualid,
    ) -> Result<Self, Error> {
        let events = ChangeWindowAttributesAux::new().event_mask(EventMask::SUBSTRUCTURE_NOTIFY);
        connection.change_window_attributes(root, &events).map_err(x)?;
        let gc = connection.generate_id().map_err(x)?;
        // Otherwise, copying reports what could not be copied.
        connection.create_gc(gc, window, &CreateGCAux::new().graphics_exposures(0)).map_err(x)?;
        Ok(Self {
            root,
            window,
            depth,
            visual,
            formats: formats(connection)?,
            top: window,
            layers: Vec::new(),
            whole: None,
            gc,
            stale: true,
            dirty: Rows::default(),
        })
    }

    /// Handles an event. True when something above the window was drawn to.
    pub fn note(&mut self, connection: &RustConnection, event: &Event, size: Size) -> Result<bool, Error> {
        match event {
            Event::MapNotify(event) if event.event == self.root => self.stale = true,
            Event::UnmapNotify(event) => self.stale |= self.shows(event.window),
            Event::DestroyNotify(event) => self.stale |= self.shows(event.window),
            Event::ReparentNotify(event) => self.stale |= event.window == self.window,
            Event::ConfigureNotify(event) => {
                self.stale |= event.window == self.top || self.shows(event.window);
            }
            Event::DamageNotify(event) => {
                let Some(layer) = self.layers.iter().find(|layer| layer.damage == event.damage) else {
                    return Ok(false);
                };
                connection.damage_subtract(layer.damage, x11rb::NONE, x11rb::NONE).map_err(x)?;
                layer.place.add_rows(&mut self.dirty, size);
                return Ok(true);
            }
            _ => {}
        }
        Ok(false)
    }

    fn shows(&self, window: Window) -> bool {
        self.layers.iter().any(|layer| layer.place.window == window)
    }

    /// Finds the windows above the window, if they may have changed. `own` is captured while there
    /// are none; returns what is to be captured from now on, if that has changed.
    ///
    /// # Errors
    /// [`Error::X`] when the server is gone.
    pub fn update(
        &mut self,
        connection: &RustConnection,
        atoms: &Atoms,
        own: Area,
    ) -> Result<Option<Area>, Error> {
        if !std::mem::take(&mut self.stale) {
            return Ok(None);
        }
        let places = self.places(connection, atoms, own.size)?;
        if self.layers.iter().map(|layer| layer.place).eq(places.iter().copied()) {
            return Ok(None);
        }
        let mut before = std::mem::take(&mut self.layers);
        for place in places {
            place.add_rows(&mut self.dirty, own.size);
            let known = before.iter().position(|layer| layer.place.window == place.window);
            let kept = known.map(|known| before.swap_remove(known));
            let layer = self.layer(connection, place, kept, own.size)?;
            self.layers.extend(layer);
        }
        for gone in before {
            gone.place.add_rows(&mut self.dirty, own.size);
            gone.end(connection)?;
        }
        self.target(connection, own).map(Some)
    }

    /// The area to capture for a window whose own picture is `own`.
    ///
    /// # Errors
    /// [`Error::X`] when the server is gone.
    pub fn target(&mut self, connection: &RustConnection, own: Area) -> Result<Area, Error> {
        if let Some(whole) = self.whole.take_if(|whole| self.layers.is_empty() || whole.size != own.size) {
            free(connection, whole.pixmap, whole.picture)?;
        }
        if self.layers.is_empty() {
            return Ok(own);
        }
        let whole = match self.whole {
            Some(whole) => whole,
            None => {
                let pixmap = connection.generate_id().map_err(x)?;
                // At most MAX_WIDTH and MAX_HEIGHT.
                let width = own.size.width as u16;
                let height = own.size.height as u16;
                let made = connection.create_pixmap(self.depth, pixmap, self.window, width, height);
                made.map_err(x)?;
                let picture = self.picture(connection, pixmap, self.visual)?;
                // Nothing is in it yet.
                self.dirty = Rows::all(own.size.height);
                *self.whole.insert(Whole { pixmap, picture, size: own.size })
            }
        };
        Ok(Area { drawable: whole.pixmap, origin: (0, 0), size: own.size })
    }

    /// Composes rows, if there is something above the window.
    ///
    /// # Errors
    /// [`Error::X`] when the server is gone.
    pub fn compose(&self, connection: &RustConnection, own: Area, rows: &Rows) -> Result<(), Error> {
        let Some(Whole { pixmap: whole, picture: blended, size }) = &self.whole else { return Ok(()) };
        for strip in rows.strips() {
            // Sides are at most MAX_WIDTH and MAX_HEIGHT.
            let top = strip.start as i16;
            let height = (strip.end - strip.start) as u16;
            let left = own.origin.0;
            let from = own.origin.1 + top;
            connection
                .copy_area(own.drawable, *whole, self.gc, left, from, 0, top, size.width as u16, height)
                .map_err(x)?;
            // Within the strip only: elsewhere, translucent pixels would be composed twice.
            for Layer { place, pixmap, picture, .. } in &self.layers {
                let Some(Part { from, to, width, height }) = place.within(strip, size.width) else {
                    continue;
                };
                match (picture, blended) {
                    (Some(picture), Some(blended)) => connection.render_composite(
                        PictOp::OVER,
                        *picture,
                        x11rb::NONE,
                        *blended,
                        from.0,
                        from.1,
                        0,
                        0,
                        to.0,
                        to.1,
                        width,
                        height,
                    ),
                    _ => connection
                        .copy_area(*pixmap, *whole, self.gc, from.0, from.1, to.0, to.1, width, height),
                }
                .map_err(x)?;
            }
        }
        Ok(())
    }

    /// Rows that are to be captured again.
    pub fn take_dirty(&mut self) -> Rows {
        std::mem::take(&mut self.dirty)
    }

    /// The RENDER picture of a pixmap; `None` if RENDER has no format for this visual.
    fn picture(
        &self,
        connection: &RustConnection,
        pixmap: Pixmap,
        visual: Visualid,
    ) -> Result<Option<render::Picture>, Error> {
        let Some(format) = self.formats.get(&visual) else { return Ok(None) };
        let picture = connection.generate_id().map_err(x)?;
        let made = connection.render_create_picture(picture, pixmap, *format, &CreatePictureAux::new());
        // The window may be gone, which an event reports.
        made.map_err(x)?.ignore_error();
        Ok(Some(picture))
    }

    /// The layer of a window: the existing one, if it has the same size; `None` when the window is gone or has
    /// a depth that cannot be composed with the main window's.
    fn layer(
        &mut self,
        connection: &RustConnection,
        place: Place,
        kept: Option<Layer>,
        size: Size,
    ) -> Result<Option<Layer>, Error> {
        if let Some(kept) = kept {
            kept.place.add_rows(&mut self.dirty, size);
            if (kept.place.width, kept.place.height) == (place.width, place.height) {
                return Ok(Some(Layer { place, ..kept }));
            }
            kept.end(connection)?;
        }
        let pixmap = connection.generate_id().map_err(x)?;
        let damage = connection.generate_id().map_err(x)?;
        let redirected =
            connection.composite_redirect_window(place.window, Redirect::AUTOMATIC).map_err(x)?;
        let named = connection.composite_name_window_pixmap(place.window, pixmap).map_err(x)?;
        let level = damage::ReportLevel::NON_EMPTY;
        let watched = connection.damage_create(damage, place.window, level).map_err(x)?;
        connection.damage_subtract(damage, x11rb::NONE, x11rb::NONE).map_err(x)?.ignore_error();
        let geometry = connection.get_geometry(pixmap).map_err(x)?;
        redirected.ignore_error();
        let watched = of_window(watched.check()).map_err(x)?.is_some();
        let named = of_window(named.check()).map_err(x)?.is_some();
        let geometry = of_window(geometry.reply()).map_err(x)?;
        let blended = self.formats.contains_key(&self.visual);
        let picture = if blended && named { self.picture(connection, pixmap, place.visual)? } else { None };
        let layer = Layer { place, pixmap, picture, damage };
        let fits = |geometry: GetGeometryReply| {
            (geometry.width, geometry.height) == (place.width, place.height)
                && (picture.is_some() || geometry.depth == self.depth)
        };
        if watched && named && geometry.is_some_and(fits) {
            return Ok(Some(layer));
        }
        // It is gone or has changed, which an event reports.
        layer.end(connection)?;
        Ok(None)
    }

    /// The windows above the window, the topmost last.
    fn places(
        &mut self,
        connection: &RustConnection,
        atoms: &Atoms,
        size: Size,
    ) -> Result<Vec<Place>, Error> {
        let mut top = self.window;
        loop {
            let tree = of_window(connection.query_tree(top).map_err(x)?.reply()).map_err(x)?;
            // An event reports its end.
            let Some(tree) = tree else { return Ok(Vec::new()) };
            if tree.parent == self.root || tree.parent == x11rb::NONE {
                break;
            }
            top = tree.parent;
        }
        self.top = top;
        let at = connection.translate_coordinates(self.window, self.root, 0, 0).map_err(x)?;
        let tree = connection.query_tree(self.root).map_err(x)?;
        let Some(at) = of_window(at.reply()).map_err(x)? else { return Ok(Vec::new()) };
        let children = tree.reply().map_err(x)?.children;
        let above = children.iter().rev().take_while(|other| **other != top);
        let mut asked = Vec::new();
        for other in above {
            let attributes = connection.get_window_attributes(*other).map_err(x)?;
            let geometry = connection.get_geometry(*other).map_err(x)?;
            let transient = ewmh::property(connection, *other, AtomEnum::WM_TRANSIENT_FOR).map_err(x)?;
            asked.push((*other, attributes, geometry, transient));
        }
        // A window may be transient for a menu, so the lowest come first.
        let mut owners = vec![self.window];
        let mut places = Vec::new();
        for (other, attributes, geometry, transient) in asked.into_iter().rev() {
            let attributes = of_window(attributes.reply()).map_err(x)?;
            let geometry = of_window(geometry.reply()).map_err(x)?;
            let transient = ewmh::words(transient).map_err(x)?;
            let (Some(attributes), Some(geometry)) = (attributes, geometry) else { continue };
            if attributes.map_state != MapState::VIEWABLE || attributes.class != WindowClass::INPUT_OUTPUT {
                continue;
            }
            let place = Place::of(other, &attributes, &geometry, (at.dst_x, at.dst_y));
            if !place.overlaps(size) || places.len() == MOST {
                continue;
            }
            let there_for = match transient.first() {
                Some(owner) => Some(*owner),
                None if attributes.override_redirect => None,
                None => self.framed_for(connection, other, atoms)?,
            };
            let belongs = match there_for {
                Some(owner) => owners.contains(&owner),
                None => attributes.override_redirect && self.is_of_the_program(connection, other),
            };
            if belongs {
                owners.push(other);
                places.push(place);
            }
        }
        Ok(places)
    }

    /// The window for which the window in a frame of the window manager is transient.
    fn framed_for(
        &self,
        connection: &RustConnection,
        frame: Window,
        atoms: &Atoms,
    ) -> Result<Option<Window>, Error> {
        let Some(client) = list::client_in(connection, frame, atoms).map_err(x)? else { return Ok(None) };
        let transient = ewmh::property(connection, client, AtomEnum::WM_TRANSIENT_FOR).map_err(x)?;
        Ok(ewmh::words(transient).map_err(x)?.first().copied())
    }

    /// Whether the same connection has created both: the server gives each connection a range of ids.
    fn is_of_the_program(&self, connection: &RustConnection, other: Window) -> bool {
        let mask = !connection.setup().resource_id_mask;
        other & mask == self.window & mask
    }
}

impl Layer {
    fn end(self, connection: &RustConnection) -> Result<(), Error> {
        // They may be gone already.
        connection.damage_destroy(self.damage).map_err(x)?.ignore_error();
        free(connection, self.pixmap, self.picture)?;
        let unredirected = connection.composite_unredirect_window(self.place.window, Redirect::AUTOMATIC);
        unredirected.map_err(x)?.ignore_error();
        Ok(())
    }
}

impl Place {
    /// `origin`: where the picture is on the screen.
    fn of(
        window: Window,
        attributes: &GetWindowAttributesReply,
        geometry: &GetGeometryReply,
        origin: (i16, i16),
    ) -> Self {
        let side = |inner: u16| inner.saturating_add(geometry.border_width.saturating_mul(2));
        Self {
            window,
            visual: attributes.visual,
            x: i32::from(geometry.x) - i32::from(origin.0),
            y: i32::from(geometry.y) - i32::from(origin.1),
            width: side(geometry.width),
            height: side(geometry.height),
        }
    }

    fn overlaps(&self, size: Size) -> bool {
        let axis = |at: i32, len: u16, all: u32| i64::from(at) < i64::from(all) && at + i32::from(len) > 0;
        axis(self.x, self.width, size.width) && axis(self.y, self.height, size.height)
    }

    /// Its part in a strip of a picture of `width`.
    fn within(&self, strip: &Range<u32>, width: u32) -> Option<Part> {
        // Rows and columns of a picture: at most MAX_HEIGHT and MAX_WIDTH.
        let left = self.x.max(0);
        let right = (self.x + i32::from(self.width)).min(width as i32);
        let top = self.y.max(strip.start as i32);
        let bottom = (self.y + i32::from(self.height)).min(strip.end as i32);
        if left >= right || top >= bottom {
            return None;
        }
        Some(Part {
            from: (i16::try_from(left - self.x).ok()?, i16::try_from(top - self.y).ok()?),
            to: (left as i16, top as i16),
            width: (right - left) as u16,
            height: (bottom - top) as u16,
        })
    }

    /// Adds the rows of the picture that it covers.
    fn add_rows(&self, rows: &mut Rows, size: Size) {
        let top = self.y.max(0);
        let bottom = (self.y + i32::from(self.height)).max(0);
        rows.add(top.cast_unsigned()..bottom.cast_unsigned(), size.height);
    }
}

/// The pixels of each visual of the display, as RENDER calls them; none if there is no such extension.
fn formats(connection: &RustConnection) -> Result<HashMap<Visualid, Pictformat>, Error> {
    if connection.extension_information(render::X11_EXTENSION_NAME).map_err(x)?.is_none() {
        return Ok(HashMap::new());
    }
    let version = connection.render_query_version(0, 11).map_err(x)?;
    let reply = connection.render_query_pict_formats().map_err(x)?.reply().map_err(x)?;
    version.reply().map_err(x)?;
    let visuals = reply.screens.iter().flat_map(|screen| &screen.depths).flat_map(|depth| &depth.visuals);
    Ok(visuals.map(|known| (known.visual, known.format)).collect())
}

fn free(connection: &RustConnection, pixmap: Pixmap, picture: Option<render::Picture>) -> Result<(), Error> {
    if let Some(picture) = picture {
        connection.render_free_picture(picture).map_err(x)?.ignore_error();
    }
    connection.free_pixmap(pixmap).map_err(x)?.ignore_error();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_within_the_picture_by_its_rows() {
        let size = Size { width: 300, height: 200 };
        let geometry =
            GetGeometryReply { x: 90, y: 80, width: 50, height: 40, border_width: 1, ..Default::default() };
        let attributes = GetWindowAttributesReply { visual: 33, ..Default::default() };
        let place = |origin| Place::of(7, &attributes, &geometry, origin);
        let expected = Place { window: 7, visual: 33, x: -10, y: -20, width: 52, height: 42 };
        assert_eq!(place((100, 100)), expected);
        for (origin, overlaps, strips) in [
            ((100, 100), true, Some(0..22)),
            ((60, 40), true, Some(40..82)),
            ((200, 100), false, Some(0..22)),
            ((60, 122), false, None),
            ((60, -119), true, Some(198..200)),
        ] {
            let mut rows = Rows::default();
            place(origin).add_rows(&mut rows, size);
            assert_eq!(
                (place(origin).overlaps(size), rows.strips()),
                (overlaps, strips.as_slice()),
                "{origin:?}"
            );
        }
    }
    #[test]
    fn of_a_place_what_is_in_a_strip_is_drawn() {
        let place = Place { window: 7, visual: 33, x: -10, y: 20, width: 52, height: 40 };
        let part = |from, to, width, height| Some(Part { from, to, width, height });
        assert_eq!(place.within(&(0..200), 300), part((10, 0), (0, 20), 42, 40));
        assert_eq!(place.within(&(30..50), 300), part((10, 10), (0, 30), 42, 20));
        assert_eq!(place.within(&(50..200), 30), part((10, 30), (0, 50), 30, 10));
        for beside in [0..20, 60..200] {
            assert_eq!(place.within(&beside, 300), None);
        }
    }
}
