"""The command line. It may import everything and nothing imports it; commands import heavy libraries lazily."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from uadbench.cli import (
    bench,
    data,
    doctor,
    download,
    import_run,
    methods,
    new,
    predict,
    results,
    run,
    score,
    show,
    show_config,
    submit,
    tune,
)
from uadbench.cli.terminal.endings import guarded
from uadbench.core.files import expanded


class _Commands(TyperGroup):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [expanded(each) for each in args])


app = typer.Typer(
    name="uadbench",
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        from uadbench import __version__

        typer.echo(f"uadbench {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """A benchmark for unsupervised anomaly detection in medical images."""


app.command("run")(run.run)
app.command("show")(show.show)
app.command("tune")(tune.tune)
app.command("list")(methods.list_names)
app.command("show-config")(show_config.show_config)
app.command("download")(download.download)
app.command("prepare")(data.prepare)
app.command("new")(new.new)
app.command("check")(methods.check)
app.command("predict")(predict.predict)
app.command("evaluate")(results.evaluate)
app.command("score")(score.score)
app.command("import")(import_run.import_run)
app.command("verify")(results.verify)
app.command("submit")(submit.submit)
app.command("bench")(bench.bench)
app.command("doctor")(doctor.doctor)
app.command("report")(results.report)


def main() -> None:
    """Runs the command line and exits: 0 done, 1 failed, 2 bad input, 130 interrupted, 143 terminated."""
    if code := guarded(app):
        sys.exit(code)
