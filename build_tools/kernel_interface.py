"""What Cython sees of the C kernels, made of their list, fastbp_c/src/kernel_list.inc.h.

The two tables of function pointers are structs, and every kernel is a function of its own name that calls through the
table of its type. setup.py writes the text to fastbp_c/algebra/_kernels.pxi, which simd.pxd includes.
"""

import re

KINDS = r"(?:DOUBLE_|VECTOR_)?KERNEL"
COMMENT = r"/\* ((?:(?!\*/).)*) \*/"
ENTRY = re.compile(rf"{COMMENT}\n({KINDS})\((\w+), (\w+), \((.*?)\)\)$", re.DOTALL | re.MULTILINE)
PARAMETER = re.compile(r"((?:const )?\w+ \*?)(\w+)")

FUNCTION = '''

cdef inline {result} {name}({parameters}) noexcept nogil:
    """{formula}"""
'''
FUSED_BODY = """\
    if floating is float:
        {leave}kernels_f.{name}({rounded})
    else:
        {leave}kernels_d.{name}({arguments})
"""
DOUBLE_BODY = """\
    {leave}kernels_d.{name}({arguments})
"""


def kernels(text):
    """(formula, kind, result, name, [(type, name) of every parameter]) of each entry of the list."""
    entries = ENTRY.findall(text)
    if len(entries) != len(re.findall(rf"^{KINDS}\(", text, re.MULTILINE)):
        raise ValueError(f"kernel_list.inc.h: expected a comment before every kernel, understood {entries}")
    for formula, kind, result, name, parameters in entries:
        pairs = [PARAMETER.fullmatch(parameter).groups() for parameter in re.split(r",\s+", parameters)]
        yield re.sub(r"\s*\n \*\s*", " ", formula), kind, result, name, pairs


def in_cython(c_type, real):
    return c_type.replace("ptrdiff_t", "Py_ssize_t").replace("REAL", real)


def table(listed, letter, real):
    yield f"    ctypedef struct fbp_kernels_{letter}:\n"
    for _, kind, result, name, pairs in listed:
        if kind != "DOUBLE_KERNEL" or real == "double":
            types = ", ".join(in_cython(c_type, real).strip() for c_type, _ in pairs)
            yield f"        {in_cython(result, real)} (*{name})({types}) noexcept nogil\n"


def function(formula, kind, result, name, pairs):
    real = "double" if kind == "DOUBLE_KERNEL" else "floating"
    scalars = {parameter for c_type, parameter in pairs if c_type == "REAL "}
    text = FUNCTION + (DOUBLE_BODY if kind == "DOUBLE_KERNEL" else FUSED_BODY)
    return text.format(
        result=in_cython(result, real),
        name=name,
        parameters=", ".join(in_cython(t, "double" if p in scalars else real) + p for t, p in pairs),
        formula=formula,
        leave="" if result == "void" else "return ",
        rounded=", ".join(f"<float> {p}" if p in scalars else p for _, p in pairs),
        arguments=", ".join(p for _, p in pairs),
    )


def cython_interface(text):
    """The Cython source for that text of the list."""
    listed = list(kernels(text))
    return "".join(
        [
            '# Made by build_tools/kernel_interface.py of src/kernel_list.inc.h.\ncdef extern from "kernels.h":\n',
            *table(listed, "f", "float"),
            *table(listed, "d", "double"),
            *(function(*kernel) for kernel in listed),
        ]
    )
