"""Which rules run."""

from __future__ import annotations

import pytest

from dbsafety.config.select import choose, did_you_mean, matching, require_known
from dbsafety.model.faults import ConfigFault

KNOWN = {"DBS001": True, "DBS101": True, "DBS102": True, "DBS201": True, "DBS202": False, "DBS901": False}
DEFAULT = {"DBS001", "DBS101", "DBS102", "DBS201"}


@pytest.mark.parametrize(
    ("select", "extend", "ignore", "chosen"),
    [
        ((), (), (), DEFAULT),
        ((), (), ("DBS1",), {"DBS001", "DBS201"}),
        ((), ("DBS901",), (), DEFAULT | {"DBS901"}),
        (("DBS2",), (), (), {"DBS201", "DBS202"}),
        (("DBS2",), ("DBS101",), (), {"DBS201", "DBS202", "DBS101"}),
        (("ALL",), (), (), set(KNOWN)),
        (("ALL",), (), ("DBS9", "DBS0"), {"DBS101", "DBS102", "DBS201", "DBS202"}),
        (("DBS101",), (), ("DBS1",), {"DBS101"}),
        (("DBS1",), (), ("DBS101",), {"DBS102"}),
        (("DBS1",), (), ("DBS1",), set()),
        ((), ("DBS101",), ("DBS",), {"DBS101"}),
        ((), (), ("ALL",), set()),
    ],
)
def test_choose(select: tuple[str, ...], extend: tuple[str, ...], ignore: tuple[str, ...], chosen: set[str]) -> None:
    assert choose(select, extend, ignore, KNOWN) == chosen


def test_matching() -> None:
    assert matching(["DBS2", "DBS101"], KNOWN) == {"DBS101", "DBS201", "DBS202"}


@pytest.mark.parametrize(
    ("selector", "message"),
    [
        ("DBS1011", "--select: no rule has the code 'DBS1011'; did you mean 'DBS101'?"),
        ("dbs101", "--select: no rule has the code 'dbs101'; did you mean 'DBS101'?"),
        ("E501", "--select: no rule has the code 'E501'"),
        ("", "--select: no rule has the code ''"),
        ("DBS111", "--select: DBS111 is retired: see DBS101"),
    ],
)
def test_unknown_codes(selector: str, message: str) -> None:
    with pytest.raises(ConfigFault) as caught:
        require_known(["DBS1", selector], KNOWN, {"DBS111": "see DBS101"}, "--select")

    assert str(caught.value) == message


def test_beginnings_and_all_are_known() -> None:
    require_known(["ALL", "D", "DBS", "DBS1", "DBS101"], KNOWN, {}, "--select")


def test_the_code_that_is_meant() -> None:
    codes = ("DBS101", "DBS108", "DBS111", "DBS112")
    for word in ("DBS1O1", "dbs1o1", "DBSl01", "DBS10I", "DBS1001", "dbs101"):
        assert did_you_mean(word, codes) == "; did you mean 'DBS101'?"
    assert did_you_mean("DBS121", ("DBS112", "DBS221")) == "; did you mean 'DBS221'?"
    assert did_you_mean("nothing", ("DBS101",)) == ""
