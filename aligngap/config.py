"""The config: every field with its unit and source, its validation, and reading it from a file.

The papers: [AC] AlignCLIP (Eslami & de Melo 2025), [CLIP] Radford et al. 2021,
[CG] It's Not a Modality Gap (Fahim et al. 2024), [SL] SigLIP (Zhai et al. 2023),
[YA] Yaras et al. 2024, [LI] Lion (Chen et al. 2023), [AF] Adafactor (Shazeer & Stern 2018),
[FL] FLIP (Li et al. 2023), [FLYP] Goyal et al. 2023, [CL] CL_gap (arXiv 2601.18525),
[CS] CS-Aligner (2502.17028), [RB] SigLIP's relative bias (2509.18552), [CR] CLIP-Refine
(2504.12717).
"""

import contextlib
import difflib
import json
import math
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from aligngap.addresses import is_remote
from aligngap.errors import UsageError

REMAT = ("none", "dots", "block")  # By what is computed again, the least first.
TIES = ("none", "transformer", "transformer+projection")
MODALITIES = ("image", "text")
TERMS = (
    *("contrastive", "sigmoid", "separation", "alignment", "uniformity", "cross_uniformity"),
    *("centroid_uniformity", "cauchy_schwarz", "random_alignment", "distillation"),
)
CLIP_VOCABULARY = 49_408  # Tokens, start and end included. [CLIP]
ONE_OF = {
    "data.resize": ("crop", "squash"),
    "data.shuffle": ("", "global", "block"),
    "data.semantics_from": ("records", "step"),
    "model.tie": TIES,
    "model.scale_form": ("exp", "softplus"),
    "model.bias_form": ("absolute", "relative"),
    "model.remat": (*REMAT, "auto"),
    "model.attention": ("auto", "xla"),
    **{f"model.{m}.activation": ("gelu", "gelu_tanh", "quick_gelu") for m in MODALITIES},
    **{f"model.{m}.projection": ("linear", "affine", "none") for m in MODALITIES},
    "model.image.pooling": ("class_token", "attention"),
    "model.text.pooling": ("end_of_text", "last"),
    "compute_dtype": ("float32", "bfloat16"),
    "objective.temperature": ("learned", "fixed", "scheduled"),
    "objective.mask_duplicates": ("none", "group", "caption"),
    "objective.swap": ("none", "hard", "soft"),
    "optimizer.name": ("adamw", "lion", "adafactor"),
    "optimizer.moments": ("float32", "bfloat16"),
    "optimizer.schedule": ("cosine", "constant"),
    "optimizer.decay": ("matrices", "all"),
}
AT_LEAST_ONE = (
    *(
        "steps",
        "batch_size",
        "microbatches",
        "model.embed_dim",
        "model.image.size",
        "model.image.patch_size",
        "data.block_size",
        "data.window_blocks",
        "model.text.vocab_size",
    ),
    *(f"model.{m}.{field}" for m in MODALITIES for field in ("width", "layers", "heads")),
    *("log.every_steps", "checkpoint.every_steps"),
    *("checkpoint.keep", "evaluation.batch_size", "health.spike_window"),
)
AT_LEAST_ZERO = (
    *("checkpoint.every_minutes", "health.skip_nonfinite", "health.spike_sigma"),
    *("health.roll_backs", "watchdog.report_after_s", "watchdog.end_after_s"),
    *(f"optimizer.{field}" for field in ("peak_lr", "eps", "weight_decay", "clip_norm")),
    "objective.cauchy_schwarz_sigma",
)
ABOVE_ZERO = (
    *(f"model.{m}.{field}" for m in MODALITIES for field in ("mlp_ratio", "norm_eps")),
    "objective.uniformity_t",
)
NUMBERS = {  # How many each holds.
    **{"data.crop_scale": 2, "data.crop_ratio": 2, "objective.temperature_schedule": 2},
    **{"data.mean": 3, "data.std": 3},
}
BELOW_ONE = (
    *("objective.label_smoothing", "objective.distillation_alpha", "optimizer.ema_decay"),
    *("optimizer.b1", "optimizer.b2"),
    "model.image.patch_dropout",
)
ABOUT = ("title", "note", "num_images", "num_captions")  # Of a split, beside its evaluators.
EVALUATORS = "evaluators."  # Below it, keys are as free as their evaluators.
OF = "data.of."  # Below it stand names of corpora, and fields of data.
FREE = (EVALUATORS, OF)
SAMPLED = ("crop_scale", "crop_ratio", "first_caption", "max_keywords", "name_share")
# A resumed run may change these: they do not change what is learnt, only where and how it is seen.
FREE_TO_CHANGE = (
    *("mesh", "log", "evaluation", "evaluators", "checkpoint", "health", "watchdog"),
    *("data.data_dir", "data.test_splits", "data.in_memory", "data.workers"),
    *("data.pack_captions", "model.remat", "model.attention"),
)


def default() -> ConfigDict:
    """The recipe of [AC] at ViT-B/16 size; a config file starts from this and changes fields."""
    config = ConfigDict()
    config.name = "clip"  # What reports call this run.
    config.seed = 0
    config.steps = 588_000  # Optimiser steps. [AC]: 30 epochs of CC12M.
    config.batch_size = 512  # Pairs a step over all processes. [AC]
    config.microbatches = 1  # Parts of a batch encoded one after the other; negatives of all of it.
    config.compute_dtype = "float32"  # Of matrix products; parameters and losses stay float32.
    config.deterministic = False  # The same bits on GPUs each time, where xla_flags.py says how.
    config.init_from = ""  # A workdir whose model a run starts from, weights alone: --init_from.
    config.fresh = ()  # Regular expressions: what of init_from's parameters starts anew.

    config.data = data = ConfigDict()
    # By its name: one of data/corpora, one that `aligngap prepare --source` made, a set of TFDS, or
    # your own class: package.module.Name. Several: "cc12m:0.7,pictograms:0.3", with their weights.
    data.corpus = "pictograms"
    data.mixture_schedule = ()  # ((step, (weight of each corpus)), ...): other weights from then.
    data.of = ConfigDict()  # {corpus: {field of data: value}}: what is sampled of that one.
    data.leave_out = ()  # Corpora whose held-out names may stand in no other's caption to train on.
    data.replacement = False  # True: records are drawn with replacement, there are no epochs.
    # global: any order | block: blocks of neighbours, records shuffled within a window of blocks |
    # "": block where records are better read in blocks (parquet, remote shards), else global.
    data.shuffle = ""
    data.block_size = 512  # Records, where a source has no blocks of its own.
    data.window_blocks = 8
    data.data_dir = ""  # Where corpora are prepared; "" is TFDS's own: ~/tensorflow_datasets.
    data.train_split = ""  # "", "" and (): the corpus's own.
    data.validation_split = ""
    data.test_splits = ()
    # trained: learnt from the captions | clip: CLIP's own, captions cleaned as open_clip does |
    # clip_fast: CLIP's own without the cleaning, as transformers' CLIPTokenizerFast |
    # siglip: the sentencepiece vocabulary that came with an imported model.
    data.tokenizer = "trained"
    data.mean = (0.48145466, 0.4578275, 0.40821073)  # Of RGB in [0, 1]. [CLIP]
    data.std = (0.26862954, 0.26130258, 0.27577711)
    # How evaluation makes an image square. crop: the shorter side to size, then the centre [CLIP] |
    # squash: both sides to size [SL]. Training has its random crops.
    data.resize = "crop"
    data.crop_scale = (0.9, 1.0)  # Share of the area that a random crop keeps. [AC]
    data.crop_ratio = (3 / 4, 4 / 3)  # Width by height of the crop.
    data.first_caption = False  # True: of several names of a record always the first. [CG]
    # A kind of labels, such as label or group: captions to train on are what the record's class is
    # called, in each of the prompts; a class is a group. Fine-tuning on a labelled set. [FLYP]
    data.class_captions = ""
    data.prompts = ("a photo of a {}.",)
    data.max_keywords = 0  # That may follow the name in a caption, as in "dog, pet, animal".
    # What captions mean, for the separation loss. records: what the corpus says, or `aligngap
    # prepare --semantics` has written | step: of each caption as it is sampled, within the step.
    data.semantics_from = "records"
    data.semantics = ""  # A .npy [records of the train split, S] in place of the corpus's own.
    data.semantics_model = "minilm"  # Of the step: all-MiniLM-L6-v2, or a folder of such a model.
    data.semantics_tokens = 128  # Of a caption that the step's model sees, start and end included.
    # Several captions share a row of tokens, so that short ones do not pay for context_length (an
    # end_of_text pooled, causal text tower's). The same embeddings; docs/training.md.
    data.pack_captions = False
    data.name_share = 1.0  # Chance that a caption to train on has a name, not keywords alone.
    data.in_memory = False  # Hold decoded records, up to 2 GiB a process: a fifth faster.
    data.workers = 0  # Worker processes of the pipeline; 0: threads of this process.

    config.model = model = ConfigDict()
    model.tie = "none"  # none | transformer | transformer+projection. [AC] ties all three.
    model.embed_dim = 512  # D of the shared space. [AC]: 768, and 512 for its baseline.
    model.scale_init = 1 / 0.07  # s = 1/τ at the start. [CLIP]; 10: [SL]
    model.scale_form = "exp"  # s = exp(parameter), or softplus(parameter): [YA].
    model.logit_bias = False  # A learnable bias, for the sigmoid loss. [SL]
    # absolute: logits s·cos + b, the bias is b [SL] | relative: s·(cos − r), the bias is r [RB].
    model.bias_form = "absolute"
    model.bias_init = -10.0  # [SL]; r of a relative one is a cosine.
    model.scale_max = 100.0  # s is clamped to [1, this] after every step. [CLIP]
    model.scan = False  # Scan over layers: one block is compiled, not all of them.
    # What the backward pass computes again. none | dots: all but the outputs of the dense products,
    # which stay | block: each block, for 4/3 of the FLOPs | auto: the first of these that fits.
    model.remat = "none"
    # auto: cuDNN's fused kernel in blocks, on GPUs that compute in bfloat16 | xla: never.
    model.attention = "auto"
    model.image = tower(768, 12, 12, 4.0)
    model.image.size = 224  # Pixels a side.
    model.image.patch_size = 16
    # (): a Vision Transformer. Else blocks a stage of CLIP's ResNet, (3, 4, 6, 3) in RN50: width is
    # its stem's (64), heads are its pooling's (32), and the other fields of a ViT are not used.
    model.image.stages = ()
    model.image.patch_bias = False  # Of the patch convolution. [SL]: True.
    model.image.input_norm = True  # A LayerNorm before the blocks. [CLIP]; False: [SL].
    model.image.patch_dropout = 0.0  # Share of the patches that a step leaves out. [FL]: 0.5.
    model.image.pooling = "class_token"  # [CLIP] | attention of a learned query to all. [SL]
    model.text = tower(512, 12, 8, 4.0)
    model.text.context_length = 77  # Tokens, start and end included. [CLIP]
    model.text.vocab_size = CLIP_VOCABULARY
    model.text.causal = True  # A token sees those before it. [CLIP]; False: every other one. [SL]
    model.text.pooling = "end_of_text"  # The first of the highest id. [CLIP] | last token: [SL].
    for part in (model.image, model.text):
        part.activation = "gelu"  # Exact. [AC] | gelu_tanh [SL] | quick_gelu: x·σ(1.702x) [CLIP]
        part.norm_eps = 1e-5  # What LayerNorms add to the variance. [CLIP]; 1e-6: [SL].
        part.projection = "linear"  # To embed_dim. [CLIP] | affine: with a bias | none. [SL]: both.

    # Default: half of [AC]'s total CE_i2t + CE_t2i + ½·IMSep(images). Their total: 2.0 and 0.5.
    config.objective = objective = ConfigDict()
    objective.contrastive_weight = 1.0  # Of the MEAN of the two cross-entropies.
    objective.sigmoid_weight = 0.0  # Of SigLIP's loss. [SL]: 1, in place of the contrastive one.
    objective.separation_weight = 0.0  # Of IMSep of each separated modality. [AC], halved: 0.25.
    objective.separated = ("image",)  # image | text. The paper: images; the released code: both.
    objective.semantic_rescaling = True  # False is the ablation of [AC].
    objective.alignment_weight = 0.0  # [CG], [CL]: 1.
    objective.uniformity_weight = 0.0  # Of half the sum over the modalities. [CG]: 1.
    objective.cross_uniformity_weight = 0.0  # [CG]: 1 in CUAXU.
    objective.centroid_uniformity_weight = 0.0  # Of the pairs' centroids. [CL]: 1.
    objective.uniformity_t = 2.0  # Of the Gaussian potential exp(-t‖a - b‖²). [CG], [CL]
    objective.cauchy_schwarz_weight = 0.0  # λ of [CS], who do not say which they took.
    # σ of its kernel; 0: σ² is half the median of ‖image - text‖² in the batch, a third party's
    # rule. What [CS] took is not known.
    objective.cauchy_schwarz_sigma = 0.0
    # Both read embeddings before they are brought to length 1: how far they are from noise, and
    # from softmaxes of the model that --init_from names, which stays as it was. [CR]: 1 each.
    objective.random_alignment_weight = 0.0
    objective.distillation_weight = 0.0
    objective.distillation_alpha = 0.5  # Share of the pair itself in what is distilled. [CR]
    # none | group (the corpus's) | caption: pairs that share it are no negatives of each other.
    objective.mask_duplicates = "none"
    objective.label_smoothing = 0.0
    objective.temperature = "learned"  # learned | fixed (at scale_init) | scheduled. [YA]
    objective.temperature_schedule = (0.01, 0.05)  # τ, linear from first to last step. [YA]
    objective.swap = "none"  # Of entries between a pair's embeddings: none | hard | soft. [YA]
    objective.swap_share = 0.0  # Of the steps that swap. [YA]: hard 0.001, soft 0.05.
    objective.tile = 0  # Rows a tile of the memory-linear form; 0 holds [B, B] arrays.

    config.optimizer = optimizer = ConfigDict()
    # adamw [AC] | lion: peak_lr 3 to 10 times smaller than AdamW's, weight_decay as much larger
    # [LI] | adafactor: second moments by row and column, clipped updates. [AF]
    optimizer.name = "adamw"
    # Of the moments that are as large as the parameters. bfloat16: half the memory, rounded
    # stochastically.
    optimizer.moments = "float32"
    optimizer.schedule = "cosine"  # To 0 after the warm-up. [AC] | constant. [CG]
    optimizer.peak_lr = 1e-3
    optimizer.warmup_steps = 10_000
    optimizer.b1 = 0.9  # Adafactor's momentum; 0: none.
    optimizer.b2 = 0.98  # [LI]: 0.99. Adafactor's is 1 − t^-0.8.
    optimizer.eps = 1e-6  # AdamW's.
    optimizer.weight_decay = 0.1
    # matrices: no vectors, norms, biases, logit scale. [CLIP] | all. [CG]
    optimizer.decay = "matrices"
    optimizer.clip_norm = 0.0  # Global norm of the gradient; 0: no clipping.
    # ((regular expression of a parameter's path, factor of its learning rate), ...): the first
    # match counts, 0 locks: (("image_", 0.0),) is LiT. [YA] slows the temperature:
    # (("logit_scale", 0.1),).
    optimizer.lr_factors = ()
    optimizer.ema_decay = 0.0  # Of the averaged parameters that evaluation uses; 0: none.

    config.mesh = ConfigDict({"data": -1, "fsdp": 1, "tensor": 1})  # Devices an axis; -1 fills.
    config.checkpoint = checkpoint = ConfigDict()
    checkpoint.every_steps = 1_000
    checkpoint.every_minutes = 0.0  # Since the last save; 0: by steps alone.
    checkpoint.keep = 3  # The latest.
    checkpoint.best = ""  # Keep that of the highest of a value in metrics.jsonl, by its name there.
    config.log = log = ConfigDict()
    log.every_steps = 10
    log.statistics = False  # Norms of gradient and parameters by layer, gap of the batch.
    config.health = health = ConfigDict()
    health.skip_nonfinite = 0  # Steps in a row whose update may be dropped for not being finite.
    health.spike_sigma = 0.0  # Standard deviations above the mean that make a loss a spike; 0: off.
    health.spike_window = 100  # Steps that mean and deviation are of.
    health.roll_backs = 0  # Spikes that go back to the last checkpoint and past the batches since.
    config.watchdog = watchdog = ConfigDict()
    watchdog.report_after_s = 600.0  # Seconds without a step until all stacks are shown; 0: never.
    watchdog.end_after_s = 0.0  # Until the process ends; longer than an evaluation takes. 0: never.
    config.evaluation = ConfigDict({"batch_size": 256})  # Images or texts embedded at a time.
    # What is measured, by any name: evaluation/ has the types and their further options.
    config.evaluators = ConfigDict()
    config.evaluators.gap = evaluator("gap", every_steps=1_000, before=True)
    config.evaluators.retrieval = evaluator("retrieval", every_steps=1_000)
    config.evaluators.zero_shot = evaluator("zero_shot")
    return config


def evaluator(type: str, **options: Any) -> ConfigDict:
    """An entry of `config.evaluators` with all its fields; a dict of some of them does as well."""
    entry = ConfigDict()
    entry.type = type  # One of evaluation.EVALUATORS, or your own: package.module.Name.
    entry.split = "validation"  # What is measured in training: a split, or CORPUS/SPLIT.
    entry.every_steps = 0  # And after the last; 0: never while training.
    entry.first = True  # Also before the first step, which at full size takes minutes.
    # What `aligngap evaluate` measures: likewise, or all tests; several, with commas; "": nothing.
    entry.final = "tests"
    entry.before = False  # Then also of the model before it was trained.
    entry.update(options)
    return entry


def tower(width: int, layers: int, heads: int, mlp_ratio: float) -> ConfigDict:
    """The fields that image and text towers have in common."""
    return ConfigDict({"width": width, "layers": layers, "heads": heads, "mlp_ratio": mlp_ratio})


def load(path: str, overrides: list[str]) -> ConfigDict:
    """Reads `FILE[:preset]`, applies `--config.key=value` overrides, and validates.

    UsageError in one line for a missing file, an unknown key or a value of the wrong type.
    """
    return overridden(_read(path), overrides)


def load_evaluators(path: str) -> ConfigDict:
    """The evaluators of `FILE[:preset]`: those of a whole config, or what its get_config returns,
    which is name → entry. UsageError as in `load`."""
    found = _read(path)
    entries: ConfigDict = found.evaluators if "evaluators" in found else found
    return entries


def _read(path: str) -> ConfigDict:
    file = Path(path.partition(":")[0])
    if not file.is_file():
        raise UsageError(f"config file {file} does not exist (FILE[:preset])")
    values = flags.FlagValues()
    arguments = ["aligngap", f"--config={path}"]
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=arguments)
    with in_one_line(f"config {path}"):
        values(arguments)
        config: ConfigDict = values["config"].value
    return config


@contextlib.contextmanager
def in_one_line(what: str) -> Iterator[None]:
    """UsageError that begins with `what` for anything that a config file raises, which is code."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
        # ml_collections' AttributeError holds a KeyError, whose text quotes its words once more.
        held = error.args[0] if isinstance(error, AttributeError) and error.args else error
        if isinstance(held, KeyError):
            reason = f"it has no {'; '.join(' '.join(map(str, held.args)).splitlines())}"
        raise UsageError(f"{what}: {reason}") from error


def overridden(config: ConfigDict, overrides: Sequence[str]) -> ConfigDict:
    """A config with `--config.key=value` overrides applied, validated; UsageError as in `load`."""
    check_overrides(overrides, config)
    values = flags.FlagValues()
    arguments = ["aligngap", *overrides]
    with in_one_line("config"):
        config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=arguments)
        values(arguments)
    found: ConfigDict = values["config"].value
    validate(found)
    return found


def check_overrides(overrides: Sequence[str], config: ConfigDict | None = None) -> None:
    """UsageError for an argument that is no override, or one of a key that `config` (else: every
    config) lacks."""
    known = keys(default() if config is None else config)
    for override in overrides:
        if not override.startswith("--config."):
            raise UsageError(
                f"unknown argument {override!r}; config overrides are --config.key=value"
            )
        name = override.partition("=")[0].removeprefix("--config.")
        free = config is None and name.startswith(FREE)
        if name not in known and not free:
            raise UsageError(_unknown(name, known))


def validate(config: ConfigDict) -> None:
    """UsageError in one line for the first field that is unknown, missing or out of its range."""
    reference = keys(default())
    for name in keys(config):
        if name not in reference and not name.startswith(FREE):
            raise UsageError(_unknown(name, reference))
    missing = {n for n in reference if not n.startswith(EVALUATORS)} - keys(config).keys()
    if missing:
        raise UsageError(f"config lacks {min(missing)}; start from aligngap.config.default()")
    for message in _problems(config):
        raise UsageError(f"config: {message}")


def data_dir(path: str) -> Path:
    """Where corpora are prepared: the path given, else where TFDS keeps its own. UsageError for one
    in a store."""
    if is_remote(path):
        raise UsageError(
            f"data_dir={path}: corpora are read from a folder of this machine; copy them (only "
            "shards may stay in a store: aligngap prepare --source)"
        )
    return Path(path or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def complete(tree: dict[str, Any]) -> dict[str, Any]:
    """The JSON of a config, with the defaults of what it lacks: a field that is younger than a run
    has the value by which the run went."""

    def filled(default: Any, given: Any) -> Any:
        if not (isinstance(default, dict) and isinstance(given, dict)):
            return given
        known = {k: filled(v, given[k]) if k in given else v for k, v in default.items()}
        return known | {k: v for k, v in given.items() if k not in default}

    whole = filled(json.loads(default().to_json()), tree)
    named = {"evaluators": tree["evaluators"]} if "evaluators" in tree else {}
    return {**whole, **named}


def from_json(tree: dict[str, Any]) -> ConfigDict:
    """A config from what its JSON holds: lists become the tuples that they were."""

    def restored(value: Any) -> Any:
        if isinstance(value, dict):
            return ConfigDict({name: restored(part) for name, part in value.items()})
        return tuple(value) if isinstance(value, list) else value

    return restored(tree)


def keys(config: ConfigDict | dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flat {"optimizer.peak_lr": value}."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, ConfigDict | dict):
            flat.update(keys(value, f"{prefix}{name}."))
        else:
            flat[prefix + name] = value
    return flat


def difference(old: dict[str, Any], new: dict[str, Any]) -> str | None:
    """The first key in which a resumed run's config differs where it must not, as a sentence."""
    before, after = keys(old), keys(new)
    for name in sorted(before.keys() | after.keys()):
        free = any(name == key or name.startswith(key + ".") for key in FREE_TO_CHANGE)
        if not free and before.get(name) != after.get(name):
            return f"{name} was {before.get(name)!r} and is now {after.get(name)!r}"
    return None


def _problems(config: ConfigDict) -> Iterator[str]:
    """What is wrong with the values, each as a sentence that says what was expected."""
    flat = keys(config)
    yield from _number_problems(flat)
    for name in AT_LEAST_ONE:
        if flat[name] < 1:
            yield f"{name}={flat[name]} must be at least 1"
    for name in AT_LEAST_ZERO:
        if flat[name] < 0:
            yield f"{name}={flat[name]} must be at least 0"
    for name in ABOVE_ZERO:
        if flat[name] <= 0:
            yield f"{name}={flat[name]} must be above 0"
    if not 0 <= config.seed < 2**32:
        yield f"seed={config.seed} must be in [0, 2**32)"
    if config.model.text.context_length < 3:
        yield f"model.text.context_length={config.model.text.context_length} must be at least 3"
    for name, allowed in ONE_OF.items():
        if flat[name] not in allowed:
            yield f"{name}={flat[name]!r} must be one of {', '.join(allowed)}"
    if not 0 <= config.data.name_share <= 1:
        yield f"data.name_share={config.data.name_share} must be in [0, 1]"
    for name in BELOW_ONE:
        if not 0 <= flat[name] < 1:
            yield f"{name}={flat[name]} must be in [0, 1)"
    if config.batch_size % config.microbatches:
        yield f"microbatches={config.microbatches} must divide batch_size={config.batch_size}"
    yield from _model_problems(config.model)
    yield from _data_problems(config.data)
    yield from _packing_problems(config)
    yield from _objective_problems(config.objective)
    yield from _bias_problems(config)
    for name, entry in config.evaluators.items():
        if name in ABOUT or "/" in name:
            yield f"evaluators.{name}: results have that name for something else"
        yield from _evaluator_problems(f"evaluators.{name}", entry)
    yield from _lr_factor_problems(config.optimizer.lr_factors)
    yield from _pattern_problems(config.fresh)
    warmup = config.optimizer.warmup_steps
    if not 0 <= warmup < config.steps:
        yield (
            f"optimizer.warmup_steps={warmup} must be at least 0 and below steps={config.steps}: "
            "give both"
        )


def _number_problems(flat: dict[str, Any]) -> Iterator[str]:
    """Those that the others can compare with nothing."""
    for name, count in NUMBERS.items():
        if len(flat[name]) != count or not all(map(_is_number, flat[name])):
            yield f"{name}={flat[name]}: expected {count} numbers"
    for name, value in keys(default()).items():
        if isinstance(value, str) and not isinstance(flat.get(name, value), str):
            yield f"{name}={flat[name]!r} must be a text"
    for name, value in flat.items():
        if isinstance(value, float) and not math.isfinite(value):
            yield f"{name}={value} must be a finite number"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _model_problems(model: ConfigDict) -> Iterator[str]:
    image, text = model.image, model.text
    if image.stages:
        yield from _resnet_problems(model)
    for name, size in (("image", image), ("text", text)):
        if size.width % size.heads:
            yield f"model.{name}: width {size.width} is no multiple of heads {size.heads}"
        maps = name == "image" and image.stages  # Its pooling has the embedding's size.
        if size.projection == "none" and size.width != model.embed_dim and not maps:
            yield (
                f"model.{name}.projection=none: its width {size.width} must be "
                f"model.embed_dim={model.embed_dim}"
            )
    if image.size % image.patch_size:
        yield f"model.image: size {image.size} is no multiple of patch {image.patch_size}"
    shape = ("width", "layers", "heads", "mlp_ratio", "activation", "norm_eps")
    if model.tie != "none" and any(image[field] != text[field] for field in shape):
        yield f"model.tie={model.tie} needs image and text towers of one shape ({', '.join(shape)})"
    if model.tie == "transformer+projection" and image.projection != text.projection:
        yield (
            f"model.tie={model.tie}: image.projection={image.projection} and "
            f"text.projection={text.projection} must be the same"
        )
    if not 1 <= model.scale_init <= model.scale_max:
        yield f"model.scale_init={model.scale_init} must be in [1, model.scale_max]"


def _resnet_problems(model: ConfigDict) -> Iterator[str]:
    image = model.image
    if len(image.stages) != 4 or not all(isinstance(n, int) and n > 0 for n in image.stages):
        yield f"model.image.stages={image.stages}: () or four whole numbers of at least 1"
    if model.tie != "none" or image.projection != "none":
        yield (
            f"model.tie={model.tie}, model.image.projection={image.projection}: expected none "
            "for both, since a ResNet (model.image.stages) shares no blocks and projects by itself"
        )
    if image.patch_dropout:
        yield f"model.image.patch_dropout={image.patch_dropout}: a ResNet has no patches to drop"
    if image.size % 32:
        yield f"model.image: size {image.size} of a ResNet is no multiple of 32"


def _data_problems(data: ConfigDict) -> Iterator[str]:
    low, high = data.crop_scale
    if not 0 < low <= high <= 1:
        yield f"data.crop_scale={data.crop_scale}: 0 < low ≤ high ≤ 1"
    low, high = data.crop_ratio
    if not 0 < low <= high:
        yield f"data.crop_ratio={data.crop_ratio}: 0 < low ≤ high"
    if min(data.std) <= 0:
        yield f"data.std={data.std} must be above 0"
    if data.semantics and data.semantics_from == "step":
        yield f"data.semantics={data.semantics} needs data.semantics_from=records"
    if data.semantics_tokens < 3:
        yield f"data.semantics_tokens={data.semantics_tokens} must be at least 3"
    if data.class_captions and not (data.prompts and all("{}" in p for p in data.prompts)):
        yield f"data.prompts={data.prompts}: expected texts with a {{}} for the class each"
    yield from _mixture_problems(data)
    for name in ("max_keywords", "workers"):
        if data[name] < 0:
            yield f"data.{name}={data[name]} must be at least 0"


def _packing_problems(config: ConfigDict) -> Iterator[str]:
    text = config.model.text
    if config.data.pack_captions and not (text.causal and text.pooling == "end_of_text"):
        yield (
            "data.pack_captions=True needs model.text.causal=True and pooling=end_of_text (given: "
            f"{text.causal}, {text.pooling}): else padding is part of what the tower sees"
        )


def _mixture_problems(data: ConfigDict) -> Iterator[str]:
    for name, own in data.of.items():
        fields = own.keys() if isinstance(own, ConfigDict) else [own]
        if wrong := [field for field in fields if field not in SAMPLED]:
            yield f"data.of.{name}: {wrong[0]!r} is none of {', '.join(SAMPLED)}"
    count, last = data.corpus.count(",") + 1, 0
    for entry in data.mixture_schedule:
        if not _is_stage(entry, count) or entry[0] <= last:
            yield (
                f"data.mixture_schedule={data.mixture_schedule}: expected ((step, weights of the "
                f"{count} corpora), ...), steps rising from 1 on"
            )
            return
        last, weights = entry
        if min(weights) < 0 or not sum(weights):
            yield f"data.mixture_schedule={data.mixture_schedule}: weights at least 0, not all 0"


def _is_stage(entry: Any, corpora: int) -> bool:
    """Whether it is (step, a weight for each corpus)."""
    try:
        step, weights = entry
        return len(weights) == corpora and all(map(_is_number, (step, *weights)))
    except (TypeError, ValueError):
        return False


def _evaluator_problems(name: str, entry: Any) -> Iterator[str]:
    if not isinstance(entry, ConfigDict) or not isinstance(entry.get("type"), str):
        yield f"{name}: expected a type and its options, as config.evaluator makes"
        return
    plain = evaluator(entry.type)
    for field, value in plain.items():
        if not isinstance(entry.get(field, value), type(value)):
            yield f"{name}.{field}={entry[field]!r}: expected {type(value).__name__}"
    if entry.get("every_steps", 0) < 0:
        yield f"{name}.every_steps={entry.every_steps} must be at least 0"


def _objective_problems(objective: ConfigDict) -> Iterator[str]:
    if not set(objective.separated) <= set(MODALITIES):
        yield f"objective.separated={objective.separated}: of {', '.join(MODALITIES)}"
    weights = [objective[f"{term}_weight"] for term in TERMS]
    if not objective.separated:
        weights[TERMS.index("separation")] = 0.0
    if not any(weights):
        yield "objective: every weight is 0, so there is nothing to learn"
    if objective.tile < 0:
        yield f"objective.tile={objective.tile} must be at least 0 (0: the dense form)"
    if not 0 <= objective.swap_share <= 1:
        yield f"objective.swap_share={objective.swap_share} must be in [0, 1]"
    if min(objective.temperature_schedule) <= 0:
        yield f"objective.temperature_schedule={objective.temperature_schedule} must be above 0"


def _bias_problems(config: ConfigDict) -> Iterator[str]:
    model, objective = config.model, config.objective
    if objective.sigmoid_weight and not model.logit_bias:
        yield "objective.sigmoid_weight needs model.logit_bias=True: its loss has a learnable bias"
    if objective.sigmoid_weight and objective.contrastive_weight:
        yield (
            f"objective.sigmoid_weight={objective.sigmoid_weight} stands in the place of "
            f"contrastive_weight={objective.contrastive_weight}: one of them must be 0"
        )
    if model.bias_form != "relative":
        return
    if not objective.sigmoid_weight:
        yield "model.bias_form=relative needs objective.sigmoid_weight: no other loss has a bias"
    if not -1 <= model.bias_init <= 1:
        yield (
            f"model.bias_init={model.bias_init} of model.bias_form=relative is a cosine: expected "
            "one in [-1, 1], such as 1.0"
        )


def _lr_factor_problems(factors: tuple[Any, ...]) -> Iterator[str]:
    for entry in factors:
        try:
            pattern, factor = entry
            re.compile(pattern)
            valid = factor >= 0
        except (TypeError, ValueError, re.error):
            valid = False
        if not valid:
            yield (
                f"optimizer.lr_factors: {entry!r} is no (regular expression of a parameter's path, "
                "factor of at least 0)"
            )


def _pattern_problems(patterns: tuple[Any, ...]) -> Iterator[str]:
    for pattern in patterns:
        try:
            re.compile(pattern)
        except (TypeError, re.error):
            yield f"fresh: {pattern!r} is no regular expression of a parameter's path"


def _unknown(name: str, known: dict[str, Any]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    entry = name.rpartition(".")[0] + "."
    if name.startswith(FREE) and not any(key.startswith(entry) for key in known):
        hint += " (evaluators and data.of get entries in a config file)"
    return f"unknown config key {name!r}{hint}"
