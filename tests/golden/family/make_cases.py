#!/usr/bin/env python3
"""Makes cases of the wider family with other seeds and sizes, as README.md describes them, by integer arithmetic and in
double precision with numpy alone.

    python3 tests/golden/family/make_cases.py OUT [--seed 1] [--kind dense ...] [--dim 63] [--patterns 9] [--queries 7]
    for case in OUT/*.safetensors; do attractor family --case $case; done

Without `--dim` each kind is made at a list of sizes: one coordinate, one pattern, sizes that no tile divides, ties; with
it, at this size in every setting that it has (potentials, factors, hops, beta)."""

import argparse
import json
import struct
from pathlib import Path

import numpy as np

TYPES = {"int8": "I8", "int16": "I16", "int32": "I32", "float32": "F32", "float64": "F64"}
# Coordinates, patterns and queries. Few coordinates and an even number of patterns make ties.
SIZES = [(1, 1, 3), (1, 4, 2), (5, 1, 4), (5, 6, 9), (63, 2, 17), (63, 40, 5), (130, 300, 3), (1000, 21, 33)]


def write(path, case, tensors):
    """A safetensors file with the metadata `case`."""
    header, data = {"__metadata__": {"case": json.dumps(case)}}, b""
    for name, tensor in tensors.items():
        tensor = np.ascontiguousarray(tensor)
        dtype = TYPES[tensor.dtype.name]
        raw = tensor.astype(tensor.dtype.newbyteorder("<")).tobytes()
        header[name] = dict(dtype=dtype, shape=list(tensor.shape), data_offsets=[len(data), len(data) + len(raw)])
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def bipolar(rng, *shape):
    return rng.choice(np.array([-1, 1], np.int8), shape)


def noisy(rng, patterns, queries, share=0.15):
    """Patterns with some of their coordinates flipped."""
    rows = patterns[np.arange(queries) % len(patterns)]
    return np.where(rng.random(rows.shape) < share, -rows, rows).astype(np.int8)


def sign(sums, zero, before=None):
    """Signs of exact sums, with 0 as `zero` says."""
    at_zero = {"plus one": 1, "zero": 0, "keep": before}[zero]
    return np.where(sums == 0, at_zero, np.sign(sums)).astype(np.int64)


def softmax(scores):
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def lse(scores):
    most = scores.max(-1, keepdims=True)
    return (most + np.log(np.exp(scores - most).sum(-1, keepdims=True)))[..., 0]


def classical(rng, dim, count, queries):
    patterns, max_steps = bipolar(rng, count, dim), 50
    start = noisy(rng, patterns, queries)
    keys, states, iterations = patterns.astype(np.int64), start.astype(np.int64), np.zeros(queries, np.int32)
    for step in range(1, max_steps + 1):
        moving = iterations == 0
        new = sign(states @ keys.T @ keys - count * states, "keep", states)
        iterations[moving & (new == states).all(1)] = step
        states = np.where(moving[:, None], new, states)
    case = dict(system="classical Hopfield", max_steps=max_steps,
                rule="s <- sgn(sum_i <k_i,s> k_i - N s), all coordinates at once, zero keeps",
                iterations="updates until one changed nothing, that one counted; 0 if never")
    return case, dict(patterns=patterns, start=start, iterations=iterations, states=states.astype(np.int8))


def dense(rng, dim, count, queries, order=3, sweeps=1):
    patterns = bipolar(rng, count, dim)
    start = noisy(rng, patterns, queries)
    keys, states = patterns.astype(object), start.astype(object)
    for _ in range(sweeps):
        scores = states @ keys.T
        # h_ic + k_ic and h_ic - k_ic, as the definition has them, in integers of any length.
        cavity = scores[:, :, None] - keys[None] * states[:, None]
        sums = ((cavity + keys) ** order - (cavity - keys) ** order).sum(1)
        states = np.where(sums > 0, 1, np.where(sums < 0, -1, states))
    case = dict(system="dense associative memory", F=f"z^{order}", sweeps=sweeps,
                rule="s_c <- sgn sum_i [F(h_ic + k_ic) - F(h_ic - k_ic)], h_ic = <k_i,s> - k_ic s_c; all coordinates "
                     "at once, zero keeps")
    return case, dict(patterns=patterns, start=start, states=states.astype(np.int8))


def problems(rng, dim, count, queries, factors):
    books = bipolar(rng, factors, count, dim)
    picks = rng.integers(0, count, (queries, factors)).astype(np.int32)
    composite = np.prod([books[f][picks[:, f]] for f in range(factors)], 0).astype(np.int8)
    return books, picks, composite


def recalled(books, composite, states, factor, zero):
    """The next estimate of a factor."""
    query = composite.astype(np.int64)
    for other in range(len(books)):
        if other != factor:
            query = query * states[:, other]
    book = books[factor].astype(np.int64)
    return sign(query @ book.T @ book, zero, states[:, factor])


def resonator_in_order(rng, dim, count, queries, factors=3, max_steps=40):
    books, picks, composite = problems(rng, dim, count, queries, factors)
    states = np.repeat(sign(books.sum(1, dtype=np.int64), "plus one")[None], queries, 0)
    iterations = np.zeros(queries, np.int32)
    for step in range(1, max_steps + 1):
        moving, before = iterations == 0, states.copy()
        for factor in range(factors):
            new = recalled(books, composite, states, factor, "plus one")
            states[:, factor] = np.where(moving[:, None], new, states[:, factor])
        iterations[moving & (states == before).all((1, 2))] = step
    # The package counts the iterations that it was allowed where none changed nothing.
    iterations[iterations == 0] = max_steps
    for b in range(queries):
        for factor in range(factors):
            dots = books[factor].astype(np.int64) @ states[b, factor]
            if dots[np.argmax(np.abs(dots))] < 0:
                states[b, factor] *= -1
    case = dict(system="resonator network, outer products", factors="in order", zero="plus one", max_steps=max_steps,
                note="a factor whose best cosine is negative is negated in the end")
    return case, dict(books=books, composite=composite, picks=picks, iterations=iterations,
                      states=states.astype(np.int8))


def resonator_together(rng, dim, count, queries, factors=3, zero="zero"):
    books, picks, composite = problems(rng, dim, count, queries, factors)
    start = books.sum(1).astype(np.int32)
    states = np.repeat(start.astype(np.int64)[None], queries, 0)
    after = {}
    for step in range(1, 12):
        states = np.stack([recalled(books, composite, states, f, zero) for f in range(factors)], 1)
        if step in (1, 4, 11):
            after[f"after_{step}"] = states.astype(np.int8)
    case = dict(system="resonator network", source="torchhd.resonator", factors="together", zero=zero)
    return case, dict(books=books, composite=composite, picks=picks, start=start, **after)


def memories(rng, dim, count, queries):
    items = bipolar(rng, count, dim).astype(np.float32)
    starts = noisy(rng, items, queries).astype(np.float32)
    keys, states = items.astype(np.float64), starts.astype(np.float64)
    scores = states @ keys.T
    flipped = np.empty_like(states)
    for c in range(dim):
        up, down = (scores + (to - states[:, c:c + 1]) * keys[:, c] for to in (1, -1))
        flipped[:, c] = lse(up) - lse(down)
    hopfield = (scores @ keys - count * states).astype(np.float32)
    case = dict(source="torchhd.memory: hopfield, modern_hopfield, attention (one call each)")
    return case, dict(items=items, queries=starts, hopfield=hopfield, modern_hopfield=flipped,
                      attention=softmax(scores / np.sqrt(dim)) @ keys)


def sparse_distributed(rng, dim, count, queries):
    keys, states = bipolar(rng, count, dim), bipolar(rng, queries, dim)
    values = rng.integers(-9, 10, (count, max(1, dim // 2))).astype(np.int16)
    threshold = float(dim - 2 * (dim // 3))
    near = states.astype(np.int64) @ keys.T.astype(np.int64) >= threshold
    read = (near.astype(np.int64) @ values.astype(np.int64)).astype(np.int32)
    case = dict(source="torchhd.memory.SparseDistributed", threshold=threshold,
                rule="weight 1 where <query, key> >= threshold; read = sum of values")
    return case, dict(keys=keys, values=values, queries=states, read=read)


def clipped_hopfield(rng, dim, count, queries, kappa=3):
    patterns = bipolar(rng, count, dim).astype(np.int64)
    weights = np.clip(patterns.T @ patterns * (1 - np.eye(dim, dtype=np.int64)), -kappa, kappa)
    items = noisy(rng, patterns, queries)
    case = dict(source=f"torchhd.memory.Hopfield(kappa={kappa}): an arbitrary weight matrix, read = W q")
    return case, dict(items=items, weights=weights.astype(np.int8),
                      read=(items.astype(np.int64) @ weights.T).astype(np.int32))


def memory_network(rng, dim, count, queries, hops=3):
    embeddings = [rng.normal(0, 1 / np.sqrt(dim), (queries, count, dim)).astype(np.float32) for _ in range(hops + 1)]
    query = rng.normal(0, 1, (queries, dim)).astype(np.float32)
    state = query.astype(np.float64)
    for hop in range(hops):
        weights = softmax(np.einsum("bnd,bd->bn", embeddings[hop].astype(np.float64), state))
        state = state + np.einsum("bn,bnd->bd", weights, embeddings[hop + 1].astype(np.float64))
    case = dict(system="end-to-end memory network", scale="beta 1",
                rule=f"p = softmax(A_h u), o = sum p c, u <- u + o; C_h = A_(h+1); {queries} stories of {count} facts")
    named = {f"embedding_{hop}": embedding for hop, embedding in enumerate(embeddings)}
    return case, dict(query=query, answer=state, **named)


def cloob(rng, dim, count, queries, beta=8.5):
    stored, states = (rng.normal(size=(rows, dim)) for rows in (count, queries))
    stored, states = ((x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32) for x in (stored, states))
    keys = stored.astype(np.float64)
    retrieved = softmax(beta * states.astype(np.float64) @ keys.T) @ keys
    retrieved /= np.linalg.norm(retrieved, axis=1, keepdims=True)
    case = dict(system="CLOOB", rule=f"normalise(softmax({beta} y x^T) x)")
    return case, dict(queries=states, stored=stored, retrieved=retrieved)


def leave_one_out(rng, dim, count, queries):
    # Both are of the samples, of which there are at least two.
    count, classes = max(2, count), 1 + queries % 4
    labels = rng.integers(0, classes, count).astype(np.int32)
    samples = (rng.normal(size=(count, dim)) / np.sqrt(dim) + labels[:, None] / 2).astype(np.float32)
    x = samples.astype(np.float64)
    scores = np.stack([-0.5 * ((x - row) ** 2).sum(-1) for row in x])
    np.fill_diagonal(scores, -np.inf)
    expected = softmax(scores) @ np.eye(classes)[labels]
    case = dict(system="Hopular retrieval", accuracy=float((expected.argmax(1) == labels).mean()),
                rule="euclidean, softmax, beta 1, the query itself excluded; values one-hot labels")
    return case, dict(samples=samples, labels=labels, expected=expected)


KINDS = {
    "classical": classical, "dense": dense, "resonator_in_order": resonator_in_order,
    "resonator_together": resonator_together, "torchhd_memories": memories, "torchhd_sdm": sparse_distributed,
    "torchhd_hopfield_kappa": clipped_hopfield, "memn2n": memory_network, "cloob": cloob, "hopular": leave_one_out,
}
# What a kind is made with, besides sizes.
SETTINGS = {
    "dense": [dict(order=2), dict(order=3), dict(order=4, sweeps=3), dict(order=7)],
    "resonator_in_order": [dict(factors=2), dict(factors=3), dict(factors=4), dict(factors=5)],
    "resonator_together": [dict(factors=3), dict(factors=2), dict(factors=4, zero="plus one")],
    "memn2n": [dict(hops=1), dict(hops=3), dict(hops=5)],
    "cloob": [dict(), dict(beta=14.3), dict(beta=30.0)],
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the folder to write to")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", action="append", choices=KINDS, help="make these kinds alone")
    parser.add_argument("--dim", type=int, help="one size in place of the list")
    parser.add_argument("--patterns", type=int, default=20)
    parser.add_argument("--queries", type=int, default=10)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for kind in args.kind or KINDS:
        settings = SETTINGS.get(kind, [{}])
        if args.dim:
            cases = [(args.dim, args.patterns, args.queries, setting) for setting in settings]
        else:
            cases = [(*size, settings[number % len(settings)]) for number, size in enumerate(SIZES)]
        for number, (dim, count, queries, setting) in enumerate(cases):
            rng = np.random.default_rng([args.seed, list(KINDS).index(kind), number])
            case, tensors = KINDS[kind](rng, dim, count, queries, **setting)
            words = [kind, f"d{dim}", f"n{count}", f"b{queries}", *(f"{name}-{value}" for name, value in setting.items())]
            write(args.out / f"{'_'.join(words)}_s{args.seed}.safetensors".replace(" ", "-"), case, tensors)


if __name__ == "__main__":
    main()
