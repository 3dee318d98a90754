"""What the file of a dataset source offers, and how its parameters are written.

A source is one file of ``tlbench/data/sources/``, or a module that a distribution names under the entry points
``tlbench.datasets``. The name of the file (or entry point) is the name of the dataset in suites, and the first line of
its docstring is what ``tlbench list datasets`` prints. Files are listed without being imported; the module of a source
is imported when a suite names it, so it may import numpy and pydantic at its top, and imports heavier libraries inside
the functions that need them.

A file takes one of three forms:

* It *is* a source: it sets ``VERSION`` and defines ``Params``, ``signature`` and ``decode`` (:class:`Source`), and
  ``check`` where pydantic cannot express what is wrong with parameters (:class:`CheckedSource`), and ``content`` where
  what tells that files have changed is another thing than what they hold (:class:`HashedSource`).
* It holds *several* sources, as ``torchvision`` does for the classes of that library: it sets ``VERSION`` and defines
  ``sources()``, which returns a :class:`NamedSource` by each name (:class:`SeveralSources`).
* It *joins* other datasets, as ``pair`` does: it sets ``VERSION`` and ``JOINS`` and defines ``Params``, in which the
  joined ones are of type :class:`Member`, and ``open`` (:class:`JoinedSource`).

``tlbench/testing/dataset_contract.py`` checks all of this for the author of a source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol, get_args, runtime_checkable

from pydantic import BeforeValidator, Field, model_validator
from pydantic.fields import FieldInfo

from tlbench.core.config import Settings
from tlbench.data.dataset import Dataset
from tlbench.data.decoded import Decoded


class SourceConstants(Settings):
    """The constants that the file of a source may set; any other public upper-case name in it is refused."""

    VERSION: int = Field(
        ge=1, description="raise it when the same parameters and the same files are decoded into something else"
    )
    JOINS: tuple[str, ...] = Field((), description="names of the parameters that are datasets themselves")
    PAIR: bool = Field(False, description="whether it has a source domain and a target domain (parts SOURCE to TEST)")


@runtime_checkable
class Source(Protocol):
    """A dataset source. ``Params``, a settings class, names its parameters, with a description of each."""

    @property
    def Params(self) -> type[Settings]:  # noqa: N802
        """The class of its parameters; a parameter that is a path is a :data:`DataPath` or :data:`DownloadPath`."""

    def signature(self, params: Any) -> Any:
        """Return what decides the content besides the parameters, as a JSON-like value.

        Called whenever the dataset is opened: a dataset is decoded again when the value has changed. For files it holds
        the hash of what they hold, or what :mod:`tlbench.data.file_marks` has; for drawn images, the versions of the
        libraries that draw.

        Raises:
            UserError: A file is missing.
        """

    def decode(self, params: Any, folder: Path) -> Decoded:
        """Read or make the dataset.

        Args:
            params: An instance of ``Params``.
            folder: An empty folder, in which :func:`tlbench.data.decoded.canvas` makes room for many images.

        Raises:
            UserError: The data are wrong; names the file and the line or image.
        """


@runtime_checkable
class CheckedSource(Source, Protocol):
    """A source with rules for its parameters that their types do not express."""

    def check(self, params: Any) -> None:
        """Refuse parameters that do not go together; opens nothing.

        Raises:
            UserError: Quotes the parameter at fault, so that the message gets its line in the suite.
        """


@runtime_checkable
class HashedSource(Source, Protocol):
    """A source of files that are too many to be read whenever it is opened."""

    def content(self, params: Any) -> Any:
        """Return the hash of all that decides the content besides the parameters, as a JSON-like value.

        Called where ``signature`` has a value that was not seen before. Files that were copied or touched have another
        signature, but the same content, and are not decoded again.

        Raises:
            UserError: A file is missing or cannot be read.
        """


@runtime_checkable
class NamingSource(Source, Protocol):
    """A source whose examples have names, by which files of episodes speak of them."""

    def example_names(self, params: Any) -> Sequence[str]:
        """Return the names of the first examples, in their order; those after them have none.

        Raises:
            UserError: The data are wrong.
        """


@runtime_checkable
class NamedSource(Source, Protocol):
    """One of several sources in a file."""

    @property
    def summary(self) -> str:
        """One line about it."""


class SeveralSources(Protocol):
    """A file that holds several sources."""

    def sources(self) -> Mapping[str, NamedSource]:
        """Return the sources by name; imports nothing heavy. Names of files win over these."""


class Opener(Protocol):
    """Opens datasets for a source that joins some."""

    def dataset(self, member: Member) -> Dataset:
        """Open a member.

        Raises:
            UserError: Its data are wrong.
        """

    def decode_once(self, label: str, content: Sequence[Any], decode: Callable[[Path], Decoded]) -> Dataset:
        """Decode a dataset unless this machine has it already.

        Args:
            label: What people call it.
            content: What decides its content besides ``VERSION`` and the label, as JSON-like values.
            decode: Called with an empty folder if it is not there yet.
        """


@runtime_checkable
class JoinedSource(Protocol):
    """A source that joins other datasets, which are parameters of type :class:`Member`, named by ``JOINS``.

    A suite that gives one of these parameters may leave the name of the source out.
    """

    @property
    def Params(self) -> type[Settings]:  # noqa: N802
        """The class of its parameters."""

    def open(self, params: Any, opener: Opener) -> Dataset:
        """Open the members and join them.

        Raises:
            UserError: The members do not go together.
        """


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


class Member(Settings):
    """A dataset, or some domains of it, as a parameter of a source that joins several.

    A suite writes its name alone, or a mapping in which the dataset's own parameters stand beside the name.
    """

    name: str
    domain: Annotated[str | Annotated[tuple[str, ...], Field(min_length=1)] | None, BeforeValidator(_as_tuple)] = None
    params: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value}
        if not isinstance(value, dict):
            return value
        own = {key: item for key, item in value.items() if key not in cls.model_fields}
        rest = {key: item for key, item in value.items() if key in cls.model_fields}
        return rest | ({"params": own} if own else {})


@dataclass(frozen=True)
class PathParameter:
    """Marks a parameter as a path. A relative one starts from the folder of the suite file.

    Attributes:
        is_data: Whether the data themselves lie there: the dataset is then called by the path's stem, and the path is
            where its labels come from. Otherwise it says where downloads are kept, which no result depends on.
    """

    is_data: bool


DataPath = Annotated[str, PathParameter(is_data=True)]
"""A parameter that is the path of the user's data."""

DownloadPath = Annotated[str, PathParameter(is_data=False)]
"""A parameter that is the folder of downloads."""


def path_parameter(field: FieldInfo) -> PathParameter | None:
    """Return what kind of path a parameter is; None where it is no path."""
    marks = [*field.metadata, *_metadata(field.annotation)]
    return next((mark for mark in marks if isinstance(mark, PathParameter)), None)


def _metadata(annotation: Any) -> Iterator[Any]:
    yield from getattr(annotation, "__metadata__", ())
    for inner in get_args(annotation):
        yield from _metadata(inner)
