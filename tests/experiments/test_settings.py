"""A setting's value comes from its flag, or else from the preset, or else from the default."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from experiments.commandline import parse
from experiments.settings import Settings, as_plain_values


@dataclass(frozen=True)
class Config(Settings):
    """A chapter's settings.

    Args:
        width: Width of the network.
    """

    width: int = 3

    PRESETS = {"quick": {"epochs": 1, "lr": 0.5}, "full": {"epochs": 9, "width": 30}}


@pytest.mark.parametrize(
    ("words", "epochs", "lr", "width"),
    [
        ("", 1, 0.5, 3),
        ("--preset quick --lr 0.1", 1, 0.1, 3),
        ("--preset full", 9, None, 30),
        ("--epochs 2 --width 3 --preset full", 2, None, 3),
    ],
)
def test_flags_override_the_preset_which_overrides_defaults(words, epochs, lr, width):
    config = parse(Config, words.split(), "prog")
    assert (config.epochs, config.lr, config.width) == (epochs, lr, width)
    assert as_plain_values(config)["epochs"] == epochs


def test_help_shows_the_values_of_the_preset(capsys):
    with pytest.raises(SystemExit, match="0"):
        parse(Config, ["--preset", "full", "--help"], "prog")
    assert "(default: 30)" in capsys.readouterr().out


def test_a_preset_of_an_unknown_field_is_a_type_error():
    @dataclass(frozen=True)
    class Wrong(Config):
        """A chapter with a misspelled field."""

        PRESETS = {"quick": {"widht": 3}}

    with pytest.raises(TypeError, match="sets an unknown field: .*'widht'"):
        parse(Wrong, [], "prog")


def test_epochs_replace_max_steps_of_the_preset():
    @dataclass(frozen=True)
    class ByWidth(Config):
        """A preset that depends on a flag."""

        def presets(self):
            return {"quick": {"max_steps": 100 * self.width, "lr": 0.5}}

    assert parse(ByWidth, ["--preset", "quick", "--width", "2"], "prog").max_steps == 200
    asked = parse(ByWidth, ["--preset", "quick", "--epochs", "2"], "prog")
    assert (asked.epochs, asked.max_steps, asked.lr) == (2, None, 0.5)
