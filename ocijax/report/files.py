"""A report on disk: the same tables as Markdown, CSV, LaTeX and in a page."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from ocijax.errors import InputError
from ocijax.report.contents import tables
from ocijax.report.page import to_html
from ocijax.report.plots import plots
from ocijax.report.runs import Run
from ocijax.report.tables import to_csv, to_latex, to_markdown
from ocijax.whole_file import whole_file


def write_report(
    runs: Sequence[Run], folder: Path, *, title: str = "Evaluation report", ks: Sequence[int] = ()
) -> list[Path]:
    """Writes ``report.md``, ``report.csv``, ``report.tex`` and ``report.html``.

    Args:
      runs: what it is about; see `ocijax.report.runs.find_runs`.
      folder: made where absent; files of these names in it are replaced.
      title: of Markdown and page.
      ks: of pass@k.

    Returns:
      The files.

    Raises:
      InputError: a file cannot be written; it is as it was before.
    """
    made = tables(runs, ks)
    texts = {
        "report.md": [to_markdown(made, title)],
        "report.csv": [to_csv(made)],
        "report.tex": [to_latex(made)],
        "report.html": to_html(title, runs, made, plots(runs)),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--output={folder}: cannot make it: {error.strerror}") from error
    return [_write(folder / name, parts) for name, parts in texts.items()]


def _write(path: Path, parts: Iterable[str]) -> Path:
    # Names of folders may hold bytes that are no text.
    with whole_file(path, errors="backslashreplace", newline="") as file:
        file.writelines(parts)
    return path
