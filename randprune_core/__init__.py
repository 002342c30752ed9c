"""Random pruning before training, measured: masks, ratios, training, metrics and records.

The names below are the public interface. They are resolved on first use (PEP 562), so that
importing the package, or asking the command line for help, does not load PyTorch.
"""

from importlib import import_module
from pathlib import Path

PUBLIC = {
    "metrics.attacks": ("fgsm", "gaussian_noise", "pgd"),
    "config": ("RATIOS", "RunConfig", "run_id"),
    "data.files": ("DataError",),
    "data.loading": ("load_dataset",),
    "pruning.masks": (
        "apply_masks",
        "model_sparsity",
        "random_masks",
        "to_torch_prune",
        "top_k_masks",
    ),
    "metrics.classification": ("calibration_bins", "expected_calibration_error"),
    "metrics.evaluation": ("evaluate", "evaluate_logits"),
    "metrics.gradient": ("gradient_norm",),
    "metrics.ood": ("ood_auroc",),
    "models": ("build_model", "with_normalization"),
    "pruning.layers": ("describe", "maskable_weights"),
    "pruning.prune": ("Pruned", "prune"),
    "pruning.ratios": ("layer_sparsities",),
    "records.table": ("load_runs",),
    "pruning.saliency": ("grasp_scores", "snip_scores"),
    "records.weights": (
        "load_masks",
        "load_network",
        "save_masks",
        "save_network",
        "saved_config",
    ),
    "sweeps.coverage": ("status",),
    "sweeps.grids": ("grid",),
    "sweeps.run": ("load_or_train",),
    "sweeps.sweep": ("sweep",),
    "training.train": ("fit",),
}
_MODULES = {"datasets": "datasets", "models": "models", "ratios": "pruning.ratios"}
"""Modules with a `register`, for names of one's own."""

_MODULE_OF = {name: module for module, names in PUBLIC.items() for name in names}

__all__ = sorted(_MODULE_OF)
# Not a line of code, so that a new version does not make the outputs of the chapters stale.
__version__ = (Path(__file__).parent / "VERSION").read_text(encoding="ascii").strip()


def __getattr__(name: str):
    if name in _MODULE_OF:
        module = import_module(f".{_MODULE_OF[name]}", __name__)
        value = globals()[name] = getattr(module, name)
        return value
    if name in _MODULES:
        return import_module(f".{_MODULES[name]}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__})
