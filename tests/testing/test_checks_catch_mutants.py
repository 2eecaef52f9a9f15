"""Each check fails on a plugin that breaks its rule, and names plugin, kind and rule."""

from __future__ import annotations

import itertools
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modeldiff_harness import testing as kit
from modeldiff_harness.artifacts import (
    Battle,
    Document,
    ImportedResults,
    LatentLabel,
    MeasuredTask,
    ModelRef,
    TaskSample,
)
from modeldiff_harness.builtin.batchtopk import batchtopk
from modeldiff_harness.builtin.designs import DirectDesign, ViaBaseDesign
from modeldiff_harness.builtin.feature_lmarena import LmArenaFeatures
from modeldiff_harness.builtin.judge_length import LengthJudge
from modeldiff_harness.builtin.labeler_enrichment import EnrichmentLabeler
from modeldiff_harness.builtin.planted import PlantedConfig, PlantedSource
from modeldiff_harness.builtin.scorer_activity import Activity
from modeldiff_harness.contracts import (
    Component,
    Figure,
    Judgment,
    RenderedSection,
    ReportTable,
)
from modeldiff_harness.errors import UsageError
from modeldiff_harness.hookspecs import hookimpl
from modeldiff_harness.plugins import load_registry
from modeldiff_harness.testing import CheckFailed

COUNTER = itertools.count()
"""What a component that is not deterministic draws from."""


@dataclass(frozen=True)
class Mutant:
    """A component that breaks `rule` and nothing before it."""

    check: Callable[..., None]
    factory: Callable[[], Any]
    rule: str


MUTANTS: dict[str, Mutant] = {}


def mutant(check: Callable[..., None], rule: str, *bound: Any) -> Callable[[Any], Any]:
    """Register a factory (or a class) as a mutant."""

    def keep(factory: Any) -> Any:
        made = (lambda: factory(*bound)) if bound else factory
        MUTANTS[f"{check.__name__.removeprefix('check_')}: {factory.__name__}"] = Mutant(
            check, made, rule
        )
        return factory

    return keep


def sound(check: Callable[..., None]) -> Callable[[Any], Any]:
    """Register a component that breaks nothing: without it a mutant proves little."""
    return mutant(check, "")


# ── aliases ──────────────────────────────────────────────────────────────────────────────────


@sound(kit.check_model_aliases)
def aliases():
    return {"a": ModelRef("a", "org/a", base="b")}


@mutant(kit.check_model_aliases, "types")
def aliases_to_paths():
    return {"a": "org/a"}


@mutant(kit.check_model_aliases, "names")
def aliases_under_another_name():
    return {"a": ModelRef("b", "org/a")}


@mutant(kit.check_model_aliases, "names")
def aliases_with_a_comma():
    return {"a,b": ModelRef("a,b", "org/a")}


@mutant(kit.check_model_aliases, "references")
def aliases_on_themselves():
    return {"a": ModelRef("a", "org/a", base="a")}


@mutant(kit.check_model_aliases, "determinism")
def aliases_at_random():
    return {"a": ModelRef("a", f"org/{next(COUNTER)}")}


@mutant(kit.check_model_aliases, "build")
def aliases_that_raise():
    raise OSError("no such file")


# ── corpora ──────────────────────────────────────────────────────────────────────────────────


@sound(kit.check_corpus)
class Texts:
    capability: str | None = "refusal"

    def __iter__(self) -> Iterator[Document]:
        for n in range(3):
            yield Document(f"d{n}", text=f"text {n}", capability=self.capability)

    def fingerprint(self):
        return {"n": 3}


@mutant(kit.check_corpus, "fingerprint")
class TextsWithoutFingerprint(Texts):
    fingerprint = None


@mutant(kit.check_corpus, "fingerprint")
class TextsWithPathInFingerprint(Texts):
    def fingerprint(self):
        return {"path": Path()}


@mutant(kit.check_corpus, "fingerprint")
class TextsOfAnotherFingerprintEachTime(Texts):
    def fingerprint(self):
        return {"n": next(COUNTER)}


@mutant(kit.check_corpus, "fingerprint")
class TextsReadToBeDescribed(Texts):
    def fingerprint(self):
        return {"n": len(list(self))}


@mutant(kit.check_corpus, "fingerprint")
class TextsFromTheNetwork(Texts):
    def fingerprint(self):
        with suppress(OSError):
            socket.create_connection(("localhost", 9))
        return {"n": 3}


@mutant(kit.check_corpus, "documents")
class TextsOfOneId(Texts):
    def __iter__(self):
        yield from [Document("d", text="a"), Document("d", text="b")]


@mutant(kit.check_corpus, "documents")
class EmptyTexts(Texts):
    def __iter__(self):
        yield Document("d")


@mutant(kit.check_corpus, "documents")
class TextsOfNoCapability(Texts):
    capability = "juggling"


@mutant(kit.check_corpus, "documents")
class BareTexts(Texts):
    def __iter__(self):
        yield "a text"


@mutant(kit.check_corpus, "determinism")
class TextsOnce(Texts):
    def __init__(self):
        self._rest = super().__iter__()

    def __iter__(self):
        return self._rest


# ── tasks ────────────────────────────────────────────────────────────────────────────────────


@sound(kit.check_task_suite)
def tasks_not_installed():
    return None


@mutant(kit.check_task_suite, "types")
def tasks_as_text():
    return "tasks"


@mutant(kit.check_task_suite, "types")
def tasks_nowhere():
    return Path("/no/such/folder")


@mutant(kit.check_task_suite, "tasks")
def tasks_without_a_task():
    return Path(__file__).parent


@mutant(kit.check_task_suite, "determinism")
def tasks_at_random():
    return Path(f"/{next(COUNTER)}")


# ── designs ──────────────────────────────────────────────────────────────────────────────────


sound(kit.check_design)(DirectDesign)
sound(kit.check_design)(ViaBaseDesign)


class ChangedDesign(DirectDesign):
    """`direct`, with every member changed."""

    def members(self, **asked):
        return tuple(self.changed(m, **asked) for m in super().members(**asked))


@mutant(kit.check_design, "members")
class NoMembers(DirectDesign):
    def members(self, **asked):
        return ()


@mutant(kit.check_design, "members")
class WrongRoles(ChangedDesign):
    def changed(self, member, **asked):
        return replace(member, roles=dict.fromkeys(member.models, "base"))


@mutant(kit.check_design, "members")
class OneId(ViaBaseDesign):
    def members(self, **asked):
        return tuple(replace(m, dictionary_id=asked["site"]) for m in super().members(**asked))


@mutant(kit.check_design, "null")
class NullWithoutTwin(ChangedDesign):
    def changed(self, member, **asked):
        return replace(member, null_models=member.models)


@mutant(kit.check_design, "null")
class NullOfTheWrongModels(ChangedDesign):
    def changed(self, member, null_twin, **asked):
        return replace(member, null_models=member.models if null_twin else None)


@mutant(kit.check_design, "swap")
class NamesTheCandidate(ChangedDesign):
    def changed(self, member, candidate, site, **asked):
        return replace(member, dictionary_id=f"{candidate}/{site}")


@mutant(kit.check_design, "swap")
class TwinOfTheBaseline(DirectDesign):
    def members(self, twin_of=None, **asked):
        return super().members(**asked)


@mutant(kit.check_design, "refusals")
class AgainstItself(DirectDesign):
    def members(self, **asked):
        if asked["baseline"] == asked["candidate"]:
            return ()
        return super().members(**asked)


# ── judges ───────────────────────────────────────────────────────────────────────────────────


@sound(kit.check_judge)
class Shorter:
    name, judge_kind, order_free = "shorter", "heuristic", True

    def compare(self, pairs):
        for pair in pairs:
            yield pair, self.judge(pair)

    def judge(self, pair):
        a, b = len(pair.response_a), len(pair.response_b)
        return Judgment("tie" if a == b else "model_a" if a < b else "model_b")


@mutant(kit.check_judge, "attributes")
class NoKindOfJudge(Shorter):
    judge_kind = "oracle"


@mutant(kit.check_judge, "attributes")
class NoWordOnOrder(Shorter):
    order_free = None


@mutant(kit.check_judge, "empty")
class JudgesNothing(Shorter):
    def compare(self, pairs):
        pairs = list(pairs)
        return iter([(p, self.judge(p)) for p in pairs] or [(None, Judgment("tie"))])


@mutant(kit.check_judge, "verdicts")
class SkipsEmptyAnswers(Shorter):
    def compare(self, pairs):
        return super().compare(p for p in pairs if p.response_a)


@mutant(kit.check_judge, "verdicts")
class ChangesThePair(Shorter):
    def compare(self, pairs):
        for pair, judgment in super().compare(pairs):
            yield replace(pair, response_a=pair.response_a.strip() + "."), judgment


@mutant(kit.check_judge, "verdicts")
class AnotherWinner(Shorter):
    def judge(self, pair):
        return Judgment("A")


@mutant(kit.check_judge, "verdicts")
class InvalidWithoutReason(Shorter):
    def judge(self, pair):
        return Judgment("invalid")


@mutant(kit.check_judge, "verdicts")
class StopsAtHostileText(Shorter):
    def judge(self, pair):
        pair.response_a.encode("ascii")
        return super().judge(pair)


@mutant(kit.check_judge, "determinism")
class JudgesAtRandom(Shorter):
    def judge(self, pair):
        return Judgment("tie", strength=float(next(COUNTER)))


@mutant(kit.check_judge, "determinism")
class RemembersThePairBefore(Shorter):
    def compare(self, pairs):
        return ((p, Judgment("tie", float(n))) for n, p in enumerate(pairs))


@mutant(kit.check_judge, "blindness")
class FavoursAName(Shorter):
    def judge(self, pair):
        return Judgment("model_a" if pair.model_a == "left" else "tie")


@mutant(kit.check_judge, "swap")
class FavoursTheFirst(Shorter):
    def judge(self, pair):
        return Judgment("model_a")


sound(kit.check_judge)(type("FavoursTheFirstAndSaysSo", (FavoursTheFirst,), {"order_free": False}))
mutant(kit.check_judge, "attributes", 3.0, 0)(
    type("NamelessLengthJudge", (LengthJudge,), {"name": ""})
)


# ── style ────────────────────────────────────────────────────────────────────────────────────


@mutant(kit.check_feature_set, "attributes")
class FeaturesTwice(LmArenaFeatures):
    features = ("tokens", "tokens")


@mutant(kit.check_feature_set, "counts")
class NeedsATokenCount(LmArenaFeatures):
    def count(self, answer, n_tokens):
        return {**super().count(answer, n_tokens), "tokens": n_tokens + 0}


@mutant(kit.check_feature_set, "counts")
class ForgetsAFeature(LmArenaFeatures):
    def count(self, answer, n_tokens):
        return {"tokens": 1.0}


@mutant(kit.check_feature_set, "counts")
class DividesByTheLength(LmArenaFeatures):
    def count(self, answer, n_tokens):
        return {**super().count(answer, n_tokens), "bold": answer.count("**") / len(answer)}


@mutant(kit.check_feature_set, "determinism")
class CountsCalls(LmArenaFeatures):
    def count(self, answer, n_tokens):
        return {**super().count(answer, n_tokens), "bold": float(next(COUNTER))}


@mutant(kit.check_feature_set, "swap")
class DividesByTheFirst(LmArenaFeatures):
    def difference(self, a, b):
        return [(a[f] - b[f]) / (a[f] + 1.0) for f in self.features]


@mutant(kit.check_feature_set, "swap")
class OneDifference(LmArenaFeatures):
    def difference(self, a, b):
        return [a["tokens"] - b["tokens"]]


# ── labelers ─────────────────────────────────────────────────────────────────────────────────


class ChangedLabels(EnrichmentLabeler):
    """`enrichment`, with every label changed."""

    def label(self, evidences):
        return (self.changed(label) for label in super().label(evidences))


@mutant(kit.check_labeler, "empty")
class LabelsNothing(EnrichmentLabeler):
    def label(self, evidences):
        yield from super().label(evidences)
        yield LatentLabel("sample", 99, "refusal", "", self.name)


@mutant(kit.check_labeler, "labels")
class SkipsSilentLatents(EnrichmentLabeler):
    def label(self, evidences):
        return super().label(e for e in evidences if any(e.active_prompts_C))


@mutant(kit.check_labeler, "labels")
class InventsCapabilities(ChangedLabels):
    def changed(self, label):
        return replace(label, capability="juggling")


@mutant(kit.check_labeler, "labels")
class GivesNoReason(ChangedLabels):
    def changed(self, label):
        return replace(label, reason="")


@mutant(kit.check_labeler, "labels")
class SignsAsSomebody(ChangedLabels):
    def changed(self, label):
        return replace(label, labeler="somebody")


@mutant(kit.check_labeler, "grading")
class GradesItself(ChangedLabels):
    def changed(self, label):
        return replace(label, n_test_prompts=7)


@mutant(kit.check_labeler, "determinism")
class LabelsAtRandom(ChangedLabels):
    def changed(self, label):
        return replace(label, text=f"{next(COUNTER)}")


@mutant(kit.check_labeler, "determinism")
class NumbersItsLabels(EnrichmentLabeler):
    def label(self, evidences):
        for n, label in enumerate(super().label(evidences)):
            yield replace(label, text=str(n))


# ── sections ─────────────────────────────────────────────────────────────────────────────────


@sound(kit.check_section)
class Section:
    order = 150
    found = RenderedSection("mine", "Mine", ("a line",))

    def render(self, report):
        return self.found


@mutant(kit.check_section, "order")
class Unordered(Section):
    order = "first"


@mutant(kit.check_section, "rendered")
class PlainText(Section):
    found = "a line"


@mutant(kit.check_section, "rendered")
class OneParagraph(Section):
    found = RenderedSection("mine", "Mine", "a line")


@mutant(kit.check_section, "rendered")
class Ragged(Section):
    found = RenderedSection("m", "M", (), tables=(ReportTable("t", ("a", "b"), (("1",),)),))


@mutant(kit.check_section, "rendered")
class BareNumbers(Section):
    found = RenderedSection("m", "M", (), tables=(ReportTable("t", ("a",), ((1,),)),))


@mutant(kit.check_section, "rendered")
class OtherTones(Section):
    found = RenderedSection(
        "m", "M", (), tables=(ReportTable("t", ("a",), (("1",),), tones=("red",)),)
    )


@mutant(kit.check_section, "empty")
class NeedsBenchmarks(Section):
    def render(self, report):
        return RenderedSection("m", "M", (report.benchmarks.rows[0].task,))


@mutant(kit.check_section, "reading")
class Notes(Section):
    def render(self, report):
        report.provenance.config["seen"] = True


@mutant(kit.check_section, "determinism")
class Counts(Section):
    def render(self, report):
        return RenderedSection("m", "M", (f"{next(COUNTER)}",))


@mutant(kit.check_section, "figures")
class Drawn(Section):
    def render(self, report):
        svg = f"<svg><text>{report.pair.candidate.name}</text></svg>"
        return RenderedSection("m", "M", (), figures=(Figure("f", svg, "a drawing"),))


@mutant(kit.check_section, "figures")
class Scripted(Section):
    figure = Figure("f", '<svg onload="alert(1)"></svg>', "a drawing")
    found = RenderedSection("m", "M", (), figures=(figure,))


# ── scorers ──────────────────────────────────────────────────────────────────────────────────


@mutant(kit.check_scorer, "splits")
class ReadsTheTest(Activity):
    splits = ("score", "label_test")


class ChangedColumns(Activity):
    """`activity`, with every column changed."""

    def finish(self):
        return [self.changed(column) for column in super().finish()]


@mutant(kit.check_scorer, "columns")
class WithNaN(ChangedColumns):
    def changed(self, column):
        return replace(column, values_L=column.values_L * np.nan)


@mutant(kit.check_scorer, "columns")
class OneName(ChangedColumns):
    def changed(self, column):
        return replace(column, name="n")


@mutant(kit.check_scorer, "columns")
class WithoutUnit(ChangedColumns):
    def changed(self, column):
        return replace(column, unit="")


@mutant(kit.check_scorer, "columns")
class AnotherLength(ChangedColumns):
    def changed(self, column):
        return replace(column, values_L=column.values_L[1:])


@mutant(kit.check_scorer, "columns")
class IntervalsTurned(ChangedColumns):
    def changed(self, column):
        return replace(column, lower_L=column.values_L + 1, upper_L=column.values_L - 1)


@mutant(kit.check_scorer, "determinism")
class ScoresAtRandom(ChangedColumns):
    def changed(self, column):
        return replace(column, values_L=column.values_L + next(COUNTER))


@mutant(kit.check_scorer, "merge")
class ForgetsTheOther(Activity):
    def merge(self, other):
        pass


@mutant(kit.check_scorer, "merge")
class MergesMeans(Activity):
    def finish(self):
        columns = super().finish()
        self._tokens_L = self._tokens_L * 0 + 1
        return columns

    def merge(self, other):
        super().merge(other)
        self._max_L = (self._max_L + other._max_L) / 2


@mutant(kit.check_scorer, "empty")
class NeedsABatch(Activity):
    def finish(self):
        assert self._n_tokens
        return super().finish()


@mutant(kit.check_scorer, "reading")
class Spoils(Activity):
    def update(self, context):
        super().update(context)
        context.acts[0].zero_()


@mutant(kit.check_scorer, "columns")
class NoColumns(Activity):
    def finish(self):
        return []


# ── sources ──────────────────────────────────────────────────────────────────────────────────


class ChangedBatches(PlantedSource):
    """`planted`, with every batch changed."""

    def __init__(self):
        super().__init__(PlantedConfig())

    def open(self, models, corpus, sites, runtime):
        return (self.changed(b) for b in super().open(models, corpus, sites, runtime))


@mutant(kit.check_source, "batches")
class Backwards(ChangedBatches):
    def changed(self, batch):
        return replace(batch, rows_T=batch.rows_T[::-1].copy())


@mutant(kit.check_source, "batches")
class LosesTheLastToken(ChangedBatches):
    def changed(self, batch):
        acts = tuple(a[:-1] for a in batch.acts)
        return replace(batch, acts=acts, rows_T=batch.rows_T[:-1], document_T=batch.document_T[:-1])


@mutant(kit.check_source, "batches")
class OtherViews(ChangedBatches):
    def changed(self, batch):
        return replace(batch, views=batch.views[::-1])


@mutant(kit.check_source, "batches")
class FirstDocumentAlways(ChangedBatches):
    def changed(self, batch):
        return replace(batch, document_T=batch.document_T * 0)


@mutant(kit.check_source, "batches")
class Infinite(ChangedBatches):
    def changed(self, batch):
        return replace(batch, acts=tuple(a / 0 for a in batch.acts))


@mutant(kit.check_source, "determinism")
class Noisy(ChangedBatches):
    def changed(self, batch):
        return replace(batch, acts=tuple(a + next(COUNTER) for a in batch.acts))


@mutant(kit.check_source, "resume")
class BeginsAnew(ChangedBatches):
    def changed(self, batch):
        return batch

    def restore(self, state):
        pass


@mutant(kit.check_source, "resume")
class StateThatIsNoJson(ChangedBatches):
    def changed(self, batch):
        return batch

    def state(self):
        return {"position": np.int64(self._position)}


@mutant(kit.check_source, "resume")
class StateOfTheDrift(ChangedBatches):
    """Adds a number that only the unbroken run has counted."""

    def __init__(self):
        super().__init__()
        self.n = 0

    def changed(self, batch):
        self.n += 1
        return replace(batch, acts=tuple(a + self.n for a in batch.acts))


@mutant(kit.check_source, "sites")
class AnySite(ChangedBatches):
    def changed(self, batch):
        return batch

    def open(self, models, corpus, sites, runtime):
        return super().open(models, corpus, ("resid_post.0",), runtime)


# ── learners ─────────────────────────────────────────────────────────────────────────────────


class Learner:
    """`batchtopk`, small, with its fit open to changes."""

    def fit(self, stream, **asked):
        learner = batchtopk(n_latents=24, k=3, steps=12, batch_tokens=64, log_every=1,
                            checkpoint_every_seconds=0.0)  # fmt: skip
        return self.changed(learner.fit(stream, **asked), stream)

    def changed(self, dictionary, stream):
        return dictionary


sound(kit.check_learner)(Learner)


@mutant(kit.check_learner, "splits")
class PeeksAtTheTest(Learner):
    def changed(self, dictionary, stream):
        next(stream.ordered(("label_test",), 64))
        return dictionary


@mutant(kit.check_learner, "dictionary")
class AnotherId(Learner):
    def changed(self, dictionary, stream):
        return replace(dictionary, dictionary_id="mine")


@mutant(kit.check_learner, "dictionary")
class NegativeThreshold(Learner):
    def changed(self, dictionary, stream):
        return replace(dictionary, threshold=-1.0)


@mutant(kit.check_learner, "dictionary")
class Turned(Learner):
    def changed(self, dictionary, stream):
        return replace(dictionary, decoders=tuple(d.T for d in dictionary.decoders))


@mutant(kit.check_learner, "determinism")
class DriftingThreshold(Learner):
    def changed(self, dictionary, stream):
        return replace(dictionary, threshold=1.0 + next(COUNTER))


@mutant(kit.check_learner, "determinism")
class OneReplicate(Learner):
    def fit(self, stream, replicate, **asked):
        return replace(super().fit(stream, replicate=0, **asked), replicate=replicate)


@mutant(kit.check_learner, "events")
class Silent(Learner):
    def fit(self, stream, runtime, **asked):
        quiet = replace(runtime, on_train_step=lambda event: None)
        return super().fit(stream, runtime=quiet, **asked)


@mutant(kit.check_learner, "resume")
class BeginsTrainingAnew(Learner):
    def fit(self, stream, runtime, **asked):
        elsewhere = replace(runtime, workdir=runtime.workdir / str(next(COUNTER)))
        return super().fit(stream, runtime=elsewhere, **asked)


@mutant(kit.check_learner, "resume")
class ForgetsItsMomentum(Learner):
    """Goes on with other steps than the unbroken run would."""

    def fit(self, stream, runtime, **asked):
        resumed = runtime.workdir.exists() and any(runtime.workdir.iterdir())
        found = super().fit(stream, runtime=runtime, **asked)
        bias_L = found.encoder_bias_L + np.float32(1e-3 * resumed)
        return replace(found, encoder_bias_L=bias_L)


@mutant(kit.check_learner, "fingerprint")
class PathAsFingerprint(Learner):
    def fingerprint(self):
        return Path()


@mutant(kit.check_learner, "trains")
class PerhapsTrains(Learner):
    trains = "perhaps"


# ── importers ────────────────────────────────────────────────────────────────────────────────


class Lines:
    """One number a line, in a file *.scores; sound."""

    def recognises(self, path: Path) -> bool:
        return path.suffix == ".scores"

    def read(self, path: Path) -> ImportedResults:
        if not self.recognises(path):
            raise UsageError(f"{path.name} holds no scores.")
        values = [float(line) for line in path.read_text().split()]
        return ImportedResults(path.stem, "lines", (MeasuredTask("mine", self.samples(values)),))

    def samples(self, values):
        return tuple(
            TaskSample(i, str(i), "", "", "none", "", "", "", "", {"score": v})
            for i, v in enumerate(values)
        )


sound(kit.check_importer)(Lines)


@mutant(kit.check_importer, "recognises")
class RecognisesAll(Lines):
    def recognises(self, path):
        return True


@mutant(kit.check_importer, "recognises")
class RecognisesNothing(Lines):
    def recognises(self, path):
        return False


@mutant(kit.check_importer, "recognises")
class OpensToRecognise(Lines):
    def recognises(self, path):
        return path.read_text("utf-8")[0].isdigit()


@mutant(kit.check_importer, "refusals")
class RaisesWhatComes(Lines):
    def read(self, path):
        return [float(line) for line in path.read_text().split()] and super().read(path)


@mutant(kit.check_importer, "results")
class NoTask(Lines):
    def read(self, path):
        return replace(super().read(path), tasks=())


@mutant(kit.check_importer, "results")
class OneItem(Lines):
    def samples(self, values):
        return tuple(replace(s, doc_id=0, doc_hash="0") for s in super().samples(values))


@mutant(kit.check_importer, "results")
class Words(Lines):
    def samples(self, values):
        return tuple(replace(s, values={"score": "good"}) for s in super().samples(values))


@mutant(kit.check_importer, "results")
class WithoutMetric(Lines):
    def samples(self, values):
        return tuple(replace(s, values={}) for s in super().samples(values))


@mutant(kit.check_importer, "reading")
class TidiesUp(Lines):
    def read(self, path):
        found = super().read(path)
        path.write_text("")
        path.write_text("1\n0\n")
        return found


@mutant(kit.check_importer, "determinism")
class ReadsAtRandom(Lines):
    def samples(self, values):
        return super().samples([v + next(COUNTER) for v in values])


class Votes:
    """Prompt and winner, JSON lines in a file *.votes; sound."""

    def recognises(self, path: Path) -> bool:
        return path.suffix == ".votes"

    def read(self, path: Path):
        if not self.recognises(path):
            raise UsageError(f"{path.name} holds no votes.")
        battles, dropped = [], {}
        for number, line in enumerate(path.read_text().splitlines()):
            try:
                prompt, winner = json.loads(line)
                battles.append(self.battle(number, prompt, winner))
            except ValueError:
                dropped["not a pair"] = dropped.get("not a pair", 0) + 1
        return battles, dropped

    def battle(self, number, prompt, winner):
        return Battle(f"v{number}", prompt, "A", "B", winner, "votes", "human")


sound(kit.check_battle_importer)(Votes)


class ChangedVotes(Votes):
    def battle(self, number, prompt, winner):
        return replace(super().battle(number, prompt, winner), **self.change)


for _change in ({"winner": "A"}, {"judge_kind": "oracle"}, {"model_b": "A"}, {"y_a": 2.0},
                {"battle_id": "v"}):  # fmt: skip
    _name = f"Changed {', '.join(_change)}"
    mutant(kit.check_battle_importer, "battles")(type(_name, (ChangedVotes,), {"change": _change}))


@mutant(kit.check_battle_importer, "battles")
class NoBattle(Votes):
    def read(self, path):
        return [], super().read(path)[1]


@mutant(kit.check_battle_importer, "refusals")
class InventsBattles(Votes):
    def read(self, path):
        if not self.recognises(path):
            return [self.battle(0, "p", "tie")], {}
        return super().read(path)


@mutant(kit.check_battle_importer, "recognises")
class RecognisesAnyFile(Votes):
    def recognises(self, path):
        return path.is_file()


@mutant(kit.check_battle_importer, "dropped")
class DropsNothing(Votes):
    def read(self, path):
        return super().read(path)[0], {"not a pair": 0}


@mutant(kit.check_battle_importer, "determinism")
class NumbersOnAndOn(Votes):
    def battle(self, number, prompt, winner):
        return super().battle(next(COUNTER), prompt, winner)


# ── the table ────────────────────────────────────────────────────────────────────────────────


FILES = {
    kit.check_importer: ("a.scores", "1\n0\n1\n"),
    kit.check_battle_importer: ("a.votes", '["p1", "model_a"]\n["p2", "tie"]\n[]\n'),
}
"""What the checks of importers read."""


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_breaks_its_rule_and_a_sound_component_none(name: str, tmp_path: Path) -> None:
    one = MUTANTS[name]
    needs = {}
    if one.check in FILES:
        file, text = FILES[one.check]
        needs["path"] = tmp_path / file
        needs["path"].write_text(text)
    if not one.rule:
        one.check(one.factory, **needs)
        return
    with pytest.raises(CheckFailed) as failed:
        one.check(one.factory, name="mdh-mutant", **needs)
    assert failed.value.rule == one.rule, failed.value
    assert failed.value.plugin == "mdh-mutant"
    assert f"breaks the rule {one.rule!r}" in str(failed.value)


def test_every_check_has_a_mutant_and_a_sound_component() -> None:
    checks = {getattr(kit, name) for name in kit.__all__ if name.startswith("check_")}
    by_kind = checks - {kit.check_plugin, kit.check_component}
    assert {one.check for one in MUTANTS.values() if one.rule} == by_kind


# ── registration ─────────────────────────────────────────────────────────────────────────────


def module(folder: Path, name: str, components: str, head: str = "") -> str:
    (folder / f"{name}.py").write_text(
        f"{head}\nfrom modeldiff_harness.contracts import Component\n"
        "from modeldiff_harness.hookspecs import hookimpl\n"
        "def judge(slope=3.0):\n    return slope\n"
        f"@hookimpl\ndef mdh_components():\n    return [{components}]\n"
    )
    return name


SOUND = "Component('judge', 'mine', judge, 'a judge', config={'slope': 3.0})"
REGISTRATIONS = {
    "sound": (SOUND, "", None),
    "heavy": (SOUND, "import torch", "imports"),
    "not there": (SOUND, "import nowhere_to_be_found", "hooks"),
    "exits": (SOUND, "raise SystemExit(0)", "hooks"),
    "kind": (SOUND.replace("'judge'", "'jugde'", 1), "", "hooks"),
    "option": (SOUND.replace("'slope'", "'sloep'"), "", "options"),
    "default": (SOUND.replace("3.0", "4.0"), "", "options"),
    "summary": (SOUND.replace("'a judge'", "' '"), "", "summary"),
    "factory": (SOUND.replace("judge, 'a", "'nowhere.at:all', 'a"), "", "build"),
}


@pytest.mark.parametrize("fault", REGISTRATIONS)
def test_registration_is_checked_in_a_process_of_its_own(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    components, head, rule = REGISTRATIONS[fault]
    monkeypatch.syspath_prepend(tmp_path)
    name = module(tmp_path, f"mdh_registers_{fault.replace(' ', '_')}", components, head)
    if rule is None:
        kit.check_plugin(name)
        return
    with pytest.raises(CheckFailed) as failed:
        kit.check_plugin(name)
    assert failed.value.rule == rule, failed.value
    assert name in str(failed.value)


def test_a_value_that_must_be_refused_is_refused_by_name() -> None:
    def component(factory: Callable[..., Any]) -> Component:
        return Component("judge", "mine", factory, "a judge", config={"slope": 3.0})

    def careless(slope=3.0):
        return Shorter()

    def careful(slope=3.0):
        if slope <= 0:
            raise UsageError(f"slope of judge 'mine' is {slope}.")
        return Shorter()

    for factory, fails in ((careful, False), (careless, True)):

        class Plugin:
            @hookimpl
            def mdh_components(self, factory=factory):
                return [component(factory)]

        registry = load_registry({"mine": Plugin()}, installed=False)
        refused = {"refused": {"slope": -1.0}}
        if fails:
            with pytest.raises(CheckFailed, match=r"'options'.*slope = -1\.0"):
                kit.check_component("judge", "mine", registry=registry, **refused)
        else:
            kit.check_component("judge", "mine", registry=registry, **refused)
