"""The worker's process: answers requests, one after the other, until the pipe is closed.

    python serve.py REQUESTS ANSWERS FOLDER ...

The first two are file descriptors. A request says which function to call, `module:function`, with
which keywords (JSON) and bytes; an answer says whether that succeeded, with the bytes that came of
it or with words about what went wrong. Modules are looked for in the folders.
"""

import importlib
import json
import os
import struct
import sys

REQUEST = struct.Struct(">QIQ")  # its number; sizes of the call, as JSON, and of its bytes
ANSWER = struct.Struct(">Q?IQ")  # the request's number; success; sizes of words and bytes
READY = ANSWER.pack(0, True, 0, 0)  # the first answer, to nothing
MAX_WORDS = 4096  # bytes


def main() -> None:
    requests = os.fdopen(int(sys.argv[1]), "rb")
    answers = os.fdopen(int(sys.argv[2]), "wb")
    sys.path[:0] = sys.argv[3:]
    import shell

    shell.make()
    answers.write(READY)
    answers.flush()
    while start := requests.read(REQUEST.size):
        number, n_call, n_bytes = REQUEST.unpack(start)
        call, data = json.loads(requests.read(n_call)), requests.read(n_bytes)
        try:
            answer = (True, b"", _call(call["function"], data, call["keywords"]))
        except BaseException as error:  # a student's code may raise anything
            answer = (False, _words(error), b"")
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:  # whatever the student has put there
                continue
        success, words, data = answer
        answers.write(ANSWER.pack(number, success, len(words), len(data)) + words)
        answers.write(data)
        answers.flush()


def _call(function: str, data: bytes, keywords: dict) -> bytes:
    module, _, name = function.partition(":")
    result = getattr(importlib.import_module(module), name)(data, **keywords)
    return memoryview(b"" if result is None else result).tobytes()  # TypeError if it is no bytes


def _words(error: BaseException) -> bytes:
    """Names an error in a few words; it may be the student's, and fail to be named."""
    try:
        name = type.__dict__["__name__"].__get__(type(error))
        words = str(error) if getattr(error, "is_plain", False) else f"{name}: {error}".strip(": ")
        return words.encode(errors="replace")[:MAX_WORDS]
    except BaseException:
        return b"an error that cannot be shown"


if __name__ == "__main__":
    main()
