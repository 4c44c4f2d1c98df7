"""The digest of the package's code: what changes it, and what is said where it differs."""

import shutil

import pytest

from reranker_core.errors import ConfigError
from reranker_core.pipeline import code


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(code.FOLDER, tmp_path / "copy", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "copy"


def test_a_copy_is_the_same_code_and_its_other_files_do_not_matter(copy):
    (copy / "notes.txt").write_text("mine")
    (copy / "__pycache__").mkdir()
    (copy / "__pycache__" / "errors.cpython-311.pyc").write_bytes(b"compiled")
    assert code.digest(copy) == code.digest()
    code.require(code.digest(copy))


def changed(folder):
    (folder / "stopping.py").write_text((folder / "stopping.py").read_text() + "\n# later\n")


def renamed(folder):
    (folder / "stopping.py").rename(folder / "mistakes.py")


def added(folder):
    (folder / "empty.py").touch()


@pytest.mark.parametrize("change", [changed, renamed, added])
def test_other_code_is_refused_with_its_folder(copy, change):
    change(copy)
    with pytest.raises(ConfigError, match=f"from {copy} on node .*same version of batch-reranker"):
        code.require(code.digest(), code.digest(copy), str(copy))
