"""Mutants of low-rank adaptation."""

from __future__ import annotations

from mutant import Mutant

METHOD, INTO, LAYERS = "methods/lora.py", "training/efficient/low_rank.py", "training/efficient/low_rank_layers.py"
START, UPDATES, ATTENTION, MERGING, TARGETS = (
    f"tests/methods/test_lora_{subject}.py" for subject in ("start", "updates", "attention", "merging", "targets")
)
METHOD_TESTS = "tests/methods/test_lora.py"

MUTANTS = (
    Mutant("lora: B does not start at zero", INTO, "nn.Parameter(own.new_zeros(", "nn.Parameter(own.new_ones(", START),
    Mutant(
        "lora: A is not scaled by its inputs",
        INTO,
        "a.uniform_(-(columns**-0.5), columns**-0.5, generator=generator)",
        "a.uniform_(-1, 1, generator=generator)",
        START,
    ),
    Mutant(
        "lora: A from the global generator",
        INTO,
        "columns**-0.5, generator=generator)",
        "columns**-0.5)",
        START,
    ),
    Mutant(
        "lora: alpha over the square of the rank",
        LAYERS,
        "math.sqrt(self.rank) if self.rslora else self.rank)",
        "math.sqrt(self.rank) if self.rslora else self.rank**2)",
        UPDATES,
    ),
    Mutant("lora: rslora without the root", LAYERS, "math.sqrt(self.rank) if", "self.rank if", UPDATES),
    Mutant(
        "lora: alpha is not multiplied by the rank",
        METHOD,
        "cfg.alpha_over_rank * cfg.rank",
        "cfg.alpha_over_rank",
        METHOD_TESTS,
    ),
    Mutant(
        "lora: transposed merge",
        LAYERS,
        "torch.addmm(parts[part], b, a, alpha=self.design.scale)",
        "parts[part] + self.design.scale * (b @ a).flatten().view(parts[part].T.shape).T",
        MERGING,
    ),
    Mutant(
        "lora: merge without the factor",
        LAYERS,
        "torch.addmm(parts[part], b, a, alpha=self.design.scale)",
        "torch.addmm(parts[part], b, a)",
        MERGING,
    ),
    Mutant(
        "lora: merging changes the base",
        INTO,
        'layer.register_buffer("merged", layer.weight_now().clone(), persistent=False)',
        "layer._parameters[layer.reads].copy_(layer.weight_now())",
        MERGING,
    ),
    Mutant("lora: merged weights are kept in the state", INTO, ".clone(), persistent=False)", ".clone())", MERGING),
    Mutant("lora: predictions are not merged", METHOD, "    merge_low_rank(backbone)\n", "", METHOD_TESTS),
    Mutant(
        "lora: head frozen",
        "training/efficient/added_parameters.py",
        "    trained = [*added, *model.head.parameters()]\n",
        "    trained = [*added]\n",
        METHOD_TESTS,
    ),
    Mutant(
        "lora: norms trainable",
        METHOD,
        "added.parameters, cfg.lr, task",
        "[*added.parameters, *(p for m in backbone.modules() if 'Norm' in type(m).__name__ for p in m.parameters())],"
        " cfg.lr, task",
        METHOD_TESTS,
    ),
    Mutant("lora: everything else may learn", INTO, "    backbone.requires_grad_(False)\n", "", START),
    Mutant("lora: keys among query and value", METHOD, 'name, at, "qv")', 'name, at, "qkv")', TARGETS),
    Mutant(
        "lora: packed rows head by head taken part by part",
        METHOD,
        "by_head or layer.out_features",
        "layer.out_features",
        TARGETS,
    ),
    Mutant(
        "lora: a target that matches nothing passes", METHOD, "        if not found:\n", "        if False:\n", TARGETS
    ),
    Mutant(
        "lora: a layer that is matched twice passes",
        METHOD,
        "        if twice is not None:\n",
        "        if False:\n",
        TARGETS,
    ),
    Mutant(
        "lora: targets match the end of a word", METHOD, 'f".{name}", f"*.{pattern}"', 'name, f"*{pattern}"', TARGETS
    ),
    Mutant(
        "lora: twice into the same backbone",
        INTO,
        "    if any(True for _ in _layers(backbone)):\n",
        "    if False:\n",
        MERGING,
    ),
    Mutant("lora: what does not act stays in", INTO, "    for name in idle:\n", "    for name in []:\n", START),
    Mutant(
        "lora: the update of a layer that is called is multiplied out",
        LAYERS,
        '        return self.project(x, self._parameters["weight"], self._parameters["bias"])\n',
        '        return linear(x, self.weight, self._parameters["bias"])\n',
        UPDATES,
    ),
    Mutant("lora: dropout in evaluation", LAYERS, " if self.design.dropout and self.training else x", "", UPDATES),
    Mutant("lora: no dropout", LAYERS, "if self.design.dropout and self.training", "if False", UPDATES),
    Mutant(
        "lora: the gradient of the input misses the update",
        LAYERS,
        "g_x if ctx.drops else g_x.addmm_(g_inner, a)",
        "g_x",
        UPDATES,
    ),
    Mutant(
        "lora: the gradient of the input has the update twice under dropout",
        LAYERS,
        "g_x if ctx.drops else g_x.addmm_(g_inner, a)",
        "g_x.addmm_(g_inner, a)",
        UPDATES,
    ),
    Mutant(
        "lora: the gradient of B misses the factor", LAYERS, "strict=True)]).mul_(ctx.scale)", "strict=True)])", UPDATES
    ),
    Mutant(
        "lora: a kernel of A without the stride",
        LAYERS,
        "inner = self._conv_forward(self.seen(x), kernels, None)",
        "inner = conv2d(self.seen(x), kernels)",
        UPDATES,
    ),
    Mutant("lora: attention forgets padding", LAYERS, "    if padding is not None:\n", "    if False:\n", ATTENTION),
    Mutant("lora: attention forgets its mask", LAYERS, "    if mask is not None:\n", "    if False:\n", ATTENTION),
    Mutant("lora: attention drops no weights", LAYERS, "self.dropout if self.training else 0.0", "0.0", ATTENTION),
    Mutant(
        "lora: attention takes the batch for the length",
        LAYERS,
        "if self.batch_first else (2, 1, 3, 0, 4)",
        "if self.batch_first else (2, 0, 3, 1, 4)",
        ATTENTION,
    ),
    Mutant(
        "lora: an attention with weights wanted gives none",
        LAYERS,
        "or need_weights or not usual",
        "or not usual",
        ATTENTION,
    ),
    Mutant(
        "lora: the state shares its tensors",
        INTO,
        "getattr(layer, key).detach().clone()",
        "getattr(layer, key).detach()",
        MERGING,
    ),
    Mutant(
        "lora: loading leaves merged weights",
        INTO,
        "    unmerge_low_rank(backbone)\n    for name, tensor in own",
        "    for name, tensor in own",
        MERGING,
    ),
)
