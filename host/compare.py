# SPDX-License-Identifier: Apache-2.0
"""Accelerator cycles against GPU cycles, matrix by matrix and per token.

The accelerator's side comes from the cycle models, which the RTL equals; the GPU's from
measurements on record under ``docs/results/gpu``, so that no GPU is needed.  Both sides multiply
one token's activations; the accelerator skips what is zero or masked, the GPU's kernel is the
fastest measured one that gives the same sums.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from golden_model.accelerator_config import AcceleratorConfig
from golden_model.config import ArrayConfig
from golden_model.head_config import PLANES
from golden_model.mac.array_table import Layer, sized_for
from golden_model.mac.ternary_array import array_cycles
from golden_model.sparse.row_gather import gather_cycles
from golden_model.sparse.sparse_product import sparse_cycles
from golden_model.sparse_config import RowGatherConfig, SparseProductConfig
from host.errors import UserError
from host.ffn_table import LATENCY, PAPER_SHARES

__all__ = ["GPU_RESULTS", "MODELS", "Gpu", "Matrix", "Model", "compare", "read_gpu"]

RESULTS = Path(__file__).parents[1] / "docs" / "results"
GPU_RESULTS = RESULTS / "gpu"
TOKENS = RESULTS / "token_cycles.json"
"""Whole tokens by the cycle model, as `host.token_report` writes them."""
TRITS_A_BYTE = 5
"""Base 3."""
MOST_BYTES = 16 << 20
"""Size of a file of measurements that is not read."""
DENSE, SPARSE, HEAD = frozenset({"rows"}), frozenset({"columns"}), frozenset({"levels"})
"""Kernels by what they multiply: all weights, those of kept columns, weights of three trits."""
LIBRARY = "cublas-bf16"


class Model(NamedTuple):
    """Sizes that decide how many weights a token takes."""

    hidden: int
    ffn: int
    kv: int
    """Rows of Wk, and of Wv."""
    layers: int
    vocab: int


MODELS: Mapping[str, Model] = MappingProxyType({
    "demo": Model(128, 384, 64, 6, 512),
    # Table 6 of arXiv:2411.04965; the vocabulary is that of the LLaMA tokenizer.
    "700M": Model(1536, 4096, 1536, 24, 32_000),
    "1.3B": Model(2048, 5460, 2048, 24, 32_000),
    "3B": Model(3200, 8640, 3200, 26, 32_000),
    "7B": Model(4096, 11_008, 4096, 32, 32_000),
    "2B4T": Model(2560, 6912, 640, 30, 128_256),
})
"""Models by name: the demo model, the paper's, BitNet b1.58 2B4T."""


class Matrix(NamedTuple):
    """Matrices that one kernel multiplies: those with the same input are stacked."""

    name: str
    n: int
    k: int
    times: int
    """How often a token takes it."""
    kept: float
    """Share of its weights that the accelerator fetches."""
    kernels: frozenset[str]
    """GPU kernels that give the same sums."""


class Gpu(NamedTuple):
    """Measurements of one GPU."""

    name: str
    date: str
    clock_mhz: float
    roofline_bytes_per_s: float
    rows: Sequence[Mapping[str, Any]]
    token: Mapping[str, Any] | None
    """A whole token: ``model``, ``context``, ``us`` and ``cycles``."""


def _matrices(model: Model, shares: Mapping[str, float]) -> tuple[Matrix, ...]:
    hidden, ffn, layers = model.hidden, model.ffn, model.layers
    return (
        Matrix("qkv", hidden + 2 * model.kv, hidden, layers, 1.0, DENSE),
        Matrix("o", hidden, hidden, layers, shares["wo"], DENSE | SPARSE),
        Matrix("gate_up", 2 * ffn, hidden, layers, (1 + shares["up"]) / 2, DENSE),
        Matrix("down", hidden, ffn, layers, shares["down"], DENSE | SPARSE),
        Matrix("head", model.vocab, hidden, 1, 1.0, HEAD))


def _demo_shares() -> dict[str, float]:
    """Shares that the demo model's own activations have, as on record."""
    found = json.loads((RESULTS / "ffn" / "ulx3s.json").read_text(encoding="utf-8"))
    return {row["projection"]: row["share"] for row in found["projections"]}


def _array(config: ArrayConfig, m: int, k: int, digits: int) -> int:
    """Cycles of the array from a command to its last result."""
    sized = sized_for(config, (Layer("", "", m, k, digits),))
    return array_cycles(sized, m, k, min(digits, sized.max_digits))


def _cycles(config: AcceleratorConfig, matrix: Matrix, shares: Mapping[str, float]) -> int:
    """Cycles from the first operand to the last result, weights at hand, one sum after another."""
    array, units, (name, n, k, *_) = config.array, config.units, matrix
    if name in ("o", "down"):
        if units is None:
            return _array(array, n, k, 2)
        product = SparseProductConfig(width=units.down_width, packing=array.packing)
        kept = [True] * round(shares["wo" if name == "o" else name] * k)
        done = sparse_cycles(product, [(kept, -(-n // product.width))], LATENCY)
        return done.sums[-1] + 1
    if name == "gate_up" and units is not None:
        gather = RowGatherConfig(width=units.up_width, packing=array.packing)
        active = round(shares["up"] * n // 2)
        up = gather_cycles(gather, [(active, -(-k // gather.width))], LATENCY).sums[-1] + 1
        return _array(array, n // 2, k, 1) + up
    if name == "head":
        return _array(array, PLANES * n, k, 2)
    return _array(array, n, k, 1)


def _side(cycles: int, us: float, weights: int, roofline: float) -> dict[str, Any]:
    return {"cycles": cycles, "us": us, "weights_per_cycle": weights / cycles,
            "roofline_share": roofline}


def _accelerator(config: AcceleratorConfig, matrix: Matrix,
                 shares: Mapping[str, float]) -> dict[str, Any]:
    """Return its side of a row; its roofline is one beat of weights a cycle."""
    cycles, weights = _cycles(config, matrix, shares), matrix.n * matrix.k
    trits = weights * (PLANES if matrix.name == "head" else 1)
    kept = matrix.kept if config.units is not None else 1.0
    least = kept * trits / config.array.macs_per_cycle
    return _side(cycles, cycles / config.clock_mhz, weights, least / cycles)


def _fastest(gpu: Gpu, matrix: Matrix, kernels: frozenset[str]) -> Mapping[str, Any] | None:
    """Return the fastest measurement that does the work: it touches no fewer weights."""
    fitting = [row for row in gpu.rows if row["kernel"] in kernels and row["tokens"] == 1
               and (row["n"], row["k"]) == (matrix.n, matrix.k) and row["kept"] >= matrix.kept]
    return min(fitting, key=lambda row: float(row["cold_us"]), default=None)


def _gpu(gpu: Gpu | None, matrix: Matrix, kernels: frozenset[str]) -> dict[str, Any] | None:
    """Return the GPU's side of a row, or nothing where that shape was not measured."""
    row = _fastest(gpu, matrix, kernels) if gpu is not None else None
    if row is None:
        return None
    return {"kernel": row["kernel"], "kept": row["kept"], "warm_us": row["warm_us"],
            **_side(row["cycles"], row["cold_us"], matrix.n * matrix.k, row["roofline_share"])}


def _ratios(ours: Mapping[str, Any], theirs: Mapping[str, Any] | None) -> dict[str, Any]:
    """Accelerator over GPU: above 1 the GPU wins."""
    if theirs is None:
        return {"cycles_ratio": None, "time_ratio": None}
    return {"cycles_ratio": ours["cycles"] / theirs["cycles"],
            "time_ratio": ours["us"] / theirs["us"]}


def _both(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return both sides' sums over a token's matrices; the GPU's only if none is missing."""
    ours = _total(rows, "accelerator")
    theirs = None if any(row["gpu"] is None for row in rows) else _total(rows, "gpu")
    return {"accelerator": ours, "gpu": theirs, **_ratios(ours, theirs)}


def _total(rows: Sequence[Mapping[str, Any]], side: str) -> dict[str, Any]:
    cycles = sum(row["count"] * row[side]["cycles"] for row in rows)
    return {"cycles": cycles, "us": sum(row["count"] * row[side]["us"] for row in rows),
            "weights_per_cycle": sum(row["count"] * row["n"] * row["k"] for row in rows) / cycles}


def _whole(config: AcceleratorConfig, name: str, gpu: Mapping[str, Any] | None) -> Any:
    """Return a whole token on the accelerator, beside the GPU's, if the model was worked out."""
    found = _read(TOKENS)
    row = found["tokens"].get(name) if found else None
    if row is None or row["preset"] != config.name:
        return None
    ours = {"cycles": row["cycles_per_token"], "us": row["ms_per_token"] * 1e3}
    return {**ours, "rows": row["rows"], "bound": max(row["bounds"].values()),
            "bound_by": row["bound_by"], "over_bound": row["over_bound"], **_ratios(ours, gpu)}


def _model(config: AcceleratorConfig, gpu: Gpu | None, name: str) -> dict[str, Any]:
    model, measured = MODELS[name], name == "demo"
    shares = _demo_shares() if measured else PAPER_SHARES
    rows = []
    for matrix in _matrices(model, shares):
        ours, theirs = _accelerator(config, matrix, shares), _gpu(gpu, matrix, matrix.kernels)
        library = _gpu(gpu, matrix, frozenset({LIBRARY}))
        rows.append({"matrix": matrix.name, "n": matrix.n, "k": matrix.k, "count": matrix.times,
                     "kept": matrix.kept if config.units is not None else 1.0,
                     "accelerator": ours, "gpu": theirs,
                     "library_us": None if library is None else library["us"],
                     **_ratios(ours, theirs)})
    token = gpu.token if gpu is not None else None
    whole = token if token and token["model"] == name else None
    return {"model": name, "layers": model.layers, "shares": "measured" if measured else "assumed",
            "matrices": rows, "all_layers": _both([row for row in rows if row["count"] > 1]),
            "all_matrices": _both(rows),
            "gpu_token": whole, "accelerator_token": _whole(config, name, whole)}


def compare(config: AcceleratorConfig, gpu: Gpu | None,
            models: Sequence[str] = tuple(MODELS)) -> dict[str, Any]:
    """Compare one accelerator with one GPU, or with none, on some of `MODELS`.

    Returns
    -------
    dict
        What is compared (``name``, ``clock_mhz``, ``gpu``), and by model its ``matrices``, each
        with both sides' ``cycles``, ``us``, ``weights_per_cycle`` and ``roofline_share``;
        ``all_layers`` and ``all_matrices``, sums over a token; ``gpu_token`` and
        ``accelerator_token``, whole tokens, the latter's by the cycle model.  What was not measured
        is null, ``energy`` always: it was measured on neither side.
    """
    array = config.array
    return {
        "name": config.name, "clock_mhz": config.clock_mhz, "rows": array.rows,
        "lanes": array.lanes, "weights_a_cycle": array.macs_per_cycle,
        "weight_bytes_per_s": config.clock_mhz * 1e6 * array.macs_per_cycle / TRITS_A_BYTE,
        "gpu": None if gpu is None else {
            "name": gpu.name, "date": gpu.date, "clock_mhz": gpu.clock_mhz,
            "roofline_bytes_per_s": gpu.roofline_bytes_per_s},
        "energy": None, "models": [_model(config, gpu, name) for name in models]}


_NUMBER = (int, float)


def _read(path: Path) -> Any:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UserError(f"{path}: too large for measurements")
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path}: is no JSON: {error}") from error


def _rows(path: Path, found: Any, fields: Mapping[str, type | tuple[type, ...]],
          ) -> Iterator[Mapping[str, Any]]:
    rows = found.get("rows") if isinstance(found, dict) else None
    if not isinstance(rows, list):
        raise UserError(f"{path}: has no list of rows")
    for number, row in enumerate(rows):
        for name, kind in fields.items():
            value = row.get(name) if isinstance(row, dict) else None
            if not isinstance(value, kind) or (isinstance(value, _NUMBER) and not value > 0):
                raise UserError(f"{path}: row {number} has no sound {name}")
        yield row


_PRODUCT: Mapping[str, type | tuple[type, ...]] = {
    "n": int, "k": int, "kernel": str, "tokens": int, "kept": _NUMBER, "cold_us": _NUMBER,
    "warm_us": _NUMBER, "cycles": int, "roofline_share": _NUMBER}


def _token(path: Path, found: Any) -> dict[str, Any]:
    """Return a whole token's measurement, its model told by its sizes."""
    try:
        shape = found["shape"]
        sizes = Model(shape["hidden"], shape["ffn"], shape["kv_heads"] * shape["head_dim"],
                      shape["layers"], shape["vocab"])
        names = [name for name, model in MODELS.items() if model == sizes]
        return {"model": names[0] if names else None, "context": int(found["context"]),
                "us": float(found["us"]), "cycles": int(found["cycles"])}
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: does not say which model, what context and how long") from error


def read_gpu(folder: Path = GPU_RESULTS) -> Gpu | None:
    """Read measurements of a GPU: ``products.json`` and, if it is there, ``token.json``.

    Returns nothing if there are none.

    Raises
    ------
    UserError
        A file is damaged; the message names it.
    """
    path = folder / "products.json"
    found = _read(path)
    if found is None:
        return None
    rows = tuple(_rows(path, found, _PRODUCT))
    try:
        facts = (str(found["device"]["name"]), str(found["date"]), float(found["clock_mhz"]),
                 float(found["method"]["roofline_bytes_per_s"]))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: does not say which device, when, and at which clock") from error
    whole = _read(folder / "token.json")
    return Gpu(*facts, rows, None if whole is None else _token(folder / "token.json", whole))
