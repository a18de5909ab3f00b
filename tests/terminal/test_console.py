"""Standard output away from a terminal."""

from rich.table import Table

from vaebalance.terminal.console import make_console, say


def test_a_table_in_a_pipe_has_its_whole_width_and_markup_is_text(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    table = Table("x" * 50, "[1] :smile:")
    make_console().print(table)
    shown = capsys.readouterr().out
    assert "x" * 50 in shown
    assert "[1] :smile:" in shown


def test_a_paragraph_is_one_line_at_any_width(capsys):
    text = "negative ELBO " * 30 + "[bold]"
    say(make_console(), text)
    assert capsys.readouterr().out == f"{text}\n"
