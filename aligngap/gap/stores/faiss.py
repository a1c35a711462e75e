"""FAISS: an index that transforms its queries itself, over documents that are transformed already.

FAISS's IndexPreTransform does to rows that are added what it does to queries, and a document is no
query: `add` goes past it, to the index of documents inside.
"""

from typing import Any

import numpy as np
from jax.typing import ArrayLike

from aligngap.errors import AligngapError, UsageError
from aligngap.gap.stores.linear import steps
from aligngap.gap.transforms import GapTransform
from aligngap.gap.transforms.rows import Given, Rows

try:
    import faiss
except ImportError as error:
    raise AligngapError(
        "aligngap.gap.stores.faiss needs FAISS; install it with: pip install faiss-cpu"
    ) from error


def with_queries(documents: Any, transform: GapTransform) -> Any:
    """`documents`, an index of transformed rows or an empty one, behind `transform.query`.

    What it gives is searched with queries as the model makes them, and saved and loaded by FAISS.
    AligngapError for an index of another width, and for methods that are not linear.
    """
    if documents.d != transform.width:
        raise AligngapError(
            f"the index holds rows of {documents.d} dimensions, and the transform makes rows of "
            f"{transform.width}"
        )
    index = documents
    for each in reversed(_chain(transform)):
        # One IndexPreTransform is all that there is: FAISS prepends to it, from the last on.
        if index is documents:
            index = faiss.IndexPreTransform(each, documents)
        else:
            index.prepend_transform(each)
    return index


def add(
    index: Any,
    transform: GapTransform,
    modality: str,
    rows: Given,
    ids: ArrayLike | None = None,
) -> None:
    """Documents [N, D], untransformed, of a modality by its name, in an array or a file, under
    their `ids` [N] where the index inside takes any. UsageError for an index that `with_queries`
    has not made with this transform, and for what is no modality of documents."""
    if not _queries_are_of(index, transform):
        raise UsageError("expected an index that with_queries made with the same transform")
    known = [name for name in transform.modalities if name != "query"]
    if modality not in known:
        raise UsageError(f"modality={modality!r}: expected one of {', '.join(known)}")
    given = Rows(rows, modality)
    named = None if ids is None else np.asarray(ids, np.int64)
    if named is not None and named.shape != (given.count,):
        raise UsageError(f"ids of shape {[*named.shape]}; expected one a row, [{given.count}]")
    documents, start = index.index, 0
    for chunk in transform.chunks(modality, given):
        if named is None:
            documents.add(chunk)
        else:
            documents.add_with_ids(chunk, named[start : start + len(chunk)])
        start += len(chunk)
        index.ntotal = documents.ntotal  # FAISS does not look inside again.


def _chain(transform: GapTransform) -> list[Any]:
    """FAISS's transforms of a query: n(x), then each n(x A + b)."""
    width = transform.dimension
    found = [faiss.NormalizationTransform(width)]
    for weight, bias in steps(transform, "query"):
        linear = faiss.LinearTransform(width, width, True)
        faiss.copy_array_to_vector(weight.T.astype(np.float32).ravel(), linear.A)
        faiss.copy_array_to_vector(bias.astype(np.float32), linear.b)
        linear.is_trained = True
        found += [linear, faiss.NormalizationTransform(width)]
    return found


def _queries_are_of(index: Any, transform: GapTransform) -> bool:
    """Whether an index does to queries what this transform does, to the bit."""
    if not isinstance(index, faiss.IndexPreTransform):
        return False
    chain = [faiss.downcast_VectorTransform(index.chain.at(i)) for i in range(index.chain.size())]
    return [_numbers(each) for each in chain] == [_numbers(each) for each in _chain(transform)]


def _numbers(each: Any) -> tuple[object, ...]:
    linear = isinstance(each, faiss.LinearTransform)
    arrays = (each.A, each.b) if linear else ()
    held = tuple(faiss.vector_to_array(x).tobytes() for x in arrays)
    return type(each).__name__, each.d_in, each.d_out, *held
