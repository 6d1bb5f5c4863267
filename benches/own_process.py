"""Measurements that need a process of their own: run a bench file as a script, and read what it prints."""

import json
import os
import subprocess
import sys

import pytest

MISSING = 77  # exit status: what it needs is not there


def ask(script, *arguments, **environment):
    """The JSON that the script prints on its last line; skip if a library is missing."""
    command = [sys.executable, script, *map(str, arguments)]
    finished = subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, check=False)
    if finished.returncode == MISSING:
        pytest.skip(finished.stderr.strip().splitlines()[-1])
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout.splitlines()[-1])


def answer(function, *arguments):
    """In the script: print what the function returns, or say what is missing."""
    try:
        print(json.dumps(function(*arguments)))
    except ImportError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(MISSING)


def record_measured(benchmark, values):
    """Put measured numbers in the place of the rounds of this process, which has only waited."""
    benchmark.extra_info["measured"] = values
    benchmark.pedantic(lambda: None, probed=False)
