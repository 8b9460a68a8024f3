"""Reads conf/: several environments together, and no file with faults.

All faults are found before Kedro reads a file, each with its file and line.
"""

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from kedro.config import MissingConfigException, OmegaConfigLoader

from srlm_kedro.display.safe_text import one_line
from srlm_kedro.errors import InputError, summary
from srlm_kedro.params import environments
from srlm_kedro.running.joined_environments import order_faults, read_environment

_PARSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_READ = ("catalog", "parameters", "globals", "credentials", "mlflow", "expectations")
"""A run reads the files whose names, or the names of whose folders, begin with one of these."""
_OF_THE_MACHINE = "mlflow"
"""Files that begin so are read from conf/local with every environment."""
_ENDINGS = (".yml", ".yaml", ".json")
_LONGEST = 200
"""How many characters a message quotes."""


class CheckedConfigLoader(OmegaConfigLoader):
    """Kedro's config loader, which refuses broken files of its environments when it is made."""

    def __init__(
        self,
        conf_source: str,
        env: str | None = None,
        runtime_params: dict[str, Any] | None = None,
        *,
        base_env: str | None = None,
        default_run_env: str | None = None,
        **options: Any,
    ) -> None:
        """Checks the files first: Kedro's own constructor already reads one of them.

        Raises:
            InputError: Files cannot be read; all of them, each with its line and the reason. Or of
                several environments a later one takes back what an earlier one changes.
        """
        files = _all_files(Path(conf_source), base_env, env, default_run_env)
        faults = _unknown(Path(conf_source), env)
        if faults := faults + [fault for file in files for fault in file_faults(file)]:
            raise InputError(summary("The configuration cannot be read:", faults))
        folders = [Path(conf_source) / name for name in environments(env)]
        joined = [read_environment(folder, _files(folder)) for folder in folders]
        if faults := order_faults(joined):
            raise InputError(summary("Refused before any work:", faults))
        options |= {"base_env": base_env, "default_run_env": default_run_env}
        super().__init__(conf_source, env, runtime_params, **options)

    def __getitem__(self, key: str) -> dict[str, Any]:
        """The configuration of one kind. Of `--env=a+b`, b overrides a, and a conf/base."""
        names = environments(self.env)
        if len(names) < 2 or key in self:
            return super().__getitem__(key)
        found = self._read(key, str(self.base_env), names[0])
        for name in names[1:]:
            found = self._merge_configs(found, self._read(key, name, name), key, name)
        return found

    def _read(self, key: str, base: str, env: str) -> dict[str, Any]:
        """The files of one kind in `base` and `env`; empty if there are none."""
        before = self.base_env, self.env
        self.base_env, self.env = base, env
        try:
            return super().__getitem__(key)
        except MissingConfigException:
            return {}
        finally:
            self.base_env, self.env = before


def file_faults(path: Path) -> list[str]:
    """What is wrong with a file of conf/, one line each: the file, its line, the rule, what to do.

    No message quotes a file of credentials.
    """
    secret = path.name.startswith("credentials")
    content = path.read_bytes()
    try:
        text = content.decode("utf-8")
        node = yaml.compose(text, Loader=_PARSER)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return [f"{path}, line {line}: is not UTF-8. Save the file as UTF-8"]
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        return [f"{path}, line {line}: holds a character that YAML forbids. Remove it"]
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        why = "" if secret else f" ({one_line(str(error.problem), _LONGEST)})"
        return [f"{path}, line {line}: is not YAML{why}. Correct this line or the one before"]
    if node is None:
        return []
    if not isinstance(node, yaml.MappingNode):
        return [f"{path}, {_line(node)}: holds {_kind(node)} instead of lines `name: value`"]
    faults = [
        f"{path}, {_line(key)}: {'a name' if secret else f'`{key.value}`'} occurs a second time. "
        "Remove one of them"
        for key in _repeated(node)
    ]
    return faults + (_entry_faults(path, node) if path.name.startswith("catalog") else [])


def _unknown(conf: Path, env: str | None) -> list[str]:
    """Environments that conf/ does not have, one line each; none if conf/ is not a local folder."""
    if not conf.is_dir():
        return []
    known = sorted(one.name for one in conf.iterdir() if one.is_dir())
    return [
        f"--env: {conf} has no environment {name!r}{_meant(name, known)}"
        for name in environments(env)
        if name not in known
    ]


def _meant(name: str, known: list[str]) -> str:
    if close := get_close_matches(name, known, n=1):
        return f"; did you mean `{close[0]}`?"
    listed = ", ".join(known)
    return f" (it has {listed}). Join several by a plus sign: `--env=smollm+shuffled_rewards`"


def _all_files(conf: Path, base: str | None, env: str | None, local: str | None) -> list[Path]:
    """The files that a run in an environment reads; none if conf/ is an archive or not local."""
    folders = dict.fromkeys(name for name in (base, *(environments(env) or [local])) if name)
    files = [file for name in folders for file in _files(conf / name)]
    if local and local not in folders:
        files += [one for one in _files(conf / local) if one.name.startswith(_OF_THE_MACHINE)]
    return files


def _files(folder: Path) -> list[Path]:
    """The files of an environment that a run reads."""
    found = []
    for file in sorted(folder.rglob("*")):
        parts = file.relative_to(folder).parts
        if file.suffix in _ENDINGS and file.is_file() and not parts[0].startswith("."):
            found += [file] if any(part.startswith(_READ) for part in parts) else []
    return found


def _entry_faults(path: Path, catalog: yaml.MappingNode) -> list[str]:
    """Entries of a catalog that are no mapping or have no type."""
    faults = []
    for key, value in catalog.value:
        name = str(key.value)
        text = value.value if isinstance(value, yaml.ScalarNode) else ""
        if name.startswith("_") or text.startswith("${"):
            continue
        where = f"{path}, {_line(key)}: the catalog's entry `{one_line(name, _LONGEST)}`"
        if not isinstance(value, yaml.MappingNode):
            faults.append(
                f"{where} is {_kind(value)}. Write its `type: ...` and options on lines of their "
                "own, indented"
            )
        elif not {"type", "<<"} & {str(one.value) for one, _ in value.value}:
            faults.append(
                f"{where} has no `type`. An entry replaces the one of conf/base completely: copy "
                "all of that entry, and change the copy"
            )
    return faults


def _repeated(node: yaml.Node) -> Iterator[yaml.Node]:
    """Names that occur twice in one mapping, at any depth."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    yield key
                seen.add(key.value)
            yield from _repeated(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _repeated(item)


def _line(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}"


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    return "a single value" if node.value else "empty"
