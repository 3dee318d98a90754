"""Code marks of the real package, on copies of it that are edited and never imported."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest
from bytecode_reach import Name, Reach
from package_edits import (
    as_aliases,
    as_attributes,
    copy_package,
    files,
    move,
    rename,
    rewrite,
    without_docstrings,
)

from tlbench.plugins.code_mark import EXECUTION, INFRASTRUCTURE, NO_PART, TEXT_EXECUTION, CodeMarks
from tlbench.plugins.definitions import Module

SHARED, SHARED_TEXT = "what all cells share", "what all cells of texts share"
SHARED_ROOTS = {SHARED: list(EXECUTION), SHARED_TEXT: list(TEXT_EXECUTION)}


def plugins(package: Path) -> list[str]:
    return [
        f"tlbench.{kind}.{path.stem}"
        for kind in ("methods", "protocols")
        for path in sorted((package / kind).glob("[a-z]*.py"))
    ]


def marks(package: Path) -> dict[str, str]:
    """Return the marks of all methods, of all protocols, and of what cells share."""
    code = CodeMarks({"tlbench": package})
    found = {name.removeprefix("tlbench."): code.of_plugin(name) for name in plugins(package)}
    return found | {name: code.of_definitions(roots) for name, roots in SHARED_ROOTS.items()}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return copy_package(tmp_path)


@pytest.fixture(scope="module")
def before() -> dict[str, str]:
    import tlbench

    found = marks(Path(tlbench.__file__).parent)
    assert len(set(found.values())) == len(found)
    return found


@pytest.fixture(scope="module")
def reach() -> dict[str, set[Name]]:
    """What each of them reaches, by the bytecode."""
    import tlbench

    folder = Path(tlbench.__file__).parent
    found = Reach(folder, INFRASTRUCTURE)
    roots = {
        name.removeprefix("tlbench."): [(name, each) for each in found.public_names(name) if each not in NO_PART]
        for name in plugins(folder)
    }
    return {name: found.of(each) for name, each in (roots | SHARED_ROOTS).items()}


def test_the_marks_depend_on_what_the_bytecode_leads_to(reach: dict[str, set[Name]]) -> None:
    import tlbench

    code = CodeMarks({"tlbench": Path(tlbench.__file__).parent})
    for name in plugins(Path(tlbench.__file__).parent):
        found = set()
        for module, position in code.reached(name):
            parsed = code.module(module)
            assert isinstance(position, int), f"{module} is used as a value, or defines {position} twice"
            assert isinstance(parsed, Module)
            found |= {(module, each) for each in parsed.bound[position]}
        assert found == reach[name.removeprefix("tlbench.")], name


SAME: dict[str, Callable[[Path], None]] = {
    "a class is renamed": lambda package: _renamed(package, "Classifier", "NetworkWithHead", 10),
    "a function is renamed": lambda package: _renamed(package, "train_classifier", "fit_head_and_body", 5),
    "a function of core is renamed": lambda package: _renamed(package, "derive_seed", "seed_from", 10),
    "a constant is renamed": lambda package: _renamed(package, "SOURCE_VAL", "HELD_OUT_SOURCE", 3),
    "a helper moves": lambda package: move(
        package, "parameter_groups", "tlbench.training.parameter_groups", "tlbench.training.groups_of_parameters"
    ),
    "a helper of core moves": lambda package: move(
        package, "derive_seed", "tlbench.core.hashing", "tlbench.core.derived_seeds"
    ),
    "a class moves to another room": lambda package: move(
        package, "Classifier", "tlbench.training.classifier", "tlbench.data.network_with_head"
    ),
    "all files are formatted otherwise, and say nothing": lambda package: rewrite(package, without_docstrings),
    "all names are imported under others": lambda package: rewrite(package, as_aliases),
    "all modules are imported in place of names": lambda package: rewrite(package, as_attributes),
}


def _renamed(package: Path, old: str, new: str, least: int) -> None:
    assert rename(package, old, new) >= least, "used across files"


@pytest.mark.parametrize("name", SAME)
def test_renaming_and_moving_are_free(package: Path, before: dict[str, str], name: str) -> None:
    text = {path: path.read_bytes() for path in files(package)}
    SAME[name](package)
    assert sum(text.get(path) != path.read_bytes() for path in files(package)) >= 3
    assert marks(package) == before


def the_constant(statement: ast.stmt) -> None:
    """Add one to the first number."""
    number = next(n for n in ast.walk(statement) if isinstance(n, ast.Constant) and type(n.value) in (int, float))
    number.value += 1  # type: ignore[operator]


def the_operator(statement: ast.stmt) -> None:
    """Turn the first sum, difference, product or quotient into another one."""
    others = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}
    node = next(n for n in ast.walk(statement) if isinstance(n, ast.BinOp) and type(n.op) in others)
    node.op = others[type(node.op)]()


def the_default(statement: ast.stmt) -> None:
    """Give the last parameter that has a default another one."""
    args = next(n for n in ast.walk(statement) if isinstance(n, ast.arguments) and (n.defaults or any(n.kw_defaults)))
    defaults = args.defaults or args.kw_defaults
    defaults[-1] = ast.Constant("another")


def the_body(statement: ast.stmt) -> None:
    """Put a statement into a function or a class, or a bracket around a constant's value."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        statement.body.append(ast.Expr(ast.Constant(0)))
    elif isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
        statement.value = ast.List([statement.value], ast.Load())
    else:
        raise AssertionError(ast.unparse(statement))


def change(package: Path, module: str, name: str, how: Callable[[ast.stmt], None]) -> None:
    """Change the definition of a name in place."""
    path = package.joinpath(*module.split(".")[1:]).with_suffix(".py")
    tree = ast.parse(path.read_bytes())
    (statement,) = (each for each in tree.body if name in _bound(each))
    how(statement)
    path.write_text(ast.unparse(ast.fix_missing_locations(tree)))


def _bound(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return {statement.name}
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", statement)]
    return {
        n.id for each in targets for n in ast.walk(each) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }


CHANGES = {
    "a constant": ("tlbench.training.frozen_features", "EMBED_BATCH_SIZE", the_constant),
    "an operator": ("tlbench.training.schedules", "warmup_cosine", the_operator),
    "a default": ("tlbench.core.config", "tunable", the_default),
    "a function three imports away": ("tlbench.training.length_buckets", "text_lengths", the_body),
    "a class": ("tlbench.training.classifier", "Classifier", the_body),
    "the class split, in core": ("tlbench.core.class_splits", "deal_classes", the_body),
    "a constant of the class split": ("tlbench.core.class_splits", "_HELD_OUT", the_constant),
    "the derivation of seeds, in core": ("tlbench.core.hashing", "derive_seed", the_body),
    "where segments end, in core": ("tlbench.core.segments", "epochs_until", the_operator),
    "the loop over epochs": ("tlbench.training.epoch_loop", "Epochs", the_body),
    "how a cell is fitted": ("tlbench.worker.fit_cell", "fit_cell", the_body),
    "a tokeniser": ("tlbench.data.tokenizer", "train", the_body),
    "a method": ("tlbench.methods.lora", "Config", the_body),
    "a protocol": ("tlbench.protocols.episodic", "score", the_body),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_marks_what_reaches_it_and_nothing_else(
    package: Path, before: dict[str, str], reach: dict[str, set[Name]], name: str
) -> None:
    module, symbol, how = CHANGES[name]
    change(package, module, symbol, how)
    after = marks(package)
    expected = {each for each, names in reach.items() if (module, symbol) in names}
    assert {each for each in before if before[each] != after[each]} == expected
    assert 0 < len(expected) < len(before)


def test_the_function_three_imports_away_is(package: Path) -> None:
    """No method imports the module of a function that the marks of many depend on, nor one that imports it."""
    target = "tlbench.training.length_buckets"
    importers = {target}
    for _ in range(2):
        importers |= {
            ".".join(path.relative_to(package.parent).with_suffix("").parts)
            for path in files(package)
            if any(f"from {name} import" in path.read_text() for name in importers)
        }
    assert not any(name.startswith("tlbench.methods.finetune") for name in importers)


def test_a_change_anywhere_marks_what_reaches_it(
    package: Path, before: dict[str, str], reach: dict[str, set[Name]]
) -> None:
    """Of every fortieth definition that anything reaches."""
    for module, symbol in sorted(set().union(*reach.values()))[::40]:
        path = package.joinpath(*module.split(".")[1:]).with_suffix(".py")
        text = path.read_bytes()
        change(package, module, symbol, the_body)
        after = marks(package)
        expected = {each for each, names in reach.items() if (module, symbol) in names}
        assert {each for each in before if before[each] != after[each]} == expected, (module, symbol)
        path.write_bytes(text)


def test_infrastructure_may_change(package: Path, before: dict[str, str]) -> None:
    changed = 0
    for name in INFRASTRUCTURE:
        place = package.joinpath(*name.split("."))
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]:
            tree = ast.parse(path.read_bytes())
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef | ast.ClassDef):
                    node.body.append(ast.Expr(ast.Constant(0)))
                    changed += 1
            path.write_text(ast.unparse(ast.fix_missing_locations(tree)))
    assert changed > 500
    assert marks(package) == before


def test_an_added_method_changes_no_mark(package: Path, before: dict[str, str]) -> None:
    text = (package / "methods" / "linear_probe.py").read_text()
    (package / "methods" / "another.py").write_text(text + "\nFURTHER = 1\n")
    after = marks(package)
    assert after.pop("methods.another") not in before.values()
    assert after == before
