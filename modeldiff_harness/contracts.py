"""The kinds of plugin and what each must do.  Imports no torch; tensors are named by letters.

A plugin distribution registers `Component`s through the hook `mdh_components`; a component's
factory returns an object that satisfies the Protocol of its kind.  Kinds without a Protocol here
(model_aliases, corpus, design, probe, feature_set, battle_importer, task_suite)
state their return type in `KINDS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from modeldiff_harness.artifacts import (
    Battle,
    ImportedResults,
    LatentEvidence,
    LatentLabel,
    Normaliser,
    PreferencePrompt,
    ScoreColumn,
    TokenisedCorpus,
    TokenWindow,
    TrainedDictionary,
    View,
)
from modeldiff_harness.progress import Progress, SilentProgress

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "API_VERSION",
    "KINDS",
    "ActivationBatch",
    "ActivationSource",
    "ActivationStream",
    "AnswerPair",
    "BattleImporter",
    "Codes",
    "Component",
    "DesignMember",
    "DictionaryDesign",
    "DictionaryLearner",
    "DocumentFirings",
    "ExampleGroup",
    "FeatureSet",
    "Figure",
    "Judge",
    "Judgment",
    "Labeler",
    "LatentScorer",
    "RenderedSection",
    "ReportSection",
    "ReportTable",
    "ResultImporter",
    "Runtime",
    "ScoreContext",
    "SourceModels",
    "StageEvent",
    "TrainStepEvent",
]

API_VERSION = 1
"""Version of this file's contracts; a component of another major version is refused."""

KINDS: Mapping[str, str] = {
    "model_aliases": "() -> Mapping[str, ModelRef]",
    "corpus": "(**config) -> Iterable[Document]",
    "activation_source": "ActivationSource",
    "design": "DictionaryDesign",
    "dictionary_learner": "DictionaryLearner",
    "latent_scorer": "LatentScorer",
    "probe": "Probe: run(models, dictionary, owners) -> artifact; what needs the models themselves",
    "labeler": "Labeler",
    "provider": "client of a paid or remote model, used by judges and labelers",
    "judge": "Judge",
    "feature_set": "FeatureSet",
    "result_importer": "ResultImporter",
    "battle_importer": "BattleImporter",
    "task_suite": "() -> folder of lm-eval tasks (Path) or None when its data is not installed",
    "report_section": "ReportSection",
}
"""Kind → what its factory returns."""


@dataclass(frozen=True)
class Component:
    """One plugin component, described without importing it.

    `factory` is "package.module:name" (imported when first called) or a callable; it receives the
    component's configuration as keyword arguments.
    """

    kind: str
    name: str
    factory: str | Callable[..., Any]
    summary: str
    config: Mapping[str, Any] = field(default_factory=dict)
    """Default configuration: every key the factory accepts, with its default."""
    version: str = "1"
    """Enters store keys: raise it when results change."""
    api_version: int = API_VERSION


# ── runtime ──────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class TrainStepEvent:
    """One logged training step, given to `mdh_train_step` observers."""

    dictionary_id: str
    step: int
    n_steps: int
    tokens_per_second: float
    terms: Mapping[str, float]
    """Loss terms and counters by name: total, recon, aux, fve, l0, n_dead, lr, k …"""


@dataclass(frozen=True)
class StageEvent:
    """A stage began, was found in the store, ended or failed; given to `mdh_stage_event`."""

    verb: str
    key: str
    state: str
    """started, reused, finished, failed."""
    seconds: float = 0.0
    detail: str = ""


def _ignore(_event: Any) -> None:
    return None


@dataclass(frozen=True)
class Runtime:
    """How the work is run; nothing here may change a result, so nothing here enters a key."""

    device: str = "cpu"
    batch_tokens: int = 4096
    """Tokens a forward pass when harvesting."""
    batch_size: int = 32
    """Sequences a batch when generating or running benchmarks."""
    workdir: Path = field(default_factory=Path)
    """Folder of the object under construction: survives kill −9, checkpoints go here."""
    progress: Progress = field(default_factory=SilentProgress)
    trust_remote_code: bool = False
    """Run code that comes with a checkpoint; only on the user's word."""
    offline: bool = False
    on_train_step: Callable[[TrainStepEvent], None] = _ignore


# ── activations ──────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class ActivationBatch:
    """Activations of T tokens in every view; the same token ids for every model.

    Widths may differ between models: `acts` holds one (T, D_v) tensor a view, in view order.
    """

    views: tuple[View, ...]
    acts: tuple[Tensor, ...]
    rows_T: Any
    """(T,) int64 numpy: index of each token in the corpus (gives ids, roles, document)."""
    document_T: Any
    """(T,) int64 numpy: index into the corpus's documents."""
    how: Mapping[str, str] = field(default_factory=dict)
    """Model → how it was run (type, packing), for the record; a source may leave it out."""


@dataclass(frozen=True)
class SourceModels:
    """The models an activation source is asked for: names in canonical order and open handles."""

    names: tuple[str, ...]
    handle: Any
    """What the source needs to run them (a model pool for `transformers`; None for `planted`)."""


class ActivationSource(Protocol):
    """Runs models over tokens and yields what their residual streams hold."""

    def open(
        self, models: SourceModels, corpus: TokenisedCorpus, sites: Sequence[str], runtime: Runtime
    ) -> Iterator[ActivationBatch]:
        """Yield batches in corpus order, views = models × sites, kept tokens only.

        Raises UsageError for a site a model does not have, and when the same token ids cannot be
        given to every model.
        """
        ...

    def state(self) -> dict[str, Any]:
        """Return a JSON-safe position from which `restore` continues exactly."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from `state` at the next `open`."""
        ...


class ActivationStream(Protocol):
    """What learners and scorers read: paired activations of one dictionary's views.

    Implemented over cached activations (`latents/activations/stream.py`) and over models that
    run meanwhile (`latents/activations/live_stream.py`).
    """

    views: tuple[View, ...]
    normalisers: tuple[Normaliser, ...]
    """From the train split, float64."""
    corpus: TokenisedCorpus

    def n_rows(self, split: str) -> int:
        """Return the number of kept tokens of `split`.

        A live stream counts the outliers that it will leave out: count what comes where it matters.
        """
        ...

    def shuffled(
        self, split: str, batch_tokens: int, *, seed: int, start_step: int = 0
    ) -> Iterator[ActivationBatch]:
        """Yield normalised batches of exactly `batch_tokens` for ever, from step `start_step`.

        Every epoch is a fresh permutation drawn from (seed, epoch); the token order of a step
        depends on nothing else, so a resumed run sees what an unbroken one sees.
        """
        ...

    def ordered(self, splits: Sequence[str], batch_tokens: int) -> Iterator[ActivationBatch]:
        """Yield every kept token of `splits` once, normalised, in corpus order."""
        ...


# ── dictionaries ─────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Codes:
    """Sparse codes of a batch: N firings, sorted by token then latent; never a dense T×L matrix."""

    n_tokens: int
    n_latents: int
    token_N: Tensor
    """int64, index within the batch."""
    latent_N: Tensor
    """int64."""
    code_N: Tensor
    """Unscaled code f > 0."""
    activation_N: Tensor
    """Reported activation f·w."""


@dataclass(frozen=True)
class DocumentFirings:
    """The same firings by document and latent: P pairs, each with its firings in token order.

    Numpy arrays.  Pairs are sorted by document; within one, by where the latent fires first.
    """

    document_P: Any
    """int64, index into the corpus's documents."""
    latent_P: Any
    """int64."""
    start_P1: Any
    """(P + 1,) int64: the firings of pair p are start_P1[p] … start_P1[p + 1]."""
    row_N: Any
    """int64, index into the corpus's tokens."""
    activation_N: Any
    """f·w."""
    mass_P: Any
    """float64, Σ f·w of the pair's firings."""
    peak_P: Any
    """The pair's largest f·w."""
    peak_row_P: Any
    """int64, corpus token of the (first) peak."""


class DictionaryLearner(Protocol):
    """Fits a sparse dictionary to a stream of paired activations."""

    def fit(
        self,
        stream: ActivationStream,
        *,
        dictionary_id: str,
        design: str,
        replicate: int,
        runtime: Runtime,
    ) -> TrainedDictionary:
        """Train on split "train", set θ on split "calibrate", return the inference form.

        Checkpoints into `runtime.workdir` and continues from there; emits
        `runtime.on_train_step`.  Deterministic in (stream, configuration, replicate).
        Raises RunError on NaN or a loss spike, keeping the last good checkpoint.
        """
        ...


@dataclass(frozen=True)
class DesignMember:
    """One dictionary a design asks for."""

    dictionary_id: str
    models: tuple[str, ...]
    """Model names in canonical order."""
    roles: Mapping[str, str]
    """Model name → baseline, candidate or base."""
    null_models: tuple[str, ...] | None
    """The same with the later model replaced by the null twin; None without a twin."""


class DictionaryDesign(Protocol):
    """Says which dictionaries answer the question: via-base (two), direct (one), joint (one)."""

    def members(
        self,
        *,
        baseline: str,
        candidate: str,
        base: str | None,
        null_twin: str | None,
        site: str,
        twin_of: str | None = None,
    ) -> tuple[DesignMember, ...]:
        """Return the dictionaries to train; UsageError when a needed model is missing.

        `twin_of` names the model that `null_twin` is a twin of (default: the baseline), so that a
        swapped pair keeps its null.
        """
        ...


@dataclass(frozen=True)
class ScoreContext:
    """Everything about one scoring batch, computed once and shared by all scorers.

    A batch holds whole documents, in corpus order, so that counts of documents simply add up.
    All activations are normalised.  Errors follow x = x̂ + e; x̂ includes the decoder bias.
    """

    dictionary: TrainedDictionary
    corpus: TokenisedCorpus
    split: str
    """A batch never crosses splits."""
    block_T: Tensor
    """(T,) int64 jackknife block: prompts are dealt to `n_blocks` blocks by digest."""
    n_blocks: int
    rows_T: Tensor
    """(T,) int64 index into the corpus's tokens."""
    document_T: Tensor
    """(T,) int64 index into the corpus's documents."""
    codes: Codes
    acts: tuple[Tensor, ...]
    """V tensors x^v (T, D_v)."""
    reconstructions: tuple[Tensor, ...]
    """V tensors x̂^v (T, D_v)."""
    errors: tuple[Tensor, ...]
    """V tensors e^v = x^v − x̂^v (T, D_v)."""
    by_document: DocumentFirings
    """The codes again, grouped by document and latent."""


class LatentScorer(Protocol):
    """A streaming accumulator over the score pass; `merge` of two halves equals one pass."""

    splits: Sequence[str]
    """Splits this scorer reads; batches of other splits are not given to it."""

    def start(self, dictionary: TrainedDictionary, corpus: TokenisedCorpus) -> None:
        """Allocate the running sums."""
        ...

    def update(self, context: ScoreContext) -> None:
        """Add one batch."""
        ...

    def merge(self, other: Any) -> None:
        """Add the sums of another accumulator of the same kind and dictionary."""
        ...

    def finish(self) -> Sequence[ScoreColumn]:
        """Turn sums into columns; names must be unique over all scorers of a run."""
        ...


class Labeler(Protocol):
    """Names latents from evidence; iterable in, iterator out, so that batches and resume fit.

    It returns a proposal; the harness tests it on documents the labeler never saw.
    """

    name: str

    def label(self, evidences: Iterable[LatentEvidence]) -> Iterator[LatentLabel]:
        """Yield one label an evidence, in any order, `test_score` left None."""
        ...


# ── benchmarks ───────────────────────────────────────────────────────────────────────────────


class ResultImporter(Protocol):
    """Reads the benchmark results of one model that another program wrote."""

    def recognises(self, path: Path) -> bool:
        """Say whether the file or folder looks like this format (reads little, never raises)."""
        ...

    def read(self, path: Path) -> ImportedResults:
        """Return one model's results item by item.

        The content is hostile: nothing of it is executed or unpacked to disk, and sizes are
        bounded.  Raises UsageError in one line for a path that holds no readable results, or those
        of several models.
        """
        ...


# ── preferences ──────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class AnswerPair:
    """Two answers to one prompt, in the order they are shown."""

    prompt: PreferencePrompt
    model_a: str
    response_a: str
    model_b: str
    response_b: str
    order: int = 0


@dataclass(frozen=True)
class Judgment:
    """A verdict on an AnswerPair: winner as in Battle; `invalid` needs a reason."""

    winner: str
    strength: float | None = None
    reason: str = ""


class Judge(Protocol):
    """Compares answers; it never sees which model is the candidate."""

    name: str
    judge_kind: str
    """human, llm, reward_model, verifiable or heuristic."""
    order_free: bool
    """True when swapping the answers cannot change the verdict: one presentation is enough."""

    def compare(self, pairs: Iterable[AnswerPair]) -> Iterator[tuple[AnswerPair, Judgment]]:
        """Yield a judgment a pair, in any order."""
        ...


class BattleImporter(Protocol):
    """Reads one file format of battles."""

    def recognises(self, path: Path) -> bool:
        """Say whether the file looks like this format (reads a few lines at most)."""
        ...

    def read(self, path: Path) -> tuple[Sequence[Battle], Mapping[str, int]]:
        """Return the battles and, by reason, the rows that had to be dropped."""
        ...


class FeatureSet(Protocol):
    """Named style features of an answer; sets are never mixed."""

    name: str
    features: tuple[str, ...]

    def count(self, answer: str, n_tokens: int | None) -> Mapping[str, float]:
        """Return the raw counts of one answer, a value for each of `features`."""
        ...

    def difference(self, a: Mapping[str, float], b: Mapping[str, float]) -> Sequence[float]:
        """Return the normalised difference a − b, antisymmetric, one value a feature."""
        ...


# ── report ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class ReportTable:
    """A table of already formatted cells; renderers escape them.

    Columns stand in order of importance: a narrow terminal leaves out the last ones.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    tones: tuple[str, ...] = ()
    """A tone a row: "", good, bad or muted; empty when no row has one."""
    collapsed: bool = False
    """True for long or secondary tables: closed in HTML, left out in a terminal."""


@dataclass(frozen=True)
class Figure:
    """A static figure as SVG text made by the harness's own code, with its text alternative."""

    title: str
    svg: str
    alt: str


@dataclass(frozen=True)
class ExampleGroup:
    """Token windows of one latent, shaded by activation where the renderer can."""

    title: str
    windows: tuple[TokenWindow, ...]


@dataclass(frozen=True)
class RenderedSection:
    """One section of the report, ready for any renderer; all text is untrusted and plain."""

    key: str
    title: str
    paragraphs: tuple[str, ...]
    tables: tuple[ReportTable, ...] = ()
    figures: tuple[Figure, ...] = ()
    examples: tuple[ExampleGroup, ...] = ()
    """Left out in a terminal."""
    commands: tuple[str, ...] = ()
    """Shell commands, one a block."""
    reading: tuple[str, ...] = ()
    """How to read the section, the same in every report; left out in a terminal."""


class ReportSection(Protocol):
    """Adds a section to the report."""

    order: int
    """Sections are sorted by (order, name); built-ins use hundreds."""

    def render(self, report: Any) -> RenderedSection | None:
        """Return the section, or None when it has nothing to say about this report."""
        ...
