"""The worker's process: replies to requests, one after the other, until the pipe is closed.

    python serve.py REQUESTS REPLIES FOLDER ...

The first two are file descriptors. A request names the function to call, `module:function`, and
holds its keywords (JSON) and bytes. A reply says whether the call succeeded, and holds the bytes
that it returned or a description of the error. Modules are imported from the folders.
"""

import importlib
import json
import os
import struct
import sys

REQUEST = struct.Struct(">QIQ")  # its number; sizes of the call, as JSON, and of its bytes
REPLY = struct.Struct(">Q?IQ")  # the request's number; success; sizes of words and bytes
READY = REPLY.pack(0, True, 0, 0)  # the first reply, to no request
MAX_WORDS = 4096  # bytes


def main() -> None:
    requests = os.fdopen(int(sys.argv[1]), "rb")
    replies = os.fdopen(int(sys.argv[2]), "wb")
    sys.path[:0] = sys.argv[3:]
    import shell

    shell.make()
    replies.write(READY)
    replies.flush()
    while start := requests.read(REQUEST.size):
        number, n_call, n_bytes = REQUEST.unpack(start)
        call, data = json.loads(requests.read(n_call)), requests.read(n_bytes)
        try:
            reply = (True, b"", _call(call["function"], data, call["keywords"]))
        except BaseException as error:  # a student's code may raise anything
            reply = (False, _words(error), b"")
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:  # the student may have replaced it
                continue
        success, words, data = reply
        replies.write(REPLY.pack(number, success, len(words), len(data)) + words)
        replies.write(data)
        replies.flush()


def _call(function: str, data: bytes, keywords: dict) -> bytes:
    module, _, name = function.partition(":")
    result = getattr(importlib.import_module(module), name)(data, **keywords)
    return memoryview(b"" if result is None else result).tobytes()  # TypeError unless it is bytes


def _words(error: BaseException) -> bytes:
    """Describes an error briefly; it may be the student's own class, which may fail at that."""
    try:
        name = type.__dict__["__name__"].__get__(type(error))
        words = str(error) if getattr(error, "is_plain", False) else f"{name}: {error}".strip(": ")
        return words.encode(errors="replace")[:MAX_WORDS]
    except BaseException:
        return b"an error that cannot be shown"


if __name__ == "__main__":
    main()
