"""The towers against an independent NumPy forward pass, tying, initialisation and precision."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

from aligngap.config import TIES, default, tower
from aligngap.data import packing
from aligngap.models import dual_encoder, transformer
from aligngap.models.logit_scale import parameter_of, scale_of, with_bias_form
from aligngap.presets import SIGLIP_TOWERS, SIZES, set_size

WIDTH, HEADS, LAYERS, CONTEXT, VOCABULARY, SIDE, PATCH = 32, 4, 3, 9, 50, 16, 4


def small(tie="none", **model):
    config = default()
    config.model.tie = tie
    config.model.embed_dim = 24
    config.model.image.update(tower(WIDTH, LAYERS, HEADS, 4.0), size=SIDE, patch_size=PATCH)
    config.model.text.update(
        tower(WIDTH, LAYERS, HEADS, 4.0), context_length=CONTEXT, vocab_size=VOCABULARY
    )
    config.model.update(model)
    return config


def inputs(batch=5, seed=0):
    random = np.random.default_rng(seed)
    ids = random.integers(1, VOCABULARY - 2, size=(batch, CONTEXT))
    ids[:, 0] = VOCABULARY - 2
    for row in ids:
        row[random.integers(2, CONTEXT) :] = VOCABULARY - 1
    return random.normal(size=(batch, SIDE, SIDE, 3)).astype(np.float32), ids.astype(np.int32)


def in_rows(ids, length):
    """Captions packed into rows of that many tokens."""
    grouped = packing.grouped(ids, len(ids), 1)
    layouts = [packing.layout(group, length) for group in packing.lengths(grouped)]
    return packing.packed(grouped, layouts, max(one.needed for one in layouts), length)


def parameters(config, seed=0):
    """Random everywhere, biases and norms too, so that no term is hidden by a zero or a one."""
    model = dual_encoder.make(config)
    shapes = nn.unbox(jax.eval_shape(model.init, jax.random.key(0), *inputs(1)))["params"]
    random = np.random.default_rng(seed)
    return model, jax.tree.map(
        lambda p: jnp.asarray(random.normal(0.3, 0.5, p.shape), jnp.float32), shapes
    )


class Reference:
    """CLIP's forward pass in float64 NumPy, one example and one head at a time."""

    def __init__(self, params):
        self.params = jax.tree.map(lambda p: np.asarray(p, np.float64), params)

    def norm(self, x, p):
        mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        return (x - mean) / np.sqrt(variance + 1e-5) * p["scale"] + p["bias"]

    def attention(self, x, p, causal):
        length, heads = len(x), p["qkv"]["kernel"].shape[2]
        out = np.zeros_like(x)
        for h in range(heads):
            q, k, v = (x @ p["qkv"]["kernel"][:, i, h] + p["qkv"]["bias"][i, h] for i in range(3))
            scores = q @ k.T / np.sqrt(q.shape[1])
            if causal:
                scores[np.triu_indices(length, 1)] = -np.inf
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            weights /= weights.sum(-1, keepdims=True)
            out += weights @ v @ p["output"]["kernel"][h]
        return out + p["output"]["bias"]

    def transformer(self, x, p, causal):
        for layer in range(LAYERS):
            block = jax.tree.map(lambda a, layer=layer: a[layer], p["blocks"])
            x = x + self.attention(
                self.norm(x, block["attention_norm"]), block["attention"], causal
            )
            hidden = self.norm(x, block["mlp_norm"]) @ block["mlp"]["hidden"]["kernel"]
            hidden = hidden + block["mlp"]["hidden"]["bias"]
            hidden = hidden * 0.5 * (1 + erf(hidden / np.sqrt(2)))
            x = x + hidden @ block["mlp"]["output"]["kernel"] + block["mlp"]["output"]["bias"]
        return self.norm(x, p["final_norm"])

    def part(self, modality, name):
        return self.params.get(name, self.params.get(f"{modality}_{name}"))

    def project(self, modality, x):
        y = x @ self.part(modality, "projection")["kernel"]
        return y / np.linalg.norm(y)

    def image(self, pixels):
        p = self.params["image_input"]
        patches = [
            pixels[r : r + PATCH, c : c + PATCH].reshape(-1) @ p["patch_kernel"]
            for r in range(0, SIDE, PATCH)
            for c in range(0, SIDE, PATCH)
        ]
        x = np.stack([p["class_token"], *patches]) + p["positions"]
        x = self.norm(x, p["input_norm"])
        x = self.transformer(x, self.part("image", "transformer"), causal=False)
        return self.project("image", x[0])

    def text(self, ids):
        p = self.params["text_input"]
        x = p["tokens"]["embedding"][ids] + p["positions"]
        x = self.transformer(x, self.part("text", "transformer"), causal=True)
        return self.project("text", x[list(ids).index(max(ids))])


@pytest.mark.parametrize("tie", TIES)
@pytest.mark.parametrize(("scan", "remat"), [(False, "none"), (True, "none"), (True, "dots")])
def test_against_numpy(tie, scan, remat):
    model, params = parameters(small(tie, scan=scan, remat=remat))
    pixels, ids = inputs()
    image, text, scale = jax.jit(model.apply)({"params": params}, pixels, ids)
    reference = Reference(params)
    np.testing.assert_allclose(image, [reference.image(x) for x in pixels], atol=5e-5)
    np.testing.assert_allclose(text, [reference.text(x) for x in ids], atol=2e-5)
    assert float(scale) == pytest.approx(np.exp(float(params["logit_scale"])), rel=1e-5)


@pytest.mark.parametrize("remat", ["none", "block"])
def test_scanned_and_unrolled_layers_have_the_same_gradient(remat):
    def gradient(scan):
        model, params = parameters(small("transformer", scan=scan, remat=remat))
        loss = lambda p: jnp.sum(jnp.stack(model.apply({"params": p}, *inputs())[:2])[..., 0])  # noqa: E731
        return jax.jit(jax.grad(loss))(params)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5 * max(1, np.abs(b).max())),
        gradient(True),
        gradient(False),
    )


def test_text_after_the_end_and_other_rows_change_nothing():
    """The causal mask and the pooling: what follows end-of-text is never seen."""
    model, params = parameters(small("transformer+projection"))
    _, ids = inputs()
    changed = ids.copy()
    changed[0, list(ids[0]).index(VOCABULARY - 1) + 1 :] = 3
    encode = lambda x: model.apply({"params": params}, x, method="encode_text")  # noqa: E731
    np.testing.assert_array_equal(encode(ids)[0], encode(changed)[0])


@pytest.mark.parametrize("tie", TIES)
def test_what_is_tied(tie):
    _, params = parameters(small(tie))
    own = {"none": {"transformer", "projection"}, "transformer": {"projection"}}.get(tie, set())
    wanted = {"image_input", "text_input", "logit_scale"}
    for part in ("transformer", "projection"):
        wanted |= {f"image_{part}", f"text_{part}"} if part in own else {part}
    assert set(params) == wanted


def test_initialisation_has_the_papers_scales():
    config = small("transformer+projection", embed_dim=256)
    for part in (config.model.image, config.model.text):
        part.update(tower(256, 6, 4, 4.0))
    config.model.text.vocab_size = 2000
    params = nn.unbox(dual_encoder.make(config).init(jax.random.key(1), *inputs(1)))["params"]
    blocks, w, layers = params["transformer"]["blocks"], 256, 6
    residual = w**-0.5 * (2 * layers) ** -0.5
    stds = {
        "attention in": (blocks["attention"]["qkv"]["kernel"], w**-0.5),
        "attention out": (blocks["attention"]["output"]["kernel"], residual),
        "mlp in": (blocks["mlp"]["hidden"]["kernel"], (2 * w) ** -0.5),
        "mlp out": (blocks["mlp"]["output"]["kernel"], residual),
        "projection": (params["projection"]["kernel"], w**-0.5),
        "tokens": (params["text_input"]["tokens"]["embedding"], 0.02),
        "text positions": (params["text_input"]["positions"], 0.01),
        "image positions": (params["image_input"]["positions"], w**-0.5),
        "class token": (params["image_input"]["class_token"], w**-0.5),
    }
    for name, (array, std) in stds.items():
        assert float(jnp.std(array)) == pytest.approx(std, rel=0.12), name
    # Layers differ: one initialisation is not copied to all of them.
    hidden = np.asarray(blocks["mlp"]["hidden"]["kernel"])
    assert np.abs(hidden[0] - hidden[1]).max() > 0
    assert float(jnp.exp(params["logit_scale"])) == pytest.approx(1 / 0.07, rel=1e-5)


def test_bfloat16_compute_keeps_float32_parameters_and_embeddings():
    config = small("transformer")
    model, params = parameters(config)
    exact = model.apply({"params": params}, *inputs())
    config.compute_dtype = "bfloat16"
    half = dual_encoder.make(config)
    boxed = half.init(jax.random.key(0), *inputs(1))
    assert {p.dtype for p in jax.tree.leaves(boxed)} == {jnp.dtype("float32")}
    rounded = half.apply({"params": params}, *inputs())
    for a, b in zip(exact[:2], rounded[:2], strict=True):
        assert b.dtype == jnp.float32
        assert float(jnp.sum(a * b, axis=-1).min()) > 0.99


PUBLISHED = {"Ti/16": 5.5, "S/16": 21.7, "B/16": 85.8, "L/14": 303.2, "H/14": 630.8, "g/14": 1011}


@pytest.mark.parametrize(("name", "millions"), PUBLISHED.items())
def test_image_towers_have_the_published_sizes(name, millions):
    """Parameters of the towers without classifier (Dosovitskiy et al. 2021, Zhai et al. 2022)."""
    config = set_size(default(), name)
    model = dual_encoder.make(config)
    shapes = jax.eval_shape(
        model.init, jax.random.key(0), jnp.zeros((1, 224, 224, 3)), jnp.zeros((1, 77), jnp.int32)
    )["params"]
    tower = (shapes["image_input"], shapes["image_transformer"])
    assert sum(p.size for p in jax.tree.leaves(tower)) / 1e6 == pytest.approx(millions, rel=0.01)


def test_alignclip_b16_has_124_million_parameters():
    config = default()
    config.model.tie = "transformer+projection"
    config.model.embed_dim = 768
    set_size(config, "B/16")
    assert config.model.text.width == SIZES["B"][0][0]
    model = dual_encoder.make(config)
    shapes = jax.eval_shape(
        model.init, jax.random.key(0), jnp.zeros((1, 224, 224, 3)), jnp.zeros((1, 77), jnp.int32)
    )
    assert sum(p.size for p in jax.tree.leaves(shapes)) == pytest.approx(124.4e6, rel=1e-3)


def at_the_start(config):
    model = dual_encoder.make(config)
    return model, nn.unbox(jax.jit(model.init)(jax.random.key(0), *inputs(1)))["params"]


@pytest.mark.parametrize("form", ["exp", "softplus"])
@pytest.mark.parametrize("scale", [1.0, 14.3, 100.0])
def test_the_parameter_of_a_scale_gives_it_back(form, scale):
    assert float(scale_of(parameter_of(scale, form), form)) == pytest.approx(scale, rel=1e-5)
    model, params = at_the_start(small(scale_init=scale, scale_form=form))
    found, bias = model.apply({"params": params}, method="scale_and_bias")
    assert float(found) == pytest.approx(scale, rel=1e-5)
    assert bias is None


def test_a_bias_where_the_config_asks_for_one():
    model, params = at_the_start(small(logit_bias=True))
    assert float(params["logit_bias"]) == -10.0
    assert float(model.apply({"params": params}, method="scale_and_bias")[1]) == -10.0


def test_a_relative_bias_is_subtracted_from_the_cosine():
    """s·(cos − r) = s·cos + b for b = −s·r, at the scale of the step too."""
    model, params = at_the_start(small(logit_bias=True, bias_form="relative", bias_init=0.25))
    assert float(params["logit_bias"]) == 0.25
    for given, scale in ((None, 1 / 0.07), (20.0, 20.0)):
        found, bias = model.apply({"params": params}, given, method="scale_and_bias")
        assert float(found) == pytest.approx(scale, rel=1e-5)
        assert float(bias) == pytest.approx(-0.25 * scale, rel=1e-5)


@pytest.mark.parametrize("form", ["exp", "softplus"])
def test_a_bias_in_another_form_gives_the_same_logits(form):
    own = small(logit_bias=True, scale_form=form).model
    params = {"logit_scale": parameter_of(20.0, form), "logit_bias": jnp.float32(-5.0)}
    relative = with_bias_form(params, own, "relative")
    assert float(relative["logit_bias"]) == pytest.approx(0.25, rel=1e-5)
    own.bias_form = "relative"
    assert float(with_bias_form(relative, own, "absolute")["logit_bias"]) == pytest.approx(-5.0)


def shapes_of(config):
    params = nn.unbox(jax.eval_shape(dual_encoder.make(config).init, jax.random.key(0), *inputs(1)))
    return jax.tree.map(lambda p: p.shape, params["params"])


def test_what_siglips_towers_have_and_lack():
    config = small(embed_dim=WIDTH, logit_bias=True)
    config.model.update_from_flattened_dict(SIGLIP_TOWERS)
    found = shapes_of(config)
    assert set(found["image_input"]) == {"patch_kernel", "patch_bias", "positions"}
    assert found["image_input"]["positions"] == ((SIDE // PATCH) ** 2, WIDTH)
    assert found["image_pooling"]["qkv"]["kernel"] == (WIDTH, 3, HEADS, WIDTH // HEADS)
    assert set(found["text_projection"]) == {"kernel", "bias"}
    assert "image_projection" not in found


def test_without_a_causal_mask_every_token_sees_the_last():
    config = small(embed_dim=WIDTH)
    config.model.update_from_flattened_dict(SIGLIP_TOWERS)
    model, params = parameters(config)
    _, ids = inputs()
    changed = ids.copy()
    changed[:, 1] = 3
    encode = jax.jit(lambda x: model.apply({"params": params}, x, method="encode_text"))
    assert np.abs(encode(ids) - encode(changed)).max(axis=1).min() > 1e-4


def test_a_resnet_takes_the_place_of_the_image_tower():
    config = small()
    config.model.image.update(
        stages=(1, 1, 1, 1), width=8, heads=4, size=32, patch_size=32, projection="none"
    )
    model, pixels = dual_encoder.make(config), jnp.zeros((2, 32, 32, 3))
    variables = jax.eval_shape(model.init, jax.random.key(0), pixels, inputs(2)[1])
    assert "image_resnet" in variables["params"]
    assert not {"image_input", "image_transformer", "image_projection"} & set(variables["params"])
    image = jax.eval_shape(lambda v: model.apply(v, pixels, method="encode_image"), variables)
    assert image.shape == (2, 24)


@pytest.mark.parametrize(
    ("given", "dtype", "asked"),
    [
        ("auto", jnp.bfloat16, {"cudnn"}),
        ("xla", jnp.bfloat16, set()),
        ("auto", jnp.float32, set()),
    ],
)
def test_which_attention_a_gpu_is_asked_for(given, dtype, asked, monkeypatch):
    """What JAX is asked for where its backend is a GPU; this machine computes it without cuDNN."""
    found, attention = set(), jax.nn.dot_product_attention

    def heard(*args, implementation=None, **kwargs):
        found.add(implementation)
        return attention(*args, **kwargs)

    monkeypatch.setattr(jax.nn, "dot_product_attention", heard)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    config = small(attention=given)
    model = dual_encoder.DualEncoder(config.model, dtype)
    jax.eval_shape(model.init, jax.random.key(0), *inputs(2))
    assert found == asked


@pytest.mark.parametrize("what", ["image", "text", "packed"])
def test_an_odd_length_is_made_even_for_a_gpu(what, monkeypatch):
    """17 and 9 tokens: what is behind them changes neither embeddings nor gradients. In float32,
    which tells this from rounding."""
    pixels, ids = inputs(4)
    lengths, attention = set(), jax.nn.dot_product_attention

    def without_cudnn(*args, implementation=None, **kwargs):
        lengths.add(args[0].shape[1])
        return attention(*args, **kwargs)

    def of(way):
        _, params = parameters(small(attention="xla"))
        model = dual_encoder.DualEncoder(small(attention=way).model, jnp.float32)
        method, given = f"encode_{what}", pixels if what == "image" else ids
        if what == "packed":
            method, given = "encode_packed_text", in_rows(ids, 9)

        def summed(params):
            found = model.apply({"params": params}, given, method=method)
            return jnp.sum(jnp.sin(5 * found)), found

        (_, found), gradient = jax.value_and_grad(summed, has_aux=True)(params)
        return found, jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(gradient)])

    plain = of("xla")
    monkeypatch.setattr(jax.nn, "dot_product_attention", without_cudnn)
    monkeypatch.setattr(transformer, "by_cudnn", lambda attention, dtype: attention == "auto")
    for found, wanted in zip(of("auto"), plain, strict=True):
        assert np.linalg.norm(found - wanted) < 5e-5 * np.linalg.norm(wanted)
    assert lengths == {18 if what == "image" else 10}


def test_gradients_of_tokens_that_repeat_add_up_in_float32():
    """In bfloat16, 1 more than 256 is 256; and a GPU adds half numbers one by one."""
    model = dual_encoder.TextInput(VOCABULARY, CONTEXT, WIDTH, jnp.bfloat16)
    ids = jnp.zeros((64, CONTEXT), jnp.int32)
    params = nn.unbox(model.init(jax.random.key(0), ids))

    def summed(params):
        return jnp.sum(model.apply(params, ids).astype(jnp.float32))

    found = jax.grad(summed)(params)["params"]["tokens"]["embedding"]
    assert found.dtype == jnp.float32 and (found[0] == 64 * CONTEXT).all()
