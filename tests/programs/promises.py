"""What is promised of any program in any world."""

from __future__ import annotations

import random
from functools import cached_property
from typing import Any

from aion_cli.core import events as ev
from aion_cli.core.events import EventClass, event_class
from aion_cli.core.replay import Boundary
from aion_cli.errors import NonDeterminismError
from aion_cli.runtime.endings import SuspendReason
from aion_cli.testing.ledger import Cut
from aion_cli.testing.world import World
from tests.programs import nodes
from tests.programs.chains import Left
from tests.programs.changes import changed
from tests.programs.checks import check_world, compared, first_misfit, replayed
from tests.programs.interpreter import MAIN
from tests.programs.plain import PlainWorld, SettlingLoop
from tests.programs.simulation import Outcome, Simulation
from tests.programs.workflows import Workflow, as_workflow

_FEW = 3
_ORDERS = 20


class Trial:
    """Puts one case to the test. loop: may be used for many, one after the other."""

    def __init__(self, case: nodes.Case, loop: SettlingLoop) -> None:
        self.case = case
        self._loop = loop
        self._luck = random.Random(case.luck)
        self._simulation = Simulation(case, loop)
        self._found_good: dict[bytes, Left] = {}
        self.cuts = 0
        self.verdicts: list[str] = []

    def run(self) -> None:
        """Run the program once, then crash it, stop it and change it. Raises AssertionError for a broken promise."""
        self._simulation.world.go()
        self.world = self._simulation.world
        check_world(self.world, self._found_good, uncut=True)
        self.outcomes = self._simulation.outcomes()
        # Where two things are due at the same instant, a crash may rightly change which of them comes first.
        self.is_strict = not self.case.tied and not self._loop.ties
        if self.is_strict:
            plain = PlainWorld(self.case, self._loop)
            self._plain = plain.outcomes()
            self.is_strict = not plain.outlasting
        if self.is_strict:
            assert self._plain == self.outcomes or self._order_matters, "plain asyncio comes to another end"
        self._goes_on_with_nothing_once_it_has_ended()
        for cut in self._chosen_cuts():
            self._survives(cut)
        self._survives_a_late_start()
        self._survives_a_stop()
        if self.case.change is not None:
            self._reports_the_change(self.case.change)

    def _chosen_cuts(self) -> list[Cut]:
        cuts = list(self.world.ledger.cuts())
        if self.case.every_cut or len(cuts) <= _FEW:
            return cuts
        return self._luck.sample(cuts, _FEW)

    @cached_property
    def _order_matters(self) -> bool:
        """Whether it ends otherwise if what happens at one instant, in several runs, happens in another order.

        Which of two messages, or ends of children, is faster then is not promised.
        """
        return any(
            PlainWorld(self.case, self._loop, random.Random(luck)).outcomes() != self._plain for luck in range(_ORDERS)
        )

    def _is_strict_across_crashes(self) -> bool:
        risky = any(
            isinstance(node, nodes.Send) or (isinstance(node, nodes.Act) and node.kind in ("once", "limited"))
            for node in nodes.walk(self.case.program)
        )
        return self.is_strict and not risky

    def _goes_on_with_nothing_once_it_has_ended(self) -> None:
        facts = len(self.world.ledger.log)
        again = self._go_on(self.world.crashed(Cut(facts)))
        assert again.ledger.log[facts:] == [], "a run that has ended, or waits, was extended by going on with it"

    def _go_on(self, world: World) -> World:
        self._simulation.world = world
        world.go()
        return world

    def _survives(self, cut: Cut) -> None:
        """Crash, go on, and once in a while crash again on the way."""
        self.cuts += 1
        went_on = self._go_on(self.world.crashed(cut))
        self._has_the_same_end(went_on)
        if self._luck.random() < 0.1:
            later = [item for item in went_on.ledger.cuts() if item > cut]
            if later:
                self._has_the_same_end(self._go_on(went_on.crashed(self._luck.choice(later))))

    def _has_the_same_end(self, world: World) -> None:
        check_world(world, self._found_good, uncut=False)
        if self._is_strict_across_crashes() and not self._loop.ties:
            found: dict[str, Outcome] = self._simulation.outcomes()
            assert found == self.outcomes or self._order_matters, (
                f"after a crash it ended as {found}, without as {self.outcomes}"
            )

    def _survives_a_late_start(self) -> None:
        """Somebody goes on with it long after the crash: what was due is overdue."""
        cut = self._luck.choice(list(self.world.ledger.cuts()))
        downtime_micros = self._luck.choice([2, 9, 9_999]) * 10**6
        check_world(
            self._go_on(self.world.crashed(cut, downtime_micros=downtime_micros)), self._found_good, uncut=False
        )

    def _survives_a_stop(self) -> None:
        """An interrupt at some moment, then it goes on."""
        world = self.world.crashed(Cut(1))
        fact = self._luck.choice(self.world.ledger.log)
        world.stop_at(fact.micros + self._luck.choice([0, 1]), SuspendReason.INTERRUPTED)
        check_world(self._go_on(world), self._found_good, uncut=False)
        check_world(self._go_on(world), self._found_good, uncut=False)

    def _reports_the_change(self, change: nodes.Change) -> None:
        """A changed program is told where it no longer fits, or asks for the very same."""
        workflow_id = self._luck.choice(list(self.world.ledger.histories))
        number = self._luck.randrange(len(self.world.ledger.histories[workflow_id]))
        history = self.world.ledger.histories[workflow_id][number].events
        known = self.world.place.code[history[0].workflow_type]
        assert isinstance(known, Workflow)
        other = as_workflow(changed(known.body, change), self.case.tied, known.name)
        cut = self._luck.randint(1, len(history))
        self._is_reported_or_the_same(history[:cut], other)
        clean = self._is_reported_or_the_same(history, other)
        if workflow_id == MAIN and number == 0 and self.is_strict:
            self._means_the_same_in_a_fresh_run(history, other, clean)

    def _is_reported_or_the_same(self, history: Any, other: Workflow) -> bool:
        verdict, misfit = replayed(history, other), first_misfit(history, other)
        if misfit is None:
            assert isinstance(verdict, Boundary), f"the same commands, and replay reports {verdict!r}"
        else:
            assert isinstance(verdict, NonDeterminismError), f"replay is clean, and yet {misfit}"
        self.verdicts.append("clean" if misfit is None else "reported")
        return misfit is None

    def _means_the_same_in_a_fresh_run(self, history: Any, other: Workflow, clean: bool) -> None:
        case = nodes.Case(other.body, self.case.answers, self.case.outside)
        fresh = Simulation(case, self._loop).world
        self._simulation.world = fresh
        fresh.go()
        if self._loop.ties:
            return
        before = [compared(event) for event in history]
        anew = [compared(event) for event in fresh.ledger.histories[MAIN][0].events]
        if not isinstance(history[-1], ev.TERMINAL_EVENTS):
            # This one waits for something that never came; the other may have gone on to ask for more.
            anew = anew[: len(before)]
        if anew == before:
            assert clean, "a fresh run records the very same, and replay reports it"
        elif all(event_class(event) is not EventClass.OUTSIDE for event in history[1:]):
            # A message may stand between a command and its event, so code that asks for it earlier is clean as well.
            assert not clean, "a fresh run records something else, and replay is clean"
