from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dbsafety_runtime.orchestrator.knowledge import (
    Chunk,
    Knowledge,
    Source,
    chunks_of,
    file_source,
    git_source,
    sources,
)


@pytest.fixture
def knowledge(tmp_path: Path) -> Iterator[Knowledge]:
    opened = Knowledge(tmp_path / "knowledge.db")
    yield opened
    opened.close()


def git(repository: Path, *arguments: str) -> str:
    names = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    for role in ("AUTHOR", "COMMITTER"):
        names |= {f"GIT_{role}_NAME": "t", f"GIT_{role}_EMAIL": "t@example.org"}
    command = ["git", "-C", str(repository), *arguments]
    return subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, **names}
    ).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository in which srv/api was moved to platform/api, and later to apps/api; run.sh was renamed alone."""
    root = tmp_path / "code"
    (root / "srv/api/bin").mkdir(parents=True)
    for name, text in {
        "srv/api/main.py": "print('main')\n" * 9,
        "srv/api/bin/x": "x\n" * 9,
        "run.sh": "run\n" * 9,
    }.items():
        (root / name).write_text(text, encoding="utf-8")
    git(root, "init", "-q", ".")
    for message, moves in {
        "Add everything": (),
        "Move api to the platform folder\n\nThe old place is gone.": (("srv", "platform"),),
        "Group all apps": (("platform", "apps"), ("run.sh", "start é.sh")),
    }.items():
        for old, new in moves:
            (root / old).rename(root / new)
        git(root, "add", "-A")
        git(root, "commit", "-q", "-m", message)
    return root


def test_chunks_begin_at_headings_and_know_their_lines() -> None:
    text = "intro\n\n# One\nbody\n## Two\n" + "line\n" * 30
    assert [(chunk.line, chunk.body.splitlines()[0]) for chunk in chunks_of(text)] == [
        (1, "intro"), (3, "# One"), (5, "## Two"), (19, "line"), (33, "line"),
    ]  # fmt: skip
    assert list(chunks_of("")) == []


def test_answers_cite_file_line_and_commit(knowledge: Knowledge, repository: Path) -> None:
    doc = repository / "CLAUDE.md"
    doc.write_text("# Notes\n\n# Billing\nThe billing service listens on port 8443.\n", encoding="utf-8")
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "Document billing")
    assert knowledge.refresh(sources([doc], [], [repository])) == 2
    best = knowledge.search("billing port")[0]
    head = git(repository, "rev-parse", "HEAD")
    assert (best.kind, best.source, best.line, best.revision) == ("document", str(doc), 3, head)
    assert best.cite() == f"{doc}:3@{head[:12]}"
    assert any(hit.kind == "history" for hit in knowledge.search("group all apps"))
    assert knowledge.search("the and") == ()
    assert knowledge.search('"; DROP TABLE chunk -- billing NEAR(') != ()


def test_only_what_changed_is_read_again(knowledge: Knowledge, tmp_path: Path, repository: Path) -> None:
    doc = tmp_path / "a.md"
    doc.write_text("former words", encoding="utf-8")

    def everything() -> list[Source]:
        return list(sources([doc], [], [repository]))

    assert [knowledge.refresh(everything()) for _ in range(2)] == [2, 0]
    doc.write_text("new words here", encoding="utf-8")
    assert knowledge.refresh(everything()) == 1
    assert knowledge.search("former") == ()
    assert knowledge.search("new")[0].text == "new words here"
    doc.unlink()
    assert knowledge.refresh(everything()) == 1
    assert knowledge.search("new") == ()


def test_moves_are_followed_through_renames_of_files_and_folders(knowledge: Knowledge, repository: Path) -> None:
    knowledge.refresh(git_source(repository))

    def moved(path: str) -> str | None:
        answer = knowledge.moved(f"{repository}/{path}")
        return answer[0].removeprefix(f"{repository}/") if answer else None

    assert moved("srv/api") == "apps/api"
    assert moved("srv/api/main.py") == "apps/api/main.py"
    assert moved("srv/api/not/in/git") == "apps/api/not/in/git"
    assert moved("run.sh") == "start é.sh"
    assert moved("apps/api") is None
    assert moved("never/was") is None
    answer = knowledge.moved(f"{repository}/srv/api")
    assert answer is not None
    assert answer[1] == git(repository, "rev-parse", "HEAD")


def test_shallow_and_broken_repositories(knowledge: Knowledge, repository: Path, tmp_path: Path) -> None:
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{repository}", str(shallow))
    assert knowledge.refresh(git_source(shallow)) == 1
    assert len(knowledge.search("group all apps")) == 1
    assert list(git_source(tmp_path / "nowhere")) == []
    (repository / ".git/HEAD").write_text("garbage", encoding="utf-8")
    assert list(git_source(repository)) == []


def test_a_repository_of_another_user_is_read_and_its_documents_have_a_revision(
    knowledge: Knowledge, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = git(repository, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(subprocess.CalledProcessError) as refused:
        git(repository, "rev-parse", "HEAD")
    assert "dubious ownership" in refused.value.stderr
    doc = repository / "apps" / "api.md"
    doc.write_text("# Notes\nThe needle.\n", encoding="utf-8")
    assert knowledge.refresh(sources([doc], [], [repository])) == 2
    assert knowledge.search("needle")[0].revision == head
    assert knowledge.moved(f"{repository}/srv/api") == (f"{repository}/apps/api", head)


def test_nothing_a_foreign_repository_names_is_run(repository: Path, tmp_path: Path) -> None:
    """A signed commit, and a configuration that lets git log check signatures with a program of its own."""
    program, trace = tmp_path / "gpg", tmp_path / "was run"
    program.write_text(f"""#!/bin/sh
touch '{trace}'
cat > /dev/null
echo '[GNUPG:] SIG_CREATED ' >&2
printf -- '-----BEGIN PGP SIGNATURE-----\\n\\nx\\n-----END PGP SIGNATURE-----\\n'
""")
    program.chmod(0o755)
    for name, value in {
        "gpg.program": str(program), "user.signingKey": "x", "log.showSignature": "true",
        "core.fsmonitor": str(program), "core.pager": str(program),
    }.items():  # fmt: skip
        git(repository, "config", name, value)
    git(repository, "commit", "-q", "--allow-empty", "-S", "-m", "Signed")
    trace.unlink()
    git(repository, "log", "-1")
    assert trace.exists(), "an ordinary git log runs it"
    trace.unlink()
    (source,) = git_source(repository)
    chunks, renames = source.read()
    assert (chunks[0].body.strip(), len(renames) > 3, trace.exists()) == ("Signed", True, False)


def history_of(commits: int) -> bytes:
    """A repository as input of git fast-import: one file that every commit moves."""
    parts = [b"blob\nmark :1\ndata 6\nhello\n\n"]
    for number in range(commits):
        text = f"Move {number}".encode()
        parts.append(b"commit refs/heads/main\ncommitter t <t@example.org> %d +0000\n" % (1_700_000_000 + number))
        parts.append(b"data %d\n%s\n" % (len(text), text))
        parts.append(f"D f{number - 1}\nM 100644 :1 f{number}\n\n".encode())
    return b"".join(parts)


@pytest.fixture
def huge(tmp_path: Path) -> Path:
    root = tmp_path / "huge"
    root.mkdir()
    git(root, "init", "-q", "-b", "main", ".")
    subprocess.run(["git", "-C", str(root), "fast-import", "--quiet"], input=history_of(2_500), check=True)
    return root


def test_of_a_long_history_the_newest_commits_are_read(huge: Path) -> None:
    (source,) = git_source(huge)
    chunks, renames = source.read()
    assert (len(chunks), len(renames)) == (2_000, 2_000)
    assert chunks[0].body.splitlines()[0] == "Move 2499"


def test_of_a_huge_history_what_came_within_the_limits_is_used(huge: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dbsafety_runtime.orchestrator.knowledge.LONGEST_OUTPUT", 50_000)
    (source,) = git_source(huge)
    chunks, renames = source.read()
    assert 100 < len(chunks) == len(renames) < 1_000
    oldest = 2500 - len(chunks)
    assert chunks[-1].body == f"Move {oldest}\n\n{huge}/f{oldest - 1} -> {huge}/f{oldest}"


def test_git_that_takes_too_long_is_ended(huge: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A git that prints one commit, half of the next, and then hangs."""
    (source,) = git_source(huge)
    slow = tmp_path / "bin" / "git"
    slow.parent.mkdir()
    slow.write_text(
        "#!/bin/sh\nprintf '\\036abc\\0371\\037One\\037\\037\\036def\\0371\\037Tw'\nexec sleep 60\n", encoding="utf-8"
    )
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}:{os.environ['PATH']}")
    monkeypatch.setattr("dbsafety_runtime.orchestrator.knowledge.GIT_SECONDS", 0.2)
    chunks, renames = source.read()
    assert ([(chunk.revision, chunk.body.strip()) for chunk in chunks], renames) == ([("abc", "One")], [])


def test_unreadable_and_binary_files_are_no_failure(knowledge: Knowledge, tmp_path: Path) -> None:
    binary = tmp_path / "b.md"
    binary.write_bytes(b"\xff\xfe\x00 binary needle\n")
    assert list(file_source(tmp_path / "gone.md", "document")) == []
    assert list(file_source(tmp_path, "document")) == []
    vanishing = list(file_source(binary, "document"))
    knowledge.refresh(vanishing)
    assert knowledge.search("needle")[0].line == 1


TOPICS = (
    "billing",
    "mailer",
    "search",
    "gateway",
    "archive",
    "reports",
    "exporter",
    "importer",
    "website",
    "scheduler",
)
ASPECTS = {
    "port": ("listens on TCP port {n}", "which port does {t} listen on"),
    "directory": ("keeps its spool files in /var/spool/{t}", "where are the spool files of {t}"),
    "owner": ("is maintained by team number {n}", "which team maintains {t}"),
    "restart": ("must be restarted after a certificate renewal", "when must {t} be restarted, certificate"),
    "database": ("writes to the database cluster db{n}", "which database cluster does {t} write"),
    "moved": ("was moved from /opt/old/{t} to /opt/platform/{t}", "where was {t} moved to from /opt/old/{t}"),
    "depends": ("needs the message broker to be up first", "{t} broker dependency first"),
    "memory": ("uses about {n} megabytes of memory", "how much memory does {t} use, megabytes"),
    "schedule": ("runs its nightly job at {n} past midnight", "when does the nightly job of {t} run, midnight"),
    "logs": ("writes its logs to the journal under the tag {t}-log", "under which tag does {t} log to the journal"),
}  # fmt: skip


def test_recall_at_five_over_a_hundred_questions(knowledge: Knowledge) -> None:
    chunks, questions = [], []
    for topic in TOPICS:
        for number, (fact, question) in enumerate(ASPECTS.values()):
            line = 10 * len(chunks) + 1
            chunks.append(Chunk(line, "", f"## {topic}\nThe {topic} service {fact.format(t=topic, n=100 + number)}."))
            questions.append((question.format(t=topic), line))
    noise = [
        Chunk(10_000 + n, "", f"Notes of day {n}: service work on ports, logs and memory went well.")
        for n in range(200)
    ]
    knowledge.refresh([Source("doc.md", "document", "1", lambda: ([*chunks, *noise], []))])
    found = [line in [hit.line for hit in knowledge.search(question)] for question, line in questions]
    assert len(found) == 100
    assert sum(found) / len(found) >= 0.9


@pytest.mark.slow
def test_ten_thousand_chunks_are_searched_within_twenty_milliseconds(knowledge: Knowledge) -> None:
    dice = random.Random(1)
    words = [f"w{n}" for n in range(5000)]
    chunks = [Chunk(n, "", " ".join(dice.choices(words, k=80))) for n in range(10_000)]
    knowledge.refresh([Source("big.md", "document", "1", lambda: (chunks, []))])
    seconds = []
    with knowledge.db.reading():
        for _ in range(300):
            started = time.perf_counter()
            knowledge.search(" ".join(dice.choices(words, k=6)))
            seconds.append(time.perf_counter() - started)
    print(f"query p95 {sorted(seconds)[285] * 1000:.2f} ms")
    assert sorted(seconds)[285] <= 0.020
