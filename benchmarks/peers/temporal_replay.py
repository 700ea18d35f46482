"""Temporal's Replayer, unsandboxed, on a history of sequential activities, six events a step, as its server writes it.

Run by the peers' Python: `temporal_replay.py STEPS` prints its rate as JSON. The history is made here, outside the
measured time; no server takes part.
"""
# What is imported here is installed in the peers' environment alone.
# pyright: basic, reportMissingImports=false

import asyncio
import json
import sys
import time
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.api.common.v1 import ActivityType, Payload, Payloads, WorkflowType
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import History, HistoryEvent
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner

QUEUE = TaskQueue(name="measured")


@activity.defn
async def count(number: int) -> int:
    return number


@workflow.defn
class Sequence:
    @workflow.run
    async def run(self, steps: int) -> int:
        total = 0
        for number in range(steps):
            total += await workflow.execute_activity(count, number, start_to_close_timeout=timedelta(seconds=10))
        return total


def number_payload(number: int) -> Payloads:
    return Payloads(payloads=[Payload(metadata={"encoding": b"json/plain"}, data=str(number).encode())])


class Recorder:
    """Makes the events of a run, one after the other."""

    def __init__(self) -> None:
        self.history = History()

    def add(self, kind: str) -> HistoryEvent:
        event = self.history.events.add()
        event.event_id = len(self.history.events)
        event.event_type = EventType.Value(f"EVENT_TYPE_{kind}")
        event.event_time.FromMilliseconds(1_700_000_000_000 + event.event_id)
        return event

    def workflow_task(self) -> int:
        scheduled = self.add("WORKFLOW_TASK_SCHEDULED")
        scheduled.workflow_task_scheduled_event_attributes.task_queue.CopyFrom(QUEUE)
        started = self.add("WORKFLOW_TASK_STARTED")
        started.workflow_task_started_event_attributes.scheduled_event_id = scheduled.event_id
        completed = self.add("WORKFLOW_TASK_COMPLETED")
        completed.workflow_task_completed_event_attributes.scheduled_event_id = scheduled.event_id
        completed.workflow_task_completed_event_attributes.started_event_id = started.event_id
        return completed.event_id

    def activity(self, number: int, task: int) -> None:
        scheduled = self.add("ACTIVITY_TASK_SCHEDULED")
        asked = scheduled.activity_task_scheduled_event_attributes
        asked.activity_id = str(number + 1)
        asked.activity_type.CopyFrom(ActivityType(name="count"))
        asked.task_queue.CopyFrom(QUEUE)
        asked.input.CopyFrom(number_payload(number))
        asked.workflow_task_completed_event_id = task
        started = self.add("ACTIVITY_TASK_STARTED")
        started.activity_task_started_event_attributes.scheduled_event_id = scheduled.event_id
        started.activity_task_started_event_attributes.attempt = 1
        completed = self.add("ACTIVITY_TASK_COMPLETED")
        completed.activity_task_completed_event_attributes.result.CopyFrom(number_payload(number))
        completed.activity_task_completed_event_attributes.scheduled_event_id = scheduled.event_id
        completed.activity_task_completed_event_attributes.started_event_id = started.event_id


def history_of(steps: int) -> WorkflowHistory:
    recorder = Recorder()
    started = recorder.add("WORKFLOW_EXECUTION_STARTED").workflow_execution_started_event_attributes
    started.workflow_type.CopyFrom(WorkflowType(name="Sequence"))
    started.task_queue.CopyFrom(QUEUE)
    started.input.CopyFrom(number_payload(steps))
    started.original_execution_run_id = started.first_execution_run_id = "measured"
    for number in range(steps):
        recorder.activity(number, recorder.workflow_task())
    task = recorder.workflow_task()
    completed = recorder.add("WORKFLOW_EXECUTION_COMPLETED").workflow_execution_completed_event_attributes
    completed.result.CopyFrom(number_payload(steps * (steps - 1) // 2))
    completed.workflow_task_completed_event_id = task
    return WorkflowHistory("measured", list(recorder.history.events))


async def main() -> None:
    steps = int(sys.argv[1])
    history = history_of(steps)
    replayer = Replayer(workflows=[Sequence], workflow_runner=UnsandboxedWorkflowRunner())
    began = time.perf_counter()
    await replayer.replay_workflow(history)
    print(json.dumps({"steps_per_s": steps / (time.perf_counter() - began)}))


asyncio.run(main())
