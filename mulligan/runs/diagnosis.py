"""What went wrong in a run, read from its folder alone, finished or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mulligan.core.errors import UserError
from mulligan.core.recipe import Recipe
from mulligan.core.run import RunFolder
from mulligan.engine.detectors import DETECTORS, history_of
from mulligan.engine.guard import remedied
from mulligan.engine.remedies import REMEDIES
from mulligan.runs.parts import bring, load_parts


def diagnose(path: str | Path) -> dict[str, Any]:
    """What the detectors make of a run, what the guard did, and what to try: JSON throughout.

    `findings` are about how the run stands, gravest first; each with `remedies`, in words and as `--set` takes them.
    Raises UserError, naming the file, when the folder is no run or something in it is not whole.
    """
    load_parts()
    run = RunFolder(path)
    if not run.path.is_dir():
        raise UserError(f"{run.path}: no such run folder")
    described = run.describe()
    bring(described["parts"], str(run.path))
    recipe = Recipe.read(run.read(run.recipe), where=str(run.recipe))
    summary = run.read(run.summary) if run.summary.exists() else {"status": "running", "why": ""}
    rows = list(run.rows())
    rewinds = [row for row in rows if row["kind"] == "event" and row["what"] == "rewound"]
    now = remedied(recipe, rewinds)
    noun = described["data"]["noun"]
    history = history_of(
        rows, summary.get("budget_samples", described["budget_samples"]), tracked=described["tracked"], noun=noun
    )
    findings = []
    for found in DETECTORS.values():
        if not (why := found.says(history)):
            continue
        cures = []
        for cure in (REMEDIES[name] for name in dict.fromkeys(found.cures)):
            if change := cure.change(recipe if cure.anew else now):
                cures.append({"words": cure.words, "settings": change})
        findings.append({"name": found.name, "why": why, "grave": found.grave, "hint": found.hint, "remedies": cures})
    return {
        "run": str(run.path),
        "noun": noun,
        "status": summary["status"],
        "why": summary["why"],
        "samples": rows[-1]["samples"] if rows else 0,
        "guard": described["asked"].get("guard", "off"),
        "findings": findings,
        "rewinds": [
            {key: row[key] for key in ("samples", "to", "finding", "evidence", "remedy", "settings")} for row in rewinds
        ],
        "best": summary.get("best_samples"),
    }
