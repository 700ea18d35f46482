"""`python -m benchmarks`: measure, and print one table. `--only P4,P8` for some of it."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import crash, processes, replays, signals, steps
from benchmarks.measure import HERE, Bench, BenchmarkError
from benchmarks.table import Row, rendered

_ALL: dict[str, Callable[[Bench], list[Row]]] = {
    "P1": processes.version_and_help,
    "P2": processes.run_one_step,
    "P3": processes.signal_unowned,
    "P4": steps.async_steps,
    "P5": steps.sync_steps,
    "P6": steps.against_dbos,
    "P7": steps.fan_out,
    "P8": replays.against_decoding,
    "P9": replays.against_temporal,
    "P10": replays.growth,
    "P11": crash.back_to_work,
    "P12": replays.memory,
    "P13": steps.bytes_a_step,
    "P15": signals.to_an_idle_owner,
}


def main() -> None:
    """Measure what was asked for, and print the table."""
    chosen = _arguments()
    names = [name.strip().upper() for name in chosen.only.split(",")] if chosen.only else list(_ALL)
    unknown = [name for name in names if name not in _ALL]
    if unknown:
        sys.exit(f"no benchmark {', '.join(unknown)}; there are {', '.join(_ALL)}")
    scratch = Path(chosen.scratch)
    bench = Bench(scratch, full=chosen.full)
    load_before = os.getloadavg()[0]
    rows: list[Row] = []
    failed: list[str] = []
    try:
        for name in names:
            began = time.perf_counter()
            try:
                rows += _ALL[name](bench)
            except BenchmarkError as error:
                failed.append(name)
                print(f"{name} failed: {error}", file=sys.stderr)
            else:
                print(f"{name} measured in {time.perf_counter() - began:.0f} s", file=sys.stderr)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print(rendered(rows))
    load = f"load average {load_before:.1f} before, {os.getloadavg()[0]:.1f} after"
    print(f"{platform.system()}, Python {platform.python_version()}, {os.cpu_count()} processors; {load}", flush=True)
    if failed:
        sys.exit(f"not measured: {', '.join(failed)}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", metavar="P4,P8", help="measure these; default: all")
    parser.add_argument("--full", action="store_true", help="three times the repetitions")
    parser.add_argument(
        "--scratch",
        metavar="DIR",
        default=str(HERE / ".work"),
        help="a folder to make, and to remove at the end, on the file system to measure (default: %(default)s)",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
