"""The team of helpers, without Python: its C is compiled with pauses between its steps, and used by many threads."""

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import fastbp_c

SOURCES = Path(fastbp_c.__file__).parent / "src"
SANITIZED = os.environ.get("FASTBP_SANITIZE") == "thread"

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="a program for POSIX"),
    pytest.mark.skipif(not (SOURCES / "team.c").is_file(), reason="an installation has no sources"),
]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The compiled program, under ThreadSanitizer where the library is."""
    target = tmp_path_factory.mktemp("stress") / "team_stress"
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    flags = ["-std=gnu11", "-pthread", *(["-O1", "-g", "-fsanitize=thread"] if SANITIZED else ["-O2"])]
    source = Path(__file__).with_name("team_stress.c")
    command = [*compiler, *flags, f"-I{SOURCES}", str(source), "-o", str(target)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("no C compiler")
    assert (done.returncode, done.stderr) == (0, "")
    return target


@pytest.mark.parametrize(
    "arguments", ["1 2000", "4 1000", "90 50", "3 500 fork"], ids=["one", "some", "more_than_places", "forks"]
)
def test_every_piece_is_done_once(program, arguments):
    if SANITIZED and "fork" in arguments:
        pytest.skip("ThreadSanitizer starts no threads after a fork")
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    done = subprocess.run([program, *arguments.split()], capture_output=True, text=True, env=environment, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (0, "every piece once\n", "")
