# SPDX-License-Identifier: Apache-2.0
"""Times of the matrix products, each checked against the exact sums before it is timed.

``python -m host.gpu.measure`` (or ``tritforge bench --backend gpu --products``) prints a table and
with ``--record DIRECTORY`` writes ``products.json`` there.
"""

import argparse
import csv
import datetime
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden_model.arrays import Codes
from golden_model.linear import Linear
from host.errors import CheckFailedError
from host.gpu.geometry import TILE
from host.gpu.matrix import BatchProduct, ColumnProduct, ListedProduct, RowProduct
from host.gpu.packing import pack_codes, pack_columns, pack_entries, pack_levels, pack_rows
from host.gpu.runtime import KERNELS, Array, Device, Offset, device
from host.gpu.timing import COLD_BYTES, LAUNCHES, REPLAYS, clock_mhz, spread, time_launches
from host.manifest import tool_versions

__all__ = ["MODELS", "PUBLISHED", "ROOFLINE_BYTES", "Row", "as_csv", "as_text",
           "environment", "measure", "shapes"]

ROOFLINE_BYTES = 3.0e12
"""Bytes a second that `Row.roofline_share` is a share of."""
MODELS = {"700M": (1536, 4096, 4608), "1.3B": (2048, 5460, 6144), "3B": (3200, 8640, 9600),
          "7B": (4096, 11008, 12288), "2B4T": (2560, 6912, 3840)}
"""Hidden and FFN size, and rows of Wq, Wk and Wv together."""
PUBLISHED = {(3840, 2560): 5.23, (2560, 2560): 5.45, (13824, 2560): 8.95, (2560, 6912): 10.39}
"""Microseconds of microsoft/BitNet's W2A8 kernel, measured by the same method on an H100."""
HEAD = (128256, 2560)
BATCHES = (2, 4, 8, 16)
POISON = -0x5A5A5A5B
"""What lies in y ahead of a check: the byte A5."""
SEED = 1
DISTINCT = 1008
"""Rows that are drawn; a taller matrix repeats them, lest packing takes longer than timing."""


@dataclass(frozen=True)
class Row:
    """One product of one shape."""

    n: int
    k: int
    kernel: str
    tokens: int
    kept: float
    """Share of the columns or rows that the product touches."""
    cold_us: float
    cold_least: float
    cold_most: float
    warm_us: float
    cycles: int
    """Of the multiprocessors' clock, from `cold_us`."""
    bytes: int
    """Weights read, padding included."""
    roofline_share: float
    """Time that these bytes take at `ROOFLINE_BYTES`, over `cold_us`."""


def shapes() -> Iterator[tuple[int, int]]:
    """Matrices of the models, those that share an input stacked: QKV, Wo, gate and up, Wdown."""
    for hidden, ffn, qkv in MODELS.values():
        yield from ((qkv, hidden), (hidden, hidden), (2 * ffn, hidden), (hidden, ffn))


class _Bench:
    """Builds inputs, checks and times."""

    def __init__(self, gpu: Device, progress: Callable[[str], None]) -> None:
        self.gpu, self.progress = gpu, progress
        self.rng = np.random.default_rng(SEED)
        self.mhz = clock_mhz(gpu)

    def weights(self, n: int, k: int, peak: int = 1) -> Codes:
        return self.rng.integers(-peak, peak + 1, (min(n, DISTINCT), k), np.int8)

    def codes(self, tokens: int, k: int) -> Codes:
        return self.rng.integers(-128, 128, (tokens, k)).astype(np.int8)

    def time(self, kernel: str, n: int, k: int, packed: NDArray[Any],
             launch: Callable[[Array | Offset], None], y: Array, want: NDArray[Any],
             nbytes: int, tokens: int = 1, kept: float = 1.0) -> Row:
        """Check one launch over poisoned memory, then time cold and warm."""
        self.progress(f"{kernel} {n}x{k} x{tokens}")
        one = packed.nbytes
        copies = -(-COLD_BYTES // one)
        whole = self.gpu.empty((copies, packed.size), np.uint32)
        whole.put(np.broadcast_to(packed.reshape(-1), whole.shape))
        for copy in (0, copies - 1):
            y.fill(POISON & 0xFF)
            launch(Offset(whole, copy * one))
            if not np.array_equal(y.get().reshape(want.shape), want):
                raise CheckFailedError(f"{kernel} {n} x {k}, {tokens} tokens: wrong sums")
        cold = spread(time_launches(self.gpu, lambda i: launch(Offset(whole, i * one)), copies))
        warm = spread(time_launches(self.gpu, lambda _: launch(whole)))
        return Row(n, k, kernel, tokens, kept, *cold, warm[0], round(cold[0] * self.mhz), nbytes,
                   1e6 * nbytes / ROOFLINE_BYTES / cold[0])

    def rows(self, n: int, k: int, levels: bool = False) -> Row:
        weights = self.weights(n, k, 13 if levels else 1)
        product, codes = RowProduct(self.gpu, n, k, levels=levels), self.codes(1, k)
        x, y = _padded(self.gpu, product.x_shape, codes), self.gpu.empty(product.y_shape, np.int32)
        want = _repeat(Linear(weights, 13 if levels else 1, 128)(codes), n, -1)
        packed = (pack_levels if levels else pack_rows)(weights)
        return self.time("levels" if levels else "rows", n, k, _repeat(packed, n),
                         lambda words: product(words, x, y), y, want, product.bytes)

    def batch(self, n: int, k: int, tokens: int) -> Row:
        weights, codes = self.weights(n, k), self.codes(tokens, k)
        product = BatchProduct(self.gpu, n, k, tokens)
        x, y = _padded(self.gpu, product.x_shape, codes), self.gpu.empty(product.y_shape, np.int32)
        packed = _repeat(pack_codes(weights), -(-n // TILE))
        return self.time("batch", n, k, packed, lambda words: product(words, x, y), y,
                         _repeat(Linear(weights, 1, 128)(codes), n, -1), product.bytes, tokens)

    def columns(self, n: int, k: int, kept: float) -> Row:
        weights, codes = _repeat(self.weights(n, k), n), self.codes(1, k)[0]
        codes[codes == 0] = 1
        codes[self.rng.permutation(k)[round(k * kept):]] = 0
        product, entries = ColumnProduct(self.gpu, n, k, adds=True), pack_entries(codes)
        listed = self.gpu.array(np.resize(entries, k + 3))
        count = self.gpu.array(np.array([entries.size], np.int32))
        y = self.gpu.empty(n, np.int32)
        return self.time("columns", n, k, pack_columns(weights),
                         lambda words: product(words, listed, count, y), y,
                         POISON + Linear(weights, 1, 128)(codes), entries.size * product.pitch * 4,
                         kept=kept)                          # this product adds

    def listed(self, n: int, k: int, kept: float) -> Row:
        weights, codes = self.weights(n, k), self.codes(1, k)
        chosen = np.sort(self.rng.permutation(n)[:round(n * kept)]).astype(np.int32)
        product = ListedProduct(self.gpu, n, k)
        x, y = _padded(self.gpu, product.x_shape, codes), self.gpu.empty(product.y_shape, np.int32)
        listed = self.gpu.array(np.resize(chosen, n))
        count = self.gpu.array(np.array([chosen.size], np.int32))
        want = np.full((1, n), POISON)                       # rows that are not listed stay
        want[:, chosen] = _repeat(Linear(weights, 1, 128)(codes), n, -1)[:, chosen]
        return self.time("listed", n, k, _repeat(pack_rows(weights), n),
                         lambda words: product(words, x, y, listed, count), y, want,
                         chosen.size * product.bytes // n, kept=kept)


def _repeat(values: NDArray[Any], count: int, axis: int = 0) -> NDArray[Any]:
    """Extend an axis by repeating it from its beginning."""
    return np.asarray(values.take(np.arange(count) % values.shape[axis], axis))


def _padded(gpu: Device, shape: tuple[int, int], codes: Codes) -> Array:
    """Codes with garbage behind them."""
    host = np.full(shape, -77, np.int8)
    host[:, :codes.shape[1]] = codes
    return gpu.array(host)


def _cublas(gpu: Device, n: int, k: int, tokens: int, mhz: float) -> Row | None:
    """Time cuBLAS in bfloat16 by PyTorch, where that is installed."""
    try:
        import torch
    except ImportError:
        return None
    copies = -(-COLD_BYTES // (2 * n * k))
    kinds = {"device": "cuda", "dtype": torch.bfloat16}
    weights = torch.randn(copies, n, k, **kinds)
    x, y = torch.randn(tokens, k, **kinds), torch.empty(tokens, n, **kinds)

    def spend(count: int) -> list[float]:
        graphs = []
        for part in range(-(-count // LAUNCHES)):
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                for i in range(LAUNCHES):
                    torch.matmul(x, weights[(part * LAUNCHES + i) % count].T, out=y)
            graphs.append(graph)
        times = []
        for i in range(REPLAYS + 2):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            graphs[i % len(graphs)].replay()
            end.record()
            end.synchronize()
            times.append(1e3 * start.elapsed_time(end) / LAUNCHES)
        return times[2:]

    torch.matmul(x, weights[0].T, out=y)
    torch.cuda.synchronize()
    cold, warm = spread(spend(copies)), spread(spend(1))
    gpu.activate()
    return Row(n, k, "cublas-bf16", tokens, 1.0, *cold, warm[0], round(cold[0] * mhz), 2 * n * k,
               1e6 * 2 * n * k / ROOFLINE_BYTES / cold[0])


def _launches(gpu: Device) -> dict[str, float]:
    """Microseconds between launches that do nothing."""
    empty = gpu.kernel(KERNELS / "probe.cu", "empty")
    dependent = gpu.kernel(KERNELS / "probe.cu", "dependent_empty")
    blocks, threads = gpu.info.multiprocessors, 320
    return {
        "empty_us": spread(time_launches(gpu, lambda _: empty(blocks, threads)))[0],
        "dependent_empty_us": spread(time_launches(
            gpu, lambda _: dependent(blocks, threads, dependent=True)))[0]}


def measure(progress: Callable[[str], None] = lambda _: None, quick: bool = False,
            ) -> dict[str, Any]:
    """Check and time every product.

    Parameters
    ----------
    progress
        Told what is measured next.
    quick
        Only the four shapes with published figures, one vector.

    Raises
    ------
    GpuError
        There is no usable GPU.
    CheckFailedError
        A sum is wrong.
    """
    gpu = device()
    bench = _Bench(gpu, progress)
    every = list(PUBLISHED) if quick else sorted(set(shapes()))
    rows: list[Row | None] = [bench.rows(n, k) for n, k in every]
    if not quick:
        rows += [bench.batch(n, k, tokens) for n, k in PUBLISHED for tokens in BATCHES]
        rows += [bench.columns(n, k, kept) for n, k in ((2560, 6912), (2560, 2560), (4096, 11008))
                 for kept in (1.0, 0.5, 0.25)]
        rows += [bench.rows(6912, 2560), bench.rows(11008, 4096)]
        rows += [bench.listed(n, k, kept) for n, k in ((6912, 2560), (11008, 4096))
                 for kept in (0.5, 0.25)]
        rows += [bench.rows(*HEAD, levels=True)]
    rows += [_cublas(gpu, n, k, tokens, bench.mhz) for n, k in every
             for tokens in ((1, 16) if (n, k) in PUBLISHED and not quick else (1,))]
    found = [row for row in rows if row is not None]
    ours = {(row.n, row.k): row.cold_us for row in found if row.kernel == "rows"}
    ratio = float(np.exp(np.mean([np.log(us / ours[shape]) for shape, us in PUBLISHED.items()])))
    return {
        "date": datetime.date.today().isoformat(),
        **environment(gpu, bench.mhz),
        "method": {"launches": LAUNCHES, "replays": REPLAYS, "cold_bytes": COLD_BYTES,
                   "roofline_bytes_per_s": ROOFLINE_BYTES, **_launches(gpu)},
        "published_us": [{"n": n, "k": k, "kernel": "microsoft/BitNet W2A8", "us": us}
                         for (n, k), us in PUBLISHED.items()],
        "faster_than_published": ratio,
        "rows": [asdict(row) for row in found],
    }


def environment(gpu: Device, mhz: float | None = None) -> dict[str, Any]:
    """Return what a figure depends on: device, driver, clock and versions."""
    return {
        "versions": tool_versions("tritforge", "cuda-bindings", "nvidia-cuda-nvrtc", "numpy",
                                  "torch"),
        "device": asdict(gpu.info), "driver": _driver(),
        "clock_mhz": round(clock_mhz(gpu) if mhz is None else mhz, 1)}


def _driver() -> str | None:
    """Return the driver's version, as its own tool says."""
    try:
        done = subprocess.run(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
                              capture_output=True, text=True, check=False, timeout=30)
    except OSError:
        return None
    return done.stdout.strip().splitlines()[0] if done.stdout.strip() else None


def as_csv(result: dict[str, Any]) -> str:
    """Rows with full precision, a header first."""
    out = io.StringIO()
    writer = csv.DictWriter(out, Row.__dataclass_fields__, lineterminator="\n")
    writer.writeheader()
    writer.writerows(result["rows"])
    return out.getvalue()


def as_text(result: dict[str, Any]) -> str:
    """Rows as a Markdown table."""
    lines = ["| n | k | kernel | tokens | kept | cold us | warm us | cycles | of roofline |",
             "|---:|---:|---|---:|---:|---:|---:|---:|---:|"]
    lines += [f"| {r['n']} | {r['k']} | {r['kernel']} | {r['tokens']} | {r['kept']:g} | "
              f"{r['cold_us']:.2f} | {r['warm_us']:.2f} | {r['cycles']} | "
              f"{r['roofline_share']:.2f} |" for r in result["rows"]]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m host.gpu.measure")
    parser.add_argument("--record", type=Path, metavar="DIRECTORY")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(arguments)
    result = measure(lambda text: print(text, file=sys.stderr, flush=True), options.quick)
    print(as_text(result), end="")
    if options.record:
        document = {"command": "python -m host.gpu.measure --record docs/results/gpu", **result}
        path = options.record / "products.json"
        path.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
