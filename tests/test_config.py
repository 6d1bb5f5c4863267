"""What show_config prints."""

import re

import numpy as np
import scipy
from threadpoolctl import threadpool_info, threadpool_limits

import fastbp
from fastbp_c.algebra import simd


def printed(capsys):
    assert fastbp.show_config() is None
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out.splitlines()


def test_versions(capsys):
    _, versions = printed(capsys)[0].split(maxsplit=1)
    assert versions == f"{fastbp.__version__} (NumPy {np.__version__}, SciPy {scipy.__version__})"


def test_every_blas_with_its_threads(capsys):
    lines = [line for line in printed(capsys) if line.startswith("BLAS ")]
    libraries = [library for library in threadpool_info() if library["user_api"] == "blas"]
    assert len(lines) == len(libraries)
    for library in libraries:
        (line,) = (line for line in lines if line.endswith(library["filepath"]))
        assert f"{library['internal_api']} {library['version']}" in line
        assert f" {library['num_threads']} threads" in line


def test_vectors_in_use(capsys, instruction_set):
    name, size = simd.instruction_set()
    assert name == instruction_set
    lines = printed(capsys)
    (line,) = (line for line in lines if line.startswith("vectors "))
    assert re.fullmatch(rf"vectors +{name}, {8 * size} bits; this processor has {', '.join(simd.available())}", line)
    assert [line.split(maxsplit=1) for line in lines[-2:]] == [
        ["float32", f"4 bytes, {size // 4} a vector"],
        ["float64", f"8 bytes, {size // 8} a vector"],
    ]


def test_columns_line_up(capsys):
    lines = printed(capsys)
    assert {re.match(r"\S+ +", line).end() for line in lines} == {14}


def test_threads_and_why(capsys):
    fastbp.set_num_threads(3)
    try:
        assert "threads       3: set_num_threads" in printed(capsys)
        with threadpool_limits(2, "fastbp"):
            assert "threads       2: a limit of threadpoolctl" in printed(capsys)
    finally:
        fastbp.set_num_threads(None)
