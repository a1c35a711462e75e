"""The gap of a run's embeddings, closed by what was fitted on others: embed, fit, apply, search."""

import json

import numpy as np
import pytest

from aligngap import cli, gap
from aligngap.gap.transforms.methods import METHODS

pytestmark = [pytest.mark.system, pytest.mark.corpus]
SPLIT = "pictograms/test_unseen_both"
NAMES = ("image", "text", "query")


@pytest.fixture(scope="module")
def halves(finished, tmp_path_factory):
    """Two folders of image.npy, text.npy, query.npy: of even and of odd rows of a split."""
    folder = tmp_path_factory.mktemp("embedded")
    named = [f"--images={SPLIT}", f"--texts={SPLIT}", f"--output={folder}"]
    assert cli.main(["embed", f"--workdir={finished}", *named]) == 0
    for number, half in enumerate(("fit", "judge")):
        (folder / half).mkdir()
        for name, source in zip(NAMES, ("image", "text", "text"), strict=True):
            np.save(folder / half / f"{name}.npy", np.load(folder / f"{source}.npy")[number::2])
    return folder / "fit", folder / "judge"


def given(folder, *names):
    return [f"--{name}={folder / name}.npy" for name in names]


def distance(folder):
    return float(gap.centroid_distance(*(np.load(folder / f"{x}.npy") for x in NAMES[:2])))


@pytest.mark.parametrize("method", [name for name in METHODS if name != "transport"])
def test_fit_apply_search(halves, tmp_path, method):
    fit, judge = halves
    flags = [f"--method={method}", f"--output={tmp_path / 't'}"]
    if method == "spectral":
        flags.append("--eigenvectors=8")
    assert cli.main(["gap", "fit", *given(fit, "image", "text"), *flags]) == 0
    transform = f"--transform={tmp_path / 't'}"
    for name in NAMES:
        out = f"--output={tmp_path / name}.npy"
        assert cli.main(["gap", "apply", transform, *given(judge, name), out]) == 0
    if method != "text_principal":  # It takes no mean away.
        assert distance(tmp_path) < distance(judge)
    found = {}
    for name, folder, more in (("before", judge, [transform]), ("after", tmp_path, [])):
        out = f"--output={tmp_path / 'searched'}"
        assert cli.main(["gap", "search", *given(folder, *NAMES), *more, out]) == 0
        found[name] = json.loads((tmp_path / "searched" / "search.json").read_text())
    assert found["before"]["transform"]["method"] == method
    for measure in ("ndcg@10", "images_among_first_10"):
        values = [[row["value"] for row in each[measure]] for each in found.values()]
        assert values[0] == pytest.approx(values[1], abs=1e-3), measure
