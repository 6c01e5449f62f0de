"""PyTorch's side of `run.py`: the same requests and answers as `measure.rs`, one JSON value a line.

softmax is `scaled_dot_product_attention` with the patterns as keys and values, all in half precision where the patterns
are to be stored in it; sparsemax and entmax 1.5 are the `entmax`
package between two products, which is what its users write."""

import json
import sys
import time

import torch


def chosen(name):
    if name in ("cpu", "cuda", "mps"):
        return torch.device(name)
    raise ValueError(f"PyTorch has no device {name}")


def wait(device):
    if device.type == "cuda":
        torch.cuda.synchronize()
    elif device.type == "mps":
        torch.mps.synchronize()


def prepare(request):
    device = chosen(request.get("device", "cpu"))
    torch.backends.cuda.matmul.allow_tf32 = False
    batch, patterns, dim = request["batch"], request["patterns"], request["dim"]
    beta = request.get("beta") or dim**-0.5
    rule = request.get("rule", "softmax")
    torch.manual_seed(1)
    kind = torch.float16 if request.get("precision") == "f16" else torch.float32
    keys = torch.randn(patterns, dim, device=device).to(kind)
    queries = torch.randn(batch, dim, device=device).to(kind)
    if rule == "softmax":
        q, k = queries[None, None], keys[None, None]

        def work():
            return torch.nn.functional.scaled_dot_product_attention(q, k, k, scale=beta)[0, 0]

    elif rule in ("sparsemax", "entmax15"):
        import entmax

        separation = {"sparsemax": entmax.sparsemax, "entmax15": entmax.entmax15}[rule]

        def work():
            return separation(beta * (queries @ keys.T), dim=-1) @ keys

    else:
        raise ValueError(f"no peer for the rule {rule}")
    with torch.inference_mode():
        work()
    wait(device)
    named = torch.cuda.get_device_name() if device.type == "cuda" else device.type
    return {"device": named, "threads": torch.get_num_threads(), "torch": torch.__version__}, work, device


def timed(seconds, work, device):
    times = []
    until = time.perf_counter() + seconds
    with torch.inference_mode():
        while len(times) < 3 or time.perf_counter() < until:
            start = time.perf_counter()
            work()
            wait(device)
            times.append(time.perf_counter() - start)
    return times


def product_peak(device):
    """Flops a second of the best of several large products."""
    n = 2048 if device.type == "cpu" else 8192
    a, b = torch.randn(n, n, device=device), torch.randn(n, n, device=device)
    return 2 * n**3 / min(timed(1.5, lambda: a @ b, device))


def main():
    threads = int(sys.argv[1])
    torch.set_num_threads(threads)
    work = device = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["op"] == "prepare":
                work = None
                said, work, device = prepare(request)
            elif request["op"] == "run":
                said = {"times": timed(request.get("seconds", 0.5), work, device)}
            elif request["op"] == "product":
                said = {"flops": product_peak(chosen(request.get("device", "cpu")))}
            else:
                raise ValueError("op: expected prepare, run or product")
        except Exception as error:
            said = {"failed": f"{type(error).__name__}: {error}"}
        print(json.dumps(said), flush=True)


main()
