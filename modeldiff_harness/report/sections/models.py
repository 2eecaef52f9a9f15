"""Section `models`: exactly which models were compared, and whether they can be."""

from __future__ import annotations

from modeldiff_harness.artifacts import ComparabilityCheck, ModelIdentity, Report
from modeldiff_harness.contracts import RenderedSection, ReportTable
from modeldiff_harness.report.wording import short_digest

__all__ = ["ModelsSection"]

_TONES = {"ok": "", "warning": "bad", "refused": "bad", "latents_refused": "bad"}


class ModelsSection:
    """Identities and preflight checks."""

    name, order = "models", 200

    def render(self, report: Report) -> RenderedSection:
        """Return identities and preflight checks; checks that need a look stand open."""
        pair = report.pair
        roles = (
            ("baseline", pair.baseline),
            ("candidate", pair.candidate),
            ("base", pair.base),
            ("null twin", pair.null_twin),
        )
        rows = tuple(_row(role, identity) for role, identity in roles if identity is not None)
        columns = (
            "role",
            "model",
            "weights",
            "adapter",
            "dtype",
            "template",
            "tokenizer",
            "architecture",
            "source",
        )
        remarkable = tuple(c for c in report.comparability if c.status not in ("ok", "skipped"))
        quiet = tuple(c for c in report.comparability if c.status in ("ok", "skipped"))
        tables = [
            ReportTable(
                "Identity",
                columns,
                rows,
                "Digests are shortened; report.json has all. Architecture: blocks × width.",
            )
        ]
        if remarkable:
            tables.append(_checks("Preflight: needs a look", remarkable))
        if quiet:
            tables.append(_checks("Preflight: in order or skipped", quiet, collapsed=True))
        text = "Every delta in this report is candidate − baseline."
        return RenderedSection("models", "Models", (text,), tuple(tables))


def _row(role: str, identity: ModelIdentity) -> tuple[str, ...]:
    adapter = short_digest(identity.adapter_digest)
    if identity.adapter_digest and identity.adapter_scale != 1.0:
        adapter += f" × {identity.adapter_scale:g}"
    return (
        role,
        identity.name,
        short_digest(identity.weights_digest),
        adapter,
        identity.dtype,
        short_digest(identity.chat_template_digest),
        short_digest(identity.tokenizer_digest),
        f"{identity.architecture} {identity.n_blocks} × {identity.width}"
        if identity.n_blocks
        else identity.architecture,
        identity.source,
    )


def _checks(
    title: str, checks: tuple[ComparabilityCheck, ...], collapsed: bool = False
) -> ReportTable:
    rows = tuple((c.check, c.status.replace("_", " "), c.detail) for c in checks)
    tones = tuple(_TONES.get(c.status, "muted") for c in checks)
    return ReportTable(title, ("check", "status", "detail"), rows, tones=tones, collapsed=collapsed)
