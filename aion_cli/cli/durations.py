"""Durations as people type them: `90`, `60s`, `1.5h`, `1h30m`, `250ms`."""

from __future__ import annotations

import math
import re

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)(ms|[smhdw])")
_LONGEST_S = 100 * 366 * 86_400.0


def parse_duration(text: str) -> float:
    """Return a duration in seconds; a bare number is seconds. Raises ValueError, with the forms there are."""
    wrong = f"{text!r} is not a duration such as 90, 60s, 1.5h, 1h30m or 250ms"
    compact = text.strip().lower()
    try:
        seconds = float(compact) if re.fullmatch(r"[0-9.]+", compact) else _sum_of_parts(compact)
    except ValueError:
        raise ValueError(wrong) from None
    if not math.isfinite(seconds) or seconds > _LONGEST_S:
        raise ValueError(f"{text!r} is longer than a century")
    return seconds


def format_duration(seconds: float) -> str:
    """Write a duration for people in at most two units: `850ms`, `12s`, `3m 20s`, `2d 4h`."""
    if seconds < 1:
        return f"{max(0, round(seconds * 1000))}ms"
    whole = int(seconds)
    for name, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if whole >= size:
            smaller_name, smaller = {"d": ("h", 3600), "h": ("m", 60), "m": ("s", 1)}[name]
            rest = whole % size // smaller
            return f"{whole // size}{name} {rest}{smaller_name}" if rest else f"{whole // size}{name}"
    return f"{whole}s"


def _sum_of_parts(text: str) -> float:
    parts = list(_PART.finditer(text))
    if not parts or "".join(part[0] for part in parts) != text:
        raise ValueError(text)
    return sum(float(part[1]) * _UNITS_S[part[2]] for part in parts)
