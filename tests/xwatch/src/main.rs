//! An X client that prints what input reaches it, for tests.
//!
//! It covers the screen with a window, takes the focus, says `{"type":"ready"}`, and then prints one JSON
//! line for each key, button and motion event. What it prints comes from the X server, so it shows
//! what any program of the desktop would have got.

mod keymap;

use std::io::Write;

use anyhow::Context;
use clap::Parser;
use serde_json::{Value, json};
use x11rb::CURRENT_TIME;
use x11rb::connection::Connection;
use x11rb::protocol::Event;
use x11rb::protocol::xproto::{
    AutoRepeatMode, ChangeKeyboardControlAux, ConnectionExt, CreateWindowAux, EventMask, InputFocus,
    KeyPressEvent, Mapping, Screen, Window, WindowClass,
};
use x11rb::rust_connection::RustConnection;

use keymap::Keymap;

#[derive(Parser)]
#[command(about = "Prints the input that reaches a window, a JSON object per line")]
struct Options {
    /// Size and place of the window, `WxH+X+Y`; the whole screen if absent.
    #[arg(long, value_parser = parse_geometry)]
    geometry: Option<Geometry>,
    /// Turn the X server's repetition of held keys off.
    #[arg(long)]
    no_autorepeat: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Geometry {
    width: u16,
    height: u16,
    x: i16,
    y: i16,
}

fn parse_geometry(text: &str) -> Result<Geometry, String> {
    let mut parts = text.split(['x', '+']);
    let mut next = || parts.next().and_then(|part| part.parse::<u16>().ok());
    let geometry = next().zip(next()).zip(next().zip(next()));
    match (geometry, parts.next()) {
        (Some(((width @ 1.., height @ 1..), (x @ 0..=0x7fff, y @ 0..=0x7fff))), None) => {
            Ok(Geometry { width, height, x: x.cast_signed(), y: y.cast_signed() })
        }
        _ => Err("must be WxH+X+Y".to_owned()),
    }
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let (connection, screen) = x11rb::connect(None).context("connecting to the X server")?;
    let screen = &connection.setup().roots[screen];
    if options.no_autorepeat {
        let off = ChangeKeyboardControlAux::new().auto_repeat_mode(AutoRepeatMode::OFF);
        connection.change_keyboard_control(&off)?.check().context("turning repetition off")?;
    }
    let window = open(&connection, screen, options.geometry)?;
    watch(&connection, screen, window, options.geometry.is_none())
}

fn open(connection: &RustConnection, screen: &Screen, geometry: Option<Geometry>) -> anyhow::Result<Window> {
    let width = screen.width_in_pixels;
    let height = screen.height_in_pixels;
    let geometry = geometry.unwrap_or(Geometry { width, height, x: 0, y: 0 });
    let window = connection.generate_id()?;
    let events = EventMask::KEY_PRESS
        | EventMask::KEY_RELEASE
        | EventMask::BUTTON_PRESS
        | EventMask::BUTTON_RELEASE
        | EventMask::POINTER_MOTION
        | EventMask::STRUCTURE_NOTIFY
        | EventMask::EXPOSURE;
    // No window manager is asked: there is none in most tests, and one would add its frame.
    let attributes =
        CreateWindowAux::new().override_redirect(1).background_pixel(screen.white_pixel).event_mask(events);
    let Geometry { width, height, x, y } = geometry;
    let class = WindowClass::INPUT_OUTPUT;
    connection
        .create_window(0, window, screen.root, x, y, width, height, 0, class, 0, &attributes)?
        .check()
        .context("creating the window")?;
    connection.map_window(window)?;
    connection.flush()?;
    Ok(window)
}

/// Prints until the connection ends.
fn watch(
    connection: &RustConnection,
    screen: &Screen,
    window: Window,
    whole_screen: bool,
) -> anyhow::Result<()> {
    let mut keymap = Keymap::read(connection)?;
    let root_events =
        x11rb::protocol::xproto::ChangeWindowAttributesAux::new().event_mask(EventMask::STRUCTURE_NOTIFY);
    connection.change_window_attributes(screen.root, &root_events)?;
    connection.flush()?;
    let mut ready = false;
    loop {
        match connection.wait_for_event().context("the X server is gone")? {
            // Only a window that is seen can have the focus.
            Event::Expose(_) if !ready => {
                connection.set_input_focus(InputFocus::PARENT, window, CURRENT_TIME)?.check()?;
                print(&json!({"type": "ready"}))?;
                ready = true;
            }
            Event::MappingNotify(change) if change.request == Mapping::KEYBOARD => {
                keymap = Keymap::read(connection)?;
            }
            // The screen has another size: go on covering it.
            Event::ConfigureNotify(change) if change.window == screen.root && whole_screen => {
                let size = x11rb::protocol::xproto::ConfigureWindowAux::new()
                    .width(u32::from(change.width))
                    .height(u32::from(change.height));
                connection.configure_window(window, &size)?;
                connection.flush()?;
            }
            event => {
                if let Some(line) = describe(&event, &keymap) {
                    print(&line)?;
                }
            }
        }
    }
}

fn describe(event: &Event, keymap: &Keymap) -> Option<Value> {
    let key = |event: &KeyPressEvent, down: bool| {
        let keysym = keymap.name(event.detail, event.state);
        json!({"type": "key", "keycode": event.detail, "keysym": keysym, "down": down, "time": event.time})
    };
    Some(match event {
        Event::KeyPress(event) => key(event, true),
        Event::KeyRelease(event) => key(event, false),
        Event::ButtonPress(event) | Event::ButtonRelease(event) => {
            let down = event.response_type & 0x7f == x11rb::protocol::xproto::BUTTON_PRESS_EVENT;
            let x = event.root_x;
            let y = event.root_y;
            json!({"type": "button", "button": event.detail, "down": down, "x": x, "y": y, "time": event.time})
        }
        Event::MotionNotify(event) => {
            json!({"type": "motion", "x": event.root_x, "y": event.root_y, "time": event.time})
        }
        _ => return None,
    })
}

/// A line at once, as who reads it waits for it.
fn print(line: &Value) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("nobody reads what is printed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn geometries() {
        let expected = Geometry { width: 640, height: 480, x: 10, y: 0 };
        assert_eq!(parse_geometry("640x480+10+0"), Ok(expected));
        for bad in ["", "640x480", "0x480+0+0", "640x480+1+1+1", "640x480+40000+0", "axb+c+d"] {
            assert!(parse_geometry(bad).is_err(), "{bad}");
        }
    }
}
