"""The whole way on the embedded pictures: train, make pictures, judge them, write a report."""

from __future__ import annotations

from pathlib import Path

from redraft.app.check import open_folder
from redraft.app.evaluate import evaluate
from redraft.app.generate import generate
from redraft.app.refuse import refuse_empty, refuse_length, refuse_seed
from redraft.app.show import say
from redraft.app.train import train


def demo(*, minutes: float = 4.0, out: str = "runs/demo", seed: int = 0) -> Path:
    """Category to picture on the embedded part of Fashion-MNIST; returns the report's path."""
    refuse_length(None, minutes)
    refuse_seed(seed)
    refuse_empty(out=out)
    run = _free(Path(out))
    say(f"Training for {minutes:g} minutes; samples appear in {run}/samples.\n")
    train("fashion", task="category", minutes=minutes, out=str(run), seed=seed)
    say("\nEight pictures of each category:")
    names = list(open_folder("fashion").categories)
    generate(str(run), names, variants=8, seed=seed, out=str(run / "pictures"))
    say("\nJudging them against held-out pictures:")
    evaluate(str(run), "fashion", seed=seed, features="judge")
    report = run / "report" / "index.html"
    say(f"\nOpen {report} in a browser. Next, your own pictures: redraft data check FOLDER")
    return report


def _free(wanted: Path) -> Path:
    """The folder, or the first of FOLDER-2, FOLDER-3, ... that is not there yet."""
    tries = (wanted if i == 1 else wanted.with_name(f"{wanted.name}-{i}") for i in range(1, 10_000))
    return next(place for place in tries if not place.exists())
