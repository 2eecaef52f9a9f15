"""Difference energy against direct sums and a brute-force jackknife; matching a null's scale."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeldiff_harness.artifacts import Document, TokenisedCorpus, View
from modeldiff_harness.contracts import Runtime
from modeldiff_harness.errors import RunError, UsageError
from modeldiff_harness.latents.difference.energy import difference_energy, match_scale
from modeldiff_harness.latents.harvest.stream import MatrixStream

SITE = "resid_post.1"
WIDTH = 6


def corpus_of(rows: list[tuple[str | None, str, str | None, int]]) -> TokenisedCorpus:
    """Documents of 5 tokens from (capability, author, prompt, split)."""
    documents = tuple(
        Document(f"d{n}", text="x", capability=c, author=a, prompt_id=p)
        for n, (c, a, p, _) in enumerate(rows)
    )
    n_tokens = 5 * len(rows)
    return TokenisedCorpus(
        tokens_T=np.zeros(n_tokens, dtype=np.int32),
        roles_T=np.zeros(n_tokens, dtype=np.uint8),
        keep_T=np.ones(n_tokens, dtype=bool),
        offsets_N1=5 * np.arange(len(rows) + 1),
        splits_N=np.array([split for *_, split in rows], dtype=np.uint8),
        documents=documents,
        tokenizer_digest="t",
        chat_template_digest=None,
        context=5,
        n_truncated=0,
    )


ROWS: list[tuple[str | None, str, str | None, int]] = [
    (c, a, f"{c}-{i}", i % 4)
    for c in ("refusal", "multilingual")
    for i in range(8)
    for a in ("sft", "simpo")
]
ROWS += [(None, "web", None, 0), (None, "web", None, 1)]


def planted(corpus: TokenisedCorpus, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Candidate = baseline + a shift that is large only for refusals in simpo's own words."""
    rng = np.random.default_rng(seed)
    x_b = rng.standard_normal((corpus.n_tokens, WIDTH)) + 3.0
    size = np.repeat(
        [
            1.0 if (d.capability, d.author) == ("refusal", "simpo") else 0.1
            for d in corpus.documents
        ],
        5,
    )
    return x_b, x_b + size[:, None] * rng.standard_normal(x_b.shape)


def stream_of(corpus: TokenisedCorpus, x_b: np.ndarray, x_c: np.ndarray) -> MatrixStream:
    views = (View("simpo", SITE, WIDTH), View("sft", SITE, WIDTH))
    matrices = [x.astype(np.float32) for x in (x_c, x_b)]
    return MatrixStream(corpus, views, matrices, max_norm_factor=None)


def test_rows_are_the_ratio_of_sums_of_raw_activations() -> None:
    corpus = corpus_of(ROWS)
    x_b, x_c = planted(corpus)
    found = difference_energy(
        stream_of(corpus, x_b, x_c), ("sft", "simpo"), runtime=Runtime(batch_tokens=17)
    )
    moved, norm = ((x_c - x_b) ** 2).sum(1), (x_b**2).sum(1)
    document = np.repeat(np.arange(len(ROWS)), 5)
    assert (found.rows[0].capability, found.rows[0].author) == (None, None)
    assert found.rows[0].n_tokens == corpus.n_tokens
    seen = set()
    for row in found.rows:
        chosen = np.array(
            [(row.capability in (None, c)) and (row.author in (None, a)) for c, a, *_ in ROWS]
        )[document]
        expected = moved[chosen].sum() / norm[chosen].sum()
        assert row.relative_energy.estimate == pytest.approx(expected, rel=1e-5)
        assert row.n_tokens == chosen.sum()
        seen.add((row.capability, row.author))
    assert ("refusal", "simpo") in seen
    assert len(seen) == len(found.rows) == 1 + 2 + 3 + 4


def test_the_planted_cell_stands_out() -> None:
    corpus = corpus_of(ROWS)
    found = difference_energy(
        stream_of(corpus, *planted(corpus)), ("sft", "simpo"), runtime=Runtime()
    )
    cells = {(r.capability, r.author): r.relative_energy for r in found.rows}
    planted_cell = cells.pop(("refusal", "simpo"))
    others = [e for (c, a), e in cells.items() if c != "refusal" and a in ("sft", "web")]
    assert all(planted_cell.lower > e.upper for e in others)


def test_intervals_leave_out_prompts_and_not_documents() -> None:
    """The two authors' texts of one prompt go together: oracle by brute force."""
    corpus = corpus_of(ROWS)
    x_b, x_c = planted(corpus)
    found = difference_energy(stream_of(corpus, x_b, x_c), ("sft", "simpo"), runtime=Runtime())
    moved, norm = ((x_c - x_b) ** 2).sum(1), (x_b**2).sum(1)
    prompts = np.repeat([p or f"d{n}" for n, (_, _, p, _) in enumerate(ROWS)], 5)
    names = sorted(set(prompts))
    left_out = np.array([moved[prompts != p].sum() / norm[prompts != p].sum() for p in names])
    se = np.sqrt((len(names) - 1) / len(names) * ((left_out - left_out.mean()) ** 2).sum())
    assert found.rows[0].n_prompts == len(names) == 18
    assert found.rows[0].relative_energy.se == pytest.approx(se, rel=1e-4)


def test_only_the_asked_splits_count() -> None:
    corpus = corpus_of(ROWS)
    x_b, x_c = planted(corpus)
    found = difference_energy(
        stream_of(corpus, x_b, x_c), ("sft", "simpo"), splits=("score",), runtime=Runtime()
    )
    used = np.repeat(corpus.splits_N == 2, 5)
    expected = ((x_c - x_b) ** 2)[used].sum() / (x_b**2)[used].sum()
    assert found.rows[0].relative_energy.estimate == pytest.approx(expected, rel=1e-5)


def test_what_has_no_difference_is_refused() -> None:
    corpus = corpus_of(ROWS)
    stream = stream_of(corpus, *planted(corpus))
    with pytest.raises(UsageError, match="'base' at 0 sites"):
        difference_energy(stream, ("base", "simpo"), runtime=Runtime())
    single = corpus_of([("refusal", "sft", "p", 0), ("refusal", "simpo", "p", 0)])
    with pytest.raises(UsageError, match="two prompts"):
        difference_energy(stream_of(single, *planted(single)), ("sft", "simpo"), runtime=Runtime())


@settings(max_examples=50)
@given(st.floats(0.005, 0.5), st.floats(1e-3, 0.3), st.floats(0.0, 0.3))
def test_the_matching_scale_is_found_in_few_measurements(
    target: float, unit_energy: float, curvature: float
) -> None:
    """Energy = e·s²(1 + c·s): quadratic near 0, bent further out."""
    found = match_scale(
        lambda s: unit_energy * s**2 * (1 + curvature * s), target, bounds=(1e-3, 1e3)
    )
    assert found.converged
    assert found.relative_energy == pytest.approx(target, rel=0.05)
    assert found.n_measurements <= 6


def test_a_pure_quadratic_needs_two_measurements() -> None:
    found = match_scale(lambda s: 0.02 * s**2, 0.08)
    assert (found.n_measurements, found.converged) == (2, True)
    assert found.scale == pytest.approx(2.0)


def test_a_floor_under_the_energy_is_reported_and_not_hidden() -> None:
    """A twin against a model that is not its base: no scale brings the energy below 0.05."""
    found = match_scale(lambda s: 0.05 + 0.01 * s**2, 0.02)
    assert not found.converged
    assert found.relative_energy > 0.05
    capped = match_scale(lambda s: 0.001 * s**2, 0.5)
    assert (capped.scale, capped.converged) == (pytest.approx(10.0), False)


def test_nothing_to_match_is_an_error() -> None:
    with pytest.raises(UsageError, match="does not differ"):
        match_scale(lambda s: s, 0.0)
    with pytest.raises(RunError, match="do not differ at scale"):
        match_scale(lambda s: 0.0, 0.1)
