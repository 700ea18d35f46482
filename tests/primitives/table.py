"""All primitives: what authors write, a row each."""

from __future__ import annotations

from tests.primitives import activities, children, life, messages, waiting
from tests.primitives.stage import Primitive

PRIMITIVES: list[Primitive] = [
    *activities.PRIMITIVES,
    *waiting.PRIMITIVES,
    *messages.PRIMITIVES,
    *children.PRIMITIVES,
    *life.PRIMITIVES,
]

STANDARD = [
    *("asyncio.sleep", "asyncio.timeout", "asyncio.wait_for", "asyncio.gather", "asyncio.TaskGroup", "asyncio.wait"),
    *("asyncio.as_completed", "asyncio.shield", "asyncio.Queue", "asyncio.Lock", "asyncio.Event"),
]
"""What of the standard library is durable in a workflow."""

NO_PRIMITIVES = {
    "AionError": "the base of errors that workflows see through their classes",
    "PayloadError": "raised before anything is recorded: tests/complaints/test_data.py",
    "Secret": "a type of input like any other to the run: tests/api/test_secrets.py, tests/test_secrets_end_to_end.py",
    "SecretError": "a failure of the activity that reveals the secret",
}
"""Names that are exported, and why they have no row."""
