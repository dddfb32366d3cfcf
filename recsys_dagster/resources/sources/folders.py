"""What lies in a folder of this machine and below: each file once, links followed."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path


def files_below(folder: Path, is_meant: Callable[[Path], bool]) -> dict[str, Path]:
    """The files in a folder and below by their paths in it, sorted, hidden ones left out.

    What links lead to is there, too, unless it is there already: the rows of `latest.csv` beside
    the file that it stands for would count twice.

    Args:
        folder: where they lie.
        is_meant: whether a file, or a link that may lead nowhere, is one of them.
    """
    links: list[Path] = []
    found = {os.path.realpath(file): file for file in _own_files(folder, links) if is_meant(file)}
    walked = {os.path.realpath(folder)}
    above = {str(parent) for parent in folder.resolve().parents}
    for link in links:  # it grows while folders are walked
        real = os.path.realpath(link)
        if not link.is_dir():
            files: Iterable[Path] = [link]
        elif real in walked | above:
            continue
        else:
            walked.add(real)
            files = _own_files(link, links)
        for file in filter(is_meant, files):
            found.setdefault(os.path.realpath(file), file)
    return {file.relative_to(folder).as_posix(): file for file in sorted(found.values())}


def _own_files(folder: Path, links: list[Path]) -> Iterator[Path]:
    """The files that are no links; links are put into the list."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _is_hidden(name))
        shown = sorted(name for name in files if not _is_hidden(name))
        links += [path for name in folders if (path := Path(place, name)).is_symlink()]
        for path in (Path(place, name) for name in shown):
            if path.is_symlink():
                links.append(path)
            else:
                yield path


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "_"))
