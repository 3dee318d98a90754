"""Mutants of texts: tokenisers, token ids, the encoders, and who reads what."""

from __future__ import annotations

from mutant import Mutant

BACKBONE, ENCODER, FAMILY = (
    "backbones/backbone.py",
    "backbones/transformer_encoder.py",
    "backbones/families/text_encoder.py",
)
SOURCE, TOKENIZER, TOKENS = "data/sources/texts.py", "data/tokenizer.py", "data/tokenized.py"
HUB, LOOKED_UP = "backbones/families/huggingface.py", "backbones/huggingface_files.py"
BODY = "backbones/huggingface_body.py"
ADAPTERS = "training/efficient/bottleneck_adapters.py"
READING, CACHE, COLUMNS = "worker/text_reading.py", "worker/cache.py", "worker/paired_tokens.py"
PREFIX = "training/frozen_prefix.py"

NETS, TRAINED = "tests/backbones/test_text_encoder.py", "tests/data/test_tokenizer.py"
OWN_TEXTS = "tests/data/test_texts.py::test_mistakes_are_named_with_file_and_line"
BOOKS = "tests/data/test_texts.py::test_texts_may_be_as_long_as_books"
FILES, KEPT = "tests/data/test_tokenized.py", "tests/training/test_text_prefix.py"


def _hub(test: str) -> str:
    return f"tests/backbones/test_huggingface.py::{test}"


def _cells(test: str) -> str:
    return f"tests/worker/test_text_cells.py::{test}"


MUTANTS = (
    Mutant("text: ignored padding mask", ENCODER, "real[:, None, None, :], dropout)", "None, dropout)", NETS),
    Mutant("text: pads pooled", ENCODER, "real = is_real(h)[..., None]", "real = torch.ones_like(h[..., :1])", NETS),
    Mutant("text: pads counted in the mean", ENCODER, "/ real.sum(1)", "/ real.shape[1]", NETS),
    Mutant("text: states of padding stay", ENCODER, "return h * real[..., None]", "return h", NETS),
    Mutant("text: no positions", ENCODER, " + self.positions.weight[: ids.shape[1]]", "", NETS),
    Mutant("text: attention without its norm", ENCODER, "self.attn(self.norm1(h), real)", "self.attn(h, real)", NETS),
    Mutant("text: no residual", ENCODER, "h = h + self.mlp(self.norm2(h))", "h = self.mlp(self.norm2(h))", NETS),
    Mutant(
        "text: states without the last norm", ENCODER, "return self.norm(self._run(ids))", "return self._run(ids)", NETS
    ),
    Mutant("text: the last token for cls", ENCODER, "return z[:, 0]", "return z[:, -1]", NETS),
    Mutant("text: wide initial weights", ENCODER, "_SPREAD = 0.02", "_SPREAD = 0.04", NETS),
    Mutant("text: dropout in evaluation", ENCODER, "self.dropout.p if self.training else 0.0", "self.dropout.p", NETS),
    Mutant(
        "text: trimming cuts tokens", BACKBONE, "max(1, -(-length // _MULTIPLE))", "max(1, length // _MULTIPLE)", NETS
    ),
    Mutant("text: nothing is trimmed", BACKBONE, "ids[:, : rounded(", "ids[:, : 10 * rounded(", NETS),
    Mutant("text: tokeniser options not in the recipe", FAMILY, '"kind": options.tokenizer, ', '"kind": "bpe", ', NETS),
    Mutant("text: a file's tokeniser may be chosen", FAMILY, "if chosen is not None:", "if False:", NETS),
    Mutant(
        "text: WordPiece numbered by a hash table",
        TOKENIZER,
        "special_tokens=[*SPECIAL, *inside],",
        "special_tokens=list(SPECIAL),",
        f"{TRAINED}::test_the_same_texts_give_the_same_bytes_in_any_order_and_process",
    ),
    Mutant("text: texts spell special tokens", TOKENIZER, "model.encode_special_tokens = True", "pass", TRAINED),
    Mutant("text: no ends", TOKENIZER, 'single="[CLS] $A [SEP]"', 'single="$A"', TRAINED),
    Mutant(
        "text: padded with zero whatever the id",
        TOKENIZER,
        "default=0)), pad, np.int32)",
        "default=0)), 0, np.int32)",
        TRAINED,
    ),
    Mutant("text: the last chunk is lost", TOKENIZER, "    if chunk:\n        yield chunk\n", "", TRAINED),
    Mutant(
        "text: only some bytes are known",
        TOKENIZER,
        "initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),",
        "",
        TRAINED,
    ),
    Mutant("text: capitals stay", TOKENIZER, "    if design.lowercase:", "    if False:", TRAINED),
    Mutant(
        "text: too large vocabularies pass", TOKENIZER, "tokenizer.get_vocab_size() > design.size", "False", TRAINED
    ),
    Mutant(
        "text: lengths share ids",
        TOKENS,
        "dataset.info.fingerprint, length, pad]",
        "dataset.info.fingerprint, pad]",
        FILES,
    ),
    Mutant("text: tokenisers share ids", TOKENS, "[VERSION, tokenizer, ", "[VERSION, ", FILES),
    Mutant(
        "text: tokeniser sees test texts",
        READING,
        "np.isin(dataset.part, (TRAIN, SOURCE)) & ",
        "",
        _cells("test_a_tokeniser_has_seen_no_test_text"),
    ),
    Mutant(
        "text: tokeniser sees classes kept apart",
        READING,
        " & np.isin(dataset.y, classes)",
        "",
        _cells("test_the_rows_it_learns_from"),
    ),
    Mutant(
        "text: tokeniser of episodes sees test classes",
        READING,
        "    if episodic:",
        "    if False:",
        _cells("test_where_classes_are_kept_apart_it_has_seen_training_classes_only"),
    ),
    Mutant(
        "text: pre-trained weights read with the target's tokeniser",
        READING,
        "if choice.pretrain is not None:\n        return read_tokenizer(",
        "if False:\n        return read_tokenizer(",
        _cells("test_weights_carry_the_tokeniser_of_the_first_corpus_through_every_further_run"),
    ),
    Mutant(
        "text: files of weights read with the target's tokeniser",
        READING,
        "if choice.weights_file is not None:\n        return read_tokenizer(",
        "if False:\n        return read_tokenizer(",
        _cells("test_a_file_of_weights_is_read_with_its_own_tokeniser_and_refused_without"),
    ),
    Mutant(
        "text: any tokeniser fits any network",
        READING,
        'if not special.issuperset(vocabulary["special"]) or',
        "if",
        _cells("test_a_tokeniser_that_is_not_the_network_s_is_refused"),
    ),
    Mutant(
        "text: unknown tokens are not told",
        READING,
        "if share <= _UNKNOWN:",
        "if True:",
        _cells("test_a_note_says_that_a_tokeniser_does_not_know_the_texts"),
    ),
    Mutant(
        "text: the unknown is no piece of a text",
        READING,
        "np.setdiff1d(special, unknown)",
        "special",
        _cells("test_the_share_of_unknown_tokens_is_that_of_the_pieces_of_texts"),
    ),
    Mutant(
        "text: padding counts as known",
        READING,
        "counts[pieces].sum()",
        "counts.sum()",
        _cells("test_the_share_of_unknown_tokens_is_that_of_the_pieces_of_texts"),
    ),
    Mutant(
        "text: the tokeniser of a later corpus is named",
        READING,
        "_origin(choice.pretrain.start, choice.pretrain.dataset)",
        "_origin(choice.pretrain.start, dataset)",
        _cells("test_a_note_says_that_a_tokeniser_does_not_know_the_texts"),
    ),
    Mutant(
        "text: notes of a reading are lost",
        "worker/fit_cell.py",
        "*dataset.notes, *outcome.notes)",
        "*outcome.notes)",
        _cells("test_a_note_says_that_a_tokeniser_does_not_know_the_texts"),
    ),
    Mutant(
        "text: notes of a pre-training are lost",
        "worker/fit_cell.py",
        "(*notes_of(cell.backbone, cache.artifacts), ",
        "(",
        _cells("test_a_note_says_that_a_tokeniser_does_not_know_the_texts"),
    ),
    Mutant(
        "text: notes of the first pre-training are lost",
        "worker/pretrain.py",
        "[*notes_of(run.start, cache.artifacts), *(",
        "[*(",
        _cells("test_a_note_says_that_a_tokeniser_does_not_know_the_texts"),
    ),
    Mutant(
        "text: what a teacher does not know is not told",
        COLUMNS,
        "notes=(*own.notes, *taught.notes),",
        "notes=own.notes,",
        _cells("test_a_note_says_that_a_tokeniser_does_not_know_the_texts"),
    ),
    Mutant(
        "texts: half a character passes",
        SOURCE,
        "        _check_whole(line.at, name, value)\n",
        "",
        OWN_TEXTS,
    ),
    Mutant("texts: long numbers break", SOURCE, "except ValueError as error:", "except KeyError as error:", OWN_TEXTS),
    Mutant(
        "texts: deep brackets break", SOURCE, "except RecursionError as error:", "except KeyError as error:", OWN_TEXTS
    ),
    Mutant("texts: books are refused", SOURCE, "csv.field_size_limit(), _LONGEST", "csv.field_size_limit(), 0", BOOKS),
    Mutant(
        "texts: an open quote is sought where the file ends",
        SOURCE,
        'f"{path}:{start}: the record',
        'f"{path}:{rows.line_num}: the record',
        OWN_TEXTS,
    ),
    Mutant(
        "texts: the last of two columns counts",
        SOURCE,
        "if header.count(name) > 1:",
        "if False:",
        OWN_TEXTS,
    ),
    Mutant(
        "text: a file without a tokeniser is found out late",
        "planning/prepare.py",
        "        read_tokenizer(file)  #",
        "        pass  #",
        _cells("test_a_file_of_weights_is_read_with_its_own_tokeniser_and_refused_without"),
    ),
    Mutant(
        "text: features do not depend on the tokeniser",
        CACHE,
        "read = [dataset.tokens] if dataset.tokens else []",
        "read = []",
        _cells("test_where_classes_are_kept_apart_it_has_seen_training_classes_only"),
    ),
    Mutant(
        "text: a teacher reads its student's tokens",
        COLUMNS,
        "if own.tokens == taught.tokens:",
        "if True:",
        _cells("test_a_teacher_reads_its_own_tokens_beside_those_of_its_student"),
    ),
    Mutant(
        "text: a teacher's file without its tokeniser",
        "worker/teacher.py",
        "folder / WEIGHTS, carried(tokenizer))",
        "folder / WEIGHTS)",
        _cells("test_a_teacher_reads_its_own_tokens_beside_those_of_its_student"),
    ),
    Mutant(
        "text: kept states at the longest text's length",
        PREFIX,
        "z.any(-1).sum(1).cpu() if text else None",
        "None",
        KEPT,
    ),
    Mutant("text: a mask from ids goes unnoticed", PREFIX, "x[0, _SHORT:] = ", "_ = ", KEPT),
    Mutant(
        "text: memory by the first texts", PREFIX, "given[0, 0].numel() * examples[0].shape[-1] if text else ", "", KEPT
    ),
    Mutant(
        "text: pieces of one length only", PREFIX, "for piece in pieces}) > 1:", "for piece in pieces}) > 99:", KEPT
    ),
    Mutant(
        "hf: ignored padding mask",
        BODY,
        "attention_mask=(ids != self._pad).long()",
        "attention_mask=None",
        _hub("test_padding_and_the_other_texts_change_no_output"),
    ),
    Mutant(
        "hf: pads pooled",
        BODY,
        "real = (ids != self._pad)[..., None]",
        "real = (ids == ids)[..., None]",
        _hub("test_padding_and_the_other_texts_change_no_output"),
    ),
    Mutant(
        "hf: the pooler stays",
        BODY,
        "            model.pooler = None\n",
        "            pass\n",
        _hub("test_groups_cover_all_from_stem_to_top_and_nothing_pools"),
    ),
    Mutant(
        "hf: adapters behind BERT's norms",
        ADAPTERS,
        "yield pair.attention_end or pair.attention, True",
        "yield pair.attention, True",
        _hub("test_adapters_stand_before_the_sums_and_read_what_sublayers_read"),
    ),
    Mutant(
        "hf: parallel adapters read inside",
        ADAPTERS,
        'if placement != "parallel":',
        "if True:",
        _hub("test_a_parallel_adapter_of_bert_reads_what_the_perceptron_reads"),
    ),
    Mutant(
        "hf: published weights do not matter",
        HUB,
        "weights_hash(name, folder)}",
        '"none"}',
        _hub("test_recipes_hold_content_and_no_path"),
    ),
    Mutant(
        "hf: another folder of that name",
        HUB,
        'if found.content != info.recipe["content"]:',
        "if False:",
        _hub("test_a_folder_that_changed_since_the_plan_is_not_used"),
    ),
    Mutant(
        "hf: weights changed since",
        HUB,
        "if folder is not None and weights_hash(info.name, folder) !=",
        "if False and None !=",
        _hub("test_a_folder_that_changed_since_the_plan_is_not_used"),
    ),
    Mutant(
        "hf: missing weights are drawn",
        HUB,
        "    if missing:",
        "    if False:",
        _hub("test_a_file_that_lacks_weights_is_refused"),
    ),
    Mutant(
        "hf: decoders pass",
        LOOKED_UP,
        "if not fits or config.is_encoder_decoder",
        "if config.is_encoder_decoder",
        _hub("test_mistakes_are_named"),
    ),
    Mutant(
        "hf: positions behind the padding forgotten",
        LOOKED_UP,
        "most - module.padding_idx - 1",
        "most",
        _hub("test_lengths_are_those_that_network_and_tokeniser_take"),
    ),
    Mutant(
        "hf: positions behind the padding of tables that have none",
        LOOKED_UP,
        'name.endswith("position_embeddings") and',
        "",
        _hub("test_without_a_limit_of_the_tokeniser_every_position_of_the_network_serves"),
    ),
    Mutant(
        "hf: a tokeniser's limit above the network's",
        LOOKED_UP,
        "min(words.model_max_length, _positions(config))",
        "words.model_max_length if words.model_max_length < 10**6 else _positions(config)",
        _hub("test_a_tokeniser_that_takes_more_than_the_network_is_held_to_it"),
    ),
    Mutant(
        "hf: the commit is not pinned",
        LOOKED_UP,
        "return load(locate, name, asked).parent.name",
        "return asked",
        _hub("test_names_of_the_hub_are_read_from_its_cache_by_commit"),
    ),
)
