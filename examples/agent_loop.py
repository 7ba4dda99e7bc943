"""An agent that looks at a desktop, decides, and acts, until it is done.

    pip install "oriel[pillow]"
    python agent_loop.py "echo done > ~/result"

`decide` is the part to replace: a model is shown the picture, and answers with one action. The one here needs no model. It opens
a terminal, types a command, and is done when the picture shows that the command has ended: the terminal turns green.
"""

from __future__ import annotations

import sys
from typing import Any, Callable, Literal, NamedTuple, Union

import oriel


class Click(NamedTuple):
    x: float
    y: float


class Type(NamedTuple):
    text: str


class Key(NamedTuple):
    combination: str


class Done(NamedTuple):
    result: str


Action = Union[Click, Type, Key, Done]
Decide = Callable[[oriel.Screenshot], Action]
MOST_STEPS = 20


def run(session: oriel.Session, decide: Decide) -> str:
    """Acts as `decide` says, until it says that it is done."""
    for _ in range(MOST_STEPS):
        # A caret may blink: a few pixels do not count.
        action = decide(session.wait_until_still(timeout=20, tolerance=400))
        print(f"-> {action}", file=sys.stderr)
        if isinstance(action, Done):
            return action.result
        if isinstance(action, Click):
            session.click(action.x, action.y)
        elif isinstance(action, Type):
            session.type(action.text)
        else:
            session.key(action.combination)
    raise RuntimeError(f"not done after {MOST_STEPS} steps")


class RunCommand:
    """Decides without a model: focuses the terminal, types the command, waits until the terminal is green."""

    def __init__(self, command: str) -> None:
        # The escape sequence changes the background, which is a sign that no font can hide.
        self._line = f"({command}); printf '\\033]11;#00ff00\\007'\n"
        self._step: Literal["look", "type", "wait"] = "look"

    def __call__(self, screenshot: oriel.Screenshot) -> Action:
        if self._step == "look":
            self._step = "type"
            return Click(screenshot.width / 2, screenshot.height / 2)
        if self._step == "type":
            self._step = "wait"
            return Type(self._line)
        if _is_green(screenshot.image()):
            return Done("the command has ended")
        return Key("shift")  # Nothing to do but to look again.


def _is_green(image: Any) -> bool:
    """Whether most of the picture is."""
    colours = image.getcolors(image.width * image.height)
    return any(count > image.width * image.height / 2 and colour == (0, 255, 0) for count, colour in colours)


def main() -> None:
    command = sys.argv[1] if len(sys.argv) > 1 else "date"
    with oriel.session(width=800, height=600, command=["xterm", "-geometry", "133x46+0+0"], audio=False) as session:
        session.wait_for_window(app="xterm")
        print(f"watch it: {session.url}", file=sys.stderr)
        print(run(session, RunCommand(command)))


if __name__ == "__main__":
    main()
