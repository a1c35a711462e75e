"""SVG to PNG in parallel processes. A room of its own: the workers import nothing but this."""

import io
import multiprocessing
import os
import signal
from collections.abc import Sequence

from PIL import Image

from aligngap.progress import track

CHUNK = 32  # drawings a worker takes at a time
MOST_WORKERS = 16


def render_all(svgs: Sequence[str], title: str) -> list[bytes | None]:
    """A PNG (RGB, on white) for each SVG, in its order; None where nothing is to be seen.

    Processes rather than threads, as resvg holds Python's lock while it draws.
    """
    workers = min(MOST_WORKERS, os.cpu_count() or 1)
    # Spawned, not forked: the parent may have JAX's threads running.
    spawning = multiprocessing.get_context("spawn")
    # Control-C is for the parent to handle: it ends the workers as it leaves the pool.
    with spawning.Pool(workers, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
        rendered = pool.imap(render, svgs, CHUNK)
        return list(track(rendered, title, len(svgs), "images"))


def render(svg: str) -> bytes | None:
    """One PNG, or None for an image of a single colour."""
    import resvg_py  # only here, as a machine that reads a prepared corpus may lack it

    drawn = resvg_py.svg_to_bytes(svg_string=svg, background="#ffffff", skip_system_fonts=True)
    image = Image.open(io.BytesIO(drawn)).convert("RGB")
    if image.getcolors(maxcolors=1):
        return None
    buffer = io.BytesIO()
    image.save(buffer, "PNG")  # `optimize` would double the time and save 4 % of the bytes
    return buffer.getvalue()
