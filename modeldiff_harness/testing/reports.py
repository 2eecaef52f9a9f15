"""A realistic report without any model: for tests of sections, renderers and readers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from modeldiff_harness.artifacts import (
    OWNERS,
    BenchmarkItem,
    BenchmarkRow,
    BenchmarksReport,
    CapabilityProfile,
    ComparabilityCheck,
    DictionaryQuality,
    DictionaryReport,
    DifferenceEnergy,
    EnergyRow,
    Estimate,
    LatentReport,
    LatentsReport,
    ModelIdentity,
    PairedCounts,
    PairReport,
    PreferenceCategory,
    PreferenceDeltas,
    PreferencesReport,
    ProfileRow,
    Provenance,
    Report,
    ShareComparison,
    SimpleControl,
    StageRecord,
    StyleEffect,
    TokenWindow,
)
from modeldiff_harness.report.build.lenses import capability_rows
from modeldiff_harness.report.build.summary import summarise
from modeldiff_harness.taxonomy import load_taxonomy

__all__ = ["assemble_report", "sample_report", "with_preferences"]

BASE, BASELINE, CANDIDATE = "sample-base", "sample-sft", "sample-simpo"


def sample_report() -> Report:
    """Return a report with all arms measured; numbers are invented and hang together."""
    return assemble_report(_benchmarks(), _preferences(), _latents())


def with_preferences(report: Report, **changes: Any) -> Report:
    """Return the report with other values in these fields of its preference deltas."""
    section = report.preferences
    if section.deltas is None:
        raise ValueError("the report has no preferences to change")
    changed = replace(section, deltas=replace(section.deltas, **changes))
    return replace(report, preferences=changed)


def assemble_report(
    benchmarks: BenchmarksReport, preferences: PreferencesReport, latents: LatentsReport
) -> Report:
    """Return a report of these arms, with the summary and capabilities that follow from them."""
    return Report(
        schema_version=Report.SCHEMA_VERSION,
        pair=PairReport(
            _identity(BASELINE, "b1"),
            _identity(CANDIDATE, "c2"),
            base=replace(_identity(BASE, "a0"), adapter_digest=None),
            null_twin=_identity("sample-sft-b", "b2"),
        ),
        comparability=(
            ComparabilityCheck("tokenizer", "ok", "one tokenizer"),
            ComparabilityCheck("width", "ok", "576 everywhere"),
            ComparabilityCheck("double_bos", "warning", "the template writes a BOS of its own"),
        ),
        summary=summarise(benchmarks, preferences, latents),
        benchmarks=benchmarks,
        preferences=preferences,
        latents=latents,
        capabilities=capability_rows(benchmarks, preferences, latents),
        provenance=_provenance(),
    )


def _identity(name: str, mark: str) -> ModelIdentity:
    return ModelIdentity(
        name=name,
        weights_digest=mark * 20,
        adapter_digest=mark[::-1] * 32,
        adapter_scale=1.0,
        dtype="float32",
        architecture="LlamaForCausalLM",
        n_blocks=30,
        width=576,
        vocab_size=49152,
        tokenizer_digest="70" * 32,
        chat_template_digest="71" * 32,
        source="package: sample",
    )


def _row(
    task: str, capability: str | None, n: int, fixed: int, broken: int, baseline: float, q: float
) -> BenchmarkRow:
    delta = (fixed - broken) / n
    right = round(baseline * n)
    se = ((fixed + broken) / n - delta**2) ** 0.5 / n**0.5
    return BenchmarkRow(
        task=task,
        capability=capability,
        metric="acc",
        filter="none",
        higher_is_better=True,
        primary=True,
        n=n,
        baseline=baseline,
        candidate=baseline + delta,
        delta=delta,
        se=se,
        lower=delta - 1.96 * se,
        upper=delta + 1.96 * se,
        p=q / 2,
        q=q,
        mde=2.8 * ((fixed + broken) / n) ** 0.5 / n**0.5,
        interval_method="normal",
        method="Wald interval; mid-p McNemar",
        n_unmatched=0,
        version="1.0",
        num_fewshot=0,
        counts=PairedCounts(right - broken, n - right - fixed, fixed, broken),
    )


def _benchmarks() -> BenchmarksReport:
    rows = (
        _row("gsm8k", "math_reasoning", 1319, 73, 155, 0.612, 0.0004),
        _row("mdh_refusal", "refusal", 240, 61, 4, 0.350, 0.0002),
        _row("mdh_template_following", "template_following", 240, 40, 12, 0.421, 0.0006),
        _row("arc_easy", None, 570, 21, 24, 0.634, 0.81),
        _row("piqa", None, 400, 12, 11, 0.702, 0.83),
        _row("mdh_self_reference", "self_reference", 120, 3, 33, 0.710, 0.0001),
        _row("mmlu_elementary_mathematics", "math_reasoning", 378, 15, 26, 0.301, 0.21),
    )
    perplexity = replace(
        rows[3],
        task="wikitext",
        metric="word_perplexity",
        higher_is_better=False,
        n=62,
        baseline=21.412,
        candidate=22.967,
        delta=1.555,
        se=0.2,
        lower=1.163,
        upper=1.947,
        p=0.0001,
        q=0.0003,
        mde=0.56,
        counts=None,
        interval_method="bootstrap",
        method="joint bootstrap",
    )
    secondary = replace(rows[3], metric="acc_norm", primary=False, q=None)
    flipped = tuple(
        BenchmarkItem(
            task="gsm8k",
            metric="acc",
            filter="none",
            doc_id=n,
            doc_hash=f"{n:064x}",
            target="42",
            baseline=float(n % 2),
            candidate=float(1 - n % 2),
            baseline_response=f"The answer is {42 if n % 2 else 41}.",
            candidate_response=f"**Answer:** {41 if n % 2 else 42}",
            prompt=f"Question {n}: Tom has {n} apples and buys some more. How many has he now?",
        )
        for n in range(6)
    )
    return BenchmarksReport(
        "measured", rows=(*rows, perplexity, secondary), gateable=True, flipped=flipped
    )


def _preferences() -> PreferencesReport:
    deltas = PreferenceDeltas(
        judge="verifiable",
        judge_kind="verifiable",
        feature_set="lmarena-v1",
        raw_elo=Estimate(65.2, 31.0, 99.4, 17.4),
        substance_elo=Estimate(35.6, -4.1, 75.3, 20.2),
        style_elo=Estimate(33.0, 20.5, 45.5, 6.4),
        dispersion_elo=Estimate(-3.4, -7.0, 0.2, 1.8),
        win_rate=Estimate(0.593, 0.544, 0.639, 0.024),
        style_effects=(
            StyleEffect("tokens", 0.12, 0.31, Estimate(6.5, -3.0, 16.0)),
            StyleEffect("headers", 0.25, 0.42, Estimate(18.2, 9.1, 27.3)),
            StyleEffect("bold", 0.10, 0.48, Estimate(8.3, 1.2, 15.4)),
        ),
        sensitivity={"ties dropped": Estimate(88.1, 42.0, 134.2)},
        n_battles=160,
        n_prompts=160,
        n_clusters=160,
        n_invalid=2,
        tie_rate=0.31,
        flags=("unused_feature:lists",),
        categories=(
            _category("refusal", 40, 180.0, 61.0, 0.004),
            _category("math_reasoning", 40, 96.0, 40.0, 0.03),
            _category("template_following", 40, 21.0, 55.0, 0.60),
            _category("multilingual", 40, -30.0, 58.0, 0.60),
        ),
        heterogeneity_p=0.012,
        gateable=True,
    )
    return PreferencesReport("measured", deltas=deltas)


def _category(key: str, n: int, elo: float, half: float, q: float) -> PreferenceCategory:
    substance = Estimate(elo, elo - half, elo + half)
    raw = Estimate(elo + 30, elo + 30 - half, elo + 30 + half)
    return PreferenceCategory(key, n, n, 0.3, raw, substance, q, few=n < 100)


def _latents() -> LatentsReport:
    dictionaries = tuple(
        _dictionary(f"via-base/{BASE}+{model}/resid_post.15#r0", model, role)
        for model, role in ((BASELINE, "baseline"), (CANDIDATE, "candidate"))
    )
    names = (
        ("refusal", "declines: sorry, can't, unsafe", 0.94),
        ("template_following", "headings and numbered steps", 0.88),
        ("multilingual", "answers in the user's language", 0.81),
        (None, "", None),
    )
    latents = tuple(
        _latent(dictionaries[i].dictionary_id, owner, 11 + 97 * n, n, *found)
        for i, owner in ((1, "candidate"), (0, "baseline"))
        for n, found in enumerate(names)
    )
    decoy = replace(latents[-1], id=500, owner="shared", owners={"above_null": "shared"}, rank=0)
    return LatentsReport(
        "measured",
        rule="above_null",
        dictionaries=dictionaries,
        latents=(*latents, replace(decoy, decoy=True)),
        profile=_profile(),
        difference_energy=(
            DifferenceEnergy(
                "resid_post.15",
                (BASELINE, CANDIDATE),
                (
                    EnergyRow(None, None, Estimate(0.041, 0.038, 0.044), 52_340, 610),
                    EnergyRow("refusal", CANDIDATE, Estimate(0.087, 0.071, 0.103), 2_200, 40),
                    EnergyRow("summarization", "web", Estimate(0.018, 0.015, 0.021), 1_900, 12),
                ),
            ),
        ),
        controls=tuple(
            SimpleControl(control, capability, Estimate(auroc, auroc - 0.06, auroc + 0.04), 36)
            for capability in ("refusal", "template_following")
            for control, auroc in (
                ("mean_difference", 0.83),
                ("logistic_probe", 0.93),
                ("word_counts", 0.90),
            )
        ),
        n_corpus_tokens=58_112,
        corpus_authors={"own": 320, BASELINE: 190, CANDIDATE: 190},
    )


def _dictionary(name: str, model: str, role: str) -> DictionaryReport:
    found = {"shared": 900, "other": 80, "undetermined": 31, "negative": 1, "dead": 8}
    counts = {owner: found.get(owner, 0) for owner in OWNERS}
    specific = {"published": 0, "calibrated": 6, "above_null": 4}
    quality = DictionaryQuality(
        fve={BASE: 0.871, model: 0.866},
        fve_delta={f"{model}|{BASE}": 0.412},
        l0=31.7,
        l0_topk=32.0,
        dead_fraction=0.008,
        dense_fraction=0.012,
        n_tokens=9_300,
        n_documents=120,
    )
    return DictionaryReport(
        dictionary_id=name,
        design="via-base",
        learner="batchtopk",
        replicate=0,
        models=(BASE, model),
        sites=("resid_post.15",),
        n_latents=1024,
        k=32,
        n_train_tokens=600_000,
        fve=quality.fve,
        fve_delta=quality.fve_delta,
        l0=quality.l0,
        dead_fraction=quality.dead_fraction,
        quality=quality,
        counts={rule: {**counts, role: n} for rule, n in specific.items()},
        rules_skipped={},
        thresholds={
            "published": {"delta_norm": 0.9, "nu_eps": 0.2, "nu_r": 0.5},
            "calibrated": {"delta_norm": 0.57, "nu_eps": 0.41, "nu_r": 0.62},
            "above_null": {"delta_norm": 0.61, "nu_eps": 0.38, "nu_r": 0.60},
        },
        null_counts={rule: {**counts, role: n // 4} for rule, n in specific.items()},
        null_adapter_scale=1.18,
        roles=(role, "base"),
    )


def _latent(
    dictionary_id: str,
    owner: str,
    latent: int,
    n: int,
    category: str | None,
    label: str,
    auroc: float | None,
) -> LatentReport:
    words = ("I", "'m", " sorry", ",", " but", " I", " can", "'t", " help", " with", " that", ".")
    strength = (0.0, 0.0, 2.1, 0.4, 0.2, 0.9, 3.6, 5.2, 1.7, 0.0, 0.0, 0.0)
    window = TokenWindow(
        f"doc-{latent}", words, strength, category or "refusal", CANDIDATE, "score", "top"
    )
    return LatentReport(
        dictionary_id=dictionary_id,
        id=latent,
        owner=owner,
        owners={"published": "other", "calibrated": owner, "above_null": owner},
        delta_norm=0.78 - 0.03 * n,
        nu_eps=0.21 + 0.02 * n,
        nu_r=0.44 + 0.02 * n,
        label=label,
        category=category,
        reason="" if category else "no capability is enriched",
        test_metric="auroc",
        test_score=None if auroc is None else Estimate(auroc, auroc - 0.08, min(1, auroc + 0.05)),
        rank=n + 1,
        n_active_tokens=412 - 60 * n,
        decoy=False,
        columns={},
        examples=(window, replace(window, doc_id=f"doc-{latent}-b")),
    )


def _profile() -> CapabilityProfile:
    taxonomy = load_taxonomy()
    found = {
        "refusal": (1, 1, Estimate(0.0, -0.49, 0.49)),
        "template_following": (0, 2, Estimate(0.5, 0.02, 0.78)),
        "multilingual": (1, 0, Estimate(-0.25, -0.62, 0.18)),
    }
    rows = []
    for level, keys in (("class", taxonomy.class_keys), ("capability", taxonomy.keys)):
        for key in keys:
            inside = found.get(key) if level == "capability" else None
            counts = (inside[0], 4, inside[1], 4) if inside else (0, 4, 0, 4)
            difference = inside[2] if inside else Estimate(0.0, -0.3, 0.3)
            comparison = ShareComparison(
                *counts, difference, None, "too few: a count is below 5", 0.4, 0.9
            )
            class_key = key if level == "class" else taxonomy.class_of(key).key
            rows.append(ProfileRow(level, key, class_key, comparison, 0.05, -0.2, 0.22))
    return CapabilityProfile(
        rule="above_null",
        dictionary_ids=("a", "b"),
        rows=tuple(rows),
        n_uninterpretable={"baseline": 1, "candidate": 1},
        sign_stability={},
    )


def _provenance() -> Provenance:
    return Provenance(
        command=f"mdh evaluate --pair {BASELINE},{CANDIDATE} --preset demo",
        config={"pair": [BASELINE, CANDIDATE], "latents": {"rule": "above_null", "k": 32}},
        as_passed={"pair": f"{BASELINE},{CANDIDATE}", "preset": "demo"},
        versions={"modeldiff-harness": "0.1.0", "torch": "2.13.0"},
        machine={"cores": "2", "device": "cpu"},
        stages=(
            StageRecord("harvest", f"harvest {BASELINE}", "aa" * 32, "reused", 61.2),
            StageRecord("train", "train candidate", "bb" * 32, "computed", 143.0),
            StageRecord("score", "null run", "cc" * 32, "shipped", 95.5),
        ),
        date="2030-01-02T03:04:05+00:00",
        seconds=412.7,
        smoke=False,
        shipped=("answers of the models to the corpus prompts (make with `mdh demo answer`)",),
    )
