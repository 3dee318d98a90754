"""Mutants of bottleneck adapters, of scaling and shifting, and of what both share."""

from __future__ import annotations

from mutant import Mutant

ADAPTER, SSF = "tests/methods/test_adapter.py", "tests/methods/test_ssf.py"
BOTTLENECK, SCALING, ADDED = (
    "tlbench.training.parameter_efficient.bottleneck_adapters",
    "tlbench.training.parameter_efficient.scaling",
    "tlbench.training.parameter_efficient.added_parameters",
)

MUTANTS = (
    Mutant(
        "adapter: default up-projection",
        f"{BOTTLENECK}:Bottleneck.__init__",
        "parameter.zero_()",
        "parameter.mul_(1)",
        ADAPTER,
    ),
    Mutant(
        "adapter: residual dropped",
        f"{BOTTLENECK}:AdaptedModule.forward",
        "torch.add(h, self.adapter(adapter_input), alpha=self._scale)",
        "self._scale * self.adapter(adapter_input)",
        ADAPTER,
    ),
    Mutant("adapter: scale ignored", f"{BOTTLENECK}:AdaptedModule.forward", "alpha=self._scale", "", ADAPTER),
    Mutant(
        "adapter: no activation",
        f"{BOTTLENECK}:Bottleneck.forward",
        "self._activation(self.down(x))",
        "self.down(x)",
        ADAPTER,
    ),
    Mutant(
        "adapter: parallel reads the output",
        f"{BOTTLENECK}:AdaptedModule.forward",
        "_input(args, kwargs) if self._parallel else h",
        "h",
        ADAPTER,
    ),
    Mutant(
        "adapter: attention left out",
        "tlbench.training.parameter_efficient.bottleneck_adapters:_sites",
        'if placement == "houlsby":',
        "if False:",
        ADAPTER,
    ),
    Mutant(
        "adapter: rest of the tuple lost",
        f"{BOTTLENECK}:AdaptedModule.forward",
        "h if isinstance(output, Tensor) else type(output)((h, *output[1:]))",
        "h",
        ADAPTER,
    ),
    Mutant(
        "adapter: width from rounding up",
        f"{BOTTLENECK}:add_adapters",
        "channels // design.reduction",
        "-(-channels // 3)",
        ADAPTER,
    ),
    Mutant(
        "adapter: width may be nothing",
        f"{BOTTLENECK}:add_adapters",
        "max(1, channels // design.reduction)",
        "max(0, channels // design.reduction)",
        ADAPTER,
    ),
    Mutant(
        "adapter: start from the global generator",
        f"{BOTTLENECK}:Bottleneck.__init__",
        "generator=generator",
        "",
        ADAPTER,
    ),
    Mutant(
        "adapter: a second set of adapters",
        f"{BOTTLENECK}:add_adapters",
        "if any(True for _ in _adapted_modules(backbone)):",
        "if False:",
        ADAPTER,
    ),
    Mutant(
        "adapter: mode of the backbone lost",
        "tlbench.training.parameter_efficient.example_forward:example_features",
        "backbone.train(was_training)",
        "pass",
        ADAPTER,
    ),
    Mutant("adapter: norms trained unasked", "tlbench.methods.adapter:fit", "if cfg.norms else []", "", ADAPTER),
    Mutant(
        "adapter: batch statistics move", "tlbench.methods.adapter:Config.batch_norm", '"frozen"', '"train"', ADAPTER
    ),
    Mutant(
        "adapter: base is trained", f"{ADDED}:train_added_parameters", "model.requires_grad_(False)", "pass", ADAPTER
    ),
    Mutant(
        "adapter: moved statistics not stored",
        f"{ADDED}:train_added_parameters",
        "[*parameters, *changed]",
        "parameters",
        ADAPTER,
    ),
    Mutant(
        "ssf: gamma starts at zero", f"{SCALING}:add_scales", "values.new_ones(size)", "values.new_zeros(size)", SSF
    ),
    Mutant(
        "ssf: shift is scaled twice",
        "tlbench.training.parameter_efficient.scaling:Scaled.effective_bias",
        "torch.addcmul(self.beta, self.gamma, own)",
        "self.gamma * (own + self.beta)",
        SSF,
    ),
    Mutant(
        "ssf: bias is not scaled",
        "tlbench.training.parameter_efficient.scaling:Scaled.effective_bias",
        "torch.addcmul(self.beta, self.gamma, own)",
        "self.beta + own",
        SSF,
    ),
    Mutant("ssf: merged bias follows beta", f"{SCALING}:merge_scales", "bias.clone()", "bias", SSF),
    Mutant("ssf: bias is not merged", f"{SCALING}:merge_scales", "if bias is not None:", "if False:", SSF),
    Mutant(
        "ssf: packed attention left out",
        "tlbench.training.parameter_efficient.scaling:_scale_shape",
        "len(layer.in_proj_weight)",
        "",
        SSF,
    ),
    Mutant(
        "ssf: normalisation left out",
        "tlbench.training.parameter_efficient.scaling:_scale_shape",
        "tuple(layer.normalized_shape)",
        "()",
        SSF,
    ),
    Mutant("ssf: idle scales stay", f"{SCALING}:add_scales", "_remove_unused(backbone, x)", "", SSF),
    Mutant(
        "ssf: single precision in mixed",
        f"{SCALING}:ScaledLinear.forward",
        "torch.is_autocast_enabled(x.device.type)",
        "False",
        SSF,
    ),
    Mutant("ssf: not merged for predictions", "tlbench.methods.ssf:fit", "merge_scales(backbone)", "", SSF),
    Mutant("ssf: batch statistics move", "tlbench.methods.ssf:Config.batch_norm", '"frozen"', '"train"', SSF),
    Mutant(
        "ssf: scales lost on global batch normalisation",
        f"{SCALING}:add_scales",
        "if distributed:",
        "if False:",
        "tests/methods/test_methods_in_parallel.py",
    ),
)
