"""Packages of one's own: read without an import, and allowed by the caller alone."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from src.config import plugins
from src.config.checks import check_stored
from src.config.composition import plain
from src.config.plugins import find_source, load, prefixes, source_hashes
from src.config.signatures import Slot, check_kind, constant, signature
from src.data.sources import resolve
from src.errors import PluginError, SettingError
from tests.conftest import composed

LOSS = Slot("AdversarialLoss", Path(__file__).parents[2] / "src/losses/adversarial.py", False)
Write = Callable[[str, str], None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """`write("some/file.py", text)` below a folder where Python finds packages."""
    monkeypatch.syspath_prepend(tmp_path)
    known = {*sys.modules}

    def put(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    yield put
    for name in {*sys.modules} - known:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
    plugins._module.cache_clear()


def test_names(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write("whole/__init__.py", "")
    write("whole/inner/part.py", "")
    write("bare/part.py", "")  # a folder without __init__.py
    write("single.py", "")
    names = ("whole", "whole.inner", "whole.inner.part", "bare", "bare.part", "single")
    assert prefixes(names) == tuple(f"{name}." for name in names)
    assert find_source("whole").is_dir()
    assert find_source("single").name == "single.py"
    assert find_source("single.part") is None
    assert not {"whole", "bare", "single"} & {*sys.modules}
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)  # as that of a script
    for name in ("nowhere", "whole.nowhere", "sys", "__main__"):
        with pytest.raises(SettingError, match=rf"plugins={name}: Python finds no package"):
            prefixes([name])
    for name in ("./whole", "whole.", "1", "", "whole-inner", "x" * 101):
        with pytest.raises(SettingError, match="no name of a package"):
            prefixes([name])


def test_entry_points_are_loaded_if_they_are_named(write: Write) -> None:
    write("distributed_part/__init__.py", "class Part: ...")
    write("mine-1.0.dist-info/METADATA", "Name: mine\nVersion: 1.0\n")
    write("mine-1.0.dist-info/entry_points.txt", "[sparring.plugins]\nown = distributed_part\n")
    assert prefixes([]) == ()
    assert prefixes(["own"]) == ("distributed_part.",)
    assert signature("distributed_part.Part", prefixes(["own"])) == {}
    assert "distributed_part" not in sys.modules
    load(["own"])
    assert "distributed_part" in sys.modules


def test_the_working_folder_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A console script does not have it in its path; a file there must hide no package."""
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "only_here.py").touch()
    (tmp_path / "yaml.py").touch()
    assert prefixes(["only_here", "yaml"]) == ("only_here.", "yaml.")
    assert sys.path[-1] == str(tmp_path)
    assert find_source("yaml").parent.name != tmp_path.name


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("\n1 / 0", r"ZeroDivisionError: division by zero\n.*broken.py, line 2"),
        ("import nothing_like_it", r"ModuleNotFoundError: .*\n.*broken.py, line 1"),
        ("x = (", r"SyntaxError: .*\n.*broken.py, line 1"),
        ("raise KeyError", r"KeyError: no reason\n.*broken.py, line 1"),
    ],
)
def test_code_that_fails(text: str, told: str, write: Write) -> None:
    write("broken.py", text)
    with pytest.raises(SettingError, match=told) as error:
        load(["broken"])
    assert len(str(error.value).splitlines()) == 3


def test_source_that_cannot_be_read(write: Write) -> None:
    write("torn.py", "\nclass Part(:\n")
    with pytest.raises(SettingError, match=r"torn\.py, line 2: invalid syntax"):
        signature("torn.Part", ("torn.",))


STYLES = {
    "from src.losses.adversarial import AdversarialLoss": "AdversarialLoss",
    "from src.losses.adversarial import Hinge as Other": "Other",
    "from src.losses.adversarial import *": "Wasserstein",
    "from src.losses import adversarial": "adversarial.Hinge",
    "import src.losses.adversarial as losses": "losses.Hinge",
    "import src.losses.adversarial": "src.losses.adversarial.Hinge",
    "from .base import Base": "Base",
    "from . import base": "base.Base",
    "from . import base as other": "other.Base",
    "from styles.base import Base": "Base",
    "from styles import base": "base.Base",
}


def test_bases_in_all_styles_of_imports(write: Write) -> None:
    write("styles/__init__.py", "")
    write("styles/base.py", "from src.losses.adversarial import Hinge\nclass Base(Hinge): ...")
    for i, (imports, base) in enumerate(STYLES.items()):
        write(f"styles/s{i}.py", f"{imports}\nclass Part({base}): ...")
        check_kind("model.loss", f"styles.s{i}.Part", LOSS, ("styles.",))
    write("styles/wrong.py", "from src.losses.penalties import R1\nclass Part(R1): ...")
    with pytest.raises(SettingError, match="it is no AdversarialLoss"):
        check_kind("model.loss", "styles.wrong.Part", LOSS, ("styles.",))
    assert "styles" not in sys.modules


KL = """
from src.losses.adversarial import Wasserstein
class KL(Wasserstein):
    def __init__(self, shift: float = 1.0) -> None: ...
"""
OWN = ("model/loss=wasserstein", "model.loss._target_=stored_part.KL", "plugins=[stored_part]")


def test_a_command_names_them(write: Write) -> None:
    write("stored_part.py", KL)
    settings = plain(composed(*OWN, "+model.loss.shift=2"))
    assert settings["plugins"] == ["stored_part"]
    with pytest.raises(SettingError, match=r"(?s)may not be built.*plugins=\[PACKAGE\]"):
        composed(*OWN[:2])
    with pytest.raises(SettingError, match=r"shift=a must be float"):
        composed(*OWN, "+model.loss.shift=a")
    with pytest.raises(SettingError, match=r"plugins=stored_part must be list"):
        composed(*OWN[:2], "plugins=stored_part")
    assert "stored_part" not in sys.modules


def test_a_record_allows_nothing(write: Write) -> None:
    write("stored_part.py", KL)
    settings = plain(composed(*OWN))
    check_stored(settings, ["stored_part"])
    check_stored(settings, ["other", "stored_part"])
    for given in ([], ["other"]):
        with pytest.raises(PluginError, match=r"again: plugins=\[stored_part\]"):
            check_stored(settings, given)
    with pytest.raises(SettingError, match="may not be built"):  # hidden by whoever wrote it
        check_stored(settings | {"plugins": []}, ["stored_part"])
    for names in ("stored_part", [1], ["a b"], None):
        with pytest.raises(SettingError, match="no names of packages"):
            check_stored(settings | {"plugins": names}, ["stored_part"])
    callbacks = settings["callbacks"] | {"kl": {"_target_": "stored_part.KL"}}
    check_stored(settings | {"callbacks": callbacks}, ["stored_part"])
    assert "stored_part" not in sys.modules


def test_hashes_of_the_source(write: Write) -> None:
    write("hashed/__init__.py", "")
    write("hashed_alone.py", "x = 1")
    before = source_hashes(["hashed", "hashed_alone"])
    assert len({*before.values()}) == 2
    write("hashed/deep/more.py", "")
    write("hashed/data.txt", "no code")
    after = source_hashes(["hashed", "hashed_alone"])
    assert after["hashed"] != before["hashed"]
    assert after["hashed_alone"] == before["hashed_alone"]


DATA = """
from src.data.base import DataModule
class Drawn(DataModule):
    def __init__(self, name: str, kind: str, source: str, root: str, cache: str): ...
class Files(Drawn):
    needed = "b.npy or *.tar"
    looks_for = ("b.npy", "**/*.tar")
class Either(Files):
    stands_in = "drawn ones"
class Asking(Files):
    looks_for = "looking_part.no_letter"
    mirrors = "looking_part.where"
class OneText(Files):
    looks_for = "letter"
class Computed(Files):
    looks_for = tuple("ab")
"""
LOOKING = """
def no_letter(root, data):
    return None if (root / data["name"]).exists() else "no letter"
def where(name):
    return [f"http://127.0.0.1:1/{name}"]
"""


def test_data_say_what_they_look_for(write: Write, tmp_path: Path) -> None:
    write("data_part.py", DATA)
    write("looking_part.py", LOOKING)
    root = tmp_path / "root"
    own = ("data_part.", "looking_part.")

    def ask(name: str, source: str = "auto", place: object = root) -> str:
        data = {"_target_": f"data_part.{name}", "name": "letter", "kind": "images"}
        return resolve(data | {"source": source, "root": str(place)}, own)[0]

    assert ask("Drawn") == ask("Drawn", "real") == "builtin"
    assert ask("Either") == "builtin"
    with pytest.raises(SettingError, match=r"no such folder.*\nSet data\.root to b\.npy or"):
        ask("Files")
    root.mkdir()
    with pytest.raises(SettingError, match=r"no b\.npy or \*\*/\*\.tar there"):
        ask("Files")
    with pytest.raises(SettingError, match="no letter, and no mirror answered"):
        ask("Asking")
    write("root/inner/x.tar", "")
    write("root/letter", "")
    for name in ("Files", "Either", "Asking", "OneText"):
        assert ask(name) == "real"
    assert ask("Files", place=root / "inner/x.tar") == "real"
    with pytest.raises(SettingError, match=r"no b\.npy"):
        ask("Files", place=root / "letter")
    with pytest.raises(SettingError, match="nothing stands in"):
        ask("Files", "builtin")
    with pytest.raises(SettingError, match=r"line 16: Computed\.looks_for must be written out"):
        constant("data_part.Computed", "looks_for", own)
    assert "data_part" not in sys.modules


def test_every_data_set_has_some_settings(write: Write) -> None:
    write("short_part.py", DATA.replace("source: str, ", ""))
    node = {"_target_": "short_part.Drawn", "name": "a", "kind": "images", "root": "", "cache": ""}
    settings = plain(composed("model=vae")) | {"plugins": ["short_part"], "data": node}
    with pytest.raises(SettingError, match=r"data\.source is missing"):
        check_stored(settings, ["short_part"])
