"""Measurements are sent as numbers: bytes give arrays or are clearly refused."""

import json
import struct

import numpy as np
import pytest

from grading.inside.measurement import MAX_WORDS, Measurement, MeasurementError


def forged(header: bytes | dict, data: bytes = b"") -> bytes:
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(header)) + header + data


def tensor(dtype: str, shape: list[int], end: int) -> dict:
    return {"x": {"dtype": dtype, "shape": shape, "data_offsets": [0, end]}}


def test_of_very_many_notes_the_first_are_kept():
    measured = Measurement(errors={f"note/{i:05}": f"note {i}" for i in range(11_000)})
    assert measured.notes == [*(f"note {i}" for i in range(20)), "and 10980 more"]


def test_there_and_back():
    arrays = {
        "base/logits": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "scalar": np.float64(3.5),
        "empty": np.zeros((0, 2), np.int64),
        "truth": np.array([True, False]),
        "bytes": np.frombuffer(b"text", np.uint8),
    }
    errors = {"": "nothing was measured", "single": "ValueError: é"}
    back = Measurement.from_bytes(Measurement(arrays, errors).to_bytes())
    assert back.errors == errors
    assert back.first_error == "nothing was measured"
    assert back.keys() == arrays.keys()
    for name, array in arrays.items():
        assert np.array_equal(back[name], array)
        assert (back[name].dtype, back[name].shape) == (array.dtype, np.shape(array))


def test_merging_keeps_arrays_and_errors_of_both():
    first = Measurement({"a": np.ones(1)}, {"b": "missing"})
    first |= Measurement({"c": np.zeros(1)}, {"d": "missing, too"})
    assert first.keys() == {"a", "c"}
    assert first.errors == {"b": "missing", "d": "missing, too"}
    assert (first | {"e": np.ones(1)}).errors == first.errors


def test_arrays_without_numbers_are_not_sent():
    odd = {"objects": np.array([{}], object), "words": np.array(["x"]), "complex": np.ones(1, "c8")}
    assert Measurement.from_bytes(Measurement(odd).to_bytes()) == {}


def test_long_errors_are_cut():
    back = Measurement.from_bytes(Measurement(errors={"": "é" * MAX_WORDS}).to_bytes())
    assert len(back.first_error) <= MAX_WORDS < 1000  # no module's text gets out in an error


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"garbage",
        bytes(100),
        b"\xff" * 100,
        forged(b"[" * 100_000),
        forged(b"[]"),
        forged({"x": 1}),
        forged(tensor("F32", [10**18], 4), bytes(4)),
        forged(tensor("F32", [2**62, 4], 0)),
        forged(tensor("F32", [-1], 4), bytes(4)),
        forged(tensor("F32", [1], 10**30), bytes(4)),
        forged(tensor("F32", [1] * 100, 4), bytes(4)),
        forged(tensor("F32", [2], 8), bytes(4)),
        forged(tensor("O", [1], 8), bytes(8)),
        forged(tensor("BF16", [1], 2), bytes(2)),
        forged(b"{" + b'"x": 1,' * 200_000 + b'"y": 1}'),
    ],
)
def test_other_bytes_are_refused(data):
    with pytest.raises(MeasurementError, match=r"it cannot be read|its header is too large"):
        Measurement.from_bytes(data)


def test_damaged_bytes_never_raise_anything_else():
    whole = Measurement({"a": np.ones((3, 4), np.float32)}, {"b": "missing"}).to_bytes()
    generator = np.random.default_rng(0)
    n_refused = 0
    for _ in range(500):
        data = np.frombuffer(whole, np.uint8).copy()
        data[generator.integers(len(data), size=3)] = generator.integers(256, size=3)
        try:
            Measurement.from_bytes(data.tobytes())
        except MeasurementError:
            n_refused += 1
    assert n_refused > 100
