"""Small ways to break durability, one line each, and the layers of the suite that are to notice.

A mutant replaces a piece of a function's source. If the piece is not there any more, that is an error: whoever changed
the function says here what its new weak spot is.
"""

from __future__ import annotations

import importlib
import inspect
import random
import textwrap
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FunctionType
from typing import Any, NamedTuple

import pytest

from tests.faults import test_crash_states as crash_states
from tests.faults import test_damage as damage
from tests.faults import test_interleavings as interleavings
from tests.faults import test_live_changes as live_changes
from tests.faults import test_operators as operators
from tests.faults import test_refusals as refusals
from tests.faults.clerk import ClerkScene
from tests.faults.disk import Disk
from tests.faults.model import ModelMachine, crashes_of, killed_at, points_of, small_limits, torn_tails
from tests.faults.scenes import Plan, RunScene
from tests.faults.tally import Tally

_ENOSPC, _EIO = 28, 5


class Mutant(NamedTuple):
    """One way to break a function. target: module:qualified name. layer: the one that must notice."""

    name: str
    layer: str
    target: str
    old: str
    new: str


MUTANTS = (
    Mutant(
        "an append is not synced",
        "power cuts: storage floor",
        "runtime.journal:JsonlStore._write",
        "self._files.sync(self._fd, self.path)",
        "pass",
    ),
    Mutant(
        "a history is opened to write without a sync",
        "kill, then power cut",
        "runtime.journal:JsonlStore.open_to_write",
        "files.sync(fd, path)",
        "pass",
    ),
    Mutant(
        "a history is opened to write without a sync of its name",
        "kill, then power cut",
        "runtime.journal:JsonlStore.open_to_write",
        "files.sync_directory(path.parent)",
        "pass",
    ),
    Mutant(
        "what somebody is told of is not synced",
        "kill, then power cut",
        "runtime.outcome:settled_end",
        "settle(path, files)",
        "pass",
    ),
    Mutant(
        "a new history's name is not synced",
        "power cuts: storage floor",
        "runtime.journal:JsonlStore.create",
        "files.sync_directory(path.parent)",
        "pass",
    ),
    Mutant(
        "a new file is not synced before it gets its name",
        "power cuts: storage floor",
        "runtime.files:Files.write_new",
        "self.sync(fd, path)",
        "pass",
    ),
    Mutant(
        "a message is written in place, not renamed",
        "power cuts: storage floor",
        "runtime.inbox:Inbox._name",
        "self._files.rename(temporary, self._directory / name)",
        "self._files.write_new(self._directory / name, self._files.read_whole(temporary, 1 << 20)[:-9])",
    ),
    Mutant(
        "an accepted message's name is not synced",
        "power cuts: storage floor",
        "runtime.inbox:Inbox.accept",
        "self._files.sync_directory(self._directory)",
        "pass",
    ),
    Mutant(
        "a directory's name is not synced",
        "power cuts: storage floor",
        "runtime.files:Files.ensure_directory",
        "self.sync_directory(path.parent)",
        "pass",
    ),
    Mutant(
        "a payload's name is not synced",
        "power cuts: storage floor",
        "runtime.blobs:BlobStore._write",
        "self._files.rename(temporary, path)\n    self._files.sync_directory(path.parent)",
        "self._files.rename(temporary, path)",
    ),
    Mutant(
        "messages are removed before they are recorded (brief owner)",
        "power cuts: storage floor",
        "runtime.inbox:drain",
        "stamped = recorder.append(fresh, recorded_at) if fresh else []\n    inbox.remove(done)",
        "inbox.remove(done)\n    stamped = recorder.append(fresh, recorded_at) if fresh else []",
    ),
    Mutant(
        "messages are removed before they are recorded (live run)",
        "power cuts: engine",
        "runtime.live:LiveRun._commit",
        "self._recorder.commit()",
        "self._intake.remove_staged(); self._recorder.commit()",
    ),
    Mutant(
        "a message that history holds is recorded again (brief owner)",
        "power cuts: storage floor",
        "runtime.inbox:drain",
        "if found is not None and found in known_ids:",
        "if False:",
    ),
    Mutant(
        "a message that history holds is recorded again (live run)",
        "power cuts: engine",
        "runtime.intake:Intake.fresh",
        "if identity is not None and identity in self._known_ids:",
        "if False:",
    ),
    Mutant(
        "a message that an earlier run of the id holds is recorded again",
        "power cuts: engine",
        "runtime.runner:Runner._go_live",
        "known_ids | inbox.recorded_ids()",
        "known_ids",
    ),
    Mutant(
        "a message without an id is removed before the others are gone for good",
        "power cuts: operators",
        "runtime.inbox:Inbox.remove",
        "self.settle()",
        "pass",
    ),
    Mutant(
        "a closed run is opened again with messages in its inbox",
        "power cuts: operators",
        "runtime.reopening:reopen",
        "drain(inbox, recorder, inbox.recorded_ids(), instant(clock), closed=True)",
        "pass",
    ),
    Mutant(
        "a run is opened again before what it got is gone for good",
        "power cuts: operators",
        "runtime.reopening:reopen",
        "inbox.settle()",
        "pass",
    ),
    Mutant(
        "a repeated message is not looked up",
        "power cuts: storage floor",
        "runtime.inbox:Inbox.accept",
        "self._find_known(event) if chosen_id else None",
        "None",
    ),
    Mutant(
        "the owner lock is not taken",
        "power cuts: engine",
        "runtime.ownership:_acquired",
        "lock.acquire(blocking=False)",
        "pass",
    ),
    Mutant(
        "a message is named without the inbox lock",
        "interleavings",
        "runtime.inbox:Inbox.accept",
        "with self.locked():",
        "if True:",
    ),
    Mutant(
        "a run ends without the inbox lock",
        "interleavings",
        "runtime.closing:Closing._append_last",
        "with self._mailbox.locked():",
        "if True:",
    ),
    Mutant(
        "a run ends with messages in its inbox",
        "interleavings",
        "runtime.closing:Closing._append_last",
        "if not self._mailbox.list():",
        "if True:",
    ),
    Mutant(
        "the owner does not look again after it let go",
        "interleavings",
        "runtime.delivery:drain_unowned",
        "while (names := inbox.names()) and names != before:",
        "for names in [inbox.names()]:",
    ),
    Mutant(
        "the head is not checked before an append",
        "changes under a live run",
        "runtime.journal:JsonlStore._require_untouched",
        "found.size == self._head.size",
        "True",
    ),
    Mutant(
        "the name is not checked before an append",
        "changes under a live run",
        "runtime.journal:JsonlStore._require_untouched",
        "found.identity == self._identity",
        "True",
    ),
    Mutant(
        "a failed sync is tried again",
        "refused calls",
        "runtime.files:Files.sync",
        "self.calls.fdatasync(fd)",
        "try:\n            self.calls.fdatasync(fd)\n        except OSError:\n            self.calls.fdatasync(fd)",
    ),
    Mutant(
        "a short write passes for a whole one",
        "refused calls",
        "runtime.files:Files.write_once",
        "if written != len(data):",
        "if False:",
    ),
    Mutant(
        "what a failed append left is not cut back, and appending goes on",
        "refused calls",
        "runtime.journal:JsonlStore._write",
        "raise\n",
        "return\n",
    ),
    Mutant(
        "a torn tail is cut off and not kept",
        "power cuts: storage floor",
        "runtime.journal:_set_aside",
        "files.rename(temporary, directory / name)",
        "files.unlink(temporary)",
    ),
    Mutant(
        "a torn tail is cut off before its copy has a name on the disk",
        "power cut in a recovery",
        "runtime.journal:_set_aside",
        "files.sync_directory(directory)",
        "pass",
    ),
    Mutant(
        "a cut is not synced before something is appended",
        "power cut in a recovery",
        "runtime.journal:_set_aside",
        "files.truncate(fd, torn.offset, path)\n    files.sync(fd, path)",
        "files.truncate(fd, torn.offset, path)",
    ),
    Mutant(
        "a line's digest is not compared",
        "damage",
        "core.lines:LineChain._digest_of",
        "if line[-TAIL:] !=",
        "if False and line[-TAIL:] !=",
    ),
    Mutant(
        "any bad tail passes for torn",
        "damage",
        "runtime.reading:torn_tail",
        "if newline:",
        "if False:",
    ),
)


def _quiet() -> Tally:
    return Tally([])


def _power_cuts_storage(folder: Path) -> None:
    del folder
    rng = random.Random(1)
    for _ in range(12):
        crash_states.try_all(ClerkScene.random(rng, 2), rng, _quiet(), most=12)


def _power_cuts_engine(folder: Path) -> None:
    del folder
    rng = random.Random(2)
    plans = [*crash_states.PLANS, [("claim", 1), ("tell", 700)], [("receive", 0), ("flaky", 900)]]
    for plan in plans:
        crash_states.try_all(RunScene(Plan(list(plan))), rng, _quiet(), most=12)


def _kill_then_power_cut(folder: Path) -> None:
    del folder
    crash_states.test_a_history_that_a_killed_process_had_just_named_stays_when_another_one_goes_on_with_it(
        None, _quiet()
    )
    crash_states.test_a_power_cut_after_a_kill_takes_nothing_that_somebody_was_told_of_since(
        None, [("work", 20)], _quiet()
    )
    rng = random.Random(3)
    scene = ClerkScene.random(rng, 2)
    for at in range(points_of(scene)):
        machine = killed_at(scene, at)
        crash_states.power_cut_in_recovery(scene, machine.disk, machine.entries, rng, _quiet(), most=3)


def _power_cut_in_recovery(folder: Path) -> None:
    del folder
    crash_states.test_a_torn_tail_that_was_cut_off_never_comes_back_behind_what_is_appended(None, _quiet())
    rng = random.Random(4)
    for _ in range(8):
        scene = ClerkScene.random(rng, 2)
        first = ModelMachine(Disk())
        torn = [
            crash for crash in crashes_of(scene, first, rng, 48) if torn_tails(ModelMachine(crash.disk).histories())
        ]
        for crash in torn[:8]:
            entries = first.entries[: crash.entries] + torn_tails(ModelMachine(crash.disk).histories())
            crash_states.power_cut_in_recovery(scene, crash.disk, entries, rng, _quiet(), most=8)


def _power_cuts_operators(folder: Path) -> None:
    del folder
    for commands in operators.COMMANDS:
        operators.test_what_was_asked_last_holds_after_a_power_cut(None, commands, _quiet())


def _refused_calls(folder: Path) -> None:
    del folder
    rng = random.Random(5)
    scene = ClerkScene.random(rng, 2)
    for error in (_EIO, refusals.SHORT):
        refusals.refuse_everywhere(scene, error, rng, _quiet(), only={"write", "fdatasync"})


def _interleavings(folder: Path) -> None:
    del folder
    interleavings.test_a_run_that_ends_while_a_signal_is_being_accepted_refuses_it_or_records_it(None, _quiet())
    interleavings.test_a_signal_while_a_run_ends_is_recorded_before_the_end_or_refused(None, [("work", 1)], _quiet())
    interleavings.test_no_signal_is_stranded_because_its_sender_met_another_one_at_work(None, _quiet())
    interleavings.test_signals_of_one_sender_keep_their_order_however_the_owner_drains(None, _quiet())
    interleavings.test_a_signal_at_any_moment_of_a_run_is_received_once(None, _quiet())


def _changes_under_a_live_run(folder: Path) -> None:
    for n, (change, said) in enumerate(live_changes.CHANGES):
        place = folder / str(n)
        place.mkdir()
        live_changes.test_a_live_run_stops_when_something_else_changes_its_history(place, change, said, _quiet())


def _damage(folder: Path) -> None:
    history = damage.make_history(folder)
    damage.test_every_flipped_bit_is_noticed(history, _quiet())
    damage.test_whatever_is_damaged_nothing_is_rewritten(history, _quiet())
    damage.test_every_lost_doubled_or_swapped_line_is_noticed(history, _quiet())


_REAL = ("changes under a live run",)
LAYERS: dict[str, Callable[[Path], None]] = {
    "power cuts: storage floor": _power_cuts_storage,
    "power cuts: engine": _power_cuts_engine,
    "kill, then power cut": _kill_then_power_cut,
    "power cut in a recovery": _power_cut_in_recovery,
    "power cuts: operators": _power_cuts_operators,
    "refused calls": _refused_calls,
    "interleavings": _interleavings,
    "changes under a live run": _changes_under_a_live_run,
    "damage": _damage,
}


@contextmanager
def applied(mutant: Mutant) -> Generator[None]:
    """Break the function, for everybody who has it already as well."""
    function = _function(mutant.target)
    source = textwrap.dedent(inspect.getsource(function))
    if source.count(mutant.old) != 1:
        raise LookupError(f"{mutant.target} no longer holds {mutant.old!r} once: say here what to break instead")
    namespace = dict(function.__globals__)
    flags = annotations.compiler_flag
    exec(compile(source.replace(mutant.old, mutant.new), "<mutant>", "exec", flags, True), namespace)
    whole, function.__code__ = function.__code__, _plain(namespace[function.__name__]).__code__
    try:
        yield
    finally:
        function.__code__ = whole


def _function(target: str) -> FunctionType:
    module, _, path = target.partition(":")
    found: Any = importlib.import_module(f"aion_cli.{module}")
    for name in path.split("."):
        found = inspect.getattr_static(found, name)
    return _plain(found)


def _plain(found: Any) -> FunctionType:
    """The function that a classmethod or a context manager was made of."""
    function = inspect.unwrap(getattr(found, "__func__", found))
    assert isinstance(function, FunctionType)
    return function


def try_layer(layer: str, folder: Path) -> None:
    """Run a layer; it raises if it notices something. folder: an empty one."""
    with nullcontext() if layer in _REAL else small_limits():
        LAYERS[layer](folder)


def noticed(mutant: Mutant, layer: str, folder: Path) -> str:
    """Run a layer against a mutant; returns what it said, or nothing if it noticed nothing."""
    with applied(mutant):
        try:
            try_layer(layer, folder)
        except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 - whatever it raises, it noticed
            return f"{type(error).__name__}: {error}"
    return ""
