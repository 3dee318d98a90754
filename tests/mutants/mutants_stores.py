"""Mutants of what is really in MLflow, whose a suite's name is, where a cluster answers, and the hub's cache."""

from __future__ import annotations

from mutant import Mutant

PRESENCE, OF_PRESENCE = "tlbench.store.mlflow.presence", "tests/store/test_presence.py"
WRITER = "tlbench.store.mlflow.background_writer"
RECONCILE = "tlbench.store.mlflow.reconcile"
NAMES, OF_NAMES = "tlbench.runner.suite_names", "tests/runner/test_names_of_suites.py"
LEDGER = "tlbench.store.ledger"
ADDRESS, OF_ADDRESS = "tlbench.runner.cluster_address", "tests/runner/test_cluster_address.py"
HUB, OF_HUB = "tlbench.backbones.hub", "tests/backbones/test_hub.py"
TABLES = "tests/cli/test_narrow_tables.py"

MUTANTS = (
    Mutant("presence: nobody asks", f"{WRITER}:BackgroundWriter._ask", "not can_read(self._uri)", "True", OF_PRESENCE),
    Mutant("presence: any run will do", f"{PRESENCE}:_is_there", "not retracted", "True", OF_PRESENCE),
    Mutant(
        "presence: what is lost stays marked",
        f"{WRITER}:BackgroundWriter._ask",
        "state.mark_deleted(loss.cells)",
        "",
        OF_PRESENCE,
    ),
    Mutant(
        "presence: nothing is ever lost",
        f"{PRESENCE}:_is_there",
        "bool(runs) and newest > retracted",
        "True",
        OF_PRESENCE,
    ),
    Mutant(
        "presence: tags are not compared",
        f"{PRESENCE}:find_loss",
        "any(found.tags.get(name) != value for name, value in stored.items())",
        "False",
        OF_PRESENCE,
    ),
    Mutant(
        "presence: a renamed experiment is made anew",
        f"{PRESENCE}:find_loss",
        "_refuse_renamed(reader, state.suite, stored, uri)",
        "",
        OF_PRESENCE,
    ),
    Mutant(
        "presence: nothing is missing of a renamed experiment",
        f"{WRITER}:BackgroundWriter.close",
        "left += self._astray",
        "",
        OF_PRESENCE,
    ),
    Mutant(
        "presence: what came back with an experiment stays",
        f"{WRITER}:BackgroundWriter._reconcile",
        "reconciler.delete_strays()",
        "",
        OF_PRESENCE,
    ),
    Mutant(
        "presence: runs of others are strays",
        f"{RECONCILE}:Reconciler.delete_strays",
        "run.cell not in listed",
        "run.cell in listed",
        OF_PRESENCE,
    ),
    Mutant(
        "presence: the chosen trial loses its mark",
        f"{WRITER}:BackgroundWriter._reconcile",
        "reconciler.tag_winners()",
        "",
        OF_PRESENCE,
    ),
    Mutant("names: any copy may run", f"{NAMES}:claim_name", "_is_taken(prepared, owner)", "False", OF_NAMES),
    Mutant(
        "names: a moved file is another suite",
        f"{NAMES}:is_another_suite",
        "not _has_name(owner.path, name)",
        "False",
        OF_NAMES,
    ),
    Mutant(
        "names: other data are the same suite",
        f"{NAMES}:is_another_suite",
        "not (own.data <= owner.data or owner.data <= own.data)",
        "False",
        OF_NAMES,
    ),
    Mutant(
        "names: a copied workspace belongs to the first project",
        f"{LEDGER}:Ledger.note_suite_file",
        "os.path.relpath(file.path, self.path.parent.resolve())",
        "file.path",
        OF_NAMES,
    ),
    Mutant("address: nobody knocks", f"{ADDRESS}:find_cluster", "_knock(named, shown)", "", OF_ADDRESS),
    Mutant(
        "address: Ray's log is shown", f"{ADDRESS}:find_cluster", "stderr=subprocess.DEVNULL", "stderr=None", OF_ADDRESS
    ),
    Mutant(
        "address: RAY_ADDRESS is not looked at",
        f"{ADDRESS}:find_cluster",
        '(os.environ.get("RAY_ADDRESS") if address == "auto" else address) or address',
        "address",
        OF_ADDRESS,
    ),
    Mutant("hub: the cache is not read first", f"{HUB}:from_cache_first", "_offline()", "suppress()", OF_HUB),
    Mutant("hub: it is asked without a network", f"{HUB}:from_cache_first", "not is_reachable()", "False", OF_HUB),
    Mutant("hub: a lookup is waited for", f"{HUB}:_knock", "thread.join(_KNOCK_SECONDS)", "thread.join()", OF_HUB),
    Mutant(
        "tables: searches keep all columns",
        "tlbench.cli.search_table:search_table",
        "width >= needed",
        "True",
        TABLES,
    ),
    Mutant(
        "tables: copies keep all columns", "tlbench.cli.audit_table:overlap_table", "width >= needed", "True", TABLES
    ),
)
