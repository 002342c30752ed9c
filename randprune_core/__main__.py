"""The command line: `python -m randprune_core {train,sweep,status,book,notebook,compare,check}`.

Bad input is answered with one line on standard error and exit status 2; a run or sweep in which
something failed ends with exit status 1.
"""

import argparse
import dataclasses
import os
import signal
import sys

from . import __version__, registry
from .config import RATIOS, RunConfig, check_sparsity, run_id
from .devices import environment
from .sweeps.grids import GRIDS
from .sweeps.profiles import PROFILES
from .terminal import flush_streams, in_words, mend_streams, one_line, say, warnings_as_lines

_HELP = {
    "dataset": "digits, cifar10, cifar100, imagenet or one of --import",
    "variant": "copy of the data: auto (the one at hand), original, jpeg75 or 8 hex digits",
    "model": "resnet-DEPTH, resnet-DEPTH-FILTERS, vgg-11/13/16/19, ...",
    "ratio": f"layer-wise sparsity ratio: {', '.join(RATIOS)}",
    "sparsity": "fraction of the weights that are zero, in [0, 1)",
    "mask_source": "random, or own for SNIP's and GraSP's own mask",
    "granularity": "unstructured, filter, or n:m such as 2:4",
    "method": "static (default), set or rigl",
    "when": "before (default), during or after",
    "train_images": "images to train on (default: all but the validation images)",
    "image_size": "pixels a side, 8, 16 or 32 for CIFAR (default: as the data set has them)",
    "precision": "auto (bfloat16 where it is native), float32 or bfloat16",
}


class _Parser(argparse.ArgumentParser):
    """Says in one line what was wrong, without the usage in front of it."""

    def error(self, message):
        self.exit(2, f"{one_line(f'{self.prog}: {message} (see {self.prog} --help)')}\n")


_IMPORT = "run a file that registers ratios, models or data sets; before or after the command"
_FIELDS = [field for field in dataclasses.fields(RunConfig) if field.name != "code"]


def _imports(arguments: list[str] | None) -> tuple[list[str], list[str]]:
    """The files of every `--import`, wherever it stands, and what is left of the arguments."""
    parser = _Parser(prog="randprune_core", add_help=False, allow_abbrev=False)
    parser.add_argument("--import", action="append", default=[], dest="files", metavar="FILE.py")
    found, rest = parser.parse_known_args(arguments)
    return found.files, rest


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="randprune_core", description="Random pruning before training, measured.")
    parser.add_argument("--version", action="version", version=f"randprune_core {__version__}")
    parser.add_argument("--import", metavar="FILE.py", help=_IMPORT)  # `_imports` takes it out
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Parser)

    train = commands.add_parser("train", help="train one run, or find its record")
    for field in _FIELDS:
        _add_field(train, field)
    train.add_argument("--device", default="auto", help="auto, cpu or cuda")
    train.add_argument("--save-weights", metavar="FILE", help="keep the trained network there")

    sweep = commands.add_parser("sweep", help="train the missing runs of a figure")
    figures, profiles = ", ".join(GRIDS), ", ".join(PROFILES)
    sweep.add_argument(
        "figure", help=f"one of {figures}; or all, for those with the data set of the profile"
    )
    sweep.add_argument("--profile", default="quick", help=f"one of {profiles} (default quick)")
    _add_grid(sweep)
    sweep.add_argument("--device", default="auto", help="auto, cpu or cuda")
    sweep.add_argument("--workers", type=int, help="runs at once (default: one a core)")
    sweep.add_argument("--time-budget", type=float, help="seconds after which to stop")
    sweep.add_argument("--executor", default="local", help="local, or ray for a cluster")
    sweep.add_argument(
        "--ray-address", default="auto", help="HOST:PORT of the head node, auto or local"
    )
    sweep.add_argument("--gpus-per-run", type=float, help="share of a GPU, with ray (default 0.2)")
    sweep.add_argument(
        "--dry-run", action="store_true", help="print the plan with expected times, train nothing"
    )

    status = commands.add_parser("status", help="what is recorded and what is missing")
    status.add_argument("--json", action="store_true", help="print JSON")

    book = commands.add_parser("book", help="execute the notebooks and build the HTML book")
    book.add_argument("--refresh", action="store_true", help="store new outputs in notebooks/")

    notebook = commands.add_parser("notebook", help="execute one chapter with other parameters")
    notebook.add_argument("name", help="chapter, such as 01_depth")
    notebook.add_argument(
        "-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), dest="parameters"
    )

    compare = commands.add_parser("compare", help="two re-runs of a chapter side by side")
    for name in ("first", "second"):
        compare.add_argument(
            name, help="folder of a re-run, such as 01_depth/profile=quick, or a chapter's name"
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
    own = "instead of the figure's own"
    parser.add_argument("--models", nargs="+", help=f"{_HELP['model']}; {own}")
    parser.add_argument("--ratios", nargs="+", help=f"{', '.join(RATIOS)}; {own}")
    parser.add_argument("--sparsities", nargs="+", type=float, help=f"numbers in [0, 1); {own}")
    parser.add_argument("--seeds", nargs="+", type=int, help=f"whole numbers; {own}")


def _train(options) -> int:
    from . import paths
    from .sweeps.run import load_or_train

    values = {field.name: getattr(options, field.name) for field in _FIELDS}
    config = _config(values, options.device)
    record = load_or_train(config, device=options.device, save_weights=options.save_weights)
    if record is None:  # the first process of the job has it
        return 0
    test = record["test"]
    print(f"test accuracy {100 * test['accuracy']:.2f} %, ECE {test['ece']:.4f}, n = {test['n']}")
    print(paths.record_path(config.dataset, run_id(config)))
    return 0


def _config(values: dict, device: str) -> RunConfig:
    """The config of the options; what was left to choose follows data and hardware."""
    chosen = {name: value for name, value in values.items() if value is not None}
    RunConfig(**{k: v for k, v in chosen.items() if (k, v) not in _LEFT_OPEN})  # errors first
    if chosen["dataset"] == "imagenet":
        from .training.imagenet import complete

        chosen = complete(chosen)
    if chosen.get("variant", "auto") == "auto":
        from .data.copies import available_variant

        chosen["variant"] = available_variant(chosen["dataset"])
    if values["precision"] in (None, "auto"):
        from .precision import native_precision

        chosen["precision"] = native_precision(device)
    return RunConfig(**chosen)


_LEFT_OPEN = {("variant", "auto"), ("precision", "auto")}


def _sweep(options) -> int:
    from .config import check_name
    from .sweeps.coverage import shown_variant, variant_at_hand
    from .sweeps.grids import dataset_of, figures_at, grid
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
    if options.dry_run:
        return _dry_run(list(configs.values()), options.profile)
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
        say(f"failed {name}: {one_line(error)}")
    return 1 if report.failed else 0


def _dry_run(configs: list[RunConfig], profile: str) -> int:
    from .bookmaking.expected_time import plan_lines
    from .records.table import load_runs
    from .sweeps.coverage import missing
    from .sweeps.plan import in_order

    todo = in_order(missing(configs))
    for line in plan_lines(todo, len(configs) - len(todo), profile, load_runs()):
        print(line)
    return 0


def _status(options) -> int:
    from .sweeps.coverage import status

    table = status()
    print(table.to_json(orient="records") if options.json else table.to_string(index=False))
    return 0


def _book(options) -> int:
    from .paths import check_repository

    check_repository("book")
    from .bookmaking import build

    if options.refresh:
        build.refresh()
        return 0
    print(build.build_book())
    return 0


def _notebook(options) -> int:
    from .paths import check_repository

    check_repository("notebook")
    from .bookmaking import build, notebooks

    build.run_notebook(options.name, notebooks.parse_parameters(options.parameters))
    return 0


def _compare(options) -> int:
    from .paths import check_repository

    check_repository("compare")
    from .bookmaking.compare import compare

    print(compare(options.first, options.second))
    return 0


def _check(options) -> int:
    from .bookmaking.checks import check

    problems = check()
    for problem in problems:
        say(one_line(problem))
    print(f"{len(problems)} problems")
    return 1 if problems else 0


_COMMANDS = {
    "train": _train,
    "sweep": _sweep,
    "status": _status,
    "book": _book,
    "notebook": _notebook,
    "compare": _compare,
    "check": _check,
}
_READING = ("status", "check")
"""Commands that leave everything as it is."""


def _name() -> str:
    """Who speaks: of the processes that `torchrun` starts, which one."""
    rank = os.environ.get("RANK", "0")
    return "randprune_core" if rank == "0" else f"randprune_core, process {rank}"


@warnings_as_lines()
def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    mend_streams()
    try:
        files, rest = _imports(arguments)
        options = _parser().parse_args(rest)
        files += filter(None, [vars(options).pop("import")])  # where it was abbreviated
        from .paths import check_environment  # which refuses a folder that cannot be

        check_environment()
        if options.command not in _READING:
            from .scratch import remove_leftovers

            remove_leftovers()
        for file in files:
            registry.load(file)
        own = {registry.IMPORTS: os.pathsep.join(map(os.path.abspath, files))} if files else {}
        with environment(own):  # for the kernel of a notebook
            status = _COMMANDS[options.command](options)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # what reads the output has seen enough, as `head` has
        return 128 + signal.SIGPIPE
    except (ValueError, RuntimeError, OSError) as error:
        say(f"{_name()}: {one_line(in_words(error))}")
        return 1 if isinstance(error, RuntimeError) else 2
    except MemoryError:
        say("randprune_core: out of memory; ask for less at once")
        return 1
    except KeyboardInterrupt:
        say("stopped; the same command goes on from the last full epoch")
        return 130
    finally:
        flush_streams()


if __name__ == "__main__":
    sys.exit(main())
