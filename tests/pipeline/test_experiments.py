"""`dvc exp run` with real DVC: every knob by -S, copies log into the one store."""

import json

from project import Project, stages_run


def test_two_experiments_and_their_table(project: Project):
    """The second needs no new preparation."""
    command = ("dvc", "exp", "run", "--name")
    first = project.run(*command, "four", "-S", "balance.beta=4", "evaluate")
    assert stages_run(first) == ["prepare", "train", "evaluate"]
    second = project.run(*command, "half", "-S", "balance.beta=0.5", "evaluate")
    assert stages_run(second) == ["train", "evaluate"]
    table = json.loads(project.run("dvc", "exp", "show", "--json"))
    names = {e["name"] for row in table for e in (row.get("experiments") or [])}
    assert {"four", "half"} <= names
    difference = json.loads(project.run("dvc", "metrics", "diff", "--json", "four", "half"))
    rate = difference["metrics/evaluation.json"]["test.rate"]
    assert rate["new"] > rate["old"]  # a lower β buys rate


def test_a_copy_runs_its_own_code_and_logs_into_the_same_store(project: Project):
    """Imports come from the copy's src, not from wherever the package is installed."""
    runs = project.count("runs")
    elbo = project.root / "src" / "vaebalance" / "elbo.py"
    elbo.write_text(elbo.read_text(encoding="utf-8") + '\nprint("code of", __file__)\n')
    command = ("dvc", "exp", "run", "--temp", "--name", "copy")
    output = project.run(*command, "-S", "balance.beta=2", "train")
    assert "train" in stages_run(output)
    assert "/.dvc/tmp/exps/" in output.partition("code of")[2].splitlines()[0]
    project.run("git", "checkout", "--quiet", "src")
    assert project.count("runs") == runs + 1
    tags = project.tracked("SELECT value FROM tags WHERE key = 'DVC_EXP_NAME'")
    assert ("copy",) in tags
    assert not list(project.root.glob(".dvc/tmp/exps/**/mlflow.db"))


def test_every_knob_can_be_set(project: Project):
    """Each key of params.yaml is accepted by -S with its own value, and kept.

    (tune.space, whose keys are paths, as a whole.)
    """
    from ruamel.yaml import YAML

    def leaves(values, path=""):
        for name, value in values.items():
            if isinstance(value, dict) and not any("." in key for key in value):
                yield from leaves(value, f"{path}{name}.")
            else:
                yield f"{path}{name}", value

    def in_words(value):
        """As -S reads it, whose keys are without quotes."""
        if isinstance(value, dict):
            return "{" + ", ".join(f"{key}: {in_words(v)}" for key, v in value.items()) + "}"
        return json.dumps(value)

    raw = YAML(typ="safe").load((project.root / "params.yaml").read_text(encoding="utf-8"))
    settings = [f"{key}={in_words(value)}" for key, value in leaves(raw)]
    arguments = [part for setting in settings for part in ("-S", setting)]
    project.run("dvc", "exp", "run", "--name", "all", *arguments, "prepare")
    after = YAML(typ="safe").load((project.root / "params.yaml").read_text(encoding="utf-8"))
    assert after == raw
