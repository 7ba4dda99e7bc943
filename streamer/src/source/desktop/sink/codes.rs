//! Keys by place: the codes of UI Events (`KeyboardEvent.code`) as keycodes of X.
//!
//! An X server with the evdev rules, which is every one on Linux, numbers its keys as the kernel does
//! (`linux/input-event-codes.h`), plus 8. Keys above 247 do not exist in X.

/// X's keycodes begin at 8.
const OFFSET: u8 = 8;

/// The keycode of a key, if a keyboard of X can have it.
pub fn keycode(code: &str) -> Option<u8> {
    let found = CODES.binary_search_by_key(&code, |(name, _)| name).ok()?;
    Some(CODES[found].1 + OFFSET)
}

/// True for a keycode that belongs to a code.
pub fn is_key(keycode: u8) -> bool {
    CODES.iter().any(|(_, evdev)| evdev + OFFSET == keycode)
}

/// Sorted by name.
#[rustfmt::skip]
const CODES: &[(&str, u8)] = &[
    ("Again", 129), ("AltLeft", 56), ("AltRight", 100), ("ArrowDown", 108), ("ArrowLeft", 105),
    ("ArrowRight", 106), ("ArrowUp", 103), ("AudioVolumeDown", 114), ("AudioVolumeMute", 113),
    ("AudioVolumeUp", 115), ("Backquote", 41), ("Backslash", 43), ("Backspace", 14), ("BracketLeft", 26),
    ("BracketRight", 27), ("BrightnessDown", 224), ("BrightnessUp", 225), ("BrowserBack", 158),
    ("BrowserFavorites", 156), ("BrowserForward", 159), ("BrowserHome", 172), ("BrowserRefresh", 173),
    ("BrowserSearch", 217), ("BrowserStop", 128), ("CapsLock", 58), ("Comma", 51), ("ContextMenu", 127),
    ("ControlLeft", 29), ("ControlRight", 97), ("Convert", 92), ("Copy", 133), ("Cut", 137),
    ("Delete", 111), ("Digit0", 11), ("Digit1", 2), ("Digit2", 3), ("Digit3", 4), ("Digit4", 5),
    ("Digit5", 6), ("Digit6", 7), ("Digit7", 8), ("Digit8", 9), ("Digit9", 10),
    ("DisplayToggleIntExt", 227), ("Eject", 161), ("End", 107), ("Enter", 28), ("Equal", 13), ("Escape", 1),
    ("F1", 59), ("F10", 68), ("F11", 87), ("F12", 88), ("F13", 183), ("F14", 184), ("F15", 185),
    ("F16", 186), ("F17", 187), ("F18", 188), ("F19", 189), ("F2", 60), ("F20", 190), ("F21", 191),
    ("F22", 192), ("F23", 193), ("F24", 194), ("F3", 61), ("F4", 62), ("F5", 63), ("F6", 64), ("F7", 65),
    ("F8", 66), ("F9", 67), ("Find", 136), ("Help", 138), ("Hiragana", 91), ("Home", 102), ("Insert", 110),
    ("IntlBackslash", 86), ("IntlHash", 43), ("IntlRo", 89), ("IntlYen", 124), ("KanaMode", 93),
    ("Katakana", 90), ("KeyA", 30), ("KeyB", 48), ("KeyC", 46), ("KeyD", 32), ("KeyE", 18), ("KeyF", 33),
    ("KeyG", 34), ("KeyH", 35), ("KeyI", 23), ("KeyJ", 36), ("KeyK", 37), ("KeyL", 38), ("KeyM", 50),
    ("KeyN", 49), ("KeyO", 24), ("KeyP", 25), ("KeyQ", 16), ("KeyR", 19), ("KeyS", 31), ("KeyT", 20),
    ("KeyU", 22), ("KeyV", 47), ("KeyW", 17), ("KeyX", 45), ("KeyY", 21), ("KeyZ", 44),
    ("KeyboardBacklightToggle", 228), ("Lang1", 122), ("Lang2", 123), ("Lang3", 90), ("Lang4", 91),
    ("Lang5", 85), ("LaunchApp1", 144), ("LaunchApp2", 140), ("LaunchCalculator", 140),
    ("LaunchFileBrowser", 144), ("LaunchMail", 155), ("LaunchMediaPlayer", 226), ("LaunchScreenSaver", 152),
    ("MailForward", 233), ("MailReply", 232), ("MailSend", 231), ("MediaFastForward", 208),
    ("MediaPause", 201), ("MediaPlay", 207), ("MediaPlayPause", 164), ("MediaRecord", 167),
    ("MediaRewind", 168), ("MediaSelect", 226), ("MediaStop", 166), ("MediaTrackNext", 163),
    ("MediaTrackPrevious", 165), ("MetaLeft", 125), ("MetaRight", 126), ("Minus", 12), ("NonConvert", 94),
    ("NumLock", 69), ("Numpad0", 82), ("Numpad1", 79), ("Numpad2", 80), ("Numpad3", 81), ("Numpad4", 75),
    ("Numpad5", 76), ("Numpad6", 77), ("Numpad7", 71), ("Numpad8", 72), ("Numpad9", 73), ("NumpadAdd", 78),
    ("NumpadComma", 121), ("NumpadDecimal", 83), ("NumpadDivide", 98), ("NumpadEnter", 96),
    ("NumpadEqual", 117), ("NumpadMultiply", 55), ("NumpadParenLeft", 179), ("NumpadParenRight", 180),
    ("NumpadSignChange", 118), ("NumpadSubtract", 74), ("OSLeft", 125), ("OSRight", 126), ("Open", 134),
    ("PageDown", 109), ("PageUp", 104), ("Paste", 135), ("Pause", 119), ("Period", 52), ("Power", 116),
    ("PrintScreen", 99), ("Props", 130), ("Quote", 40), ("ScrollLock", 70), ("Select", 132),
    ("Semicolon", 39), ("ShiftLeft", 42), ("ShiftRight", 54), ("Slash", 53), ("Sleep", 142), ("Space", 57),
    ("Suspend", 205), ("Tab", 15), ("Undo", 131), ("VolumeDown", 114), ("VolumeMute", 113),
    ("VolumeUp", 115), ("WakeUp", 143),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_so_that_every_code_is_found() {
        for pair in CODES.windows(2) {
            assert!(pair[0].0 < pair[1].0, "{} before {}", pair[0].0, pair[1].0);
        }
        for (name, evdev) in CODES {
            assert_eq!(keycode(name), Some(evdev + 8), "{name}");
        }
        assert_eq!(keycode("KeyÄ"), None);
    }

    #[test]
    fn only_other_names_of_the_same_key_share_a_keycode() {
        let other_names = [
            "IntlHash",
            "OSLeft",
            "OSRight",
            "Hiragana",
            "Katakana",
            "VolumeMute",
            "VolumeDown",
            "VolumeUp",
            "LaunchCalculator",
            "LaunchFileBrowser",
            "MediaSelect",
        ];
        let mut seen = std::collections::HashMap::new();
        for (name, evdev) in CODES.iter().filter(|(name, _)| !other_names.contains(name)) {
            assert_eq!(seen.insert(evdev, name), None, "{name}");
        }
    }
}
