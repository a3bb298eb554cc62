"""What README and docs/ say of files, commands and options is so."""

import functools
import re
import shlex
from pathlib import Path

from helpers.commands import commands as all_commands

REPOSITORY = Path(__file__).parent.parent
PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").glob("*.md"), REPOSITORY / "eval" / "README.md"])
WITH_SUBCOMMANDS = ("distributed", "index", "prebuilt", "figures", "expansion")
OWN_OPTIONS = ("reproduce",)  # an experiment's variables are options, too


def linked():
    """Yield (page, path) of every link to a file."""
    for page in PAGES:
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            if not link.startswith(("http", "#")):
                yield page, link.partition("#")[0]


def test_links_lead_to_files():
    missing = [f"{page.name}: {link}" for page, link in linked() if not (page.parent / link).exists()]
    assert missing == []


def test_headings_that_are_linked_are_there():
    missing = []
    for page in PAGES:
        for link, anchor in re.findall(r"\]\(([^)\s#]*)#([^)\s]+)\)", page.read_text(encoding="utf-8")):
            target = page.parent / link if link else page
            if not link.startswith("http") and anchor not in anchors(target):
                missing.append(f"{page.name}: {link}#{anchor}")
    assert missing == []


@functools.cache
def anchors(page):
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_maps_name_what_exists():
    """Of the code: in the README, and the modules that the page on the code walks through."""
    tree = (REPOSITORY / "README.md").read_text(encoding="utf-8").split("```\njpq_pyserini/\n")[1].split("```")[0]
    rooms = re.findall(r"^  (\w+)/", tree, re.MULTILINE)
    folders = {path.parent.name for path in (REPOSITORY / "jpq_pyserini").glob("*/__init__.py")}
    assert set(rooms) == folders
    walks = (REPOSITORY / "docs" / "code.md").read_text(encoding="utf-8")
    paths = re.findall(r"`([\w/]+(?:\.py|/))`", walks)
    assert len(paths) > 20
    places = (REPOSITORY, REPOSITORY / "jpq_pyserini")
    assert [path for path in paths if not any((place / path).exists() for place in places)] == []


def commands():
    """Yield (page, words) of every command of ours in a block of shell."""
    for page in PAGES:
        for block in re.findall(r"```bash\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                line = re.sub(r"^.*(?:python|torchrun \S+ \S+) -m jpq_pyserini\.(\w+)", r"jpq \1", line)
                if line.startswith("jpq "):
                    yield page.name, shlex.split(line, comments=True)[1:]


def test_commands_take_the_options_that_pages_give_them():
    known = {command.words: command.parser._option_string_actions for command in all_commands()}
    wrong, count = [], 0
    for page, words in commands():
        names = tuple(words[: 2 if words[0] in WITH_SUBCOMMANDS else 1])
        if words[0] in OWN_OPTIONS or names[-1].startswith("-"):
            continue
        count += 1
        options = {word.partition("=")[0] for word in words if re.match(r"--[a-z]", word)}
        wrong += [f"{page}: jpq {' '.join(names)} {word}" for word in options if word not in known[names]]
    assert count > 30
    assert wrong == []
