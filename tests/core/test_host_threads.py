"""Rows beside the device: on one core or several the same numbers, errors are not lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from rnnsweep.core import host_threads
from rnnsweep.core.diagnostics import spectra_of
from rnnsweep.core.families.srn import Srn


@pytest.fixture
def three_threads() -> Iterator[None]:
    host_threads.use_threads(3)
    yield
    host_threads.use_threads(1)


def test_each_row_once_in_other_threads(three_threads) -> None:
    done: list[tuple[int, str]] = []
    host_threads.of_rows(lambda row: done.append((row, threading.current_thread().name)), 50)
    assert sorted(row for row, _ in done) == list(range(50))
    assert all(name.startswith("rnnsweep-host") for _, name in done)


def test_an_error_comes_out_where_it_is_waited_for(three_threads) -> None:
    def broken(row: int) -> None:
        if row == 7:
            raise ValueError("row 7")

    with pytest.raises(ValueError, match="row 7"):
        host_threads.of_rows(broken, 10)


def test_spectra_are_the_same_bits_on_any_number_of_cores() -> None:
    family = Srn(hidden=13)
    values = {
        spec.name: torch.randn(40, *spec.shape, generator=torch.Generator().manual_seed(1))
        for spec in family.parameters(3, 2)
    }
    values["w_rec"][5, 2, 3] = torch.inf
    alone = spectra_of(family, values, {})()
    try:
        host_threads.use_threads(3)
        find = spectra_of(family, values, {})
        values["w_rec"].zero_()  # the next rung may train meanwhile
        together = find()
    finally:
        host_threads.use_threads(1)
    assert alone.keys() == together.keys() == {"weights/rho", "weights/sigma_max"}
    for key, value in alone.items():
        assert torch.equal(value.nan_to_num(-1), together[key].nan_to_num(-1))
        assert value.isnan().nonzero().flatten().tolist() == [5]


def test_a_matrix_that_lapack_gives_up_on_has_no_spectrum_and_no_neighbour_notices(monkeypatch) -> None:
    family, eigvals = Srn(hidden=5), torch.linalg.eigvals
    values = {spec.name: torch.randn(3, *spec.shape) for spec in family.parameters(3, 2)}

    def gives_up(matrix: torch.Tensor) -> torch.Tensor:
        if torch.equal(matrix, values["w_rec"][1].double()):
            raise torch.linalg.LinAlgError("no convergence")
        return eigvals(matrix)

    monkeypatch.setattr(torch.linalg, "eigvals", gives_up)
    assert spectra_of(family, values, {})()["weights/rho"].isnan().tolist() == [False, True, False]
