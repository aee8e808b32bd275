"""`vmla data import --from tar`: FastGen's shards, as tarfile and torch.save write them, become a dataset."""

from __future__ import annotations

import csv
import gzip
import io
import json
import pickle
import tarfile

import h5py
import numpy as np
import pyarrow
import pytest
import torch
from program import one_line_error, run, stopped_when_stored, vmla

SHAPE = (16, 3, 4, 6)  # C, F, H, W, as FastGen stores a latent
WIDTH = 32
TIMES = [999, 937, 833, 624, 0]


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def saved(tensor):
    file = io.BytesIO()
    torch.save(tensor, file)
    return file.getvalue()


def write_tar(path, members, mode="w", **options):
    """Members (name, bytes) in their order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode, **options) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def sample(name, latent=None, text=None, caption=None, **others):
    """The members of a sample; of others, `path` is NAME.path.pth."""
    members = [(f"{name}.{key}.pth", saved(tensor)) for key, tensor in (("latent", latent), *others.items()) if tensor is not None]
    if text is not None:
        members.append((f"{name}.txt_emb.pth", saved(text)))
    if caption is not None:
        members.append((f"{name}.txt", caption.encode()))
    return members


def arguments(source, out, *extra, text=f"hashing:{WIDTH}x8"):
    return ["data", "import", "--from", "tar", "--in", source, "--out", out, "--text", text, *extra]


def imported(source, out, *extra, **options):
    vmla(*arguments(source, out, *extra, **options))
    return h5py.File(out)


def frames_first(latent):
    return latent.float().transpose(-4, -3)


def stored(dataset):
    return torch.from_numpy(dataset[:]).view(torch.bfloat16).float()


def texts(file):
    offsets = file["text/offsets"][:]
    return [torch.from_numpy(file["text/embeddings"][a:b]) for a, b in zip(offsets[:-1], offsets[1:])]


def skipped(out):
    with open(out.with_suffix(".skipped.csv")) as listed:
        return {row["file"]: row["reason"] for row in csv.DictReader(listed)}


def test_latents_and_embeddings_are_those_of_torch_save(tmp_path):
    latents = draw(5, *SHAPE)
    embeddings = [draw(3 + i, WIDTH, seed=i + 1) for i in range(4)]
    padded = torch.cat([embeddings[1], torch.zeros(5, WIDTH)])
    shards = tmp_path / "shards"
    write_tar(shards / "00001.tar", [
        *sample("c", latents[2].half(), embeddings[2]),
        *sample("sub/d", frames_first(latents[3]), embeddings[3], noise=latents[3]),  # [F, C, H, W]
        ("e.json", json.dumps({"prompt": "from json", "x": [1]}).encode()),
        *sample("e", latents[4]),
    ])
    write_tar(shards / "00000.tar", [*sample("./a", latents[0], embeddings[0], "caption a\n"),
                                     *sample("b", latents[1][None].bfloat16(), padded[None].bfloat16(), "é b")])
    done = run(*arguments(shards, tmp_path / "out.h5"))
    assert done.returncode == 0, done.stderr
    assert "1 'noise.pth'" in done.stdout + done.stderr
    with h5py.File(tmp_path / "out.h5") as file:
        expected = [latents[0], latents[1].bfloat16(), latents[2].half(), latents[3], latents[4]]
        assert torch.equal(stored(file["latents"]), torch.stack([frames_first(x).bfloat16().float() for x in expected]))
        assert [c.decode() for c in file["captions"]] == ["caption a", "é b", "", "", "from json"]
        found = texts(file)
        for got, want in zip(found, (embeddings[0], embeddings[1].bfloat16().float(), *embeddings[2:])):
            assert torch.equal(got, want)
        assert found[4].shape[1] == WIDTH and found[4].abs().sum() > 0, "embedded by --text"
        assert [f.decode() for f in file["source"]["file"]] == ["00000.tar"] * 2 + ["00001.tar"] * 3
        assert file.attrs["text_encoder_hash"] == "" and file.attrs["codec"] == "wan-vae"
        assert file.attrs["pixel_size"].tolist() == [32, 48] and file.attrs["pixel_frames"] == 9
    assert "read: 5 of 5 clips" in run("data", "inspect", tmp_path / "out.h5").stdout


def test_stored_embeddings_need_no_weights(tmp_path):
    latent, text = draw(*SHAPE), draw(7, 4096, seed=1)
    source = write_tar(tmp_path / "a.tar", sample("a", latent, text))
    with imported(source, tmp_path / "out.h5", text="umt5") as file:
        assert torch.equal(texts(file)[0], text)
        assert file.attrs["text_encoder"] == "umt5" and "empty" not in file["text"]
    assert "read: 1 of 1 clips" in run("data", "inspect", tmp_path / "out.h5").stdout
    # A caption that is not embedded, and an embedding of another encoder.
    source = write_tar(tmp_path / "b.tar", [*sample("a", latent, text), *sample("b", latent, caption="x")])
    one_line_error(run(*arguments(source, tmp_path / "no.h5", text="umt5")), "--text-weights")
    source = write_tar(tmp_path / "c.tar", [*sample("a", latent, text), *sample("b", latent, text[:, :512], "x")])
    imported(source, tmp_path / "c.h5", text="umt5").close()
    (reason,) = skipped(tmp_path / "c.h5").values()
    assert "512" in reason and "--text-weights" in reason


@pytest.mark.parametrize("ending", ["tar.gz", "tar.zst"])
def test_compressed_shards(tmp_path, ending):
    latents = draw(3, *SHAPE)
    members = [member for i, x in enumerate(latents) for member in sample(f"s{i}", x, draw(4, WIDTH))]
    plain = write_tar(tmp_path / "plain" / "a.tar", members)
    if ending == "tar.gz":
        packed = gzip.compress(plain.read_bytes())
    else:
        packed = pyarrow.compress(plain.read_bytes(), codec="zstd", asbytes=True)
    path = tmp_path / f"a.{ending}"
    path.write_bytes(packed)
    with imported(path, tmp_path / "out.h5") as file:
        assert torch.equal(stored(file["latents"]), frames_first(latents).bfloat16().float())
    for cut in (len(packed) // 2, len(packed) - 9):
        path.write_bytes(packed[:cut])
        one_line_error(run(*arguments(path, tmp_path / "no.h5")), f"a.{ending}", "runcated")
    if ending == "tar.gz":  # Zeros: 1000 times smaller than what they become.
        path.write_bytes(gzip.compress(write_tar(tmp_path / "z.tar", [("a.latent.pth", bytes(64 << 20))]).read_bytes()))
        one_line_error(run(*arguments(path, tmp_path / "no.h5")), "too far compressed")


def test_ode_paths(tmp_path):
    path, latent, text = draw(4, *SHAPE), draw(*SHAPE, seed=3), draw(4, WIDTH)
    # As FastGen stores them: four noisy states, and the clean one in latent.pth.
    source = write_tar(tmp_path / "noisy.tar", [*sample("a", latent, text, path=path), *sample("b", latent, text)])
    one_line_error(run(*arguments(source, tmp_path / "no.h5")), "--ode-times", "5 timesteps")
    times = ["--ode-times", ",".join(map(str, TIMES)), "--dtype", "fp32"]
    with imported(source, tmp_path / "noisy.h5", *times) as file:
        assert torch.equal(torch.from_numpy(file["ode"][0]), frames_first(torch.cat([path, latent[None]])))
        assert torch.equal(stored(file["latents"])[0], frames_first(latent).bfloat16().float())
        assert file["ode_times"][:].tolist() == TIMES
    (reason,) = skipped(tmp_path / "noisy.h5").values()
    assert "[1, 3, 16, 4, 6]" in reason and "[5, 3, 16, 4, 6]" in reason
    # A path that ends in its clean state, alone and with that state, rounded, in latent.pth.
    for others in ({}, {"latent": path[-1].bfloat16()}):
        source = write_tar(tmp_path / "whole.tar", sample("a", text=text, path=path[None], **others))
        with imported(source, tmp_path / f"whole{len(others)}.h5", "--dtype", "fp32") as file:
            assert torch.equal(torch.from_numpy(file["ode"][0]), frames_first(path))
            assert file["ode_times"][:].round().tolist() == [1000, 757, 522, 0], "CausVid's"


def test_raw_latents_are_told_from_normalised_ones(tmp_path):
    from test_data_import import DEVIATION, MEAN

    normal = draw(4, *SHAPE)
    raw = normal * torch.tensor(DEVIATION).reshape(16, 1, 1, 1) + torch.tensor(MEAN).reshape(16, 1, 1, 1)
    source = write_tar(tmp_path / "raw.tar", [m for i, x in enumerate(raw) for m in sample(f"s{i}", x, draw(4, WIDTH))])
    one_line_error(run(*arguments(source, tmp_path / "no.h5")), "--normalize")
    with imported(source, tmp_path / "out.h5", "--normalize") as file:
        # bf16 rounds values up to 4 by at most 2^-7.
        assert (stored(file["latents"]) - frames_first(normal)).abs().max() < 2**-6


class Foreign:
    def __reduce__(self):
        return print, ("run",)


def test_rows_that_are_no_good_are_listed(tmp_path):
    latent, text = draw(*SHAPE), draw(4, WIDTH)
    no_number = latent.clone()
    no_number[1, 2, 3, 4] = float("nan")
    foreign = saved({"x": Foreign()})
    damaged = bytearray(saved(latent))
    damaged[len(damaged) // 2] ^= 1
    source = write_tar(tmp_path / "a.tar", [
        *sample("good", latent, text),
        *sample("nan", no_number, text),
        *sample("textnan", latent, text / 0),
        *sample("smaller", latent[:, :2], text),
        ("foreign.latent.pth", foreign), *sample("foreign", text=text),
        ("pickle.latent.pth", pickle.dumps([1])), *sample("pickle", text=text),
        ("bits.latent.pth", bytes(damaged)), *sample("bits", text=text),
        *sample("int", latent.int(), text),
        *sample("channels", latent[:15], text),
        *sample("both", draw(16, 16, 4, 6), text),
        *sample("two", {"a": latent, "b": latent}, text),
        *sample("alone", latent),
        *sample("width", latent, text[:, :8]),
        *sample("nothing", text=text),
        *sample("../out", latent, text),
        *sample("/out", latent, text),
        ("bytes.txt", b"\xff\xfe"), *sample("bytes", latent, text),
        *sample("\x1b[31m", latent[:, :2], text),
        *sample("last", latent, text),
    ])
    with imported(source, tmp_path / "out.h5") as file:
        assert file["source"]["first_frame"].tolist() == [0, 18]
    reasons = skipped(tmp_path / "out.h5")
    words = {"nan": "NaN", "textnan": "NaN", "smaller": "[1, 2, 16, 4, 6]", "foreign": "print", "pickle": "torch.save",
             "bits": "CRC", "int": "int32", "channels": "16 channels", "both": "may be both", "two": "2 tensors",
             "alone": "neither txt_emb.pth nor a caption", "width": "8 numbers wide", "nothing": "latent.pth",
             "../out": "leads out", "/out": "leads out", "bytes": "UTF-8", "\\x1b[31m": "shape"}
    assert list(reasons) == [f"a.tar '{name}'" for name in words]
    for reason, word in zip(reasons.values(), words.values()):
        assert word in reason, reason
    # None is good.
    source = write_tar(tmp_path / "b.tar", sample("both", draw(16, 16, 4, 6), text))
    one_line_error(run(*arguments(source, tmp_path / "no.h5")), "may be both", "b.tar")
    assert not (tmp_path / "no.h5").exists()


def test_what_is_no_shard_is_one_line(tmp_path):
    whole = write_tar(tmp_path / "whole.tar", [m for i in range(2) for m in sample(f"s{i}", draw(*SHAPE), draw(4, WIDTH))])
    data = whole.read_bytes()
    end = len(data.rstrip(b"\0")) // 512 * 512 + 512

    def refused(content, *mentions):
        (tmp_path / "bad.tar").write_bytes(content)
        one_line_error(run(*arguments(tmp_path / "bad.tar", tmp_path / "no.h5")), "bad.tar", *mentions)

    refused(b"", "empty")
    refused(b"\0" * 20480, "no members")
    refused(np.random.default_rng(0).bytes(20480), "no tar")
    for cut in (700, 5000, end - 600):
        refused(data[:cut])
    refused(data[:end], "truncated")  # All members are whole, but whoever wrote it was killed.
    header = bytearray(data)
    header[148] ^= 1  # of the checksum
    refused(bytes(header), "no tar")
    header = bytearray(data)
    header[data.index(b"s1.latent.pth") + 148] ^= 1
    refused(bytes(header), "amaged")
    huge = tarfile.TarInfo("a.latent.pth")
    huge.size = 1 << 50
    refused(huge.tobuf(tarfile.GNU_FORMAT) + bytes(1024), "truncated", str(1 << 50))

    def members(*names):
        return write_tar(tmp_path / "names.tar", [(name, b"x") for name in names]).read_bytes()

    refused(members("a.latent.pth", "a.latent.pth"), "two members", "a.latent.pth")
    refused(members("a.latent.pth", "./a.latent.pth"), "two members")
    refused(members("a.latent.pth", "b.latent.pth", "a.txt_emb.pth"), "side by side")
    one_line_error(run(*arguments(tmp_path / "nowhere", tmp_path / "no.h5")), "nowhere")
    (tmp_path / "none").mkdir()
    one_line_error(run(*arguments(tmp_path / "none", tmp_path / "no.h5")), "holds no .tar")
    # Links and folders are neither followed nor rows.
    with tarfile.open(tmp_path / "links.tar", "w") as tar:
        for name, kind in (("a.latent.pth", tarfile.SYMTYPE), ("b.latent.pth", tarfile.LNKTYPE), ("c.latent.pth", tarfile.DIRTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
    one_line_error(run(*arguments(tmp_path / "links.tar", tmp_path / "no.h5")), "no members")


def test_a_stopped_import_goes_on_to_the_same_file(tmp_path):
    latents, text = draw(40, *SHAPE), draw(4, WIDTH)
    packed = [sample("x", latent, text) for latent in latents]
    for shard in range(8):
        write_tar(tmp_path / "shards" / f"{shard:05}.tar",
                  [(f"s{i}{name[1:]}", content) for i in range(300) for name, content in packed[(shard + i) % 40]])
    imported(tmp_path / "shards", tmp_path / "whole.h5").close()
    command, parts = arguments(tmp_path / "shards", tmp_path / "cut.h5"), tmp_path / "cut.h5.parts"
    said = stopped_when_stored(*command, parts=parts)
    assert "rows are stored" in said and not (tmp_path / "cut.h5").exists()
    vmla(*command)
    assert (tmp_path / "cut.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()
    assert not parts.exists()
