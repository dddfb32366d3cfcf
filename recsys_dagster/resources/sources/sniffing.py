"""What a text file is that nobody described: its encoding, its delimiter, whether it has a header.

Encodings are told apart by how usual the letters are that each would give. Statistics of whole
languages need more text than a table of forty titles has.
"""

import codecs
import csv
import gzip
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, NamedTuple, cast

DELIMITERS = (",", ";", "\t", "|", "::")
DELIMITER_OF_SUFFIX = {".tsv": "\t", ".tab": "\t", ".psv": "|"}
STAND_IN = "\ue000"
"""For a delimiter of several characters, of which Python's csv reads none: a private character."""
NUMBER = re.compile(r"[-+]?(\d+([.,]\d*)*|[.,]\d+)([eE][-+]?\d+)?%?")
DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([T ]\d{1,2}:\d\d(:\d\d)?\S*)?")
SAMPLED_LINES = 50
SAMPLED_BYTES = 1 << 16
CHUNK = 1 << 22
# Python's own limit, 131,072 characters a cell, is an error in the middle of a file.
csv.field_size_limit(1 << 30)

BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
LATIN_SIGNS = "€£§©®™°·•…–—‘’“”„«»¿¡´\xa0"
USUAL_LETTERS = {
    "cp1252": "äöüÄÖÜßàâçèéêëîïôùûœÀÂÇÈÉÊÎÔŒáíóúñÁÍÓÚÑãõÃÕåæøÅÆØìòºª½" + LATIN_SIGNS,
    "cp1254": "çğışöüÇĞİŞÖÜâîû" + LATIN_SIGNS,
    "cp1250": "ąćęłńóśźżĄĆĘŁŃÓŚŹŻáčďéěíňřšťúůýžÁČĎÉĚÍŇŘŠŤÚŮÝŽôľĺŕäöüßőűŐŰâăîşţÎŞŢđĐ" + LATIN_SIGNS,
    "iso8859-2": "ąćęłńóśźżĄĆĘŁŃÓŚŹŻáčďéěíňřšťúůýžÁČĎÉĚÍŇŘŠŤÚŮÝŽôľĺŕäöüßőűŐŰâăîşţÎŞŢđĐ",
    "cp1255": "אבגדהוזחטיךכלםמןנסעףפץצקרשת",
    "cp1256": "ابتثجحخدذرزسشصضطظعغفقكلمنهويىئءآأؤإةپچژگ،",
    "cp1251": "абвгдежзийклмнопрстуфхцчшщъыьэюяёіїєґўАБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯЁІЇЄ№–—«»…",
    "koi8-r": "абвгдежзийклмнопрстуфхцчшщъыьэюяёАБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯЁ",
    "cp1253": "αβγδεζηθικλμνξοπρσςτυφχψωάέήίόύώΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩΆΈΉΊΌΎΏ–—«»…\xa0",
}
"""By encoding, in the order of choice where two say as much."""


class TextFormat(NamedTuple):
    """How to read a text file.

    Attributes:
        encoding: as Python calls it, such as "utf-8" or "cp1252".
        delimiter: between cells.
        has_header: whether the first line names the columns, and is no row.
    """

    encoding: str
    delimiter: str
    has_header: bool


def sniff(path: Path) -> TextFormat:
    """What a text file is, `.gz` or not, by its bytes; a file that is empty has a header.

    Raises:
        OSError: the file cannot be read or unpacked.
        EOFError: a compressed file ends too early.
    """
    encoding = sniff_encoding(path)
    lines = first_lines(path, encoding)
    delimiter = sniff_delimiter(lines, DELIMITER_OF_SUFFIX.get(suffix_of(path)))
    header = cells(lines[0], delimiter) if lines else []
    return TextFormat(encoding, delimiter, not any(map(is_data, header)))


def suffix_of(path: Path) -> str:
    """What a file's name says about its format: ".csv" of "orders.csv.gz"."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [".gz"] and suffixes[-2:-1] != [".parquet"]:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def open_text(path: Path) -> IO[bytes]:
    """The bytes of a text file, unpacked where it is compressed."""
    opener = gzip.open if path.suffix.lower() == ".gz" else Path.open
    return cast(IO[bytes], opener(path, "rb"))


def marked_encoding(path: Path) -> str | None:
    """The encoding that a file's byte order mark says; None where it has none."""
    with open_text(path) as stream:
        start = stream.read(4)
    return next((encoding for mark, encoding in BOMS if start.startswith(mark)), None)


def sniff_encoding(path: Path) -> str:
    """The encoding of a text file: by its byte order mark, or by all its lines that are not ASCII.

    A file is UTF-8 if most of these lines are: the others are faults of the file.
    """
    if marked := marked_encoding(path):
        return marked
    valid = total = 0
    sample = bytearray()
    with open_text(path) as stream:
        start = stream.read(SAMPLED_BYTES)
        for position, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
            if start[position::2].count(0) * 4 > len(start):
                return encoding
        stream.seek(0)
        while lines := stream.readlines(CHUNK):
            if b"".join(lines).isascii():
                continue
            for line in lines:
                if line.isascii():
                    continue
                total += 1
                if _decodes(line, "utf-8"):
                    valid += 1
                elif len(sample) < SAMPLED_BYTES:
                    sample += line
    return "utf-8" if 2 * valid >= total else likely_encoding(bytes(sample))


def likely_encoding(sample: bytes) -> str:
    """The encoding in which lines that are not UTF-8 have the most usual letters.

    cp1252, which is latin-1 with € and typographic quotes, where nothing speaks for another.
    """
    scores = {
        encoding: _usual(sample.decode(encoding, errors="replace"), usual)
        for encoding, usual in USUAL.items()
    }
    return max(scores, key=lambda encoding: scores[encoding])


def _usual(text: str, usual: Callable[[str], bool]) -> float:
    """Which share of the characters beyond ASCII is usual where it stands."""
    score = total = 0
    before = one_earlier = " "
    for character in text:
        if not character.isascii():
            total += 1
            odd_case = character.isupper() and before.islower()
            # A third letter beyond ASCII in a row is no word of a Latin alphabet.
            crowded = (
                character < "\u0250"
                and character.isalpha()
                and min(before, one_earlier) > "\x7f"
                and before.isalpha()
            )
            score += usual(character) and not odd_case and not crowded
        one_earlier, before = before, character
    return score / total if total else 0.0


def _lead_byte(encoding: str, first: int, last: int) -> Callable[[str], bool]:
    """Whether a character is among those that a national standard lists as the common ones."""

    def usual(character: str) -> bool:
        try:
            encoded = character.encode(encoding)
        except UnicodeEncodeError:
            return False
        return len(encoded) == 2 and first <= encoded[0] <= last

    return usual


def _japanese(character: str) -> bool:
    return "\u3040" <= character <= "\u30ff" or _lead_byte("cp932", 0x88, 0x97)(character)


def _among(letters: str) -> Callable[[str], bool]:
    return frozenset(letters).__contains__


USUAL: dict[str, Callable[[str], bool]] = {
    **{encoding: _among(letters) for encoding, letters in USUAL_LETTERS.items()},
    "cp932": _japanese,
    "cp949": _lead_byte("euc_kr", 0xB0, 0xC8),
    "gb18030": _lead_byte("gb2312", 0xB0, 0xD7),
    "big5": _lead_byte("big5", 0xA4, 0xC6),
}


def _decodes(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def first_lines(path: Path, encoding: str) -> list[str]:
    """Some lines from the beginning of a text file without their ends, blank ones left out.

    Characters that are none in the encoding are marked as such.
    """
    with open_text(path) as stream:
        start = stream.read(SAMPLED_BYTES)
        is_cut = bool(stream.read(1))
    lines = start.decode(encoding, errors="replace").removeprefix("\ufeff")
    found = re.split(r"\r\n|\r|\n", lines)
    if is_cut and len(found) > 1:
        found.pop()
    return [line for line in found if line.strip()][:SAMPLED_LINES]


def sniff_delimiter(lines: list[str], usual: str | None = None) -> str:
    """The delimiter that the first line has most.

    Where the first line has several, how many lines have each as often as the first counts, too.

    Args:
        lines: the first lines of a file.
        usual: the delimiter that the file's name speaks for, taken where the first line has it.
    """
    if not lines:
        return usual or DELIMITERS[0]
    widths = {delimiter: len(cells(lines[0], delimiter)) for delimiter in DELIMITERS}
    candidates = [delimiter for delimiter, width in widths.items() if width > 1]
    if usual in candidates or not candidates:
        return usual if usual in candidates else DELIMITERS[0]

    def evidence(delimiter: str) -> tuple[float, int]:
        agreeing = sum(len(cells(line, delimiter)) == widths[delimiter] for line in lines)
        return agreeing * (widths[delimiter] - 1), len(delimiter)

    return max(candidates, key=evidence)


def cells(line: str, delimiter: str) -> list[str]:
    """The cells of one line, read leniently: quotes that do not fit are part of their cell."""
    if len(delimiter) == 1:
        return next(csv.reader([line], delimiter=delimiter), [])
    found = next(csv.reader([line.replace(delimiter, STAND_IN)], delimiter=STAND_IN), [])
    return [cell.replace(STAND_IN, delimiter) for cell in found]


def is_data(cell: str) -> bool:
    """Whether a cell is plainly a value and no name of a column: a number or a date alone."""
    text = cell.strip()
    return bool(NUMBER.fullmatch(text) or DATE.fullmatch(text))


def places_of_data(header: Iterable[str]) -> list[int]:
    """The places, from 1, of the cells of a first line that are plainly values."""
    return [place for place, cell in enumerate(header, start=1) if is_data(cell)]
