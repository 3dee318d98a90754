"""The stored form of a record: what its digest covers, and what its packed answers hold."""

from __future__ import annotations

import base64
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plausible import make_record

from tlbench.core.record import Outcome, Record, pack_bits, pack_classes, unpack_bits, unpack_classes


def test_digests_of_records_without_classes_never_change() -> None:
    """MLflow's runs are told apart by them: whoever makes this red makes every stored result a conflict."""
    record = make_record("c" * 20)
    assert record.digest == "afd50b3ce2c1947326a2a732a0d1f6a6"
    assert "test_classes" not in record.model_dump_json()
    assert Record.model_validate_json(record.model_dump_json()) == record


def test_classes_are_part_of_the_digest_and_come_back() -> None:
    record = make_record("c" * 20)
    assert record.outcome is not None
    outcome = record.outcome.model_copy(update={"test_classes": pack_classes([3, 1])})
    other = record.model_copy(update={"outcome": outcome})
    assert other.digest != record.digest
    assert Record.model_validate_json(other.model_dump_json()) == other
    assert Outcome.model_validate(outcome.model_dump()).test_classes == outcome.test_classes


@settings(deadline=None)
@given(st.lists(st.integers(0, 65_535), max_size=30))
def test_classes_are_unpacked_as_they_were(labels: list[int]) -> None:
    assert unpack_classes(pack_classes(labels), len(labels)) == tuple(labels)


@pytest.mark.parametrize("label", [-1, 65_536])
def test_labels_that_do_not_fit_are_refused(label: int) -> None:
    with pytest.raises(ValueError, match="from 0 to 65535"):
        pack_classes([0, label])


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_bits_are_unpacked_as_they_were(bits: list[bool]) -> None:
    packed = pack_bits(np.packbits(bits).tobytes())
    found = np.unpackbits(np.frombuffer(unpack_bits(packed, len(bits)), np.uint8), count=len(bits))
    assert found.tolist() == bits


@pytest.mark.parametrize("text", ["%", "AAAA", pack_bits(b"ab")[:-6], pack_bits(b"a"), pack_bits(b"abc")])
def test_what_was_not_packed_is_refused(text: str) -> None:
    assert unpack_bits(pack_bits(b"ab"), 16) == b"ab"
    with pytest.raises(ValueError, match=r".+"):
        unpack_bits(text, 16)


def test_no_more_is_unpacked_than_was_asked_for() -> None:
    bomb = base64.b64encode(zlib.compress(bytes(10**7))).decode()
    for unpack in (unpack_bits, unpack_classes):
        with pytest.raises(ValueError, match="not these"):
            unpack(bomb, 16)
        with pytest.raises(ValueError, match="no record has"):
            unpack(bomb, 10**12)
        with pytest.raises(ValueError, match="no record has"):
            unpack(bomb, -9)
