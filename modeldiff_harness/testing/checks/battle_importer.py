"""The check of `battle_importer`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from modeldiff_harness.artifacts import Battle
from modeldiff_harness.contracts import BattleImporter
from modeldiff_harness.testing.checks.files import check_recognition, left_as_it_was
from modeldiff_harness.testing.checks.judge import JUDGE_KINDS
from modeldiff_harness.testing.checks.rules import Subject

__all__ = ["check_battle_importer"]

_WINNERS = ("model_a", "model_b", "tie", "both_bad", "invalid")


def check_battle_importer(
    factory: Callable[[], BattleImporter],
    *,
    path: Path,
    others: Sequence[Path] = (),
    recognises: bool = True,
    name: str | None = None,
) -> None:
    """Check an importer of battles on `path`, a file of its format with usable rows.

    recognises: `path`, not `others`, nor what is missing, empty, binary or broken, and it never
    raises (`recognises=False` for a format that must be named); refusals: those give no battle;
    battles: two models, a known winner and kind of judge, ids that do not repeat; dropped: a
    reason and a count; reading: the file is left as it was; determinism.  Raises CheckFailed.
    """
    subject = Subject("battle_importer", factory, name)
    importer = subject.make()

    def battles_of(junk: Path) -> Sequence[Battle]:
        battles: Sequence[Battle] = importer.read(junk)[0]
        return battles

    with left_as_it_was(subject, path):
        told = importer.recognises if recognises else lambda junk: junk == path
        check_recognition(subject, told, battles_of, path, others)
        with subject.rule("battles"):
            battles, dropped = importer.read(path)
        with subject.rule("determinism"):
            again = subject.make().read(path)
    same = list(again[0]) == list(battles) and dict(again[1]) == dict(dropped)
    subject.require("determinism", same, "two reads differ")
    subject.require("battles", battles, "no battle")
    for battle in battles:
        subject.require("battles", isinstance(battle, Battle), f"{battle!r:.80} is no Battle")
        where = f"battle {battle.battle_id!r}"
        known = battle.winner in _WINNERS
        subject.require("battles", known, f"{where}: the winner is {battle.winner!r}")
        judged = battle.judge_kind in JUDGE_KINDS
        subject.require("battles", judged, f"{where}: the judge is a {battle.judge_kind!r}")
        two = battle.model_a and battle.model_b and battle.model_a != battle.model_b
        subject.require("battles", two, f"{where}: {battle.model_a!r} against {battle.model_b!r}")
        graded = battle.y_a is None or 0 <= battle.y_a <= 1
        subject.require("battles", graded, f"{where}: y_a is {battle.y_a}")
    ids = {battle.battle_id for battle in battles}
    subject.require("battles", len(ids) == len(battles), "battle_ids repeat")
    counted = all(isinstance(r, str) and r and n > 0 for r, n in dropped.items())
    subject.require("dropped", counted, f"dropped is {dict(dropped)}: a reason and a count")
