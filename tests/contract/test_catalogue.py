"""The catalogue of rules: what each code stands for, how bad it is, whether it is on, and that something reports it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from dbsafety.cli.main import main
from dbsafety.rules.registry import rule_of

CATALOGUE = """
    DBS001 syntax-error                      warning on
    DBS002 unused-suppression                warning on
    DBS003 unknown-code                      warning on
    DBS004 analysis-incomplete               info    on
    DBS101 swallowed-error-no-rollback       error   on
    DBS102 statement-in-aborted-transaction  error   on
    DBS103 commit-after-swallowed-error      error   on
    DBS104 commit-in-finally                 error   on
    DBS105 broad-rollback-guard              warning on
    DBS106 rollback-on-unbound-connection    warning on
    DBS107 loop-swallow-no-savepoint         error   on
    DBS108 swallowed-error-keeps-lock        error   on
    DBS109 uncommitted-write                 warning off
    DBS110 rollback-other-connection         error   on
    DBS111 swallowed-in-atomic               error   on
    DBS112 swallowed-in-session              error   on
    DBS113 rollback-is-a-no-op               warning on
    DBS114 cancelled-task-commits            error   on
    DBS201 sqlite-connect-no-timeout         warning on
    DBS202 connect-no-timeout                warning off
    DBS203 with-never-closes                 warning on
    DBS204 connection-leaked-on-error        warning on
    DBS205 pooled-connection-not-returned    warning on
    DBS206 deferred-read-then-write          error   on
    DBS207 sqlite-shared-across-threads      error   on
    DBS208 slow-call-in-transaction          warning off
    DBS209 second-connection-while-dirty     warning off
    DBS301 stale-lastrowid                   error   on
    DBS302 check-then-insert                 warning on
    DBS303 error-matched-by-text             warning off
    DBS304 cte-write-not-in-transaction      warning off
    DBS305 executescript-commits-pending     warning on
    DBS306 unfetched-returning                warning off
    DBS901 or-ignore-hides-constraints       info    off
    DBS902 autocommit-for-multi-statement    info    off
"""
"""Code, name, severity, and whether the rule is on by default. A line here is a promise: none is ever taken out.
A new rule gets its line with the release that brings it."""


def test_every_code_of_the_catalogue_is_there_as_promised(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "--output-format", "json"]) == 0
    shown = {rule["code"]: rule for rule in json.loads(capsys.readouterr().out)}
    promised = {code: rest for code, *rest in map(str.split, CATALOGUE.strip().splitlines())}
    found = {
        code: [shown[code]["slug"], shown[code]["severity"], "on" if shown[code]["default"] else "off"]
        for code in promised
        if code in shown
    }
    assert found == promised
    assert {code: shown[code]["implemented"] for code in promised} == dict.fromkeys(promised, True)


def test_a_rule_of_a_driver_without_a_function_is_not_implemented() -> None:
    module = rule_of("DBS101")
    assert module is not None
    assert module.implemented
    assert not replace(module, check=None).implemented
