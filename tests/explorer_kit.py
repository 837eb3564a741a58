"""What the tests of the explorers share: an explorer that notes what it sends, a gate for its thread, an upload."""

import io
import threading
from contextlib import contextmanager

import numpy as np
from PIL import Image

PATIENCE = 30
"""In seconds: no test waits longer."""


class Noted:
    """Before an explorer's class: notes what is sent to the browser, instead of sending it."""

    def __init__(self, *args, **options):
        self.told = []
        super().__init__(*args, **options)

    def send(self, content, buffers=None):
        self.told.append((content, buffers))

    def kinds(self):
        assert self.wait(PATIENCE)
        return [content["kind"] for content, _ in self.told]

    def last(self, kind):
        assert self.wait(PATIENCE)
        return next(message for message in reversed(self.told) if message[0]["kind"] == kind)

    def arrays(self, kind, dtype=np.float32):
        content, buffers = self.last(kind)
        return content, [np.frombuffer(each, dtype) for each in buffers]

    def ask(self, do, *buffers, **content):
        """As a browser sends it."""
        self._handle_custom_msg({"do": do, **content}, list(buffers))


@contextmanager
def alive(explorer):
    """An explorer that has computed its first result; it is closed afterwards."""
    assert explorer.wait(PATIENCE)
    yield explorer
    explorer.close()
    assert explorer.wait(PATIENCE)


class Held:
    """Lets one call of a function after another through, and notes what `noted` makes of their arguments."""

    def __init__(self, function, noted=lambda *given: given):
        self.function, self.noted = function, noted
        self.here, self.leave, self.wanted = threading.Semaphore(0), threading.Semaphore(0), []

    def __call__(self, *given):
        self.wanted.append(self.noted(*given))
        self.stop()
        return self.function(*given)

    def stop(self):
        """Where the thread waits until it is let through."""
        self.here.release()
        assert self.leave.acquire(timeout=PATIENCE)

    def wait(self):
        assert self.here.acquire(timeout=PATIENCE)


def png(colour, size=(40, 30)):
    """A picture of one colour as a browser uploads it."""
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "png")
    return memoryview(buffer.getvalue())
