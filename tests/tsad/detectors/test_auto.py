import numpy as np
import pytest

from tests.tsad.detectors.test_contract import recording, rows_of
from tsad.detectors.auto import AutoDetector
from tsad.detectors.base import Unscored
from tsad.detectors.patchbank import PatchBankDetector
from tsad.detectors.registry import create_detector
from tsad.detectors.sub_pca import SubPcaDetector
from tsad.observations import RowFlag

MEMBERS = (lambda: PatchBankDetector(ring_rows=500), SubPcaDetector)


def fitted(kind, train, times):
    detector = kind()
    detector.reserve(1, train.shape[1])
    return detector, detector.fit(0, train, times)


def test_is_the_average_of_ratios_two_to_one():
    values, times = recording(700)
    auto, prefix = fitted(AutoDetector, values[:500], times[:500])
    members = [fitted(kind, values[:500], times[:500]) for kind in MEMBERS]
    usual = [np.nanquantile(scores, 0.99) for _, scores in members]
    np.testing.assert_allclose(prefix, (2 * members[0][1] / usual[0] + members[1][1] / usual[1]) / 3)
    rows = rows_of(values[500:], times[500:])
    said = [member.score(rows) for member, _ in members]
    ratios = [s.score / u for s, u in zip(said, usual, strict=True)]
    found = auto.score(rows)
    np.testing.assert_allclose(found.score, (2 * ratios[0] + ratios[1]) / 3)
    share = (2 * ratios[0] / (2 * ratios[0] + ratios[1]))[:, None]
    expected = share * said[0].contributions + (1 - share) * said[1].contributions
    np.testing.assert_allclose(found.contributions, expected, atol=1e-5)


def test_at_a_delay_it_is_the_average_of_what_one_says_later_and_the_other_said_at_once():
    values, times = recording(700)
    auto, own, other = AutoDetector(), PatchBankDetector(ring_rows=500), SubPcaDetector()
    prefixes = []
    for detector in (auto, own, other):
        detector.give_delayed()
        detector.reserve(1, values.shape[1])
        prefixes.append(detector.fit_with_delays(0, values[:500], times[:500]))
    assert auto.delays == own.delays == (16, 95)
    usual = np.nanquantile(prefixes[1][1], 0.99, axis=0)
    at_once = prefixes[2][0] / np.nanquantile(prefixes[2][0], 0.99)
    np.testing.assert_allclose(prefixes[0][1], (2 * prefixes[1][1] / usual + at_once[:, None]) / 3)
    rows = rows_of(values[500:], times[500:])
    said = [detector.score(rows) for detector in (auto, own, other)]
    at_once = said[2].score / np.nanquantile(prefixes[2][0], 0.99)
    for k, delay in enumerate(auto.delays):
        expected = (2 * said[1].delayed[delay:, k] / usual[k] + at_once[: 200 - delay]) / 3
        np.testing.assert_allclose(said[0].delayed[delay:, k], expected)
        assert np.isnan(said[0].delayed[:delay, k]).all()


def test_one_speaks_alone_where_the_other_cannot():
    values, times = recording(700)
    auto, _ = fitted(AutoDetector, values[:500], times[:500])
    later = times[500:] + 100 * 10**9
    flags = np.zeros(200, np.uint8)
    flags[0] = RowFlag.BREAK
    found = auto.score(rows_of(values[500:], later, flags=flags))
    # sub-pca's window of 8 is whole again long before patchbank's of 96.
    assert (found.reason[:7] == Unscored.WINDOW_INCOMPLETE).all()
    assert np.isfinite(found.score[7:]).all()
    assert 0.3 < np.median(found.score[7:95]) / np.median(found.score[95:]) < 3
    assert found.contributions[50].sum() == pytest.approx(1, abs=1e-5)


def test_a_training_part_with_many_gaps_is_calibrated_on_what_there_is():
    values, times = recording(300)
    times = times + np.arange(300) // 40 * 100 * 10**9
    _, prefix = fitted(AutoDetector, values, times)
    assert np.isnan(fitted(MEMBERS[0], values, times)[1]).sum() > 250
    assert np.isfinite(prefix).sum() > 250


def test_sees_a_sudden_fault_at_once_and_a_shape_too():
    values, times = recording(1200, seed=4)
    values[1000, 1] += 6
    values[1100:1160] = values[1100:1160, ::-1]
    found = fitted(AutoDetector, values[:800], times[:800])[0].score(rows_of(values[800:], times[800:]))
    usual = np.quantile(found.score[:190], 0.99)
    assert found.score[200] > 2 * usual
    assert found.score[310:360].min() > usual


def test_with_hindsight_it_is_the_same_average():
    values, times = recording(600)
    auto = AutoDetector().score_all(values, times, 300)
    members = [kind().score_all(values, times, 300) for kind in MEMBERS]
    usual = [np.nanquantile(scores[:300], 0.99) for scores in members]
    np.testing.assert_allclose(auto, (2 * members[0] / usual[0] + members[1] / usual[1]) / 3)


def test_it_says_what_it_chose_and_why():
    rng = np.random.default_rng(0)
    detector = create_detector("auto")
    detector.reserve(1, 3)
    values = rng.standard_normal((200, 3)).astype(np.float32)
    values[:, 1] *= 1e5
    values[:, 2] = rng.integers(0, 2, 200)
    detector.fit(0, values, np.arange(200) * 10**9)
    said = detector.choices(0)

    assert said[0] == "patchbank: windows of 8, 32, 50 rows, some shortened because the training part has only 200 rows"
    assert "patchbank: channels have units of their own: each is measured by its own deviation" in said
    assert "patchbank: 1 of 3 channels hold only 0 and 1 and count a twentieth" in said
    assert any(text.startswith("sub-pca: windows of 32 rows") for text in said)
    assert create_detector("robust").choices(0) == ()
