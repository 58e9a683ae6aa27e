"""Intervals, medians and tests against values worked out elsewhere, and against simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from rnnsweep.report.statistics import (
    detectable,
    effective_size,
    holm,
    paired_difference,
    paired_shares,
    pairs_needed,
    permutation_p,
    share_difference,
    shares_alike,
    wilson,
)


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [
        (0, 10, 0.0, 0.27753),  # z²/(n + z²) with z² = 3.84146
        (10, 10, 0.72247, 1.0),  # its mirror image
        (5, 10, 0.23659, 0.76341),  # ½ ± z/√(n + z²) / 2
        (0, 0, 0.0, 1.0),
    ],
)
def test_wilson(k, n, low, high):
    assert wilson(k, n) == pytest.approx((low, high), abs=1e-5)


def test_wilson_lies_around_the_share():
    for n in range(1, 30):
        for k in range(n + 1):
            low, high = wilson(k, n)
            assert 0 <= low <= k / n <= high <= 1


DARWIN = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
"""Crossed minus self-fertilised maize, eighths of an inch (Darwin 1876), as analysed by Fisher (1935), section 21."""


def test_sign_flips_give_fishers_own_p():
    # Fisher counts 1726 of 2^15 = 32768 with a sum at least as far from 0: p = .05267; here 2^14 flips are drawn, so
    # the share has a standard error of sqrt(.0527 * .947 / 16384) = .0017; four of them: false alarm 6e-5.
    assert paired_difference(DARWIN, [0] * 15).p == pytest.approx(1726 / 32768, abs=0.007)
    exact = paired_difference(DARWIN[:14], [0] * 14)
    every = [
        abs(sum(s * d for s, d in zip(signs, DARWIN[:14], strict=True)))
        for signs in itertools.product((1, -1), repeat=14)
    ]
    assert exact.p == sum(total >= abs(sum(DARWIN[:14])) for total in every) / 2**14


def test_equal_treatments_and_no_pairs():
    same = paired_difference([1.0] * 8, [1.0] * 8)
    assert (same.mean, same.p, same.low, same.high) == (0.0, 1.0, 0.0, 0.0)
    assert paired_difference([], []).p == 1.0
    assert paired_shares([], []).pairs == 0


def test_five_pairs_have_no_interval_and_six_have_the_widest():
    assert paired_difference([1.0, 2, 3, 4, 5], [0.0] * 5).low is None
    six = paired_difference([1.0, 2, 3, 4, 5, 6], [0.0] * 6)
    # 63 subset means; the outermost are the single smallest and largest: 1 - 2/64 = 96.9 %
    assert (six.low, six.high) == (1.0, 6.0)
    assert six.p == 2 / 2**6


def test_typical_values_cover_and_the_test_keeps_its_level():
    random = np.random.default_rng(1)
    runs, pairs = 400, 8
    found = [paired_difference(random.standard_t(3, pairs) + 1.0, np.zeros(pairs)) for _ in range(runs)]
    covered = sum(one.low <= 1.0 <= one.high for one in found) / runs
    # Nominal 95 %; four standard errors sqrt(.95 * .05 / 400) = .0109 each: false alarm 6e-5
    assert covered > 0.95 - 4 * 0.0109
    null = [paired_difference(random.standard_t(3, pairs), np.zeros(pairs)).p < 0.05 for _ in range(runs)]
    assert sum(null) / runs < 0.05 + 4 * 0.0109


def test_shares_by_mcnemar():
    # 6 gained, 1 lost, 3 equal: exact binomial, 2 (C(7,0) + C(7,1)) / 2^7 = .125
    first, second = [True] * 6 + [False] + [True] * 3, [False] * 6 + [True] + [True] * 3
    found = paired_shares(first, second)
    assert (found.pairs, found.mean) == (10, 0.5)
    assert found.p == pytest.approx(0.125)
    # Agresti, Min: 5/12 -+ 1.96 sqrt(8 - 25/12) / 12
    reach = 1.959964 * (8 - 25 / 12) ** 0.5 / 12
    assert (found.low, found.high) == pytest.approx((5 / 12 - reach, 5 / 12 + reach), abs=1e-6)
    agreed = paired_shares([True] * 5, [True] * 5)
    assert (agreed.mean, agreed.p) == (0.0, 1.0)
    assert agreed.low < 0 < agreed.high  # five equal pairs do not prove equality


def test_holm_by_hand_and_its_order():
    # Holm (1979): smallest times 4, next times 3, ..., never falling
    assert holm([0.04, 0.01, 0.03, 0.005]) == pytest.approx([0.06, 0.03, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_pairs_that_can_show_anything():
    assert pairs_needed() == 6  # 2^(1-5) = .0625, 2^(1-6) = .031
    for comparisons in (1, 2, 9, 45):
        n = pairs_needed(comparisons)
        assert comparisons * 2.0 ** (1 - n) <= 0.05 < comparisons * 2.0 ** (2 - n)


def test_power_as_in_cohens_tables():
    # Cohen (1988): a paired t test with n = 34 finds d = .5 with power .8 (two-sided 5 %)
    assert detectable(34) == pytest.approx(0.495, abs=0.01)
    assert detectable(5) == float("inf")
    # by simulation with the sign-flip test itself: 200 runs, standard error .028; four of them
    random, effect = np.random.default_rng(2), detectable(12)
    hits = [paired_difference(random.normal(effect, 1, 12), np.zeros(12)).p < 0.05 for _ in range(200)]
    assert np.mean(hits) == pytest.approx(0.8, abs=4 * 0.0283)


def test_clusters_that_agree_count_once_and_independent_ones_fully():
    assert effective_size([3, 0, 3, 0], [3] * 4) == 4
    assert effective_size([0, 0], [5, 5]) == 2
    assert effective_size([4], [5]) == 5
    random = np.random.default_rng(3)
    counts = random.binomial(5, 0.4, 2000)  # independent: 10 000 observations are worth about as many
    assert effective_size(counts.tolist(), [5] * 2000) == pytest.approx(10_000, rel=0.15)
    low, high = wilson(0.4 * 4, effective_size([2, 1, 2, 1], [3, 3, 3, 3]))
    assert 0 <= low < high <= 1
    assert stats.norm.ppf(0.975) == pytest.approx(1.959964, abs=1e-6)  # the quantile that the hand values use


def test_differences_of_shares_as_newcombe_prints_them():
    # Newcombe (1998), table II, method 10, rows (a) to (c)
    for (a, m, b, n), interval in {
        (56, 70, 48, 80): (0.0524, 0.3339),
        (9, 10, 3, 10): (0.1705, 0.8090),
        (6, 7, 2, 7): (0.0582, 0.8062),
    }.items():
        found = share_difference((a / m, *wilson(a, m)), (b / n, *wilson(b, n)))
        assert found[1:] == pytest.approx(interval, abs=5e-5)


def test_permutations_keep_their_level_when_drawn():
    random = np.random.default_rng(4)
    first, second = random.normal(0, 1, 30).tolist(), random.normal(0, 1, 30).tolist()
    t = stats.ttest_ind(first, second).pvalue
    # normal values: the t test is nearly exact; 20 000 draws: standard error below .0036, four of them
    assert permutation_p(first, second) == pytest.approx(t, abs=0.02)
    assert permutation_p([], first) == 1.0


def test_shares_alike_is_fishers_test_of_one_cell_and_counts_all_tables_of_several():
    for cell in [(0, 5, 5, 5), (3, 7, 9, 9), (2, 4, 1, 6), (5, 5, 5, 5)]:
        won, count, other, others = cell
        known = stats.fisher_exact([[won, count - won], [other, others - other]]).pvalue
        assert shares_alike([cell]) == pytest.approx(known, rel=1e-9)
    cells = [(1, 3, 2, 2), (0, 2, 2, 3)]
    # every way to choose who of a cell's successes are ours, all alike
    sums = [
        sum(x < 3 for x in first) + sum(x < 2 for x in second)
        for first in itertools.combinations(range(5), 3)
        for second in itertools.combinations(range(5), 2)
    ]
    odds = {total: sums.count(total) / len(sums) for total in sums}
    p = sum(share for share in odds.values() if share <= odds[1] + 1e-12)
    assert shares_alike(cells) == pytest.approx(p, rel=1e-12)
