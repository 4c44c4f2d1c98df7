"""What the preflight found."""

from __future__ import annotations

from reranker_core.config import PreflightConfig
from reranker_core.report.night import Night
from reranker_core.report.sections.section import Section, known
from reranker_core.report.verdict import verdict


def preflight(night: Night) -> Section:
    """The verdict, failed and notable checks, and the canaries."""
    report = night.preflight
    if report is None:
        return Section("Preflight")
    settings = night.configuration.get("preflight")
    config = PreflightConfig.model_validate(settings) if settings else PreflightConfig()
    rows = tuple(
        (
            "passed" if check.passed else "failed",
            f"{check.group}/{check.name}",
            check.measured,
            "" if check.passed else check.expected,
        )
        for check in report.checks
        if not check.passed or check.notable or check.group in ("meaning", "agreement")
    )
    facts = {
        "verdict": verdict(report, config),
        "checks": f"{len(report.checks) - len(report.failed)} of {len(report.checks)} passed",
        "replicas": f"{night.replicas:,} passed" if night.replicas else "",
        "replaced": "; ".join(
            f"{each.get('replica')} on {each.get('node')}: {each.get('reason')}"
            for each in night.replaced
        ),
        "set aside": "; ".join(
            f"{each.get('replica')} on {each.get('device') or each.get('node')}: "
            f"{each.get('reason')}"
            for each in night.set_aside
        ),
    }
    return Section("Preflight", known(facts), ("", "check", "measured", "expected"), rows)
