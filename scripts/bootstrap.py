#!/usr/bin/env python3
"""Set up .venv and install redraft into it: python3 scripts/bootstrap.py [extra ...]

Needs nothing but Python. PyTorch is chosen in this order:
  1. the one that the environment, or the Python that runs this, has already;
  2. a wheel in a folder that pip's own configuration names (find-links);
  3. the build that suits this machine (CPU, or the CUDA of its driver), as uv finds it.
NO_UV=1 installs with pip alone. VENV=path puts the environment elsewhere. A second call with
nothing new to install returns at once.
"""

from __future__ import annotations

import ast
import compileall
import hashlib
import importlib.metadata
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = Path(os.environ.get("VENV") or ".venv")
VENV = VENV if VENV.is_absolute() else ROOT / VENV
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
PINS = ROOT / "constraints.txt"
LOG = VENV / "setup.log"
OLDEST_PYTHON, OLDEST_TORCH = (3, 11), (2, 6)

CAUSES = {  # what an installer says -> what to do about it
    "no space left": "The disk is full: about 2 GB are needed.",
    "permission denied": "A file could not be written: check who owns this folder.",
    "resolve": "The package index could not be reached: check the network or the proxy settings.",
    "connect": "The package index could not be reached: check the network or the proxy settings.",
    "timed out": "The package index did not answer in time: try again.",
    "certificate": "The package index's certificate was refused: check the proxy settings.",
    "no solution found": "No set of package versions fits this Python and this system.",
    "no matching distribution": "No set of package versions fits this Python and this system.",
}


def main(extras: list[str]) -> None:
    if sys.version_info < OLDEST_PYTHON:
        wanted = ".".join(map(str, OLDEST_PYTHON))
        sys.exit(
            f"[setup] Python {wanted} or newer is needed; this is {sys.version.split()[0]}. "
            f"Name another one: make setup PYTHON=python{wanted}"
        )
    stamp = VENV / f".installed-{'-'.join(sorted(extras)) or 'core'}"
    if PYTHON.exists() and stamp.exists() and stamp.read_text() == fingerprint():
        return
    create()
    install(extras)
    # An editable install is not compiled by the installer, nor ever where PYTHONDONTWRITEBYTECODE is set.
    compileall.compile_dir(ROOT / "src", quiet=2)
    stamp.write_text(fingerprint())


def fingerprint() -> str:
    """Changes with whatever decides what is installed."""
    files = (ROOT / "pyproject.toml").read_bytes() + PINS.read_bytes()
    return hashlib.sha256(files + sys.version.encode()).hexdigest()


def create() -> None:
    if PYTHON.exists():
        return
    print(f"[setup] making {VENV}", flush=True)
    try:
        venv.create(VENV, with_pip=True, clear=True, system_site_packages=system_torch())
    except (subprocess.CalledProcessError, ImportError):
        sys.exit(
            "[setup] This Python cannot make environments: install its venv package "
            "(Debian, Ubuntu: apt install python3-venv) and try again."
        )
    except OSError as error:
        sys.exit(f"[setup] {VENV} could not be made: {error.strerror}.")


def system_torch() -> bool:
    """Has the Python that runs this a torch that is new enough? Clusters and containers often do."""
    if sys.prefix != sys.base_prefix:
        return False  # an environment cannot lend its packages to another
    try:
        version = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return False
    return tuple(int(part) for part in version.split(".")[:2]) >= OLDEST_TORCH


def install(extras: list[str]) -> None:
    what = f"{ROOT}[{','.join(extras)}]" if extras else str(ROOT)
    torch = output("-c", "import importlib.metadata as m; print(m.version('torch'))")
    links = [d for d in configured("find-links").split() if Path(d).is_dir()]
    wheel = any(list(Path(d).glob("torch-*.whl")) for d in links)
    pins = PINS
    if torch:
        pins = VENV / "constraints.txt"
        pins.write_text(f"torch=={torch}\n")
    origin = f"{torch}, kept" if torch else "local wheel" if wheel else "what suits this machine"
    print(f"[setup] installing redraft{what.removeprefix(str(ROOT))} (torch: {origin})", flush=True)

    LOG.write_text("")
    common = ["-q", "-c", str(pins), "-e", what]
    # uv does not see the packages that an environment borrows, and would install torch again.
    borrowed = "include-system-site-packages = true" in (VENV / "pyvenv.cfg").read_text()
    if not os.environ.get("NO_UV") and not borrowed and have_uv():
        folders = [word for d in links for word in ("--find-links", d)]
        env = {} if torch or wheel else {"UV_TORCH_BACKEND": "auto"}
        if certificates := configured("cert"):
            env["SSL_CERT_FILE"] = certificates
        uv = ["uv", "pip", "install", "--compile-bytecode", "--python", str(PYTHON)]
        if run(*uv, *folders, *common, **env):
            return
        print("[setup] uv did not manage; trying pip", flush=True)
    if not run("pip", "install", *common):
        sys.exit(f"[setup] {cause()} What the installer said: {LOG}")


def configured(name: str) -> str:
    """A setting of pip's, from its files or the environment; uv reads neither."""
    for place in (":env:", "install", "global"):
        for line in output("-m", "pip", "config", "list").splitlines():
            key, _, value = line.partition("=")
            if key == f"{place}.{name}":
                return ast.literal_eval(value)
    return ""


def have_uv() -> bool:
    return bool(output("-m", "uv", "--version")) or run("pip", "install", "-q", "uv")


def run(*module: str, **env: str) -> bool:
    """``python -m module ...`` inside the environment; what it says goes to the log, not the screen."""
    settings = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", **os.environ, **env}
    with LOG.open("a") as log:
        done = subprocess.run(
            [PYTHON, "-m", *module],
            env=settings,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    return done.returncode == 0


def output(*arguments: str) -> str:
    """What the environment's Python prints; empty when it fails."""
    done = subprocess.run([PYTHON, *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def cause() -> str:
    said = LOG.read_text(errors="replace").lower()
    return next((do for sign, do in CAUSES.items() if sign in said), "The packages could not be installed.")


if __name__ == "__main__":
    main(sys.argv[1:])
