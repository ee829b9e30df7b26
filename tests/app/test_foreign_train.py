"""``redraft train --method solver --initializer MODEL``: models of ours, other weights, ONNX files."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from painting import Cli, paint
from PIL import Image, ImageOps
from torch import nn

import redraft
from redraft.core import images

TINY = [
    "--set=networks.solver_width=8",
    "--set=train.batch=4",
    "--set=method.langevin.steps=2",
    "--device=cpu",
]


@pytest.fixture(scope="module")
def negatives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 pictures and their negatives."""
    root = tmp_path_factory.mktemp("negatives")
    for i in range(24):
        paint(root / "photos" / f"{i:02d}.png", i)
        (root / "sketches").mkdir(exist_ok=True)
        picture = Image.open(root / "photos" / f"{i:02d}.png")
        ImageOps.invert(picture).save(root / "sketches" / f"{i:02d}.png")
    return root


class Block(nn.Module):
    def __init__(self, n: int) -> None:
        super().__init__()
        pad, conv, norm = nn.ReflectionPad2d(1), nn.Conv2d, nn.InstanceNorm2d
        self.conv_block = nn.Sequential(pad, conv(n, n, 3), norm(n), nn.ReLU(), pad, conv(n, n, 3), norm(n))

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return h + self.conv_block(h)


def cyclegan(w: int = 4) -> nn.Module:
    """CycleGAN's resnet_6blocks, of a smaller width."""
    net = nn.Module()
    norm, relu = nn.InstanceNorm2d, nn.ReLU()
    net.model = nn.Sequential(
        *(nn.ReflectionPad2d(3), nn.Conv2d(3, w, 7), norm(w), relu),
        *(nn.Conv2d(w, 2 * w, 3, 2, 1), norm(2 * w), relu),
        *(nn.Conv2d(2 * w, 4 * w, 3, 2, 1), norm(4 * w), relu),
        *(Block(4 * w) for _ in range(6)),
        *(nn.ConvTranspose2d(4 * w, 2 * w, 3, 2, 1, 1), norm(2 * w), relu),
        *(nn.ConvTranspose2d(2 * w, w, 3, 2, 1, 1), norm(w), relu),
        *(nn.ReflectionPad2d(3), nn.Conv2d(w, 3, 7), nn.Tanh()),
    )
    return net


@pytest.fixture
def latest_net(tmp_path: Path) -> tuple[Path, nn.Module]:
    torch.manual_seed(0)
    net = cyclegan().eval()
    torch.save(net.state_dict(), tmp_path / "latest_net_G.pth")
    return tmp_path / "latest_net_G.pth", net


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_weights_of_other_code_become_a_model_of_their_own(
    cli: Cli, negatives: Path, latest_net: tuple[Path, nn.Module], tmp_path: Path
) -> None:
    file, theirs = latest_net
    wanted, run = digest(file), tmp_path / "run"
    line = ["train", negatives, "--method=solver", f"--initializer={file}", f"--out={run}", *TINY]
    said = cli(*line, "--size=32", "--steps=3")
    assert said.status == 0, said.err
    told = yaml.safe_load((run / "run.yaml").read_text())
    assert told["networks"]["foreign"]["sha256"] == wanted
    assert told["networks"]["foreign"]["origin"] == str(file) and told["task"]["name"] == "pairs"

    file.unlink()  # from here on nothing needs it
    model = redraft.Model.from_pretrained(run, "cpu")
    sketch = negatives / "sketches" / "03.png"
    made = model(str(sketch))
    c = images.to_tensor(images.read(str(sketch)))[None]
    with torch.no_grad():
        torch.testing.assert_close(made.drafts, theirs.model(c), rtol=0, atol=1e-5)
    assert not torch.equal(made.images, made.drafts)

    gone_on = cli("train", negatives, "--resume", f"--out={run}", *TINY, "--method=solver", "--steps=5")
    assert gone_on.status == 0 and "Goes on at step 3" in gone_on.out, gone_on.err
    again = redraft.Model.from_pretrained(run, "cpu")(str(sketch))
    torch.testing.assert_close(again.drafts, made.drafts)
    assert not torch.equal(again.energies, made.energies)


def test_a_resumed_run_does_not_change_its_initializer(
    cli: Cli, negatives: Path, latest_net: tuple[Path, nn.Module], tmp_path: Path
) -> None:
    file, _ = latest_net
    line = ["train", negatives, f"--initializer={file}", f"--out={tmp_path / 'run'}", "--size=32", *TINY]
    assert cli(*line, "--steps=1").status == 0
    torch.save(cyclegan().state_dict(), file)
    said = cli(*line, "--steps=2", "--resume")
    assert said.status == 1 and "has other weights" in said.err
    assert cli(*line[:2], *line[3:], "--steps=2", "--resume").status == 0  # it is not needed any more


def test_teaching_changes_the_initializer(
    cli: Cli, negatives: Path, latest_net: tuple[Path, nn.Module], tmp_path: Path
) -> None:
    file, theirs = latest_net
    line = ["train", negatives, "--method=solver", f"--initializer={file}", "--size=32", *TINY, "--steps=3"]
    assert cli(*line, f"--out={tmp_path / 'run'}", "--set=method.teach=true").status == 0
    taught = redraft.Model.from_pretrained(tmp_path / "run", "cpu").method.initializer.state_dict()
    moved = {k for k, t in theirs.state_dict().items() if not torch.equal(t, taught[k])}
    assert any("weight" in k for k in moved)


def test_a_model_of_ours_keeps_its_task_and_its_drafts(
    cli: Cli, discs: Path, recover_run: Path, tmp_path: Path
) -> None:
    line = ["train", discs, "--method=solver", "--steps=2", *TINY]
    said = cli(*line, f"--initializer={recover_run}", f"--out={tmp_path / 'run'}")
    assert said.status == 0, said.err
    before, after = (redraft.Model.from_pretrained(r, "cpu") for r in (recover_run, tmp_path / "run"))
    assert after.task == before.task and after.run.networks.foreign.sha256 == before.hash
    ball = str(discs / "ball" / "01.png")
    assert torch.equal(after(ball, seed=3).drafts, before(ball, seed=3).drafts)
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    second = cli(*line, f"--initializer={tmp_path / 'run'}", f"--out={tmp_path / 'second'}")  # a solver's own
    assert second.status == 0, second.err
    assert torch.equal(
        redraft.Model.from_pretrained(tmp_path / "second", "cpu")(ball, seed=3).drafts,
        before(ball, seed=3).drafts,
    )


def test_what_does_not_go_together_is_refused_in_a_sentence(
    cli: Cli,
    discs: Path,
    negatives: Path,
    recover_run: Path,
    latest_net: tuple[Path, nn.Module],
    tmp_path: Path,
) -> None:
    file, _ = latest_net
    (tmp_path / "other.txt").write_text("not a model")
    cases = {
        "needs --initializer MODEL": [negatives, "--method=solver"],
        "is for --method solver": [negatives, "--method=ccoopnets", f"--initializer={file}"],
        "There is no file or folder nowhere": [negatives, "--initializer=nowhere"],
        "cannot be read as PyTorch weights": [negatives, f"--initializer={tmp_path / 'other.txt'}"],
        "is not a model": [negatives, f"--initializer={negatives}"],
        "does task recover": [discs, f"--initializer={recover_run}", "--task=none"],
        "makes pictures of 32 px": [discs, f"--initializer={recover_run}", "--size=64"],
        "starts from a category": [discs, f"--initializer={file}"],
        "takes 3 channels and makes 3, and task colour gives 1": [
            discs,
            f"--initializer={file}",
            "--task=colour",
        ],
        "is empty": [negatives, "--initializer="],
        "is what --initializer MODEL sets": [negatives, "--set=networks.initializer=foreign"],
        "another network than the initializer is": [
            negatives,
            f"--initializer={file}",
            "--set=networks.foreign.width=16",
        ],
        "leave out those of the initializer": [
            discs,
            f"--initializer={recover_run}",
            "--set=networks.initializer_width=24",
        ],
    }
    for said, words in cases.items():
        got = cli("train", *words, f"--out={tmp_path / 'run'}", "--steps=1", *TINY)
        assert got.status in (1, 2) and said in got.err.replace("\n", " "), (said, got.err)
        assert not (tmp_path / "run").exists()


def test_an_onnx_file_becomes_a_model_of_its_own(cli: Cli, negatives: Path, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="writing a model takes onnx")
    pytest.importorskip("onnxruntime", reason="running one takes onnxruntime (redraft[onnx])")
    from onnx import helper

    sides = ["n", 3, "h", "w"]
    ends = [helper.make_tensor_value_info(name, 1, sides) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", ends[:1], ends[1:])
    opset = [helper.make_opsetid("", 17)]
    file = tmp_path / "negative.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), file)
    line = ["train", negatives, f"--initializer={file}", "--size=32", *TINY, "--steps=2"]
    said = cli(*line, f"--out={tmp_path / 'run'}")
    assert said.status == 0 and "taken to lie in -1..1" in said.out, said.err
    assert (
        "no weights that could learn" in cli(*line, f"--out={tmp_path / 'b'}", "--set=method.teach=true").err
    )
    file.unlink()
    model, sketch = redraft.Model.from_pretrained(tmp_path / "run", "cpu"), negatives / "sketches" / "03.png"
    c = images.to_tensor(images.read(str(sketch)))[None]
    torch.testing.assert_close(model(str(sketch)).drafts, -c)
