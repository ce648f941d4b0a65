"""Runs a proof, each text twice: once with the error and once without; then judges."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dbsafety.model.faults import DbsafetyError
from dbsafety.proofs.proof import Proof, agrees
from dbsafety.proofs.registry import proof_of, script_of
from dbsafety.proofs.variants import EXAMPLE, FIXED, INSTEAD, variants
from dbsafety.rules.registry import RuleModule

FAILING, HAPPY = "failing", "happy"
LIMIT = 120
"""Seconds after which a performance is stopped: something hangs."""
_CHILD = Path(__file__).resolve().with_name("child.py")


class MissingPackages(DbsafetyError):
    """The demonstration needs packages that are not installed."""

    def __init__(self, packages: Sequence[str]) -> None:
        """`packages` are named as pip names them."""
        self.packages = tuple(packages)
        super().__init__(", ".join(packages))


class ProofFault(DbsafetyError):
    """The demonstration could not be run."""


@dataclass(frozen=True, slots=True)
class Bench:
    """Where proofs run: an interpreter, the driver to look through, and for PostgreSQL the DSN of a server.

    The account of the DSN must be allowed to make databases; each performance makes its own and drops it.
    """

    driver: str
    server: str = ""
    python: str = sys.executable


@dataclass(frozen=True, slots=True)
class Seen:
    """What one performance showed: labels and values, and on which versions."""

    values: Mapping[str, str]
    database: str
    python: str


@dataclass(frozen=True, slots=True)
class Demonstration:
    """All performances of a proof: for each text (`example`, `fixed`, `instead`) with the error and without."""

    proof: Proof
    failing: Mapping[str, Seen]
    happy: Mapping[str, Seen]
    is_fixed: bool

    @property
    def bad_fails(self) -> bool:
        """Whether the example fails as the proof states."""
        return agrees(self.failing[EXAMPLE].values, self.proof.bad)

    @property
    def fixed_holds(self) -> bool:
        """Whether neither the fixed example (which the fixer must have changed) nor Use instead fails."""
        stated = {FIXED: self.proof.good, INSTEAD: self.proof.instead or self.proof.good}
        return self.is_fixed and all(
            agrees(seen.values, stated[name]) for name, seen in self.failing.items() if name != EXAMPLE
        )

    @property
    def happy_same(self) -> bool:
        """Whether all texts do the same when there is no error, and do something."""
        first, *others = (seen.values for seen in self.happy.values())
        return bool(first) and all(one == first for one in others)

    @property
    def holds(self) -> bool:
        """All three."""
        return self.bad_fails and self.fixed_holds and self.happy_same


def demonstrate(module: RuleModule, bench: Bench) -> Demonstration:
    """Run the proof of a rule. Raises MissingPackages, and ProofFault when it has none or cannot be driven."""
    code = module.rule.code
    proof = proof_of(code)
    if proof is None:
        raise ProofFault(f"{code} has no demonstration")
    texts = variants(module)
    jobs = [(scenario, name) for scenario in (FAILING, HAPPY) for name in texts]
    with ThreadPoolExecutor(len(jobs)) as pool:
        found = list(pool.map(lambda job: perform(script_of(code), job[0], texts[job[1]], bench), jobs))
    seen = dict(zip(jobs, found, strict=True))
    return Demonstration(
        proof,
        {name: seen[FAILING, name] for name in texts},
        {name: seen[HAPPY, name] for name in texts},
        is_fixed=texts.get(FIXED) != texts[EXAMPLE],
    )


def perform(script: Path, scenario: str, source: str, bench: Bench) -> Seen:
    """Run one function of a proof file on one text. Raises MissingPackages and ProofFault."""
    task = {
        "script": str(script),
        "scenario": scenario,
        "source": source,
        "driver": bench.driver,
        "server": bench.server,
        "name": f"dbsafety_proof_{secrets.token_hex(8)}",
    }
    answer = _answer(task, bench.python)
    if "missing" in answer:
        raise MissingPackages(answer["missing"])
    if "refused" in answer:
        raise ProofFault(answer["refused"])
    if "crash" in answer:
        raise ProofFault(f"{scenario}: {answer['crash']}", str(script))
    return Seen(answer["seen"], answer["database"], answer["python"])


def _answer(task: Mapping[str, str], python: str) -> Mapping[str, Any]:
    """What a child answers; one that dies answers with a crash."""
    try:
        ran = subprocess.run(
            [python, str(_CHILD)],
            input=json.dumps(task),
            env={**os.environ, "PYTHONIOENCODING": "utf-8", "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            encoding="utf-8",
            timeout=LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"crash": f"no end within {LIMIT} s"}
    except OSError as error:
        raise ProofFault(f"cannot start {python}: {error.strerror}") from error
    if ran.returncode or not ran.stdout:
        return {"crash": f"exit code {ran.returncode}: {(ran.stderr.strip().splitlines() or ['no output'])[-1]}"}
    answer: Mapping[str, Any] = json.loads(ran.stdout)
    return answer
