"""`aligngap report`: one self-contained HTML page about one or more runs.

What is read lies in `runs`, what is drawn in `pictures`, numbers in `tables`, sentences in
`findings`; this room puts them in the order in which the page shows them.
"""

import base64
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from aligngap import atomic
from aligngap.config import keys
from aligngap.reporting import figures, template, words
from aligngap.reporting.run_page import findings, pictures, tables
from aligngap.reporting.run_page.runs import ReportedRun, read

TOP_CAPTIONS = 3


def build(workdirs: Sequence[Path], output: Path) -> None:
    """Writes the page about the runs in `workdirs`, the first being the one compared with.

    Raises AligngapError for a workdir's missing or broken file and for an unwritable `output`.
    """
    runs = read(workdirs)
    atomic.write(Path(output), template.render("run_page/page.html.j2", _content(runs)))


def _content(runs: Sequence[ReportedRun]) -> dict[str, Any]:
    splits = list(runs[0].splits)
    return {
        "headline": findings.headline(runs),
        "scope": findings.scope(runs),
        "changes": findings.changes(runs),
        "overview": tables.overview(runs),
        "one_seed": len({run.config.get("name", run.label) for run in runs}) == len(runs),
        "runs": [_legend(number, run) for number, run in enumerate(runs)],
        "main_split": runs[0].splits[splits[0]].title.lower(),
        "speeds": tables.speeds(runs),
        "max_points": f"{figures.MAX_POINTS:,}",
        "max_links": figures.MAX_LINKS,
        "before": any("initial" in run.clouds[splits[0]] for run in runs),
        "clouds": pictures.clouds(runs, splits[0]),
        "intervals": pictures.intervals(runs, splits),
        "searches": pictures.searches(runs, splits),
        "tables": [tables.results(runs, name) for name in splits],
        "curves": pictures.curves(runs),
        "cosines": pictures.cosines(runs, splits[0]),
        "galleries": [_gallery(runs, name) for name in splits],
        "differences": _differences(runs),
        "configs": [json.dumps(run.config, indent=2, ensure_ascii=False) for run in runs],
    }


def _legend(number: int, run: ReportedRun) -> dict[str, Any]:
    """What the page says about a run beyond its results."""
    return {
        "label": run.label,
        "colour": figures.RUN_COLOURS[number % len(figures.RUN_COLOURS)],
        "mark": figures.run_marker(number)[1],
        "step": f"{run.step:,}",
        "seed": run.config.get("seed", "not recorded"),
        "batch_size": run.config.get("batch_size", "not recorded"),
        "commands": run.commands,
        "versions": run.versions,
    }


def _gallery(runs: Sequence[ReportedRun], split: str) -> dict[str, Any]:
    """The split's sample of images, each with every run's best captions."""
    gallery = runs[0].galleries[split]
    rankings = [_ranked(run, split) for run in runs]
    cards = [
        {
            "picture": _picture(thumbnail),
            "caption": gallery.captions[gallery.own[row]],
            "label": gallery.labels[row],
            "answers": [ranking[place] for ranking in rankings],
        }
        for place, (row, thumbnail) in enumerate(zip(gallery.rows, gallery.thumbnails, strict=True))
    ]
    return {"title": runs[0].splits[split].title, "cards": cards, "of": len(gallery.captions)}


def _ranked(run: ReportedRun, split: str) -> list[list[dict[str, Any]]]:
    """For each image of the gallery the run's first captions, and the right one wherever it is."""
    gallery, cloud = run.galleries[split], run.clouds[split]["trained"]
    answers = []
    for row in gallery.rows:
        scores = cloud.image[row] @ cloud.text.T
        order = np.argsort(-scores, kind="stable")
        right = gallery.group[order] == gallery.group[gallery.own[row]]
        place = int(np.flatnonzero(right)[0])
        shown = [*range(min(TOP_CAPTIONS, len(order))), *([place] if place >= TOP_CAPTIONS else [])]
        answers.append(
            [
                {
                    "rank": f"{rank + 1:,}",
                    "caption": gallery.captions[order[rank]],
                    "score": words.decimal(float(scores[order[rank]])),
                    "right": bool(right[rank]),
                }
                for rank in shown
            ]
        )
    return answers


def _picture(pixels: np.ndarray) -> str:
    """A PNG as a data address."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _differences(runs: Sequence[ReportedRun]) -> list[tuple[str, list[str]]]:
    """The config fields in which the runs differ, with each run's value."""
    flat = [
        {key: json.dumps(value, ensure_ascii=False) for key, value in keys(run.config).items()}
        for run in runs
    ]
    rows = [(key, [fields.get(key, "–") for fields in flat]) for key in tables.all_keys(flat)]
    return [(key, values) for key, values in rows if len(set(values)) > 1]
