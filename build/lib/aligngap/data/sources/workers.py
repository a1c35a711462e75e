"""Work shared out to processes that import nothing heavy and do not outlive their parent."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from aligngap.errors import AligngapError

T = TypeVar("T")
R = TypeVar("R")
AHEAD = 4  # Tasks given to each process beyond the one it works on.


def each(function: Callable[[T], R], tasks: Sequence[T], processes: int) -> Iterator[R]:
    """Results as they come, in no order; `function` is a module's, which processes can import."""
    if processes <= 1 or len(tasks) <= 1:
        yield from map(function, tasks)
        return
    # Not forked: a parent with threads, as JAX's and Grain's are, may fork a held lock.
    context = multiprocessing.get_context("spawn")
    waiting: set[Future[R]] = set()
    left = iter(tasks)
    with ProcessPoolExecutor(min(processes, len(tasks)), context, initializer=_watch) as pool:
        try:
            while True:
                while len(waiting) < processes * AHEAD and (task := next(left, None)) is not None:
                    waiting.add(pool.submit(function, task))
                if not waiting:
                    return
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        except BrokenProcessPool as error:
            raise AligngapError(
                "a worker process died (out of memory?): the same command goes on from where it "
                "stood; --workers=1 needs least memory"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _watch() -> None:
    """A worker ends when its parent was killed; it would wait for tasks forever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()
