"""Fixtures for the whole suite, and repeatable hypothesis runs."""

import pytest
from hypothesis import settings

from fastbp_c.algebra import simd

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")


@pytest.fixture(params=simd.available())
def instruction_set(request):
    """Every instruction set that this processor has, one after the other."""
    before = simd.instruction_set()[0]
    simd.use(request.param)
    yield request.param
    simd.use(before)


@pytest.fixture
def product_limit():
    """The function that sets where BLAS takes over from the own kernels."""
    yield simd.limit_products
    simd.limit_products()
