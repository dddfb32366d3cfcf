"""Places of ids among many, without a Python object for each."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys_dagster.errors import UserError


class SortedIds(Sequence[str]):
    """Ids in the order of their UTF-8 bytes, which is that of their code points.

    A million of them take some 16 MiB; a dict of strings would take ten times as much.
    """

    def __init__(self, chunks: Sequence[pa.Array], where: str) -> None:
        """Take ids over from Arrow.

        Args:
            chunks: string arrays, one after the other sorted.
            where: what they are read from, for messages.

        Raises:
            UserError: they are not sorted, or one is there twice.
        """
        ids = pa.chunked_array(chunks, pa.string()).cast(pa.large_string()).combine_chunks()
        if isinstance(ids, pa.ChunkedArray):
            ids = pa.concat_arrays(ids.chunks)
        rising = pc.call_function("less", [ids[:-1], ids[1:]]) if len(ids) > 1 else pa.array([True])
        if rising.true_count < len(rising):
            raise UserError(f"{where}: its ids are not sorted, the snapshot is damaged.")
        _, offsets, text = ids.buffers()
        first = ids.offset
        self._ends = np.frombuffer(offsets, dtype=np.int64)[first : first + len(ids) + 1]
        self._text = memoryview(text if text is not None else b"")

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, place: int) -> str:  # ty: ignore[incompatible-method-override]
        return self._bytes(range(len(self))[place]).decode()

    def __iter__(self) -> Iterator[str]:
        return (self._bytes(place).decode() for place in range(len(self)))

    def position(self, name: str) -> int | None:
        """The place of an id; None where there is no such id."""
        wanted = name.encode(errors="surrogatepass")
        place = self._first_from(wanted)
        return place if place < len(self) and self._bytes(place) == wanted else None

    def beginning_with(self, start: str, limit: int) -> list[str]:
        """The first ids that begin with `start`, at most `limit`."""
        wanted = start.encode(errors="surrogatepass")
        found = []
        for place in range(self._first_from(wanted), len(self)):
            if len(found) == limit or not self._bytes(place).startswith(wanted):
                break
            found.append(self[place])
        return found

    def _first_from(self, wanted: bytes) -> int:
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if self._bytes(middle) < wanted:
                low = middle + 1
            else:
                high = middle
        return low

    def _bytes(self, place: int) -> bytes:
        return bytes(self._text[self._ends[place] : self._ends[place + 1]])
