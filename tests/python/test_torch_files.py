"""Weights that torch.save wrote: every layout of dicts that training programs use, read bit by bit; damaged and hostile
files in one line. Nothing of a pickle is ever run."""

import collections
import io
import pickle
import struct
import zipfile

import pytest
import torch
from safetensors.torch import load_file, save_file

from parity import TOLERANCE, deviation, double, random_inputs
from program import forward, one_line_error, run, vmla
from reference import network
from reference.model_config import ModelConfig
from reference.weights import diffusers_name, random_weights, to_double, write_wan_folder

CONFIG = ModelConfig(dim=128, num_heads=1, num_layers=2, text_len=512)
WEIGHTS = random_weights(CONFIG, seed=301)
OTHER = random_weights(CONFIG, seed=302)  # of a network that must not be taken


def prefixed(prefix, weights=WEIGHTS):
    return collections.OrderedDict((prefix + name, tensor) for name, tensor in weights.items())


def inside_blocks(wrapper, weights=WEIGHTS):
    """Names as they are when each block is wrapped."""
    def name(own):
        parts = own.split(".")
        return ".".join([*parts[:2], wrapper, *parts[2:]]) if parts[0] == "blocks" else own

    return {name(own): tensor for own, tensor in weights.items()}


def transposed(weights):
    """Matrices whose rows lie apart in memory, as a tied or transposed layer leaves them."""
    return {n: t.t().contiguous().t() if t.dim() == 2 else t for n, t in weights.items()}


def in_one_storage(weights):
    flat = torch.cat([t.flatten() for t in weights.values()])
    parts = flat.split([t.numel() for t in weights.values()])
    return {n: part.view(t.shape) for (n, t), part in zip(weights.items(), parts)}


class Wan(torch.nn.Module):
    """A module with Wan's names, for what torch itself makes of a state dict (its _metadata, say)."""

    def __init__(self, weights):
        super().__init__()
        for name, tensor in weights.items():
            *path, last = name.split(".")
            place = self
            for part in path:
                if not hasattr(place, part):
                    place.add_module(part, torch.nn.Module())
                place = getattr(place, part)
            place.register_parameter(last, torch.nn.Parameter(tensor.clone()))


LAYOUTS = {
    "flat": lambda: WEIGHTS,
    "state dict of a module": lambda: Wan(WEIGHTS).state_dict(),
    "parameters": lambda: dict(Wan(WEIGHTS).named_parameters()),
    "Self-Forcing": lambda: {
        "generator": prefixed("model.", OTHER),
        "critic": prefixed("model.", OTHER),
        "generator_ema": prefixed("model."),
    },
    "Self-Forcing before averaging": lambda: {"critic": prefixed("model.", OTHER), "generator": prefixed("model.")},
    "Causal-Forcing, framewise": lambda: {"generator_ema": prefixed("model._fsdp_wrapped_module.")},
    "model": lambda: {"model": WEIGHTS, "step": 7, "args": {"lr": 1e-4, "betas": (0.9, 0.999), "name": None}},
    "state_dict in state_dict": lambda: {"state_dict": {"state_dict": prefixed("module.")}, "epoch": 3},
    "compiled": lambda: {"generator": prefixed("_orig_mod.")},
    "data parallel": lambda: prefixed("module.generator."),
    "single-file checkpoint": lambda: prefixed("model.diffusion_model.")
    | {"first_stage_model.encoder.conv1.weight": torch.ones(3)},
    "checkpointed blocks": lambda: {"generator": inside_blocks("_checkpoint_wrapped_module")},
    "wrapped blocks": lambda: inside_blocks("module"),
    "optimizer beside it": lambda: {
        "generator": WEIGHTS,
        "optimizer": {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 1e-5}]},
    },
    "strides": lambda: transposed(WEIGHTS),
    "one storage": lambda: {"generator": in_one_storage(WEIGHTS)},
    "diffusers' names": lambda: {"model": {diffusers_name(n): t for n, t in WEIGHTS.items()}},
    "other values": lambda: {
        "generator": WEIGHTS,
        "device": torch.device("cpu"),
        "shape": torch.Size([1, 2]),
        "dtype": torch.bfloat16,
        "flags": [True, False, None, -5, 70000, 2**40, 2**70, "text", b"bytes", {1, 2}],
        "quantised": torch.zeros(3).to(torch.float8_e4m3fn),
    },
}


def read_back(source, tmp_path, *arguments):
    done = vmla("convert", "--in", source, "--out", tmp_path / "out.safetensors", "--to", "wan", *arguments)
    return load_file(tmp_path / "out.safetensors"), done.stdout + done.stderr


def equal(actual, expected):
    assert set(actual) == set(expected)
    for name, tensor in expected.items():
        assert actual[name].dtype == tensor.dtype and torch.equal(actual[name], tensor), name


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout, tmp_path):
    torch.save(LAYOUTS[layout](), tmp_path / "model.pt")
    equal(read_back(tmp_path / "model.pt", tmp_path)[0], WEIGHTS)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64], ids=str)
def test_types_and_protocols(dtype, protocol, tmp_path):
    weights = {n: t.to(dtype) for n, t in WEIGHTS.items()}
    torch.save({"generator": weights}, tmp_path / "model.pth", pickle_protocol=protocol)
    equal(read_back(tmp_path / "model.pth", tmp_path)[0], weights)


def test_raw_prefers_the_generator(tmp_path):
    torch.save({"generator_ema": prefixed("model.", OTHER), "generator": prefixed("model.")}, tmp_path / "model.pt")
    weights, said = read_back(tmp_path / "model.pt", tmp_path, "--weights-role", "raw")
    equal(weights, WEIGHTS)
    assert "'generator_ema.model.' (" in said
    torch.save({"generator_ema": WEIGHTS, "step": 3}, tmp_path / "model.pt")
    weights, said = read_back(tmp_path / "model.pt", tmp_path, "--weights-role", "raw")
    equal(weights, WEIGHTS)
    assert "without the prefix 'generator_ema.'" in said and "ignored: 'step'" in said


def test_forward_from_a_torch_file(tmp_path):
    """The network that was read computes what the reference does; its config.json lies beside it."""
    folder = write_wan_folder(tmp_path / "wan", CONFIG, WEIGHTS)
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    torch.save({"generator_ema": prefixed("model.", transposed(WEIGHTS))}, folder / "model.pt")
    inputs = random_inputs(CONFIG, batch=1, frames=2, height=4, width=6, text_rows=4, seed=303)
    inputs.pop("clean_latents")
    actual = forward(folder / "model.pt", inputs, "bidirectional", tmp_path)
    expected = network.forward("bidirectional", to_double(WEIGHTS), CONFIG, double(inputs))
    assert deviation(actual, expected) <= TOLERANCE


# --- what is refused --------------------------------------------------------------------------------------------------


def refused(path, *mentions):
    target = path.parent / "out.safetensors"
    one_line_error(run("convert", "--in", path, "--out", target, "--to", "wan"), path.name, *mentions)
    assert not target.exists()


class Foreign:
    def __reduce__(self):
        return print, ("never printed",)


UNREADABLE = {
    "before PyTorch 1.6": (
        lambda p: torch.save(WEIGHTS, p, _use_new_zipfile_serialization=False), ["before PyTorch 1.6", "torch.save(torch.load("]),
    "plain pickle": (lambda p: p.write_bytes(pickle.dumps({"a": 1})), ["not a file of torch.save"]),
    "TorchScript": (
        lambda p: torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), p), ["TorchScript", "state_dict()"]),
    "foreign global": (lambda p: torch.save({"w": torch.ones(2), "x": Foreign()}, p), ["'__builtin__.print'"]),
    "a whole module": (lambda p: torch.save(torch.nn.Linear(2, 2), p), ["'torch.nn.modules.linear.Linear'"]),
    "no dict": (lambda p: torch.save(torch.ones(2), p), ["no dict of tensors"]),
    "no tensors": (lambda p: torch.save({"a": 3}, p), ["no tensors"]),
    "another network": (
        lambda p: torch.save({"decoder.conv1.weight": torch.ones(2), "decoder.head.weight": torch.ones(2)}, p),
        ["'decoder.'", "blocks.0.self_attn.q.weight"]),
    "two networks without a role": (
        lambda p: torch.save({"real": WEIGHTS, "fake": WEIGHTS}, p), ["several networks", "'fake.', 'real.'"]),
    "fp8": (
        lambda p: torch.save(WEIGHTS | {"head.head.bias": WEIGHTS["head.head.bias"].to(torch.float8_e4m3fn)}, p),
        ["'head.head.bias'", "Float8_e4m3fn"]),
    "int8": (
        lambda p: torch.save(WEIGHTS | {"head.head.bias": WEIGHTS["head.head.bias"].to(torch.int8)}, p),
        ["'head.head.bias'", "I8"]),
    "NaN": (
        lambda p: torch.save(WEIGHTS | {"head.head.bias": WEIGHTS["head.head.bias"] / 0}, p),
        ["'head.head.bias'", "NaN or infinite"]),
    "expanded": (
        lambda p: torch.save(WEIGHTS | {"head.head.bias": torch.ones(1).expand(16)}, p), ["'head.head.bias'", "strides of 0"]),
    "empty": (lambda p: p.write_bytes(b""), ["empty"]),
    "Git LFS pointer": (lambda p: p.write_bytes(b"version https://git-lfs.github.com/spec/v1\n"), ["git lfs pull"]),
    "folder of another program": (lambda p: p.mkdir(), ["no weights found"]),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_unreadable(case, tmp_path):
    write, mentions = UNREADABLE[case]
    write(tmp_path / "model.pt")
    refused(tmp_path / "model.pt", *mentions)


def entries_of(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def archive_of(entries, compression=zipfile.ZIP_STORED):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return target.getvalue()


def changed_entries(change):
    return lambda data: archive_of(change(entries_of(data)))


def without(name):
    return changed_entries(lambda entries: {n: c for n, c in entries.items() if n != name})


def edited(name, change):
    return changed_entries(lambda entries: {n: change(c) if n == name else c for n, c in entries.items()})


def in_directory(offset, value):
    """Overwrites a field of the second entry in the archive's directory."""
    def change(data):
        data = archive_of(entries_of(data))
        first = data.index(b"PK\x01\x02")
        at = data.index(b"PK\x01\x02", first + 4) + offset
        return data[:at] + value + data[at + len(value) :]

    return change


def replaced(old, new):
    def change(content):
        assert old in content
        return content.replace(old, new, 1)

    return change


# The file that is damaged: w [2, 3] of fp32 in the storage model/data/0.
SMALL = {"w": torch.arange(6.0).view(2, 3)}
# In the pickle: offset 0, shape (2, 3), strides (3, 1).
PLACE = b"K\x00K\x02K\x03\x86"
DAMAGED = {
    "truncated": (lambda d: d[:-100], ["truncated"]),
    "half": (lambda d: d[: len(d) // 2], ["truncated"]),
    "compressed": (lambda d: archive_of(entries_of(d), zipfile.ZIP_DEFLATED), ["compressed (method 8)"]),
    "no pickle": (without("model/data.pkl"), ["no data.pkl"]),
    "two pickles": (changed_entries(lambda e: e | {"x/data.pkl": b"\x80\x02}."}), ["two pickles"]),
    "no storage": (without("model/data/0"), ["tensor 'w'", "'model/data/0'"]),
    "short storage": (edited("model/data/0", lambda c: c[:-4]), ["tensor 'w'", "20 bytes"]),
    "long storage": (edited("model/data/0", lambda c: c + b"1234"), ["tensor 'w'", "28 bytes"]),
    "big-endian": (edited("model/byteorder", lambda c: b"big"), ["byte order 'big'"]),
    "out of its storage": (edited("model/data.pkl", replaced(PLACE, b"K\x01K\x02K\x03\x86")), ["tensor 'w'", "element 6"]),
    "shape of 2^62": (
        edited("model/data.pkl", replaced(PLACE, b"K\x00\x8a\x08" + struct.pack("<q", 2**62) + b"K\x03\x86")), ["tensor 'w'"]),
    "negative size": (edited("model/data.pkl", replaced(PLACE, b"K\x00J\xff\xff\xff\xffK\x03\x86")), ["shape", "-1"]),
    "cut pickle": (edited("model/data.pkl", lambda c: c[:-20]), ["pickle", "truncated"]),
    "unknown instruction": (edited("model/data.pkl", replaced(b"\x80\x02", b"\x80\x02i")), ["69", "torch.save"]),
    "protocol 6": (edited("model/data.pkl", replaced(b"\x80\x02", b"\x80\x06")), ["protocol 6"]),
    "system call": (
        edited("model/data.pkl", lambda c: b"\x80\x02cos\nsystem\nX\x08\x00\x00\x00touch /x\x85R."), ["'os.system'"]),
    "control characters in a name": (
        edited("model/data.pkl", lambda c: b"\x80\x02cos\x1b[2J\nsys\rtem\n."), [r"\x1b[2J"]),
    "a dict in itself": (edited("model/data.pkl", lambda c: b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s."), ["nested without end"]),
    "a leading folder": (changed_entries(lambda e: e | {"../evil": b"x"}), ["'../evil'", "leads out of its folder"]),
    "an absolute name": (changed_entries(lambda e: e | {"/etc/evil": b"x"}), ["'/etc/evil'", "absolute"]),
    "a backslash": (changed_entries(lambda e: e | {"a\\..\\evil": b"x"}), ["evil'", "backslash"]),
    "entry past the end": (in_directory(42, b"\xf0\xff\xff\x7f"), ["no header at byte"]),
    "entry over another": (in_directory(42, b"\x00\x00\x00\x00"), ["in its own header"]),
    "size past the end": (in_directory(20, b"\xf0\xff\xff\x7f" * 2), ["does not fit"]),
    "encrypted": (in_directory(8, b"\x01\x00"), ["encrypted"]),
    "stored, two sizes": (in_directory(20, b"\x02\x00\x00\x00"), ["2 bytes out of 1"]),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged(case, tmp_path):
    change, mentions = DAMAGED[case]
    torch.save(SMALL, tmp_path / "model.pt")
    (tmp_path / "model.pt").write_bytes(change((tmp_path / "model.pt").read_bytes()))
    refused(tmp_path / "model.pt", *mentions)


@pytest.mark.parametrize("prefix", ["net.", "a.b.c.d."])
def test_any_prefix_is_recognised(prefix, tmp_path):
    save_file(dict(prefixed(prefix)), tmp_path / "w.safetensors")
    weights, said = read_back(tmp_path / "w.safetensors", tmp_path)
    equal(weights, WEIGHTS)
    assert f"without the prefix '{prefix}'" in said


def test_what_does_not_fit_is_counted(tmp_path):
    folder = write_wan_folder(tmp_path / "wan", CONFIG, {
        **{n: t for n, t in WEIGHTS.items() if not n.startswith("blocks.1.cross_attn")},
        "head.modulation": torch.ones(1, 2, 64),
        "blocks.0.img_emb.weight": torch.ones(2),
    })
    done = run("convert", "--in", folder, "--out", tmp_path / "out", "--to", "wan")
    one_line_error(done, "10 missing (blocks.1.cross_attn.", "1 not part of it ('blocks.0.img_emb.weight')",
                   "1 of another shape (head.modulation is [1, 2, 64], the model wants [1, 2, 128])")
