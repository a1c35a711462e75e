"""The paper's recipe, priced without allocating it."""

from pathlib import Path

import pytest

from aligngap import config as configs
from aligngap.data import packing_plan, tokenizers
from aligngap.errors import UsageError
from aligngap.runs import sweep
from aligngap.training import activations, dry_run, in_turn

CONFIGS = Path(__file__).parents[2] / "configs"
PAPER = str(CONFIGS / "alignclip_vit_b16_cc12m.py")


def described(*overrides):
    text = dry_run.describe(configs.load(PAPER, list(overrides)))
    return text, dict(line.split(maxsplit=1) for line in text.splitlines() if line.strip())


def test_the_papers_model():
    text, lines = described()
    assert lines["Parameters"] == "124,393,729"
    # By hand: 135.3 GFLOP a trained pair.
    assert "(135.0 GFLOP a pair)" in text
    assert lines["parameters"] == lines["gradients"]


@pytest.mark.parametrize(
    ("file", "points"),
    [
        ("alignclip_vit_b16_cc12m.py", 3 * 3 + 2),
        ("contrastive_gap_vit_b32_coco.py:clip", 3 * 3 * 3),
        ("mind_the_gap_vit_b16_coco.py:temperature", 6),
        ("mind_the_gap_vit_b16_coco.py:scratch", 3),
        ("study/study.py", 16 * 5 + 3 * 3),
        ("study/study.py:rates", 16 * 3 + 3),
        ("study/study.py:settings", 3 * 2 * 2 + 3 + 3),
        ("study/why.py", (16 * 2 + 8 + 8 + 2 * 8) * 2),
        ("study/recipe.py", 12),
        ("study/recipe.py:full", 2),
        ("study/cc12m.py:main", 16 * 3),
        ("study/cc12m.py:rates", 16 * 3),
    ],
)
def test_the_points_of_the_papers_tables(file, points):
    """Each is a valid config unlike the others."""
    found = sweep.points(str(CONFIGS / file), [])
    for point in found:
        tokenizers.check(point.config)
    assert len({point.config.to_json() for point in found}) == len(found) == points
    lines = in_turn.listing(found, None).splitlines()
    assert [line.split()[1] for line in lines] == [point.name for point in found]


BLOCK = 12 * 768**2 + 13 * 768  # Parameters of a block of width 768.
OPENAI = {"B/32": 151_277_313, "B/16": 149_620_737}  # As OpenAI published them.


@pytest.mark.parametrize(
    ("file", "point", "parameters"),
    [
        ("alignclip_vit_b16_cc12m.py", "alignclip-ViT-B-16-512", 124_393_729 - 768 * 256),
        ("alignclip_vit_b16_cc12m.py", "alignclip-ViT-L-16", 124_393_729 + 4 * BLOCK),
        ("contrastive_gap_vit_b32_coco.py", "cuaxu-64-seed42", OPENAI["B/32"] - 448 * 1280),
        ("mind_the_gap_vit_b16_coco.py", "tau1_30", OPENAI["B/16"]),
        # Untied, of one shape: blocks, the last norm and the projection are there twice.
        ("study/cc12m.py", "clip-lr0.001-seed2", 124_393_729 + 12 * BLOCK + 2 * 768 + 768**2),
        ("study/cc12m.py", "siglip_relative-lr0.001-seed0", 210_039_553 + 1),
    ],
)
def test_each_architecture_of_the_papers_tables_is_priced(file, point, parameters):
    scan = ["--config.model.scan=True"]  # A block is traced, and counted for all.
    found = sweep.find(sweep.points(str(CONFIGS / file), scan), point)
    text = dry_run.describe(found.config)
    lines = dict(line.split(maxsplit=1) for line in text.splitlines() if line.strip())
    assert lines["Parameters"] == f"{parameters:,}"
    assert lines["Model"].startswith(found.config.name)


def test_bytes_fall_with_fsdp_and_tensor():
    whole = 124_393_729 * 4 / 2**20
    text, lines = described(*(f"--config.mesh.{axis}=2" for axis in ("data", "fsdp", "tensor")))
    value, unit = lines["parameters"].split()
    assert unit == "MiB"
    assert whole / 4 <= float(value) <= whole / 4 * 1.05
    assert "(·, fsdp, tensor)" in text


def test_a_mesh_that_does_not_divide_the_batch():
    with pytest.raises(UsageError, match="batch_size=512"):
        described("--config.mesh.data=3")


def test_fsdp_over_eight_devices_splits_everything_by_eight():
    one, eight = (
        described("--config.mesh.data=1", f"--config.mesh.fsdp={fsdp}")[1] for fsdp in (1, 8)
    )
    for field in ("parameters", "optimiser"):
        (value, unit), (part, smaller) = one[field].split(), eight[field].split()
        whole = float(value) * {"GiB": 2**10, "MiB": 1}[unit]
        assert smaller == "MiB"
        assert whole / 8 * 0.99 <= float(part) <= whole / 8 * 1.05


def test_a_topology_that_is_not_at_hand():
    config = configs.load(PAPER, ["--config.mesh.fsdp=8", "--config.batch_size=4096"])
    text = dry_run.describe(config, "v5e-256")
    assert "data 32, fsdp 8, tensor 1" in text
    (memory,) = [line for line in text.splitlines() if "of its memory" in line]
    assert "of 16 GB" in memory


def test_float32_is_priced_as_gpus_multiply_it():
    """By TensorFloat-32, as MFU is."""
    config = configs.load(PAPER, [*SMALL, "--config.compute_dtype=float32"])
    text = dry_run.describe(config, "h100-1")
    lines = dict(map(str.strip, line.split("  ", 1)) for line in text.splitlines() if "  " in line)
    work, seconds = (float(lines[of].split()[0]) for of in ("FLOP a step", "At their peak"))
    assert seconds == pytest.approx(work / 495e12, rel=0.01)


@pytest.mark.parametrize("name", ["v5e", "abacus-4", "h100-0", "h100-many"])
def test_an_unknown_topology_names_those_there_are(name):
    with pytest.raises(UsageError, match=f"--topology={name}.*h100-64.*v5e"):
        dry_run.describe(configs.load(PAPER, []), name)


SMALL = [
    "--config.model.tie=none",
    *(f"--config.model.{m}.{size}" for m in ("image", "text") for size in ("width=64", "heads=4")),
    *(f"--config.model.{m}.layers=3" for m in ("image", "text")),
]


def policies(text):
    """Policy → what its line says, of the table of an estimate."""
    lines = text.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("Remat (estimate)"))
    return {row[0]: row[1:] for row in map(str.split, lines[first + 1 : first + 4])}


def test_each_policy_has_its_batch_and_auto_takes_the_first_that_fits():
    config = configs.load(PAPER, [*SMALL, "--config.model.remat=auto"])
    found = policies(dry_run.describe(config, "h100-1"))
    largest = {name: int(row[3].replace(",", "")) for name, row in found.items()}
    assert list(found) == ["none", "dots", "block"]
    assert largest["none"] < largest["dots"] < largest["block"]
    assert float(found["none"][2]) < float(found["dots"][2]) < float(found["block"][2])
    config.batch_size = largest["none"] + 8
    assert "Remat            dots (auto)" in dry_run.describe(config, "h100-1")
    config.batch_size, config.model.remat = largest["dots"], "dots"
    text = dry_run.describe(config, "h100-1")
    (memory,) = [line for line in text.splitlines() if "of its memory" in line]
    assert "95 % with activations" in memory


def test_packed_captions_keep_what_their_rows_need():
    """As many as captions, what padded ones keep, but for the last block, which has all queries; a
    quarter of that, less, and room for more."""
    config = configs.load(PAPER, [*SMALL, "--config.model.text.context_length=80"])
    plan = packing_plan.make(config, 2, (64, 256))
    padded = activations.by_policy(config)
    packed = activations.by_policy(config, packing=plan)
    whole = activations.by_policy(config, packing=packing_plan.make(config, 2, (256,)))
    deeper = config.copy_and_resolve_references()
    deeper.model.text.layers += 1
    deeper = activations.by_policy(deeper)
    for policy in configs.REMAT:
        assert padded[policy] < whole[policy] < deeper[policy]
        assert packed[policy] < 0.9 * whole[policy]
    largest = activations.largest_batches(config, packed, 1e9, 1, packing=plan)
    for policy, size in activations.largest_batches(config, padded, 1e9, 1).items():
        assert largest[policy] > 1.1 * size
