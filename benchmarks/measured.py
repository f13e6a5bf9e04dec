"""docs/measured.md: what the benchmarks found, as tables, from benchmarks/results; no number is written here.

python benchmarks/measured.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "measured.md"
PLACE = "../benchmarks/results"  # as seen from the page
METRICS = ("coverage", "recall", "precision", "fid", "kid")


def known(name: str) -> dict[str, Any]:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    def line(cells: Sequence[Any]) -> str:
        return "| " + " | ".join("" if cell is None else str(cell) for cell in cells) + " |"

    return "\n".join([line(heads), line(["---"] * len(heads)), *map(line, rows)])


def quality(data: str, minutes: str) -> Iterator[str]:
    found = known(f"quality-{data}-{minutes}min")
    if not found:
        return
    yield f"## {minutes} minutes of {data}"
    yield f"`python benchmarks/quality.py --data {data} --minutes {minutes} --mnist DIR`; {found['protocol']}."
    heads = (*METRICS, "fid_of_5000", "least_class_share", "images_seen", "threads")
    rows = [(name, *(row.get(key) for key in heads)) for name, row in found.items() if isinstance(row, dict)]
    yield table(("", *heads), rows)
    yield " ".join(
        f"![samples of {row[0]}]({PLACE}/quality-{data}-{minutes}min-{row[0].replace(' ', '')}.png)"
        for row in rows
        if row[0].startswith("seed")
    )


def faces() -> Iterator[str]:
    found = known("faces-30min")
    if not found:
        return
    yield "## 30 minutes of faces"
    yield "`python benchmarks/faces.py faces64.zip`; best checkpoint against held-out images."
    heads = ("own_features", *METRICS, "images_seen", "threads")
    yield table(
        ("", *heads), [(name, *((row | row["own_metrics"]).get(h) for h in heads)) for name, row in found.items()]
    )
    yield f"![generated faces]({PLACE}/faces-30min-seed0.png)"


def stacked() -> Iterator[str]:
    found = known("stacked")
    if not found:
        return
    yield "## 1,000 modes"
    yield "`python benchmarks/stacked.py`: three digits in a picture, 26,000 samples; KL is from equally often."
    heads = ("modes", "kl", "images", "images_per_second", "threads", "guard")
    yield table(("", *heads), [(name, *(row.get(head) for head in heads)) for name, row in found.items()])


def time_to_quality() -> Iterator[str]:
    found = known("time_to_quality")
    if not found:
        return
    yield "## Against what one would pick instead"
    yield "`python benchmarks/time_to_quality.py`: coverage, by minutes that the work takes on two quiet cores."
    minutes = sorted({row["minutes"] for rows in found.values() for row in rows})
    rows = []
    for name, each in found.items():
        at = {row["minutes"]: row["coverage"] for row in each}
        rows.append((name, *(at.get(minute) for minute in minutes)))
    yield table(("", *(f"{minute:g}" for minute in minutes)), rows)
    yield f"![curves]({PLACE}/time_to_quality.png)"


def foretold() -> Iterator[str]:
    found = known("foretold")
    if not found:
        return
    yield "## What a dry run foretells"
    yield "`python benchmarks/foretold.py digits signs.zip faces64.zip`: what was foretold, what came, and the ratio."
    heads = list(next(iter(found.values())))
    rows = [(data, *(" / ".join(map(str, row[head].values())) for head in heads)) for data, row in found.items()]
    yield table(("", *heads), rows)


def penalties() -> Iterator[str]:
    found = known("penalties")
    yield "## Gradient penalties"
    yield "`python benchmarks/penalties.py`: a step over one without a penalty, and what a run of few images comes to."
    heads = ("step", "step_min", "step_max", "coverage", "recall", "kid", "images")
    yield table(("", *heads), [(name, *(row.get(head) for head in heads)) for name, row in found.items()])


def little_data() -> Iterator[str]:
    found = known("little_data")
    yield "## Few images, with and without augmentation"
    yield (
        "`python benchmarks/little_data.py`. Leak: how often a sample's nearest neighbour is an augmented training "
        "image rather than one as it is; beside it, the same of held-out images, which nobody augmented."
    )
    heads = ("coverage", "recall", "kid", "kid_se", "leak", "leak_of_real", "strength", "images", "seeds")
    yield table(("", *heads), [(name, *(row.get(head) for head in heads)) for name, row in found.items()])


def synthetic() -> Iterator[str]:
    found = known("synthetic")
    if not found:
        return
    yield "## Does synthetic data help a classifier?"
    yield (
        "`python benchmarks/synthetic.py`: `mulligan study` of a GAN that was trained on nothing but the same labelled "
        "images. Accuracy on images that neither has seen; in brackets the points gained over real images alone (an "
        "augmented mix: over augmentation alone), with their interval of 95 %, corrected for the number of comparisons."
    )
    names = list(dict.fromkeys(arm for study in found.values() for arm in study["arms"]))
    rows = []
    for name, study in found.items():
        cells = []
        for arm in (study["arms"].get(each) for each in names):
            gain = arm and arm.get("gain")
            spread = f" ({gain['points']:+.1f}: {gain['low']:+.1f} to {gain['high']:+.1f})" if gain else ""
            cells.append(f"{arm['accuracy']:.1%}{spread}" if arm else None)
        told = study["protocol"]
        rows.append((name, told["real_images"], told["test_images"], told["seeds"], study["gan_images"], *cells))
    yield table(("", "real", "tested on", "seeds", "GAN's images", *names), rows)


def style() -> Iterator[str]:
    found = known("style")
    if not found:
        return
    yield "## Another style, without pairs"
    yield (
        "`python benchmarks/style.py --signs SIGNS.zip --faces FACES.zip`: half of the pictures is A, the other "
        "half, rendered otherwise, is B: shipped digits, hand signs (`night`), faces (`drawn`). *content*: of held-"
        "out digits or signs the share that still reads right; of faces PSNR (dB) and SSIM to the true rendering of "
        "that very face. *style*: the share that a classifier of A and B calls the other style; *real*: what true "
        "renderings come to, which is what their readers allow; *as shown*: what was there before. `outlined` is a "
        "ring around a dark stroke. Networks, weights and batch were chosen by runs of seed 7 on digits and signs "
        "dealt otherwise, so those held out here were not all unseen then; faces had no say. How many images each was "
        "given (`--images`) was what the time allowed, all less than the 5 minutes that are the recipes' own. What "
        "tells A from B in `coloured` is colour: each true digit has a single hue, those made are rainbows, and no "
        "number here asks for that."
    )
    yield (
        "Outlined digits and signs are read by nets that have learnt from true renderings of training pictures, moved, "
        "turned, scaled and in noise. The net was chosen by what it makes of true renderings alone, before it had "
        "seen any that were made. The one before it read 95 % of true outlines, and of true signs by night in noise of "
        "27 dB 80 %; by it, what was made came to 0.93 to 0.94 (`outlined`) and 0.81 to 0.93 (`night`). `cyclegan` "
        "and `cut` as published, whose networks are more than a hundred times as large, play one or two images a "
        "second of these cores, and were given two thirds of one pass over the data, where the papers have hundreds: "
        "`cyclegan` is on its way by then, `cut` has hardly begun, and its best is one of the first."
    )
    yield (
        "Tried, and read by that earlier net. Seed 7, 20,000 images; `outlined` by `restyle`, content there and back: "
        "batches of 32 beside a cycle of 3 0.67 and 0.54 (least squares with a spectral D: 0.79 and 0.52); with a "
        "cycle of 10, patches of 12 pixels, or instance norm in D, digits stayed as they were (style at most 0.03). "
        "Batches of 8: 0.90 and 0.72, at half the rate 0.85 and 0.66, with a cycle of 1 0.99 and 0.94. `inverted` by "
        "`restyle-cut`, batches of 32: 0.46 with heads that both pictures share, 0.92 with heads of their own. A "
        "weight on places that rises from 0.02 to 1 did as well as 0.2 all along (`outlined`: 0.96 and 0.95); in all "
        "these the heads of what was shown were never taught, as now they are. On `drawn` nothing was tried. Seed 7, "
        "10,000 images, `night` dealt otherwise, PSNR to what is true there and back: as it is 27.1 and 25.3 dB; a G "
        "that makes what has to change (`generator.residual=true`) 28.0 and 26.4, that one with three levels 27.6 and "
        "26.0, with a cycle of 3 27.9 and 26.2, without a norm 27.5 and 25.8; a D of larger patches 26.5 and 20.7. "
        "`night` as here: 26.9 and 24.6 dB, with `augment=ada` 25.6 and 23.1, with D shown shifted pictures 20.9 and "
        "17.7. But of `inverted`, 8,000 images, residual `restyle` kept 0.22 and 0.40, and residual `restyle-cut` made "
        "no progress with `coloured`, 12,000 images of seed 0, in three attempts (style 0.11). So residual is for "
        "looks that differ little, and not the recipes' own."
    )
    rows = []
    for name, of_style in found.items():
        runs = [(recipe, seed, run) for recipe, by in of_style["runs"].items() for seed, run in by.items()]
        for recipe, seed, run in [("real", None, of_style["real"]), ("as shown", None, of_style["as shown"]), *runs]:
            for way in ("a2b", "b2a"):
                if way in run:
                    kept = (run[way].get(measure) for measure in ("content", "psnr", "ssim", "style"))
                    rows.append((name, recipe, seed, way, *kept, run.get("images_seen"), run.get("seconds")))
    yield table(("style", "", "seed", "direction", "content", "psnr", "ssim", "style", "images_seen", "seconds"), rows)
    for path in sorted(RESULTS.glob("style-*.png")):
        what = "what was made" if "night" in path.stem else "what was shown, above what was made of it"
        yield f"![{path.stem}: {what}]({PLACE}/{path.name})"


def ladder() -> Iterator[str]:
    found = known("ladder")
    if not found:
        return
    damages = ("blur", "noise", "dropped classes", "duplicates", "swapped patches")
    yield "## Feature nets on a ladder of damage"
    yield (
        "`python benchmarks/ladder.py digits MNIST cifar10-train.zip`: real images damaged on four rungs. Of each: "
        "how well KID and coverage rank the rungs (Spearman), and in brackets the first rung that is told from whole "
        "images (of coverage, for duplicates, the more telling one)."
    )
    heads = ("data", "features", *(f"{damage}: {what}" for damage in damages for what in ("KID", "coverage")))
    rows = []
    for data, of_data in found.items():
        for net, of_net in of_data["nets"].items():
            cells = [
                f"{of_net[damage][f'{what}_order']:g} ({of_net[damage][f'{what}_noticed'] or 'none'})"
                for damage in damages
                for what in ("kid", "coverage")
            ]
            rows.append((data, net, *cells))
    yield table(heads, rows)


def metrics_speed() -> Iterator[str]:
    found = known("metrics_speed")
    if not found:
        return
    yield "## How long numbers take"
    balls, fid, kid = (found[name] for name in ("balls", "fid", "kid"))
    yield (
        f"`python benchmarks/metrics_speed.py`, {found['threads']} threads, features of 2,048 dimensions. Precision, "
        f"recall, density and coverage of {balls['images']:,} against as many: {balls['seconds'] / 60:.1f} minutes, "
        f"{balls['peak_gigabytes']} GB at most. FID beside scipy {found['scipy']}'s sqrtm: {fid['ratio']} times as "
        f"fast, relative difference {fid['relative_error']:.0e}. KID beside torchmetrics {found['torchmetrics']}, "
        f"10,000 a side: {kid['ratio']} times as fast, with a standard error of {kid['values']['ours'][1]:.2g}."
    )


def restoration() -> Iterator[str]:
    heads = ("psnr", "ssim", "perceptual", "sharpness", "accuracy", "images_seen")
    for path in sorted(RESULTS.glob("restoration-*.json")):
        data = path.stem.partition("-")[2]
        yield f"## Restored: {data}"
        yield (
            "`python benchmarks/restoration.py`, held-out pictures. Perceptual distance: the lower, the nearer; "
            "sharpness: 1 is that of the picture as it was; `likeness only` is the same generator without D's word. "
            "How `restore` plays was chosen with seed 7 on training pictures alone."
        )
        for task, found in json.loads(path.read_text()).items():
            yield f"**{task}**"
            yield table(("", *heads), [(name, *(row.get(head) for head in heads)) for name, row in found.items()])
            ways = ", ".join(found)
            if (RESULTS / f"restoration-{data}-{task}.png").exists():  # other data than digits are not ours to show
                yield f"![{task}]({PLACE}/restoration-{data}-{task}.png)\n\nRows: as shown, {ways}."


def inversion() -> Iterator[str]:
    found = known("inversion")
    if not found:
        return
    told = found["protocol"]
    yield "## Pictures found in a latent space"
    yield (
        f"`python benchmarks/inversion.py`: {told['held_out_digits']} held-out digits looked for in a run of `digits` "
        f"that was shown {told['images_seen']:,} images, {told['threads']} thread. PSNR of whole pictures; class by "
        "the bundled classifier, as it takes the digit itself to be."
    )
    heads = ("psnr_median", "psnr_tenth", "same_class", "right_class", "seconds_per_image", "seconds_before")
    rows = [(n, *(row.get(head) for head in heads)) for n, row in found["results"].items() if isinstance(row, dict)]
    yield table(("", *heads), rows)
    yield f"![digits, found, with a hole, filled, made small, enlarged]({PLACE}/inversion.png)"


def families() -> Iterator[str]:
    found = known("families")
    heads = (
        "megaflops_per_image", "images", "coverage", "recall", "kid", "kid_se", "by_class", "features",
    )  # fmt: skip
    for data, of_data in found.items():
        ranked = sorted(of_data["trials"].items(), key=lambda trial: trial[1]["coverage"], reverse=True)
        first = ", ".join(f"`{name.partition(',')[0]}` {row['coverage']:.3f}" for name, row in ranked[:3])
        yield f"## Families at equal FLOPs: {data}"
        yield (
            f"`python benchmarks/families.py {data} --like {of_data['like']}`: {of_data['gigaflops']:,} billion "
            f"operations each, what `digits` spends on {of_data['like']:,} images. Best by coverage: {first}. Recipes "
            "as they are, at a laptop's sizes: this says which of them to begin with where there is so little time, "
            "not which is best in the end; how fast each is, [the zoo](zoo.md#side-by-side) tells. The features "
            "`random` are those of a net that nobody taught, which is blind to some damage (the ladder above)."
        )
        yield table(("", *heads), [(name, *(row.get(h) for h in heads)) for name, row in ranked])


def main() -> None:
    blocks = ["# Measured", "Written by `benchmarks/measured.py` from `benchmarks/results`; do not edit."]
    blocks += [*quality("digits", "10"), *quality("mnist", "10"), *faces(), *stacked(), *foretold()]
    blocks += [*time_to_quality(), *penalties(), *little_data(), *style(), *synthetic(), *ladder(), *metrics_speed()]
    blocks += [*families(), *restoration(), *inversion()]
    PAGE.write_text("\n\n".join(blocks) + "\n")


if __name__ == "__main__":
    main()
