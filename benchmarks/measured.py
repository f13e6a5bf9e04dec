"""docs/measured.md: the results of the benchmarks, as tables, from benchmarks/results.

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
PLACE = "../benchmarks/results"  # relative to the page
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
    yield (
        "`python benchmarks/stacked.py`: three digits in a picture, 26,000 samples; KL is the divergence from equal "
        "shares of all modes."
    )
    heads = ("modes", "kl", "images", "images_per_second", "threads", "guard")
    yield table(("", *heads), [(name, *(row.get(head) for head in heads)) for name, row in found.items()])


def time_to_quality() -> Iterator[str]:
    found = known("time_to_quality")
    if not found:
        return
    yield "## Against what one would pick instead"
    yield (
        "`python benchmarks/time_to_quality.py`: coverage by minutes of training, on two cores with nothing else to do."
    )
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
    yield "`python benchmarks/foretold.py digits signs.zip faces64.zip`: the prediction, the result, and their ratio."
    heads = list(next(iter(found.values())))
    rows = [(data, *(" / ".join(map(str, row[head].values())) for head in heads)) for data, row in found.items()]
    yield table(("", *heads), rows)


def penalties() -> Iterator[str]:
    found = known("penalties")
    yield "## Gradient penalties"
    yield (
        "`python benchmarks/penalties.py`: the time of a step, relative to one without a penalty, and the results of "
        "a short run."
    )
    heads = ("step", "step_min", "step_max", "coverage", "recall", "kid", "images")
    yield table(("", *heads), [(name, *(row.get(head) for head in heads)) for name, row in found.items()])


def little_data() -> Iterator[str]:
    found = known("little_data")
    yield "## Few images, with and without augmentation"
    yield (
        "`python benchmarks/little_data.py`. *leak*: how often the nearest neighbour of a sample is an augmented "
        "training image and not an original one; *leak_of_real*: the same for held-out images, which are not "
        "augmented."
    )
    heads = ("coverage", "recall", "kid", "kid_se", "leak", "leak_of_real", "strength", "images", "seeds")
    yield table(("", *heads), [(name, *(row.get(head) for head in heads)) for name, row in found.items()])


def synthetic() -> Iterator[str]:
    found = known("synthetic")
    if not found:
        return
    yield "## Does synthetic data help a classifier?"
    yield (
        "`python benchmarks/synthetic.py`: `mulligan study` of a GAN that was trained on the same labelled images "
        "and no others. Accuracy on images that neither the GAN nor the classifier has seen. In brackets: the points "
        "gained over real images alone (for an augmented mix: over augmentation alone), with the interval of 95 %, "
        "corrected for the number of comparisons."
    )
    names = list(dict.fromkeys(arm for study in found.values() for arm in study["arms"]))
    rows = []
    for name, study in found.items():
        cells = []
        for arm in (study["arms"].get(each) for each in names):
            gain = arm and arm.get("gain")
            spread = f" ({gain['points']:+.1f}: {gain['low']:+.1f} to {gain['high']:+.1f})" if gain else ""
            cells.append(f"{arm['accuracy']:.1%}{spread}" if arm else None)
        protocol = study["protocol"]
        counts = (protocol["real_images"], protocol["test_images"], protocol["seeds"], study["gan_images"])
        rows.append((name, *counts, *cells))
    yield table(("", "real", "tested on", "seeds", "GAN's images", *names), rows)


def style() -> Iterator[str]:
    found = known("style")
    if not found:
        return
    yield "## Another style, without pairs"
    yield (
        "`python benchmarks/style.py --signs SIGNS.zip --faces FACES.zip`: half of the images is set A; the other "
        "half, rendered in another style, is set B. The images are shipped digits, hand signs (`night`) and faces "
        "(`drawn`). `outlined` is a ring around a dark stroke."
    )
    yield "\n".join(
        [
            "- *content*: the share of held-out digits or signs that is still read correctly; for faces PSNR (dB) "
            "and SSIM to the true rendering of the same face.",
            "- *style*: the share that a classifier of A and B assigns to the other style.",
            "- *real*: the same numbers for true renderings, which is the best that their readers allow.",
            "- *as shown*: the same numbers for the input.",
        ]
    )
    yield (
        "Networks, weights and batch were chosen with runs of seed 7 on another split of digits and signs. So not "
        "all of the images held out here were unseen then. Faces were not used for choices. The number of images "
        "(`--images`) is what the time allowed; all of it is less than the 5 minutes of the recipes. In `coloured`, "
        "A and B differ by colour: each true digit has a single hue, generated ones have many, and no number here "
        "measures that."
    )
    yield (
        "Outlined digits and signs are read by nets that learnt from true renderings of training images, which were "
        "moved, turned, scaled and made noisy. The net was chosen by its accuracy on true renderings alone, before "
        "it had seen any generated image. The net before it read 95 % of true outlines, and 80 % of true night signs "
        "with noise of 27 dB. By that net, generated images came to 0.93 to 0.94 (`outlined`) and 0.81 to 0.93 "
        "(`night`). The published networks of `cyclegan` and `cut` are more than a hundred times as large. They see "
        "one or two images a second on these cores and were given two thirds of one pass over the data, where the "
        "papers have hundreds of passes. After that `cyclegan` makes progress; `cut` has hardly begun, and its best "
        "checkpoint is one of the first."
    )
    yield (
        "What was tried, read by the earlier net. With seed 7 and 20,000 images, `outlined` by `restyle`, content "
        "there and back: batches of 32 with a cycle weight of 3: 0.67 and 0.54 (least squares with a spectral D: "
        "0.79 and 0.52). With a cycle weight of 10, patches of 12 pixels, or instance norm in D, digits stayed as "
        "they were (style at most 0.03). Batches of 8: 0.90 and 0.72; at half the learning rate 0.85 and 0.66; with "
        "a cycle weight of 1: 0.99 and 0.94. `inverted` by `restyle-cut`, batches of 32: 0.46 with heads that are "
        "shared by input and output, 0.92 with separate heads. A weight of `patch-nce` that rises from 0.02 to 1 was "
        "as good as 0.2 throughout (`outlined`: 0.96 and 0.95). In all of these the heads of the input were not "
        "trained; now they are. On `drawn` nothing was tried."
    )
    yield (
        "With seed 7 and 10,000 images, `night` on another split, PSNR to the true rendering there and back: "
        "unchanged `restyle` 27.1 and 25.3 dB; a G that makes only the change (`generator.residual=true`) 28.0 and "
        "26.4; the same with three levels 27.6 and 26.0, with a cycle weight of 3 27.9 and 26.2, without a norm 27.5 "
        "and 25.8; a D of larger patches 26.5 and 20.7. `night` on the split of the table: 26.9 and 24.6 dB; with "
        "`augment=ada` 25.6 and 23.1; with shifted images for D 20.9 and 17.7. But on `inverted`, 8,000 images, "
        "residual `restyle` kept 0.22 and 0.40, and residual `restyle-cut` made no progress on `coloured`, 12,000 "
        "images of seed 0, in three attempts (style 0.11). So residual is for styles that differ little, and it is "
        "not the default of the recipes."
    )
    rows = []
    for name, of_style in found.items():
        runs = [(recipe, seed, run) for recipe, by in of_style["runs"].items() for seed, run in by.items()]
        for recipe, seed, run in [("real", None, of_style["real"]), ("as shown", None, of_style["as shown"]), *runs]:
            for direction in ("a2b", "b2a"):
                if direction in run:
                    numbers = (run[direction].get(measure) for measure in ("content", "psnr", "ssim", "style"))
                    rows.append((name, recipe, seed, direction, *numbers, run.get("images_seen"), run.get("seconds")))
    yield table(("style", "", "seed", "direction", "content", "psnr", "ssim", "style", "images_seen", "seconds"), rows)
    for path in sorted(RESULTS.glob("style-*.png")):
        what = "output" if "night" in path.stem else "input, above output"
        yield f"![{path.stem}: {what}]({PLACE}/{path.name})"


def ladder() -> Iterator[str]:
    found = known("ladder")
    if not found:
        return
    damages = ("blur", "noise", "dropped classes", "duplicates", "swapped patches")
    yield "## Feature nets on a ladder of damage"
    yield (
        "`python benchmarks/ladder.py digits MNIST cifar10-train.zip`: real images are damaged on four rungs, each "
        "worse than the one before. For each net: how well KID and coverage rank the rungs (Spearman), and in "
        "brackets the first rung that is told from undamaged images. For duplicates, coverage is the more telling "
        "number."
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
            "`python benchmarks/restoration.py`, held-out images. *perceptual*: a distance to the original, smaller is "
            "better; *sharpness*: 1 is that of the original; `likeness only`: the same generator trained without D; "
            "`as they were`: the originals. The settings of `restore` were chosen with seed 7 on training images alone."
        )
        for task, found in json.loads(path.read_text()).items():
            yield f"**{task}**"
            yield table(("", *heads), [(name, *(row.get(head) for head in heads)) for name, row in found.items()])
            methods = ", ".join(found)
            if (RESULTS / f"restoration-{data}-{task}.png").exists():  # other data than digits may not be published
                yield f"![{task}]({PLACE}/restoration-{data}-{task}.png)\n\nRows: as shown (the input), {methods}."


def inversion() -> Iterator[str]:
    found = known("inversion")
    if not found:
        return
    protocol = found["protocol"]
    yield "## Pictures found in a latent space"
    yield (
        f"`python benchmarks/inversion.py`: {protocol['held_out_digits']} held-out digits were searched in a run of "
        f"`digits` that saw {protocol['images_seen']:,} images, {protocol['threads']} thread. PSNR is of whole images. "
        "*same_class*: the bundled classifier gives the result the class that it gives the digit itself."
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
            f"operations each, as many as `digits` needs for {of_data['like']:,} images. Best by coverage: {first}. "
            "The recipes are unchanged, at sizes for a laptop. So this says which of them to begin with when there is "
            "little time, not which is best in the end. How fast each is, [the zoo](zoo.md#side-by-side) says. The "
            "features `random` are those of an untrained net, which does not notice some kinds of damage (see the "
            "ladder above)."
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
