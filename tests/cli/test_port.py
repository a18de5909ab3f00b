"""The arguments of `vaebalance port`."""

import pytest

from vaebalance.cli import parse
from vaebalance.porting.options import Options


def parse_options(arguments: list[str]) -> Options:
    """Return the options for the arguments."""
    return parse(["port", *arguments])[1]


def test_without_arguments_params_yaml_is_ported():
    options = parse_options([])
    assert options.convention is None
    assert not options.write


def test_everything():
    line = "bolts 0.1 --shape 3x32x16 --latents 256 --batch 4 --rmse 0.1 --pixel-span 2"
    options = parse_options([*line.split(), "--write", "--json"])
    assert (options.convention, options.weight, options.shape) == ("bolts", 0.1, (3, 32, 16))
    assert (options.latents, options.batch, options.rmse) == (256, 4, 0.1)
    assert (options.pixel_span, options.write, options.json) == (2.0, True, True)


@pytest.mark.parametrize("text", ["3x64x32", "3X64X32", "3×64×32", " 3,64,32 "])
def test_a_shape(text):
    assert parse_options(["--shape", text]).shape == (3, 64, 32)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--shape 64x64", "'64x64' is not a shape such as 3x64x64 (channels x height x width)"),
        ("--shape 3x64x", "is not a shape such as 3x64x64"),
        ("--shape 0x64x64", "is not a shape such as 3x64x64"),
        ("--shape 3x-64x64", "is not a shape such as 3x64x64"),
        ("--shape 64x48x3", "has its channels last; did you mean 3x64x48?"),
        ("bolts -0.1", "'-0.1' is not a weight: give a number above 0"),
        ("bolts 0", "'0' is not a weight"),
        ("bolts nan", "'nan' is not a weight"),
        ("bolts inf", "'inf' is not a weight"),
        ("bolts much", "'much' is not a weight"),
        ("bolts", "bolts: the weight is missing; give it"),
        ("--latents 0", "'0' is not a number of latents: give an integer"),
        ("--batch 1.5", "'1.5' is not a number of images"),
        ("--rmse -1", "'-1' is not an RMSE"),
        ("--write", "--write needs a convention and its weight"),
        ("bolts 1 --list", "--list takes no convention"),
    ],
)
def test_a_wrong_argument_is_named(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        parse_options(arguments.split())
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
