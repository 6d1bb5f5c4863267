"""`load`: what there is in a file, whatever it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastbp._boundary.files import parse
from fastbp._inverses.inverse import READER as INVERSE
from fastbp._inverses.inverse import WoodburyInverse
from fastbp._networks.network import READER as NETWORK
from fastbp._networks.network import Network

if TYPE_CHECKING:
    import os


def load(path: str | os.PathLike[str]) -> Network | WoodburyInverse:
    """Read what `Network.save` or `WoodburyInverse.save` wrote.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    Network or WoodburyInverse
        Equal to the one that was saved.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is truncated, foreign or inconsistent; the message says what is wrong.
    MemoryError
        If an inverse does not fit.

    Notes
    -----
    Nothing in the file is executed, and no memory is taken on its word: what it declares is held against the numbers
    it has.
    """
    found: Network | WoodburyInverse = parse(path, {**NETWORK, **INVERSE})
    return found
