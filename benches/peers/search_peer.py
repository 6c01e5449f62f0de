"""The libraries that search, for `run.py`: the same requests and answers as `measure.rs`, one JSON value a line.

The nearest by cosine similarity: rows of norm 1 are stored, and a query is divided by its norm when it is asked, as
ours is. `library` is torch (a product and `topk`), faiss (`IndexFlatIP`), faiss-sq8 (`IndexScalarQuantizer` of 8 bits,
which is not exact) or usearch (exact search)."""

import json
import sys
import time

import numpy


def normalised(rows):
    return rows / numpy.linalg.norm(rows, axis=1, keepdims=True)


def prepare(request, threads):
    batch, patterns, dim, top = (request[name] for name in ("batch", "patterns", "dim", "search"))
    random = numpy.random.default_rng(1)
    keys = normalised(random.standard_normal((patterns, dim), dtype=numpy.float32))
    queries = random.standard_normal((batch, dim), dtype=numpy.float32)
    library = request["library"]
    if library == "torch":
        import torch

        torch.set_num_threads(threads)
        stored, asked = torch.from_numpy(keys), torch.from_numpy(queries)

        def work():
            with torch.inference_mode():
                return torch.topk(torch.nn.functional.normalize(asked) @ stored.T, top).indices.numpy()

        version = torch.__version__
    elif library in ("faiss", "faiss-sq8"):
        import faiss

        faiss.omp_set_num_threads(threads)
        if library == "faiss":
            index = faiss.IndexFlatIP(dim)
        else:
            index = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
            index.train(keys)
        index.add(keys)

        def work():
            return index.search(normalised(queries), top)[1]

        version = faiss.__version__
    elif library == "usearch":
        import usearch
        from usearch.index import MetricKind, search

        def work():
            return search(keys, queries, top, MetricKind.Cos, exact=True, threads=threads).keys.reshape(batch, -1)

        version = usearch.__version__
    else:
        raise ValueError(f"no library {library}")
    expected = numpy.argsort(-(normalised(queries[:3]) @ keys.T), axis=1)[:, :top]
    found = numpy.asarray(work())[:3]
    agree = [len(set(map(int, a)) & set(map(int, b))) for a, b in zip(found, expected)]
    if library != "faiss-sq8" and min(agree) < top:
        raise ValueError(f"{library} found {agree} of the {top} nearest")
    return {"library": library, "version": version, "agree": agree}, work


def timed(seconds, work):
    times = []
    until = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < until:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return times


def main():
    threads, work = int(sys.argv[1]), None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["op"] == "prepare":
                work = None
                said, work = prepare(request, threads)
            elif request["op"] == "run":
                said = {"times": timed(request.get("seconds", 0.5), work)}
            else:
                raise ValueError("op: expected prepare or run")
        except Exception as error:
            said = {"failed": f"{type(error).__name__}: {error}"}
        print(json.dumps(said), flush=True)


main()
