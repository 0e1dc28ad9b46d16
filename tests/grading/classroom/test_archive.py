"""A zip is unpacked inside its folder and within limits, whoever made it."""

import stat
import struct
import tracemalloc
import zipfile
from datetime import datetime

import pytest

from grading import UsageError
from grading.classroom.archive import Limits, unpack

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
        ("ö" * 128, "its name has more than 255 bytes"),
        ("/".join(["x" * 250] * 20), "its path has more than 4,000 bytes"),
    ],
)
def test_names_that_lead_elsewhere(tmp_path, name, reason):
    members = [("first.ipynb", b"first"), (name, b"evil"), ("last.ipynb", b"last")]
    make_zip(tmp_path / "class.zip", members)
    shown = name if len(name) <= 200 else f"{name[:199]}…"
    unpack_beside_good(tmp_path, shown, reason)


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        (stat.S_IFLNK, "it is a link"),
        (stat.S_IFIFO, "it is not a regular file"),
        (stat.S_IFCHR, "it is not a regular file"),
        (stat.S_IFBLK, "it is not a regular file"),
        (stat.S_IFSOCK, "it is not a regular file"),
    ],
)
def test_links_and_devices(tmp_path, mode, reason):
    evil = (entry("evil", mode | 0o777), b"/etc/passwd")
    make_zip(tmp_path / "class.zip", [("first.ipynb", b"first"), evil, ("last.ipynb", b"last")])
    unpack_beside_good(tmp_path, "evil", reason)


@pytest.mark.parametrize(
    ("fields", "bad", "reason"),
    [
        ({"flags": 0x1}, "evil", "it is encrypted"),
        ({"flags": 0x41}, "evil", "it is encrypted"),
        ({"method": 12}, "evil", "it is compressed by method 12, not by deflate"),
        ({"method": 14}, "evil", "it is compressed by method 14, not by deflate"),
        ({"flags": 0x800, "name": b"ev\xffl"}, "ev\ufffdl", "its name is not UTF-8"),
        ({"name": b"ev\0l"}, "evl", "its name is not one of a file"),
        ({"name": b"e\x1b[2", "checksum": 7}, "e2", "it is damaged: its checksum"),
        ({"checksum": 7}, "evil", "it is damaged: its checksum is wrong"),
        ({"compressed": 3}, "evil", "it is damaged: its end is missing"),
        ({"offset": 120}, "evil", "it is not where the zip says"),
        ({"offset": 0xFFFFFFFE}, "evil", "it is not where the zip says"),
        ({"method": 0}, "evil", "it is damaged: its checksum is wrong"),
    ],
)
def test_tampered_members(tmp_path, fields, bad, reason):
    # The bad one comes last, so that wrong places and sizes do not overlap the good ones.
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
    unpack_beside_good(tmp_path, "evil", "it is damaged: it cannot be decompressed")


def test_size_is_counted_whatever_the_header_says(tmp_path):
    bomb = bytes(100_000_000)
    members = [("first.ipynb", b"first"), ("bomb", bomb), ("last.ipynb", b"last")]
    archive = make_zip(tmp_path / "class.zip", members)
    tamper(archive, b"bomb", size=10)
    del bomb, members
    tracemalloc.start()
    unpack_beside_good(tmp_path, "bomb", "it has more than 9,000,000 b", member_bytes=9_000_000)
    assert tracemalloc.get_traced_memory()[1] < 8_000_000
    tracemalloc.stop()


def test_size_of_everything(tmp_path):
    archive = make_zip(tmp_path / "class.zip", [(f"{i}.npz", bytes(1000)) for i in range(9)])
    remarks = unpack(archive, tmp_path / "class", Limits(total_bytes=3_500))
    assert sorted(unpacked(tmp_path / "class")) == ["0.npz", "1.npz", "2.npz"]
    assert remarks == ["3.npz and all after it: left out: the zip unpacks to more than 3,500 bytes"]


def test_number_of_members(tmp_path):
    archive = make_zip(tmp_path / "class.zip", [(f"{i}.npz", b"") for i in range(9)])
    assert unpack(archive, tmp_path / "nine", Limits(members=9)) == []
    with pytest.raises(UsageError, match=r"class\.zip holds more than 8 files"):
        unpack(archive, tmp_path / "class", Limits(members=8))
    assert unpacked(tmp_path / "class") == {}


@pytest.mark.parametrize("inside", [0, 40])
def test_members_that_share_their_bytes(tmp_path, inside):
    # The second one's place is that of the first, or lies within its data.
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 33, 0, 0, 0, 4, 0) + b"bomb"
    data = [b"x" * (inside - 34) + local + b"y" if inside else b"x"]
    members = [("bomb", data[0]), ("bomc", b"y"), ("good", b"good")]
    archive = make_zip(tmp_path / "class.zip", members, zipfile.ZIP_STORED)
    tamper(archive, b"bomc", offset=inside)
    remarks = unpack(archive, tmp_path / "class")
    assert unpacked(tmp_path / "class") == {"good": b"good"}
    reason = "left out: it overlaps another file of the zip"
    assert remarks == [f"bomb: {reason}", f"bomc: {reason}"]


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
    tamper(archive, b"mXYc", name="mäc".encode())  # without saying that it is UTF-8
    tamper(archive, b"dXs", name=b"d\x84s")  # "ä" in DOS's code page
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


def test_a_high_version_number_stops_nothing(tmp_path):
    archive = make_zip(tmp_path / "class.zip", [("ada.ipynb", b"x"), ("bob.ipynb", b"y")])
    tamper(archive, b"ada.ipynb", version=99)
    assert unpack(archive, tmp_path / "class") == []
    assert unpacked(tmp_path / "class") == {"ada.ipynb": b"x", "bob.ipynb": b"y"}


def test_large_zips_and_those_behind_other_data(tmp_path, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 60)  # so that a small zip is written like a large
    archive = tmp_path / "class.zip"
    with zipfile.ZipFile(archive, "w") as writer:
        for i in range(5):
            with writer.open(f"{i}.npz", "w", force_zip64=True) as member:
                member.write(b"x" * 30 * i)
    assert b"PK\6\6" in archive.read_bytes()
    for before in (b"", b"a program that unpacks the rest"):
        archive.write_bytes(before + archive.read_bytes())
        folder = tmp_path / f"after {len(before)}"
        assert unpack(archive, folder) == []
        assert unpacked(folder) == {f"{i}.npz": b"x" * 30 * i for i in range(5)}


@pytest.mark.parametrize("data", [b"", b"Dear teacher, my dog ate it. " * 9, b"PK\3\4", b"PK\5\6"])
def test_what_is_no_zip(tmp_path, data):
    (tmp_path / "class.zip").write_bytes(data)
    with pytest.raises(UsageError, match=r"^class\.zip is not a zip file, or its end is missing$"):
        unpack(tmp_path / "class.zip", tmp_path / "class")


def test_truncated_and_damaged_zips(tmp_path):
    archive = make_zip(tmp_path / "class.zip", [(f"{i}.npz", b"x" * 99) for i in range(5)])
    data = archive.read_bytes()
    for length in range(0, len(data), 7):
        archive.write_bytes(data[:length])
        with pytest.raises(UsageError):
            unpack(archive, tmp_path / "class")
    archive.write_bytes(data.replace(b"PK\1\2", b"PK\1\3"))
    with pytest.raises(UsageError, match="its table of contents cannot be read"):
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
