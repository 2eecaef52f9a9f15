"""Writing whole files, and what an error of the disk says."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from modeldiff_harness.disk import (
    disk_failure,
    existing_folder,
    read_regular,
    remove,
    writable_folder,
    write_atomically,
    write_output,
)
from modeldiff_harness.errors import UsageError

SAYS = {
    errno.ENOSPC: "Free space on that disk",
    errno.EDQUOT: "Free space on that disk",
    errno.EROFS: "read-only",
    errno.EISDIR: "is a folder where a file belongs",
    errno.ENOTDIR: "below a file",
    errno.EEXIST: "in the way",
    errno.ENAMETOOLONG: "longer than the file system takes",
    errno.EMFILE: "ulimit -n",
    errno.EIO: "the disk fails",
}


@pytest.mark.parametrize("number", SAYS)
def test_an_error_of_the_disk_says_its_own_cause_and_costs_nothing(number, tmp_path):
    found = disk_failure(OSError(number, os.strerror(number), str(tmp_path / "x")), tmp_path)
    assert SAYS[number] in str(found)
    assert "mdh gc" not in str(found)
    full = number in (errno.ENOSPC, errno.EDQUOT)
    assert ("Free space" in str(found)) == full


def test_a_file_that_may_not_be_read_is_not_a_full_disk(tmp_path, monkeypatch):
    file = tmp_path / "secret"
    file.touch()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    text = str(disk_failure(PermissionError(errno.EACCES, "Permission denied", str(file)), "x"))
    assert f"cannot read {file}" in text
    assert "space" not in text


def test_atomic_writing_takes_every_name_that_a_file_can_have(tmp_path):
    path = tmp_path / ("n" * 255)
    write_atomically(path, "one")
    write_atomically(path, "two")
    assert path.read_text("utf-8") == "two"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_nothing_beside(tmp_path, monkeypatch):
    path = tmp_path / "report.json"
    write_atomically(path, "old")

    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, "new")
    assert path.read_text("utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_device_is_written_to_and_not_replaced():
    before = os.stat("/dev/null")
    write_output(Path("/dev/null"), "gone")
    assert stat.S_ISCHR(before.st_mode)
    assert os.stat("/dev/null").st_ino == before.st_ino


BAD_OUTPUTS = {
    "a folder": (lambda at: at, "is a folder where a file belongs"),
    "below a file": (lambda at: at / "file" / "x", "below a file"),
    "no folder": (lambda at: at / "no" / "x", "there is no folder"),
    "too long": (lambda at: at / ("x" * 300), "longer than the file system takes"),
}


@pytest.mark.parametrize("name", BAD_OUTPUTS)
def test_an_output_that_cannot_be_written_is_a_wrong_request(name, tmp_path):
    (tmp_path / "file").touch()
    path, says = BAD_OUTPUTS[name]
    with pytest.raises(UsageError, match=says):
        write_output(path(tmp_path), "text")


BAD_FOLDERS = {
    "a file": lambda at: at / "file",
    "below a file": lambda at: at / "file" / "x",
    "too long": lambda at: at / ("x" * 300),
    "NUL": lambda at: at / "x\0y",
    "not to be written": lambda at: Path("/proc/mdh"),
}


@pytest.mark.parametrize("name", BAD_FOLDERS)
def test_a_folder_that_cannot_be_written_is_refused_with_its_option(name, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="--output_path"):
        writable_folder(BAD_FOLDERS[name](tmp_path), "--output_path")


def test_a_folder_that_can_be_written_is_made_and_left_empty(tmp_path):
    writable_folder(tmp_path / "a" / "b", "--output_path")
    assert list((tmp_path / "a" / "b").iterdir()) == []
    assert existing_folder(tmp_path / "a" / "b" / "c") == tmp_path / "a" / "b"


def test_only_regular_files_of_a_bounded_size_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"12345")
    assert read_regular(tmp_path / "file", most_bytes=5) == b"12345"
    for path, most in ((tmp_path / "pipe", 9), (tmp_path, 9), (tmp_path / "file", 4)):
        with pytest.raises(OSError, match=r"regular|directory|larger"):
            read_regular(path, most_bytes=most)


def test_removing_takes_links_and_never_what_they_lead_to(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    remove(tmp_path / "link")
    remove(tmp_path / "not there")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
