#!/usr/bin/env python3
"""What each kernel takes of a GPU, from the objects of a build: ./dev check gpu.
  benchmarks/gpu-resources.py [--all] build/gpu/kernels/gpu/*.o
A line for each kernel that has memory on the stack, which is what registers spill to, or for all: its
threads, and the most that any architecture has of registers, shared memory and stack. Then what part of
the loads of a product for one row are under way before it multiplies, which compilers undo for little.
Exit code 1 where a kernel cannot be launched as it is (no bounds, too many registers for its threads, too
much shared memory), where one does not wait for the launch before it ahead of all else that touches memory,
where a product for few rows spills, or one for one row waits for its loads one after the
other."""

import collections
import os
import re
import struct
import subprocess
import sys

NVIDIA, AMD = 190, 224  # e_machine
MOST_REGISTERS = 65536  # of a block
MOST_SHARED = {NVIDIA: 48 << 10, AMD: 64 << 10}
# Products may have nothing on the stack, for memory is what they wait for.
WITHOUT_STACK = re.compile(r"^multiply<\du>")

# Instructions by their lowest nine bits. What kernels may do before they wait for the launch before them is
# no access of memory that others see: neither as it was written, nor as ptxas moved it.
WAIT = 0x02e  # ACQBULK
ACCESSES = {0x180: "LD", 0x181: "LDG", 0x184: "LDS", 0x185: "ST", 0x186: "STG", 0x188: "STS", 0x18a: "ATOM",
            0x18c: "ATOMS", 0x18d: "ATOMS", 0x18e: "RED", 0x1a3: "ATOMG", 0x1a8: "ATOMG", 0x1a9: "ATOMG",
            0x1ae: "LDGSTS", 0x14d: "EXIT", 0x143: "CALL", 0x149: "BRX", 0x14a: "JMP"}
BRANCH, CALL, RETURN = 0x147, 0x144, 0x150
FIRST_THAT_WAIT = 90  # architecture

# Of the loads in the loops of a product for one row, on each architecture.
LEAST_AHEAD = ((re.compile(r"^multiply<1u>"), 0.9),)

Kernel = collections.namedtuple("Kernel", "machine threads registers shared stack")


class Elf:
    """A 64-bit little-endian ELF file inside of another."""

    def __init__(self, data):
        self.data = data
        self.machine, = struct.unpack_from("<H", data, 18)
        at, = struct.unpack_from("<Q", data, 40)
        count, names = struct.unpack_from("<HH", data, 60)
        self.headers = [struct.unpack_from("<IIQQQQIIQQ", data, at + 64 * i) for i in range(count)]
        table = self.content(self.headers[names])
        self.sections = [(text_at(table, h[0]), h) for h in self.headers]

    def content(self, header):
        return b"" if header[1] == 8 else self.data[header[4]:header[4] + header[5]]

    def symbols(self):
        for _, header in self.sections:
            if header[1] == 2:
                names, entries = self.content(self.headers[header[6]]), self.content(header)
                return [text_at(names, struct.unpack_from("<I", entries, i)[0])
                        for i in range(0, len(entries), 24)]
        return []


def text_at(table, at):
    return table[at:table.index(b"\0", at)].decode()


def elves_in(data):
    at = data.find(b"\x7fELF\x02\x01")
    while at >= 0:
        if struct.unpack_from("<H", data, at + 18)[0] in MOST_SHARED:
            yield Elf(data[at:])
        at = data.find(b"\x7fELF\x02\x01", at + 4)


def nvidia_attributes(content):
    """(attribute, value) of a section .nv.info."""
    at = 0
    while at < len(content):
        form, attribute, value = struct.unpack_from("<BBH", content, at)
        at += 4
        if form == 4:
            yield attribute, content[at:at + value]
            at += value


def nvidia_kernels(elf):
    symbols, registers, stacks, threads, shared = elf.symbols(), {}, {}, {}, {}
    kernels = [name[6:] for name, _ in elf.sections if name.startswith(".text.")]
    for name, header in elf.sections:
        if name.startswith(".nv.shared."):
            shared[name[11:]] = header[5]
        if not name.startswith(".nv.info"):
            continue
        for attribute, value in nvidia_attributes(elf.content(header)):
            if attribute == 0x05:  # launch bounds
                threads[name[9:]] = struct.unpack("<III", value)[0]
            elif attribute in (0x2f, 0x11):
                symbol, number = struct.unpack("<II", value)
                (registers if attribute == 0x2f else stacks)[symbols[symbol]] = number
    for name in kernels:
        yield name, Kernel(NVIDIA, threads.get(name, 0), registers[name], shared.get(name, 0),
                           stacks.get(name, 0))


def instructions(code):
    """Of NVIDIA's since Volta: 16 bytes each."""
    return [a | b << 64 for a, b in struct.iter_unpack("<QQ", code)]


def jump(instruction, architecture):
    """How many bytes a branch or a call goes on from the next instruction; None: it is neither."""
    if instruction & 0x1ff not in (BRANCH, CALL):
        return None
    far = instruction >> 34 & (1 << 48) - 1
    far -= far >> 47 << 48
    return 4 * (far if architecture < 90 else far << 8 | instruction >> 16 & 0xff)


def nvidia_code(elf):
    """(kernel, architecture, its instructions)."""
    architecture = struct.unpack_from("<I", elf.data, 48)[0] >> 8 & 0xff
    for name, header in elf.sections:
        if name.startswith(".text."):
            yield name[6:], architecture, instructions(elf.content(header))


def early_accesses(elf):
    """(kernel, architecture, what it does before it waits for the launch before it)."""
    for name, architecture, code in nvidia_code(elf):
        if architecture < FIRST_THAT_WAIT:
            continue
        kinds = [one & 0x1ff for one in code]
        if WAIT not in kinds:
            yield name, architecture, "never waits"
            continue
        wait = kinds.index(WAIT)
        for i, one in enumerate(code[:wait]):
            target = i + 1 + (jump(one, architecture) or 0) // 16
            early = [kinds[i]]
            if kinds[i] == CALL:  # of a division
                early = kinds[target:kinds.index(RETURN, target)]
            elif target > wait:
                yield name, architecture, "goes around"
            for kind in early:
                if kind in ACCESSES:
                    yield name, architecture, ACCESSES[kind]


def loads_ahead(elf):
    """(kernel, architecture, loads in its loops, those of them before the first product of a pass)."""
    for name, architecture, code in nvidia_code(elf):
        kinds = [{0x181: "load", 0x026: "product", 0x023: "product"}.get(one & 0x1ff) for one in code]
        loads = ahead = 0
        for i, one in enumerate(code):
            begin = i + 1 + (jump(one, architecture) or 0) // 16
            loop = kinds[begin:i] if 0 <= begin < i else []
            if "product" in loop:
                loads += loop.count("load")
                ahead += loop[:loop.index("product")].count("load")
        yield name, architecture, loads, ahead


def message_pack(data, at=0):
    """The value at a place of MessagePack data, and where the next one begins."""
    tag = data[at]
    at += 1
    if tag < 0x80 or tag >= 0xe0:
        return (tag if tag < 0x80 else tag - 256), at
    if tag in (0xc0, 0xc2, 0xc3):
        return {0xc0: None, 0xc2: False, 0xc3: True}[tag], at
    if 0xcc <= tag <= 0xd3:
        size, signed = 1 << (tag - 0xcc) % 4, tag >= 0xd0
        return int.from_bytes(data[at:at + size], "big", signed=signed), at + size
    if 0xa0 <= tag < 0xc0 or 0xd9 <= tag <= 0xdb:
        size = tag & 31
        if tag >= 0xd9:
            width = 1 << (tag - 0xd9)
            size, at = int.from_bytes(data[at:at + width], "big"), at + width
        return data[at:at + size].decode(), at + size
    is_map = tag < 0x90 or tag >= 0xde
    count = tag & 15
    if tag >= 0xdc:
        width = 2 << tag % 2
        count, at = int.from_bytes(data[at:at + width], "big"), at + width
    items = []
    for _ in range(2 * count if is_map else count):
        item, at = message_pack(data, at)
        items.append(item)
    return (dict(zip(items[::2], items[1::2])) if is_map else items), at


def amd_kernels(elf):
    for _, header in elf.sections:
        content = elf.content(header)
        if header[1] != 7 or b"AMDGPU\0" not in content[:24]:
            continue
        name_bytes, = struct.unpack_from("<I", content)
        for kernel in message_pack(content, 12 + (name_bytes + 3) // 4 * 4)[0]["amdhsa.kernels"]:
            yield kernel[".name"], Kernel(
                AMD, kernel[".max_flat_workgroup_size"], kernel[".vgpr_count"],
                kernel[".group_segment_fixed_size"], kernel[".private_segment_fixed_size"])


def readable(names):
    """Names without namespaces and arguments."""
    text = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True)
    plain = []
    for line in text.stdout.splitlines():
        line = re.sub(r"\(anonymous namespace\)::", "", line)
        line = re.sub(r"hearth::kernels::(cuda::|hip::)?|\((unsigned int|int)\)", "", line)
        line = re.sub(r"\((WeightFormat)\)", "", line)
        line = re.sub(r"^void |(?<=.)\(([A-Z][A-Za-z]*Task|Products).*$", "", line)
        plain.append(line)
    return dict(zip(names, plain))


def main(paths, all_kernels):
    found, ahead, early = collections.defaultdict(list), [], []
    for path in paths:
        with open(path, "rb") as file:
            data = file.read()
        for elf in elves_in(data):
            kernels = nvidia_kernels(elf) if elf.machine == NVIDIA else amd_kernels(elf)
            for name, kernel in kernels:
                found[kernel.machine, name].append(kernel)
            if elf.machine == NVIDIA:
                ahead += loads_ahead(elf)
                early += early_accesses(elf)
    if not found:
        sys.exit("gpu-resources: no kernels in these files; give the objects of a build for GPUs")
    names, wrong = readable(sorted({name for _, name in found})), []
    print(f"{'':7} {'threads':>7} {'registers':>9} {'shared':>7} {'stack':>6}  kernel")
    for (machine, name), kernels in sorted(found.items(), key=lambda one: (one[0][0], names[one[0][1]])):
        most = Kernel(machine, *(max(getattr(k, field) for k in kernels) for field in Kernel._fields[1:]))
        vendor = "NVIDIA" if machine == NVIDIA else "AMD"
        if all_kernels or most.stack > 0:
            print(f"{vendor:7} {most.threads:7} {most.registers:9} {most.shared:7} {most.stack:6}  "
                  f"{names[name]}")
        checks = {
            "has no launch bounds": min(k.threads for k in kernels) == 0,
            "has too many registers for its threads":
                machine == NVIDIA and most.threads * most.registers > MOST_REGISTERS,
            "has too much shared memory": most.shared > MOST_SHARED[machine],
            "spills": machine == NVIDIA and most.stack > 0 and WITHOUT_STACK.match(names[name]),
        }
        wrong += [f"gpu-resources: {vendor}: {names[name]} {what}" for what, is_so in checks.items() if is_so]
    wrong += [f"gpu-resources: {names[name]} on sm_{architecture}, before it waits for the launch before: {what}"
              for name, architecture, what in early]
    for name, architecture, loads, first in ahead:
        for which, least in LEAST_AHEAD:
            if not which.match(names[name]):
                continue
            part = first / max(loads, 1)
            print(f"{100 * part:.0f} % of the loads of {names[name]} come first on sm_{architecture}")
            if part < least:
                wrong.append(f"gpu-resources: {names[name]} waits for its loads on sm_{architecture}")
    spilling = sum(max(k.stack for k in kernels) > 0 for kernels in found.values())
    print(f"{len(found)} kernels, {spilling} with something on the stack")
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    everything = sys.argv[1:2] == ["--all"]
    objects = sys.argv[2:] if everything else sys.argv[1:]
    if not objects or not all(os.path.isfile(path) for path in objects):
        sys.exit("usage: benchmarks/gpu-resources.py [--all] OBJECT...")
    main(objects, everything)
