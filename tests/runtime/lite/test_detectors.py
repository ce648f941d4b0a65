from __future__ import annotations

import json
import lzma
import os
import pwd
import shutil
import socket
import stat
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from dbsafety_runtime.orchestrator.detectors import services as services_module
from dbsafety_runtime.orchestrator.detectors.base import Scan, Watch, launch
from dbsafety_runtime.orchestrator.detectors.journal import EXITED, FAILED, SPAWN_FAILED, JournalDetector, text_of
from dbsafety_runtime.orchestrator.detectors.paths import all_path_issues, path_issues
from dbsafety_runtime.orchestrator.detectors.services import (
    ServiceDetector,
    configured_port,
    port_conflicts,
    port_of,
    stale_processes,
)
from dbsafety_runtime.orchestrator.managers import unitfile
from dbsafety_runtime.orchestrator.managers.systemd import SystemdManager, run
from dbsafety_runtime.orchestrator.model import Issue, ManagerError, ServiceConfig
from dbsafety_runtime.orchestrator.processes import descends_from, listeners
from tests.runtime.lite.doubles import FrozenClock, ScriptedManager

# Isolation


class Fine:
    name = "fine"

    def scan(self, cursor: str | None) -> Scan:
        return Scan((Issue("x", "fine", "api", f"from {cursor}"),), "next")


class Raising:
    name = "raising"

    def scan(self, cursor: str | None) -> Scan:
        raise KeyError("surprise")


class Nonsense:
    name = "nonsense"

    def scan(self, cursor: str | None) -> Scan:
        return "what?"


class Hanging:
    name = "hanging"

    def __init__(self) -> None:
        self.leave, self.calls = threading.Event(), 0

    def scan(self, cursor: str | None) -> Scan:
        self.calls += 1
        self.leave.wait(30)
        return Scan(())


def test_a_detector_that_fails_costs_only_its_own_result() -> None:
    hanging = Hanging()
    watch = Watch([Raising(), hanging, Nonsense(), Fine()], limit=0.1)
    looks = {look.name: look for look in watch.look(lambda name: f"cursor of {name}")}
    assert looks["raising"].problem == "KeyError: 'surprise'"
    assert looks["hanging"].problem == "did not answer within 0.1 s"
    assert looks["nonsense"].problem == "answered with str"
    assert looks["fine"].scan == Scan((Issue("x", "fine", "api", "from cursor of fine"),), "next")
    again = {look.name: look for look in watch.look(lambda _name: None)}
    assert again["hanging"].problem == "still hangs from an earlier cycle"
    assert hanging.calls == 1
    hanging.leave.set()


def test_four_issues_are_worked_on_at_the_same_time() -> None:
    barrier = threading.Barrier(4)

    def meet() -> tuple[int, str]:
        return barrier.wait(30), threading.current_thread().name

    results = [future.result(30) for future in [launch(f"worker-{number}", meet) for number in range(4)]]
    assert sorted(order for order, _ in results) == [0, 1, 2, 3]
    assert [name for _, name in results] == ["worker-0", "worker-1", "worker-2", "worker-3"]


# Unit files


UNIT = """\
# a comment
[Unit]
Description=Demo; not a comment
[Service]
Type=notify
User=nobody
WorkingDirectory=/srv/%p/%i
Environment="PORT=8080" MODE=x
ExecStart=-!/opt/app/bin/serve --port ${PORT} \\
# comments may stand inside continued lines
  --name %N
"""


def write(path: Path, text: str, mode: int = 0o644) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def test_units_are_read_as_systemd_reads_them(tmp_path: Path) -> None:
    config = unitfile.load("app@blue.service", write(tmp_path / "app@.service", UNIT))
    assert config.command == "/opt/app/bin/serve --port ${PORT}  --name app@blue"
    assert config.directory == "/srv/app/blue"
    assert (config.user, config.environment) == ("nobody", {"PORT": "8080", "MODE": "x"})
    assert config.problems == ()


def test_drop_ins_override_and_empty_values_reset(tmp_path: Path) -> None:
    fragment = write(tmp_path / "a.service", "[Service]\nExecStart=/old\nWorkingDirectory=-/gone\nUser=x\n")
    early = write(tmp_path / "10.conf", "[Service]\nExecStart=\nExecStart=/early\nUser=\n")
    late = write(tmp_path / "20.conf", "[Service]\nExecStart=\nExecStart=@/new argv0\n")
    config = unitfile.load("a.service", fragment, (early, late))
    assert (config.command, config.user) == ("/new argv0", "")
    assert config.directory == "", "a leading - makes the directory optional"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[Service\nExecStart=/bin/sh\n", "a.service:1: not a setting: [Service"),
        ("[Service]\nnonsense\nExecStart=/bin/sh\n", "a.service:2: not a setting: nonsense"),
        ("ExecStart=/bin/sh\n", "a.service:1: not a setting: ExecStart=/bin/sh"),
        ("[Service]\nUser=x\n", "a.service: no ExecStart"),
        ("[Service]\nExecStart=/bin/sh\nWorkingDirectory=srv\n", "WorkingDirectory=srv is not absolute"),
        ("[Service]\nExecStart=/bin/sh \\", ""),
    ],
)
def test_broken_syntax_is_a_problem_not_a_crash(tmp_path: Path, text: str, problem: str) -> None:
    config = unitfile.load("a.service", write(tmp_path / "a.service", text))
    assert problem in " ".join(config.problems)


def test_what_this_process_may_not_look_at_is_not_called_wrong(tmp_path: Path) -> None:
    """An orchestrator is an ordinary user, services often live in folders of their own."""
    locked = tmp_path / "locked"
    (locked / "in").mkdir(parents=True)
    shared = Path(tempfile.mkdtemp())
    (shared / "program").write_bytes(b"#!/bin/sh")
    (shared / "program").chmod(0o111)
    (shared / "own").mkdir(0o700)
    locked.chmod(0)
    shared.chmod(0o755)
    before = os.geteuid()
    if before == 0:
        os.seteuid(pwd.getpwnam("nobody").pw_uid)
    try:
        found = [
            issue.message
            for command, directory in (
                (f"{locked}/in/run", ""), ("/bin/sh", f"{locked}/in"), (f"/bin/sh {locked}/in/run", ""),
                (f"{shared}/program", ""), ("/bin/sh", f"{shared}/own"),
            )
            for issue in path_issues(ServiceConfig("a", "f", command, directory=directory))
        ]  # fmt: skip
    finally:
        os.seteuid(before)
        shutil.rmtree(shared)
        locked.chmod(0o700)
    assert found == []


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ServiceConfig("a", "f", "/bin/sh", directory="/" + "x" * 300), f"directory /{'x' * 300} does not exist"),
        (ServiceConfig("a", "f", "/" + "x" * 300), f"program /{'x' * 300} does not exist"),
        (ServiceConfig("a", "f", "/bin/sh", user="\u00b2"), "user \u00b2 does not exist"),
        (ServiceConfig("a", "f", "/bin/sh", user="a\0b"), "user a\0b does not exist"),
    ],
)
def test_names_that_nothing_can_have_cost_only_their_own_service(config: ServiceConfig, message: str) -> None:
    assert [issue.message for issue in path_issues(config)] == [message]


def test_a_port_that_is_no_number_is_none() -> None:
    ports = ("\u00b2", "9" * 5000, "80a", "")
    assert [configured_port(ServiceConfig("a", "f", "x", environment={"PORT": port})) for port in ports] == [None] * 4


def test_binary_and_unreadable_units_are_problems(tmp_path: Path) -> None:
    (tmp_path / "b.service").write_bytes(b"\xff\xfe\x00[Service]")
    assert "not UTF-8" in unitfile.load("b.service", tmp_path / "b.service").problems[0]
    assert "does not exist" in unitfile.load("c.service", tmp_path / "c.service").problems[0]


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (os.mkfifo, "no regular file"),
        (lambda file: file.symlink_to("/dev/zero"), "no regular file"),
        (lambda file: file.mkdir(), "no regular file"),
        (lambda file: file.symlink_to(file), "does not exist"),
        (lambda file: file.write_text("[Service]\n" + "x" * 3_000_000), ":2: not a setting: " + "x" * 80),
        (lambda file: file.write_bytes(b"[Service]\nExecStart=/bin/sh\n\0\0\n"), ":3: not a setting: \0\0"),
        (lambda file: file.write_text("[Service]\n" + "[" * 5000), ":2: not a setting: [[["),
    ],
)
def test_one_odd_drop_in_costs_only_its_own_settings(
    tmp_path: Path, make: Callable[[Path], object], problem: str
) -> None:
    """A pipe, an endless device, a folder, a link to itself, 3 MB on one line: none hangs, none hides the rest."""
    fragment = write(tmp_path / "a.service", "[Service]\nExecStart=/bin/sh\nWorkingDirectory=/nowhere\n")
    make(tmp_path / "odd.conf")
    last = write(tmp_path / "z.conf", "[Service]\nUser=root\n")
    config = unitfile.load("a.service", fragment, (tmp_path / "odd.conf", last))
    assert (config.command, config.directory, config.user) == ("/bin/sh", "/nowhere", "root")
    (found,) = config.problems
    assert problem in found


# A tree of units: name -> (what it says, what is wrong with it, what systemd-analyze verify complains about).
TREE: dict[str, tuple[str, list[str], str]] = {
    "sound": ("ExecStart=/bin/sh -c true\nWorkingDirectory=/", [], ""),
    "prefixed": ("ExecStart=-@/bin/sh sh -c true\nWorkingDirectory=-/nowhere", [], ""),
    "specifier": ("ExecStart=/bin/sh -c %n\nWorkingDirectory=/nowhere/%p",
                  ["directory /nowhere/specifier does not exist"], ""),
    "no-folder": ("ExecStart=/bin/sh\nWorkingDirectory=/nowhere", ["directory /nowhere does not exist"], ""),
    "no-program": ("ExecStart=/nowhere/x", ["program /nowhere/x does not exist"], "/nowhere/x is not executable"),
    "relative": ("ExecStart=/bin/sh\nWorkingDirectory=srv",
                 ["{file}: WorkingDirectory=srv is not absolute"], "path is not absolute"),
    "no-user": ("ExecStart=/bin/sh\nUser=no-such-user-here", ["user no-such-user-here does not exist"], ""),
    "no-command": ("User=root", ["{file}: no ExecStart"], "no ExecStart="),
    "garbage": ("ExecStart=/bin/sh\nwhat is this", ["{file}:3: not a setting: what is this"], "Missing '='"),
    "unknown-key": ("ExecStart=/bin/sh\nExecStrat=/bin/sh", [], "'ExecStrat' in section"),
}  # fmt: skip


@pytest.fixture
def tree(tmp_path: Path) -> dict[str, Path]:
    return {name: write(tmp_path / f"{name}.service", f"[Service]\n{text}\n") for name, (text, _, _) in TREE.items()}


def test_a_tree_of_broken_and_healthy_units_gives_exactly_these_findings(tree: dict[str, Path]) -> None:
    """Through the systemd adapter and the detector: one broken unit never hides another."""
    blocks = [f"Id={name}.service\nLoadState=loaded\nActiveState=failed\nUnitFileState=enabled" for name in tree]

    def runner(command: list[str]) -> str:
        if "*.service" in command:
            return "\n\n".join(blocks)
        return f"FragmentPath={tree[command[2].removesuffix('.service')]}\n"

    found: dict[str, list[str]] = {name: [] for name in tree}
    for issue in all_path_issues(SystemdManager(runner)):
        assert issue.type == "path_invalid"
        found[issue.target.removesuffix(".service")].append(issue.message)
    expected = {name: [text.format(file=tree[name]) for text in texts] for name, (_, texts, _) in TREE.items()}
    assert found == expected


@pytest.mark.faults
def test_systemd_s_own_opinion_of_the_same_tree(tree: dict[str, Path]) -> None:
    """`verify` says nothing about a missing directory or user, and only it knows every key: four disagreements."""
    disagreements = set()
    for name, (_, ours, complaint) in TREE.items():
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(tree[name])],
            capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
        assert complaint in done.stderr, name
        if bool(complaint) != bool(ours):
            disagreements.add(name)
    assert disagreements == {"specifier", "no-folder", "no-user", "unknown-key"}


# Paths


def test_what_the_user_of_a_service_may_not_enter_or_run_is_named(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o700)
    script = write(locked / "run", "#!/bin/sh\n", 0o755)
    tmp_path.chmod(0o755)
    problems = [
        issue.message
        for user in ("nobody", "root", "")
        for issue in path_issues(ServiceConfig("a", "f", str(script), directory=str(locked), user=user))
    ]
    outer = next((part for part in reversed(locked.parents) if not part.stat().st_mode & stat.S_IXOTH), locked)
    assert problems == [f"user nobody may not enter {outer}"] * 2
    shared = write(Path(tempfile.mkdtemp()) / "run", "#!/bin/sh\n", 0o744)
    shared.parent.chmod(0o755)
    (issue,) = path_issues(ServiceConfig("a", "f", str(shared), user="nobody"))
    assert issue.message == f"user nobody may not run {shared}"
    shutil.rmtree(shared.parent)


def test_every_path_a_service_needs_is_checked(tmp_path: Path) -> None:
    script = write(tmp_path / "ok", "#!/bin/sh\n", 0o755)
    no_shell = write(tmp_path / "no-shell", "#!/nowhere/python3 -E\n", 0o755)
    not_executable = write(tmp_path / "plain", "#!/bin/sh\n")
    cases = {
        f"{script}": [],
        f"{script} --missing-argument /nowhere": [],
        "sh -c true": [],
        f"{tmp_path}/gone --x": [f"program {tmp_path}/gone does not exist"],
        f"{tmp_path}": [f"program {tmp_path} is not a file"],
        f"{not_executable}": [f"program {not_executable} is not executable"],
        f"{no_shell}": [f"program {no_shell} needs /nowhere/python3, which does not exist"],
        "no-such-program-anywhere": ["program no-such-program-anywhere is not on the path"],
        f"/usr/bin/env {tmp_path}/gone": [],
        f"sh {tmp_path}/gone.sh": [f"script {tmp_path}/gone.sh does not exist"],
        "": [],
    }
    for command, expected in cases.items():
        assert [issue.message for issue in path_issues(ServiceConfig("a", "f", command))] == expected, command


def test_directories_and_users_are_checked(tmp_path: Path) -> None:
    file = write(tmp_path / "file", "")
    messages = [
        issue.message
        for config in (
            ServiceConfig("a", "f", "/bin/sh", directory=f"{tmp_path}/gone"),
            ServiceConfig("a", "f", "/bin/sh", directory=str(file)),
            ServiceConfig("a", "f", "/bin/sh", directory=str(tmp_path), user="root"),
            ServiceConfig("a", "f", "/bin/sh", user="no-such-user-here"),
            ServiceConfig("a", "f", "/bin/sh", problems=("f:1: broken",)),
        )
        for issue in path_issues(config)
    ]
    assert messages == [
        f"directory {tmp_path}/gone does not exist",
        f"{file} is not a directory",
        "user no-such-user-here does not exist",
        "f:1: broken",
    ]


def test_a_stopped_but_wanted_service_is_checked_before_it_is_started(manager: ScriptedManager) -> None:
    manager.add("ready", "running", command="/nowhere/serve")
    manager.add("off", "stopped", command="/nowhere/other")
    manager.table["off"] = manager.table["off"].__class__("off", "stopped", wanted=False)
    (issue,) = all_path_issues(manager)
    assert (issue.target, issue.facts["setting"], issue.facts["path"]) == ("ready", "command", "/nowhere/serve")


# Ports


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("OSError: [Errno 98] Address already in use", 8080),
        ("Error: listen EADDRINUSE: address already in use 0.0.0.0:9090", 9090),
        ("Error: listen EADDRINUSE: address already in use :::3000\n    at Server.setupListenHandle", 3000),
        ("nginx: [emerg] bind() to 0.0.0.0:80 failed (98: Address already in use)", 80),
        ("nginx: [emerg] bind() to [::]:443 failed (98: Address already in use)", 443),
        ("listen tcp :6060: bind: address already in use", 6060),
        ("Error: Os { code: 98, kind: AddrInUse, message: \"Address already in use\" }", 8080),
        ("java.net.BindException: Address already in use (Bind failed)", 8080),
        ("Web server failed to start. Port 8081 was already in use.", 8081),
        ("[ERROR] Can't start server: Bind on TCP/IP port: Address already in use", 8080),
        ("[Errno 98] error while attempting to bind on address ('127.0.0.1', 5000): address already in use", 5000),
    ],
)  # fmt: skip
def test_all_common_wordings_of_a_taken_port(text: str, port: int) -> None:
    assert services_module.PORT_TAKEN.search(text)
    assert port_of(f"before 1234\n{text}\nafter", ServiceConfig("a", "f", "serve --port 8080")) == port


@pytest.mark.parametrize(
    ("command", "port"),
    [
        ("serve --port 8080", 8080), ("serve --port=8081", 8081), ("serve -p 8082", 8082),
        ("serve --bind 0.0.0.0:8083", 8083),
        ("serve --listen=127.0.0.1:8084", 8084), ("serve 8085", 8085), ("serve :8086", 8086), ("serve", None),
        ("serve --port 99999", None), ("serve --workers 4", None), ("serve 'unbalanced --port 8087", 8087),
    ],
)  # fmt: skip
def test_the_configured_port(command: str, port: int | None) -> None:
    assert configured_port(ServiceConfig("a", "f", command)) == port
    assert configured_port(ServiceConfig("a", "f", "x", environment={"PORT": "7"})) == 7


def test_a_conflict_is_believed_only_when_somebody_listens(manager: ScriptedManager) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        manager.add("web", command=f"/bin/sh --port {port}")
        manager.logs["web"] = "OSError: [Errno 98] Address already in use\n"
        assert tuple(port_conflicts(manager)) == ()
        other.listen()
        (issue,) = port_conflicts(manager)
        assert issue.facts["port"] == str(port)
        assert issue.facts["holder_pid"] == str(os.getpid())
        assert listeners()[port] == os.getpid()


def test_descent() -> None:
    assert descends_from(os.getpid(), frozenset({os.getpid()}))
    assert descends_from(os.getpid(), frozenset({os.getppid()}))
    assert not descends_from(os.getppid(), frozenset({os.getpid()}))
    assert not descends_from(2**22 + 1, frozenset({1}))


# States


def test_failed_services_and_spawn_errors(manager: ScriptedManager, clock: FrozenClock) -> None:
    manager.add("ok", "running")
    manager.add("crash")
    manager.logs["crash"] = "Traceback\nValueError: bad value 17\n\n"
    manager.add("spawn", detail="can't find command '/opt/x'")
    issues = ServiceDetector(manager, clock).scan(None).issues
    assert [(issue.target, issue.type, issue.message) for issue in issues] == [
        ("crash", "service_failure", "ended with status 1: ValueError: bad value 17"),
        ("spawn", "spawn_failure", "can't find command '/opt/x'"),
    ]


def test_flapping_is_several_runs_not_several_starts(manager: ScriptedManager, clock: FrozenClock) -> None:
    manager.add("flap", "starting")
    detector = ServiceDetector(manager, clock)
    seen = []
    for state in (
        "starting",
        "running",
        "starting",
        "running",
        "starting",
        "running",
        "running",
        "starting",
        "running",
    ):
        clock.tick(10)
        if state != manager.table["flap"].state:
            manager.set("flap", state)
        seen.append([issue.type for issue in detector.scan(None).issues])
    assert seen == [[]] * 8 + [["flapping"]]
    clock.tick(6)
    assert detector.scan(None).issues == (), "calm again"


def test_a_service_that_is_down_without_an_orphan_is_not_stale(manager: ScriptedManager) -> None:
    manager.add("down")
    manager.add("up", "running")
    manager.owners[os.getpid()] = "up"
    assert tuple(stale_processes(manager)) == ()
    manager.set("up", "failed")
    (issue,) = stale_processes(manager)
    assert (issue.type, issue.target, issue.facts["pid"]) == ("stale_process", "up", str(os.getpid()))


# The journal


def entry(number: int, **fields: object) -> dict[str, object]:
    return {"__CURSOR": f"s=abc;i={number}", "PRIORITY": "6", **fields}


ENTRIES: list[dict[str, object]] = [
    entry(1, MESSAGE="Started api.service", UNIT="api.service", MESSAGE_ID="39f53479d3a045ac8e11786248231fbf"),
    entry(2, MESSAGE="exited", UNIT="api.service", MESSAGE_ID=EXITED, EXIT_STATUS="3"),
    entry(3, MESSAGE="api.service: Failed with result 'exit-code'.", UNIT="api.service", MESSAGE_ID=FAILED,
          UNIT_RESULT="exit-code", INVOCATION_ID="1" * 32),
    entry(4, MESSAGE="w.service: Failed at step CHDIR spawning /opt/old/w: No such file", UNIT="w.service",
          MESSAGE_ID=SPAWN_FAILED, EXECUTABLE="/opt/old/w", ERRNO="2"),
    entry(5, MESSAGE=list(b"bad bytes \xff\xfe end"), _SYSTEMD_UNIT="api.service"),
    entry(6, MESSAGE=None, _SYSTEMD_UNIT="api.service"),
    entry(7, MESSAGE=["two", "values"], _SYSTEMD_UNIT="api.service"),
    entry(8, MESSAGE="x" * 1_100_000, _SYSTEMD_UNIT="api.service"),
    entry(9, MESSAGE="OSError: [Errno 98] Address already in use", _SYSTEMD_UNIT="web.service"),
    entry(10, MESSAGE="a user's shell said EADDRINUSE", _SYSTEMD_UNIT="session-1.scope"),
]  # fmt: skip

FAKE_JOURNALCTL = """#!/usr/bin/env python3
import json, sys
cursor = [a.partition("=")[2] for a in sys.argv if a.startswith("--cursor=")]
lines = open({path!r}, "rb").read().splitlines(keepends=True)
if cursor:
    at = [n for n, line in enumerate(lines) if json.dumps(cursor[0]).encode() in line]
    if not at:
        sys.exit("Failed to seek to cursor: Invalid argument")
    lines = lines[at[0]:]
sys.stdout.buffer.writelines(lines)
if {fails!r}:
    sys.exit("Journal file is truncated, ignoring file.")
"""


@pytest.fixture
def journal(tmp_path: Path, manager: ScriptedManager) -> JournalDetector:
    return recorded(tmp_path, manager, b"".join(json.dumps(item).encode() + b"\n" for item in ENTRIES))


def recorded(tmp_path: Path, manager: ScriptedManager, data: bytes, *, fails: bool = False) -> JournalDetector:
    (tmp_path / "journal.json").write_bytes(data)
    script = FAKE_JOURNALCTL.format(path=str(tmp_path / "journal.json"), fails=fails)
    command = write(tmp_path / "journalctl", script, stat.S_IRWXU)
    manager.add("web.service", command="/bin/sh --port 8080")
    manager.add("api.service")
    return JournalDetector(manager, (str(command),), lambda: {8080: 0})


def test_the_journal_gives_each_failure_once_with_its_facts(journal: JournalDetector) -> None:
    scan = journal.scan(None)
    assert [(issue.type, issue.target) for issue in scan.issues] == [
        ("service_failure", "api.service"),
        ("spawn_failure", "w.service"),
        ("port_conflict", "web.service"),
    ]
    assert scan.issues[0].facts == {"result": "exit-code", "invocation": "1" * 32, "exit_status": "3"}
    assert scan.issues[1].facts == {"path": "/opt/old/w", "errno": "2"}
    assert scan.issues[2].facts["port"] == "8080"
    assert scan.cursor == "s=abc;i=10"
    assert journal.scan(scan.cursor) == Scan((), "s=abc;i=10")
    assert [issue.type for issue in journal.scan("s=abc;i=3").issues] == ["spawn_failure", "port_conflict"]


def test_a_refused_cursor_falls_back_to_the_last_minutes(journal: JournalDetector) -> None:
    assert len(journal.scan("s=rotated;i=99").issues) == 3


def test_half_written_lines_are_counted_and_skipped(tmp_path: Path, manager: ScriptedManager) -> None:
    good = json.dumps(ENTRIES[2]).encode()
    nested = b"[" * 100_000 + b"\n"  # what may follow the first 4 MB of a message
    text = b"\xff\xfe\n" + good[:40] + b"\n" + nested + good + b'\n"text"\n' + good[:10]
    detector = recorded(tmp_path, manager, text)
    assert len(detector.scan(None).issues) == 1
    assert detector.unreadable == 5


def test_a_truncated_file_is_a_failed_look_that_moves_no_cursor(tmp_path: Path, manager: ScriptedManager) -> None:
    with pytest.raises(ManagerError, match="ended with 1: Journal file is truncated"):
        recorded(tmp_path, manager, b"", fails=True).scan(None)


def test_an_entry_beyond_all_limits_is_skipped_and_the_next_ones_are_read(
    tmp_path: Path, manager: ScriptedManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes come as a list of numbers; such a line is longer than what is read at once."""
    monkeypatch.setattr("dbsafety_runtime.orchestrator.detectors.journal.LONGEST_LINE", 2000)
    monkeypatch.setattr("dbsafety_runtime.orchestrator.detectors.journal.MOST_ENTRIES", 2)
    entries = (ENTRIES[0], ENTRIES[1], entry(99, MESSAGE=[0] * 3000), ENTRIES[2], ENTRIES[3])
    detector = recorded(tmp_path, manager, b"".join(json.dumps(item).encode() + b"\n" for item in entries))
    seen, cursor = [], None
    for _ in range(4):
        scan = detector.scan(cursor)
        seen += [issue.target for issue in scan.issues]
        cursor = scan.cursor
    assert (seen, cursor) == (["api.service", "w.service"], "s=abc;i=4")


def test_a_message_of_a_megabyte_is_cut(journal: JournalDetector) -> None:
    longest = max(len(found["MESSAGE"]) for found in journal._entries("--since=-10min"))
    assert longest == 16_384


def unpacked(folder: Path, *names: str) -> Path:
    """Put recorded journal files into a folder: `old` ends where `new` begins, as after a rotation."""
    folder.mkdir()
    for name in names:
        packed = Path(__file__).with_name("journals") / f"{name}.journal.xz"
        (folder / f"{name}.journal").write_bytes(lzma.decompress(packed.read_bytes()))
    return folder


@pytest.mark.faults
def test_real_journal_files_with_every_odd_field(tmp_path: Path, manager: ScriptedManager) -> None:
    """Not UTF-8, NUL, a repeated field, two lines, 1.2 MB: whatever stands beside them is found."""
    manager.add("web.service", command="/bin/sh --port 8080")
    both = unpacked(tmp_path / "both", "old", "new")
    detector = JournalDetector(manager, ("journalctl", "-D", str(both)), lambda: {8080: 0})
    texts = [found["MESSAGE"] for found in detector._entries("--since=2000-01-01")]
    assert [text[:22] for text in texts[2:7]] == [
        "bad bytes \ufffd\ufffd end", "x" * 22, "one\ntwo", "nul \0 inside\nsecond li", "y" * 22,
    ]  # fmt: skip
    first = next(iter(detector._entries("--since=2000-01-01")))["__CURSOR"]
    scan = detector.scan(first)
    assert [(issue.type, issue.target) for issue in scan.issues] == [
        ("service_failure", "api.service"), ("port_conflict", "web.service"), ("spawn_failure", "w.service"),
    ]  # fmt: skip
    assert detector.scan(scan.cursor) == Scan((), scan.cursor)
    assert detector.unreadable == 0


@pytest.mark.faults
def test_no_entry_is_lost_when_the_cursor_was_rotated_away(tmp_path: Path, manager: ScriptedManager) -> None:
    """journalctl --after-cursor would drop the first entry of the new file."""
    old = JournalDetector(manager, ("journalctl", "-D", str(unpacked(tmp_path / "old", "old"))))
    cursor = [found["__CURSOR"] for found in old._entries("--since=2000-01-01")][-1]
    new = JournalDetector(manager, ("journalctl", "-D", str(unpacked(tmp_path / "new", "new"))))
    assert len([found for found in new._entries(f"--cursor={cursor}") if found["__CURSOR"] != cursor]) == 7
    assert [issue.target for issue in new.scan(cursor).issues] == ["w.service"]


@pytest.mark.faults
@pytest.mark.parametrize("kept", [0, 100, 3000, 300_000])
def test_real_truncated_files_are_a_failed_look(tmp_path: Path, manager: ScriptedManager, kept: int) -> None:
    file = unpacked(tmp_path / "cut", "new") / "new.journal"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(ManagerError, match=r"journalctl ended with 1: (.|\n)*No data available"):
        JournalDetector(manager, ("journalctl", "--file", str(file))).scan("s=x;i=1")


@pytest.mark.parametrize(
    ("value", "text"),
    [("a", "a"), (None, ""), (list(b"a\xff"), "a\ufffd"), (["a", None, list(b"b")], "a\n\nb"), (7, ""), ({}, "")],
)  # fmt: skip
def test_fields_of_every_shape_become_text(value: object, text: str) -> None:
    assert text_of(value) == text


# systemd


SHOW = """\
Id=api.service
LoadState=loaded
ActiveState=failed
SubState=failed
Result=exit-code
NRestarts=3
ExecMainStatus=203
MainPID=0
ExecMainStartTimestamp=@1700000000
UnitFileState=enabled

Id=web.service
LoadState=loaded
ActiveState=active
SubState=running
Result=success
NRestarts=0
ExecMainStatus=0
MainPID=77
ExecMainStartTimestamp=@1700000009
UnitFileState=static

Id=gone.service
LoadState=not-found
ActiveState=inactive

Id=off.service
LoadState=loaded
ActiveState=inactive
SubState=dead
Result=success
UnitFileState=disabled
"""


def test_systemctl_show_is_understood(tmp_path: Path) -> None:
    fragment = write(tmp_path / "api.service", "[Service]\nExecStart=/bin/sh\n")
    calls: list[list[str]] = []

    def runner(command: list[str]) -> str:
        calls.append(command)
        if "*.service" in command:
            return SHOW
        return f"FragmentPath={fragment}\nDropInPaths=\n" if command[2:3] == ["api.service"] else "FragmentPath=\n"

    manager = SystemdManager(runner, tmp_path)
    api, web, off = manager.services()
    assert (api.name, api.state, api.exit_status, api.detail) == (
        "api.service",
        "failed",
        203,
        "exit-code",
    )
    assert (web.state, web.pid, web.started, web.wanted) == ("running", 77, 1700000009.0, True)
    assert (off.state, off.wanted) == ("stopped", False)
    config = manager.config("api.service")
    assert config is not None
    assert config.command == "/bin/sh"
    assert manager.config("nothing.service") is None
    manager.start("api.service")
    manager.stop("api.service")
    manager.reset("api.service")
    manager.reload()
    assert [command[1] for command in calls[3:]] == ["start", "stop", "reset-failed", "daemon-reload"]
    assert manager.override_file("api.service") == tmp_path / "api.service.d" / "50-dbsafety.conf"
    text = manager.override_text("api.service", {"command": "/new 50%", "directory": "/srv"})
    assert text == "# api.service\n[Service]\nExecStart=\nExecStart=/new 50%%\nWorkingDirectory=/srv\n"


def test_a_command_that_fails_is_one_sentence() -> None:
    with pytest.raises(ManagerError, match=r"^sh ended with 3: two$"):
        run(["sh", "-c", "echo one >&2; echo two >&2; exit 3"])
    with pytest.raises(ManagerError, match="no-such-command"):
        run(["no-such-command"])
