//! What a viewer does with eyes and hands: snapshots, input, clipboard, size.

use std::io::IsTerminal;
use std::path::Path;

use common::api::{ClipboardBody, InputRequest, ResizeRequest, SetClipboard, SnapshotFormat};
use common::id::StreamerId;
use common::input::{Button, DEFAULT_DRAG_MS, InputCommand, KeyCode, MAX_TYPED, Position};

use super::{of, read_bytes, read_text, text_or_input, word};
use crate::args::{Clip, Format, To};
use crate::client::Client;
use crate::failure::Failure;
use crate::output::Output;

pub fn shot(
    client: &Client,
    out: Output,
    id: &StreamerId,
    file: Option<&Path>,
    format: Option<Format>,
    width: Option<u32>,
    slot: u8,
) -> Result<(), Failure> {
    let file = file.filter(|file| *file != Path::new("-"));
    if file.is_none() && std::io::stdout().is_terminal() {
        return Err(Failure::Usage(
            "a picture is nothing for a terminal: name a file with -o, or redirect the output".into(),
        ));
    }
    let format = format.map_or_else(|| by_name(file), Into::into);
    let mut query = format!("/snapshot?format={}&slot={slot}", word(&format));
    if let Some(width) = width {
        query += &format!("&width={width}");
    }
    let picture = client.get(&of(id, &query))?.body;
    match file {
        Some(file) => std::fs::write(file, picture).map_err(|error| Failure::file(file, error)),
        None => out.bytes(&picture),
    }
}

/// The format that the name of a file promises.
fn by_name(file: Option<&Path>) -> SnapshotFormat {
    let extension =
        file.and_then(Path::extension).map(|extension| extension.to_string_lossy().to_lowercase());
    match extension.as_deref() {
        Some("jpg" | "jpeg") => SnapshotFormat::Jpeg,
        _ => SnapshotFormat::Png,
    }
}

/// Sends input to the slot of a session.
pub fn input(client: &Client, to: &To, events: Vec<InputCommand>) -> Result<(), Failure> {
    let body = InputRequest { slot: to.slot, events };
    client.json("POST", &of(&to.id, "/input"), &body).map(drop)
}

pub fn type_text(client: &Client, to: &To, words: &[String], enter: bool) -> Result<(), Failure> {
    let mut text = if words == ["-"] { read_text(Path::new("-"))? } else { words.join(" ") };
    if enter {
        text.push('\n');
    }
    // One request after the other: the server carries out each before it answers.
    parts(&text).into_iter().try_for_each(|text| input(client, to, vec![InputCommand::Text { text }]))
}

/// A text in pieces that can be typed by one event.
fn parts(text: &str) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    characters.chunks(MAX_TYPED).map(|part| part.iter().collect()).collect()
}

pub fn click(
    client: &Client,
    to: &To,
    at: Option<(f64, f64)>,
    button: Button,
    count: u8,
) -> Result<(), Failure> {
    let at = at.map(position);
    input(client, to, vec![InputCommand::Click { at, button, count }])
}

pub fn go(client: &Client, to: &To, x: f64, y: f64, relative: bool) -> Result<(), Failure> {
    let event = if relative {
        InputCommand::Move { at: None, dx: x, dy: y }
    } else {
        InputCommand::Pointer { at: Position { x, y } }
    };
    input(client, to, vec![event])
}

pub fn drag(
    client: &Client,
    to: &To,
    from: (f64, f64),
    end: (f64, f64),
    button: Button,
) -> Result<(), Failure> {
    let event =
        InputCommand::Drag { from: position(from), to: position(end), button, duration_ms: DEFAULT_DRAG_MS };
    input(client, to, vec![event])
}

pub fn scroll(client: &Client, to: &To, dx: f64, dy: f64, at: Option<&[f64]>) -> Result<(), Failure> {
    let at = match at {
        Some([x, y]) => Some(Position { x: *x, y: *y }),
        _ => None,
    };
    input(client, to, vec![InputCommand::Wheel { dx, dy, at }])
}

fn position((x, y): (f64, f64)) -> Position {
    Position { x, y }
}

pub fn clip(client: &Client, out: Output, what: Clip) -> Result<(), Failure> {
    match what {
        Clip::Get { id, png: true } => {
            if std::io::stdout().is_terminal() {
                return Err(Failure::Usage(
                    "a picture is nothing for a terminal: redirect the output".into(),
                ));
            }
            out.bytes(&client.get(&of(&id, "/clipboard?type=image/png"))?.body)
        }
        Clip::Get { id, png: false } => {
            let answer = client.get(&of(&id, "/clipboard"))?;
            out.answer(&answer, || Ok(answer.json::<ClipboardBody>()?.text))
        }
        Clip::Set { id, png: true, .. } => {
            let picture = read_bytes(Path::new("-"))?;
            client.send("PUT", &of(&id, "/clipboard"), Some(("image/png", picture))).map(drop)
        }
        Clip::Set { id, text, png: false } => set_clipboard(client, &id, text_or_input(text)?),
    }
}

fn set_clipboard(client: &Client, id: &StreamerId, text: String) -> Result<(), Failure> {
    client.json("PUT", &of(id, "/clipboard"), &SetClipboard { text, html: None }).map(drop)
}

pub fn paste(client: &Client, to: &To, text: Option<String>) -> Result<(), Failure> {
    set_clipboard(client, &to.id, text_or_input(text)?)?;
    let key = |code| KeyCode::parse(code).map_err(|error| Failure::Other(error.to_string()));
    let codes = vec![key("ControlLeft")?, key("KeyV")?];
    input(client, to, vec![InputCommand::Chord { codes }])
}

pub fn resize(client: &Client, to: &To, (width, height): (u32, u32)) -> Result<(), Failure> {
    let body = ResizeRequest { slot: to.slot, width, height };
    client.json("POST", &of(&to.id, "/resize"), &body).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_typed_in_parts_and_no_character_is_cut() {
        let text = "😀".repeat(MAX_TYPED + 1);
        let parts = parts(&text);
        assert_eq!(parts.iter().map(|part| part.chars().count()).collect::<Vec<_>>(), [MAX_TYPED, 1]);
        assert_eq!(parts.concat(), text);
    }

    #[test]
    fn the_name_of_a_file_says_its_format() {
        for (name, format) in
            [("a.png", SnapshotFormat::Png), ("a.JPG", SnapshotFormat::Jpeg), ("a", SnapshotFormat::Png)]
        {
            assert_eq!(by_name(Some(Path::new(name))), format);
        }
    }
}
