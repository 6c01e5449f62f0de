"""torchhd on the CPU, for `run.py`: the same requests and answers as `measure.rs`, one JSON value a line.

What a user of torchhd would write: `torchhd.resonator` step by step; `torchhd.memory.Hopfield` read and its sign, again
and again; one read of `torchhd.memory.SparseDistributed`. Each is compared with plain sums before it is timed."""

import json
import sys
import time

import torch
import torchhd


def bipolar(*shape, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 2, shape, generator=generator).float() * 2 - 1


def resonator(request):
    batch, dim, factors, rows, steps = (request[name] for name in ("batch", "dim", "factors", "patterns", "steps"))
    books = bipolar(factors, rows, dim, seed=1)
    picks = torch.randint(0, rows, (batch, factors), generator=torch.Generator().manual_seed(2))
    composites = torch.ones(batch, dim)
    for factor in range(factors):
        composites = composites * books[factor][picks[:, factor]]
    start = torch.where(books.sum(1) >= 0, 1.0, -1.0)
    books, composites = books.as_subclass(torchhd.MAPTensor), composites.as_subclass(torchhd.MAPTensor)
    # All problems share the books, as ours do.
    domains = books.unsqueeze(0).expand(batch, -1, -1, -1)

    def run(count):
        estimates = start.unsqueeze(0).expand(batch, -1, -1).as_subclass(torchhd.MAPTensor)
        for _ in range(count):
            estimates = torchhd.resonator(composites, estimates, domains)
        return estimates

    query = (composites[0] * start[1:].prod(0)).as_subclass(torch.Tensor)
    plain = books[0].as_subclass(torch.Tensor)
    expected = torch.sign((plain @ query) @ plain)
    if not torch.equal(run(1)[0, 0].as_subclass(torch.Tensor), expected):
        raise ValueError("torchhd's resonator differs from plain sums")
    return lambda: run(steps)


def hopfield(request):
    batch, dim, patterns, steps = (request[name] for name in ("batch", "dim", "patterns", "steps"))
    items = bipolar(patterns, dim, seed=1)
    flips = torch.where(torch.rand(batch, dim, generator=torch.Generator().manual_seed(3)) < 0.1, -1.0, 1.0)
    queries = items[torch.arange(batch) % patterns] * flips
    memory = torchhd.memory.Hopfield(dim, dtype=torch.float32)
    memory.write(items)
    expected = (queries[:1] @ items.T) @ items - patterns * queries[:1]
    if not torch.equal(memory.read(queries[:1]), expected):
        raise ValueError("torchhd's Hopfield network differs from plain sums")

    def work():
        states = queries
        for _ in range(steps):
            states = memory.read(states).sign()
        return states

    return work


def sparse_distributed(request):
    batch, dim, patterns = (request[name] for name in ("batch", "dim", "patterns"))
    memory = torchhd.memory.SparseDistributed(patterns, dim, dim, dtype=torch.float32)
    memory.threshold = request["threshold"]
    generator = torch.Generator().manual_seed(4)
    memory.values.data = torch.randint(-3, 4, (patterns, dim), generator=generator).float().as_subclass(torchhd.MAPTensor)
    queries = bipolar(batch, dim, seed=5).as_subclass(torchhd.MAPTensor)
    active = (queries[:1] @ memory.keys.T >= memory.threshold).float()
    if not torch.equal(memory.read(queries[:1]), active @ memory.values):
        raise ValueError("torchhd's sparse distributed memory differs from plain sums")
    return lambda: memory.read(queries)


KINDS = {"resonator": resonator, "hopfield": hopfield, "sparse-distributed": sparse_distributed}


def main():
    torch.set_num_threads(int(sys.argv[1]))
    torch.set_grad_enabled(False)
    work = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["op"] == "prepare":
                work = KINDS[request["family"]](request)
                told = {"library": "torchhd", "torch": torch.__version__}
            else:
                times, until = [], time.perf_counter() + request["seconds"]
                while len(times) < 3 or time.perf_counter() < until:
                    start = time.perf_counter()
                    work()
                    times.append(time.perf_counter() - start)
                told = {"times": times}
        except Exception as error:  # the other side must not wait for an answer
            told = {"failed": f"{type(error).__name__}: {error}"}
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
