//! Keys by their place on the keyboard, in the numbering of hosts (Win32 virtual keys of the US layout).

/// A key as a host knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Number of the virtual key.
    pub code: u8,
    /// The host must not translate it, as other layouts have another key at this place.
    pub raw: bool,
}

/// The key of a `KeyboardEvent.code`; `None` when hosts know no such key.
pub fn key(code: &str) -> Option<Key> {
    let raw = matches!(code, "IntlRo" | "IntlYen");
    let code = letter(code).or_else(|| numbered(code)).or_else(|| named(code))?;
    Some(Key { code, raw })
}

/// The left shift key.
pub const SHIFT_LEFT: u8 = 0xa0;

/// Characters of the US layout without and with shift, beside letters and digits.
const PUNCTUATION: [(char, char, u8); 21] = [
    ('`', '~', 0xc0),
    ('-', '_', 0xbd),
    ('=', '+', 0xbb),
    ('[', '{', 0xdb),
    (']', '}', 0xdd),
    ('\\', '|', 0xdc),
    (';', ':', 0xba),
    ('\'', '"', 0xde),
    (',', '<', 0xbc),
    ('.', '>', 0xbe),
    ('/', '?', 0xbf),
    ('1', '!', 0x31),
    ('2', '@', 0x32),
    ('3', '#', 0x33),
    ('4', '$', 0x34),
    ('5', '%', 0x35),
    ('6', '^', 0x36),
    ('7', '&', 0x37),
    ('8', '*', 0x38),
    ('9', '(', 0x39),
    ('0', ')', 0x30),
];

/// The key that types this character on the US layout, and whether with shift. `None` when no key does.
pub fn of_char(char: char) -> Option<(Key, bool)> {
    let (code, shift) = match char {
        'a'..='z' => (char.to_ascii_uppercase() as u8, false),
        'A'..='Z' => (char as u8, true),
        '0'..='9' => (char as u8, false),
        '\n' | '\r' => (0x0d, false),
        '\t' => (0x09, false),
        '\u{8}' => (0x08, false),
        '\u{1b}' => (0x1b, false),
        ' ' => (0x20, false),
        _ => {
            let (_, _, code) =
                *PUNCTUATION.iter().find(|(plain, shifted, _)| char == *plain || char == *shifted)?;
            (code, PUNCTUATION.iter().any(|(_, shifted, _)| *shifted == char))
        }
    };
    Some((Key { code, raw: false }, shift))
}

fn letter(code: &str) -> Option<u8> {
    match code.strip_prefix("Key")?.as_bytes() {
        [letter @ b'A'..=b'Z'] => Some(*letter),
        _ => None,
    }
}

fn numbered(code: &str) -> Option<u8> {
    let number = |prefix: &str| code.strip_prefix(prefix)?.parse::<u8>().ok();
    if let Some(digit @ 0..=9) = number("Digit") {
        return Some(0x30 + digit);
    }
    if let Some(digit @ 0..=9) = number("Numpad") {
        return Some(0x60 + digit);
    }
    match number("F")? {
        f @ 1..=24 => Some(0x6f + f),
        _ => None,
    }
}

fn named(code: &str) -> Option<u8> {
    Some(match code {
        "Backspace" => 0x08,
        "Tab" => 0x09,
        "Enter" | "NumpadEnter" => 0x0d,
        "Pause" => 0x13,
        "CapsLock" => 0x14,
        "Lang1" => 0x15,
        "Lang2" => 0x19,
        "Escape" => 0x1b,
        "Convert" => 0x1c,
        "NonConvert" => 0x1d,
        "Space" => 0x20,
        "PageUp" => 0x21,
        "PageDown" => 0x22,
        "End" => 0x23,
        "Home" => 0x24,
        "ArrowLeft" => 0x25,
        "ArrowUp" => 0x26,
        "ArrowRight" => 0x27,
        "ArrowDown" => 0x28,
        "PrintScreen" => 0x2c,
        "Insert" => 0x2d,
        "Delete" => 0x2e,
        "MetaLeft" => 0x5b,
        "MetaRight" => 0x5c,
        "ContextMenu" => 0x5d,
        "NumpadMultiply" => 0x6a,
        "NumpadAdd" => 0x6b,
        "NumpadComma" => 0x6c,
        "NumpadSubtract" => 0x6d,
        "NumpadDecimal" => 0x6e,
        "NumpadDivide" => 0x6f,
        "NumLock" => 0x90,
        "ScrollLock" => 0x91,
        "ShiftLeft" => 0xa0,
        "ShiftRight" => 0xa1,
        "ControlLeft" => 0xa2,
        "ControlRight" => 0xa3,
        "AltLeft" => 0xa4,
        "AltRight" => 0xa5,
        "BrowserBack" => 0xa6,
        "BrowserForward" => 0xa7,
        "BrowserRefresh" => 0xa8,
        "BrowserStop" => 0xa9,
        "BrowserSearch" => 0xaa,
        "BrowserFavorites" => 0xab,
        "BrowserHome" => 0xac,
        "AudioVolumeMute" => 0xad,
        "AudioVolumeDown" => 0xae,
        "AudioVolumeUp" => 0xaf,
        "MediaTrackNext" => 0xb0,
        "MediaTrackPrevious" => 0xb1,
        "MediaStop" => 0xb2,
        "MediaPlayPause" => 0xb3,
        "Semicolon" => 0xba,
        "Equal" => 0xbb,
        "Comma" => 0xbc,
        "Minus" => 0xbd,
        "Period" => 0xbe,
        "Slash" => 0xbf,
        "Backquote" => 0xc0,
        "BracketLeft" => 0xdb,
        "Backslash" | "IntlYen" => 0xdc,
        "BracketRight" => 0xdd,
        "Quote" => 0xde,
        "IntlBackslash" | "IntlRo" => 0xe2,
        _ => return None,
    })
}

/// Bits of modifiers in a key's message.
pub mod modifier {
    /// Either Shift key.
    pub const SHIFT: u8 = 1;
    /// Either Control key.
    pub const CONTROL: u8 = 2;
    /// Either Alt key.
    pub const ALT: u8 = 4;
    /// Either Windows or command key.
    pub const META: u8 = 8;
}

/// The modifier that a key is; 0 if it is none.
pub fn modifier_of(key: Key) -> u8 {
    match key.code {
        0xa0 | 0xa1 => modifier::SHIFT,
        0xa2 | 0xa3 => modifier::CONTROL,
        0xa4 | 0xa5 => modifier::ALT,
        0x5b | 0x5c => modifier::META,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_us_layout_types_all_of_ascii_and_nothing_else() {
        let printable = (' '..='~').chain(['\n', '\t']);
        let keys: std::collections::BTreeMap<_, _> = printable
            .map(|char| (of_char(char).map(|(key, shift)| (key.code, shift)).expect("a key"), char))
            .collect();
        assert_eq!(keys.len(), 97, "no two characters are the same key");
        let of = |char| of_char(char).map(|(key, shift)| (key.code, shift));
        assert_eq!(
            (of('a'), of('A'), of('"')),
            (Some((0x41, false)), Some((0x41, true)), Some((0xde, true)))
        );
        assert!(['é', '€', '你', '\u{7f}', '\0'].into_iter().all(|char| of(char).is_none()));
    }

    #[test]
    fn keys_have_the_numbers_of_the_protocol() {
        for (code, number) in [
            ("KeyA", 0x41),
            ("KeyZ", 0x5a),
            ("Digit0", 0x30),
            ("Digit9", 0x39),
            ("F1", 0x70),
            ("F24", 0x87),
            ("Numpad0", 0x60),
            ("Numpad9", 0x69),
            ("NumpadEnter", 0x0d),
            ("ShiftLeft", 0xa0),
            ("MetaRight", 0x5c),
            ("IntlBackslash", 0xe2),
            ("MediaPlayPause", 0xb3),
        ] {
            assert_eq!(key(code), Some(Key { code: number, raw: false }), "{code}");
        }
        assert_eq!(key("IntlRo"), Some(Key { code: 0xe2, raw: true }));
        for code in ["", "Key", "KeyAA", "Keyä", "Digit10", "F0", "F25", "Numpad10", "Fn", "Nonsense"] {
            assert_eq!(key(code), None, "{code}");
        }
    }
}
