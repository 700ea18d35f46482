r"""Text from histories, workflows and file names, made harmless before it reaches a terminal.

Everything that is printed for people passes through `visible` exactly once, with whatever untrusted text is in it.
Control characters (C0, DEL, C1), characters that reorder or hide text (bidirectional controls, zero-width marks, line
separators, tags) and lone surrogates are replaced by the escape that Python would write: ESC becomes `\x1b`.
"""

from __future__ import annotations

import re
import unicodedata

_UNSAFE_CLASS = (
    "\x00-\x1f\x7f-\x9f"  # C0, DEL, C1
    "\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # bidi, separators, invisible
    "\U000e0000-\U000e007f"  # tags: invisible text
)
_UNSAFE = re.compile(f"[{_UNSAFE_CLASS}\ud800-\udfff]")
_UNSAFE_IN_JSON = re.compile(f"[{_UNSAFE_CLASS}]")
_COLOR_SEQUENCE = re.compile(r"(\x1b\[[0-9;]*m)")


def visible(text: str) -> str:
    r"""Return one line in which nothing can steer a terminal; a newline or carriage return shows as `\n` or `\r`."""
    if text.isascii() and text.isprintable():
        return text
    return _UNSAFE.sub(_escape, text)


def visible_lines(text: str) -> list[str]:
    """Split text at newlines, and make each line visible."""
    return [visible(line) for line in text.rstrip("\n").split("\n")]


def visible_print(line: str, *, color: bool) -> str:
    """Return a line that a program printed as a terminal would show it, without what could steer one.

    Of what was printed over, the last is left; of control sequences, only colours are, if color. Tabs stay.
    """
    if line.isascii() and line.isprintable():
        return line
    parts = _COLOR_SEQUENCE.split(line.rstrip("\r").rsplit("\r", 1)[-1])
    parts[::2] = ["\t".join(map(visible, part.split("\t"))) for part in parts[::2]]
    return "".join(parts if color else parts[::2])


def visible_json(line: str) -> str:
    """Escape, in one line of JSON text, what could steer a terminal, so that it still decodes to the same value."""
    return _UNSAFE_IN_JSON.sub(_json_escape, line)


def cell_width(text: str) -> int:
    """Return how many terminal columns a visible text takes."""
    if text.isascii():
        return len(text)
    return sum(_char_width(char) for char in text)


def shortened(text: str, width: int) -> str:
    """Cut a visible text to at most `width` columns, ending in an ellipsis if something was cut."""
    if cell_width(text) <= width:
        return text
    kept: list[str] = []
    room = width - 1
    for char in text:
        room -= _char_width(char)
        if room < 0:
            break
        kept.append(char)
    return "".join(kept) + "…"


def _char_width(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was not UTF-8, as Python hands it over in arguments and file names
        return f"\\x{code - 0xDC00:02x}"
    return match[0].encode("unicode_escape", "surrogatepass").decode("ascii")


def _json_escape(match: re.Match[str]) -> str:
    if match[0] in "\t\r\n":  # in JSON, these stand between tokens only, where a blank is as good
        return " "
    units = match[0].encode("utf-16-be")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
