"""Code marks of small packages: what a mark depends on, and what it does not."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from tlbench.plugins import code_mark as module_of_marks
from tlbench.plugins.code_mark import (
    EXECUTION,
    FORM,
    INFRASTRUCTURE,
    TEXT_EXECUTION,
    CodeMarks,
    code_mark,
    execution_mark,
)
from tlbench.plugins.definitions import Module, Sources

Files = dict[str, str]
MarkOf = Callable[..., str]


@pytest.fixture
def mark_of(tmp_path: Path) -> MarkOf:
    """Return a function that writes files as a package ``toy`` and returns the mark of ``toy.plugin``."""
    count = 0

    def mark(plugin: str, **others: str) -> str:
        nonlocal count
        count += 1
        folder = tmp_path / str(count) / "toy"
        for name, text in {"__init__": "", "plugin": plugin, **others}.items():
            file = folder / f"{name}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(textwrap.dedent(text))
        return CodeMarks({"toy": folder}).of_plugin("toy.plugin")

    return mark


BASE = """
from toy.helpers import scale

RATE = 0.1

def fit(x):
    return scale(x) * RATE
"""
HELPERS = """
STEPS = 3

def scale(x, by=2):
    return x * by + STEPS
"""

SAME = {
    "a docstring": (BASE.replace("def fit(x):", 'def fit(x):\n    """Fit."""'), HELPERS),
    "a comment and brackets": (BASE.replace("0.1", "(0.1)  # a rate"), HELPERS),
    "a renamed constant": (BASE.replace("RATE", "PACE"), HELPERS),
    "a renamed function": (BASE.replace("scale", "stretch"), HELPERS.replace("scale", "stretch")),
    "another alias": (
        BASE.replace("import scale", "import scale as s").replace("scale(x)", "s(x)"), HELPERS,
    ),
    "a module's attribute": (
        BASE.replace("toy.helpers import scale", "toy import helpers").replace("scale(x)", "helpers.scale(x)"),
        HELPERS,
    ),
    "a dotted module": (
        BASE.replace("from toy.helpers import scale", "import toy.helpers").replace("scale(x)", "toy.helpers.scale(x)"),
        HELPERS,
    ),
    "a renamed module": (
        BASE.replace("from toy.helpers import scale", "import toy.helpers as h").replace("scale(x)", "h.scale(x)"),
        HELPERS,
    ),
    "a relative import": (BASE.replace("from toy.helpers", "from .helpers"), HELPERS),
    "an import inside the function": (
        BASE.replace("from toy.helpers import scale\n", "").replace(
            "    return", "    from toy.helpers import scale\n    return"
        ),
        HELPERS,
    ),
    "annotations of functions and variables": (
        BASE.replace("def fit(x)", "def fit(x: int) -> float").replace("RATE =", "RATE: float ="), HELPERS,
    ),
    "a definition that nothing reaches": (BASE, HELPERS + "\ndef other():\n    return STEPS\n"),
    "an import that nothing uses": (BASE, "import math\n" + HELPERS),
    "an own definition moved away": (
        BASE.replace("RATE = 0.1\n", "from toy.helpers import RATE\n"), HELPERS + "RATE = 0.1\n",
    ),
    "a helper that comes home": (
        BASE.replace("from toy.helpers import scale\n", HELPERS), "",
    ),
    "definitions in another order": (BASE, "\ndef scale(x, by=2):\n    return x * by + STEPS\n\nSTEPS = 3\n"),
    "which cells there are": (BASE + "PROTOCOLS = ('a',)\nQUICK = {}\n\ndef skip():\n    return None\n", HELPERS),
    "a script's part": (BASE, HELPERS + "if __name__ == '__main__':\n    print(STEPS)\n"),
}  # fmt: skip

OTHER = {
    "a constant": (BASE.replace("0.1", "0.2"), HELPERS),
    "the kind of a constant": (BASE, HELPERS.replace("STEPS = 3", "STEPS = 3.0")),
    "a constant of a helper": (BASE, HELPERS.replace("STEPS = 3", "STEPS = 4")),
    "an operator": (BASE, HELPERS.replace("+ STEPS", "- STEPS")),
    "a default": (BASE, HELPERS.replace("by=2", "by=3")),
    "a decorator": ("import functools\n" + BASE.replace("def fit", "@functools.cache\ndef fit"), HELPERS),
    "a name that others look for": (BASE.replace("def fit", "def fits"), HELPERS),
    "one more name that others look for": (BASE + "FROZEN_BACKBONE = True\n", HELPERS),
    "a keyword's name": (BASE, HELPERS.replace("by", "times")),
    "a statement that runs on import": (BASE, HELPERS + "print('hello')\n"),
    "a call of something external": (BASE.replace("scale(x)", "abs(scale(x))"), HELPERS),
    "an assignment besides": (BASE, HELPERS + "STEPS = STEPS + 1\n"),
    "an addition to a constant": (BASE, HELPERS + "STEPS += 1\n"),
    "a branch of a constant": (BASE, HELPERS.replace("STEPS = 3", "if True:\n    STEPS = 3\nelse:\n    STEPS = 4")),
}


@pytest.mark.parametrize("name", SAME)
def test_how_code_is_written_is_no_part_of_its_mark(mark_of: MarkOf, name: str) -> None:
    plugin, helpers = SAME[name]
    assert mark_of(plugin, helpers=helpers) == mark_of(BASE, helpers=HELPERS)


@pytest.mark.parametrize("name", OTHER)
def test_what_code_does_is(mark_of: MarkOf, name: str) -> None:
    plugin, helpers = OTHER[name]
    assert mark_of(plugin, helpers=helpers) != mark_of(BASE, helpers=HELPERS)


def test_all_of_these_marks_differ(mark_of: MarkOf) -> None:
    marks = [mark_of(plugin, helpers=helpers) for plugin, helpers in OTHER.values()]
    assert len({*marks, mark_of(BASE, helpers=HELPERS)}) == len(OTHER) + 1
    assert all(mark.startswith(FORM) and len(mark) == len(FORM) + 16 for mark in marks)


# Functions that call themselves and each other


def test_a_function_that_calls_itself(mark_of: MarkOf) -> None:
    def recursive(name: str, step: str = "1") -> str:
        return f"def {name}(n):\n    return {name}(n - {step}) if n else 0\n"

    plugin = "from toy.a import f\n\ndef fit(x):\n    return f(x)\n"
    before = mark_of(plugin, a=recursive("f"))
    assert mark_of(plugin.replace("import f", "import g as f"), a=recursive("g")) == before
    assert mark_of(plugin, a=recursive("f", "2")) != before
    assert mark_of(plugin, a="def g(n):\n    return 0\n\ndef f(n):\n    return g(n - 1) if n else 0\n") != before


EVEN = "def even(n):\n    return True if n == 0 else odd(n - 1)\n"
ODD = "def odd(n):\n    return False if n == 0 else even(n - 1)\n"
START = "from toy.a import even\n\ndef fit(x):\n    return even(x)\n"


def test_functions_that_call_each_other_are_one_group(mark_of: MarkOf) -> None:
    before = mark_of(START, a=EVEN + ODD)
    assert mark_of(START, a=ODD + EVEN) == before, "order"
    apart = mark_of(START, a="from toy.b import odd\n" + EVEN, b="from toy.a import even\n" + ODD)
    assert apart == before, "files"
    renamed = mark_of(START.replace("even", "gerade"), a=(EVEN + ODD).replace("even", "gerade").replace("odd", "x"))
    assert renamed == before, "names"
    assert mark_of(START.replace("even", "odd"), a=EVEN + ODD) != before, "the other one of the two"
    assert mark_of(START, a=EVEN + ODD.replace("n - 1", "n - 2")) != before
    assert mark_of(START, a=EVEN.replace("True", "1") + ODD) != before


def test_a_change_within_a_group_changes_every_mark_that_reaches_the_group(mark_of: MarkOf) -> None:
    three = "def a(n):\n    return b(n)\n\ndef b(n):\n    return c(n)\n\ndef c(n):\n    return a(n - 1) if n else 0\n"
    for start in "abc":
        plugin = f"from toy.a import {start}\n\ndef fit(x):\n    return {start}(x)\n"
        for old, new in (("return b(n)", "return -b(n)"), ("return c(n)", "return -c(n)"), ("else 0", "else 1")):
            assert mark_of(plugin, a=three) != mark_of(plugin, a=three.replace(old, new))


# Names


LOCALS = {
    "a parameter": "def fit(scale):\n    return scale(1)\n",
    "an assigned name": "def fit(x):\n    scale = x\n    return scale\n",
    "the variable of a loop": "def fit(x):\n    for scale in x:\n        print(scale)\n",
    "one assigned later": "def fit(x):\n    def inner():\n        return scale\n    scale = x\n    return inner()\n",
    "a comprehension": "def fit(x):\n    return [scale for scale in x]\n",
    "a dictionary comprehension": "def fit(x):\n    return {scale: 1 for scale, _ in x}\n",
    "a parameter of a lambda": "def fit(x):\n    return (lambda scale: scale)(x)\n",
    "a context": "def fit(x):\n    with x as scale:\n        return scale\n",
    "an exception": "def fit(x):\n    try:\n        return x\n    except ValueError as scale:\n        return scale\n",
    "a walrus": "def fit(x):\n    return (scale := x) + scale\n",
    "a walrus in a comprehension": "def fit(x):\n    found = [y for z in x if (scale := z)]\n    return scale\n",
    "a pattern": "def fit(x):\n    match x:\n        case [scale, *_]:\n            return scale\n",
    "a nested function": "def fit(x):\n    def scale():\n        return 1\n    return scale()\n",
    "a nested class": "def fit(x):\n    class scale:\n        pass\n    return scale()\n",
    "nonlocal": (
        "def fit(x):\n    scale = 1\n    def inner():\n        nonlocal scale\n        scale = 2\n"
        "    return inner, scale\n"
    ),
    "a name of a class's body": "class Config:\n    scale = 1\n    twice = scale * 2\n\ndef fit(x):\n    return x\n",
    "an attribute": "def fit(x):\n    return x.scale\n",
    "a keyword": "def fit(x):\n    return x(scale=1)\n",
    "a text": "def fit(x):\n    return 'scale'\n",
}
USES = {
    "a name": "def fit(x):\n    return scale(x)\n",
    "a default": "def fit(x, how=scale):\n    return how(x)\n",
    "the default of a parameter of that name": "def fit(x, scale=scale):\n    return scale(x)\n",
    "a decorator": "@scale\ndef fit(x):\n    return x\n",
    "a base": "class Config(scale):\n    pass\n\ndef fit(x):\n    return x\n",
    "a keyword of a class": "class Config(metaclass=scale):\n    pass\n\ndef fit(x):\n    return x\n",
    "a name in a class's body": "class Config:\n    how = scale\n\ndef fit(x):\n    return x\n",
    "a class attribute of that name": "class Config:\n    scale = scale\n\ndef fit(x):\n    return x\n",
    "a method of a class that has an attribute of that name": (
        "class Config:\n    scale = 1\n    def get(self):\n        return scale\n\ndef fit(x):\n    return x\n"
    ),
    "a comprehension in a class that has an attribute of that name": (
        "class Config:\n    scale = 1\n    some = [scale for _ in range(3)]\n\ndef fit(x):\n    return x\n"
    ),
    "an annotation in a class's body": "class Config:\n    how: scale = 1\n\ndef fit(x):\n    return x\n",
    "what a comprehension of that name runs over": "def fit(x):\n    return [scale for scale in scale(x)]\n",
    "a nested function": "def fit(x):\n    def inner():\n        return scale(x)\n    return inner\n",
    "a lambda": "def fit(x):\n    return lambda: scale(x)\n",
    "the default of a lambda of that name": "def fit(x):\n    return lambda scale=scale: scale\n",
    "a table": "TABLE = {'a': scale}\n\ndef fit(x):\n    return TABLE['a'](x)\n",
    "a formatted text": "def fit(x):\n    return f'{scale(x)}'\n",
    "another function's local": "def fit(x):\n    return scale(x)\n\ndef more(scale):\n    return scale\n",
    "an alias": "other = scale\n\ndef fit(x):\n    return other(x)\n",
    "global": (
        "def fit(x):\n    def inner():\n        global scale\n        return scale(x)\n    scale = 1\n"
        "    return inner\n"
    ),
    "a class": "class Config:\n    def get(self):\n        return scale(self)\n\ndef fit(x):\n    return x\n",
    "a match": "def fit(x):\n    match x:\n        case scale.A:\n            return 1\n",
    "a comprehension within one": "def fit(x):\n    return [[scale(b) for b in a] for a in x]\n",
    "the condition of a comprehension": "def fit(x):\n    return [a for a in x if scale(a)]\n",
}


@pytest.mark.parametrize("name", LOCALS)
def test_a_local_name_is_no_reference(mark_of: MarkOf, name: str) -> None:
    plugin = "from toy.helpers import scale\n\n" + LOCALS[name] + "\n\ndef use():\n    return scale\n"
    bare = plugin.replace("def use", "def _use")  # which nobody finds
    assert mark_of(bare, helpers="scale = 1") == mark_of(bare, helpers="scale = 2")
    assert mark_of(plugin, helpers="scale = 1") != mark_of(plugin, helpers="scale = 2")


@pytest.mark.parametrize("name", USES)
def test_any_use_of_a_name_is_a_reference(mark_of: MarkOf, name: str) -> None:
    plugin = "from toy.helpers import scale\n\n" + USES[name]
    before = mark_of(plugin, helpers="scale = 1")
    assert mark_of(plugin, helpers="scale = 2") != before
    moved = plugin.replace("from toy.helpers import scale", "from toy.others import scale")
    assert mark_of(moved, others="scale = 1") == before


@pytest.mark.parametrize("name", USES)
def test_any_use_of_a_name_can_be_renamed(mark_of: MarkOf, name: str) -> None:
    """By the import alone, under which the name is another one wherever it is not local."""
    plugin = "from toy.helpers import scale\n\n" + USES[name]
    if any(kept in name for kept in ("of that name", "global", "local")):
        pytest.skip("a local has the same name")
    renamed = plugin.replace("import scale", "import stretch").replace("scale", "stretch")
    assert mark_of(renamed, helpers="stretch = 1") == mark_of(plugin, helpers="scale = 1")


def test_a_local_of_the_same_name_as_a_definition_is_not_the_definition(mark_of: MarkOf) -> None:
    ours = "def scale(x):\n    return x\n\ndef fit(scale):\n    return scale(1)\n"
    assert mark_of(ours) == mark_of(ours.replace("    return x\n", "    return -x\n"))


# Ways in which a name comes into a file


def test_re_exports_are_followed(mark_of: MarkOf) -> None:
    plugin = "from toy.room import f\n\ndef fit(x):\n    return f(x)\n"
    inner = "def f(x):\n    return x\n"
    direct = mark_of(plugin.replace("toy.room", "toy.room.inner"), **{"room/__init__": "", "room/inner": inner})
    passed = "from toy.room.inner import g as f\n"
    assert mark_of(plugin, **{"room/__init__": passed, "room/inner": "def g(x):\n    return x\n"}) == direct
    assert mark_of(plugin, **{"room/__init__": passed, "room/inner": "def g(x):\n    return -x\n"}) != direct


def test_imports_in_a_circle_end(mark_of: MarkOf) -> None:
    plugin = "from toy.a import f\n\ndef fit(x):\n    return f(x)\n"
    assert mark_of(plugin, a="from toy.b import f\n", b="from toy.a import f\n").startswith(FORM)


@pytest.mark.parametrize(
    "other",
    [
        "import numpy\n\ndef fit(x):\n    return numpy.mean(x)\n",
        "import numpy as n\n\ndef fit(x):\n    return n.mean(x)\n",
        "from numpy import mean\n\ndef fit(x):\n    return mean(x)\n",
        "from numpy import mean as average\n\ndef fit(x):\n    return average(x)\n",
        "def fit(x):\n    from numpy import mean\n    return mean(x)\n",
        "import numpy.linalg\n\ndef fit(x):\n    return numpy.mean(x)\n",
    ],
)
def test_external_names_are_the_same_however_imported(mark_of: MarkOf, other: str) -> None:
    before = mark_of("import numpy as np\n\ndef fit(x):\n    return np.mean(x)\n")
    assert mark_of(other) == before
    assert mark_of(other.replace("numpy", "scipy")) != before
    assert mark_of(other.replace("mean", "median")) != before


def test_submodules_of_other_libraries_too(mark_of: MarkOf) -> None:
    marks = {
        mark_of(f"{how}\n\ndef fit(x):\n    return {call}(x)\n")
        for how, call in (
            ("from torch.nn import functional as F", "F.relu"),
            ("import torch.nn.functional as F", "F.relu"),
            ("import torch", "torch.nn.functional.relu"),
            ("from torch.nn.functional import relu", "relu"),
            ("from torch import nn", "nn.functional.relu"),
        )
    }
    assert len(marks) == 1


def test_a_local_import_that_has_another_branch_is_written_out(mark_of: MarkOf) -> None:
    def plugin(module: str) -> str:
        return (
            f"def fit(x):\n    try:\n        from toy.{module} import f\n    except ImportError:\n        f = None\n"
            "    return f\n"
        )

    before = mark_of(plugin("a"), a="f = 1")
    assert mark_of(plugin("b"), b="f = 1") == before
    assert mark_of(plugin("a"), a="f = 2") != before


def test_an_optional_library_is_a_definition_with_branches(mark_of: MarkOf) -> None:
    plugin = "try:\n    import timm\nexcept ImportError:\n    timm = None\n\ndef fit(x):\n    return timm\n"
    before = mark_of(plugin)
    assert mark_of(plugin.replace("timm = None", "timm = 1")) != before
    assert mark_of(plugin.replace("import timm", "import numpy as timm")) != before


def test_type_checking_imports_count_in_class_bodies_only(mark_of: MarkOf) -> None:
    head = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from toy.a import Split\n\n"
    function = head + "def fit(x: Split) -> Split:\n    y: Split = x\n    return y\n"
    field = head + "class Config:\n    x: Split\n\ndef fit(x):\n    return x\n"
    for plugin, counts in ((function, False), (field, True)):
        changed = mark_of(plugin, a="class Split:\n    n = 1\n") != mark_of(plugin, a="class Split:\n    n = 2\n")
        assert changed is counts


def test_a_module_used_as_a_value_counts_whole(mark_of: MarkOf) -> None:
    plugin = "from toy import a\n\ndef fit(x):\n    return getattr(a, x)\n"
    assert mark_of(plugin, a="f = 1\ng = 1\n") != mark_of(plugin, a="f = 1\ng = 2\n")


# Classes, constants, statements


def test_a_class_counts_whole_and_under_any_name(mark_of: MarkOf) -> None:
    plugin = "from toy.a import Net\n\ndef fit(x):\n    return Net(x).run()\n"
    net = "class Net:\n    depth = 2\n    def run(self):\n        return 1\n    def other(self):\n        return 2\n"
    before = mark_of(plugin, a=net)
    assert mark_of(plugin.replace("Net", "Model"), a=net.replace("Net", "Model")) == before
    assert mark_of(plugin, a=net.replace("return 2", "return 3")) != before
    assert mark_of(plugin, a=net.replace("other", "another")) != before, "getattr may find it"
    assert mark_of(plugin, a=net.replace("depth = 2", "depth = 3")) != before


def test_names_bound_together_are_told_apart(mark_of: MarkOf) -> None:
    constants = "TRAIN, VAL, TEST = 0, 1, 2\n"
    plugin = "from toy.a import N\n\ndef fit(x):\n    return N\n"
    marks = {mark_of(plugin.replace("N", name), a=constants) for name in ("TRAIN", "VAL", "TEST")}
    assert len(marks) == 3
    renamed = mark_of(plugin.replace("N", "B"), a="A, B, C = 0, 1, 2\n")
    assert renamed in marks


def test_statements_of_the_packages_around_a_module_count(mark_of: MarkOf) -> None:
    plugin = "from toy.room.inner import f\n\ndef fit(x):\n    return f(x)\n"
    inner = "def f(x):\n    return x\n"
    before = mark_of(plugin, **{"room/__init__": "'''Doc.'''\n", "room/inner": inner})
    assert mark_of(plugin, **{"room/__init__": "import os\nos.environ['A'] = 'b'\n", "room/inner": inner}) != before
    assert mark_of(plugin, **{"room/__init__": "A = 1\n", "room/inner": inner}) == before


def test_a_loop_that_fills_a_table_counts(mark_of: MarkOf) -> None:
    plugin = "from toy.a import TABLE\n\ndef fit(x):\n    return TABLE[x]\n"
    table = "TABLE = {}\nfor i in range(3):\n    TABLE[i] = i\n"
    assert mark_of(plugin, a=table) != mark_of(plugin, a=table.replace("= i\n", "= -i\n"))


def test_descriptions_and_messages_are_prose(mark_of: MarkOf) -> None:
    helper = "def tunable(default, space, /, description='', **more):\n    return default, space, description, more\n"
    plugin = (
        "from pydantic import Field\nfrom toy.a import tunable\n\nclass Config:\n    a = Field(1, description='one')\n"
        "    b = tunable(2, 3, 'two', ge=0)\n\ndef fit(x):\n    if not x:\n        raise ValueError(f'no {x}')\n"
        "    assert x, 'none'\n    return x\n"
    )
    before = mark_of(plugin, a=helper)
    for old, new in (("'one'", "'first'"), ("'two'", "'second'"), ("f'no {x}'", "'nothing'"), (", 'none'", "")):
        assert mark_of(plugin.replace(old, new), a=helper) == before
    for old, new in (("Field(1,", "Field(2,"), ("(2, 3,", "(2, 4,"), ("ValueError", "KeyError"), ("ge=0", "ge=1")):
        assert mark_of(plugin.replace(old, new), a=helper) != before


def test_what_is_cast_is_what_it_was(mark_of: MarkOf) -> None:
    plugin = "from typing import cast\n\ndef fit(x):\n    return cast('list[int]', x)\n"
    assert mark_of(plugin) == mark_of("def fit(x):\n    return x\n")


def test_whether_an_unused_helper_is_there_does_not_matter(mark_of: MarkOf) -> None:
    assert mark_of(BASE + "\ndef _unused():\n    return 1\n", helpers=HELPERS) == mark_of(BASE, helpers=HELPERS)


def test_infrastructure_is_not_followed(tmp_path: Path) -> None:
    def mark(body: str, message: str = "bad", name: str = "open_store") -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir()))) / "tlbench"
        files = {
            "store/files.py": f"def {name}(x):\n    return {body}\n",
            "core/errors.py": "class UserError(Exception):\n    pass\n",
            "methods/mine.py": (
                f"from tlbench.core.errors import UserError\nfrom tlbench.store.files import {name}\n\ndef fit(x):\n"
                f"    if x is None:\n        raise UserError('{message}', str(x))\n    return {name}(x)\n"
            ),
        }
        for file, text in files.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(text)
        return CodeMarks({"tlbench": folder}).of_plugin("tlbench.methods.mine")

    before = mark("x")
    assert mark("-x") == before
    assert mark("x", message="worse") == before
    assert mark("x", name="open_files") == before


# Third parties, and the shared code


@pytest.mark.parametrize("form", ["package", "package's own file", "single file"])
def test_a_third_party_s_own_files_are_followed(tmp_path: Path, form: str) -> None:
    def mark(text: str, number: int) -> str:
        top = tmp_path / str(number)
        if form == "single file":
            module, path = "theirs", top / "theirs.py"
            plugin = f"from tlbench.core import hashing\n{text}\ndef fit():\n    return hashing.digest, scale\n"
            files = {path: plugin}
        else:
            inside = form == "package's own file"
            module = "theirs" if inside else "theirs.inner.method"
            path = top / "theirs" / ("__init__.py" if inside else "inner/method.py")
            above = "." if inside else ".."
            files = {
                path: f"from {above}shared import scale\n\ndef fit():\n    return scale\n",
                top / "theirs/shared.py": text,
            }
        for file, content in files.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        return code_mark(module, path)

    one, same, other = mark("scale = 1\n", 0), mark("scale = (1)\n", 1), mark("scale = 2\n", 2)
    assert one == same != other


def test_the_shared_code_is_there() -> None:
    """Every entry of the tables names something: who renames it renames it here too."""
    sources = Sources({"tlbench": Path(module_of_marks.__file__).parents[1]})
    for name in INFRASTRUCTURE:
        assert isinstance(sources.module(f"tlbench.{name}"), Module), name
    for module, name in (*EXECUTION, *TEXT_EXECUTION):
        found = sources.module(module)
        assert isinstance(found, Module)
        assert name in found.defined
    image, text = execution_mark(text=False), execution_mark(text=True)
    assert text.split("+")[0] == image
    assert len(text.split("+")) == 2


def test_names_that_are_not_there_are_refused(tmp_path: Path) -> None:
    marks = CodeMarks({"toy": tmp_path})
    with pytest.raises(ValueError, match=r"toy\.plugin is no module"):
        marks.of_plugin("toy.plugin")
    (tmp_path / "plugin.py").write_text("x = 1\n")
    with pytest.raises(ValueError, match=r"toy\.plugin defines no y"):
        CodeMarks({"toy": tmp_path}).of_definitions([("toy.plugin", "y")])
