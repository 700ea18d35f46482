"""Three runs to audit, and what can happen to them."""

from __future__ import annotations

from pathlib import Path

from aion_cli.core.events import Event
from aion_cli.core.lines import ZERO_DIGEST, encode_line
from tests.builders import history
from tests.cli.support import Project

ORDER = """
    @activity
    async def charge(sku: str) -> str:
        note(f"charge {sku}")
        return f"receipt-{sku}"

    @activity
    async def bill(sku: str) -> str:
        return f"bill-{sku}"

    go = Signal("go", bool)

    @workflow
    async def order(sku: str) -> str:
        return await charge(sku)

    @workflow
    async def basket(skus: list[str]) -> int:
        for sku in skus:
            await order(sku)
        return len(skus)

    @workflow
    async def waits() -> bool:
        return await go.receive()
"""


def orders_in(project: Project) -> Project:
    """Make two runs that are closed, and one that waits."""
    project.write(ORDER)
    for n, sku in ((1, "A1"), (2, "B2")):
        assert project.here("run", "order", "--id", f"order-{n}", "--input", f'"{sku}"').code == 0
    assert project.here("run", "waits", "--id", "waits-1", "--until-blocked").code == 3
    return project


def change(project: Project, old: str, new: str) -> None:
    """Change the code of the workflows."""
    path = project.root / "workflows/order.py"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def damage(path: Path, line: int) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    lines[line - 1] = lines[line - 1].replace(b'"seq"', b'"sqe"')
    path.write_bytes(b"".join(lines))


def write(path: Path, *events: Event) -> None:
    """Write a history."""
    digest, lines = ZERO_DIGEST, b""
    for event in history(*events):
        line, digest = encode_line(event, digest)
        lines += line
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(lines)
