"""A small workdir as training and evaluation leave it, with random embeddings; a real browser."""

import json
import shutil

import numpy as np
import pytest
from playwright.sync_api import sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SPLITS = ("test_unseen_style", "test_unseen_concept", "test_unseen_both")
ABOUT = {
    "test_unseen_style": {"title": "Unseen style", "note": "things seen, in a style unseen"},
    "test_unseen_concept": {"title": "Unseen concepts", "note": "things that were not seen"},
    "test_unseen_both": {"title": "Unseen both", "note": "neither was seen"},
}
IMAGES, CAPTIONS, WIDTH = 30, 12, 8


def number(value, chance=None):
    found = {"value": value, "low": value - 0.05, "high": value + 0.05}
    return found if chance is None else found | {"chance": chance}


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def write_run(workdir, name="clip", *, gap=0.5123, recall=0.1964, seed=0, captions=None):
    """Writes the four files that the report reads; `captions` replaces the first ones."""
    workdir.mkdir(parents=True, exist_ok=True)
    config = {"name": name, "seed": seed, "batch_size": 256, "model": {"tie": name != "clip"}}
    (workdir / "config.json").write_text(json.dumps(config))
    records = [
        {"step": step, "train/loss": 5.0 / step, "train/contrastive": 4.0 / step}
        | ({"validation/gap/centroid_distance": 1.0 / step} if step % 10 == 0 else {})
        | ({"validation/mine/shiny": 2.0 / step} if step % 40 == 0 else {})
        for step in range(1, 121)
    ]
    lines = [json.dumps(record) for record in records]
    (workdir / "metrics.jsonl").write_text("\n".join([*lines, '{"step": 121, "tra']))
    (workdir / "evaluation.json").write_text(json.dumps(evaluation(name, gap, recall)))
    np.savez(workdir / "embeddings.npz", **embeddings(captions or []))
    return workdir


def evaluation(name, gap, recall):
    retrieval = {
        f"{direction}_retrieval_recall@{k}": number(recall * share, 0.0325)
        for direction in ("text", "image")
        for k, share in ((1, 0.25), (5, 0.5), (10, 1.0))
    }
    zero_shot = {"group": {"acc1": number(0.431, 0.125), "mean_per_class_recall": number(0.402)}}
    split = {
        "num_images": IMAGES,
        "num_captions": CAPTIONS,
        "gap": {"centroid_distance": number(gap), "a_new_measure": number(0.7)},
        "retrieval": retrieval,
        "zero_shot": zero_shot,
        "search": searched(recall),
        "mine": {"shiny": {"value": 4.25}, "of_ours": {"dull": number(7.125, 1.5)}},
    }
    return {
        "model": name,
        "step": 120,
        "commands": [f"aligngap train --config=configs/x.py:{name} --workdir=runs/{name}"],
        "versions": {"jax": "0.10.2"},
        "main": "test_unseen_concept",
        "splits": {name: {**ABOUT[name], **split} for name in SPLITS},
        "before": {name: {"gap": {"centroid_distance": number(1.25)}} for name in SPLITS},
    }


def searched(best):
    """Mixed search that falls with the share of images, as its evaluator names it."""
    shares = [round(0.1 * step, 1) for step in range(11)]
    curve = {f"p{share:g}": number(best * (1 - share / 2), 0.004) for share in shares}
    images = {f"p{share:g}": number(share / 3, share) for share in shares}
    fused = {f"a{share:g}": number(best, 0.004) for share in shares}
    return {
        "ndcg@10": curve,
        "mrr": curve,
        "images_among_first_10": images,
        "fused": {"ndcg@10": fused},
    }


def embeddings(captions):
    random = np.random.default_rng(0)
    arrays = {"step": np.array(120)}
    for split in SPLITS:
        for moment in ("initial", "trained"):
            arrays[f"{split}/{moment}/image"] = unit(random.normal(size=(IMAGES, WIDTH)))
            arrays[f"{split}/{moment}/text"] = unit(random.normal(size=(CAPTIONS, WIDTH)))
        names = [*captions, *(f"thing number {i}" for i in range(CAPTIONS))][:CAPTIONS]
        arrays[f"{split}/image_caption"] = np.arange(IMAGES) % CAPTIONS
        arrays[f"{split}/captions"] = np.array(names)
        arrays[f"{split}/image_label"] = np.array(["objects"] * IMAGES)
        arrays[f"{split}/caption_group"] = np.arange(CAPTIONS)
        arrays[f"{split}/gallery_rows"] = np.array([0, 3, 13])
        pictures = random.integers(0, 255, (IMAGES, 64, 64, 3), dtype=np.uint8)
        arrays[f"{split}/pair_picture"] = pictures
    return arrays


@pytest.fixture(scope="session")
def make_run():
    return write_run


@pytest.fixture
def pair(tmp_path):
    """A CLIP and an AlignCLIP run, the second with a smaller gap and worse retrieval."""
    clip = write_run(tmp_path / "clip")
    return [clip, write_run(tmp_path / "alignclip", "alignclip", gap=0.1618, recall=0.1452)]


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no chromium here (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM)
        yield found
        found.close()


@pytest.fixture
def visit(browser):
    """(file, width, ...) → that page; afterwards, that each was silent and asked for nothing."""
    contexts, complaints, requests = [], [], []

    def visited(file, width=1100, **scheme):
        context = browser.new_context(viewport={"width": width, "height": 900}, **scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda x: x.type in ("error", "warning") and complaints.append(x.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(file.as_uri())
        return page

    yield visited
    for context in contexts:
        context.close()
    assert complaints == []
    outside = [url for url in requests if not url.startswith(("data:", "file:"))]
    files = [url for url in requests if url.startswith("file:")]
    assert outside == [] and len(files) == len(contexts)
