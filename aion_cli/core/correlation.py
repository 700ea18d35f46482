"""CorrelationKey: the deterministic identity of a command inside a run, and which key an event has.

Counters start at 0 in every run. Keys of different kinds never compare equal, even with the same number.
"""

from __future__ import annotations

import msgspec

from aion_cli.core import events as ev


class Activity(msgspec.Struct, frozen=True, gc=False):
    ordinal: int


class Timer(msgspec.Struct, frozen=True, gc=False):
    timer_id: int


class Child(msgspec.Struct, frozen=True, gc=False):
    ordinal: int


class Send(msgspec.Struct, frozen=True, gc=False):
    ordinal: int


class Signal(msgspec.Struct, frozen=True, gc=False):
    """index: how many signals of that name were handed to code before."""

    name: str
    index: int


class Update(msgspec.Struct, frozen=True, gc=False):
    update_id: str


class Marker(msgspec.Struct, frozen=True, gc=False):
    kind: str
    name: str


class Main(msgspec.Struct, frozen=True, gc=False):
    """The workflow itself: the key of its completion."""


CorrelationKey = Activity | Timer | Child | Send | Signal | Update | Marker | Main


def key_of(event: ev.Event) -> CorrelationKey | None:
    """Return the key of the command that an event belongs to, or None for one that belongs to no command."""
    match event:
        case (
            ev.ActivityCompleted(activity_id=n)
            | ev.ActivityScheduled(activity_id=n)
            | ev.ActivityStarted(activity_id=n)
            | ev.ActivityHeartbeat(activity_id=n)
            | ev.ActivityFailed(activity_id=n)
            | ev.ActivityCancelled(activity_id=n)
        ):
            return Activity(n)
        case ev.TimerStarted(timer_id=n) | ev.TimerFired(timer_id=n) | ev.TimerCancelled(timer_id=n):
            return Timer(n)
        case (
            ev.ChildWorkflowStarted(ordinal=n)
            | ev.ChildCancelRequested(ordinal=n)
            | ev.ChildWorkflowCompleted(ordinal=n)
            | ev.ChildWorkflowFailed(ordinal=n)
            | ev.ChildWorkflowCancelled(ordinal=n)
        ):
            return Child(n)
        case ev.SignalSendRequested(ordinal=n) | ev.SignalSent(ordinal=n) | ev.SignalSendFailed(ordinal=n):
            return Send(n)
        case ev.UpdateCompleted(update_id=update_id) | ev.UpdateFailed(update_id=update_id):
            return Update(update_id)
        case ev.MarkerRecorded(kind=kind, name=name):
            return Marker(kind, name)
        case ev.WorkflowCompleted() | ev.WorkflowFailed() | ev.WorkflowCancelled() | ev.WorkflowContinuedAsNew():
            return Main()
        case _:
            return None
