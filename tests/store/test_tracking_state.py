from __future__ import annotations

from pathlib import Path

from plausible import make_record

from tlbench.store.ledger import Ledger


def test_what_a_tracking_store_lacks_is_known_by_suite_and_store(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l") as ledger:
        attempts = ledger.lease("abc", "me", 60)
        ledger.claim("one", "ab", {"k": "v"})
        ledger.claim("two", "bc", {})
        ledger.commit_many([(make_record(cell), attempts[cell]) for cell in "ab"])
        here, there = ledger.tracking_state("one", "here"), ledger.tracking_state("one", "there")
        assert list(here.missing()) == ["a", "b"]
        assert list(ledger.tracking_state("two", "here").missing()) == ["b"]
        here.mark_written(here.missing())
        assert here.missing() == {}
        assert len(there.missing()) == 2
        ledger.forget(["b"])
        assert here.missing() == {}
        ledger.commit(make_record("b"), ledger.lease(["b"], "me", 60)["b"])
        assert list(here.missing()) == ["b"]
        here.forget()
        assert len(here.missing()) == 2


def test_a_store_keeps_what_a_suite_no_longer_lists_until_it_is_deleted_there(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l") as ledger:
        attempts = ledger.lease("ab", "me", 60)
        ledger.claim("one", "ab", {})
        ledger.commit_many([(make_record(cell), attempts[cell]) for cell in "ab"])
        here = ledger.tracking_state("one", "here")
        here.mark_written(here.missing())
        assert here.unlisted() == []
        ledger.claim("one", "a", {})
        assert (here.unlisted(), here.missing()) == (["b"], {})
        here.mark_deleted("ab")
        assert here.unlisted() == []
        assert list(here.missing()) == ["a"]


def test_tags_are_new_until_the_store_has_them_and_whenever_they_change(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l") as ledger:
        here = ledger.tracking_state("one", "here")
        assert here.new_tags() is None, "nobody claimed the suite"
        ledger.claim("one", "ab", {"k": "v"})
        ledger.claim("two", "bc", {})
        assert ledger.suites() == {"one": '{"k":"v"}', "two": "{}"}
        assert here.new_tags() == '{"k":"v"}'
        here.mark_tagged('{"k":"v"}')
        assert here.new_tags() is None
        assert ledger.tracking_state("one", "there").new_tags() is not None
        ledger.claim("one", "ab", {"k": "w"})
        assert here.new_tags() == '{"k":"w"}'
