"""The pages: their commands run or at least parse, their links lead somewhere, and they form one book.

A fenced block that begins with ```sh runnable is run, the blocks of a page in order, in a scratch folder that has
build/, launch/ and configs/ as the repository has them. Every other command line of our programs, in a block or in a
line of text, must parse. A command that needs hours, root, a network, GPUs or several machines is not marked runnable.
"""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from program import ENVIRONMENT, REPOSITORY, VMLA

# The order of the book. Each page names the one before and the one after at its top.
BOOK = ["README.md"] + [
    f"docs/{name}.md"
    for name in ("tutorial", "from_wan", "architecture", "configuration", "formats", "operations", "gpu", "algorithms", "glossary")
    + ("reproduce", "decisions", "roadmap")
]
PAGES = [page for page in [*BOOK, "CONTRIBUTING.md", "CHANGELOG.md"] if (REPOSITORY / page).exists()]

# What the scratch folder's copies of configs/tiny have instead, where they have the key and it is not 0: seconds, not
# minutes.
FAST = {
    "train.steps": 8,
    "train.batch_size": 2,
    "train.micro_batch_size": 2,
    "train.log_every": 4,
    "checkpoint.every": 4,
    "validation.every": 8,
    "validation.clips": 2,
    "rank.every": 4,
    "sample.every": 8,
    "sample.steps": 2,
    "sample.measure_clips": 2,
    "sample.long_frames": 0,
    "data.make.synth_count": 12,
    "data.make_validation.synth_count": 12,
}
# What stands for a part of a command when it is run.
FAST_TEXT = {
    # What it fetches needs a network.
    r"launch/fetch_footage my_videos": "build/vmla data synth --out my_videos --count 2 --frames 45 --fps 24",
    r"train\.steps=\d+": "train.steps=8",
    r"--limit \d+": "--limit 1",
    r"\[5s\]": "[2s]",
}
# What stands for the placeholders of a command that is only parsed.
PLACEHOLDERS = {
    r"\$WAN\b": "Wan2.1-T2V-1.3B",
    r"\bCONFIG\b": "configs/tiny/teacher_forcing.yaml",
    r"\bHOST\b|\$head\b": "localhost",
    r"\\?\$SLURM_\w+": "1",
}

BLOCK = re.compile(r"^```(sh(?: runnable)?)\n(.*?)^```$", re.M | re.S)
PROGRAMS = ("build/vmla", "build/vmla-launch", "vmla", "vmla-launch")


def text_of(page: str) -> str:
    return (REPOSITORY / page).read_text()


def blocks(page: str, kind: str) -> list[str]:
    return [text for found, text in BLOCK.findall(text_of(page)) if found == kind]


def replaced(text: str, table: dict) -> str:
    for pattern, value in table.items():
        text = re.sub(pattern, value, text)
    return text


def linked_tree(folder: Path) -> Path:
    """The repository as a command of a page sees it, with runs and data of its own."""
    for name in ("launch", "bench", "tests", ".venv"):
        if (REPOSITORY / name).exists():
            (folder / name).symlink_to(REPOSITORY / name)
    (folder / "build").symlink_to(VMLA.parent)
    (folder / "docs").mkdir()
    shutil.copytree(REPOSITORY / "configs", folder / "configs")
    return folder


def run_script(script: str, folder: Path, seconds: float) -> None:
    done = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", script],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=seconds,
        env={**ENVIRONMENT, "PATH": f"{REPOSITORY / '.venv' / 'bin'}:{os.environ['PATH']}"},
    )
    assert done.returncode == 0, f"status {done.returncode}\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}"


# ---- the configuration page


def test_the_configuration_page_is_what_the_program_prints():
    printed = subprocess.run([VMLA, "train", "--list-keys=markdown"], capture_output=True, text=True, check=True).stdout
    assert printed == text_of("docs/configuration.md"), (
        "docs/configuration.md is out of date; write it again with\n"
        "  build/vmla train --list-keys=markdown > docs/configuration.md"
    )


# ---- blocks that run


@pytest.fixture(scope="module")
def after_quickstart(tmp_path_factory):
    """A folder in which launch/quickstart has run, but for the set-up, with the FAST settings."""
    folder = linked_tree(tmp_path_factory.mktemp("book"))
    for file in (folder / "configs" / "tiny").glob("*.yaml"):
        settings = yaml.safe_load(file.read_text())
        for key, value in FAST.items():
            *sections, name = key.split(".")
            section = settings
            for part in sections:
                section = section.get(part) or {}
            if section.get(name):
                section[name] = value
        file.write_text(yaml.safe_dump(settings, sort_keys=False))
    pipeline = [line for line in text_of("launch/quickstart").splitlines() if line.startswith("build/vmla pipeline")]
    assert len(pipeline) == 1, "launch/quickstart runs one pipeline"
    run_script("run_dir=runs/tiny\n" + pipeline[0], folder, seconds=400)
    return folder


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "sh runnable")])
def test_runnable_blocks(page, after_quickstart):
    script = "\n".join(replaced(block, FAST_TEXT) for block in blocks(page, "sh runnable"))
    run_script(script, after_quickstart, seconds=400)


# ---- commands that parse


def command_lines(script: str) -> list[list[str]]:
    """The words of each command line of our programs in a shell script, whatever starts them."""
    found = []
    for line in script.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while any(" " in word and "build/vmla" in word for word in words):  # bash -c "..."
            words = [part for word in words for part in (shlex.split(word) if "build/vmla" in word else [word])]
        starts = [i for i, word in enumerate(words) if word in PROGRAMS]
        for begin, end in zip(starts, [*starts[1:], len(words)]):
            found.append(words[begin:end])
    return found


@pytest.fixture(scope="module")
def front_program(tmp_path_factory):
    """A folder whose build/vmla has no core beside it: it checks the command line and the configuration, then ends with
    the line that its core is missing."""
    folder = linked_tree(tmp_path_factory.mktemp("parsed"))
    (folder / "build").unlink()
    (folder / "build").mkdir()
    shutil.copy(VMLA, folder / "build" / "vmla")
    shutil.copy(VMLA.parent / "vmla-launch", folder / "build" / "vmla-launch")
    return folder


def what_is_wrong(words: list[str], folder: Path) -> str:
    """Empty where the program takes the command line."""
    program = words[0].removeprefix("build/")
    if program == "vmla-launch":
        words = words[: words.index("--")] if "--" in words else words
    command = [folder / "build" / program, *words[1:]]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=60, env=ENVIRONMENT)
    taken = "no program given" if program == "vmla-launch" else "vmla-core"
    return "" if done.returncode == 0 or taken in done.stderr else done.stderr


@pytest.mark.parametrize("page", PAGES)
def test_commands_of_blocks_parse(page, front_program):
    for block in blocks(page, "sh"):
        for words in command_lines(replaced(block, PLACEHOLDERS)):
            wrong = what_is_wrong(words, front_program)
            for written in words[1:]:  # a dataset that a command writes, another one of the block reads
                if words[1:3] == ["data", "encode"] and written.endswith(".h5"):
                    (front_program / written).parent.mkdir(parents=True, exist_ok=True)
                    (front_program / written).touch()
            assert not wrong, f"{page}: {shlex.join(words)}: {wrong}"


def test_a_wrong_command_does_not_parse(front_program):
    train = "build/vmla train --config configs/tiny/pretrain.yaml"
    assert not what_is_wrong(shlex.split(train), front_program)
    mistakes = (train + " --dryrun", train + " --set train.step=1", "build/vmla sampel", "build/vmla-launch --nproc 2")
    for wrong in mistakes:
        assert what_is_wrong(shlex.split(wrong), front_program), wrong
    nested = 'srun bash -c "build/vmla-launch --nnodes 2 -- \\\n  build/vmla train --config C"  # vmla: no command'
    assert command_lines(nested) == [
        ["build/vmla-launch", "--nnodes", "2", "--"],
        ["build/vmla", "train", "--config", "C"],
    ]


def help_of(command: tuple[str, ...]) -> str:
    program, *rest = command
    done = subprocess.run([VMLA.parent / program, *rest, "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def test_commands_in_text_name_what_exists():
    """A command in a line of text is often cut short: its name must exist and its flags be in that command's help."""
    for page in PAGES:
        for span in re.findall(r"`((?:build/)?vmla(?:-launch)? [^`]+)`", BLOCK.sub("", text_of(page))):
            words = span.removeprefix("build/").split(" -- ")[0].split()
            command = (words[0],)
            if words[0] == "vmla":
                if not re.fullmatch(r"[a-z]+", words[1]):
                    continue  # a placeholder, as in `vmla COMMAND --help`
                group = words[1] in ("analyze", "data") and len(words) > 2 and re.fullmatch(r"[a-z]+", words[2])
                command = tuple(words[: 3 if group else 2])
            known = help_of(command)
            for flag in re.findall(r"(?<=\s)--[a-z][a-z-]*", " " + " ".join(words)):
                there = re.search(rf"{flag}\b(?!-)", known)
                assert there, f"{page}: `{span}`: {flag} is not in {' '.join(command)} --help"


def test_files_named_in_blocks_exist():
    for page in PAGES:
        for _, block in BLOCK.findall(text_of(page)):
            for file in re.findall(r"(?<![\w./])(?:launch|bench|configs)/[\w./-]+", block):
                assert (REPOSITORY / file).exists(), f"{page}: {file} does not exist"


# ---- one book


def anchors(page: str) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    titles = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text_of(page), flags=re.M | re.S), re.M)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)|`", r"\1", title) for title in titles]
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in plain}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", BLOCK.sub("", text_of(page))):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        path = (REPOSITORY / page).parent / file if file else REPOSITORY / page
        assert path.exists(), f"{page}: ({target}): no such file"
        if anchor:
            assert anchor in anchors(os.path.relpath(path, REPOSITORY)), f"{page}: ({target}): no such heading"


def test_pages_name_their_neighbours():
    pages = [page for page in BOOK if page != "README.md"]
    there = [f"docs/{path.name}" for path in (REPOSITORY / "docs").glob("*.md")]
    assert sorted(pages) == sorted(there), "BOOK lists every page of docs/"
    for before, page, after in zip(BOOK, pages, [*pages[1:], None]):
        top = "\n".join(text_of(page).splitlines()[:3])
        names = [Path(found).name for found in re.findall(r"\]\(([^)#]+\.md)\)", top)]
        assert names == [Path(neighbour).name for neighbour in (before, after) if neighbour], f"{page}: {top}"
        assert "[All pages](../README.md#pages)" in top, page
