"""Defects of the report: figures, tables, escaping, staleness, and the page in a browser."""

from __future__ import annotations

from mutant import Mutant

FIGURES = "tests/report/test_figures.py"
PAPER = "tests/report/test_paper.py"
GATHERED = "tests/report/test_gathered.py"

MUTANTS = [
    Mutant(
        "report: the front of costs is of dear rows",
        "report/figures/cost.py",
        'ordered = data.sort_values(["panel", "cost", "mean"], ascending=[True, True, False])',
        'ordered = data.sort_values(["panel", "cost", "mean"], ascending=[True, False, False])',
        f"{FIGURES}::test_the_front_is_what_no_other_row_beats",
    ),
    Mutant(
        "report: a cost of zero falls off the log axis",
        "report/figures/cost.py",
        "cost or least / 3",
        "cost",
        f"{FIGURES}::test_the_front_is_what_no_other_row_beats",
    ),
    Mutant(
        "report: all labels stand among the shots",
        "report/figures/shots.py",
        '"full": 4.0 * max',
        '"full": 1.0 * max',
        f"{FIGURES}::test_shots_stand_in_order_on_a_log_axis",
    ),
    Mutant(
        "report: shade over the whole map",
        "report/figures/heat.py",
        'found.groupby(["panel", "column"])["mean"]',
        'found.groupby("panel")["mean"]',
        f"{FIGURES}::test_the_deepest_colour_is_the_best_of_its_column",
    ),
    Mutant(
        "report: a thinned curve loses its end",
        "report/figures/curves.py",
        "return curve[::-1][::stride][::-1]",
        "return curve[::stride]",
        f"{FIGURES}::test_curves_are_thinned_and_keep_their_end",
    ),
    Mutant(
        "report: trials of a search count twice as dear",
        "report/tables/searched.py",
        'float(trials["cost"].max())',
        'float(trials["cost"].sum())',
        f"{FIGURES}::test_the_search_is_told_by_trials_and_by_cost",
    ),
    Mutant(
        "report: the best trial is the winner, whatever the cells took",
        "report/tables/searched.py",
        "winner = won if len(won) else",
        "winner =",
        f"{FIGURES}::test_the_winner_of_a_search_is_the_trial_that_the_cells_took_their_values_from",
    ),
    Mutant(
        "report: what no longer counts has not changed",
        "report/tables/searched.py",
        "names = sorted({**self.default, **self.chosen})",
        "names = sorted(self.chosen)",
        f"{FIGURES}::test_a_search_is_told_by_what_it_changed",
    ),
    Mutant(
        "report: trials that failed take no turn",
        "report/figures/search.py",
        'spent = trials.groupby("setting")',
        'spent = trials.dropna(subset="value").groupby("setting")',
        f"{FIGURES}::test_the_search_is_told_by_trials_and_by_cost",
    ),
    Mutant(
        "report: joined suites have the first one's command",
        "report/sheets/reproduction.py",
        "command=_command(results.suite, cell)",
        "command=_command(next(iter(suites)).suite, cell)",
        f"{GATHERED}::test_of_joined_suites_each_has_its_own_command_and_runs",
    ),
    Mutant(
        "report: TeX draws a dash out of two hyphens",
        "report/sheets/tex.py",
        're.sub("-(?=-)", "-\\N{WORD JOINER}", ',
        "(",
        "tests/report/test_sheet.py::test_letters_and_marks_in_tex",
    ),
    Mutant(
        "report: the baseline is left out of figures",
        "report/drawn.py",
        "kept = [*kept[: _METHODS - 1], board.baseline.label]",
        "kept = kept[: _METHODS - 1]",
        f"{FIGURES}::test_figures_show_the_best_and_the_baseline",
    ),
    Mutant(
        "report: an upper bound may be the best of a column",
        "report/sheets/paper.py",
        "if not row.is_bound and len",
        "if len",
        f"{PAPER}::test_upper_bounds_come_last_and_are_never_the_best",
    ),
    Mutant(
        "report: a row of two seeds may be the best of a column",
        "report/sheets/paper.py",
        ">= RANKED_SEEDS",
        ">= 1",
        f"{PAPER}::test_of_two_seeds_nothing_is_called_the_best",
    ),
    Mutant(
        "report: the dagger for all",
        "report/sheets/paper.py",
        'return f"{told} †" if name in near else told',
        'return f"{told} †"',
        f"{PAPER}::test_the_best_is_bold_and_what_is_not_separable_has_a_dagger",
    ),
    Mutant(
        "report: other test examples are compared",
        "report/sheets/duels.py",
        "any((one.tests, one.group) != (two.tests, two.group) for one, two in pairs)",
        "False",
        f"{PAPER}::test_example_by_example_is_the_exact_test_of_the_discordant",
    ),
    Mutant(
        "report: a row is compared though incomplete",
        "report/tables/leaderboard.py",
        "sorted((row for row in rows if not row.remark)",
        "sorted((row for row in rows)",
        "tests/report/test_tables.py::test_incomplete_rows_stand_below_however_good",
    ),
    Mutant(
        "report: stale pre-training goes unseen",
        "report/stale.py",
        "if not any(others):",
        "if True:",
        f"{GATHERED}::test_a_result_is_stale_when_any_of_its_code_has_changed",
    ),
    Mutant(
        "report: stale cells count as done too",
        "report/gathered.py",
        '"done": done - old',
        '"done": done',
        f"{GATHERED}::test_coverage_adds_up",
    ),
    Mutant(
        "report: a command runs other rows as well",
        "report/sheets/reproduction.py",
        'return f"{mark}{value}{mark}" if mark else ""',
        "return value",
        f"{GATHERED}::test_the_command_of_a_row_selects_that_row_alone",
    ),
    Mutant(
        "report: TeX commands in names",
        "report/sheets/tex.py",
        r""""\\": r"\textbackslash{}", """,
        "",
        "tests/report/test_sheet.py::test_tex_is_a_booktabs_table_in_which_no_name_is_a_command",
    ),
    Mutant(
        "report: bits are read from the wrong end",
        "report/attached.py",
        "np.unpackbits(packed, count=self.tests)",
        'np.unpackbits(packed, count=self.tests, bitorder="little")',
        "tests/report/test_attached.py::test_a_record_comes_back",
    ),
    Mutant(
        "report: markup in the inlined figures",
        "report/templates/page.html.j2",
        "{{ specs | tojson }}",
        "{{ specs | string | safe }}",
        "tests/report/test_page.py::test_names_and_messages_stay_text",
    ),
    Mutant(
        "report: rows below the line are sorted above it",
        "report/templates/page.js",
        "body.append(...rows.map((each) => each.row));",
        "table.tBodies[0].append(...rows.map((each) => each.row));",
        "tests/report/test_browser.py::test_the_leaderboard_sorts_and_rows_below_the_line_stay_there",
    ),
    Mutant(
        "report: the address forgets the filter",
        "report/templates/page.js",
        'remember("ranked", form.elements.ranked.checked ? "1" : "");',
        "",
        "tests/report/test_browser.py::test_search_filter_and_address",
    ),
]
