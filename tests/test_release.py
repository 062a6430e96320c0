"""A release is what its tag, its changelog and its recipe say, and nothing is published twice."""

import hashlib
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import ModuleType

import pytest
import yaml

from unrolled.kernels.building import archiving

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "packaging"))
import index  # noqa: E402
import release  # noqa: E402
import versions  # noqa: E402

sys.path.remove(str(ROOT / "packaging"))

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CHANGES = (
    "# Changelog\n\n## 1.2.0 (2026-11-30)\n\n- It runs.\n\n## 1.1.0 (2026-10-01)\n\n- It is.\n"
)


def git(folder, *words):
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    subprocess.run(["git", "-C", folder, *who, *words], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path):
    git(tmp_path, "init", "--quiet")
    (tmp_path / "CHANGELOG.md").write_text(CHANGES, encoding="utf-8")
    (tmp_path / "CITATION.cff").write_text("version: 1.2.0\n", encoding="utf-8")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-m", "all")
    return tmp_path


def commit(folder, name, text):
    (folder / name).write_text(text, encoding="utf-8")
    git(folder, "commit", "-am", name)


def test_a_tag_with_its_section_is_released_and_its_notes_are_the_section(repository):
    git(repository, "tag", "v1.2.0")
    assert versions.released_version(repository) == "1.2.0"
    assert versions.notes_of(repository, "1.2.0") == "- It runs."


def test_a_commit_without_a_tag_is_refused(repository):
    git(repository, "tag", "best")
    with pytest.raises(versions.ReleaseError, match=r"has best: git tag -a v1\.2\.3"):
        versions.released_version(repository)


def test_a_commit_with_two_versions_is_refused(repository):
    git(repository, "tag", "v1.2.0")
    git(repository, "tag", "v1.3.0")
    with pytest.raises(versions.ReleaseError, match=r"has v1\.2\.0, v1\.3\.0: git tag -d rem"):
        versions.released_version(repository)


@pytest.mark.parametrize("name", ["CHANGELOG.md", "new.txt"])
def test_a_folder_with_changes_is_refused(repository, name):
    git(repository, "tag", "v1.2.0")
    (repository / name).write_text("other", encoding="utf-8")
    with pytest.raises(versions.ReleaseError, match=f"has changes: {name}. Commit"):
        versions.released_version(repository)


@pytest.mark.parametrize(
    ("changelog", "complaint"),
    [
        ("# Changelog\n", "it has none"),
        (CHANGES.replace("1.2.0", "1.2.1"), r"its first is of 1\.2\.1"),
        (CHANGES.replace("2026-11-30", "unreleased"), r"needs its date, and has \(unreleased\)"),
        (CHANGES.replace("2026-11-30", "2026-11-31"), r"needs its date, and has \(2026-11-31\)"),
        (CHANGES.replace(" (2026-11-30)", ""), "needs its date, and has nothing"),
        (CHANGES.replace("- It runs.", ""), "is empty"),
    ],
)
def test_a_changelog_that_does_not_tell_of_the_version_is_refused(repository, changelog, complaint):
    commit(repository, "CHANGELOG.md", changelog)
    git(repository, "tag", "v1.2.0")
    with pytest.raises(versions.ReleaseError, match=complaint):
        versions.released_version(repository)


def test_a_citation_of_another_version_is_refused(repository):
    commit(repository, "CITATION.cff", "version: 1.1.0\n")
    git(repository, "tag", "v1.2.0")
    with pytest.raises(versions.ReleaseError, match=r"CITATION.cff has version 1\.1\.0, the tag"):
        versions.released_version(repository)


def test_clones_and_archives_look_for_the_same_tags():
    archival = (ROOT / ".git_archival.txt").read_text(encoding="utf-8")
    if "$Format" not in archival:
        pytest.skip("this is a copy that git archive made")
    options = PROJECT["tool"]["hatch"]["version"]["raw-options"]
    assert f"match={options['scm']['git']['describe_command'][-1]})" in archival


def test_citation_and_changelog_of_this_repository_name_one_version():
    first = versions.sections((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))[0]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert str(citation["version"]) == first.version


def test_builds_with_other_bytes_or_of_another_version_are_refused(capsys):
    built = {"unrolled-1.2.0.tar.gz": "a", "unrolled-1.2.0-py3-none-any.whl": "b"}
    release.refuse_different(built, dict(built))
    release.refuse_other_version(built, "1.2.0")
    assert "the same bytes" in capsys.readouterr().out
    with pytest.raises(versions.ReleaseError, match=r"differ: unrolled-1\.2\.0\.tar\.gz\."):
        release.refuse_different(built, built | {"unrolled-1.2.0.tar.gz": "c"})
    with pytest.raises(versions.ReleaseError, match=r"expected unrolled-1\.3\.0-py3"):
        release.refuse_other_version(built, "1.3.0")


def test_a_release_takes_the_place_of_what_was_in_its_folder(tmp_path):
    new, dist, draft = (tmp_path / name for name in ("new", "dist", "build/dist"))
    for folder, name in ((new, "1.3.0"), (dist, "1.2.0"), (draft, "left by an interruption")):
        folder.mkdir(parents=True)
        (folder / name).write_text(name, encoding="utf-8")
    release.replace_folder(dist, new, draft=draft)
    assert [file.name for file in dist.iterdir()] == ["1.3.0"]
    assert not draft.exists()


def test_a_version_is_published_once(tmp_path):
    dist = tmp_path / "dist"
    dist.mkdir()
    for name in ("unrolled-1.2.0.tar.gz", "unrolled-1.2.0-py3-none-any.whl", "NOTES.md"):
        (dist / name).write_text(name, encoding="utf-8")
    simple = index.publish(dist, tmp_path / "index")
    page = (simple / "unrolled" / "index.html").read_text(encoding="utf-8")
    assert re.findall(r">([^<]+)</a>", page) == [
        "unrolled-1.2.0-py3-none-any.whl",
        "unrolled-1.2.0.tar.gz",
    ]
    with pytest.raises(index.IndexRefusal, match=r"has unrolled 1\.2\.0 already"):
        index.publish(dist, tmp_path / "index")
    (dist / "unrolled-1.3.0.tar.gz").write_text("", encoding="utf-8")
    with pytest.raises(index.IndexRefusal, match="one version"):
        index.publish(dist, tmp_path / "other")
    release.refuse_published("1.3.0", {"1.2.0"}, "here")
    with pytest.raises(versions.ReleaseError, match=r"here has unrolled 1\.2\.0 already"):
        release.refuse_published("1.2.0", {"1.2.0"}, "here")


@pytest.mark.parametrize("platforms", [["linux-sparc"], ["none", "linux-x86_64"]])
def test_platforms_without_wheels_are_refused(platforms):
    with pytest.raises(
        versions.ReleaseError, match=f"no wheels for {platforms[0]}; there are: lin"
    ):
        release.refuse_platforms(platforms)


def test_all_platforms_some_and_none_can_be_chosen():
    for platforms in ([], ["linux-x86_64", "linux-arm64"], ["none"]):
        release.refuse_platforms(platforms)


def test_the_bill_of_materials_names_the_version(tmp_path):
    sbom = tmp_path / "sbom.json"
    bill = {"components": [], "metadata": {"component": {"name": "unrolled"}}}
    sbom.write_text(json.dumps(bill), encoding="utf-8")
    release.name_version(sbom, "1.2.0")
    component = json.loads(sbom.read_text(encoding="utf-8"))["metadata"]["component"]
    assert component == {"name": "unrolled", "version": "1.2.0", "purl": "pkg:pypi/unrolled@1.2.0"}


def test_every_requirement_of_an_extra_has_its_licence_on_the_page():
    page = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| .* \| ([\w-]+) \| \S", page, re.MULTILINE))
    extras = PROJECT["project"]["optional-dependencies"]
    for_users = [extras[name] for name in extras if name not in ("all", "bench", "dev", "docs")]
    asked = [*PROJECT["project"]["dependencies"], *(each for extra in for_users for each in extra)]
    assert {re.match(r"[\w-]+", each)[0] for each in asked} <= listed


def test_an_index_that_is_not_there_is_refused(tmp_path):
    for address, complaint in [
        ((tmp_path / "nowhere").as_uri(), "nowhere is not a folder"),
        ("http://127.0.0.1:1/simple", "cannot be asked: .*refused"),
        ("simple", "cannot be asked: unknown url type"),
    ]:
        with pytest.raises(versions.ReleaseError, match=complaint):
            release.published_versions(address)


def test_the_versions_of_an_index_in_a_folder_are_told(tmp_path):
    dist = tmp_path / "dist"
    dist.mkdir()
    for name in ("unrolled-1.2.0.tar.gz", "unrolled-1.2.0-py3-none-any.whl"):
        (dist / name).write_text(name, encoding="utf-8")
    assert release.published_versions(tmp_path.as_uri()) == set()
    simple = index.publish(dist, tmp_path / "index")
    assert release.published_versions(simple.as_uri()) == {"1.2.0"}


@pytest.fixture
def answers():
    """What a server says to each path, and its address."""
    known = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, text = known.get(self.path, (404, ""))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        do_HEAD = do_GET

        def log_message(self, *words):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield known, f"http://127.0.0.1:{server.server_port}/simple/"
        server.shutdown()
        thread.join()


def test_the_versions_of_an_index_are_told_and_what_is_none_is_refused(answers):
    known, address = answers
    with pytest.raises(versions.ReleaseError, match="There is no index at"):
        release.published_versions(address)
    known["/simple/"] = (200, "")
    assert release.published_versions(address) == set()
    known["/simple/unrolled/"] = (200, '<a href="x">\n unrolled-1.2.0rc1.tar.gz</a> <a>1.3.0</a>')
    assert release.published_versions(address) == {"1.2.0rc1"}
    known["/simple/unrolled/"] = (200, "Please log in.")
    with pytest.raises(versions.ReleaseError, match="names no file"):
        release.published_versions(address)
    for status in (401, 403, 500, 503):
        known["/simple/unrolled/"] = (status, "")
        with pytest.raises(versions.ReleaseError, match=f"cannot be asked: .*{status}"):
            release.published_versions(address)


def plain(requirement):
    """A requirement as conda spells it: `typer>=0.29` is `typer >=0.29`, torch is pytorch."""
    name, bound = re.fullmatch(r"([\w-]+)(.*)", requirement.replace(" ", "")).groups()
    return f"{'pytorch' if name == 'torch' else name} {bound}".strip()


def test_the_conda_recipe_has_the_requirements_of_the_project():
    recipe = yaml.safe_load((ROOT / "packaging/conda/recipe.yaml").read_text(encoding="utf-8"))
    project, python = PROJECT["project"], "python " + PROJECT["project"]["requires-python"]
    core = [plain(each) for each in project["dependencies"]]
    assert recipe["requirements"]["run"] == [python, *core]
    build = [plain(each) for each in PROJECT["build-system"]["requires"]]
    assert recipe["requirements"]["host"] == [python, "pip", *build]
    (entry,) = recipe["build"]["python"]["entry_points"]
    assert entry == f"unrolled = {project['scripts']['unrolled']}"
    assert recipe["about"]["license"] == project["license"]
    assert recipe["about"]["license_file"] == project["license-files"]
    assert recipe["about"]["summary"] == project["description"]


def test_a_wheel_for_a_platform_is_the_one_for_all_and_an_archive_of_kernels(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lief", ModuleType("lief"))  # which no test needs
    monkeypatch.syspath_prepend(ROOT / "packaging")
    import wheels

    monkeypatch.setattr(archiving, "ziglang_compiler", lambda: None)
    monkeypatch.setattr(
        archiving, "_compile", lambda job: f"{job.instructions} of {job.source}".encode()
    )
    monkeypatch.setattr(wheels, "packaged_sources", lambda: ["one", "two"])
    monkeypatch.setattr(wheels, "problems_of", lambda *_: [])
    pure = tmp_path / "unrolled-1-py3-none-any.whl"
    with zipfile.ZipFile(pure, "w") as archive:
        archive.writestr("unrolled-1.dist-info/WHEEL", "Tag: py3-none-any\n")
        archive.writestr("unrolled-1.dist-info/RECORD", "")
    command = ["wheels.py", str(pure), "--for", "macos-arm64", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", command)
    wheels.main()
    (made,) = tmp_path.glob("*macosx*.whl")
    with zipfile.ZipFile(made) as wheel, wheel.open(wheels.ARCHIVE) as file:
        assert set(wheel.namelist()) > {"unrolled-1.dist-info/WHEEL", "unrolled-1.dist-info/RECORD"}
        with zipfile.ZipFile(file) as archive:
            names = {*archive.namelist()} - {"manifest.json"}
            assert names == {hashlib.sha256(archive.read(name)).hexdigest() for name in names}
    assert len(names) == 3  # and what knows the processor
