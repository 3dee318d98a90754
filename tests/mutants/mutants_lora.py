"""Mutants of low-rank adaptation."""

from __future__ import annotations

from mutant import Mutant

METHOD, INTO, LAYERS = (
    "tlbench.methods.lora",
    "tlbench.training.parameter_efficient.low_rank",
    "tlbench.training.parameter_efficient.low_rank_layers",
)
START, UPDATES, ATTENTION, MERGING, TARGETS = (
    f"tests/methods/test_lora_{subject}.py" for subject in ("start", "updates", "attention", "merging", "targets")
)
METHOD_TESTS = "tests/methods/test_lora.py"

MUTANTS = (
    Mutant(
        "lora: B does not start at zero",
        "tlbench.training.parameter_efficient.low_rank_layers:add_update",
        "own.new_zeros",
        "own.new_ones",
        START,
    ),
    Mutant(
        "lora: A is not scaled by its inputs",
        "tlbench.training.parameter_efficient.low_rank_layers:add_update",
        "a.uniform_(-(columns**-0.5), columns**-0.5, generator=generator)",
        "a.uniform_(-1, 1, generator=generator)",
        START,
    ),
    Mutant(
        "lora: A from the global generator",
        "tlbench.training.parameter_efficient.low_rank_layers:add_update",
        "generator=generator",
        "",
        START,
    ),
    Mutant(
        "lora: alpha over the square of the rank",
        f"{LAYERS}:LowRankDesign.scale",
        "if self.rslora else self.rank",
        "if self.rslora else self.rank ** 2",
        UPDATES,
    ),
    Mutant(
        "lora: rslora without the root", f"{LAYERS}:LowRankDesign.scale", "math.sqrt(self.rank)", "self.rank", UPDATES
    ),
    Mutant(
        "lora: alpha is not multiplied by the rank",
        f"{METHOD}:fit",
        "* cfg.rank",
        "",
        METHOD_TESTS,
    ),
    Mutant(
        "lora: transposed merge",
        f"{LAYERS}:LowRank.effective_weight",
        "torch.addmm(parts[part], b, a, alpha=self.design.scale)",
        "parts[part] + self.design.scale * (b @ a).flatten().view(parts[part].T.shape).T",
        MERGING,
    ),
    Mutant(
        "lora: merge without the factor",
        f"{LAYERS}:LowRank.effective_weight",
        "alpha=self.design.scale",
        "",
        MERGING,
    ),
    Mutant(
        "lora: merging changes the base",
        f"{INTO}:merge_low_rank",
        'layer.register_buffer("merged", layer.effective_weight().clone(), persistent=False)',
        "layer._parameters[layer.reads].copy_(layer.effective_weight())",
        MERGING,
    ),
    Mutant("lora: merged weights are kept in the state", f"{INTO}:merge_low_rank", "persistent=False", "", MERGING),
    Mutant("lora: predictions are not merged", f"{METHOD}:fit", "merge_low_rank(backbone)", "", METHOD_TESTS),
    Mutant(
        "lora: head frozen",
        "tlbench.training.parameter_efficient.added_parameters:train_added_parameters",
        "*model.head.parameters()",
        "",
        METHOD_TESTS,
    ),
    Mutant(
        "lora: norms trainable",
        f"{METHOD}:fit",
        "added.parameters",
        '[*added.parameters, *(p for m in backbone.modules() if "Norm" in type(m).__name__ for p in m.parameters())]',
        METHOD_TESTS,
    ),
    Mutant("lora: everything else may learn", f"{INTO}:add_low_rank", "backbone.requires_grad_(False)", "", START),
    Mutant(
        "lora: keys among query and value",
        f"{METHOD}:choose_layers",
        '_blocks(backbone, name, layer, "qv")',
        '_rows(backbone, name, at, "qkv")',
        TARGETS,
    ),
    Mutant(
        "lora: packed rows head by head taken part by part",
        "tlbench.methods.lora:_blocks",
        "by_head",
        "",
        TARGETS,
    ),
    Mutant(
        "lora: a target that matches nothing passes", f"{METHOD}:_matching", "if not matches:", "if False:", TARGETS
    ),
    Mutant(
        "lora: a layer that is matched twice passes",
        f"{METHOD}:_matching",
        "if twice is not None:",
        "if False:",
        TARGETS,
    ),
    Mutant(
        "lora: targets match the end of a word",
        f"{METHOD}:_matching",
        'fnmatchcase(f".{name}", f"*.{pattern}")',
        'fnmatchcase(name, f"*{pattern}")',
        TARGETS,
    ),
    Mutant(
        "lora: twice into the same backbone",
        f"{INTO}:add_low_rank",
        "if any(True for _ in _updated_layers(backbone)):",
        "if False:",
        MERGING,
    ),
    Mutant("lora: what does not act stays in", f"{INTO}:add_low_rank", "for name in unused:", "for name in []:", START),
    Mutant(
        "lora: the update of a layer that is called is multiplied out",
        f"{LAYERS}:LowRankLinear.forward",
        'self.project(x, self.base("weight"), self._parameters["bias"])',
        'linear(x, self.weight, self._parameters["bias"])',
        UPDATES,
    ),
    Mutant(
        "lora: dropout in evaluation",
        f"{LAYERS}:LowRank.update_input",
        "if self.design.dropout and self.training else x",
        "",
        UPDATES,
    ),
    Mutant(
        "lora: no dropout", f"{LAYERS}:LowRank.update_input", "self.design.dropout and self.training", "False", UPDATES
    ),
    Mutant(
        "lora: the gradient of the input misses the update",
        f"{LAYERS}:_Project.backward",
        "g_x if ctx.drops else g_x.addmm_(g_inner, a)",
        "g_x",
        UPDATES,
    ),
    Mutant(
        "lora: the gradient of the input has the update twice under dropout",
        f"{LAYERS}:_Project.backward",
        "g_x if ctx.drops else g_x.addmm_(g_inner, a)",
        "g_x.addmm_(g_inner, a)",
        UPDATES,
    ),
    Mutant(
        "lora: the gradient of B misses the factor",
        f"{LAYERS}:_Project.backward",
        "torch.cat([part.T @ each for part, each in zip(parts, own, strict=True)]).mul_(ctx.scale)",
        "torch.cat([part.T @ each for part, each in zip(parts, own, strict=True)])",
        UPDATES,
    ),
    Mutant(
        "lora: a kernel of A without the stride",
        f"{LAYERS}:LowRankConv2d.forward",
        "convolve(self.update_input(x), kernels, None)",
        "conv2d(self.seen(x), kernels)",
        UPDATES,
    ),
    Mutant("lora: attention forgets padding", f"{LAYERS}:_mask", "if padding is not None:", "if False:", ATTENTION),
    Mutant("lora: attention forgets its mask", f"{LAYERS}:_mask", "if mask is not None:", "if False:", ATTENTION),
    Mutant(
        "lora: attention drops no weights",
        f"{LAYERS}:LowRankAttention.forward",
        "layer.dropout if self.training else 0.0",
        "0.0",
        ATTENTION,
    ),
    Mutant(
        "lora: attention takes the batch for the length",
        f"{LAYERS}:LowRankAttention.forward",
        "(2, 1, 3, 0, 4)",
        "(2, 0, 3, 1, 4)",
        ATTENTION,
    ),
    Mutant(
        "lora: an attention with weights wanted gives none",
        f"{LAYERS}:LowRankAttention.forward",
        "or need_weights",
        "",
        ATTENTION,
    ),
    Mutant(
        "lora: the state shares its tensors",
        f"{INTO}:low_rank_state",
        ".clone()",
        "",
        MERGING,
    ),
    Mutant(
        "lora: loading leaves merged weights",
        f"{INTO}:load_low_rank_state",
        "unmerge_low_rank(backbone)",
        "",
        MERGING,
    ),
)
