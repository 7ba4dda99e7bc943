"""Names of keys, as people and other tools write them, and the codes of UI Events (`KeyboardEvent.code`) that the API takes."""

from __future__ import annotations

import re

# Codes by name, in lower case and without underscores: `Page_Up` of X and `pageup` are the same.
_NAMES = {
    "ctrl": "ControlLeft",
    "control": "ControlLeft",
    "shift": "ShiftLeft",
    "alt": "AltLeft",
    "option": "AltLeft",
    "altgr": "AltRight",
    "super": "MetaLeft",
    "meta": "MetaLeft",
    "cmd": "MetaLeft",
    "win": "MetaLeft",
    "enter": "Enter",
    "return": "Enter",
    "esc": "Escape",
    "escape": "Escape",
    "tab": "Tab",
    "space": "Space",
    "backspace": "Backspace",
    "delete": "Delete",
    "del": "Delete",
    "insert": "Insert",
    "ins": "Insert",
    "home": "Home",
    "end": "End",
    "pageup": "PageUp",
    "prior": "PageUp",
    "pagedown": "PageDown",
    "next": "PageDown",
    "up": "ArrowUp",
    "down": "ArrowDown",
    "left": "ArrowLeft",
    "right": "ArrowRight",
    "capslock": "CapsLock",
    "numlock": "NumLock",
    "scrolllock": "ScrollLock",
    "print": "PrintScreen",
    "printscreen": "PrintScreen",
    "pause": "Pause",
    "menu": "ContextMenu",
    "plus": "NumpadAdd",
    "minus": "Minus",
    "-": "Minus",
    "=": "Equal",
    "equal": "Equal",
    "[": "BracketLeft",
    "]": "BracketRight",
    ";": "Semicolon",
    "'": "Quote",
    "`": "Backquote",
    "\\": "Backslash",
    ",": "Comma",
    ".": "Period",
    "/": "Slash",
    "comma": "Comma",
    "period": "Period",
    "slash": "Slash",
    "kpenter": "NumpadEnter",
}
_FUNCTION = re.compile(r"f([1-9]|1[0-9]|2[0-4])")
# A code itself: two words or more, as in `KeyA`, `ControlRight`, `Numpad0`; or a name above in its own spelling.
_CODE = re.compile(r"(?:[A-Z][a-z]+){2,}[0-9]*[A-Z]?|(?:Key[A-Z]|Digit[0-9]|Numpad[0-9]|Lang[1-5])")


def code(name: str) -> str:
    """The code of one key.

    Raises `ValueError` for what is no key: text is typed with `type()`.
    """
    if _CODE.fullmatch(name):
        return name
    if len(name) == 1 and name.isascii() and name.isalpha():
        return f"Key{name.upper()}"
    if len(name) == 1 and name.isascii() and name.isdigit():
        return f"Digit{name}"
    plain = name.lower().replace("_", "")
    for side, suffix in (("l", "Left"), ("r", "Right")):
        for modifier, prefix in (("control", "Control"), ("shift", "Shift"), ("alt", "Alt"), ("super", "Meta")):
            if plain == modifier + side:  # `Control_L` of X
                return prefix + suffix
    if plain in _NAMES:
        return _NAMES[plain]
    if _FUNCTION.fullmatch(plain):
        return plain.upper()
    raise ValueError(
        f"{name!r} is no key; names are as in 'ctrl+l', 'Return', 'F5' or 'NumpadEnter', and text is typed with type()"
    )


def chord(combination: str) -> list[str]:
    """Codes of a combination such as `ctrl+shift+t`, in the order in which they are pressed."""
    return [code(name.strip()) for name in combination.split("+")]
