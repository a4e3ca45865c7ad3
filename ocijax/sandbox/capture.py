"""Keeps the head and the tail of a stream within a fixed size."""


class Capture:
    """The start and the end of what was added, and how much was left out between.

    Attributes:
      total: bytes added.
    """

    def __init__(self, limit: int):
        self.total = 0
        self._half = limit // 2
        self._head = bytearray()
        self._tail = bytearray()

    def add(self, data: bytes) -> None:
        """Appends ``data``."""
        self.total += len(data)
        room = self._half - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        self._tail += data[-self._half :]
        if len(self._tail) > 2 * self._half:
            del self._tail[: -self._half]

    def text(self) -> str:
        """Returns what was kept; NUL and what is no UTF-8, lone surrogates too, escaped."""
        tail = bytes(self._tail[-self._half :]) if self._half else b""
        left_out = self.total - len(self._head) - len(tail)
        gap = f"\n... {left_out} bytes left out ...\n".encode() if left_out else b""
        text = (bytes(self._head) + gap + tail).decode("utf-8", "backslashreplace")
        return text.replace("\0", "\\x00")
