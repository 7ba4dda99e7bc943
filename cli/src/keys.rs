//! Names of keys and chords, as people write them: `ctrl+shift+t`, `Return`, `alt+F4`; or codes of UI Events: `KeyA`. Pure.

use common::input::{InputCommand, KeyAction, KeyCode, MAX_HELD};

/// Why a text names no key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidChord {
    /// Nothing before, after or between `+`.
    #[error("{0:?} names no key before or after a +; the key itself is called \"plus\"")]
    Empty(String),
    /// No key has this name.
    #[error(
        "there is no key {0:?}; use names such as ctrl, shift, enter, esc, up, f5, a, 7, or a KeyboardEvent.code such as KeyA"
    )]
    Unknown(String),
    /// More keys than hands have fingers.
    #[error("a chord has at most {MAX_HELD} keys")]
    TooMany,
}

/// A key, or keys pressed together.
///
/// # Errors
/// [`InvalidChord`] says which part names no key.
pub fn chord(text: &str) -> Result<InputCommand, InvalidChord> {
    let mut codes = Vec::new();
    for part in text.split('+') {
        if part.is_empty() {
            return Err(InvalidChord::Empty(text.to_owned()));
        }
        codes.push(key(part)?);
    }
    if codes.len() > MAX_HELD {
        return Err(InvalidChord::TooMany);
    }
    Ok(match <[KeyCode; 1]>::try_from(codes) {
        Ok([code]) => {
            InputCommand::Key { code, action: KeyAction::Tap, hold_ms: common::input::DEFAULT_HOLD_MS }
        }
        Err(codes) => InputCommand::Chord { codes },
    })
}

/// A key by one of its names.
fn key(name: &str) -> Result<KeyCode, InvalidChord> {
    let unknown = || InvalidChord::Unknown(name.to_owned());
    let lower = name.to_lowercase();
    let code = match lower.as_str() {
        "ctrl" | "control" => "ControlLeft".to_owned(),
        "shift" => "ShiftLeft".to_owned(),
        "alt" | "option" => "AltLeft".to_owned(),
        "altgr" => "AltRight".to_owned(),
        "super" | "win" | "meta" | "cmd" => "MetaLeft".to_owned(),
        "enter" | "return" => "Enter".to_owned(),
        "esc" | "escape" => "Escape".to_owned(),
        "tab" => "Tab".to_owned(),
        "space" => "Space".to_owned(),
        "backspace" => "Backspace".to_owned(),
        "del" | "delete" => "Delete".to_owned(),
        "ins" | "insert" => "Insert".to_owned(),
        "home" => "Home".to_owned(),
        "end" => "End".to_owned(),
        "pageup" | "pgup" => "PageUp".to_owned(),
        "pagedown" | "pgdn" => "PageDown".to_owned(),
        "up" => "ArrowUp".to_owned(),
        "down" => "ArrowDown".to_owned(),
        "left" => "ArrowLeft".to_owned(),
        "right" => "ArrowRight".to_owned(),
        "print" => "PrintScreen".to_owned(),
        "menu" => "ContextMenu".to_owned(),
        "plus" => "NumpadAdd".to_owned(),
        "-" | "minus" => "Minus".to_owned(),
        "=" => "Equal".to_owned(),
        "," => "Comma".to_owned(),
        "." => "Period".to_owned(),
        "/" => "Slash".to_owned(),
        ";" => "Semicolon".to_owned(),
        "'" => "Quote".to_owned(),
        "`" => "Backquote".to_owned(),
        "[" => "BracketLeft".to_owned(),
        "]" => "BracketRight".to_owned(),
        "\\" => "Backslash".to_owned(),
        _ => match (lower.as_bytes(), function_key(&lower)) {
            ([letter], _) if letter.is_ascii_lowercase() => format!("Key{}", lower.to_uppercase()),
            ([digit], _) if digit.is_ascii_digit() => format!("Digit{lower}"),
            (_, Some(number)) => format!("F{number}"),
            // Codes of UI Events begin with a capital, and have another letter or digit.
            _ if name.len() > 1 && name.starts_with(|c: char| c.is_ascii_uppercase()) => name.to_owned(),
            _ => return Err(unknown()),
        },
    };
    KeyCode::parse(code).map_err(|_| unknown())
}

/// The number of `f1` to `f24`.
fn function_key(lower: &str) -> Option<u8> {
    lower.strip_prefix('f')?.parse().ok().filter(|number| (1..=24).contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(text: &str) -> Vec<String> {
        match chord(text).unwrap() {
            InputCommand::Key { code, .. } => vec![code.to_string()],
            InputCommand::Chord { codes } => codes.iter().map(ToString::to_string).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn keys_have_the_names_that_people_give_them() {
        for (text, expected) in [
            ("a", vec!["KeyA"]),
            ("A", vec!["KeyA"]),
            ("7", vec!["Digit7"]),
            ("f12", vec!["F12"]),
            ("Return", vec!["Enter"]),
            ("ctrl+c", vec!["ControlLeft", "KeyC"]),
            ("Ctrl+Alt+Delete", vec!["ControlLeft", "AltLeft", "Delete"]),
            ("ctrl+plus", vec!["ControlLeft", "NumpadAdd"]),
            ("ctrl+-", vec!["ControlLeft", "Minus"]),
            ("KeyA", vec!["KeyA"]),
            ("AudioVolumeUp", vec!["AudioVolumeUp"]),
        ] {
            assert_eq!(codes(text), expected, "{text}");
        }
    }

    #[test]
    fn what_names_no_key_is_refused() {
        for text in ["", "+", "ctrl+", "+a", "ctrl++c"] {
            assert_eq!(chord(text), Err(InvalidChord::Empty(text.into())));
        }
        for text in ["contrl", "ä", "f25", "Key A", "😀"] {
            assert_eq!(chord(text), Err(InvalidChord::Unknown(text.into())));
        }
        assert_eq!(chord(&["a"; MAX_HELD + 1].join("+")), Err(InvalidChord::TooMany));
    }
}
