"""``redraft``: the verbs, and how errors reach a person."""

from __future__ import annotations

import os
import sys

import typer

from redraft.cli import compare, data, demo, evaluate, experts, explain, fuse, generate, methods, train
from redraft.core.errors import RedraftError
from redraft.core.memory import keep_freed_memory

MEMORY = (
    "There is not enough memory; try a smaller --size, --set train.batch=4, or smaller "
    "networks.solver_width and networks.initializer_width."
)
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "cannot allocate memory")

app = typer.Typer(
    name="redraft",
    help="Make pictures from conditions: one network drafts, another revises, each teaches the other. "
    "With --debug, an error shows where it arose; --version says which Redraft this is.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.demo)
app.add_typer(data.app, name="data")
app.command("train")(train.train)
app.command("fuse")(fuse.fuse)
app.command("generate")(generate.generate)
app.command("evaluate")(evaluate.evaluate)
app.command("compare")(compare.compare)
app.command("explain")(explain.explain)
app.command("methods")(methods.methods)
app.command("experts")(experts.experts)


def main() -> None:
    """Run the command line; errors of users become one sentence, ``--debug`` shows where they arose."""
    debug = "--debug" in sys.argv or bool(os.environ.get("REDRAFT_DEBUG"))
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    # read when torch is loaded: threads that spin while they wait make a shared machine three times slower
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    keep_freed_memory()
    if arguments == ["--version"]:
        from redraft import __version__

        print(f"redraft {__version__}")
        raise SystemExit(0)
    try:
        app(arguments)
    except RedraftError as error:
        _leave(str(error), error.exit_status, debug)
    except KeyboardInterrupt:
        _leave("Stopped.", 130, debug)
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        _leave(f"{error.strerror or error}{place}.", 1, debug)
    except MemoryError:
        _leave(MEMORY, 1, debug)
    except Exception as error:
        if any(sign in str(error).lower() for sign in OUT_OF_MEMORY):
            _leave(MEMORY, 1, debug)
        _leave(
            f"Something unforeseen went wrong ({type(error).__name__}: {error}). This is a fault of Redraft; "
            "the same line with --debug shows where.",
            1,
            debug,
        )


def _leave(sentence: str, status: int, debug: bool) -> None:
    if debug:
        import traceback

        traceback.print_exc()
    if os.environ.get("RANK", "0") == "0":  # of several processes one speaks
        print(f"redraft: {sentence}", file=sys.stderr)
    raise SystemExit(status)


if __name__ == "__main__":
    main()
