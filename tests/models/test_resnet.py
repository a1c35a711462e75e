"""CLIP's ResNet against float64 NumPy, its published size, its initialisation and precision."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aligngap.models import resnet

SMALL = {"layers": (1, 2, 1, 1), "width": 8, "heads": 4, "features": 12}


def shapes_of(model, side):
    images = jnp.zeros((1, side, side, 3))
    return nn.unbox(jax.eval_shape(model.init, jax.random.key(0), images))["params"]


def pictures(count, side):
    """Of large squares: what is small would cancel in the mean over the last map."""
    squares = np.random.default_rng(1).normal(0, 3, (count, 2, 2, 3)).astype(np.float32)
    return squares.repeat(side // 2, axis=1).repeat(side // 2, axis=2)


def parameters(model, side, seed=0):
    """Random everywhere, statistics too, so that no term is hidden by a zero or a one."""
    random = np.random.default_rng(seed)

    def value(path, p):
        name = path[-1].key
        if name in ("scale", "var"):
            return random.uniform(0.5, 1.5, p.shape).astype(np.float32)
        if name == "kernel":  # Products of what is O(1) stay so.
            return random.normal(0, np.prod(p.shape[:-1]) ** -0.5, p.shape).astype(np.float32)
        return random.normal(0.3, 0.5, p.shape).astype(np.float32)

    return jax.tree.map_with_path(value, shapes_of(model, side))


class Reference:
    """The forward pass in float64 NumPy, one image at a time, with OpenAI's names."""

    def __init__(self, params, heads):
        self.params = jax.tree.map(lambda p: np.asarray(p, np.float64), params)
        self.heads = heads

    def part(self, name):
        found = self.params
        for key in name.split("."):
            found = found[key]
        return found

    def convolution(self, x, name, stride=1):
        kernel = self.part(name)["kernel"]
        reach = len(kernel) // 2
        padded = np.pad(x, ((reach, reach), (reach, reach), (0, 0)))
        rows, columns = range(0, x.shape[0], stride), range(0, x.shape[1], stride)
        return np.array(
            [
                [
                    np.einsum("ijc,ijcd", padded[r : r + len(kernel), c : c + len(kernel)], kernel)
                    for c in columns
                ]
                for r in rows
            ]
        )

    def norm(self, x, name):
        p = self.part(name)
        return (x - p["mean"]) / np.sqrt(p["var"] + 1e-5) * p["scale"] + p["bias"]

    def pool(self, x, stride):
        height, width, channels = x.shape
        cut = x.reshape(height // stride, stride, width // stride, stride, channels)
        return cut.mean(axis=(1, 3))

    def layer(self, x, convolution, norm, stride=1):
        return np.maximum(self.norm(self.convolution(x, convolution, stride), norm), 0)

    def stem(self, x):
        for number, stride in (("1", 2), ("2", 1), ("3", 1)):
            x = self.layer(x, f"conv{number}", f"bn{number}", stride)
        return self.pool(x, 2)

    def block(self, x, name, stride):
        y = self.layer(x, f"{name}.conv1", f"{name}.bn1")
        y = self.pool(self.layer(y, f"{name}.conv2", f"{name}.bn2"), stride)
        y = self.norm(self.convolution(y, f"{name}.conv3"), f"{name}.bn3")
        if "downsample" in self.part(name):
            x = self.convolution(self.pool(x, stride), f"{name}.downsample.0")
            x = self.norm(x, f"{name}.downsample.1")
        return np.maximum(x + y, 0)

    def attention_pool(self, x):
        p = self.part("attnpool")
        tokens = x.reshape(-1, x.shape[-1])
        tokens = np.concatenate([tokens.mean(axis=0)[None], tokens]) + p["positions"]
        query, key, value = (
            tokens @ p[name]["kernel"] + p[name]["bias"] for name in ("q_proj", "k_proj", "v_proj")
        )
        pooled = []
        for part in np.split(np.arange(tokens.shape[1]), self.heads):
            scores = key[:, part] @ query[0, part] / np.sqrt(len(part))
            weights = np.exp(scores - scores.max())
            pooled.append(weights @ value[:, part] / weights.sum())
        return np.concatenate(pooled) @ p["c_proj"]["kernel"] + p["c_proj"]["bias"]

    def __call__(self, x, layers):
        x = self.stem(x)
        for stage, count in enumerate(layers):
            for number in range(count):
                stride = 2 if stage > 0 and number == 0 else 1
                x = self.block(x, f"layer{stage + 1}.{number}", stride)
        return self.attention_pool(x)


@pytest.mark.parametrize("side", [64, 96])
def test_against_numpy(side):
    """At 64 px the last map is 2×2, where convolutions become products of matrices."""
    model = resnet.ResNet(**SMALL)
    params = parameters(model, side)
    images = pictures(3, side)
    got = jax.jit(model.apply)({"params": params}, images)
    reference = Reference(params, SMALL["heads"])
    wanted = np.stack([reference(image, SMALL["layers"]) for image in images])
    assert got.shape == (3, 12)
    assert wanted.std(axis=0).min() > 0.01  # What the tolerance is small against.
    np.testing.assert_allclose(got, wanted, atol=1e-4)


def openai_parameters(layers, width, features, side):
    """{name: entries} of the image tower in OpenAI's state dict, buffers left out."""
    sizes = {}

    def convolution(name, norm, inputs, outputs, area):
        sizes[f"{name}.weight"] = inputs * outputs * area
        sizes[f"{norm}.weight"] = sizes[f"{norm}.bias"] = outputs

    for number, inputs, outputs in ((1, 3, width // 2), (2, width // 2, width // 2)):
        convolution(f"conv{number}", f"bn{number}", inputs, outputs, 9)
    convolution("conv3", "bn3", width // 2, width, 9)
    inputs = width
    for stage, count in enumerate(layers):
        planes = width * 2**stage
        for block in range(count):
            name = f"layer{stage + 1}.{block}"
            convolution(f"{name}.conv1", f"{name}.bn1", inputs, planes, 1)
            convolution(f"{name}.conv2", f"{name}.bn2", planes, planes, 9)
            convolution(f"{name}.conv3", f"{name}.bn3", planes, 4 * planes, 1)
            if block == 0:
                convolution(f"{name}.downsample.0", f"{name}.downsample.1", inputs, 4 * planes, 1)
            inputs = 4 * planes
    sizes["attnpool.positional_embedding"] = ((side // 32) ** 2 + 1) * inputs
    for name, outputs in zip("qkvc", (inputs, inputs, inputs, features), strict=True):
        sizes[f"attnpool.{name}_proj.weight"] = inputs * outputs
        sizes[f"attnpool.{name}_proj.bias"] = outputs
    return sizes


@pytest.mark.parametrize("side", [64, 224])
def test_the_names_and_the_size_of_openai(side):
    """A path and a state dict's name differ by the separator and by the last word."""
    last = {"kernel": "weight", "scale": "weight", "positions": "positional_embedding"}
    found, statistics = {}, 0
    for path, p in jax.tree.leaves_with_path(shapes_of(resnet.ResNet(**resnet.RN50), side)):
        *names, own = (part.key for part in path)
        if own in ("mean", "var"):  # Buffers in torch, not parameters.
            statistics += p.size
        else:
            found[".".join([*names, last.get(own, own)])] = p.size
    assert found == openai_parameters((3, 4, 6, 3), 64, 1024, side)
    assert statistics == 53_248
    if side == 224:
        assert sum(found.values()) == 38_316_896


@pytest.mark.parametrize(("side", "positions"), [(64, 5), (224, 50)])
def test_shapes(side, positions):
    model = resnet.ResNet(**resnet.RN50)
    shapes = shapes_of(model, side)
    assert shapes["attnpool"]["positions"].shape == (positions, 2048)
    images = jax.ShapeDtypeStruct((2, side, side, 3), jnp.float32)
    out = jax.eval_shape(model.apply, {"params": shapes}, images)
    assert (out.shape, out.dtype) == ((2, 1024), jnp.float32)


def test_initialisation():
    """open_clip's: torch's for convolutions and biases, W^-½ to pool, blocks start as shortcuts."""
    parts = (
        (resnet.Bottleneck(128, 2, jnp.float32, 0.0), (1, 4, 4, 256)),
        (resnet.AttentionPool(4, 12, jnp.float32), (1, 2, 2, 512)),
    )
    block, pool = (
        nn.unbox(jax.jit(part.init)(jax.random.key(0), jnp.zeros(shape)))["params"]
        for part, shape in parts
    )
    kernel = np.asarray(block["conv2"]["kernel"])
    bound = (9 * 128) ** -0.5
    assert 0.99 * bound < np.abs(kernel).max() <= bound
    assert kernel.std() == pytest.approx(bound / 3**0.5, rel=0.02)
    assert not block["bn3"]["scale"].any()
    assert (block["bn2"]["scale"] == 1).all() and (block["downsample"]["1"]["scale"] == 1).all()
    for name in ("q_proj", "k_proj", "v_proj", "c_proj"):
        assert pool[name]["kernel"].std() == pytest.approx(512**-0.5, rel=0.03)
        bias = np.asarray(pool[name]["bias"])
        assert bias.min() < 0 < bias.max() and np.abs(bias).max() <= 512**-0.5
    assert pool["positions"].std() == pytest.approx(512**-0.5, rel=0.05)


def test_statistics_stay_as_they_are():
    """A gradient reaches all of a block but the statistics of its norms."""
    block = resnet.Bottleneck(8, 2, jnp.float32, 1.0)
    x = jnp.asarray(np.random.default_rng(1).normal(size=(2, 4, 4, 16)), jnp.float32)
    params = nn.unbox(jax.jit(block.init)(jax.random.key(0), x))["params"]
    grads = jax.jit(jax.grad(lambda p: (block.apply({"params": p}, x) ** 2).sum()))(params)
    reached = {path: bool(jnp.any(g != 0)) for path, g in jax.tree.leaves_with_path(grads)}
    assert len(reached) == 20
    assert all(reached[path] == (path[-1].key not in ("mean", "var")) for path in reached)


def test_bfloat16():
    """Products in bfloat16 on bfloat16 images, parameters in float32."""
    exact, rough = resnet.ResNet(**SMALL), resnet.ResNet(**SMALL, dtype=jnp.bfloat16)
    params = parameters(exact, 64)
    images = jnp.asarray(pictures(3, 64), jnp.bfloat16)
    wanted = jax.jit(exact.apply)({"params": params}, images.astype(jnp.float32))
    got = jax.jit(rough.apply)({"params": params}, images)
    assert got.dtype == jnp.bfloat16
    assert {p.dtype for p in jax.tree.leaves(shapes_of(rough, 64))} == {jnp.dtype("float32")}
    error = jnp.linalg.norm(got.astype(jnp.float32) - wanted) / jnp.linalg.norm(wanted)
    assert 0 < float(error) < 0.03
