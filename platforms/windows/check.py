#!/usr/bin/env python3
"""Checks what the command has written.

    check.py picture FILE.png                a picture with digits on it, decoded without any package
    check.py output ANSWERS GOLDEN           the tensor `output` of two safetensors files
"""

import json
import struct
import sys
import zlib


def pixels(path):
    """Width, height and the bytes of a PNG's samples, its filters undone."""
    data = open(path, "rb").read()
    assert data[:8] == b"\x89PNG\r\n\x1a\n", "no PNG"
    at, packed, kind = 8, b"", None
    while kind != b"IEND":
        (length,), kind = struct.unpack(">I", data[at : at + 4]), data[at + 4 : at + 8]
        body = data[at + 8 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0] == zlib.crc32(kind + body), "a checksum"
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", body[:10])
            assert depth == 8 and body[12] == 0, "not 8 bits, or interlaced"
            channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
        elif kind == b"IDAT":
            packed += body
        at += 12 + length
    raw, stride = zlib.decompress(packed), width * channels
    assert len(raw) == height * (stride + 1), "rows are missing"
    above, samples = bytes(stride), bytearray()
    for row in range(height):
        start = row * (stride + 1)
        filter, line = raw[start], bytearray(raw[start + 1 : start + 1 + stride])
        for i in range(stride):
            left = line[i - channels] if i >= channels else 0
            corner = above[i - channels] if i >= channels else 0
            guess = left + above[i] - corner
            nearest = min((left, above[i], corner), key=lambda value: abs(guess - value))
            line[i] = line[i] + (0, left, above[i], (left + above[i]) // 2, nearest)[filter] & 255
        above = bytes(line)
        samples += line
    return width, height, samples


def picture(path):
    width, height, samples = pixels(path)
    counts = [samples.count(value) for value in range(256)]
    levels, most = sum(count > 0 for count in counts), max(counts) / len(samples)
    assert width >= 100 and height >= 100, f"{width} x {height}"
    assert levels >= 50 and most < 0.95, f"{levels} levels, {most:.0%} of one of them"
    print(f"{path}: {width} x {height}, {levels} levels, at most {most:.0%} of one")


def tensor(path, name):
    data = open(path, "rb").read()
    (length,) = struct.unpack("<Q", data[:8])
    described = json.loads(data[8 : 8 + length])[name]
    start, end = (8 + length + offset for offset in described["data_offsets"])
    letter, size = {"F32": ("f", 4), "F64": ("d", 8)}[described["dtype"]]
    return struct.unpack(f"<{(end - start) // size}{letter}", data[start:end])


def output(answers, golden):
    got, expected = tensor(answers, "output"), tensor(golden, "output")
    assert len(got) == len(expected) > 0, f"{len(got)} numbers, expected {len(expected)}"
    worst = max(abs(a - b) for a, b in zip(got, expected))
    assert worst < 1e-5, f"{answers}: off by {worst}"
    print(f"{answers}: {len(got)} numbers, off by {worst:.1e} at most")


if __name__ == "__main__":
    {"picture": picture, "output": output}[sys.argv[1]](*sys.argv[2:])
