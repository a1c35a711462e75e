"""What is to be known of one GPU, the most wanted first:

    python -m aligngap.benchmarks.on_gpu --output=FILE.json [--minutes=8] [--small]

Each part (benchmarks/gpu_parts.py) is a process of its own with a time of its own; what it has
found is written as soon as it ends, and one that fails or takes too long costs the others nothing.
--small does the same at a size that a CPU takes in a minute: a rehearsal, whose figures mean
nothing. open_clip is measured where it is installed (pip install torch torchvision
open_clip_torch==3.3.0, or .venv-open_clip).
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from aligngap import atomic
from aligngap.benchmarks import peers
from aligngap.xla_flags import DETERMINISTIC, PLATFORMS, Flag, joined, memory

SLOWER = 4  # Times the time that a part may take in a rehearsal.
LAST_WORDS = 3  # Lines of a part that failed.
INTERRUPTED = "interrupted"  # By the user, or whoever lends the device.


class Part(NamedTuple):
    """A function of gpu_parts with its arguments, and its share of the time; the environment that
    its process gets besides."""

    function: str
    arguments: tuple[Any, ...]
    seconds: float
    flags: tuple[Flag, ...] = ()  # XLA's.
    platform: str = ""  # JAX's, where not the device's.


TRITON = (Flag("xla_gpu_enable_triton_gemm", "true", "XLA's default, to compare"),)
# The first are the most wanted: they still run when time is short.
PARTS = {
    "steps": Part("steps", ("clip:none:512", "alignclip:none:512"), 150),
    "open_clip": Part("peer", ("open_clip",), 60, platform="cpu"),
    "open_clip_compiled": Part("peer", ("open_clip_compiled",), 110, platform="cpu"),
    "steps_packed": Part("steps", ("clip:none:512:packed", "alignclip:none:512:packed"), 150),
    "loss": Part("losses", (), 50),
    "loss_open_clip": Part("peer_losses", (), 30, platform="cpu"),
    "plain": Part("digest", (), 50),
    "deterministic": Part("digest", (), 50, DETERMINISTIC),
    "deterministic_again": Part("digest", (), 50, DETERMINISTIC),
    "steps_4096": Part("steps", ("clip:block:4096",), 130),
    "steps_scanned": Part("steps", ("clip:none:512:scan",), 60),
    "steps_triton": Part("steps", ("clip:none:512",), 60, TRITON),
    "attention": Part("attention", (), 40),
    "largest": Part("largest", ("clip",), 150),
    "data": Part("data", (), 40),
}


def main() -> None:
    """Runs the parts one after the other and says what each found."""
    parser = argparse.ArgumentParser(prog="python -m aligngap.benchmarks.on_gpu")
    parser.add_argument("--output", required=True, type=Path, help="a JSON file")
    parser.add_argument("--minutes", type=float, default=8.0, help="for all parts together")
    parser.add_argument("--small", action="store_true", help="a rehearsal at a CPU's size")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), metavar="NAME")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    end, found = time.monotonic() + 60 * given.minutes, dict[str, Any]()
    for name in given.parts:
        left = end - time.monotonic()
        part = PARTS[name]
        if left < 5:
            found[name] = {"error": "no time was left"}
        else:
            seconds = part.seconds * (SLOWER if given.small else 1)
            found[name] = one(part, min(left, seconds), given.small)
        atomic.write_json(given.output, found)
        print(f"{name}: {json.dumps(found[name])}", flush=True)
        if found[name].get("error") == INTERRUPTED:
            sys.exit(1)
    for line in verdicts(found):
        print(line, flush=True)


def one(part: Part, seconds: float, small: bool) -> dict[str, Any]:
    """What a part found, or found before its time was over, or why it found nothing."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "found.json"
        call = [sys.executable, "-m", "aligngap.benchmarks.gpu_parts", part.function]
        call += [str(output), str(int(small)), *map(str, part.arguments)]
        own = {"JAX_PLATFORMS": part.platform} if part.platform else memory(os.environ)
        own["XLA_FLAGS"] = joined(os.environ.get("XLA_FLAGS", ""), part.flags)
        own["XLA_FLAGS"] = joined(own["XLA_FLAGS"], PLATFORMS["cuda"].flags)
        own["JAX_TRACEBACK_FILTERING"] = "off"  # Else a traceback ends with words about itself.
        start = time.monotonic()
        said = _said(call, peers.environment(own), seconds)
        found = json.loads(output.read_text(encoding="utf-8")) if output.exists() else {}
    return found | {"took": time.monotonic() - start} | ({"error": said} if said else {})


def _said(call: list[str], environment: dict[str, str], seconds: float) -> str:
    """Why a process did not do what it was to; nothing where it did. What it started ends with it:
    a program that goes on compiling would hold the device."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        call, env=environment, stdout=pipe, stderr=pipe, text=True, process_group=0
    ) as process:
        try:
            _, errors = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            return f"{seconds:.0f} s were not enough"
        except KeyboardInterrupt:
            return INTERRUPTED
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    lines = errors.strip().splitlines() or [f"ended with {process.returncode}"]
    return " / ".join(lines[-LAST_WORDS:]) if process.returncode else ""


def verdicts(found: dict[str, Any]) -> list[str]:
    """What the parts say together."""
    said = []
    best = {name: _best(part) for name, part in found.items()}
    theirs = {name: best[name] for name in ("open_clip", "open_clip_compiled") if best.get(name)}
    if theirs:
        name = max(theirs, key=lambda peer: theirs[peer])
        for part, how in {"steps": "CLIP", "steps_packed": "CLIP with packed captions"}.items():
            if ours := best.get(part):
                ratio = ours / theirs[name]
                said.append(f"{how} at {ratio:.2f} × {name}'s images a second, each at its best")
    runs = [found.get(name, {}) for name in ("plain", "deterministic", "deterministic_again")]
    if all("digest" in run for run in runs):
        plain, once, again = runs
        same = "the same bits" if once["digest"] == again["digest"] else "DIFFERENT bits"
        cost = once["seconds"] / plain["seconds"]
        said.append(f"Deterministic flags: two runs end with {same}, at {cost:.2f} × the time")
    return said


def _best(part: dict[str, Any]) -> float:
    """The most images a second of what a part measured of CLIP."""
    measured = part.get("measured", [])
    clip = [one for one in measured if one.get("variant", "clip:").startswith("clip:")]
    return max((one["images_per_second"] for one in clip), default=0.0)


if __name__ == "__main__":
    main()
