"""Python's own docstrings: split by file, masked, without duplicates, the same every time, and nothing imported."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tlbench.core.errors import UserError
from tlbench.data.catalog import open_dataset, validate
from tlbench.data.dataset import TEST, TRAIN, Dataset
from tlbench.data.decoded import Decoded, fingerprint
from tlbench.data.docstring_texts import MASK, comparison_key, make_mask, pack_passages
from tlbench.data.docstrings import docstrings
from tlbench.data.python_library import PACKAGES
from tlbench.data.python_library import library as library_folder
from tlbench.data.sampling import check_shots, hold_out
from tlbench.data.sources import pydocs
from tlbench.data.tokenizer import PAD, Design, encode, train
from tlbench.store.artifacts import Artifacts

Library = Callable[[dict[str, str | bytes]], Path]


@pytest.fixture(scope="module")
def task(decoded: Path) -> Dataset:
    return open_dataset("pydocs", {}, Artifacts(decoded))


@pytest.fixture(scope="module")
def corpus(decoded: Path) -> Dataset:
    return open_dataset("pydocs", {"texts": "all"}, Artifacts(decoded))


def plain(text: str) -> str:
    return " ".join(text.lower().split())


def texts_of(dataset: Dataset, part: int) -> list[str]:
    return [dataset.x[row] for row in dataset.rows(part)]


def whole(dataset: Dataset) -> None:
    if len(dataset.info.warnings) > 1:
        pytest.skip(dataset.info.warnings[1])


# The library of this very Python


def test_counts_are_those_of_a_whole_library(task: Dataset) -> None:
    whole(task)
    assert task.info.name == "pydocs"
    assert task.info.modality == "text"
    assert task.info.classes == PACKAGES == tuple(sorted(PACKAGES))
    assert task.info.domains == ()
    assert 2500 < len(task.y) < 3600
    assert 0.2 < np.bincount(task.y).max() / len(task.y) < 0.26
    if sys.version_info[:2] == (3, 11):
        assert abs(np.bincount(task.y).max() / len(task.y) - 0.228) < 0.01
    check_shots(task.info, 50)


def test_a_fifth_of_each_package_is_for_testing(task: Dataset) -> None:
    train, test = (np.array(task.info.counts[part]) for part in ("train", "test"))
    share = test / (train + test)
    assert abs(share - 0.2).max() < 0.07, dict(zip(task.info.classes, share.tolist(), strict=True))
    assert abs(test.sum() / len(task.y) - 0.2) < 0.02


def test_no_file_has_docstrings_on_both_sides(task: Dataset) -> None:
    """Files are told by the docstrings that stand in one of them only."""
    root, written = library_folder(), {}
    for package in task.info.classes:
        for file in (root / package).rglob("*.py"):
            if not {"test", "tests", "idle_test"} & set(file.relative_to(root).parts):
                written[file.relative_to(root).as_posix()] = docstrings(file)
    homes = defaultdict(set)
    mask = make_mask(written)
    for name, texts in written.items():
        for text in texts:
            homes[comparison_key(mask(text))].add(name)
    of_side = [
        {file for text in texts_of(task, part) if len(found := homes[comparison_key(text)]) == 1 for file in found}
        for part in (TRAIN, TEST)
    ]
    assert len(of_side[0]) > 100
    assert len(of_side[1]) > 30
    assert not of_side[0] & of_side[1]
    assert {name.split("/")[0] for name in of_side[1]} >= set(task.info.classes) - {"encodings"}


@pytest.mark.parametrize("kind", ["task", "corpus"])
def test_no_text_stands_twice(kind: str, request: pytest.FixtureRequest) -> None:
    dataset = request.getfixturevalue(kind)
    assert len({plain(text) for text in dataset.x}) == len(dataset.x)
    assert min(len(re.findall(r"\w+", text.replace(MASK, ""))) for text in dataset.x) == 3
    assert not any(text != text.strip() for text in dataset.x)


@pytest.mark.parametrize("kind", ["task", "corpus"])
def test_no_text_names_a_package_or_a_telling_module(kind: str, request: pytest.FixtureRequest) -> None:
    said = "\n".join(request.getfixturevalue(kind).x)
    assert not re.findall("|".join(PACKAGES), said, re.IGNORECASE)
    assert not re.findall(r"\b(?:pyshell|minidom|robotparser|forkserver|iso8859_15|cp1250)\b", said, re.IGNORECASE)
    assert said.count(MASK) > 300
    for kept in ("parser", "message", "request", "server", "events"):
        assert len(re.findall(rf"\b{kept}\b", said)) > 20


def test_documents_of_one_file_are_easier_to_tell_than_those_of_others(task: Dataset) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    whole(task)
    words = TfidfVectorizer(sublinear_tf=True, min_df=2).fit_transform(list(task.x))

    def accuracy(tested: np.ndarray) -> float:
        model = LogisticRegression(C=10, max_iter=200).fit(words[~tested], task.y[~tested])
        return float(model.score(words[tested], task.y[tested]))

    by_file = accuracy(task.part == TEST)
    by_text = accuracy(hold_out([str(label) for label in task.y], 0.2))
    majority = np.bincount(task.y[task.rows(TEST)]).max() / len(task.rows(TEST))
    assert 0.5 < by_file < 0.75
    assert by_file > majority + 0.25
    assert by_text > by_file + 0.1, "the leak that a split by file avoids"


def test_the_corpus_holds_out_the_same_files(task: Dataset, corpus: Dataset) -> None:
    assert corpus.info.classes == (*task.info.classes, "other", "topics")
    assert corpus.info.counts["test"][-2:] == (0, 0)
    assert min(corpus.info.counts["train"][-2:]) > 500
    assert "a corpus for pre-training, not a task" in corpus.info.warnings[-1]
    tested = {label: [] for label in range(len(task.info.classes))}
    for row in task.rows(TEST):
        tested[int(task.y[row])].append(comparison_key(task.x[row]))
    for row in corpus.rows(TEST):
        piece = comparison_key(corpus.x[row])
        assert any(piece.split("\n")[0] in text for text in tested[int(corpus.y[row])]), piece
    found = " ".join(comparison_key(text) for text in texts_of(corpus, TEST))
    starts = [comparison_key(text)[:40] for text in texts_of(task, TEST)]
    assert np.mean([start in found for start in starts]) > 0.98


def test_the_corpus_never_trains_on_a_test_text(task: Dataset, corpus: Dataset) -> None:
    trained = {plain(text) for text in texts_of(corpus, TRAIN)}
    lines = {plain(line) for text in texts_of(corpus, TRAIN) for line in text.split("\n")}
    for text in texts_of(task, TEST):
        assert plain(text) not in trained
        assert plain(text) not in lines
        for paragraph in re.split(r"\n\s*\n", text):
            assert plain(paragraph) not in lines
    # What is left of the task's own training texts is nearly all of them.
    own = [comparison_key(text)[:40] for text in texts_of(task, TRAIN)]
    said = " ".join(comparison_key(text) for text in texts_of(corpus, TRAIN))
    assert np.mean([start in said for start in own]) > 0.97


def test_passages_of_the_corpus_fit_into_128_tokens(corpus: Dataset) -> None:
    texts = list(corpus.x)
    assert max(map(len, texts)) <= 400
    tokenizer = train(texts_of(corpus, TRAIN), Design("bpe", size=4096, lowercase=True))
    lengths = (encode(tokenizer, texts, 10_000, PAD)[0] != PAD).sum(1)
    assert np.mean(lengths <= 128) > 0.97
    assert np.maximum(lengths - 128, 0).sum() < 0.01 * lengths.sum()


def test_the_warnings_name_the_version(task: Dataset) -> None:
    assert f"Python {platform.python_version()}" in task.info.warnings[0]
    assert pydocs.signature(pydocs.Params())[0] == platform.python_version()
    assert pydocs.signature(pydocs.Params()) != pydocs.signature(pydocs.Params(texts="all"))


ALONE = """
import sys
from pathlib import Path
from tlbench.data import decoded
from tlbench.data.sources import pydocs
before = set(sys.modules)
one = pydocs.decode(pydocs.Params(texts="all"), Path())
new = {name for name in set(sys.modules) - before if not name.startswith("encodings.")}  # which open() itself needs
assert not new, new
assert not {"this", "antigravity", "idlelib", "tkinter", "pydoc_data", "pydoc_data.topics"} & set(sys.modules)
two = pydocs.decode(pydocs.Params(), Path())
print(decoded.fingerprint(one), decoded.fingerprint(two))
"""


def test_decoding_imports_nothing_and_is_the_same_in_another_process(task: Dataset, corpus: Dataset) -> None:
    env = {"PYTHONHASHSEED": "7"}
    found = subprocess.run([sys.executable, "-c", ALONE], env=env, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert found.stdout.split() == [corpus.info.fingerprint, task.info.fingerprint]


# A library of our own


FILES = ("one", "two", "three", "four", "five")


def source(package: str, name: str, *more: str) -> str:
    """Return a file of four docstrings that tell where they stand, and more."""
    documents = [f"Document {n} of number {PACKAGES.index(package)}, file {name}." for n in range(4)]
    return "\n".join(f"def f():\n    '''{text}'''" for text in (*documents, *more))


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    """Write a library: eleven packages of five files with four docstrings each, and what else is asked for."""

    def write(more: dict[str, str | bytes], without: tuple[str, ...] = ()) -> Path:
        root = tmp_path / "lib"
        files: dict[str, str | bytes] = {}
        for package in PACKAGES:
            if package not in without:
                files |= {f"{package}/{name}.py": source(package, name) for name in FILES}
        for name, content in (files | more).items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return root

    monkeypatch.setattr(pydocs, "library", lambda: tmp_path / "lib")
    return write


def decode(texts: str = "packages") -> Decoded:
    return pydocs.decode(pydocs.Params(texts=texts), Path())


def parts(found: Decoded) -> dict[str, int]:
    return dict(zip(found.x, found.part.tolist(), strict=True))


def file_for_testing(found: Decoded, package: str) -> str:
    """Return the one file of a package of :func:`library` that is for testing."""
    name = re.compile(rf"of number {PACKAGES.index(package)}, file (\w+)")
    (file,) = {hit[1] for text, part in parts(found).items() if part == TEST and (hit := name.search(text))}
    return file


def test_each_package_gives_one_whole_file_of_five(library: Library) -> None:
    library({})
    found = decode()
    sides = defaultdict(set)
    for text, part in parts(found).items():
        sides[text.split(" of ")[1]].add(part)
    assert len(found.x) == 11 * 5 * 4
    assert all(len(side) == 1 for side in sides.values())
    assert sorted(next(iter(side)) for side in sides.values()) == [TRAIN] * 44 + [TEST] * 11
    assert fingerprint(found) == fingerprint(decode())


def test_what_stands_on_both_sides_stays_for_testing(library: Library) -> None:
    library({})
    said = "The very  same\n\n    words."
    tested = file_for_testing(decode(), "email")
    library({f"email/{name}.py": source("email", name, said if name != tested else said.upper()) for name in FILES})
    found = decode()
    assert file_for_testing(found, "email") == tested
    (text,) = [text for text in found.x if plain(text) == plain(said)]
    assert parts(found)[text] == TEST
    whole = decode("all")
    assert [part for text, part in parts(whole).items() if plain(text) == plain(said)] == [TEST]
    assert text == "THE VERY  SAME\n\nWORDS."


def test_a_paragraph_for_testing_is_cut_out_of_the_corpus(library: Library) -> None:
    library({})
    tested = file_for_testing(decode(), "xml")
    said = "A paragraph that stands in several files."
    more = {f"xml/{name}.py": source("xml", name, f"As in {name}, others.", f"And in {name}, too.") for name in FILES}
    library(
        more
        | {
            f"xml/{tested}.py": source("xml", tested, said, "At the end of file.\n\n    More of it."),
            "abc.py": f"'''Some other words first.\n\n{said.upper()}\n\nMore of it.\n\nThese come last.'''",
            "pydoc_data/topics.py": f"topics = {{'a': '''{said}\n\nThis is on a topic.\n\n****\n'''}}",
        }
    )
    found = decode("all")
    assert parts(found)[said] == TEST
    trained = [text for text, part in parts(found).items() if part == TRAIN and text[:3] not in ("Doc", "As ", "And")]
    assert trained == ["Some other words first.\nThese come last.", "This is on a topic."]
    labels = dict(zip(found.x, (found.classes[label] for label in found.y), strict=True))
    assert [labels[text] for text in trained] == ["other", "topics"]
    assert all(part == parts(found)[text] for text, part in parts(decode()).items() if text in parts(found))


def test_masks_cover_words_dots_and_telling_modules(library: Library) -> None:
    library(
        {
            "email/mimer.py": "'''See email.mimer.Message or HTTPServer; logging.HTTPHandler, a mimer, a Parser.'''",
            "xml/mimer_parser.py": "'''The parser of XML is not an e-mail parser, XMLParser2.run.'''",
            "asyncio/parser.py": "'''A Mimer is known to nobody else here.'''",
        }
    )
    found = set(decode().x)
    assert "See [redacted] or [redacted]; logging.[redacted], a mimer, a Parser." in found
    assert "The parser of [redacted] is not an e-mail parser, [redacted]." in found
    library({"asyncio/parser.py": "'''A Parser is known to others.'''"})
    assert "See [redacted] or [redacted]; logging.[redacted], a [redacted], a Parser." in set(decode().x)


def test_short_texts_and_test_suites_are_left_out(library: Library) -> None:
    library(
        {
            "http/short.py": "'''Two words.'''\ndef f():\n    '''email http xml and more.'''",
            "http/test/cases.py": "'''A docstring of a test.'''",
            "idlelib/idle_test/test_x.py": "'''A docstring of a test.'''",
            "tests/x.py": "'''A docstring of a test.'''",
            "test/x.py": "'''A docstring of a test.'''",
            "site-packages/x.py": "'''A docstring of somebody else.'''",
            "sitecustomize.py": "'''A docstring of this machine.'''",
        }
    )
    assert len(decode().x) == len(decode("all").x) == 220


def test_unreadable_files_are_skipped_and_named(library: Library) -> None:
    library(
        {
            "http/broken.py": "def f(:\n    '''A docstring that is lost.'''",
            "email/bytes.py": b"'''Not UTF-8: \xff\xfe \xe4 and so on.'''",
            "xml/unknown.py": "# -*- coding: klingon -*-\n'''A docstring that is lost.'''",
            "xml/zeros.py": b"'''A docstring that is lost.'''\0",
            "xml/latin.py": "# -*- coding: latin-1 -*-\n'''Zwölf Boxkämpfer jagen.'''".encode("latin-1"),
            "xml/marked.py": b"\xef\xbb\xbf'''A docstring after a mark.'''",
            "xml/h.py": "'''Half a letter: \\ud83d, no more.'''",
            "xml/escape.py": "'''An escape \\d that Python dislikes.'''",
        }
    )
    found = decode()
    assert len(found.x) == 220 + 4
    assert {"Zwölf Boxkämpfer jagen.", "A docstring after a mark.", "Half a letter: ?, no more."} <= set(found.x)
    assert found.warnings[1:] == (
        f"4 files that Python {platform.python_version()} cannot read are left out: "
        "email/bytes.py, http/broken.py, xml/unknown.py, xml/zeros.py",
    )


def test_nested_definitions_are_read(library: Library) -> None:
    library(
        {
            "http/nested.py": "'''Of the whole module.'''\n"
            "class A:\n    '''Of this one class.'''\n    async def f(self):\n        '''\n        Of the method:\n\n"
            "            indented more\n        ------\n        '''\n"
            "        def g():\n            '''Of the inner function.'''\n"
            "x = 1\n'''Of no such thing.'''\n"
        }
    )
    found = {text for text in decode().x if text.startswith("Of ")}
    assert found == {
        "Of the whole module.",
        "Of this one class.",
        "Of the method:\n\n    indented more",
        "Of the inner function.",
    }


def test_missing_packages_are_named_and_too_few_refused(library: Library) -> None:
    root = library({"tkinter/lonely.py": "'''One file makes no package.'''"}, without=("tkinter", "idlelib", "urllib"))
    found = decode()
    assert found.classes == tuple(p for p in PACKAGES if p not in ("tkinter", "idlelib", "urllib"))
    assert "lacks idlelib, tkinter, urllib: 8 packages instead of 11" in found.warnings[1]
    assert "One file makes no package." not in found.x
    assert decode("all").classes == (*found.classes, "other", "topics")
    assert parts(decode("all"))["One file makes no package."] == TRAIN
    for file in (root / "http").glob("*.py"):
        file.unlink()
    with pytest.raises(UserError, match=r"lib: the sources of only 7 of 11 packages .* http, idlelib, tkinter, urllib"):
        decode()


def test_the_signature_follows_files_and_version(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    library({})
    both = [pydocs.Params(), pydocs.Params(texts="all")]
    first = [pydocs.signature(params) for params in both]
    assert first == [pydocs.signature(params) for params in both]
    library({"abc.py": "'''A docstring of another.'''"})
    second = [pydocs.signature(params) for params in both]
    assert second[0] == first[0]
    assert second[1] != first[1]
    library({"xml/one.py": "'''Another docstring.'''"})
    assert pydocs.signature(both[0]) != first[0]
    monkeypatch.setattr(platform, "python_version", lambda: "3.99.0")
    assert pydocs.signature(both[1])[0] == "3.99.0"
    assert "Python 3.99.0" in decode().warnings[0]


def test_damaged_topics_are_named(library: Library) -> None:
    library({"pydoc_data/topics.py": "topics = {'a': open('/etc/passwd')}"})
    assert "1 files" in decode("all").warnings[1]
    assert "pydoc_data/topics.py" in decode("all").warnings[1]
    assert len(decode().warnings) == 1


# The pieces


def test_passages_lose_no_word_and_prefer_paragraphs() -> None:
    paragraphs = ["a b c", "d " * 30, "efg", "h" * 25]
    found = pack_passages(paragraphs, 20)
    assert all(len(piece) <= 20 for piece in found)
    assert "".join("".join(found).split()) == "".join(paragraphs).replace(" ", "")
    assert pack_passages(["one two", "three", "four five"], 13) == ["one two\nthree", "four five"]
    assert pack_passages([]) == []


def test_a_file_that_is_most_of_its_package_is_trained_on() -> None:
    texts = {f"http/{n}.py": ["x"] * size for n, size in enumerate((60, 9, 8, 12, 11))}
    assert sum(len(texts[name]) for name in pydocs.choose_test_files(texts, ["http"])) == 20
    uneven = {"http/big.py": ["x"] * 50, "http/small.py": ["x"] * 40}
    assert pydocs.choose_test_files(uneven, ["http"]) == {"http/small.py"}
    assert pydocs.choose_test_files(uneven | {"http/none.py": [], "xml/a.py": ["x"]}, ["http"]) == {"http/small.py"}


def test_its_one_parameter_is_checked() -> None:
    assert validate("pydocs", {}) == {"texts": "packages"}
    with pytest.raises(UserError, match="did you mean 'all'"):
        validate("pydocs", {"texts": "al"})
