"""Video files as strangers have them: with sound, with broken time stamps, in other containers, naming other files."""

import csv
import os
import random
import struct
import subprocess

import h5py
import pytest

import containers
from program import ENVIRONMENT, REPOSITORY, VMLA, vmla

FRAMES, SIZE = 30, 128
TIMES = [125 * i for i in range(FRAMES)]


@pytest.fixture(scope="module")
def jpegs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source") / "v"
    vmla("data", "synth", "--out", folder, "--count", 1, "--frames", FRAMES)
    if list(folder.glob("*.y4m")):
        pytest.skip("built without OpenCV")
    folder = folder.with_name("avi")
    vmla("data", "synth", "--out", folder, "--count", 1, "--frames", FRAMES, "--format", "avi")
    (file,) = folder.glob("*.avi")
    pictures = containers.jpegs_of(file.read_bytes())
    assert len(pictures) == FRAMES
    return pictures


@pytest.fixture(scope="module")
def junk():
    draw = random.Random(1)
    return [bytes(draw.randrange(256) for _ in range(300)) for _ in range(FRAMES)]


def encode(folder, *flags, limit="", **environment):
    """(first frames of the clips, reasons by file) of `vmla data encode`; empty where no clip came out."""
    out = folder.with_suffix(".h5")
    command = [VMLA, "data", "encode", "--videos", folder, "--out", out, "--overwrite", *flags]
    shell = f'{limit} exec "$@"'
    done = subprocess.run(["bash", "-c", shell, "encode", *map(str, command)], capture_output=True, text=True,
                          timeout=120, env={**ENVIRONMENT, **environment}, cwd=REPOSITORY)  # fmt: skip
    assert done.returncode in (0, 2), done.stderr
    clips = []
    if done.returncode == 0:
        with h5py.File(out) as file:
            clips = [int(row["first_frame"]) for row in file["source"][:]]
    listed = out.with_suffix(".skipped.csv")
    rows = list(csv.reader(listed.open())) if listed.exists() else []
    return clips, {file: reason for file, reason in rows[1:] if not reason.startswith("no caption")}


def folder_with(tmp_path, name, data):
    folder = tmp_path / "v"
    folder.mkdir(exist_ok=True, parents=True)
    (folder / name).write_bytes(data)
    return folder


@pytest.mark.parametrize("codec", [b"A_AAC", b"A_MPEG/L3", b"A_AC3", b"A_OPUS", b"A_VORBIS", b"A_FLAC"])
def test_damaged_sound_costs_no_picture(codec, jpegs, junk, tmp_path):
    folder = folder_with(tmp_path, "a.mkv", containers.matroska(jpegs, TIMES, SIZE, 3.75, junk, codec))
    assert encode(folder) == ([0, 9, 18], {})


def test_damaged_pictures_beside_damaged_sound_are_noticed(jpegs, junk, tmp_path):
    damaged = list(jpegs)
    damaged[20] = damaged[20][:300] + bytes(200) + damaged[20][500:]
    folder = folder_with(tmp_path, "a.mkv", containers.matroska(damaged, TIMES, SIZE, 3.75, junk))
    clips, reasons = encode(folder)
    assert clips == [0, 9] and "mjpeg" in reasons["a.mkv"]


def test_sound_that_goes_on_after_the_pictures_is_no_truncation(jpegs, tmp_path):
    folder = folder_with(tmp_path, "a.mkv", containers.matroska(jpegs, TIMES, SIZE, seconds=12))
    assert encode(folder) == ([0, 9, 18], {})


def test_a_file_shorter_than_its_segment_is_truncated(jpegs, tmp_path):
    whole = containers.matroska(jpegs, TIMES, SIZE, 3.75)
    assert encode(folder_with(tmp_path, "a.mkv", whole[: len(whole) * 2 // 3]))[1]["a.mkv"]


def test_time_stamps_that_jump_end_the_video(jpegs, tmp_path):
    """3 kB that claim to last two hours: 6,400 clips of one picture would come of them."""
    data = containers.matroska(jpegs[:12], [*TIMES[:11], 7_200_000], SIZE, 7200)
    clips, reasons = encode(folder_with(tmp_path, "a.mkv", data))
    assert clips == [0] and "from 1.25 s to 7200 s" in reasons["a.mkv"]


def nearest_pictures(times_ms, fps, frames):
    """Of each frame the picture whose time is nearest, of two as near the earlier one."""
    return [min(range(len(times_ms)), key=lambda i: (abs(times_ms[i] - 1000 * k / fps), i)) for k in range(frames)]


@pytest.mark.parametrize("gaps", [[40, 300], [125, 60, 60, 400], [20] * 10 + [1000]])
def test_variable_frame_rate_is_sampled_by_time(gaps, jpegs, tmp_path):
    """Phones and screen recorders give pictures as they come. Each of them is told apart by its latents."""
    each = folder_with(tmp_path / "each", "a.mkv", containers.matroska(jpegs, TIMES, SIZE, 3.75))
    vmla("data", "encode", "--videos", each, "--out", tmp_path / "each.h5", "--frames", 1)
    times = [0]
    for i in range(FRAMES - 1):
        times.append(times[-1] + gaps[i % len(gaps)])
    varying = folder_with(tmp_path / "varying", "a.mkv", containers.matroska(jpegs, times, SIZE, times[-1] / 1000))
    frames = times[-1] * 8 // 1000  # those between the first picture and the last
    vmla("data", "encode", "--videos", varying, "--out", tmp_path / "varying.h5", "--frames", frames, "--max-clips", 1)
    with h5py.File(tmp_path / "each.h5") as file:
        pictures = file["latents"][:, 0]
    with h5py.File(tmp_path / "varying.h5") as file:
        clip = file["latents"][0]
    assert len({p.tobytes() for p in pictures}) == FRAMES
    wanted = nearest_pictures(times, 8, frames)
    assert len(set(wanted)) > 5, "many different pictures"
    found = [[p.tobytes() for p in pictures].index(frame.tobytes()) for frame in clip]
    assert found == wanted


def without_samples(mp4):
    """The tables of an .mp4 (ISO 14496-12, 8.6 and 8.7) say that the track has no picture; all else stays."""
    out = bytearray(mp4)
    for name, place in ((b"stts", 8), (b"stsc", 8), (b"stco", 8), (b"stsz", 12), (b"stss", 8), (b"ctts", 8)):
        at = mp4.find(name)
        if at >= 0:
            out[at + place : at + place + 4] = bytes(4)
    return bytes(out)


@pytest.fixture(scope="module")
def mp4(jpegs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mp4") / "v"
    vmla("data", "synth", "--out", folder, "--count", 1)
    return next(folder.glob("*.mp4")).read_bytes()


def test_videos_without_a_frame_are_listed(jpegs, mp4, tmp_path):
    """Headers that promise pictures, of both decoders, with none behind them. The others are encoded."""
    folder = folder_with(tmp_path, "good.mkv", containers.matroska(jpegs, TIMES, SIZE, 3.75))
    (folder / "none.mkv").write_bytes(containers.matroska([], [], SIZE, 3.75))
    (folder / "none.y4m").write_bytes(b"YUV4MPEG2 W64 H64 F8:1 C420jpeg\n")
    (folder / "none.mp4").write_bytes(without_samples(mp4))
    clips, reasons = encode(folder)
    assert clips == [0, 9, 18] and set(reasons) == {"none.mkv", "none.mp4", "none.y4m"}
    assert reasons["none.y4m"] == "pictures of 64 x 64 take 6150 bytes each, and the file has 0 behind its header"
    for name in ("none.mkv", "none.mp4"):
        assert reasons[name].startswith(("no frame can be decoded", "not a video that can be read")), reasons[name]
    sizes = tmp_path / "sizes"  # several sizes look at all videos first
    vmla("data", "encode", "--videos", folder, "--out", sizes, "--sizes", "16x16,16x32")
    with h5py.File(sizes / "16x16.h5") as file:
        assert len(file["latents"]) == 3
    listed = "".join(p.read_text() for p in sizes.glob("*.skipped.csv"))
    assert all(name in listed for name in ("none.mkv", "none.mp4", "none.y4m"))


def test_gif_is_read(jpegs, tmp_path):
    folder = folder_with(tmp_path, "a.gif", containers.gif(32, [20 * i for i in range(12)]))
    clips, reasons = encode(folder, "--fps", 10)
    assert clips == [0] and reasons == {}


def test_a_file_is_what_it_holds_and_opens_no_other(jpegs, tmp_path):
    folder = folder_with(tmp_path, "good.mkv", containers.matroska(jpegs, TIMES, SIZE, 3.75))
    (folder / "list.mp4").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\ngood.mkv\n#EXT-X-ENDLIST\n")
    (folder / "list.avi").write_text("ffconcat version 1.0\nfile good.mkv\n")
    (folder / "photo.mov").write_bytes(jpegs[0])  # a picture is no video
    (folder / "photo%03d.mp4").write_bytes(jpegs[0])  # nor a pattern of numbered pictures
    clips, reasons = encode(folder)
    assert clips == [0, 9, 18]
    assert set(reasons) == {"list.mp4", "list.avi", "photo.mov", "photo%03d.mp4"}


@pytest.mark.parametrize("limit", ["ulimit -s 4000000;", "ulimit -s unlimited;"])
def test_a_large_stack_is_nothing_to_the_decoder(limit, jpegs, tmp_path):
    if limit and subprocess.run(["bash", "-c", limit], capture_output=True).returncode != 0:
        pytest.skip("the stack's hard limit is lower")
    vmla("data", "synth", "--out", tmp_path / "v", "--count", 1)  # H.264, which FFmpeg decodes in threads
    assert encode(tmp_path / "v", limit=limit) == ([0], {})


def test_what_opencv_prints_is_no_answer(jpegs, tmp_path):
    folder = folder_with(tmp_path, "a.mkv", containers.matroska(jpegs, TIMES, SIZE, 3.75))
    for level in ("VERBOSE", "DEBUG"):
        loud = {"OPENCV_LOG_LEVEL": level, "OPENCV_VIDEOIO_DEBUG": "1", "OPENCV_FFMPEG_DEBUG": "1"}
        assert encode(folder, **loud) == ([0, 9, 18], {})


def test_the_decoder_does_not_outlive_its_job(tmp_path):
    """It waits for a reader of its frames when the job dies: here stdin ends and nobody reads."""
    video = tmp_path / "a.y4m"
    video.write_bytes(b"YUV4MPEG2 W64 H64 F8:1 C420jpeg\n" + 400 * (b"FRAME\n" + bytes(64 * 64 * 3 // 2)))
    decoder = subprocess.Popen([VMLA.parent / "vmla-decode"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    path = str(video).encode()
    decoder.stdin.write(struct.pack("<IIIIdQ", 1, len(path), 256, 256, 8.0, 0) + path)
    decoder.stdin.flush()
    assert decoder.stdout.read(4)  # at work
    decoder.stdin.close()
    assert decoder.wait(timeout=10) == 1
    decoder.stdout.close()


def test_links_and_folders_that_cannot_be_read_are_named(jpegs, tmp_path):
    folder = folder_with(tmp_path, "good.mkv", containers.matroska(jpegs, TIMES, SIZE, 3.75))
    os.symlink("loop.mp4", folder / "loop.mp4")
    os.symlink("nowhere.mp4", folder / "dangling.mp4")
    os.symlink(".", folder / "again")
    os.mkfifo(folder / "pipe.mp4")
    clips, reasons = encode(folder)
    assert clips == [0, 9, 18]
    assert "symbolic links" in reasons["loop.mp4"] and reasons["dangling.mp4"] == "no such file"
    assert "leads to ." in reasons["again"] and reasons["pipe.mp4"] == "not a regular file"
