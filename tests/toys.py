"""A distribution with datasets and backbones for tests, as a third party would install it."""

from __future__ import annotations

from pathlib import Path

STRIPES = '''"""Stripes that run in three directions: a toy of 8x8 pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field

from tlbench.core.config import Settings
from tlbench.data.decoded import Decoded
from tlbench.data.example_splits import divide

VERSION = 1


class Params(Settings):
    """How many."""

    each: int = Field(20, ge=4, description="images of each class")
    noise: int = Field(40, ge=0, le=128, description="largest change of a pixel")


def signature(params: Params) -> Any:
    return None


def decode(params: Params, folder: Any) -> Decoded:
    classes = ("across", "along", "aslant")
    y = np.arange(3 * params.each) % 3
    row, column = np.indices((8, 8))
    stripes = np.stack([row, column, row + column]) // 2 % 2 * 127 + 64
    noise = np.random.default_rng(0).integers(-params.noise // 2, params.noise // 2 + 1, (len(y), 8, 8))
    return Decoded((stripes[y] + noise)[:, None].astype(np.uint8), y, divide("stripes", None, y, classes).part, classes)
'''

SHADES = '''"""Several shades: one source a level of grey."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field

from tlbench.core.config import Settings
from tlbench.core.errors import UserError
from tlbench.data.decoded import Decoded
from tlbench.data.example_splits import divide

VERSION = 3


class ShadeParams(Settings):
    """How many."""

    each: int = Field(8, ge=4, description="images of each class")


@dataclass(frozen=True)
class Shade:
    level: int
    Params = ShadeParams

    @property
    def summary(self) -> str:
        return f"images of level {self.level}, and dark ones"

    def check(self, params: ShadeParams) -> None:
        if params.each == 13:
            raise UserError("'each' 13 brings bad luck", "take 12")

    def signature(self, params: ShadeParams) -> Any:
        return self.level

    def decode(self, params: ShadeParams, folder: Any) -> Decoded:
        y = np.arange(2 * params.each) % 2
        x = np.broadcast_to((y * self.level).astype(np.uint8)[:, None, None, None], (len(y), 1, 8, 8)).copy()
        return Decoded(x, y, divide("shades", None, y, ("dark", "light")).part, ("dark", "light"))


def sources() -> dict[str, Shade]:
    return {"PaleShade": Shade(90), "BrightShade": Shade(250), "MNIST": Shade(1), "digits": Shade(2)}
'''

STACK = '''"""Two datasets with the same shape, one after the other: their classes are told apart by the dataset."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from tlbench.core.config import Settings
from tlbench.data.decoded import Decoded
from tlbench.data.dataset import with_origin
from tlbench.data.source import Member

VERSION = 1
JOINS = ("lower", "upper")


class Params(Settings):
    lower: Member
    upper: Member
    swap: bool = Field(False, description="the upper one comes first")


def open(params, opener):
    both = [opener.dataset(params.lower), opener.dataset(params.upper)]
    both = both[::-1] if params.swap else both
    label = " + ".join(each.info.name for each in both)

    def decode(folder):
        return Decoded(
            x=np.concatenate([np.asarray(each.x) for each in both]),
            y=np.concatenate([both[0].y, both[1].y + len(both[0].info.classes)]),
            part=np.concatenate([each.part for each in both]),
            classes=tuple(f"{each.info.name}/{name}" for each in both for name in each.info.classes),
        )

    return with_origin(opener.decode_once(label, [each.info.fingerprint for each in both], decode), label)
'''

FAMILY = '''"""Toy networks: two linear layers, with weights that the toy's library publishes."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from tlbench.backbones.options import label, read_options
from tlbench.core.config import Settings
from tlbench.core.errors import UserError, nearest
from tlbench.core.info import BackboneInfo

VERSION = 2
_TAGS = ("first", "second")


class Params(Settings):
    """Options."""

    width: int = Field(16, ge=1, description="features")


def summaries() -> dict[str, str]:
    return {"toy_net": "a toy; weights first, second"}


def describe(name: str, params: dict[str, Any], weights: dict[str, Any]) -> BackboneInfo:
    options = read_options(name, Params, params)
    if weights["kind"] == "toys":
        tag = "first" if weights["name"] == "DEFAULT" else weights["name"]
        if tag not in _TAGS:
            raise UserError(f"{name}: toys has no weights {tag!r}", nearest(tag, _TAGS))
        weights = {**weights, "name": tag}
    changed = {} if options.width == 16 else {"width": options.width}
    prepared = {"image_size": 8, "channels": 1, "mean": [0.5], "std": [0.5]}
    recipe = {"name": name, "family": "toys", "weights": weights, "width": options.width, **prepared}
    return BackboneInfo(name, "toys", "image", label(name, changed, weights), recipe)


def construct(info: BackboneInfo) -> Any:
    from torch import nn

    from tlbench.backbones.backbone import Backbone, BodyParts, Prepare, image_input

    width = info.recipe["width"]
    body = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, width))
    return Backbone(info, Prepare(image_input(info)), body, width, BodyParts([["1"], ["3"]], ["1", "3"]))


def published(info: BackboneInfo) -> dict[str, Any]:
    import torch

    value = 0.01 * (1 + _TAGS.index(info.recipe["weights"]["name"]))
    body = construct(info).body
    return {name: torch.full_like(tensor, value) for name, tensor in body.state_dict().items()}
'''

ZOO = FAMILY.replace("VERSION = 2\n", "").replace('"toys"', '"zoo"').replace('''def summaries() -> dict[str, str]:
    return {"toy_net": "a toy; weights first, second"}


''', "").replace("Toy networks: two", "Any animal of the zoo, e.g. zoo:lion: two")  # fmt: skip


def install(folder: Path, **changed: str) -> Path:
    """Write the distribution ``toys``; return what to import it from.

    Args:
        folder: Where to write it.
        **changed: Other texts for its modules ``stripes``, ``shades``, ``stack``, ``family`` and ``zoo``.
    """
    modules = {"stripes": STRIPES, "shades": SHADES, "stack": STACK, "family": FAMILY, "zoo": ZOO} | changed
    package, about = folder / "tlbench_toys", folder / "tlbench_toys-1.dist-info"
    package.mkdir(parents=True)
    about.mkdir()
    (package / "__init__.py").touch()
    for name, text in modules.items():
        (package / f"{name}.py").write_text(text)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: tlbench-toys\nVersion: 1\n")
    (about / "entry_points.txt").write_text(
        "[tlbench.datasets]\nstripes = tlbench_toys.stripes\nshades = tlbench_toys.shades\nstack = tlbench_toys.stack\n"
        "[tlbench.backbones]\ntoys = tlbench_toys.family\nzoo = tlbench_toys.zoo\n"
    )
    return folder
