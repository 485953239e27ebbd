"""Every number of the documentation has a direction, or is known to have none."""

import re
from pathlib import Path

from src.report.metrics import (
    HIGHER,
    LOWER,
    UNRANKED,
    is_meant,
    label,
    lower_is_better,
    on_log_scale,
)

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def test_every_documented_number_is_known() -> None:
    text = PAGE.read_text().partition("| number | meaning")[2].partition("\n\n")[0]
    cells = [line.split("|")[1] for line in text.splitlines()[2:] if line.startswith("|")]
    documented = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    assert len(documented) > 20
    assert documented <= LOWER | HIGHER | UNRANKED | {"kl"}


def test_what_is_meant() -> None:
    fid, back = {"metric": "fid"}, {"metric": "fid_back"}
    for wanted in ("fid", "fid500", "fid500_x"):
        assert is_meant(wanted, "fid500_x", fid)
    for wanted in ("fid5", "fid50", "fid500_", "fi", "fid_back", "fid500_y", "fid5000"):
        assert not is_meant(wanted, "fid500_x", fid)
    assert is_meant("fid10k", "fid10k_x", fid)
    assert not is_meant("fid10k", "fid10k_x_back", back)
    assert not is_meant("kl", "kl_uniform500_x", {"metric": "kl_uniform"})


def test_directions() -> None:
    assert not LOWER & HIGHER
    assert lower_is_better("fid", {}) is True
    # A number of somebody's own says it; ours are known, whatever a record says.
    for said in (True, False, None):
        assert lower_is_better("ink", {"lower_is_better": said}) is said
        assert lower_is_better("fid", {"lower_is_better": said}) is True
        assert lower_is_better("sharpness", {"lower_is_better": said}) is None
    assert lower_is_better("ink", {"lower_is_better": "yes"}) is None
    assert lower_is_better("iw5000", {}) is False
    assert lower_is_better("sharpness", {}) is None
    assert lower_is_better("kl", {"compared_with": "exact shares"}) is True
    assert lower_is_better("kl", {"pixels": "grey"}) is None
    assert [on_log_scale(name) for name in ("fid", "kid", "is")] == [True, True, False]
    assert [label(name) for name in ("fid", "masked_mse", "iw50", "cov_error", "active_units")] == [
        "FID", "masked MSE", "IW50", "covariance error", "active units"
    ]  # fmt: skip
