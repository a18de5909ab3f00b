"""Knobs of params.yaml change, and nothing else of it."""

import difflib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from vaebalance.balancing import Fixed
from vaebalance.base.errors import UserError
from vaebalance.settings.params_file import edit_knob, edit_section, rewrite
from vaebalance.vae.likelihoods import Gaussian, Laplace

REAL = (Path(__file__).parents[2] / "params.yaml").read_text("utf-8")


def read(text):
    return YAML(typ="safe").load(text)


def line_of(text, start):
    return next(line for line in text.splitlines() if line.startswith(start))


def changed(before, after):
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
    return [line for line in lines if not line.startswith(("---", "+++", "@@"))]


def columns(text):
    """Where the comments stand."""
    return [line.find(" #") for line in text.splitlines() if ":" in line]


@pytest.mark.parametrize(
    ("knob", "number", "line"),
    [
        ("balance.beta", 0.4128, "  beta: 0.4128              #"),
        ("balance.beta", 20.0, "  beta: 20.0                #"),
        ("balance.beta", 1e-5, "  beta: 1.0e-05             #"),
        ("balance.alpha", 12340.0, "  alpha: 12340.0            #"),
        ("model.latent_size", 12, "  latent_size: 12           #"),
        ("train.patience", None, "  patience: null            #"),
        ("train.device", "cpu", "  device: cpu               #"),
        ("train.learning_rate", 0.25, "  learning_rate: 0.25       #"),
    ],
)
def test_only_that_line_of_the_real_file_changes(knob, number, line):
    after = edit_knob(REAL, knob, number)
    old, new = changed(REAL, after)
    assert new.startswith(f"+{line}")
    assert new.partition("#")[2] == old.partition("#")[2]
    assert columns(after) == columns(REAL)


@given(number=st.floats(1e-12, 1e12))
def test_the_number_comes_back_to_the_last_bit(number):
    after = edit_knob(REAL, "balance.beta", number)
    assert read(after)["balance"]["beta"] == number


@pytest.mark.parametrize("word", ["null", "yes", "1e3", "two words", "a: b", "# no", ""])
def test_a_word_that_reads_as_something_else_is_quoted(word):
    assert read(edit_knob("a:\n  b: x\n", "a.b", word)) == {"a": {"b": word}}


def test_a_number_longer_than_the_room_keeps_its_comment():
    after = edit_knob("b:\n  beta: 1.0 # weight\n", "b.beta", 0.123456789012)
    assert after == "b:\n  beta: 0.123456789012 # weight\n"


def test_the_same_number_changes_nothing():
    assert edit_knob(REAL, "balance.beta", 1.0) == REAL


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("b: {kind: fixed, beta: 1.0, alpha: 1}\n", "b: {kind: fixed, beta: 0.5, alpha: 1}\n"),
        ("b:\r\n  beta: 1.0\r\nseed: 0\r\n", "b:\r\n  beta: 0.5\r\nseed: 0\r\n"),
        ("b:\n  beta:   1   \nseed: 0", "b:\n  beta:   0.5   \nseed: 0"),
        ("# β\nb:\n  beta: 1\n", "# β\nb:\n  beta: 0.5\n"),
        ("b:\n  'beta': 1\n", "b:\n  'beta': 0.5\n"),
        ("b:\n  beta: 1e0  # x\n", "b:\n  beta: 0.5  # x\n"),
        ("\ufeffb:\n  beta: 1 # x\n", "\ufeffb:\n  beta: 0.5 # x\n"),
        ("%YAML 1.2\n---\nb:\n  beta: 1\n...\n", "%YAML 1.2\n---\nb:\n  beta: 0.5\n...\n"),
        ("b:\n  x: |\n    y\n  beta: 1\nz: 😀\n", "b:\n  x: |\n    y\n  beta: 0.5\nz: 😀\n"),
        (f"x: {'word ' * 60}\nb: {{beta: 1}}\n", f"x: {'word ' * 60}\nb: {{beta: 0.5}}\n"),
        ("b:\n  <<: {a: 1}\n  beta: 1\n", "b:\n  <<: {a: 1}\n  beta: 0.5\n"),
    ],
)
def test_other_ways_to_write_it(before, after):
    assert edit_knob(before, "b.beta", 0.5) == after


def test_an_alias_is_not_edited_behind_the_back_of_its_others():
    text = "a: &w 1.0\nb:\n  beta: *w\n"
    with pytest.raises(UserError, match=r"b\.beta cannot be changed without.*by hand: 0\.5"):
        edit_knob(text, "b.beta", 0.5)


def test_a_knob_left_to_its_default_is_asked_for():
    with pytest.raises(UserError, match=r"params\.yaml does not contain balance\.beta.*: 0\.5"):
        edit_knob("balance: {kind: fixed}\n", "balance.beta", 0.5)


GAUSSIAN = {"kind": "gaussian", "sigma": 0.0627}
FIXED = {"kind": "fixed", "alpha": 1.0, "beta": 2.5}


def test_another_likelihood_in_the_real_file():
    after = edit_section(REAL, "likelihood", GAUSSIAN, {"sigma": "of a pixel"})
    lines = changed(REAL, after)
    assert [line[0] for line in lines] == ["-", "+", "+"]
    old, new, sigma = lines
    assert new.startswith("+  kind: gaussian            #")
    assert new.partition("#")[2] == old.partition("#")[2]
    assert sigma == "+  sigma: 0.0627             # of a pixel"
    assert read(after)["likelihood"] == GAUSSIAN
    assert columns(after)[0] == columns(REAL)[0]


def test_there_and_back_in_the_real_file():
    after = edit_section(REAL, "likelihood", GAUSSIAN, {"sigma": "of a pixel"})
    assert edit_section(after, "likelihood", {"kind": "bernoulli"}) == REAL


def test_a_section_that_is_so_already_stays():
    assert edit_section(REAL, "likelihood", read(REAL)["likelihood"]) == REAL


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (  # a knob goes, with the lines that continue its comment; others keep theirs
            "balance: # α, β\n"
            "  # before\n"
            "  kind: warm_up  # a\n"
            "                 # b\n"
            "  steps: 10      # c\n"
            "                 # d\n"
            "  alpha: 1.0     # e\n"
            "  # after\n"
            "  beta: 1.0      # f\n"
            "\n"
            "seed: 0\n",
            "balance: # α, β\n"
            "  # before\n"
            "  kind: fixed    # a\n"
            "                 # b\n"
            "  alpha: 1.0     # e\n"
            "  # after\n"
            "  beta: 2.5      # f\n"
            "\n"
            "seed: 0\n",
        ),
        (  # new knobs come last, behind the lines that continue the last one's comment
            "balance:\n    kind: geco   # a\n                 # b\n    target: {rmse: 3, of: [1,\n"
            "      2]}   # gone\nseed: 0\n",
            "balance:\n    kind: fixed  # a\n                 # b\n    alpha: 1.0   # weight\n"
            "    beta: 2.5\nseed: 0\n",
        ),
        (
            "balance:\n  kind: geco\n  target:\n    rmse: 3\n    # of it\n\nseed: 0",
            "balance:\n  kind: fixed\n  alpha: 1.0 # weight\n  beta: 2.5\n    # of it\n\nseed: 0",
        ),
        ("balance:\n  kind: fixed", "balance:\n  kind: fixed\n  alpha: 1.0 # weight\n  beta: 2.5"),
        (
            "balance:\r\n  kind: geco\r\nseed: 0\r\n",
            "balance:\r\n  kind: fixed\r\n  alpha: 1.0 # weight\r\n  beta: 2.5\r\nseed: 0\r\n",
        ),
        (
            "balance: {kind: geco}             # a\nseed: 0\n",
            "balance: {kind: fixed, alpha: 1.0, beta: 2.5} # a\nseed: 0\n",
        ),
        (
            "balance: { kind: fixed,  alpha: 1.0, beta: 1 } # a\n",
            "balance: { kind: fixed,  alpha: 1.0, beta: 2.5 } # a\n",
        ),
        (
            "balance:\n  'kind': \"geco\"  # a\n  alpha: null\n  beta: 2.5\n",
            "balance:\n  'kind': fixed   # a\n  alpha: 1.0\n  beta: 2.5\n",
        ),
    ],
)
def test_a_section_however_it_is_written(before, after):
    assert read(after)["balance"] == FIXED
    edited = edit_section(before, "balance", FIXED, {"alpha": "weight"})
    assert read(edited)["balance"] == FIXED
    assert edited == after


@given(
    before=st.fixed_dictionaries({"kind": st.sampled_from("ab")}, optional={"x": st.floats(1, 9)}),
    after=st.fixed_dictionaries(
        {"kind": st.sampled_from("ab")},
        optional={"x": st.floats(1e-9, 1e9), "y": st.floats(1e-9, 1e9)},
    ),
    is_flow=st.booleans(),
)
def test_a_section_reads_as_wanted_and_the_rest_stays(before, after, is_flow):
    lines = [f"  {key}: {value}   # of {key}\n" for key, value in before.items()]
    flow = "{" + ", ".join(f"{key}: {value}" for key, value in before.items()) + "}"
    section = f"s: {flow} # of s\n" if is_flow else "s: # of s\n" + "".join(lines)
    text = f"# top\na: 1 # of a\n{section}# between\nb: 2 # of b\n"
    edited = edit_section(text, "s", after)
    assert read(edited) == {"a": 1, "s": after, "b": 2}
    for comment in ("# top\na: 1 # of a\ns: ", " # of s\n", "# between\nb: 2 # of b\n"):
        assert comment in edited
    if not is_flow:
        assert "# of kind" in edited


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("seed: 0\n", "does not contain balance"),
        ("- 1\n", "does not contain balance"),
        ("balance: 3\n", "does not contain balance"),
        ("b: &w {kind: geco}\nbalance: *w\n", "balance cannot be changed alone"),
        ("balance: &w\n  kind: geco\nb: *w\n", "balance cannot be changed alone"),
        ("balance: {kind: geco, # a\n  x: 1}\n", "has comments within its braces"),
        ("balance:\n  x: |\n    y\n  kind: geco\n", "balance cannot be changed alone"),
        ("balance:\n  x: &w 1\nb: *w\n", "balance cannot be changed alone"),
        ("balance:\n  <<: {x: 1}\n", "balance cannot be changed alone"),
        ("balance:\r  x: 1\r", "balance cannot be changed alone"),
        ("balance:\n  x: 1\n", "balance cannot be changed alone"),
    ],
)
def test_a_section_that_cannot_be_changed_alone_is_left_to_the_person(text, why):
    by_hand = r"by hand: balance: \{kind: fixed, alpha: 1\.0, beta: 2\.5\}"
    with pytest.raises(UserError, match=rf"params\.yaml.*{why}.*{by_hand}"):
        edit_section(text, "balance", FIXED)


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_bytes(b"a: 1\r\n")
    path.chmod(0o640)

    def refuse(text):
        raise UserError("no")

    with pytest.raises(UserError, match="no"):
        rewrite(path, refuse)
    assert path.read_bytes() == b"a: 1\r\n"
    assert rewrite(path, lambda text: text) == ""
    diff = rewrite(path, lambda text: text.replace("1", "2"))
    assert diff.splitlines()[-2:] == ["-a: 1", "+a: 2"]
    assert path.read_bytes() == b"a: 2\r\n"
    assert path.stat().st_mode & 0o777 == 0o640
    assert [file.name for file in tmp_path.iterdir()] == ["params.yaml"]


@pytest.mark.parametrize("spec", [Gaussian(sigma=0.25), Laplace(scale=0.5), Fixed(beta=2.0)])
def test_what_a_spec_dumps_comes_back(spec):
    section = "balance" if isinstance(spec, Fixed) else "likelihood"
    after = edit_section(REAL, section, spec.model_dump())
    assert type(spec).model_validate(read(after)[section]) == spec
