"""Builds the distribution and installs it into environments of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.harness.modules import ROOT

_SCRIPTS = "Scripts" if os.name == "nt" else "bin"


@dataclass(frozen=True, slots=True)
class Ran:
    """A finished program: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


def run(command: Sequence[str | Path], cwd: Path, env: Mapping[str, str] | None = None, text: str = "") -> Ran:
    """Run a program to its end with the current folder off Python's path; `env` is added to the environment.

    `text` is its standard input.
    """
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, "PYTHONSAFEPATH": "1", "PYTHONIOENCODING": "utf-8", "NO_COLOR": "1", **(env or {})},
        input=text,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def must(command: Sequence[str | Path], cwd: Path, env: Mapping[str, str] | None = None) -> Ran:
    """As `run`, for a program that has to end with 0; raises RuntimeError with its output otherwise."""
    done = run(command, cwd, env)
    if done.code:
        raise RuntimeError(f"{command} ended with {done.code}\n{done.out}\n{done.err}")
    return done


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment in `folder`."""

    folder: Path

    def program(self, name: str) -> Path:
        """The path of one of its programs."""
        return self.folder / _SCRIPTS / (name + (".exe" if os.name == "nt" else ""))

    def python(self, *arguments: str | Path, cwd: Path) -> Ran:
        """Run its interpreter."""
        return run([self.program("python"), *arguments], cwd)


OURS = Environment(Path(sys.prefix))
"""The environment the tests run in."""


@dataclass(frozen=True, slots=True)
class Built:
    """The wheel and the source distribution, the wheel built from the latter."""

    wheel: Path
    sdist: Path


def build(into: Path) -> Built:
    """Build both distributions from the work tree."""
    must([sys.executable, "-m", "build", "--no-isolation", "--outdir", into, ROOT], into)
    (wheel,), (sdist,) = into.glob("*.whl"), into.glob("*.tar.gz")
    return Built(wheel, sdist)


def install(wheel: Path, into: Path) -> Environment:
    """A fresh environment that holds this wheel and what it requires, no extras."""
    venv.create(into, with_pip=False, symlinks=os.name != "nt")
    environment = Environment(into)
    python = environment.program("python")
    must([sys.executable, "-m", "pip", "--python", python, "install", "--quiet", wheel], into)
    return environment
