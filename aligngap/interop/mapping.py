"""Names and shapes of a foreign format ↔ our parameter tree: declared once, used both ways.

A table of a format has one line for each of our arrays, (ours, theirs, layout):

    ("attention/qkv/kernel", "layers.{layer}.{qkv}.weight",
     "layer qkv (head dim) width -> layer width qkv head dim")

The tensors that a name's braces stand for are stacked, one axis in front for each brace, and then
laid out as einops reads the pattern; from right to left it is the way back. So every format that
can be imported can be exported, and the same bits come out.
"""

import itertools
import re
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import einops
import flax.linen as nn
import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from aligngap.errors import AligngapError, some

Line = tuple[str, str, str]
Tensors = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Rule:
    """One of our arrays, what it is made of in a foreign file, and how its axes lie there."""

    ours: str
    theirs: str
    layout: str
    braces: Mapping[str, Sequence[str]]  # What each brace of `theirs` stands for.
    sizes: Mapping[str, int]  # Of axes that a layout groups.

    def names(self) -> list[str]:
        """The foreign tensors, in the order in which they are stacked."""
        values = [self.braces[brace] for brace in self._used()]
        pairs = (zip(self._used(), chosen, strict=True) for chosen in itertools.product(*values))
        return [self.theirs.format(**dict(pair)) for pair in pairs]

    def to_ours(self, tensors: Sequence[np.ndarray]) -> np.ndarray:
        """The foreign tensors in the order of `names` → our array, float32."""
        stack = np.stack([np.asarray(tensor, np.float32) for tensor in tensors])
        stack = stack.reshape((*self._stacked(), *tensors[0].shape))
        laid_out = einops.rearrange(stack, self.layout, **self._known())
        return np.array(laid_out, order="C")  # ascontiguousarray gives a scalar an axis

    def to_theirs(self, array: Any) -> Any:
        """Our array → the foreign tensors [number of names, ...]."""
        left, right = self.layout.split(" -> ")
        stack = einops.rearrange(array, f"{right} -> {left}", **self._known())
        return stack.reshape((len(self.names()), *stack.shape[len(self._stacked()) :]))

    def shape(self, ours: tuple[int, ...]) -> tuple[int, ...]:
        """Of each foreign tensor, from that of our array."""
        array = jax.ShapeDtypeStruct(ours, np.float32)
        found: tuple[int, ...] = jax.eval_shape(self.to_theirs, array).shape[1:]
        return found

    def _used(self) -> list[str]:
        return [name for _, name, _, _ in string.Formatter().parse(self.theirs) if name]

    def _stacked(self) -> list[int]:
        return [len(self.braces[brace]) for brace in self._used()]

    def _known(self) -> dict[str, int]:
        axes = set(re.findall(r"\w+", self.layout))
        return {name: size for name, size in self.sizes.items() if name in axes}


@dataclass(frozen=True)
class Axes:
    """What a tower's lines leave open: names for braces, sizes for grouped axes."""

    braces: Mapping[str, Sequence[str]]
    sizes: Mapping[str, int]

    def rules(self, lines: Iterable[Line], ours: str = "", theirs: str = "") -> Iterator[Rule]:
        """The lines with a prefix on either side."""
        for own, foreign, layout in lines:
            yield Rule(ours + own, theirs + foreign, layout, self.braces, self.sizes)


def axes(tower: Mapping[str, Any], qkv: Sequence[str] = ()) -> Axes:
    """Those of a tower of config.model: its layers by number, its heads, the sides of a patch."""
    patch = tower.get("patch_size", 0)
    layers = [str(layer) for layer in range(tower["layers"])]
    sizes = {"head": tower["heads"], "qkv": 3, "row": patch, "column": patch, "channel": 3}
    return Axes({"layer": layers, "qkv": qkv}, sizes)


def to_ours(rules: Iterable[Rule], tensors: Tensors, abstract: Any, source: str) -> Any:
    """A foreign file's tensors → our parameters, float32.

    AligngapError names tensors that lack or are too many, or the first of another shape.
    """
    rules, shapes = list(rules), _shapes(abstract)
    _check_names({name for rule in rules for name in rule.names()}, tensors.keys(), source)
    found: dict[str, np.ndarray] = {}
    for rule in rules:
        parts = [tensors[name] for name in rule.names()]
        _check_shapes(rule, parts, rule.shape(shapes[rule.ours]), source)
        found[rule.ours] = rule.to_ours(parts)
    return unflatten_dict(found, sep="/")


def to_theirs(rules: Iterable[Rule], params: Any) -> dict[str, np.ndarray]:
    """Our parameters → every tensor of the foreign file; a tied array is written once for each
    rule that reads it."""
    flat = flatten_dict(jax.device_get(params), sep="/")
    found: dict[str, np.ndarray] = {}
    for rule in rules:
        parts = rule.to_theirs(flat[rule.ours])
        found |= {
            name: np.array(part, np.float32, order="C")
            for name, part in zip(rule.names(), parts, strict=True)
        }
    return found


def _shapes(abstract: Any) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in flatten_dict(nn.unbox(abstract), sep="/").items()}


def _check_names(wanted: Iterable[str], given: Iterable[str], source: str) -> None:
    missing, surplus = sorted(set(wanted) - set(given)), sorted(set(given) - set(wanted))
    said = [f"lacks {some(missing)}"] if missing else []
    said += [f"has {some(surplus)}, for which this model has no place"] if surplus else []
    if said:
        raise AligngapError(f"{source} {' and '.join(said)}")


def _check_shapes(
    rule: Rule, parts: Sequence[np.ndarray], wanted: tuple[int, ...], source: str
) -> None:
    for name, part in zip(rule.names(), parts, strict=True):
        if part.shape != wanted:
            raise AligngapError(f"{source}: {name} has shape {part.shape}; expected {wanted}")
        if not np.issubdtype(part.dtype, np.floating) and part.dtype.name != "bfloat16":
            raise AligngapError(f"{source}: {name} is of type {part.dtype}; expected floats")
