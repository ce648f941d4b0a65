"""What git ignores, asked of git itself."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def work_tree(folder: Path) -> Path | None:
    """The nearest folder from `folder` upwards that holds a `.git`, None outside of any."""
    return next((parent for parent in (folder, *folder.parents) if (parent / ".git").exists()), None)


def ignored(tree: Path) -> tuple[frozenset[str], str]:
    """The files and folders git ignores in a work tree, as absolute paths, and a note when git could not be asked.

    An ignored folder is named, its content is not. Tracked files are never ignored, whatever `.gitignore` says.
    """
    # Under a hook these variables point at the hook's repository and index, wherever the folder is.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "ls-files", "--others", "--ignored", "--exclude-standard", "--directory", "-z"]
    try:
        done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, check=False)
    except OSError as error:
        return frozenset(), f"cannot ask git what it ignores: {error.strerror}"
    if done.returncode != 0:
        reason = os.fsdecode(done.stderr).strip().split("\n")[0]
        return frozenset(), f"cannot ask git what it ignores: {reason}"
    names = os.fsdecode(done.stdout).split("\0")
    return frozenset(os.path.normpath(tree / name) for name in names if name), ""
