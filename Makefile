# What a developer runs. Every target makes the virtual environment it needs, and builds what has changed.
#
#   make test PYTHON=python3.12      by another Python than the first that .ci/pythons finds
#   make test ARGS="-k affine -x"    more arguments for pytest, or for the script a target runs

ARGS =
CC = cc
override PYTHON := $(shell .ci/pythons $(PYTHON) | head -n 1)
ifeq ($(PYTHON),)
$(error found no CPython of at least 3.10 with venv and its C headers; name one by PYTHON=...)
endif
export PIP_DISABLE_PIP_VERSION_CHECK := 1
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d%s" % (*sys.version_info[:2], sys.abiflags))')

SOURCES := pyproject.toml setup.py $(filter-out fastbp_c/algebra/_%.pxi, \
    $(wildcard build_tools/*.py fastbp_c/*.p[xy]* fastbp_c/*/*.p[xy]* fastbp_c/src/*))
PACKED := $(SOURCES) MANIFEST.in README.md $(shell find .ci fastbp fastbp_c tests benches demo docs -type f \
    ! -path '*/__pycache__/*' ! -name '*.so' ! -name '_*.pxi' 2>/dev/null)

.PHONY: demo demo-sharing demo-curvature demo-curve drift test test-exhaustive test-matrix test-sanitize \
    test-sanitize-threads bench bench-quick bench-save bench-compare bench-publish lint build wheel-check clean
.DELETE_ON_ERROR:
.SUFFIXES:

demo: build/in-place-$(VERSION)
	.venv/bin/python demo/digits.py $(ARGS)

# Tied weights and convolutions: a minute's work for a computer, or less.
demo-sharing: build/in-place-$(VERSION)
	.venv/bin/python demo/autoencoder.py $(ARGS)
	.venv/bin/python demo/convolution.py $(ARGS)

# A trained network in second order: spectrum, diagonals, input Jacobian.
demo-curvature: build/in-place-$(VERSION)
	.venv/bin/python demo/curvature.py $(ARGS)

# A curve fitted online, with its uncertainty, by an inverse Hessian.
demo-curve: build/in-place-$(VERSION)
	.venv/bin/python demo/curve_fitting.py $(ARGS)

test: build/in-place-$(VERSION)
	.venv/bin/python -m pytest $(ARGS)

# How far inverse Hessians drift: the tables of docs/inverse.md. A few minutes.
drift: build/in-place-$(VERSION)
	.venv/bin/python tests/accuracy/drift.py $(ARGS)

# Against true values of many digits, for every float32 number: takes an hour.
test-exhaustive: build/in-place-$(VERSION)
	.venv/bin/python tests/accuracy/exhaustive.py $(ARGS)

# On every Python found, and on the lowest versions of NumPy and SciPy that will do.
test-matrix: build/wheel
	.ci/matrix $(ARGS)

# Under AddressSanitizer and UndefinedBehaviorSanitizer, in a copy of the tree.
test-sanitize: build/source-archive .venv-sanitize/installed-$(VERSION)
	CC="$(CC)" .ci/sanitize .venv-sanitize $(ARGS)

# Threads under ThreadSanitizer: what the team of helpers does, and several threads of Python's.
test-sanitize-threads: ARGS = tests/test_team_stress.py tests/test_team.py tests/test_threads.py
test-sanitize-threads: build/source-archive .venv-sanitize/installed-$(VERSION)
	CC="$(CC)" FASTBP_SANITIZE=thread .ci/sanitize .venv-sanitize $(ARGS)

# Against the peers that can be installed. For every bench once, as a test of its result: bench-quick.
bench: .venv-bench/peers-$(VERSION) build/in-place-$(VERSION)
	.venv-bench/bin/python benches/run.py $(ARGS)

bench-quick: build/in-place-$(VERSION)
	.venv/bin/python -m pytest benches --benchmark-disable $(ARGS)

# The latest `make bench` into docs/benchmarks.md, its pictures, and the tables of README.md and other pages.
bench-publish: .venv-bench/installed-$(VERSION)
	.venv-bench/bin/python benches/report.py --publish $(ARGS)

# fastbp's own rows, stored by a name; two stored runs compared, the last two or those that ARGS names.
NAME = run
bench-save: build/in-place-$(VERSION)
	.venv/bin/python benches/history.py save $(NAME) $(ARGS)

bench-compare: build/in-place-$(VERSION)
	.venv/bin/python benches/history.py compare $(ARGS)

lint: .venv-lint/installed-$(VERSION) build/in-place-$(VERSION)
	.venv-lint/bin/ruff check
	.venv-lint/bin/ruff format --check
	PATH="$(CURDIR)/.venv-lint/bin:$$PATH" cython-lint fastbp_c tests
	.venv-lint/bin/codespell
	.venv-lint/bin/mypy
	.venv-lint/bin/python -m mypy.stubtest fastbp_c --ignore-disjoint-bases --ignore-unused-allowlist \
	    --allowlist tests/stubtest_allow.txt

# The source archive and, from it alone, the wheel; with no warning from the compilers.
build: build/wheel

build/source-archive: .venv-build/installed-$(VERSION) $(PACKED)
	rm -rf dist
	.venv-build/bin/python -m build --sdist >build/source-archive.log 2>&1 || { cat build/source-archive.log; exit 1; }
	touch $@

build/wheel: build/source-archive
	rm -f dist/*.whl
	.venv-build/bin/python -m pip wheel --verbose --no-deps --wheel-dir dist dist/*.tar.gz >build/wheel.log 2>&1 || \
	    { cat build/wheel.log; exit 1; }
	! grep -E 'performance hint|warning: fastbp_c|fastbp_c/.*warning:' build/wheel.log
	ls dist
	touch $@

# The wheel in an empty environment, away from the sources.
wheel-check: build/wheel
	$(PYTHON) -m venv --clear .venv-wheel
	.venv-wheel/bin/python -m pip install --quiet "$$(echo dist/*.whl)[test]"
	.ci/installed-suite .venv-wheel $(ARGS)

clean:
	rm -rf build dist fastbp.egg-info .venv .venv-* .benchmarks .hypothesis .pytest_cache .ruff_cache .mypy_cache
	find fastbp_c '(' -name '*.so' -o -name '*.pyd' -o -name '_*.pxi' ')' -exec rm -f {} +
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The compiled modules, beside their sources.
build/in-place-$(VERSION): .venv/installed-$(VERSION) $(SOURCES)
	.venv/bin/python setup.py --quiet build_ext --inplace
	touch $@

# $(call ENVIRONMENT,directory,groups of requirements): a virtual environment which also finds the packages of this
# tree, by a .pth file.
define ENVIRONMENT
$(1)/installed-$$(VERSION): pyproject.toml
	mkdir -p build
	test -e $(1)/made-$$(VERSION) || $$(PYTHON) -m venv --clear $(1)
	touch $(1)/made-$$(VERSION)
	$(1)/bin/python .ci/requirements.py $(2) >$(1)/requirements.txt
	$(1)/bin/python -m pip install --quiet --upgrade --requirement $(1)/requirements.txt
	echo "$$(CURDIR)" >"$$$$($(1)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/fastbp-tree.pth"
	touch $$@
endef
$(eval $(call ENVIRONMENT,.venv,build run test demo bench))
$(eval $(call ENVIRONMENT,.venv-lint,build run test lint))
$(eval $(call ENVIRONMENT,.venv-sanitize,build run test))
$(eval $(call ENVIRONMENT,.venv-bench,build run bench))
$(eval $(call ENVIRONMENT,.venv-build,release))

# The benches do without a peer that cannot be installed; the next run tries again. PyTorch comes without CUDA: on Linux
# as a version of its own, from the machine's package index or else from PyTorch's; what BackPACK needs leaves it alone.
TORCH_INDEX := --retries 1 --extra-index-url https://download.pytorch.org/whl/cpu
.venv-bench/peers-$(VERSION): .venv-bench/installed-$(VERSION)
	.venv-bench/bin/python .ci/requirements.py peers >.venv-bench/peers.txt
	touch $@
	@install=".venv-bench/bin/python -m pip install --quiet"; \
	while read -r peer; do \
	    case $$(uname)-$$peer in \
	        *-backpack*) .venv-bench/bin/python -c "import torch" 2>.venv-bench/torch.log && \
            $$install "$$peer" --constraint .venv-bench/peers.txt ;; \
	        Linux-torch==*) $$install "$$peer+cpu" 2>.venv-bench/torch.log || $$install "$$peer+cpu" $(TORCH_INDEX) ;; \
	        *) $$install "$$peer" ;; \
	    esac </dev/null || { echo "left out: $$peer"; rm -f $@; }; \
	done <.venv-bench/peers.txt
