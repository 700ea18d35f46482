"""The version of aion: its one definition, free of imports so that `aion --version` costs nothing."""

VERSION = "0.1.0"
