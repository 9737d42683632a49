"""Downloads against a server on this machine: resumed, checked, refused; no address outside is contacted."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from tests.support.file_server import serving
from uadbench.core.catalog import DATASETS
from uadbench.core.errors import DataError, UserError
from uadbench.data.download.sources import Expected, RawSource, RemoteFile, choose, missing, sources_of
from uadbench.data.download.transfer import CHECKSUMS, fetch, unpack

CONTENT = bytes(range(256)) * 20_000  # 5 MB: several chunks
SHA = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
ROOT = Path(__file__).parents[2]


def quiet(done: int, total: int, what: str) -> None:
    pass


def test_a_file_is_fetched_once_and_checked(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    with serving(CONTENT) as served:
        file = RemoteFile(url=served.url, name="data.zip", checksum=SHA)
        assert "sources.yaml" in fetch(file, tmp_path, lambda done, total, _: seen.append((done, total)))
        assert (tmp_path / "data.zip").read_bytes() == CONTENT
        assert seen[-1] == (len(CONTENT), len(CONTENT))
        fetch(file, tmp_path, quiet)
        assert len(served.asked) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.zip"]


def test_a_broken_transfer_is_named_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    with serving(CONTENT) as served:
        file = RemoteFile(url=served.url, name="data.zip", checksum=SHA)
        served.stop = 3_000_000
        with pytest.raises(DataError, match="broke off") as error:
            fetch(file, tmp_path, quiet)
        assert "resume" in error.value.remedy
        assert not (tmp_path / "data.zip").exists()
        kept = (tmp_path / ".data.zip.part").stat().st_size
        assert 0 < kept <= 3_000_000
        served.stop = None
        fetch(file, tmp_path, quiet)
        assert served.asked == ["", f"bytes={kept}-"]
    assert (tmp_path / "data.zip").read_bytes() == CONTENT


@pytest.mark.parametrize("tag", ['"two"', ""])
def test_a_part_of_another_version_or_of_an_unknown_one_is_not_gone_on_with(tmp_path: Path, tag: str) -> None:
    with serving(CONTENT[::-1]) as served:
        served.tag, served.stop = ('"one"' if tag else ""), 3_000_000
        with pytest.raises(DataError, match="broke off"):
            fetch(RemoteFile(url=served.url, name="data.zip"), tmp_path, quiet)
        served.content, served.tag, served.stop = CONTENT, tag, None
        fetch(RemoteFile(url=served.url, name="data.zip", checksum=SHA), tmp_path, quiet)
    assert (tmp_path / "data.zip").read_bytes() == CONTENT


def test_a_wrong_checksum_keeps_nothing(tmp_path: Path) -> None:
    with serving(CONTENT[:-1] + b"x") as served, pytest.raises(DataError, match="does not match its checksum"):
        fetch(RemoteFile(url=served.url, name="data.zip", checksum=SHA), tmp_path, quiet)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_checksum_is_said_recorded_and_held_to(tmp_path: Path) -> None:
    with serving(CONTENT) as served:
        file = RemoteFile(url=served.url, name="data.zip")
        assert "NOT CHECKED" in fetch(file, tmp_path, quiet)
        assert json.loads((tmp_path / CHECKSUMS).read_text()) == {"data.zip": SHA}
        assert "as at the first download" in fetch(file, tmp_path, quiet)
        (tmp_path / "data.zip").unlink()
        served.content = CONTENT[::-1]
        with pytest.raises(DataError, match="does not match its checksum"):
            fetch(file, tmp_path, quiet)


def test_no_space_is_said_before_anything_is_written(tmp_path: Path) -> None:
    with serving(CONTENT) as served:
        served.announced = 10**16
        with pytest.raises(DataError, match="GB free") as error:
            fetch(RemoteFile(url=served.url, name="data.zip"), tmp_path, quiet)
    assert "another --out" in error.value.remedy
    assert not [path for path in tmp_path.iterdir() if path.stat().st_size]


def test_a_missing_page_and_a_dead_server_are_named(tmp_path: Path) -> None:
    with serving(CONTENT) as served:
        served.status = 404
        with pytest.raises(DataError, match="404"):
            fetch(RemoteFile(url=served.url, name="data.zip"), tmp_path, quiet)
    with pytest.raises(DataError, match="broke off"):
        fetch(RemoteFile(url=served.url, name="data.zip"), tmp_path, quiet)


@pytest.mark.parametrize("damage", ["truncated", "outside"])
def test_a_bad_archive_is_refused_and_leaves_the_folder_alone(tmp_path: Path, damage: str) -> None:
    archive = tmp_path / "in" / "a.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("../escaped.txt" if damage == "outside" else "fine.txt", "x" * 1000)
    if damage == "truncated":
        archive.write_bytes(archive.read_bytes()[:100])
        with pytest.raises(DataError, match="cannot be unpacked"):
            unpack(archive, archive.parent)
    else:
        unpack(archive, archive.parent)
    assert not (tmp_path / "escaped.txt").exists()


def test_shipped_sources_have_pages_licences_and_known_kinds_of_checksums() -> None:
    found = {name: sources_of(DATASETS.load(name)) for name in DATASETS.names()}
    names = {name: [source.name for source in sources] for name, sources in found.items() if sources}
    assert names["breast_us"] == ["bus-uclm", "busi", "bus-bra"]
    assert {"ixi-t2", "brats21", "brats23", "atlas", "mslub"} <= set(names["brain_mri"])
    assert {"msd", "chaos", "lits"} <= set(names["liver_ct"])
    for source in [source for sources in found.values() for source in sources]:
        assert source.page.startswith("http")
        assert source.licence
        assert source.expects
        for file in source.files:
            assert file.url.startswith("https://")
            assert file.checksum == "" or file.checksum.split(":")[0] in ("md5", "sha256")


def test_which_source_is_asked_for() -> None:
    sources = sources_of(DATASETS.load("breast_us"))
    assert choose("breast_us", sources, "busi").name == "busi"
    with pytest.raises(UserError, match="several") as error:
        choose("breast_us", sources, None)
    assert "bus-uclm, busi, bus-bra" in error.value.remedy
    with pytest.raises(UserError, match="busy"):
        choose("breast_us", sources, "busy")
    with pytest.raises(UserError, match="no source"):
        choose("folder", [], None)


def test_missing_counts_what_is_there(tmp_path: Path) -> None:
    source = RawSource(
        name="a", title="a", licence="a", page="a", steps=["do"], expects=[Expected(pattern="*.x", least=2)]
    )
    (tmp_path / "1.x").touch()
    assert missing(source, tmp_path) == ["*.x (1 of at least 2)"]
    (tmp_path / "2.x").touch()
    assert missing(source, tmp_path) == []


def _plug_in(folder: Path, url: str) -> None:
    """A dataset in a module of its own, with a source on this machine."""
    (folder / "toy_set.py").write_text(
        "from uadbench.core.catalog import DATASETS\n"
        "from uadbench.datasets.breast_us import BreastUS\n"
        "@DATASETS.register('toy')\n"
        "class Toy(BreastUS):\n"
        "    name = 'toy'\n"
    )
    entry = {
        "name": "toy",
        "title": "A toy",
        "licence": "CC BY 4.0",
        "page": "http://localhost/",
        "files": [{"url": url, "name": "toy.zip"}],
        "expects": [{"pattern": "**/INFO.csv"}],
    }
    (folder / "sources.yaml").write_text(yaml.safe_dump([entry]))


def _command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); sys.argv[1:] = {list(arguments)!r}\n"
    code += "import toy_set\nfrom uadbench.cli import main\nmain()"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder)


def test_the_command_shows_the_licence_asks_for_it_and_unpacks(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as made:
        made.writestr("deep/INFO.csv", "Image;Label\n")
    with serving(packed.getvalue(), "toy.zip") as served:
        _plug_in(tmp_path, served.url)
        out = str(tmp_path / "raw")
        refused = _command(tmp_path, "download", "toy", "--out", out)
        assert refused.returncode == 2
        assert "CC BY 4.0" in refused.stdout
        assert "--accept-licence" in refused.stderr
        assert served.asked == []
        done = _command(tmp_path, "download", "toy", "--out", out, "--accept-licence")
        assert done.returncode == 0, done.stderr
        assert "NOT CHECKED" in done.stdout
        assert "uadbench prepare toy --source" in done.stdout
        assert (tmp_path / "raw/deep/INFO.csv").is_file()


def test_steps_are_printed_and_what_was_put_there_is_checked(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "uadbench", "download", "brain_mri", "--what", "mslub", "--out", str(tmp_path)]
    before = subprocess.run(command, capture_output=True, text=True)
    assert before.returncode == 2
    assert "1. " in before.stdout
    assert "patient*_FLAIR*.nii* (0 of at least 1)" in before.stderr
    for what in ("FLAIR", "lesions"):
        (tmp_path / f"patient07_{what}_MNI.nii.gz").touch()
    after = subprocess.run(command, capture_output=True, text=True)
    assert after.returncode == 0, after.stderr
    assert "Next: uadbench prepare brain_mri" in after.stdout


def test_prepare_names_download_where_the_source_is_missing(tmp_path: Path) -> None:
    for folder in ("nowhere", "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        command = [sys.executable, "-m", "uadbench", "prepare", "liver_ct", "--source", folder, "--out", "out"]
        result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert result.returncode == 2
        assert "uadbench download liver_ct --what msd|chaos|lits" in result.stderr
