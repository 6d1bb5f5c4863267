"""What independent processes get out of the cores of this machine: as many as cores, against one.

Each is pinned to a core of its own and repeats what the probe of its kind is made of, in its large form (`limits.py`).
Two virtual cores may be one physical core, and all cores share the memory: no program's speed-up says anything without
this one beside it.

Run as a script, it prints {kind: {"alone": [...], "together": [...]}}, seconds a product or a part of the stream.
"""

import sys

import cores

if __name__ == "__main__":
    cores.use(1)

import os
import subprocess
import time

import limits
from own_process import answer

SECONDS = 0.04  # of a round
ROUNDS = 12


def measure(rounds=ROUNDS, kinds=limits.KINDS):
    """Rounds of one process and of all at once, in turn."""
    command = [sys.executable, __file__, "worker"]
    started = [
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env=os.environ | {cores.ONE: str(core)},
        )
        for core in cores.there()
    ]
    try:
        return {kind: in_turn(kind, started, int(rounds)) for kind in kinds}
    finally:
        for process in started:
            process.communicate()  # nothing more to do: it ends


def in_turn(kind, started, rounds):
    """{"alone": [...], "together": [...]} after a round that warms up."""
    found = {"alone": [], "together": []}
    ask(kind, started)
    for _ in range(rounds):
        found["alone"].append(ask(kind, started[-1:]))
        found["together"].append(ask(kind, started))
    return found


def ask(kind, processes):
    """Seconds a call, the calls of all processes counted."""
    for process in processes:
        process.stdin.write(kind + "\n")
    return float(f"{1 / sum(float(process.stdout.readline()) for process in processes):.4g}")


def work():
    """For every kind that comes in: for a while do nothing else, and say how many calls a second that were."""
    calls = {}
    for line in sys.stdin:
        kind = line.strip()
        if kind not in calls:
            calls[kind] = limits.large_of(kind)
            calls[kind]()
        number, begin = 0, time.perf_counter()
        while (passed := time.perf_counter() - begin) < SECONDS:
            calls[kind]()
            number += 1
        print(number / passed, flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["worker"]:
        work()
    else:
        answer(measure, *sys.argv[1:])
