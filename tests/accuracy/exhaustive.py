"""Every activation function and its two derivatives at every float32 number, against float64 references.

    python tests/accuracy/exhaustive.py [--stride N] [--jobs N] [--instruction-set NAME] [activation ...]

Prints the largest error of each in ulp, where the bound is relative, and in absolute terms within the radius of a
root and below the normal numbers. Exits with status 1 if a bound of true_values.py is exceeded.
"""

import argparse
import multiprocessing
import sys

import numpy as np
import true_values

from fastbp_c.algebra import simd
from fastbp_c.networks.activation import activate

CHUNK = 2**16
DTYPE = np.float32
TINY = float(np.finfo(DTYPE).tiny)


def measure(task):
    """(ulp, near a root, underflowed, wrong, an argument of a wrong one) for h, h', h'' over a range of bits."""
    name, begin, stride = task
    bits = np.arange(begin, min(begin + CHUNK * stride, 2**32), stride, dtype=np.int64)
    a = bits.astype(np.uint32).view(DTYPE)
    found = []
    for order, (got, true) in enumerate(zip(activate(name, a), true_values.wide(name, a), strict=True)):
        with np.errstate(invalid="ignore"):  # signaling NaN
            got, wide = got.astype(np.float64), a.astype(np.float64)
        with np.errstate(invalid="ignore"):
            error = np.where((got == true) | (np.isnan(got) & np.isnan(true)), 0, np.abs(got - true))
            bound = true_values.allowed(name, order, wide, true, DTYPE)
            ulps = error / true_values.ulp(true, DTYPE)
            wrong = ~(error <= bound) & (error != 0)
            by_ulp = bound <= true_values.MAX_ULP * true_values.ulp(true, DTYPE)
            near_root = ~by_ulp & (bound > true_values.UNDERFLOW * TINY)
            underflowed = ~by_ulp & ~near_root
        largest = [np.max(e[m], initial=0) for e, m in ((ulps, by_ulp), (error, near_root), (error, underflowed))]
        found.append((*largest, wrong.sum(), a[wrong][:1].tolist()))
    return name, found


def main():
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("activations", nargs="*", default=true_values.ACTIVATIONS)
    parser.add_argument("--stride", type=int, default=1, help="take every stride-th number only")
    parser.add_argument("--jobs", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--instruction-set", choices=simd.available())
    options = parser.parse_args()

    step = CHUNK * options.stride
    tasks = [(name, begin, options.stride) for name in options.activations for begin in range(0, 2**32, step)]
    worst = {name: [[0.0, 0.0, 0.0, 0, []] for _ in range(3)] for name in options.activations}
    with multiprocessing.Pool(options.jobs, simd.use, (options.instruction_set,)) as pool:
        for name, found in progress(pool.imap_unordered(measure, tasks), len(tasks)):
            for total, one in zip(worst[name], found, strict=True):
                total[:3] = map(max, total[:3], one[:3])
                total[3] += one[3]
                total[4] = total[4] or one[4]

    print(f"{'':12} {'ulp':>8} {'near root':>10} {'underflow':>10}  wrong")
    for name, orders in worst.items():
        for order, (ulps, root, underflow, wrong, where) in enumerate(orders):
            note = f"{wrong}, as at {where[0]!r}" if wrong else "0"
            print(f"{name + order * chr(39):12} {ulps:8.3f} {root:10.2e} {underflow:10.2e}  {note}")
    return int(any(total[3] for orders in worst.values() for total in orders))


def progress(results, count):
    """The results, with a bar if tqdm is installed and somebody is watching."""
    try:
        from tqdm import tqdm
    except ImportError:
        return results
    return tqdm(results, total=count, disable=None)


if __name__ == "__main__":
    sys.exit(main())
