#!/usr/bin/env python3
"""Has RADV, Mesa's driver for AMD, compile the kernels for chips that are not there, and prints what it made of each:
registers, spills, scratch, shared memory, code and how many waves fit.

    cargo run --example kernels -- spv target/spirv
    benches/peers/radv.py --family gfx1100 target/spirv/*.spv

Mesa does this with its null winsys (RADV_FORCE_FAMILY; 22.3 has it, 26.2 no longer). Only pipelines are made: the null winsys has no fences, so
wgpu cannot open a device on it.
"""

import argparse
import ctypes as c
import os
import pathlib
import re
import struct
import sys
import tempfile

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--family", default="gfx1100", help="RADV_FORCE_FAMILY: gfx1100, navi21, vega10, ...")
parser.add_argument("--icd", default="/usr/share/vulkan/icd.d/radeon_icd.x86_64.json")
parser.add_argument("--wave32", action="store_true", help="waves of 32, which compute does not get by itself")
parser.add_argument("--text", action="store_true", help="print what the driver says, assembly too")
parser.add_argument("modules", nargs="+", type=pathlib.Path)
arguments = parser.parse_args()

os.environ.update(
    VK_DRIVER_FILES=arguments.icd,
    VK_ICD_FILENAMES=arguments.icd,
    RADV_FORCE_FAMILY=arguments.family,
    RADV_DEBUG="shaderstats,nocache" + (",shaders" if arguments.text else ""),
    RADV_PERFTEST="cswave32" if arguments.wave32 else "",
)
vulkan = c.CDLL("libvulkan.so.1")
kept = []


def block(form, *values):
    """A struct of C's layout; nested blocks become pointers."""
    values = [c.addressof(value) if isinstance(value, c.Array) else value for value in values]
    made = c.create_string_buffer(struct.pack("@" + form, *values), max(struct.calcsize("@" + form), 1))
    kept.append(made)
    return made


def call(name, *values):
    values = [c.c_void_p(value) if isinstance(value, int) and value > 0xFFFFFFFF else value for value in values]
    status = getattr(vulkan, name)(*values)
    if status != 0:
        sys.exit(f"{name} gives {status}")


handle = lambda: c.c_uint64(0)
application = block("i4xPPIPIIxxxx", 0, 0, 0, 0, 0, 0, (1 << 22) | (3 << 12))
instance = handle()
call("vkCreateInstance", block("i4xPIPIPIPxxxx", 1, 0, 0, application, 0, 0, 0, 0), None, c.byref(instance))
count, physical = c.c_uint32(1), handle()
vulkan.vkEnumeratePhysicalDevices(instance, c.byref(count), c.byref(physical))
if not physical.value:
    sys.exit("no physical device: this Mesa has no null winsys")
queue = block("i4xPIIIxxxxP", 2, 0, 0, 0, 1, block("f", 1.0))
device = handle()
call("vkCreateDevice", physical, block("i4xPIIPIxxxxPIxxxxPP", 3, 0, 0, 1, queue, 0, 0, 0, 0, 0), None, c.byref(device))
# Uniform parameters with a dynamic offset, then storage buffers.
bindings = block("IIIIP" * 9, *[v for i in range(9) for v in (i, 8 if i == 0 else 7, 1, 32, 0)])
set_layout, layout = handle(), handle()
call("vkCreateDescriptorSetLayout", device, block("i4xPIIP", 32, 0, 0, 9, bindings), None, c.byref(set_layout))
sets = block("Q", set_layout.value)
call("vkCreatePipelineLayout", device, block("i4xPIIPIxxxxP", 30, 0, 0, 1, sets, 0, 0), None, c.byref(layout))


def compiled(path):
    """What the driver prints while it compiles a module."""
    words = path.read_bytes()
    code = c.create_string_buffer(words, len(words))
    module, pipeline = handle(), handle()
    call("vkCreateShaderModule", device, block("i4xPIxxxxNP", 16, 0, 0, len(words), code), None, c.byref(module))
    stage = ("i4xPIIQPP", 18, 0, 0, 32, module.value, c.addressof(block("5s", b"main\0")), 0)
    form = "i4xPIxxxx" + stage[0] + "QQixxxx"
    create = block(form, 29, 0, 0, *stage[1:], layout.value, 0, -1)
    with tempfile.TemporaryFile() as said:
        before = os.dup(2)
        os.dup2(said.fileno(), 2)
        try:
            call("vkCreateComputePipelines", device, c.c_uint64(0), 1, create, None, c.byref(pipeline))
        finally:
            os.dup2(before, 2)
            os.close(before)
        said.seek(0)
        return said.read().decode(errors="replace")


if not arguments.text:
    print(f"| {arguments.family} | VGPRs | spilled | scratch | LDS | code | waves |")
    print("|---|---|---|---|---|---|---|")
for path in arguments.modules:
    said = compiled(path)
    if arguments.text:
        print(f"# {path.stem}\n{said}")
        continue
    told = {name.strip(): int(value) for name, value in re.findall(r"^([A-Z][\w ]*): (\d+)$", said, re.M)}
    if "VGPRs" not in told:
        sys.exit(f"the driver says nothing of {path.stem}: {said[:2000]}")
    spilled = told["Spilled SGPRs"] + told["Spilled VGPRs"]
    row = [told["VGPRs"], spilled, told["Scratch size"], told["LDS size"], told["Code size"], told["Subgroups per SIMD"]]
    print(f"| {path.stem} | " + " | ".join(map(str, row)) + " |")
