"""Finds the proofs: one file a rule, `dbsNNN.py`, beside this one. Importing one runs nothing."""

from __future__ import annotations

import importlib
import pkgutil
import re
from functools import cache
from pathlib import Path

import dbsafety.proofs as _package
from dbsafety.proofs.proof import ENGINES, Proof
from dbsafety.rules.rule import Rule

_FILE_NAME = re.compile(r"dbs\d{3}")


@cache
def all_proofs() -> tuple[str, ...]:
    """The codes that have a proof file, sorted."""
    names = (info.name for info in pkgutil.iter_modules(_package.__path__))
    return tuple(sorted(name.upper() for name in names if _FILE_NAME.fullmatch(name)))


def owes_proof(rule: Rule) -> bool:
    """Whether a rule needs a proof: all do but the tool's own codes, which speak about no driver."""
    return bool(rule.drivers)


def proof_of(code: str) -> Proof | None:
    """The proof of a rule, or None. Raises TypeError when the file does not have the shape of one."""
    if code not in all_proofs():
        return None
    module = importlib.import_module(f"{_package.__name__}.{code.lower()}")
    proof = getattr(module, "PROOF", None)
    shaped = callable(getattr(module, "failing", None)) and callable(getattr(module, "happy", None))
    if not isinstance(proof, Proof) or not shaped:
        raise TypeError(f"{module.__file__}: a proof file needs PROOF, of type Proof, failing(stage) and happy(stage)")
    if not set(proof.drivers) <= set(ENGINES) or proof.bad == proof.good:
        raise TypeError(f"{module.__file__}: drivers must be some of {', '.join(ENGINES)}, and bad differ from good")
    return proof


def script_of(code: str) -> Path:
    """The file of a proof."""
    return Path(_package.__path__[0]).resolve() / f"{code.lower()}.py"
