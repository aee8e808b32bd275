"""What a run shows in TensorBoard besides its scalars: sampled videos, ranks, spectra. Read without its libraries."""

import struct
from pathlib import Path

from tiny_stage import train


def fields(message: bytes):
    """(number, value) of a protobuf message's fields: bytes, or the raw number."""

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    at = 0
    while at < len(message):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
        else:
            size = {1: 8, 5: 4}.get(key & 7) or varint()
            yield key >> 3, message[at : at + size]
            at += size


def summaries(run: Path) -> list[tuple[int, str, int, bytes]]:
    """(step, tag, kind, content) of every summary value of a run: kind 2 is a scalar, 4 an image, 5 a histogram."""
    found = []
    for file in sorted(run.glob("events.out.tfevents.*")):
        data, at = file.read_bytes(), 0
        while at < len(data):
            size = struct.unpack_from("<Q", data, at)[0]
            event = dict(fields(data[at + 12 : at + 12 + size]))
            at += size + 16
            for _, value in fields(event.get(5, b"")):
                parts = list(fields(value))
                tag = next(text for number, text in parts if number == 1).decode()
                found += [(event.get(2, 0), tag, number, part) for number, part in parts if number != 1]
    return found


def test_videos_ranks_and_spectra_reach_tensorboard(tmp_path, dataset, dense_run):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a red circle moves left\na blue square moves up\n")
    run = train(
        "teacher_forcing",
        tmp_path / "run",
        dataset,
        dense_run,
        sample__every=3,
        sample__prompts=str(prompts),
        rank__every=3,
    )
    found = summaries(run)
    images = [(step, tag, dict(fields(part))) for step, tag, kind, part in found if kind == 4]
    assert [(step, tag) for step, tag, _ in images] == [
        (3, "sample/000"),
        (3, "sample/001"),
        (6, "sample/000"),
        (6, "sample/001"),
    ]
    for _, _, image in images:
        gif = image[4]
        assert gif.startswith(b"GIF89a") and gif.endswith(b";")
        # As large as it says, and 9 frames, each with a control block.
        assert struct.unpack_from("<HH", gif, 6) == (image[2], image[1]) and min(image[1], image[2]) >= 128
        assert gif.count(b"\x21\xf9\x04") >= 9
    curves = [(step, tag, dict(fields(part))) for step, tag, kind, part in found if kind == 5]
    assert {step for step, _, _ in curves} == {0, 3, 6}
    for _, tag, curve in curves:
        assert tag.startswith("spectrum/layer_")
        bars = struct.unpack(f"<{len(curve[7]) // 8}d", curve[7])
        limits = struct.unpack(f"<{len(curve[6]) // 8}d", curve[6])
        assert bars[0] == 1 and list(bars) == sorted(bars, reverse=True) and len(limits) == len(bars)
    ranks = {tag for _, tag, kind, _ in found if kind == 2 and tag.startswith("rank/")}
    assert {"rank/r99_share", "rank/r99/layer_0", "rank/stable/layer_0", "rank/entropy/layer_0"} <= ranks
