"""Reading, overriding and validating a config; what a resumed run may change."""

import json
from pathlib import Path

import pytest

from aligngap import config as configs
from aligngap.errors import UsageError
from aligngap.presets import PRESETS

ROOT = Path(__file__).parents[1]
QUICKSTART = str(ROOT / "configs" / "quickstart.py")
UNTIED = ("clip", "cua", "cuaxu", "cl_gap", "clip_refine", "siglip", "siglip_relative")
PAPER = str(ROOT / "configs" / "alignclip_vit_b16_cc12m.py")


@pytest.mark.parametrize("path", [QUICKSTART, PAPER])
@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_valid_and_say_what_they_are(path, preset):
    config = configs.load(f"{path}:{preset}", [])
    weights = {k: v for k, v in config.objective.items() if k.endswith("_weight") and v}
    assert config.name == preset
    assert (config.model.tie == "none") == (preset in UNTIED)
    assert config.model.logit_bias == preset.startswith("siglip")
    assert config.model.bias_form == ("relative" if preset == "siglip_relative" else "absolute")
    assert {name.removesuffix("_weight"): weight for name, weight in weights.items()} == {
        "clip": {"contrastive": 1.0},
        "sharedclip": {"contrastive": 1.0},
        "alignclip": {"contrastive": 1.0, "separation": 0.25},
        "alignclip_released": {"contrastive": 2.0, "separation": 0.5},
        "cua": {"contrastive": 1.0, "alignment": 1.0, "uniformity": 1.0},
        "cuaxu": {"contrastive": 1, "alignment": 1, "uniformity": 1, "cross_uniformity": 1},
        "cua_tied": {"contrastive": 1.0, "alignment": 1.0, "uniformity": 1.0},
        "cl_gap": {"contrastive": 1, "alignment": 1, "centroid_uniformity": 1},
        "clip_refine": {"random_alignment": 1, "distillation": 1},
        "siglip": {"sigmoid": 1.0},
        "siglip_relative": {"sigmoid": 1.0},
    }[preset]


def test_the_papers_recipe():
    """The defaults of AlignCLIP's released code."""
    config = configs.load(PAPER, [])
    flat = configs.keys(config)
    wanted = {
        "batch_size": 512, "steps": 588_000, "optimizer.peak_lr": 1e-3, "optimizer.b1": 0.9,
        "optimizer.b2": 0.98, "optimizer.eps": 1e-6, "optimizer.weight_decay": 0.1,
        "optimizer.warmup_steps": 10_000, "optimizer.clip_norm": 0, "model.image.size": 224,
        "model.image.patch_size": 16, "model.image.width": 768, "model.image.layers": 12,
        "model.text.context_length": 77, "model.text.vocab_size": 49_408, "model.embed_dim": 768,
        "data.crop_scale": (0.9, 1.0), "model.scale_max": 100,
    }  # fmt: skip
    assert {name: flat[name] for name in wanted} == wanted


def test_overrides_keep_their_types():
    overrides = ["--config.optimizer.peak_lr=3", "--config.objective.separated=('image', 'text')"]
    config = configs.load(QUICKSTART, overrides)
    assert config.optimizer.peak_lr == 3.0
    assert isinstance(config.optimizer.peak_lr, float)
    assert config.objective.separated == ("image", "text")


def test_a_config_file_with_a_key_of_its_own(tmp_path):
    file = tmp_path / "own.py"
    file.write_text(
        "from aligngap.config import default\n"
        "def get_config():\n    c = default()\n    c.optimizer.peaklr = 1.0\n    return c\n"
    )
    with pytest.raises(UsageError, match=r"'optimizer.peaklr'; did you mean 'optimizer.peak_lr'"):
        configs.load(str(file), [])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("raise ValueError('no such size')", "own.py: .*no such size$"),
        ("return default().optimizr", "own.py: it has no 'optimizr'; Did you mean \"optimizer\" "),
        ("return default()['data']['mine']", "own.py: it has no 'mine'$"),
    ],
)
def test_a_config_file_that_fails(tmp_path, line, message):
    file = tmp_path / "own.py"
    file.write_text(f"from aligngap.config import default\ndef get_config():\n    {line}\n")
    with pytest.raises(UsageError, match=message) as error:
        configs.load(str(file), [])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("evaluators.gap.finl=x", "unknown config key 'evaluators.gap.finl'; did you mean 'eval"),
        ("evaluators.retreival.final=x", "did you mean 'evaluators.retrieval.final'.* in a config"),
        ("data.of.mine.max_keywords=1", "evaluators and data.of get entries in a config file"),
        ("evaluators.gap.final.x=3", "did you mean 'evaluators.gap.final'"),
        ("evaluators.gap.every_steps=often", "config: .*invalid literal.*'often'"),
    ],
)
def test_overrides_of_what_is_not_there(override, message):
    for read in (
        lambda o: configs.overridden(configs.default(), o),
        lambda o: configs.load(PAPER, o),
    ):
        with pytest.raises(UsageError, match=message):
            read([f"--config.{override}"])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("model.image.heads", 3, "no multiple of heads"),
        ("objective.separated", ("sound",), "separated"),
        ("objective.contrastive_weight", 0.0, "nothing to learn"),
        ("objective.label_smoothing", 1.0, "label_smoothing"),
        ("data.crop_scale", (0.9, 0.1), "crop_scale"),
        ("data.max_keywords", -1, "max_keywords"),
        ("data.name_share", 1.5, "name_share"),
        ("data.crop_ratio", (0.0, 1.0), "crop_ratio"),
        ("data.std", (1.0, 0.0, 1.0), r"data.std=\(1.0, 0.0, 1.0\) must be above 0"),
        ("evaluators.gap.every_steps", -1, "evaluators.gap.every_steps=-1 must be at least 0"),
        ("data.resize", "stretch", "crop, squash"),
        ("model.image.layers", 0, "model.image.layers=0"),
        ("model.scale_init", 200.0, "scale_init"),
        ("optimizer.warmup_steps", 700, "warmup_steps"),
        ("microbatches", 3, "microbatches=3 must divide batch_size=256"),
        ("objective.sigmoid_weight", 1.0, "needs model.logit_bias=True"),
        ("objective.cauchy_schwarz_sigma", -1.0, "cauchy_schwarz_sigma=-1.0 must be at least 0"),
        ("model.bias_form", "relative", "needs objective.sigmoid_weight: no other loss"),
        ("model.bias_form", "centred", "absolute, relative"),
        ("objective.temperature", "cold", "learned, fixed, scheduled"),
        ("objective.temperature_schedule", (0.0, 1.0), r"\(0.0, 1.0\) must be above 0"),
        ("objective.swap", "all", "none, hard, soft"),
        ("objective.swap_share", 2.0, "swap_share"),
        ("objective.tile", -1, "tile=-1"),
        ("model.scale_form", "sinh", "exp, softplus"),
        ("model.image.activation", "relu", "gelu, gelu_tanh, quick_gelu"),
        ("model.text.norm_eps", 0.0, "norm_eps=0.0 must be above 0"),
        ("model.text.projection", "none", "width 128 must be model.embed_dim=256"),
        ("model.image.stages", (3, 4), "four whole numbers"),
        ("model.image.stages", (3, 4, 6, 3), "a ResNet .* projects by itself"),
        ("model.remat", "all", "none, dots, block, auto"),
        ("model.image.patch_dropout", 1.0, "patch_dropout=1.0 must be in"),
        ("optimizer.name", "sgd", "adamw, lion, adafactor"),
        ("optimizer.moments", "float16", "float32, bfloat16"),
        ("optimizer.b2", 1.0, "b2=1.0 must be in"),
        ("optimizer.clip_norm", -1.0, "clip_norm=-1.0 must be at least 0"),  # It would ascend.
        ("optimizer.peak_lr", float("nan"), "peak_lr=nan must be a finite number"),
        ("model.image.mlp_ratio", 0.0, "mlp_ratio=0.0 must be above 0"),
        ("model.text.vocab_size", -5, "vocab_size=-5 must be at least 1"),
        ("objective.uniformity_t", -1.0, "uniformity_t=-1.0 must be above 0"),
        ("data.crop_scale", (0.9,), r"crop_scale=\(0.9,\): expected 2 numbers"),
        ("data.crop_ratio", ("a", "b"), "crop_ratio=.*: expected 2 numbers"),
        ("data.mean", (0.5, 0.5, float("inf")), "mean=.*: expected 3 numbers"),
        ("data.mixture_schedule", (5,), "mixture_schedule=.*: expected"),
        ("data.mixture_schedule", ((1, ("a",)),), "mixture_schedule=.*: expected"),
        ("model.image.stages", ("a", "b", "c", "d"), "four whole numbers"),
        ("optimizer.lr_factors", (("(", 1.0),), "regular expression"),
        ("optimizer.lr_factors", (("logit_scale", -1.0),), "at least 0"),
    ],
)
def test_values_out_of_range(name, value, message):
    config = configs.load(QUICKSTART, [])
    config.steps = 700
    config.update_from_flattened_dict({name: value})
    with pytest.raises(UsageError, match=message):
        configs.validate(config)


@pytest.mark.parametrize(
    ("preset", "override", "message"),
    [
        ("siglip", "objective.contrastive_weight=0.5", "contrastive_weight=0.5: one of them must"),
        ("siglip_relative", "model.bias_init=-10.0", r"is a cosine: expected one in \[-1, 1\]"),
        ("siglip_relative", "model.logit_bias=False", "needs model.logit_bias=True"),
    ],
)
def test_presets_that_an_override_contradicts(preset, override, message):
    with pytest.raises(UsageError, match=message):
        configs.load(f"{QUICKSTART}:{preset}", [f"--config.{override}"])


@pytest.mark.parametrize(
    ("name", "entry", "message"),
    [
        ("mine", {"split": "validation"}, "evaluators.mine: expected a type and its options"),
        ("mine", {"type": "gap", "split": 3}, "evaluators.mine.split=3: expected str"),
        ("mine", {"type": "gap", "every_steps": -1}, "every_steps=-1 must be at least 0"),
        ("title", {"type": "gap"}, "evaluators.title: results have that name for something else"),
    ],
)
def test_entries_that_are_no_evaluator(name, entry, message):
    config = configs.default()
    config.evaluators[name] = entry
    with pytest.raises(UsageError, match=message):
        configs.validate(config)


def test_evaluators_may_have_any_options_and_be_left_out():
    config = configs.load(QUICKSTART, ["--config.evaluators.gap.every_steps=7"])
    assert config.evaluators.gap.every_steps == 7
    config.evaluators = {"mine": {"type": "package.module.Mine", "own": 3}}
    configs.validate(config)
    again = configs.from_json(configs.complete(json.loads(config.to_json())))
    assert set(again.evaluators) == {"mine"}


def test_through_json_and_back():
    config = configs.load(QUICKSTART, [])
    again = configs.from_json(json.loads(config.to_json()))
    assert configs.keys(again) == configs.keys(config)


def test_only_what_does_not_change_learning_may_change():
    old = json.loads(configs.load(QUICKSTART, []).to_json())
    for name in ("mesh.fsdp", "log.every_steps", "data.data_dir", "data.workers", "model.remat"):
        new = json.loads(configs.load(QUICKSTART, []).to_json())
        *parents, last = name.split(".")
        part = new
        for parent in parents:
            part = part[parent]
        part[last] = "other"
        assert configs.difference(old, new) is None
    for override in ("--config.seed=1", "--config.optimizer.peak_lr=1", "--config.data.corpus=x"):
        new = json.loads(configs.load(QUICKSTART, [override]).to_json())
        assert override[9:].partition("=")[0] in str(configs.difference(old, new))


def test_a_run_older_than_a_field_went_by_its_default():
    """The models of configs before this field's day are as they were; their runs go on."""
    new = json.loads(configs.load(QUICKSTART, []).to_json())
    old = json.loads(json.dumps(new))
    for modality in ("image", "text"):
        for field in ("activation", "norm_eps", "projection", "pooling"):
            del old["model"][modality][field]
    assert configs.difference(old, new) is not None
    assert configs.difference(configs.complete(old), new) is None
    assert configs.complete(old)["model"] == new["model"]
