"""What a report shows of a model: pictures, chains, changes, nearest training pictures."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

from redraft.app.against_time import from_noise
from redraft.app.drafting import Drafted
from redraft.app.examples import spread_out
from redraft.app.latent import there_and_back
from redraft.app.model import Model
from redraft.app.show import heat
from redraft.core.types import Pair
from redraft.data import Folder
from redraft.evaluation import report
from redraft.evaluation.memory import low, memory
from redraft.evaluation.table import Scores
from redraft.methods.denoising import Denoising

SHOWN = 12  # held-out pictures
CHAINS = 4  # of which the chain is shown


def page(
    model: Model,
    folder: Folder,
    known: Pair,
    held_out: Pair,
    scores: Scores,
    *,
    refine: int | None,
    seed: int,
    run: Path,
) -> report.Page:
    """The page of ``scores``; ``known`` are training pairs, ``run`` the folder that may hold metrics.csv."""
    rows = spread_out(held_out, min(SHOWN, len(held_out.target)))
    n = len(rows)
    c, real = None if held_out.condition is None else held_out.condition[rows], held_out.target[rows]
    made = model.make(c, list(range(n)), refine=refine, seed=seed)
    few, solved = min(CHAINS, n), model.run.solver_steps > 0
    chain = model.make(
        None if c is None else c[:few], list(range(few)), refine=refine, seed=seed, trace=solved
    )
    given = model.task.show(c, n)
    main: dict[str, Tensor] = {} if given is None else {"given": given}
    if back := there_and_back(model):
        main["given back by the latent"] = back(real)
    main |= {"draft": made.drafts, **({"refined": made.images} if solved else {})}
    if isinstance(model.viewed, Drafted):
        steps = model.method.refine_steps
        main[f"{steps} steps from noise"] = from_noise(model, c, n, seed)
    usual = made.drafts if scores.row == "draft" else made.images
    if scores.paired:
        again = model.make(c, list(range(n, 2 * n)), refine=refine, seed=seed)
        another = again.drafts if scores.row == "draft" else again.images
        main |= {f"{scores.row}, another z": another, "truth" if scores.truth else "real": real}
    changed = torch.stack([heat(d, r) for d, r in zip(made.drafts, made.images, strict=True)])
    change = {"draft": made.drafts, "change": changed, "refined": made.images}
    near = memory(low(usual), low(known.target), low(held_out.target)).index
    energies = None
    if chain.trace_energies is not None:
        energies = torch.cat([chain.trace_energies, chain.energies[None]]).T
    metrics = run / "metrics.csv"
    return report.Page(
        title=f"{model.run.task_name}: {folder.root.name or folder.root}",
        facts=_facts(model, folder, refine),
        scores=scores,
        galleries=[
            report.Gallery(title="Held-out pictures", rows=main, says="None of these were trained on."),
            *([report.Gallery(title="What the solver changed", rows=change)] if solved else []),
            report.Gallery(
                title="Nearest training pictures",
                rows={scores.row: usual, "nearest": known.target[near]},
                says="The training picture that each is most like, pixel by pixel at low resolution.",
            ),
        ],
        trace=torch.stack(chain.trace, 1) if chain.trace else None,
        trace_energies=energies,
        metrics=report.read_metrics(metrics) if metrics.exists() else {},
        command=" ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    )


def _facts(model: Model, folder: Folder, refine: int | None) -> dict[str, str]:
    run, about = model.run, model.about
    steps = "steps of a picture" if isinstance(run.method, Denoising) else "Langevin steps"
    return {
        "data": folder.understood,
        "task": run.task_name,
        "method": f"{run.label}, recipe {run.recipe}",
        "size": f"{run.task.spec.size} px",
        "trained": f"{about.get('steps', '?')} steps, {float(about.get('seconds', 0)) / 60:.1f} minutes",
        **({steps: str(refine)} if run.solver_steps else {}),
        "model": model.hash[:12],
        **({"drafts": model.viewed.says} if isinstance(model.viewed, Drafted) else {}),
    }
