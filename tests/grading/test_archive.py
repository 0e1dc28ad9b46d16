"""A zip is unpacked inside its folder and within limits, whoever made it."""

import errno
import stat
import struct
import tracemalloc
import zipfile
import zlib
from datetime import datetime

import pytest

from grading import UsageError
from grading.archive import Limits, unpack

# Where a member's fields are in the table of contents, and their format.
FIELDS = {
    "version": (6, "<H"),
    "flags": (8, "<H"),
    "method": (10, "<H"),
    "date": (14, "<H"),
    "checksum": (16, "<L"),
    "compressed": (20, "<L"),
    "size": (24, "<L"),
    "offset": (42, "<L"),
}


def make_zip(path, members, method=zipfile.ZIP_DEFLATED):
    """Writes members of any name; each is content, or an entry and content."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def entry(name, mode=0, date=(2026, 3, 4, 5, 6, 8)):
    info = zipfile.ZipInfo(name, date)
    info.external_attr = mode << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


def tamper(path, member, **fields):
    """Changes what the table of contents says of a member, or its name."""
    data = bytearray(path.read_bytes())
    start = data.rfind(member, data.find(b"PK\1\2")) - 46
    assert data[start : start + 4] == b"PK\1\2"
    for field, value in fields.items():
        if field == "name":
            assert len(value) == len(member)
            data[start + 46 : start + 46 + len(member)] = value
        else:
            at, form = FIELDS[field]
            struct.pack_into(form, data, start + at, value)
    path.write_bytes(data)


def unpacked(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def unpack_beside_good(tmp_path, bad, reason, **limits):
    """Unpacks a zip with a bad member among good ones, and checks that only they are there."""
    folder = tmp_path / "a" / "b"
    remarks = unpack(tmp_path / "class.zip", folder, Limits(**limits))
    assert unpacked(tmp_path / "a") == {"b/first.ipynb": b"first", "b/last.ipynb": b"last"}
    assert len(remarks) == 1
    assert remarks[0].startswith(f"{bad}: left out: {reason}")


def test_files_come_with_their_dates_and_without_permissions(tmp_path):
    members = [("x/", b""), (entry("x/ada.ipynb", 0o104755), b"ada"), (entry("Bö b.npz"), b"bob")]
    archive = make_zip(tmp_path / "class.zip", members)
    assert unpack(archive, tmp_path / "new" / "class") == []
    folder = tmp_path / "new" / "class"
    assert unpacked(folder) == {"x/ada.ipynb": b"ada", "Bö b.npz": b"bob"}
    status = (folder / "x/ada.ipynb").stat()
    assert datetime.fromtimestamp(status.st_mtime) == datetime(2026, 3, 4, 5, 6, 8)
    assert not status.st_mode & (stat.S_ISUID | stat.S_IXUSR)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/tmp/evil", "its name is an absolute path"),
        ("C:evil", "its name is an absolute path"),
        ("C:\\evil", "its name is an absolute path"),
        ("\\\\server\\evil", "its name is an absolute path"),
        ("../evil", "its name leads out of the zip"),
        ("x/../../evil", "its name leads out of the zip"),
        ("x\\..\\..\\evil", "its name leads out of the zip"),
        ("./", "its name is not one of a file"),
        ("x/" * 50 + "evil", "it lies more than 50 folders deep"),
        ("ö" * 128, "File name too long"),
        ("/".join(["x" * 250] * 20), "File name too long"),
    ],
)
def test_names_that_lead_elsewhere_or_are_too_long(tmp_path, name, reason):
    members = [("first.ipynb", b"first"), (name, b"evil"), ("last.ipynb", b"last")]
    make_zip(tmp_path / "class.zip", members)
    shown = name.replace("\\", "/")
    shown = shown if len(shown) <= 200 else f"{shown[:199]}…"
    unpack_beside_good(tmp_path, shown, reason)


@pytest.mark.parametrize(
    "kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK]
)
def test_links_and_devices(tmp_path, kind):
    evil = (entry("evil", kind | 0o777), b"/etc/passwd")
    make_zip(tmp_path / "class.zip", [("first.ipynb", b"first"), evil, ("last.ipynb", b"last")])
    unpack_beside_good(tmp_path, "evil", "it is a link or a device")


@pytest.mark.parametrize(
    ("fields", "bad", "reason"),
    [
        ({"flags": 0x1}, "evil", "it is encrypted"),
        ({"flags": 0x40}, "evil", "strong encryption"),
        ({"flags": 0x20}, "evil", "compressed patched data"),
        ({"method": 12}, "evil", "it is compressed by method 12, not by deflate"),
        ({"method": 14}, "evil", "it is compressed by method 14, not by deflate"),
        ({"name": b"ev\0l"}, "evl", "its name is not one of a file"),
        ({"name": b"evi1"}, "evi1", "File name in directory 'evi1' and header b'evil' differ"),
        ({"name": b"e\x1b[2"}, "e2", "File name in directory"),
        ({"checksum": 7}, "evil", "Bad CRC-32"),
        ({"compressed": 3}, "evil", "Bad CRC-32"),
        ({"offset": 120}, "evil", "Bad magic number"),
        ({"offset": 0xFFFFFFFE}, "evil", "Truncated file header"),
        ({"method": 0}, "evil", "Bad CRC-32"),
    ],
)
def test_tampered_members(tmp_path, fields, bad, reason):
    members = [("first.ipynb", b"first"), ("last.ipynb", b"last"), ("evil", b"evil" * 50)]
    archive = make_zip(tmp_path / "class.zip", members)
    tamper(archive, b"evil", **fields)
    unpack_beside_good(tmp_path, bad, reason)


def test_damaged_data(tmp_path):
    members = [("first.ipynb", b"first"), ("evil", bytes(range(256)) * 9), ("last.ipynb", b"last")]
    archive = make_zip(tmp_path / "class.zip", members)
    data = bytearray(archive.read_bytes())
    start = data.find(b"evil") + 4
    data[start : start + 40] = b"\xff" * 40
    archive.write_bytes(data)
    unpack_beside_good(tmp_path, "evil", "Error -3 while decompressing data")


ERRORS = [
    *(zipfile.BadZipFile("why"), zlib.error("why"), struct.error("why"), RuntimeError("why")),
    *(NotImplementedError("why"), OverflowError("why"), ValueError("why"), OSError(22, "why")),
    EOFError(),
]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_whatever_zipfile_raises_concerns_one_member(tmp_path, monkeypatch, error):
    members = [("first.ipynb", b"first"), ("evil", b"evil"), ("last.ipynb", b"last")]
    make_zip(tmp_path / "class.zip", members)
    read = zipfile.ZipExtFile.read

    def fail(self, size):
        if self.name == "evil" and not self.tell():
            read(self, size)
            raise error
        return read(self, size)

    monkeypatch.setattr(zipfile.ZipExtFile, "read", fail)
    unpack_beside_good(tmp_path, "evil", "why" if error.args else "its end is missing")


def test_a_full_disk_ends_it(tmp_path, monkeypatch):
    archive = make_zip(tmp_path / "class.zip", [("ada.ipynb", b"x"), ("bob.ipynb", b"x")])

    def fail(self, size):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(zipfile.ZipExtFile, "read", fail)
    with pytest.raises(UsageError, match=r"^class\.zip cannot be unpacked: No space left"):
        unpack(archive, tmp_path / "class")
    assert unpacked(tmp_path / "class") == {}


@pytest.mark.parametrize(
    ("stated", "reason"), [(100_000_000, "it has more than 9,000,000 bytes"), (10, "Bad CRC-32")]
)
def test_large_members_whatever_size_they_state(tmp_path, stated, reason):
    bomb = bytes(100_000_000)
    members = [("first.ipynb", b"first"), ("bomb", bomb), ("last.ipynb", b"last")]
    archive = make_zip(tmp_path / "class.zip", members)
    tamper(archive, b"bomb", size=stated)
    del bomb, members
    tracemalloc.start()
    unpack_beside_good(tmp_path, "bomb", reason, member_bytes=9_000_000)
    assert tracemalloc.get_traced_memory()[1] < 8_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("checksum", [None, 7])
def test_size_of_everything_also_of_what_is_left_out(tmp_path, checksum):
    members = [(f"{i}.npz", bytes(2_500_000)) for i in range(5)]
    archive = make_zip(tmp_path / "class.zip", members)
    if checksum:
        tamper(archive, b"1.npz", checksum=checksum)
    remarks = unpack(archive, tmp_path / "class", Limits(total_bytes=9_000_000))
    written = ["0.npz", "2.npz"] if checksum else ["0.npz", "1.npz", "2.npz"]
    assert sorted(unpacked(tmp_path / "class")) == written
    too_much = "left out: the zip unpacks to more than 9,000,000 bytes"
    assert remarks[-2:] == [f"3.npz: {too_much}", f"4.npz: {too_much}"]
    assert len(remarks) == 5 - len(written)


def test_nothing_is_decompressed_once_there_is_too_much(tmp_path, monkeypatch):
    archive = make_zip(tmp_path / "class.zip", [(f"{i}.npz", bytes(1000)) for i in range(9)])
    opened = []
    original = zipfile.ZipFile.open
    monkeypatch.setattr(
        zipfile.ZipFile, "open", lambda *args: opened.append(args) or original(*args)
    )
    unpack(archive, tmp_path / "class", Limits(total_bytes=3_500))
    assert len(opened) == 4


def test_number_of_members(tmp_path):
    archive = make_zip(tmp_path / "class.zip", [(f"{i}.npz", b"") for i in range(9)])
    assert unpack(archive, tmp_path / "nine", Limits(members=9)) == []
    with pytest.raises(UsageError, match=r"class\.zip .* it holds more than 8 files"):
        unpack(archive, tmp_path / "class", Limits(members=8))
    assert unpacked(tmp_path / "class") == {}


@pytest.mark.parametrize("num_stated", [None, 1])
def test_a_long_table_of_contents_is_not_read(tmp_path, num_stated):
    record = struct.pack("<4s6H3L5H2L", b"PK\1\2", *(0,) * 9, 1, *(0,) * 6) + b"x"
    table = record * 200_000
    count = num_stated or 200_000 & 0xFFFF
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(table), 0, 0)
    (tmp_path / "class.zip").write_bytes(table + end)
    del table
    tracemalloc.start()
    with pytest.raises(UsageError, match=r"its table of contents has more than 3,000,000 bytes"):
        unpack(tmp_path / "class.zip", tmp_path / "class", Limits(members=10_000))
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_collide(tmp_path):
    members = [
        ("ada.ipynb", b"1"),
        ("ada.ipynb", b"2"),
        ("./ada.ipynb", b"3"),
        ("e\N{COMBINING ACUTE ACCENT}", b"4"),
        ("é", b"5"),
        ("ada.ipynb/x", b"6"),
        ("é", b"7"),
    ]
    archive = make_zip(tmp_path / "class.zip", members)
    remarks = unpack(archive, tmp_path / "class")
    assert unpacked(tmp_path / "class") == {"ada.ipynb": b"1", "é": b"4"}
    assert [remark.split(": ", 1)[0] for remark in remarks] == [
        "ada.ipynb",
        "./ada.ipynb",
        "é",
        "ada.ipynb/x",
        "é",
    ]
    assert all("another file of the zip has the same name" in remark for remark in remarks)


def test_names_that_differ_only_in_case_are_both_kept_or_named(tmp_path):
    archive = make_zip(tmp_path / "class.zip", [("Ada.ipynb", b"1"), ("ada.ipynb", b"2")])
    remarks = unpack(archive, tmp_path / "class")
    if (tmp_path / "CLASS").exists():  # the file system takes them for the same
        assert len(remarks) == 1
    else:
        assert unpacked(tmp_path / "class") == {"Ada.ipynb": b"1", "ada.ipynb": b"2"}
        assert remarks == []


def test_names_from_other_systems(tmp_path):
    archive = make_zip(
        tmp_path / "class.zip", [("x\\win.npz", b"1"), ("mXYc", b"2"), ("dXs", b"3")]
    )
    # What does not say that it is UTF-8 may be, or "ä" is that of DOS's code page.
    renamed = archive.read_bytes().replace(b"mXYc", "mäc".encode()).replace(b"dXs", b"d\x84s")
    archive.write_bytes(renamed)
    assert unpack(archive, tmp_path / "class") == []
    assert unpacked(tmp_path / "class") == {"x/win.npz": b"1", "mäc": b"2", "däs": b"3"}


def test_what_nobody_wants_is_left_out_silently(tmp_path):
    names = ["__MACOSX/._ada.ipynb", ".DS_Store", "x/.ipynb_checkpoints/ada.ipynb", "ada.ipynb"]
    names += ["clone/.git/config", "clone/.git/hooks/run"]
    archive = make_zip(tmp_path / "class.zip", [(name, b"x") for name in names])
    assert unpack(archive, tmp_path / "class") == []
    assert list(unpacked(tmp_path / "class")) == ["ada.ipynb"]
    assert list((tmp_path / "class/clone/.git").iterdir()) == []


def test_dates_that_are_none_are_the_oldest(tmp_path):
    archive = make_zip(tmp_path / "class.zip", [("ada.ipynb", b"x")])
    tamper(archive, b"ada.ipynb", date=0xFFFF)
    assert unpack(archive, tmp_path / "class") == []
    status = (tmp_path / "class/ada.ipynb").stat()
    assert datetime.fromtimestamp(status.st_mtime) == datetime(1980, 1, 1)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"version": 99}, "zip file version 9.9"),
        ({"flags": 0x800, "name": b"ev\xffl"}, "a name in it is not the UTF-8 .*"),
    ],
)
def test_what_zipfile_does_not_read_is_refused_with_the_reason(tmp_path, fields, reason):
    archive = make_zip(tmp_path / "class.zip", [("ada.ipynb", b"x"), ("evil", b"y")])
    tamper(archive, b"evil", **fields)
    with pytest.raises(UsageError, match=rf"^class\.zip cannot be unpacked: {reason}$"):
        unpack(archive, tmp_path / "class")


@pytest.mark.parametrize("data", [b"", b"Dear teacher, my dog ate it. " * 9, b"PK\3\4", b"PK\5\6"])
def test_what_is_no_zip(tmp_path, data):
    (tmp_path / "class.zip").write_bytes(data)
    with pytest.raises(UsageError, match=r"class\.zip cannot be unpacked: File is not a zip file"):
        unpack(tmp_path / "class.zip", tmp_path / "class")


def test_truncated_and_damaged_zips(tmp_path):
    archive = make_zip(tmp_path / "class.zip", [(f"{i}.npz", b"x" * 99) for i in range(5)])
    data = archive.read_bytes()
    for length in range(0, len(data), 7):
        archive.write_bytes(data[:length])
        with pytest.raises(UsageError):
            unpack(archive, tmp_path / "class")
    archive.write_bytes(data.replace(b"PK\1\2", b"PK\1\3"))
    with pytest.raises(UsageError, match="Bad magic number for central directory"):
        unpack(archive, tmp_path / "class")


def test_any_flipped_byte_is_survived(tmp_path):
    archive = make_zip(tmp_path / "class.zip", [(f"{i}.npz", b"abc" * 9) for i in range(3)])
    data = archive.read_bytes()
    for i in range(len(data)):
        archive.write_bytes(data[:i] + bytes([data[i] ^ 0xFF]) + data[i + 1 :])
        try:
            unpack(archive, tmp_path / "outer" / str(i))
        except UsageError:
            assert unpacked(tmp_path / "outer" / str(i)) == {}
    assert {path.name for path in tmp_path.iterdir()} == {"class.zip", "outer"}


def test_many_remarks_are_cut_short(tmp_path):
    archive = make_zip(tmp_path / "class.zip", [(f"../{i}", b"x") for i in range(1_000)])
    remarks = unpack(archive, tmp_path / "class")
    assert len(remarks) == 21
    assert remarks[-1] == "980 more files in class.zip: left out"


def test_a_folder_in_use_is_refused(tmp_path):
    archive = make_zip(tmp_path / "class.zip", [("link/ada.ipynb", b"x")])
    (tmp_path / "precious").mkdir()
    (tmp_path / "class").mkdir()
    (tmp_path / "class/link").symlink_to(tmp_path / "precious")
    with pytest.raises(UsageError, match="is not empty"):
        unpack(archive, tmp_path / "class")
    assert list((tmp_path / "precious").iterdir()) == []
