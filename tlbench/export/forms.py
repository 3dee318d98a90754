"""The network as a program that runs without tlbench: ONNX and ``torch.export``, checked against the original."""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tlbench.backbones.backbone import Backbone
from tlbench.core.errors import UserError

ONNX, PROGRAM = "model.onnx", "model.pt2"
_TOLERANCE = 1e-3  # of the largest logit


class _Prepared(nn.Module):
    """The network from prepared inputs on: what its own preparation makes of images and token ids.

    Args:
        network: It has a ``backbone``.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, classes) of prepared inputs: images (B, C, S, S), or ``int64`` token ids (B, L)."""
        backbone = self.network.get_submodule("backbone")
        assert isinstance(backbone, Backbone)
        prepare, backbone.prepare = backbone.prepare, nn.Identity()
        try:
            logits: Tensor = self.network(x)
        finally:
            backbone.prepare = prepare
        return logits


def prepared_inputs(network: nn.Module, raw: Any) -> Tensor:
    """Return raw inputs (n, ...) as the network's preparation makes them."""
    backbone = network.get_submodule("backbone")
    assert isinstance(backbone, Backbone)
    with torch.no_grad():
        x: Tensor = backbone.prepare(torch.from_numpy(np.ascontiguousarray(raw)))
    return x.contiguous()  # the middle of an image is a view, whose layout would be a part of the program


def write_program(network: nn.Module, x: Tensor, file: Path) -> float:
    """Write the network with ``torch.export``; return the largest difference of logits.

    Args:
        network: In evaluation mode, on the CPU.
        x: Real prepared inputs (n, ...), of which the first two are an example.
        file: Where to write.

    Raises:
        UserError: It cannot be written so, or answers otherwise afterwards; no file is left.
    """
    program = _exported(network, x, "torch.export")
    # The example inputs would be a pickle inside the file; all else of it is JSON and bytes of tensors.
    program._example_inputs = None
    with _quiet():
        torch.export.save(program, file)
        again = torch.export.load(file).module()
        with torch.no_grad():
            found = again(x)
    return _checked(network, x, found, file, "torch.export")


def write_onnx(network: nn.Module, x: Tensor, file: Path) -> float:
    """Write the network as ONNX; return the largest difference of logits under onnxruntime.

    Args:
        network: As of :func:`write_program`.
        x: As of :func:`write_program`.
        file: Where to write.

    Raises:
        UserError: A library is missing, or as of :func:`write_program`.
    """
    try:
        import onnx  # noqa: F401  # torch's exporter needs it and says so much later
        import onnxruntime
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        raise UserError(
            f"--onnx needs the library {error.name}, which is not installed",
            "pip install 'tlbench[export]', or uv sync --extra export",
        ) from error
    program = _exported(network, x, "ONNX")
    with _quiet():
        try:
            made = torch.onnx.export(program, dynamo=True, input_names=["x"], output_names=["logits"], verbose=False)
        except Exception as error:  # the exporter raises what its passes raise
            raise _impossible("ONNX", error) from error
        assert made is not None
        made.save(str(file), external_data=False)
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        (own,) = session.get_inputs()
        found = torch.from_numpy(session.run(None, {own.name: x.numpy()})[0])
    return _checked(network, x, found, file, "ONNX")


def _exported(network: nn.Module, x: Tensor, what: str) -> Any:
    sizes: list[Any] = [torch.export.Dim.DYNAMIC] + [torch.export.Dim.STATIC] * (x.ndim - 1)
    if not x.is_floating_point():
        sizes[1] = torch.export.Dim.DYNAMIC
    with _quiet(), torch.no_grad():
        try:
            return torch.export.export(_Prepared(network), (x[:2],), dynamic_shapes=(tuple(sizes),))
        except Exception as error:  # whatever the network does that cannot be traced
            raise _impossible(what, error) from error


def _checked(network: nn.Module, x: Tensor, found: Tensor, file: Path, what: str) -> float:
    with torch.no_grad():
        logits = _Prepared(network)(x)
    difference = float((found - logits).abs().max())
    if not difference <= _TOLERANCE * float(logits.abs().max().clamp_min(1.0)):
        file.unlink()
        raise UserError(
            f"as {what}, the network answers otherwise: logits differ by up to {difference:.3g} on {len(x)} inputs",
            f"export without --{'onnx' if what == 'ONNX' else 'torch-export'}",
        )
    return difference


def _impossible(what: str, error: Exception) -> UserError:
    cause = error.__cause__ or error  # the exporter's own words are advice for its developers
    reason = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(cause)).split())[:200]
    option = "onnx" if what == "ONNX" else "torch-export"
    return UserError(
        f"the network cannot be written as {what} ({type(error).__name__}: {reason})", f"export without --{option}"
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what exporters print and warn of out of the terminal."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logger.setLevel(level)
