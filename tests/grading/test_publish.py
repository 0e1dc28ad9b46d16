"""Publishing, into a bare repository beside the project: one commit, one tag, nothing pushed."""

import subprocess
from pathlib import Path

import pytest

from grading.__main__ import main
from tests.grading.toy import BADGE, EXERCISE, NO_BADGE, exercise, text

SETTING = 'student-repository = ""  # none yet'
PUBLISH = ["publish", "school/toy", "--remote", "remote.git", "--clone", "clone"]
PUSH = "git -C clone push --atomic origin main v1.2.3"


def git(folder, *arguments):
    command = ["git", "-C", folder, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def project(toy, monkeypatch):
    """A project that is not published, with an empty repository `remote.git` beside it."""
    for name in (
        "GIT_AUTHOR_NAME",
        "GIT_AUTHOR_EMAIL",
        "GIT_COMMITTER_NAME",
        "GIT_COMMITTER_EMAIL",
    ):
        monkeypatch.delenv(name, raising=False)
    settings = {"user.name": "Ada", "user.email": "ada@example.org", "init.defaultBranch": "main"}
    monkeypatch.setenv("GIT_CONFIG_COUNT", str(len(settings)))
    for number, (name, value) in enumerate(settings.items()):
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{number}", name)
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{number}", value)
    toy.configure('student-repository = "school/toy"', SETTING)
    toy.write("README.md", NO_BADGE)
    toy.solve(text(f"# Toy {NO_BADGE}"), exercise(EXERCISE))
    git(toy.root, "init", "--quiet", "--bare", "remote.git")
    assert main(["release"]) == 0
    return toy


def state_of(project):
    """Returns all that publishing may write, but for the clone."""
    files = {path: path.read_bytes() for path in project.root.glob("*.*") if path.is_file()}
    files |= {path: path.read_bytes() for path in project.root.glob("notebooks/*")}
    return files, git("remote.git", "for-each-ref")


def refs(clone="clone"):
    return dict(line.split(" ") for line in git(clone, "for-each-ref", FORMAT).splitlines())


FORMAT = "--format=%(refname) %(objectname)"


def test_publishing_commits_the_bundle_and_says_what_to_push(project, capsys):
    before = git("remote.git", "for-each-ref")
    capsys.readouterr()
    assert main(PUBLISH) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[-1] == f"    {PUSH}"
    assert git("remote.git", "for-each-ref") == before  # not pushed
    assert git("clone", "status", "--porcelain") == ""

    settings = Path("pyproject.toml").read_text()
    project.configure('student-repository = "school/toy"  # none yet', SETTING)
    assert main(["release"]) == 0  # the one line is all that has changed
    assert settings == Path("pyproject.toml").read_text().replace(
        SETTING, 'student-repository = "school/toy"  # none yet'
    )
    project.write("pyproject.toml", settings)
    assert main(["release"]) == 0
    assert Path("README.md").read_text() == BADGE

    git(project.root, *PUSH.split()[1:])
    git(project.root, "clone", "--quiet", "--branch", "v1.2.3", "remote.git", "student")
    assert main(["release", "--bundle", "student", "--check"]) == 0
    assert sorted(path.name for path in Path("student").iterdir()) == [
        *(".git", "helper.py", "kit.zip", "setup.sh", "toy.ipynb")
    ]
    assert git("student", "log", "--format=%an %s") == "Ada v1.2.3"


def test_the_next_version_follows_and_what_is_gone_goes(project, capsys):
    assert main(PUBLISH) == 0
    git(project.root, *PUSH.split()[1:])
    project.configure('version = "1.2.3"', 'version = "1.3"')
    project.configure('"helper.py", ', "")
    assert main(PUBLISH) == 0
    assert git("clone", "log", "--format=%s") == "v1.3\nv1.2.3"
    assert "helper.py" not in git("clone", "ls-files")
    assert "v1.3" in Path("README.md").read_text()
    assert capsys.readouterr().out.endswith("push --atomic origin main v1.3\n")


def test_publishing_again_changes_nothing(project, capsys):
    assert main(PUBLISH) == 0
    before = refs(), state_of(project)
    capsys.readouterr()
    assert main(PUBLISH) == 0
    assert (refs(), state_of(project)) == before
    said = capsys.readouterr().out
    assert said.startswith("\nNothing has changed: v1.2.3 in clone is this bundle already.\n")
    assert said.splitlines()[-1] == f"    {PUSH}"


def test_a_new_clone_of_what_others_have_pushed(project):
    """Commits of others are kept, and their files are gone from the bundle's tree."""
    git(project.root, "clone", "--quiet", "remote.git", "other")
    (project.root / "other" / "README.md").write_text("made by GitHub")
    git("other", "add", ".")
    git("other", "commit", "--message", "Initial commit")
    git("other", "push", "--quiet", "origin", "HEAD")
    assert main(PUBLISH) == 0
    assert git("clone", "log", "--format=%s") == "v1.2.3\nInitial commit"
    assert "README.md" not in git("clone", "ls-files")


def test_an_old_clone_is_brought_up_to_date(project):
    git(project.root, "clone", "--quiet", "remote.git", "clone")
    test_a_new_clone_of_what_others_have_pushed(project)


# What goes wrong changes nothing


def tag_another(project):
    assert main(PUBLISH) == 0
    project.write("helper.py", "changed = 1\n")
    assert main(["release"]) == 0


def make_dirty(project):
    git(project.root, "clone", "--quiet", "remote.git", "clone")
    project.write("clone/mine.txt", "x")


def clone_another(project):
    git(project.root, "init", "--quiet", "--bare", "another.git")
    git(project.root, "clone", "--quiet", "another.git", "clone")


def diverge(project):
    assert main(PUBLISH) == 0
    git(project.root, "clone", "--quiet", "remote.git", "other")
    git("other", "commit", "--allow-empty", "--message", "theirs")
    git("other", "push", "--quiet", "origin", "HEAD")


def leak(project):
    project.write("helper.py", "y = x.mean() * weight\n")


def leak_in_history(project):
    git(project.root, "clone", "--quiet", "remote.git", "other")
    project.write("other/old.py", "y = x.mean() * weight\n")
    git("other", "add", ".")
    git("other", "commit", "--message", "oops")
    git("other", "rm", "--quiet", "old.py")
    git("other", "commit", "--message", "away with it")
    git("other", "push", "--quiet", "origin", "HEAD")


FAILURES = {
    "bad name": (["publish", "https://github.com/school/toy"], None, 2, "expected owner/name"),
    "no name": (["publish", "toy"], None, 2, "the repository is 'toy', expected owner/name"),
    "no remote": (
        [*PUBLISH[:2], "--remote", "none.git", "--clone", "clone"],
        None,
        2,
        "none.git cannot be cloned. Does it exist, and may you read it?",
    ),
    "no clone": ([*PUBLISH[:4], "--clone", "notebooks"], None, 2, "notebooks is no clone of"),
    "tag exists": (PUBLISH, tag_another, 2, "count up `version` in pyproject.toml"),
    "dirty": (PUBLISH, make_dirty, 2, "clone has changes that are in no commit"),
    "another clone": (PUBLISH, clone_another, 2, "another.git, not of"),
    "diverged": (PUBLISH, diverge, 2, "push or remove them"),
    "leak": (PUBLISH, leak, 1, "helper.py, line 1: gives away"),
    "leak in history": (PUBLISH, leak_in_history, 1, "clone, history: old.py ("),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_what_goes_wrong_is_said_and_nothing_is_half_done(project, capsys, kind):
    command, prepare, code, message = FAILURES[kind]
    if prepare:
        prepare(project)
    had_clone = Path("clone").exists()
    before = state_of(project), refs() if had_clone else {}
    capsys.readouterr()
    assert main(command) == code
    streams = capsys.readouterr()
    assert message in streams.err
    assert streams.out == ""
    after = refs() if Path("clone").exists() else {}
    # What others have pushed may have been fetched, and that is all.
    ours = {name: commit for name, commit in after.items() if "refs/remotes" not in name}
    assert state_of(project) == before[0]
    if had_clone:
        assert ours == {name: c for name, c in before[1].items() if "refs/remotes" not in name}
    else:
        assert not any(name.startswith(("refs/tags", "refs/publish")) for name in ours)


def test_without_git_that_is_said(project, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(project.root))
    assert main(PUBLISH) == 2
    assert "git is needed, and is not installed" in capsys.readouterr().err


def test_without_a_committer_git_is_quoted_and_nothing_is_left(project, capsys, monkeypatch):
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "user.useConfigOnly")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "true")
    for name in ("HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(project.root))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    before = state_of(project)
    assert main(PUBLISH) == 2
    assert "user.email" in capsys.readouterr().err
    assert state_of(project) == before
    assert refs() == {}


def test_a_setting_that_cannot_be_found_is_said(project, capsys):
    project.configure(SETTING, 'student-repository = """"""')
    assert main(PUBLISH) == 2
    assert "should set student-repository in one line of its own" in capsys.readouterr().err
