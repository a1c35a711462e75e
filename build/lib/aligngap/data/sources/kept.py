"""The latest values of a slow function, each made once however many threads ask for it."""

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

V = TypeVar("V")


class Kept(Generic[V]):
    """`make`, its latest `most` values held; what failed is made again for who asks next."""

    def __init__(self, make: Callable[..., V], most: int) -> None:
        self._make, self._most = make, most
        self._values: dict[tuple[Hashable, ...], Future[V]] = {}  # The latest used last.
        self._lock = threading.Lock()

    def __call__(self, *key: Hashable) -> V:
        with self._lock:
            found = self._values.pop(key, None)
            value: Future[V] = found or Future()
            self._values[key] = value
            while len(self._values) > self._most:
                del self._values[next(iter(self._values))]
        if found is None:
            self._fill(key, value)
        return value.result()

    def _fill(self, key: tuple[Hashable, ...], value: Future[V]) -> None:
        try:
            value.set_result(self._make(*key))
        except BaseException as error:
            with self._lock:
                if self._values.get(key) is value:
                    del self._values[key]
            value.set_exception(error)
