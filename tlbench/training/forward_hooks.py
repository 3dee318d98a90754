"""Forward passes with hooks: the order in which modules run, and passes that stop early."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from torch import nn
from torch.utils.hooks import RemovableHandle


class StopForward(Exception):  # noqa: N818 - it reports no error
    """Raised by a hook to end a forward pass at its module."""


@contextmanager
def hooks(handles: Iterable[RemovableHandle]) -> Iterator[None]:
    """Remove hooks at the end of a ``with`` block."""
    registered = list(handles)
    try:
        yield
    finally:
        for handle in registered:
            handle.remove()


def call_order(modules: Iterable[nn.Module], forward: Callable[[], object]) -> list[nn.Module]:
    """Return the modules that a forward pass calls, in the order of their first calls."""
    called: dict[nn.Module, None] = {}

    def record(module: nn.Module, args: object) -> None:
        called.setdefault(module)

    with hooks(module.register_forward_pre_hook(record) for module in modules):
        forward()
    return list(called)


def run_until_stopped(forward: Callable[[], object]) -> None:
    """Run a forward pass that a hook may end by :class:`StopForward`."""
    try:
        forward()
    except StopForward:
        return
