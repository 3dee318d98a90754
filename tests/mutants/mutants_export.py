"""Mutants of exported models: what would let another model, or a wrong confidence, go out under a result's name."""

from __future__ import annotations

from mutant import Mutant

SAME = "tests/export/test_same_logits.py"
FOLDS = "tests/export/test_calibration.py"
MODEL = "tests/inference/test_model.py"
COMMAND = "tests/cli/test_export_command.py"
TEMPERATURE = "tests/stats/test_temperature.py"

MUTANTS = (
    Mutant(
        "export: whatever was trained again will do",
        "tlbench.export.fit_again:_agreement",
        "if outcome.correct == record.outcome.correct:",
        "if True:",
        f"{SAME}::test_a_model_that_answers_otherwise_than_the_stored_one_is_not_exported",
    ),
    Mutant(
        "export: equal answers count as equal bits",
        "tlbench.export.fit_again:_agreement",
        "outcome.logits == record.outcome.logits",
        "outcome.correct == record.outcome.correct",
        f"{SAME}::test_a_model_that_answers_otherwise_than_the_stored_one_is_not_exported",
    ),
    Mutant(
        "export: the written network is not compared",
        "tlbench.export.export_cell:_checked_network",
        "if difference:",
        "if False:",
        f"{SAME}::test_a_network_that_answers_otherwise_once_it_is_built_is_refused",
    ),
    Mutant(
        "export: of an adaptation the last network",
        "tlbench.export.fit_again:_Follower.keep",
        "self.selected = copy.deepcopy(model)",
        "pass",
        f"{SAME}::test_of_an_adaptation_it_is_the_network_that_the_validator_selected",
    ),
    Mutant(
        "export: refit leaves the test out",
        "tlbench.export.fit_again:_Follower._fit_all",
        "(TRAIN, VAL, TEST)",
        "(TRAIN, VAL)",
        f"{SAME}::test_refit_fits_to_all_labels_with_what_was_chosen_and_claims_no_scores",
    ),
    Mutant(
        "export: refit chooses anew",
        "tlbench.export.fit_again:_Follower._fit_all",
        "isinstance(value, int | float | str)",
        "False",
        f"{SAME}::test_refit_fits_to_all_labels_with_what_was_chosen_and_claims_no_scores",
    ),
    Mutant(
        "export: a fold is calibrated by a model that was fitted to it",
        "tlbench.export.calibration:answers_of_folds",
        "rows[~own], rows[own]",
        "rows, rows[own]",
        f"{FOLDS}::test_folds_are_answered_by_models_that_were_not_fitted_to_them",
    ),
    Mutant(
        "lora: folded weights without the update",
        "tlbench.training.parameter_efficient.low_rank:fold_low_rank",
        "layer.effective_weight().clone()",
        "layer.base(layer.weight_name).clone()",
        f"{SAME}::test_of_texts",
    ),
    Mutant(
        "peft: blocks of a packed layer at the wrong rows",
        "tlbench.training.parameter_efficient.low_rank:layer_updates",
        "b[part * height : (part + 1) * height, number * rank : (number + 1) * rank] = up",
        "b[number * height : (number + 1) * height, number * rank : (number + 1) * rank] = up",
        "tests/export/test_forms.py::test_updates_of_blocks_are_one_update_of_the_whole_layer",
    ),
    Mutant(
        "export: a form that answers otherwise is written",
        "tlbench.export.forms:_checked",
        "not difference <= _TOLERANCE * float(logits.abs().max().clamp_min(1.0))",
        "False",
        "tests/export/test_forms.py::test_a_form_that_answers_otherwise_is_not_left_there",
    ),
    Mutant(
        "export: example inputs in a pickle",
        "tlbench.export.forms:write_program",
        "program._example_inputs = None",
        "",
        "tests/export/test_forms.py::test_a_program_of_torch_export_holds_no_pickle_and_answers_as_the_network",
    ),
    Mutant(
        "predict: confidence is the probability",
        "tlbench.inference.model:Model._predictions",
        "scores / temperature",
        "scores",
        f"{MODEL}::test_answers_are_those_of_the_network_on_the_very_pixels",
    ),
    Mutant(
        "predict: texts are not put back in order",
        "tlbench.inference.model:Model.logits",
        "out[torch.from_numpy(rows)]",
        "out[start : start + batch_size]",
        f"{MODEL}::test_batches_change_nothing_but_rounding",
    ),
    Mutant(
        "load: any file of weights",
        "tlbench.inference.model:read_state",
        "sha256(file) != description.weights",
        "False",
        f"{MODEL}::test_folders_that_are_no_model_or_a_damaged_one_are_refused",
    ),
    Mutant(
        "load: newer formats are tried",
        "tlbench.inference.description:read_description",
        "version > FORMAT",
        "False",
        f"{MODEL}::test_folders_that_are_no_model_or_a_damaged_one_are_refused",
    ),
    Mutant(
        "export: what is there is overwritten",
        "tlbench.export.export_cell:check_destination",
        "if not overwrite:",
        "if False:",
        f"{COMMAND}::test_nothing_is_overwritten_unasked",
    ),
    Mutant(
        "predict: unreadable files go unnoticed",
        "tlbench.cli.predict:predict",
        "raise typer.Exit(1)",
        "pass",
        f"{COMMAND}::test_from_a_result_to_a_table_of_answers",
    ),
    Mutant(
        "temperature: its inverse",
        "tlbench.stats.temperature:fit_temperature",
        "float(1 / brentq(slope, low, high, xtol=1e-14, rtol=1e-12))",
        "float(brentq(slope, low, high, xtol=1e-14, rtol=1e-12))",
        f"{TEMPERATURE}::test_equal_margins_give_the_share_of_right_answers",
    ),
)
