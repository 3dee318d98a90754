"""Mutants of bottleneck adapters, of scaling and shifting, and of what both share."""

from __future__ import annotations

from mutant import Mutant

ADAPTER, SSF = "tests/methods/test_adapter.py", "tests/methods/test_ssf.py"
BOTTLENECK, SCALING, ADDED = (
    "training/efficient/bottleneck_adapters.py",
    "training/efficient/scaling.py",
    "training/efficient/added_parameters.py",
)

MUTANTS = (
    Mutant("adapter: default up-projection", BOTTLENECK, "start.zero_()", "start.mul_(1)", ADAPTER),
    Mutant(
        "adapter: residual dropped",
        BOTTLENECK,
        "h = torch.add(h, self.adapter(read), alpha=self._scale)",
        "h = self._scale * self.adapter(read)",
        ADAPTER,
    ),
    Mutant("adapter: scale ignored", BOTTLENECK, ", alpha=self._scale)", ")", ADAPTER),
    Mutant("adapter: no activation", BOTTLENECK, "self._activation(self.down(x))", "self.down(x)", ADAPTER),
    Mutant(
        "adapter: parallel reads the output",
        BOTTLENECK,
        "read = _input(args, kwargs) if self._parallel else h",
        "read = h",
        ADAPTER,
    ),
    Mutant("adapter: attention left out", BOTTLENECK, 'if placement == "houlsby":', "if False:", ADAPTER),
    Mutant(
        "adapter: rest of the tuple lost",
        BOTTLENECK,
        "return h if isinstance(output, Tensor) else type(output)((h, *output[1:]))",
        "return h",
        ADAPTER,
    ),
    Mutant("adapter: width from rounding up", BOTTLENECK, "channels // design.reduction", "-(-channels // 3)", ADAPTER),
    Mutant("adapter: width may be nothing", BOTTLENECK, "width = max(1, ", "width = max(0, ", ADAPTER),
    Mutant("adapter: start from the global generator", BOTTLENECK, ", generator=generator)", ")", ADAPTER),
    Mutant(
        "adapter: a second set of adapters",
        BOTTLENECK,
        "if any(True for _ in _adapted(backbone)):",
        "if False:",
        ADAPTER,
    ),
    Mutant("adapter: mode of the backbone lost", BOTTLENECK, "backbone.train(was_training)", "pass", ADAPTER),
    Mutant("adapter: norms trained unasked", "methods/adapter.py", "if cfg.norms else []", "", ADAPTER),
    Mutant("adapter: batch statistics move", "methods/adapter.py", 'Field("frozen", ', 'Field("train", ', ADAPTER),
    Mutant("adapter: base is trained", ADDED, "model.requires_grad_(False)", "pass", ADAPTER),
    Mutant("adapter: moved statistics not stored", ADDED, "[*trained, *moved]", "trained", ADAPTER),
    Mutant("ssf: gamma starts at zero", SCALING, "values.new_ones(size)", "values.new_zeros(size)", SSF),
    Mutant(
        "ssf: shift is scaled twice",
        SCALING,
        "torch.addcmul(self.beta, self.gamma, own)",
        "self.gamma * (own + self.beta)",
        SSF,
    ),
    Mutant("ssf: bias is not scaled", SCALING, "torch.addcmul(self.beta, self.gamma, own)", "self.beta + own", SSF),
    Mutant("ssf: merged bias follows beta", SCALING, "bias.clone()", "bias", SSF),
    Mutant("ssf: bias is not merged", SCALING, "        if bias is not None:\n", "        if False:\n", SSF),
    Mutant("ssf: packed attention left out", SCALING, "return (len(layer.in_proj_weight),)", "return ()", SSF),
    Mutant("ssf: normalisation left out", SCALING, "return tuple(layer.normalized_shape)", "return ()", SSF),
    Mutant("ssf: idle scales stay", SCALING, "    _drop_idle(backbone, x)\n", "", SSF),
    Mutant(
        "ssf: single precision in mixed",
        SCALING,
        "mixed = torch.is_autocast_enabled(x.device.type)",
        "mixed = False",
        SSF,
    ),
    Mutant("ssf: not merged for predictions", "methods/ssf.py", "    merge_scales(backbone)\n", "", SSF),
    Mutant("ssf: batch statistics move", "methods/ssf.py", 'Field("frozen", ', 'Field("train", ', SSF),
    Mutant(
        "ssf: scales lost on global batch normalisation",
        SCALING,
        "if parallel:",
        "if False:",
        "tests/methods/test_methods_in_parallel.py",
    ),
)
