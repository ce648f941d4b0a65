"""What an import statement names."""

from __future__ import annotations

from dbsafety.facts.scopes import ModuleIndex


def absolute_module(index: ModuleIndex, module: str | None, level: int) -> str:
    """The dotted name that `from <level dots><module>` means in this module; leading dots stay when it climbs out."""
    if not level:
        return module or ""
    parts = index.name.split(".") if index.name else []
    drop = level - 1 if index.is_package else level
    if drop > len(parts):
        return "." * level + (module or "")
    base = parts[: len(parts) - drop]
    return ".".join([*base, module] if module else base)
