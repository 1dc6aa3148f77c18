"""Finding specs and data: by path, or by name among those at hand."""

from pathlib import Path

from reanalysis.nearest import nearest
from reanalysis.spec import Reanalysis, SpecError
from reanalysis.spec_file import identifier, load_reanalysis, parse_reanalysis, toml_string

__all__ = ["data_at_hand", "data_path", "homes", "load_source", "specs_at_hand"]


def homes() -> list[Path]:
    """Return the folders whose ``models/`` and ``data/`` are at hand.

    Returns
    -------
    list of pathlib.Path
        The current folder, then the cases that come with the package.
    """
    package = Path(__file__).resolve().parent
    bundled = package / "bundled"
    checkout = package.parents[1]
    own = bundled if bundled.is_dir() else checkout
    return list(dict.fromkeys([Path.cwd(), own]))


def specs_at_hand() -> dict[str, Path]:
    """Return the specs in the ``models/`` folders at hand, by name."""
    found: dict[str, Path] = {}
    for home in homes():
        for path in sorted((home / "models").glob("*.toml")):
            found.setdefault(path.stem, path)
    return found


def data_at_hand() -> dict[str, Path]:
    """Return the data folders in the ``data/`` folders at hand, by name."""
    found: dict[str, Path] = {}
    for home in homes():
        for path in sorted((home / "data").glob("*/datapackage.json")):
            found.setdefault(path.parent.name, path.parent)
    return found


def load_source(source: str | Path) -> Reanalysis:
    """Load a spec from whatever names it.

    Parameters
    ----------
    source : str or pathlib.Path
        A TOML file, a CSV file, a data folder, or the name of a spec or data set at hand.

    Returns
    -------
    Reanalysis
        The spec; bare data get one with only their path, so the default models apply.

    Raises
    ------
    SpecError
        If there is nothing of that name, or the spec is faulty.
    OSError
        If the file cannot be read.
    """
    path = Path(source)
    if not path.exists():
        known = {**data_at_hand(), **specs_at_hand()}
        if str(source) not in known:
            near = nearest(str(source), known)
            hint = f" Did you mean '{near}'?" if near else ""
            raise SpecError(
                [
                    f"{source}: no such file, and no spec or data set of that name.{hint} "
                    f"At hand: {', '.join(known) or 'none'}."
                ]
            )
        path = known[str(source)]
    if path.is_dir() and not (path / "datapackage.json").is_file():
        raise SpecError(
            [f"{path}: a folder without datapackage.json; name a spec (.toml) or a table (.csv)."]
        )
    if path.suffix.lower() == ".toml":
        return load_reanalysis(path)
    return _bare_spec(path.resolve() if path.is_dir() else path)


def _bare_spec(path: Path) -> Reanalysis:
    """Return the spec of a table without one; written out, so that it can be archived."""
    text = f"title = {toml_string(path.stem.replace('_', ' '))}\n\n"
    text += f"[data]\npath = {toml_string(path.name)}\n"
    return parse_reanalysis(text, name=identifier(path.stem), path=path)


def data_path(spec: Reanalysis, *, allow_outside: bool = False) -> Path:
    """Return the path of a spec's data.

    Parameters
    ----------
    spec : Reanalysis
        The spec; its paths start in its own folder.
    allow_outside : bool
        Whether the data may lie outside the project.

    Returns
    -------
    pathlib.Path
        The data folder or file.

    Raises
    ------
    SpecError
        If the path leaves the project: the spec's folder, or its parent where that holds
        ``data/``. A spec from somebody else must not read other files.
    """
    if "\0" in spec.data.path:
        raise SpecError([f"{spec.path or spec.name}: [data]: 'path' holds a NUL character."])
    if spec.path == spec.folder / spec.data.path:
        return spec.path  # the table itself was named on the command line, not by a spec
    folder = spec.folder.resolve()
    path = folder / spec.data.path
    parent = folder.parent
    allowed = [folder] + ([parent] if (parent / "data").is_dir() else [])
    inside = any(path.resolve().is_relative_to(home) for home in allowed)
    if not inside and not allow_outside:
        raise SpecError(
            [
                f"{spec.path or spec.name}: [data]: 'path' is '{spec.data.path}', which lies "
                f"outside {allowed[-1]}; move the data there, or pass --allow-outside."
            ]
        )
    return spec.folder / spec.data.path
