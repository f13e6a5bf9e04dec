"""Finds what went wrong in a run, finished or not, from its folder alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mulligan.core.errors import UserError
from mulligan.core.recipe import Recipe
from mulligan.core.run import RunFolder
from mulligan.engine.checkpoint import BEST
from mulligan.engine.detectors import DETECTORS, history_of
from mulligan.engine.guard import remedied
from mulligan.engine.remedies import REMEDIES
from mulligan.runs.parts import bring, load_parts


def diagnose(path: str | Path) -> dict[str, Any]:
    """The findings of the detectors in a run, the actions of the guard, and remedies to try, as JSON.

    `findings` are about the current state of the run, the most serious first; each has `remedies`, in words and as
    settings. Raises UserError, naming the file, if the folder is not a run or a file in it is damaged.
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
        remedies = []
        for remedy in (REMEDIES[name] for name in dict.fromkeys(found.cures)):
            if change := remedy.change(recipe if remedy.anew else now):
                remedies.append({"words": remedy.words, "settings": change})
        finding = {"name": found.name, "why": why, "grave": found.grave, "hint": found.hint}
        findings.append(finding | {"remedies": remedies})
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
        "best": summary.get("best_samples") if (run.checkpoints / f"{BEST}.safetensors").exists() else None,
    }
