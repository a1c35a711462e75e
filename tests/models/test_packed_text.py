"""Packed captions have the embeddings and the gradients of the padded form."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aligngap.data import corpora, packing, records, tokenizers
from aligngap.models import dual_encoder

pytestmark = pytest.mark.corpus
FORMS = [
    {"tie": "none"},
    {"tie": "none", "scan": True},
    {"tie": "transformer", "remat": "block"},
    {"tie": "transformer+projection", "remat": "block", "scan": True},
]


@pytest.fixture(scope="module")
def texts(pictograms_dir):
    """60 captions of the pictograms as training samples them, without and with keywords."""
    from aligngap.config import default

    data = default().data
    data.max_keywords = 3
    source = corpora.find("pictograms", pictograms_dir).open("validation")
    random = np.random.default_rng(0)
    rows = random.integers(len(source), size=60)
    return [records.sample_caption(source[int(row)], data, random)[0] for row in rows]


def tokens(small, texts):
    source = corpora.open_train(small)
    tokenizer = tokenizers.make(small, records.texts_of(source))
    return tokenizer.encode(texts, small.model.text.context_length)


def packed(ids, groups=1, more=0):
    """[B, L] as `groups` groups, in `more` rows than they need."""
    row = packing.row_length(ids.shape[1])
    grouped = packing.grouped(ids, len(ids) // groups, 1)
    layouts = [packing.layout(group, row) for group in packing.lengths(grouped)]
    needed = max(layout.needed for layout in layouts)
    return packing.packed(grouped, layouts, needed + more, row)


def both(small, ids, **how):
    """((embeddings, gradients), the same of the packed form), the parameters random everywhere."""
    model = dual_encoder.make(small)
    side = small.model.image.size
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, side, side, 3)), ids[:1])
    random = np.random.default_rng(0)
    params = jax.tree.map(
        lambda p: jnp.asarray(random.normal(0.0, 0.1, p.shape), jnp.float32),
        nn.unbox(shapes)["params"],
    )
    weights = jnp.asarray(random.normal(size=(len(ids), small.model.embed_dim)), jnp.float32)

    def of(method, given):
        def loss(params):
            rows = model.apply({"params": params}, given, method=method)
            return (rows * weights).sum(), rows

        (_, rows), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
        return rows, gradients

    return of("encode_text", ids), of("encode_packed_text", packed(ids, **how))


def assert_same(one, other, tolerance):
    np.testing.assert_allclose(other[0], one[0], atol=tolerance, rtol=0)
    largest = max(float(jnp.abs(g).max()) for g in jax.tree.leaves(one[1]))
    close = lambda a, b: np.testing.assert_allclose(b, a, atol=tolerance * largest)  # noqa: E731
    jax.tree.map(close, one[1], other[1])


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_real_captions(small, texts, form):
    small.model.update(form)
    ids = tokens(small, texts)
    assert len(np.unique(packing.lengths(ids))) > 4
    one, other = both(small, ids, groups=2, more=1)
    assert_same(one, other, 1e-6)
    assert float(jnp.abs(one[0][0] - one[0][1]).max()) > 1e-2


@pytest.mark.parametrize("context", [4, 33, 77])
def test_any_context_length_cut_off_or_not(small, texts, context):
    small.model.text.context_length = context
    ids = tokens(small, texts)
    assert (packing.lengths(ids).max() == context) == (context == 4)
    assert_same(*both(small, ids), 1e-6)


def test_one_caption_and_captions_that_are_all_the_same(small, texts):
    ids = tokens(small, texts)
    assert_same(*both(small, ids[:1]), 1e-6)
    one, other = both(small, np.repeat(ids[:1], 9, axis=0))
    assert_same(one, other, 1e-6)
    np.testing.assert_allclose(other[0], other[0][:1].repeat(9, 0), atol=1e-6)


def test_in_bfloat16_as_near_as_bfloat16_is(small, texts):
    ids = tokens(small, texts)
    exact, _ = both(small, ids)
    small.compute_dtype = "bfloat16"
    padded, found = both(small, ids)
    error = float(jnp.abs(padded[0] - exact[0]).max())
    assert float(jnp.abs(found[0] - exact[0]).max()) <= 2 * error
    assert 1e-4 < error < 2e-2


def test_a_caption_sees_nothing_of_its_neighbours_in_the_row(small, texts):
    """Another caption in the same place of the row changes the other embeddings not at all."""
    ids = tokens(small, texts[:2])
    model = dual_encoder.make(small)
    images = np.zeros((1, 32, 32, 3), np.float32)
    params = model.init(jax.random.key(0), images, ids[:1])["params"]
    encode = jax.jit(lambda x: model.apply({"params": params}, x, method="encode_packed_text"))
    text = packed(ids)
    assert text.ids.shape[1] == 1
    before = encode(text)
    second = text.segments == 2
    after = encode(text._replace(ids=np.where(second, (text.ids + 7) % 600, text.ids)))
    np.testing.assert_array_equal(before[0], after[0])
    assert float(jnp.abs(before[1] - after[1]).max()) > 1e-3
