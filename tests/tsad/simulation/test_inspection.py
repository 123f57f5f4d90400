import numpy as np
import pytest

from tsad.errors import ConfigurationError
from tsad.simulation import InspectionSettings, PlantSettings, simulate


@pytest.fixture(scope="module")
def inspections(start):
    station = InspectionSettings(defect_share=0.05)
    settings = PlantSettings(seed=5, node_assets=(), training_seconds=3_600.0, inspection=station)
    return simulate(settings, start, 86_400.0).inspections


def test_defects_score_higher_but_some_hide(inspections):
    good, bad = inspections.raw_score[~inspections.defect], inspections.raw_score[inspections.defect]

    assert np.median(good) == pytest.approx(1.0, abs=0.05)
    assert (good > inspections.threshold).mean() < 0.005
    assert 0.5 < (bad > inspections.threshold).mean() < 0.9
    hidden = (bad < 1.6).mean()
    assert 0.08 < hidden < 0.35


def test_cameras_agree_on_good_parts_by_their_surface(inspections):
    good = ~inspections.defect
    first, second = ({}, {})
    for part, camera, score in zip(
        inspections.part[good].tolist(),
        inspections.camera[good].tolist(),
        inspections.raw_score[good].tolist(),
        strict=True,
    ):
        (first, second)[camera][part] = score
    both = sorted(set(first) & set(second))

    tie = np.corrcoef([np.log(first[part]) for part in both], [np.log(second[part]) for part in both])[0, 1]
    assert tie == pytest.approx(0.5, abs=0.05)


def test_capture_follows_processing_by_the_transport_delay(inspections):
    delay = (inspections.times - inspections.processed_at) / 1e9

    assert np.median(delay) == pytest.approx(45.0, abs=0.2)
    assert (np.diff(inspections.times) >= 0).all()
    assert (inspections.times % 10**6 == 0).all()


def test_normalised_score_is_clipped_and_half_at_the_threshold(inspections):
    assert inspections.pred_score.min() >= 0.0
    assert inspections.pred_score.max() == 1.0
    np.testing.assert_array_equal(inspections.pred_label, inspections.pred_score >= 0.5)


def test_only_rejected_parts_have_a_region_inside_the_image(inspections):
    boxes = inspections.bbox[inspections.pred_label]

    assert (inspections.bbox[~inspections.pred_label] == 0).all()
    assert (boxes[:, 2:] > 0).all()
    assert (boxes[:, :2] + boxes[:, 2:] <= 1_024).all()
    assert (boxes[:, :2] >= 0).all()


def test_some_codes_cannot_be_read(inspections):
    assert (~inspections.part_known).mean() == pytest.approx(0.02, abs=0.01)


@pytest.mark.parametrize(
    "change", [{"cameras": 0}, {"station": ""}, {"part_seconds": 0.0}, {"defect_share": -0.1}, {"threshold": 0.0}]
)
def test_wrong_settings_name_their_key(change):
    with pytest.raises(ConfigurationError, match=f"inspection.{next(iter(change))}"):
        InspectionSettings(**change)
