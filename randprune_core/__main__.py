"""The command line: `python -m randprune_core {train,sweep,status,book,notebook,check}`.

Bad input is answered with one line on standard error and exit status 2; a run or sweep in which
something failed ends with exit status 1.
"""

import argparse
import dataclasses
import os
import signal
import sys
import warnings
from contextlib import suppress

from .config import RATIOS, RunConfig, check_sparsity, run_id
from .datasets import DATASETS

_HELP = {
    "dataset": "digits, cifar10, cifar100 or imagenet",
    "variant": "copy of the data: auto (the one at hand), original, jpeg75 or 8 hex digits",
    "model": "resnet-DEPTH, resnet-DEPTH-FILTERS, vgg-11/13/16/19, ...",
    "ratio": f"layer-wise sparsity ratio: {', '.join(RATIOS)}",
    "sparsity": "fraction of the weights that are zero, in [0, 1)",
    "mask_source": "random, or own for SNIP's and GraSP's own mask",
    "granularity": "unstructured, filter, or n:m such as 2:4",
    "train_images": "images to train on (default: all but the validation images)",
    "image_size": "pixels a side, 8, 16 or 32 for CIFAR (default: as the data set has them)",
    "precision": "auto (bfloat16 where it is native), float32 or bfloat16",
}


class _Parser(argparse.ArgumentParser):
    """Says in one line what was wrong, without the usage in front of it."""

    def error(self, message):
        self.exit(2, f"{one_line(f'{self.prog}: {message} (see {self.prog} --help)')}\n")


def one_line(text: object) -> str:
    """A text as one line that a terminal shows as it is: no line ends and no control characters."""
    words = " ".join(str(text).split())
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in words)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="randprune_core", description="Random pruning before training, measured.")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Parser)

    train = commands.add_parser("train", help="train one run, or find its record")
    for field in dataclasses.fields(RunConfig):
        _add_field(train, field)
    train.add_argument("--device", default="auto", help="auto, cpu or cuda")

    sweep = commands.add_parser("sweep", help="train the missing runs of a figure")
    sweep.add_argument("figure", help="figure name, or all (with the data set of the profile)")
    sweep.add_argument("--profile", default="quick", help="quick, mini, cpu or paper")
    _add_grid(sweep)
    sweep.add_argument("--device", default="auto", help="auto, cpu or cuda")
    sweep.add_argument("--workers", type=int, help="runs at once (default: one a core)")
    sweep.add_argument("--time-budget", type=float, help="seconds after which to stop")
    sweep.add_argument("--executor", default="local", help="local, or ray for a cluster")
    sweep.add_argument(
        "--ray-address", default="auto", help="HOST:PORT of the head node, auto or local"
    )
    sweep.add_argument("--gpus-per-run", type=float, help="share of a GPU, with ray (default 0.2)")

    status = commands.add_parser("status", help="what is recorded and what is missing")
    status.add_argument("--json", action="store_true", help="print JSON")

    book = commands.add_parser("book", help="execute the notebooks and build the HTML book")
    book.add_argument("--refresh", action="store_true", help="store new outputs in notebooks/")

    notebook = commands.add_parser("notebook", help="execute one chapter with other parameters")
    notebook.add_argument("name", help="chapter, such as 02_depth")
    notebook.add_argument(
        "-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), dest="parameters"
    )

    commands.add_parser("check", help="check records, stored outputs and figure data")
    return parser


_RECIPE = ("model", "epochs", "batch_size", "lr", "weight_decay")
"""Options that Table 1 sets otherwise for ImageNet (`protocol.imagenet_recipe`)."""

_OPEN = ("variant", "precision", "train_images", "image_size", *_RECIPE)
"""Options that follow data and hardware where they are left out."""


def _add_field(parser, field) -> None:
    option = "--" + field.name.replace("_", "-")
    text = _HELP.get(field.name, f"default {field.default}")
    if field.name in _RECIPE:
        text = f"{text} (for imagenet that of the paper's recipe)"
    if isinstance(field.default, bool):
        parser.add_argument(option, action=argparse.BooleanOptionalAction, default=field.default)
    elif field.name in _OPEN:
        kind = int if field.default is None else type(field.default)
        parser.add_argument(option, type=kind, default=None, help=text)
    else:
        parser.add_argument(option, type=type(field.default), default=field.default, help=text)


def _add_grid(parser) -> None:
    parser.add_argument("--models", nargs="+", help="instead of the figure's own")
    parser.add_argument("--ratios", nargs="+", help="instead of the figure's own")
    parser.add_argument("--sparsities", nargs="+", type=float, help="instead of the figure's own")
    parser.add_argument("--seeds", nargs="+", type=int, help="instead of the figure's own")


def _train(options) -> int:
    from . import paths
    from .sweeps.run import load_or_train

    values = {field.name: getattr(options, field.name) for field in dataclasses.fields(RunConfig)}
    config = _config(values, options.device)
    record = load_or_train(config, device=options.device)
    if record is None:  # the first process of the job has it
        return 0
    test = record["test"]
    print(f"test accuracy {test['accuracy']:.2%}, ECE {test['ece']:.4f}, n = {test['n']}")
    print(paths.record_path(config.dataset, run_id(config)))
    return 0


def _config(values: dict, device: str) -> RunConfig:
    """The config of the options; what was left to choose follows data and hardware."""
    chosen = {name: value for name, value in values.items() if value is not None}
    RunConfig(**{k: v for k, v in chosen.items() if (k, v) not in _LEFT_OPEN})  # errors first
    if chosen["dataset"] == "imagenet":
        from .training.imagenet import complete

        chosen = complete(chosen)
    elif chosen.get("dataset") in DATASETS:
        chosen.setdefault("train_images", DATASETS[chosen["dataset"]].train_images)
    if chosen.get("variant", "auto") == "auto":
        from .data.files import available_variant

        chosen["variant"] = available_variant(chosen["dataset"])
    if values["precision"] in (None, "auto"):
        from .precision import native_precision

        chosen["precision"] = native_precision(device)
    return RunConfig(**chosen)


_LEFT_OPEN = {("variant", "auto"), ("precision", "auto")}


def _sweep(options) -> int:
    from .config import check_name
    from .sweeps.coverage import shown_variant, variant_at_hand
    from .sweeps.grids import PROFILES, dataset_of, figures_at, grid
    from .sweeps.sweep import sweep

    check_name("profile", options.profile, PROFILES)
    for sparsity in options.sparsities or ():
        check_sparsity(sparsity)
    figures, usual = [options.figure], PROFILES[options.profile]["dataset"]
    if options.figure == "all":
        figures = [
            name
            for name in figures_at(options.profile)
            if dataset_of(name, options.profile) == usual
        ]
    at_hand = variant_at_hand(dataset_of(figures[0], options.profile))
    variant = at_hand or shown_variant(figures[0], options.profile)
    configs = {}
    for figure in figures:
        for config in grid(
            figure,
            options.profile,
            models=options.models,
            ratios=options.ratios,
            sparsities=options.sparsities,
            seeds=options.seeds,
            variant=variant,
        ):
            configs[run_id(config)] = config
    report = sweep(
        configs.values(),
        options.executor,
        device=options.device,
        workers=options.workers,
        time_budget=options.time_budget,
        ray_address=options.ray_address,
        gpus_per_run=options.gpus_per_run,
    )
    print(
        f"{report.trained} trained, {report.found} were recorded before, "
        f"{len(report.failed)} failed, {report.unfinished} not finished"
    )
    for name, error in report.failed.items():
        _say(f"failed {name}: {one_line(error)}")
    return 1 if report.failed else 0


def _status(options) -> int:
    from .sweeps.coverage import status

    table = status()
    print(table.to_json(orient="records") if options.json else table.to_string(index=False))
    return 0


def _book(options) -> int:
    from .bookmaking import build

    if options.refresh:
        build.refresh()
        return 0
    print(build.build_book())
    return 0


def _notebook(options) -> int:
    from .bookmaking import build, notebooks

    build.run_notebook(options.name, notebooks.parse_parameters(options.parameters))
    return 0


def _check(options) -> int:
    from .bookmaking.checks import check

    problems = check()
    for problem in problems:
        _say(one_line(problem))
    print(f"{len(problems)} problems")
    return 1 if problems else 0


_COMMANDS = {
    "train": _train,
    "sweep": _sweep,
    "status": _status,
    "book": _book,
    "notebook": _notebook,
    "check": _check,
}
_READING = ("status", "check")
"""Commands that leave everything as it is."""


def _name() -> str:
    """Who speaks: of the processes that `torchrun` starts, which one."""
    rank = os.environ.get("RANK", "0")
    return "randprune_core" if rank == "0" else f"randprune_core, process {rank}"


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    _mend_streams()
    try:
        options = _parser().parse_args(arguments)
        warnings.showwarning = lambda message, *_: _say(f"warning: {one_line(message)}")
        from .paths import check_environment  # which refuses a folder that cannot be

        check_environment()
        if options.command not in _READING:
            from .scratch import remove_leftovers

            remove_leftovers()
        status = _COMMANDS[options.command](options)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # what reads the output has seen enough, as `head` has
        return 128 + signal.SIGPIPE
    except (ValueError, RuntimeError, OSError) as error:
        _say(f"{_name()}: {one_line(_in_words(error))}")
        return 1 if isinstance(error, RuntimeError) else 2
    except MemoryError:
        _say("randprune_core: out of memory; ask for less at once")
        return 1
    except KeyboardInterrupt:
        _say("stopped; the same command goes on from the last full epoch")
        return 130
    finally:
        _let_go(sys.stdout)
        _let_go(sys.stderr)


def _in_words(error: Exception) -> str:
    """What is wrong with which file; a write to a stream names none."""
    from .paths import FULL_DISK

    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    if error.filename is None and error.errno in FULL_DISK:
        return f"standard output: {error.strerror}"
    files = [str(name) for name in (error.filename, error.filename2) if name is not None]
    return ": ".join((*files[-1:], error.strerror))


def _mend_streams() -> None:
    """Standard streams that are closed lead to nothing, and those in ASCII take any letter."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:  # else the next file that is opened would be taken for the stream
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, os.fdopen(number, mode, closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _say(line: str) -> None:
    """A line on standard error, if anything takes it: the exit status says the same."""
    with suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)


def _let_go(stream) -> None:
    """Write what a stream still holds, or forget it: the interpreter would fail on its way out."""
    try:
        stream.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    sys.exit(main())
