"""Mutants of texts: tokenisers, token ids, the encoders, and who reads what."""

from __future__ import annotations

from mutant import Mutant

BACKBONE, ENCODER, FAMILY = (
    "tlbench.backbones.backbone",
    "tlbench.backbones.transformer_encoder",
    "tlbench.backbones.families.text_encoder",
)
SOURCE, TOKENIZER, TOKENS = "tlbench.data.sources.texts", "tlbench.data.tokenizer", "tlbench.data.tokenized"
HUB, LOOKED_UP = "tlbench.backbones.families.hf", "tlbench.backbones.huggingface_files"
BODY = "tlbench.backbones.huggingface_body"
ADAPTERS = "tlbench.training.parameter_efficient.bottleneck_adapters"
READING, CACHE, COLUMNS = "tlbench.worker.text_reading", "tlbench.worker.cache", "tlbench.worker.paired_tokens"
PREFIX = "tlbench.training.frozen_prefix"

NETS, TRAINED = "tests/backbones/test_text_encoder.py", "tests/data/test_tokenizer.py"
OWN_TEXTS = "tests/data/test_texts.py::test_mistakes_are_named_with_file_and_line"
BOOKS = "tests/data/test_texts.py::test_texts_may_be_as_long_as_books"
FILES, KEPT = "tests/data/test_tokenized.py", "tests/training/test_text_prefix.py"


def _hub(test: str) -> str:
    return f"tests/backbones/test_huggingface.py::{test}"


def _cells(test: str) -> str:
    return f"tests/worker/test_text_reading.py::{test}"


MUTANTS = (
    Mutant(
        "bag of words: words of the fold that is scored",
        "tlbench.training.bag_of_words:_parts",
        "where(task.folds != each)",
        "(texts, labels)",
        "tests/methods/test_tfidf.py",
    ),
    Mutant(
        "bag of words: C by accuracy",
        "tlbench.training.bag_of_words:fit_bag_of_words",
        "by_metric if kind.classifier == 'svm' else by_likelihood",
        "by_metric",
        "tests/methods/test_tfidf.py",
    ),
    Mutant(
        "bag of words: counts in the place of TF-IDF",
        "tlbench.training.bag_of_words:BagOfWords._vectorizer",
        "TfidfVectorizer if self.weighting == 'tfidf' else CountVectorizer",
        "CountVectorizer",
        "tests/methods/test_tfidf.py",
    ),
    Mutant(
        "bag of words: a row for each backbone",
        "tlbench.suite.expand:_settings",
        "[candidate for candidate in candidates if candidate.declared.constants.BACKBONE]",
        "list(candidates)",
        "tests/methods/test_tfidf.py",
    ),
    Mutant(
        "bag of words: a class without examples is answered",
        "tlbench.training.bag_of_words:TextPredictor.logits",
        "- _UNSEEN",
        "+ _UNSEEN",
        "tests/methods/test_tfidf.py",
    ),
    Mutant("text: ignored padding mask", f"{ENCODER}:Attention.forward", "real[:, None, None, :]", "None", NETS),
    Mutant(
        "text: pads pooled", f"{ENCODER}:Encoder.forward", "is_real(h)[..., None]", "torch.ones_like(h[..., :1])", NETS
    ),
    Mutant("text: pads counted in the mean", f"{ENCODER}:Encoder.forward", "real.sum(1)", "real.shape[1]", NETS),
    Mutant("text: states of padding stay", f"{ENCODER}:Block.forward", "h * real[..., None]", "h", NETS),
    Mutant("text: no positions", f"{ENCODER}:Stem.forward", "+ self.positions.weight[:ids.shape[1]]", "", NETS),
    Mutant("text: attention without its norm", f"{ENCODER}:Block.forward", "self.norm1(h)", "h", NETS),
    Mutant(
        "text: no residual", f"{ENCODER}:Block.forward", "h + self.mlp(self.norm2(h))", "self.mlp(self.norm2(h))", NETS
    ),
    Mutant(
        "text: states without the last norm",
        f"{ENCODER}:Encoder.states",
        "self.norm(self._run(ids))",
        "self._run(ids)",
        NETS,
    ),
    Mutant("text: the last token for cls", f"{ENCODER}:Encoder.forward", "z[:, 0]", "z[:, -1]", NETS),
    Mutant("text: wide initial weights", f"{ENCODER}:_SPREAD", "0.02", "0.04", NETS),
    Mutant("text: dropout in evaluation", f"{ENCODER}:Attention.forward", "if self.training else 0.0", "", NETS),
    Mutant(
        "text: trimming cuts tokens", f"{BACKBONE}:round_length", "-(-length // _MULTIPLE)", "length // _MULTIPLE", NETS
    ),
    Mutant(
        "text: nothing is trimmed",
        f"{BACKBONE}:Trim.forward",
        "round_length(int((ids != self.pad).sum(1).amax()))",
        "10 * round_length(int((ids != self.pad).sum(1).amax()))",
        NETS,
    ),
    Mutant(
        "text: tokeniser options not in the recipe",
        f"{FAMILY}:describe",
        '"kind": options.tokenizer',
        '"kind": "bpe"',
        NETS,
    ),
    Mutant("text: a file's tokeniser may be chosen", f"{FAMILY}:describe", "if chosen is not None:", "if False:", NETS),
    Mutant(
        "text: WordPiece numbered by a hash table",
        f"{TOKENIZER}:_train_wordpiece",
        "[*SPECIAL, *inside]",
        "list(SPECIAL)",
        f"{TRAINED}::test_the_same_texts_give_the_same_bytes_in_any_order_and_process",
    ),
    Mutant(
        "text: texts spell special tokens", f"{TOKENIZER}:load", "model.encode_special_tokens = True", "pass", TRAINED
    ),
    Mutant("text: no ends", f"{TOKENIZER}:train", 'single="[CLS] $A [SEP]"', 'single="$A"', TRAINED),
    Mutant(
        "text: padded with zero whatever the id",
        f"{TOKENIZER}:encode",
        "pad",
        "0",
        TRAINED,
    ),
    Mutant("text: the last chunk is lost", f"{TOKENIZER}:_chunks", ("if chunk:\n    yield chunk"), "", TRAINED),
    Mutant(
        "text: only some bytes are known",
        f"{TOKENIZER}:_train_bpe",
        "initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())",
        "",
        TRAINED,
    ),
    Mutant("text: capitals stay", f"{TOKENIZER}:_train_bpe", "if design.lowercase:", "if False:", TRAINED),
    Mutant(
        "text: too large vocabularies pass",
        f"{TOKENIZER}:train",
        "if tokenizer.get_vocab_size() > design.size:",
        "if False:",
        TRAINED,
    ),
    Mutant(
        "text: lengths share ids",
        f"{TOKENS}:tokenize",
        "[VERSION, tokenizer, dataset.info.fingerprint, length, pad]",
        "[VERSION, tokenizer, dataset.info.fingerprint, pad]",
        FILES,
    ),
    Mutant(
        "text: tokenisers share ids",
        f"{TOKENS}:tokenize",
        "[VERSION, tokenizer, dataset.info.fingerprint, length, pad]",
        "[VERSION, dataset.info.fingerprint, length, pad]",
        FILES,
    ),
    Mutant(
        "text: tokeniser sees test texts",
        f"{READING}:training_rows",
        "np.isin(dataset.part, (TRAIN, SOURCE)) & np.isin(dataset.y, classes)",
        "np.isin(dataset.y, classes)",
        _cells("test_a_tokeniser_has_seen_no_test_text"),
    ),
    Mutant(
        "text: tokeniser sees classes kept apart",
        f"{READING}:training_rows",
        "& np.isin(dataset.y, classes)",
        "",
        _cells("test_the_rows_it_learns_from"),
    ),
    Mutant(
        "text: tokeniser of episodes sees test classes",
        f"{READING}:_trainable_classes",
        "if episodic:",
        "if False:",
        _cells("test_where_classes_are_kept_apart_it_has_seen_training_classes_only"),
    ),
    Mutant(
        "text: pre-trained weights read with the target's tokeniser",
        f"{READING}:tokenizer_for",
        "if choice.pretrain is not None:",
        "if False:",
        _cells("test_weights_carry_the_tokeniser_of_the_first_corpus_through_every_further_run"),
    ),
    Mutant(
        "text: files of weights read with the target's tokeniser",
        f"{READING}:tokenizer_for",
        "if choice.weights_file is not None:",
        "if False:",
        _cells("test_a_file_of_weights_is_read_with_its_own_tokeniser_and_refused_without"),
    ),
    Mutant(
        "text: any tokeniser fits any network",
        f"{READING}:read_texts",
        'not special.issuperset(vocabulary["special"])',
        "",
        _cells("test_a_tokeniser_that_is_not_the_network_s_is_refused"),
    ),
    Mutant(
        "text: unknown tokens are not told",
        f"{READING}:read_texts",
        "if share <= _UNKNOWN:",
        "if True:",
        _cells("test_a_note_says_that_a_tokeniser_does_not_know_the_texts"),
    ),
    Mutant(
        "text: the unknown is no piece of a text",
        f"{READING}:unknown_share",
        "np.setdiff1d(special, unknown)",
        "special",
        _cells("test_the_share_of_unknown_tokens_is_that_of_the_pieces_of_texts"),
    ),
    Mutant(
        "text: padding counts as known",
        f"{READING}:unknown_share",
        "counts[pieces]",
        "counts",
        _cells("test_the_share_of_unknown_tokens_is_that_of_the_pieces_of_texts"),
    ),
    Mutant(
        "text: the tokeniser of a later corpus is named",
        f"{READING}:_origin",
        "choice.pretrain.dataset",
        "dataset",
        _cells("test_a_note_says_that_a_tokeniser_does_not_know_the_texts"),
    ),
    Mutant(
        "text: notes of a reading are lost",
        "tlbench.worker.fit_cell:_fit",
        "*inputs.dataset.notes",
        "",
        _cells("test_a_note_says_that_a_tokeniser_does_not_know_the_texts"),
    ),
    Mutant(
        "text: notes of a pre-training are lost",
        "tlbench.worker.fit_cell:_fit",
        "*pretraining_notes(cell.backbone, resources.artifacts)",
        "",
        _cells("test_a_note_says_that_a_tokeniser_does_not_know_the_texts"),
    ),
    Mutant(
        "text: notes of the first pre-training are lost",
        "tlbench.worker.pretrain:_train",
        "*pretraining_notes(run.start, resources.artifacts)",
        "",
        _cells("test_a_note_says_that_a_tokeniser_does_not_know_the_texts"),
    ),
    Mutant(
        "text: what a teacher does not know is not told",
        f"{COLUMNS}:join_tokens",
        "(*student_data.notes, *teacher_data.notes)",
        "student_data.notes",
        _cells("test_a_note_says_that_a_tokeniser_does_not_know_the_texts"),
    ),
    Mutant(
        "texts: half a character passes",
        f"{SOURCE}:_record",
        "_check_whole(line.at, column, value)",
        "",
        OWN_TEXTS,
    ),
    Mutant(
        "texts: long numbers break",
        f"{SOURCE}:_jsonl",
        "except ValueError as error:",
        "except KeyError as error:",
        OWN_TEXTS,
    ),
    Mutant(
        "texts: deep brackets break",
        f"{SOURCE}:_jsonl",
        "except RecursionError as error:",
        "except KeyError as error:",
        OWN_TEXTS,
    ),
    Mutant("texts: books are refused", f"{SOURCE}:_csv", "_LONGEST", "0", BOOKS),
    Mutant(
        "texts: an open quote is sought where the file ends",
        f"{SOURCE}:_csv",
        'f"{path}:{start}: the record that begins here cannot be read: {error} (line {rows.line_num})"',
        'f"{path}:{rows.line_num}: the record that begins here cannot be read: {error} (line {rows.line_num})"',
        OWN_TEXTS,
    ),
    Mutant(
        "texts: the last of two columns counts",
        f"{SOURCE}:_check_header",
        "if header.count(column) > 1:",
        "if False:",
        OWN_TEXTS,
    ),
    Mutant(
        "text: a file without a tokeniser is found out late",
        "tlbench.planning.resolve_backbones:_resolve",
        "read_tokenizer(file, tokenizer(choice.info))",
        "pass",
        _cells("test_a_file_of_weights_is_read_with_its_own_tokeniser_and_refused_without"),
    ),
    Mutant(
        "text: features do not depend on the tokeniser",
        f"{CACHE}:WorkerCache.features",
        "[dataset.tokens] if dataset.tokens else []",
        "[]",
        _cells("test_where_classes_are_kept_apart_it_has_seen_training_classes_only"),
    ),
    Mutant(
        "text: a teacher reads its student's tokens",
        f"{COLUMNS}:join_tokens",
        "if student_data.tokens == teacher_data.tokens:",
        "if True:",
        _cells("test_a_teacher_reads_its_own_tokens_beside_those_of_its_student"),
    ),
    Mutant(
        "text: a teacher's file without its tokeniser",
        "tlbench.worker.teacher:_train",
        "carried(tokenizer)",
        "",
        _cells("test_a_teacher_reads_its_own_tokens_beside_those_of_its_student"),
    ),
    Mutant(
        "text: kept states at the longest text's length",
        f"{PREFIX}:PrefixOutputs.__init__",
        "z.any(-1).sum(1).cpu() if text else None",
        "None",
        KEPT,
    ),
    Mutant(
        "text: a mask from ids goes unnoticed",
        "tlbench.training.frozen_prefix:_probe_inputs",
        "x[0, _PROBE_TOKENS:]",
        "_",
        KEPT,
    ),
    Mutant(
        "text: memory by the first texts",
        f"{PREFIX}:cache_prefix",
        "output[0, 0].numel() * examples[0].shape[-1] if text else output[0].numel()",
        "given[0].numel()",
        KEPT,
    ),
    Mutant("text: pieces of one length only", "tlbench.training.frozen_prefix:_encode_all", "> 1", "> 99", KEPT),
    Mutant(
        "hf: ignored padding mask",
        f"{BODY}:Body.states",
        "(ids != self._pad).long()",
        "None",
        _hub("test_padding_and_the_other_texts_change_no_output"),
    ),
    Mutant(
        "hf: pads pooled",
        f"{BODY}:Body._pooled",
        "ids != self._pad",
        "ids == ids",
        _hub("test_padding_and_the_other_texts_change_no_output"),
    ),
    Mutant(
        "hf: the pooler stays",
        f"{BODY}:Body.__init__",
        "model.pooler = None",
        "pass",
        _hub("test_groups_cover_all_from_stem_to_top_and_nothing_pools"),
    ),
    Mutant(
        "hf: adapters behind BERT's norms",
        "tlbench.training.parameter_efficient.bottleneck_adapters:_sites",
        "pair.attention_end or pair.attention",
        "pair.attention",
        _hub("test_adapters_stand_before_the_sums_and_read_what_sublayers_read"),
    ),
    Mutant(
        "hf: parallel adapters read inside",
        "tlbench.training.parameter_efficient.bottleneck_adapters:_tap_names",
        'if placement != "parallel":',
        "if True:",
        _hub("test_a_parallel_adapter_of_bert_reads_what_the_perceptron_reads"),
    ),
    Mutant(
        "hf: published weights do not matter",
        f"{HUB}:_known",
        "weights_hash(name, folder)",
        '"none"',
        _hub("test_recipes_hold_content_and_no_path"),
    ),
    Mutant(
        "hf: another folder of that name",
        f"{HUB}:_planned",
        'if encoder.content != info.recipe["content"]:',
        "if False:",
        _hub("test_a_folder_that_changed_since_the_plan_is_not_used"),
    ),
    Mutant(
        "hf: weights changed since",
        f"{HUB}:published",
        'folder is not None and weights_hash(info.name, folder) != info.recipe["weights"]["name"]',
        'False and None != info.recipe["weights"]["name"]',
        _hub("test_a_folder_that_changed_since_the_plan_is_not_used"),
    ),
    Mutant(
        "hf: missing weights are drawn",
        f"{HUB}:published",
        "if missing:",
        "if False:",
        _hub("test_a_file_that_lacks_weights_is_refused"),
    ),
    Mutant(
        "hf: decoders pass",
        f"{LOOKED_UP}:_check_encoder",
        "not fits",
        "",
        _hub("test_mistakes_are_named"),
    ),
    Mutant(
        "hf: positions behind the padding forgotten",
        f"{LOOKED_UP}:_positions",
        "most - module.padding_idx - 1",
        "most",
        _hub("test_lengths_are_those_that_network_and_tokeniser_take"),
    ),
    Mutant(
        "hf: positions behind the padding of tables that have none",
        f"{LOOKED_UP}:_positions",
        'name.endswith("position_embeddings")',
        "",
        _hub("test_without_a_limit_of_the_tokeniser_every_position_of_the_network_serves"),
    ),
    Mutant(
        "hf: a tokeniser's limit above the network's",
        f"{LOOKED_UP}:find",
        "min(words.model_max_length, _positions(config))",
        "words.model_max_length if words.model_max_length < 10**6 else _positions(config)",
        _hub("test_a_tokeniser_that_takes_more_than_the_network_is_held_to_it"),
    ),
    Mutant(
        "hf: the commit is not pinned",
        f"{LOOKED_UP}:_commit",
        "load(locate, name, revision_name).parent.name",
        "revision_name",
        _hub("test_names_of_the_hub_are_read_from_its_cache_by_commit"),
    ),
)
