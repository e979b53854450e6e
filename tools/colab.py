"""Run every chapter as Colab would, on this machine.

    python -m tools.colab                   all chapters
    python -m tools.colab CHAPTER.ipynb...  these

Colab's Python and its versions of what the chapters import (.ci/colab-requirements.txt)
are installed once into _build/colab, about 5 GB. Each run begins with an empty
environment on top of it. There ``.ci/colab`` runs the chapters, each a lone file in an
empty folder. Their set-up cell installs the library as it does for a reader, by pip from
the repository's public address; that address leads here to a copy of the working tree
(without files that git does not know), and so does the address of the records.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.bookfiles import ROOT, Address, address
from tools.render import BUILD

PYTHON = "python3.13"
REQUIREMENTS = ROOT / ".ci" / "colab-requirements.txt"
# Python reads this file at its start. Records are fetched with urlopen.
REDIRECT = """\
import urllib.request

_open = urllib.request.urlopen


def _redirected(url, *rest, **options):
    if isinstance(url, str) and url.startswith({public!r}):
        url = {local!r} + url.removeprefix({public!r})
    return _open(url, *rest, **options)


urllib.request.urlopen = _redirected
"""


def git(*words: str | Path) -> str:
    """What git answers in this repository."""
    done = subprocess.run(["git", *words], cwd=ROOT, check=True, stdout=subprocess.PIPE)
    return done.stdout.decode().strip()


def site_packages(environment: Path) -> Path:
    """Where a virtual environment keeps its packages."""
    return next((environment / "lib").glob("python3.*/site-packages"))


def make_base(python: str, base: Path) -> None:
    """Install Colab's versions, if that has not been done for this list of them."""
    wanted, stored = REQUIREMENTS.read_text(), base / "requirements.txt"
    if stored.is_file() and stored.read_text() == wanted:
        return
    shutil.rmtree(base, ignore_errors=True)
    print(f"Installing Colab's versions into {base.relative_to(ROOT)} ...", flush=True)
    subprocess.run([python, "-m", "venv", base], check=True)
    pip: list[str | Path] = [base / "bin" / "python", "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "-r", REQUIREMENTS], check=True)
    stored.write_text(wanted)


def make_fresh(base: Path, folder: Path) -> Path:
    """An environment that has what `base` has; what is installed there stays there."""
    subprocess.run([base / "bin" / "python", "-m", "venv", folder], check=True)
    (site_packages(folder) / "colab.pth").write_text(f"{site_packages(base)}\n")
    return folder


def mirror(home: Address, folder: Path) -> dict[str, str]:
    """Copy the repository as it is; the variables that lead git to the copy."""
    someone = ("-c", "user.name=nobody", "-c", "user.email=nobody@localhost")
    commit = git(*someone, "stash", "create") or git("rev-parse", "HEAD")
    kind = "tags" if home.released else "heads"
    git("init", "--quiet", "--bare", folder)
    git("-C", folder, "config", "receive.shallowUpdate", "true")  # from a shallow clone
    git("push", "--quiet", folder, f"{commit}:refs/{kind}/{home.ref}")
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{folder.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": home.repository,
    }


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A file server that does not write on the terminal."""

    def log_message(self, format: str, *words: object) -> None:
        """Say nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine; its address."""
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def redirect(environment: Path, home: Address, local: str) -> None:
    """Have this environment's Python fetch the published files from `local`."""
    public = f"https://raw.githubusercontent.com/{home.slug}/{home.ref}"
    text = REDIRECT.format(public=public, local=local)
    (site_packages(environment) / "sitecustomize.py").write_text(text)


def check(chapters: list[Path], python: str = PYTHON) -> int:
    """Make the environment and run ``.ci/colab`` in it; its exit status."""
    found = shutil.which(python)
    # a shim of a version manager is found although it may lead nowhere
    if found is None or subprocess.run([found, "-c", ""], check=False).returncode:
        print(
            f"error: Colab has {PYTHON}; {python} is not here or does not start. Name "
            "another: python -m tools.colab --python PATH",
            file=sys.stderr,
        )
        return 2
    base, home = BUILD / "colab", address()
    make_base(found, base)
    with tempfile.TemporaryDirectory() as name, served(ROOT) as local:
        folder = Path(name)
        fresh = make_fresh(base, folder / "environment")
        redirect(fresh, home, local)
        environment = {
            **os.environ,
            **mirror(home, folder / "repository"),
            "PATH": f"{fresh / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "JUPYTER_DATA_DIR": str(folder / "jupyter"),  # no kernel of the user's own
            "TMPDIR": str(folder),
        }
        environment.pop("PYTHONPATH", None)
        command = [ROOT / ".ci" / "colab", *(path.resolve() for path in chapters)]
        return subprocess.run(command, env=environment, check=False).returncode


def main(arguments: list[str] | None = None) -> int:
    """The command line; see the head of this file."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.colab",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--python", default=PYTHON, help=f"default: {PYTHON}")
    parser.add_argument("chapters", nargs="*", type=Path, metavar="CHAPTER")
    options = parser.parse_args(arguments)
    return check(options.chapters, options.python)


if __name__ == "__main__":
    sys.exit(main())
