#!/usr/bin/env python3
"""Ours and theirs, alternately, in one run: several rounds of each work size, the ratio pair by pair, medians and spread,
beside the floor in time that this machine sets, measured in the same run.

    cargo build --release --locked --example measure
    python3 benches/peers/run.py [--python PYTHON] [--device cpu] [--rounds 7] [--rows S3,S5] [--out FILE]

`--python` is an interpreter that has `torch` and `entmax`; without one, ours is measured alone, and the table says so.
`--searches` adds searches of 100,000 patterns, beside `faiss`, `usearch` and PyTorch where that interpreter has them;
`--rows T1m-faiss` and the like ask for single ones, `m` for a million patterns and `x` for the store `i8-exact`.
`--family` measures systems of the wider family instead, beside `torchhd` where that interpreter has it, and a linear read
beside our own softmax.
`--device` names our device (cpu, vulkan, metal, dx12, gl, auto) and `--peer-device` PyTorch's (cpu, cuda, mps).

`--peer burn` takes burn on the same adapter instead, which tunes itself for minutes before each size on a software one,
for softmax or, with `--rows T1-burn,T64-burn`, for searches:

    cargo build --release --locked --manifest-path benches/peers/burn/Cargo.toml --target-dir target/burn
    python3 benches/peers/run.py --peer burn --device vulkan --software [--out FILE]

`--startup` times fresh processes instead, from their start to their first answer, on one of our devices, which may be part
of an adapter's name here: with kernels compiled with and without wgpu's checks, and with those that we or the driver kept."""

import argparse
import datetime
import json
import os
import platform
import statistics
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

# Name, what it is, the size of `attractor bench` (harness/src/workloads.rs) and what is asked otherwise. On a CPU a
# sixteenth of the patterns is stored where the size says so. The last is what the ratio is against: PyTorch, or our own
# retrieval of the same with other settings.
ROWS = [
    ("S1", "softmax, one query", "one", {}, "torch"),
    ("S2", "softmax, 8 queries", "eight", {}, "torch"),
    ("S3", "softmax", "batch", {}, "torch"),
    ("S4a", "softmax", "large-64", {}, "torch"),
    ("S4b", "softmax", "large-128", {}, "torch"),
    ("S5", "softmax, wide", "wide", {}, "torch"),
    ("S6a", "sparsemax", "sparsemax", {}, "torch"),
    ("S6b", "entmax 1.5", "entmax", {}, "torch"),
    ("S6s", "softmax at the size of S6", "softmax", {}, "torch"),
    ("S7", "softmax, latency", "latency", {}, "torch"),
    ("S8", "until convergence, beside fixed steps", "converge", {}, dict(tolerance=None)),
    # In halves: beside PyTorch's half precision, beside our own f32, and with queries and weights rounded to halves, too.
    ("S4ah", "S4a in f16", "large-64", dict(precision="f16"), "torch"),
    ("S4ahf", "S4a in f16, beside f32", "large-64", dict(precision="f16"), dict(precision="f32")),
    ("S4ahr", "S4a in f16, rounded", "large-64", dict(precision="f16", round=True), "torch"),
    ("S4bh", "S4b in f16", "large-128-f16", {}, "torch"),
    ("S4bhf", "S4b in f16, beside f32", "large-128-f16", {}, dict(precision="f32")),
    ("S4bhr", "S4b in f16, rounded", "large-128-f16", dict(round=True), "torch"),
    ("S1h", "S1 in f16", "one-f16", {}, dict(precision="f32")),
    ("S1i", "S1 in 8 bits", "one-i8", {}, dict(precision="f32")),
]


def searches():
    """Rows of searches by cosine similarity, each against one peer: another library, by name, or our own with other
    settings."""
    rows = []
    for patterns, suffix in ((100_000, ""), (1_000_000, "m")):
        for batch in (1, 64):
            request = dict(batch=batch, patterns=patterns, dim=384, search=10)
            name, what = f"T{batch}{suffix}", f"search, top 10 of {patterns:,}"
            plain = (f"{name}-plain", what, request, dict(plain=True))
            libraries = [(f"{name}-{peer}", what, request, peer) for peer in ("torch", "faiss", "usearch")]
            rows += [plain, *libraries]
            if not suffix:
                # burn allocates no buffer for 100,000 rows.
                fewer = request | dict(patterns=65_536)
                rows.append((f"{name}-burn", "search, top 10 of 65,536", fewer, "burn"))
            exact = request | dict(precision="i8-exact")
            rows += [
                (f"{name}x-f32", f"{what}, 8-bit exact", exact, dict(precision="f32")),
                (f"{name}x-faiss-sq8", f"{what}, 8-bit exact", exact, "faiss-sq8"),
            ]
    return rows


# Systems of the wider family: beside torchhd, or our own softmax at the same shape.
FAMILY = [
    ("R", "resonator, 3 factors, 30 iterations", dict(family="resonator", batch=200, patterns=79, dim=1500, factors=3, steps=30), "torchhd"),
    ("H", "classical Hopfield, 10 updates", dict(family="hopfield", batch=200, patterns=240, dim=2000, steps=10), "torchhd"),
    ("K1", "sparse distributed memory", dict(family="sparse-distributed", batch=1, patterns=100_000, dim=512, threshold=78), "torchhd"),
    ("K", "sparse distributed memory", dict(family="sparse-distributed", batch=100, patterns=100_000, dim=512, threshold=78), "torchhd"),
    ("K1x", "the same, from 8-bit addresses", dict(family="sparse-distributed", batch=1, patterns=100_000, dim=512, threshold=78, precision="i8-exact"), "torchhd"),
    ("Kx", "the same, from 8-bit addresses", dict(family="sparse-distributed", batch=100, patterns=100_000, dim=512, threshold=78, precision="i8-exact"), "torchhd"),
    ("L1", "linear read, beside softmax", dict(family="linear", batch=1, patterns=262_144, dim=64), dict(family="softmax")),
    ("L", "linear read, beside softmax", dict(family="linear", batch=256, patterns=16_384, dim=64), dict(family="softmax")),
]

# What burn is asked for, and how far ahead of it ours is to be: the least, and the aim.
BURN_ROWS = ("S3", "S4a", "S4b")
BURN_ASKED = (1.2, 3.0)
# Time against N (of one query: alone) and against B: one of ours, each beside the smallest.
GROWTH = {
    "N": [dict(batch=32, patterns=n, dim=64) for n in (1 << 16, 1 << 17, 1 << 18, 1 << 19)],
    "N alone": [dict(batch=1, patterns=n, dim=64) for n in (1 << 16, 1 << 17, 1 << 18, 1 << 19, 1 << 20)],
    "B": [dict(batch=b, patterns=16384, dim=64) for b in (1, 2, 4, 7, 8, 9, 16, 17, 32, 33, 64, 128, 256, 512)],
}
# Where the peer is measured, too.
PEER_GROWTH = ("N", "N alone")


# A first answer: what it is, and the request; 10,000 patterns of d = 128.
FIRSTS = [
    ("softmax, one query", dict(batch=1)),
    ("softmax, 256 queries", dict(batch=256)),
    ("sparsemax, 64 queries", dict(batch=64, rule="sparsemax")),
]


class Runner:
    """A process that measures when asked."""

    def __init__(self, command, environment):
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def ask(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            return {"failed": f"ended with status {self.process.wait()}"}
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def clean(threads):
    """The environment of both sides: the same threads, and no settings of a BLAS from outside."""
    environment = dict(os.environ)
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OPENBLAS_NUM_THREADS"):
        environment.pop(name, None)
    environment.update(RAYON_NUM_THREADS=str(threads), OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
    return environment


def cpu_model():
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def commit():
    told = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    return told.stdout.strip() or "unknown"


def shown(seconds):
    return f"{seconds * 1e3:.3f} ms" if seconds < 1 else f"{seconds:.3f} s"


def quartiles(values):
    values = sorted(values)
    return values[len(values) // 4], values[-1 - len(values) // 4]


def floor_of(request, told, bandwidth, flops):
    """The least time that bytes of patterns read once, and products, need here; None where no bound is known. Products of
    halves may be made by units whose peak is not measured."""
    moved = told["pattern_bytes"] / bandwidth if bandwidth else 0.0
    if request.get("precision") == "f16" and request["batch"] > 16:
        flops = None
    worked = told["flops"] / flops if flops else 0.0
    return max(moved, worked) or None


def alternate(ours, theirs, rounds, seconds):
    """Pairs of medians, one from each side in turn; our own device's clock and the recording, where there is one; and why
    there is nothing, where that is so."""
    pairs, clocks = [], []
    for turn in range(rounds):
        pair = [None, None]
        # The order alternates, so that a drift of the machine favours neither.
        for side in (0, 1) if turn % 2 == 0 else (1, 0):
            if runner := (ours, theirs)[side]:
                told = runner.ask(op="run", seconds=seconds)
                if "failed" in told:
                    return pairs, clocks, told["failed"]
                pair[side] = statistics.median(told["times"])
                if side == 0 and "device_times" in told:
                    clocks.append([statistics.median(told[kind]) for kind in ("device_times", "record_times")])
                time.sleep(0.03)
        pairs.append(pair)
    return pairs, clocks, None


def startup(measure, where, rounds, environment):
    """Fresh processes to their first answers, interleaved; processor time is of the whole process."""
    with tempfile.TemporaryDirectory() as folder:
        nothing = dict(MESA_SHADER_CACHE_DISABLE="true")
        kept = dict(MESA_SHADER_CACHE_DIR=f"{folder}/driver")
        ways = [
            ("nothing kept, checks", nothing, dict(checked=True)),
            ("nothing kept", nothing, {}),
            ("kept by us", nothing, dict(cache=f"{folder}/ours")),
            ("kept by the driver", kept, {}),
        ]
        if where["device"] == "cpu":
            ways = ways[1:2]
        lines = []
        for what, request in FIRSTS:
            # The first time of each fills what is kept, and is not counted.
            told = {name: [] for name, *_ in ways}
            for turn in range(rounds + 1):
                for name, variables, extra in ways:
                    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
                    runner = Runner([measure], environment | variables)
                    one = runner.ask(op="start", **where, **request, **extra)
                    one["total"] = time.perf_counter() - begun
                    runner.close()
                    after = resource.getrusage(resource.RUSAGE_CHILDREN)
                    one["processor"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
                    if "failed" in one:
                        sys.exit(f"run.py: {what}, {name}: {one['failed']}")
                    if turn > 0:
                        told[name].append(one)
            for name, *_ in ways:
                median = {
                    key: statistics.median(one[key] for one in told[name])
                    for key in ("total", "processor", "open", "stored", "first", "second")
                }
                line = f"{what:<22} {name:<21} " + ", ".join(f"{key} {shown(value)}" for key, value in median.items())
                print(f"{line}, {told[name][0]['compiled']} kernels", flush=True)
                lines.append(dict(what=what, way=name, request=request, runs=told[name], median=median))
        return told[ways[0][0]][0]["device"], lines


def main():
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--python", default=sys.executable)
    parse.add_argument("--device", default="cpu")
    parse.add_argument("--software", action="store_true")
    parse.add_argument("--peer", choices=("torch", "burn"), default="torch")
    parse.add_argument("--burn", default=str(ROOT / "target/burn/release/burn-peer"), help="its program")
    parse.add_argument("--peer-device", default=None, help="cpu for our cpu, else cuda")
    parse.add_argument("--threads", type=int, default=os.cpu_count())
    parse.add_argument("--rounds", type=int, default=7)
    parse.add_argument("--seconds", type=float, default=0.4, help="of each side in each round")
    parse.add_argument("--rows", default="", help="a comma-separated choice; `none` for growth alone")
    parse.add_argument("--searches", action="store_true", help="also rows T1-... to T64x-...: beside libraries")
    parse.add_argument("--family", action="store_true", help="systems of the wider family instead")
    parse.add_argument("--growth", action="store_true")
    parse.add_argument("--startup", action="store_true")
    parse.add_argument("--against", default="", help="of growth, a comma-separated choice of what against")
    parse.add_argument("--measure", default=str(ROOT / "target/release/examples/measure"))
    parse.add_argument("--out", default=None)
    arguments = parse.parse_args()
    environment = clean(arguments.threads)
    if not Path(arguments.measure).exists():
        sys.exit("run.py: build ours first: cargo build --release --locked --example measure")
    on_cpu = arguments.device == "cpu" or arguments.software
    peer_device = arguments.peer_device or ("cpu" if on_cpu else "cuda")
    where = dict(device=arguments.device, software=arguments.software)
    if arguments.startup:
        device, lines = startup(arguments.measure, where, arguments.rounds, environment)
        if arguments.out:
            about = dict(date=datetime.date.today().isoformat(), commit=commit(), cpu=cpu_model(), device=device)
            Path(arguments.out).write_text(json.dumps(dict(about=about, startup=lines), indent=1) + "\n")
        return
    start = lambda: Runner([arguments.measure], environment)
    ours, other = start(), start()
    notes, flops, other_side = [], None, None
    if arguments.peer == "burn":
        told_of_device = where
        if Path(arguments.burn).exists():
            other_side = Runner([arguments.burn], environment)
        else:
            notes.append("burn was not measured: its program is not built.")
        notes.append("PyTorch was not measured: burn is the peer.")
    else:
        told_of_device = dict(device=peer_device)
        peer_program = str(Path(__file__).with_name("torch_peer.py"))
        other_side = Runner([arguments.python, peer_program, str(arguments.threads)], environment)
        peak = other_side.ask(op="product", device=peer_device)
        if "failed" in peak:
            notes.append(f"PyTorch on {peer_device} was not measured: {peak['failed']}. Nor was the peak of its products.")
            other_side = None
        flops = peak.get("flops")
        notes.append("burn was not measured: PyTorch is the peer.")
    bandwidth = None
    if on_cpu:
        machine = ours.ask(op="bandwidth")
        # Multiply-adds in registers stand in where there is no peer whose products could be the peak.
        bandwidth, flops = machine["bandwidth"], flops or machine["flops"]
    adapter = None
    if arguments.device != "cpu":
        # Floors of the device itself: what a copy moves, and multiply-adds in registers.
        adapter = ours.ask(op="floors", **where)
        if "failed" in adapter:
            notes.append(f"The floors of {arguments.device} were not measured: {adapter['failed']}.")
            adapter = None
        else:
            bandwidth, flops = adapter["bandwidth"], adapter["flops"]
    about = dict(
        date=datetime.date.today().isoformat(),
        commit=commit(),
        cpu=cpu_model(),
        threads=arguments.threads,
        rounds=arguments.rounds,
        device=where,
        peer=arguments.peer,
        adapter=adapter,
        bandwidth_bytes=bandwidth,
        product_flops=flops,
    )
    told = f"{about['date']}, commit {about['commit']}, {about['cpu']}, {arguments.threads} threads"
    if adapter:
        told += f"\n{adapter['name']}, {adapter['backend']}, {adapter['driver']}: copies {bandwidth / 1e9:.1f} GB/s"
        told += f" read and written, multiply-adds {flops / 1e9:.0f} GFLOP/s"
    elif bandwidth:
        told += f", reads {bandwidth / 1e9:.1f} GB/s"
    if flops and not adapter:
        told += f", {'PyTorch products' if other_side and arguments.peer == 'torch' else 'multiply-adds'} {flops / 1e9:.0f} GFLOP/s"
    print(told)
    asked = [name for name in arguments.rows.split(",") if name]
    width = 16 if arguments.searches or any(name.startswith("T") for name in asked) else 7
    header = f"{'size':<{width}} {'what':<38} {'B':>5} {'N':>8} {'d':>4} {'ours':>11} {'theirs':>11} {'ratio':>7}"
    print(header + f" {'quartiles':>13} {'floor':>10} {'share':>6} {'GFLOP/s':>8}")
    results = []
    if arguments.peer == "burn" and not asked:
        asked = BURN_ROWS
    sizes = {size["name"]: size for size in ours.ask(op="sizes")["sizes"]}
    rows = []
    for name, what, size, changes, against in ROWS:
        request = sizes[size]["request"] | changes
        if sizes[size]["divided"] and on_cpu:
            request["patterns"] //= 16
        rows.append((name, name + "/16" * (sizes[size]["divided"] and on_cpu), what, request, against))
    for name, what, request, against in searches():
        # A million patterns take half a minute to prepare: they are measured where they are asked for.
        if (against == "burn") != (arguments.peer == "burn"):
            continue
        if name in asked or (not asked and arguments.searches and "m-" not in name and "mx-" not in name):
            rows.append((name, name, what, request, against))
    if arguments.family:
        rows = [(name, name, what, request, against) for name, what, request, against in FAMILY]
    search_side, family_side = None, None
    for asked_name, name, what, request, against in rows:
        if asked and asked_name not in asked:
            continue
        told = ours.ask(op="prepare", **request, **where)
        if "failed" in told:
            notes.append(f"{name} was not measured: {told['failed']}.")
            continue
        if "search" in request and against == "burn":
            peer, theirs = other_side, other_side and other_side.ask(op="prepare", **request, **told_of_device)
        elif "search" in request and isinstance(against, str):
            if search_side is None:
                program = str(Path(__file__).with_name("search_peer.py"))
                search_side = Runner([arguments.python, program, str(arguments.threads)], environment)
            peer, theirs = search_side, search_side.ask(op="prepare", library=against, **request)
        elif against == "torchhd":
            if family_side is None:
                program = str(Path(__file__).with_name("family_peer.py"))
                family_side = Runner([arguments.python, program, str(arguments.threads)], environment)
            peer, theirs = family_side, family_side.ask(op="prepare", **request)
        elif against == "torch":
            peer, theirs = other_side, other_side and other_side.ask(op="prepare", **request, **told_of_device)
        else:
            peer, theirs = other, other.ask(op="prepare", **(request | against), **where)
        if theirs and "failed" in theirs:
            notes.append(f"{name}: the peer was not measured: {theirs['failed']}.")
            peer = None
        elif theirs:
            for tried in theirs.get("tried", ()):
                if not tried["holds"]:
                    notes.append(f"{name}: the peer's {tried['how']} is off plain loops by {tried['error']}.")
        pairs, clocks, failed = alternate(ours, peer, arguments.rounds, arguments.seconds)
        if failed:
            notes.append(f"{name} was not measured: {failed}.")
            continue
        mine = statistics.median(pair[0] for pair in pairs)
        line = dict(size=name, what=what, request=request, told=told, pairs=pairs, ours=mine)
        line["explanation"] = ours.ask(op="explain").get("explanation")
        if clocks:
            line["device_time"], line["record_time"] = (statistics.median(side) for side in zip(*clocks))
        # Where the device has a clock, what it says is held against the floor: uploads and read-backs are not its work.
        held = line.get("device_time", mine)
        floor = floor_of(request, told, bandwidth, flops)
        work = 4 * request["batch"] * request["patterns"] * request["dim"] * told["steps_mean"]
        row = f"{name:<{width}} {what:<38} {request['batch']:>5} {request['patterns']:>8} {request['dim']:>4}"
        row += f" {shown(mine):>11}"
        if peer:
            ratios = [pair[1] / pair[0] for pair in pairs]
            low, high = quartiles(ratios)
            line.update(peer=theirs, theirs=statistics.median(pair[1] for pair in pairs), ratio=statistics.median(ratios))
            row += f" {shown(line['theirs']):>11} {line['ratio']:>6.2f}x {f'{low:.2f}-{high:.2f}':>13}"
            if arguments.peer == "burn" and "search" not in request:
                (least, aim), reached = BURN_ASKED, line["ratio"]
                line.update(asked=least, aim=aim)
                held_to = "past the aim" if reached >= aim else "past the floor" if reached >= least else "BELOW THE FLOOR"
                notes.append(f"{name}: {reached:.2f}x of burn's {theirs['how']}: {held_to} ({least}x, aim {aim:g}x).")
        else:
            row += f" {'-':>11} {'-':>7} {'-':>13}"
        if floor:
            line.update(floor=floor, share=floor / held)
            row += f" {shown(floor):>10} {floor / held:>6.0%}"
        else:
            row += f" {'-':>10} {'-':>6}"
        if request.get("rule", "softmax") == "softmax" and "search" not in request and "family" not in request:
            row += f" {work / held / 1e9:>8.1f}"
        if clocks:
            row += f"  on the device {shown(held)}, recorded in {shown(line['record_time'])}"
        print(row, flush=True)
        results.append(line)
    growth = []
    against = [name.strip() for name in arguments.against.split(",") if name] or list(GROWTH)
    for what in against if arguments.growth else ():
        requests = GROWTH[what]
        print(f"\nTime against {what}:")
        times, peer_times = [[] for _ in requests], [[] for _ in requests]
        # On a machine with busy neighbours the least of many is what can be compared.
        least, peer_least = [float("inf")] * len(requests), [float("inf")] * len(requests)
        # Round by round over all sizes, so that a drift of the machine bends no curve.
        for _ in range(arguments.rounds):
            for place, request in enumerate(requests):
                told = ours.ask(op="prepare", **request, **where)
                run = told if "failed" in told else ours.ask(op="run", seconds=arguments.seconds / 2)
                times[place].append(statistics.median(run["times"]) if "times" in run else float("nan"))
                least[place] = min(least[place], *run.get("times", ()), float("inf"))
                if other_side and what in PEER_GROWTH:
                    told = other_side.ask(op="prepare", **request, **told_of_device)
                    run = told if "failed" in told else other_side.ask(op="run", seconds=arguments.seconds / 2)
                    if "times" in run:
                        peer_times[place].append(statistics.median(run["times"]))
                        peer_least[place] = min(peer_least[place], *run["times"])
        for place, (request, these, theirs) in enumerate(zip(requests, times, peer_times)):
            scale = request["patterns"] * request["batch"]
            first = requests[0]["patterns"] * requests[0]["batch"]
            mine = statistics.median(these)
            share = statistics.median(t / f for t, f in zip(these, times[0])) / (scale / first)
            told = f"  B {request['batch']:>4} N {request['patterns']:>8} {shown(mine):>11}  {share:.3f} of linear growth"
            told += f", least {shown(least[place])}"
            line = dict(against=what, request=request, time=mine, least=least[place], of_linear=share)
            if theirs:
                line.update(theirs=statistics.median(theirs), theirs_least=peer_least[place], peer=arguments.peer)
                told += f"; {arguments.peer} {shown(line['theirs'])}, least {shown(line['theirs_least'])}"
            print(told, flush=True)
            growth.append(line)
    for note in notes:
        print(note)
    for runner in (ours, other, other_side, search_side, family_side):
        if runner:
            runner.close()
    if arguments.out:
        Path(arguments.out).write_text(json.dumps(dict(about=about, rows=results, growth=growth, notes=notes), indent=1) + "\n")


if __name__ == "__main__":
    main()
