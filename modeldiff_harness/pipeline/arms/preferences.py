"""The preference arm's stages: answers of each model, battles, and the split of the delta."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modeldiff_harness.artifacts import Answers, Battles, PreferenceDeltas, PreferencePrompt
from modeldiff_harness.errors import UsageError
from modeldiff_harness.pipeline.arms.answers import answer_stage
from modeldiff_harness.pipeline.context import RunContext
from modeldiff_harness.preferences.battle import battle
from modeldiff_harness.preferences.importers import import_battles
from modeldiff_harness.preferences.prompts import SHIPPED, load_prompts, select_prompts
from modeldiff_harness.preferences.rank import rank
from modeldiff_harness.stages import Built, Content, InputFile, Stage

__all__ = ["PreferenceArm"]


class PreferenceArm:
    """The end of the arm, and what it rests on.

    UsageError for unknown judges, feature sets or unreadable files.
    """

    name = "preferences"

    def __init__(self, context: RunContext) -> None:
        self.context = context
        self.config = context.config.preferences
        self.battles = self._judge() if self.config.battles is None else self._import()
        self.rank = self._rank()

    def ends(self) -> list[Stage[Any]]:
        """Return the split."""
        return [self.rank]

    def check(self, *, planned: bool = False) -> None:
        """Do nothing: all files were read when the stages were made."""

    def findings(self) -> PreferenceDeltas:
        """Compute the arm."""
        return self.rank.value()

    def plan_lines(self) -> list[str]:
        """Return nothing: the stages say it all."""
        return []

    def artifacts(self) -> Mapping[str, Stage[Any]]:
        """Return battles and deltas."""
        return {"battles": self.battles, "preferences": self.rank}

    def _answers(self, model: str, prompts: tuple[PreferencePrompt, ...]) -> Stage[Answers]:
        return answer_stage(
            self.context,
            model,
            prompts,
            title=f"answers of {model}",
            max_new_tokens=self.config.max_new_tokens,
            system_instruction=self.context.config.system_instruction,
        )

    def _judge(self) -> Stage[Battles]:
        context, config = self.context, self.config
        if context.baseline == context.candidate:
            raise UsageError(
                "the preference arm needs two different models.", hint="Name another candidate."
            )
        prompts = select_prompts(
            load_prompts(SHIPPED if config.prompts == "capability" else Path(config.prompts)),
            config.max_prompts,
        )
        answers = [self._answers(model, prompts) for model in context.config.pair]
        judge = context.choice("judge", config.judge, config.judge_config)
        judge.build()  # what it refuses is said before any work
        return context.stage(
            "battle",
            battle,
            title=f"judge {config.judge}",
            gives=Battles,
            inputs={"answers": sorted(answers, key=lambda stage: stage.key)},  # roles cannot matter
            settings={"seed": context.config.seed[0]},
            tools={
                "judge": Built(judge),
                "prompts": Content(prompts),
            },
            estimate=f"{len(prompts)} prompts",
        )

    def _import(self) -> Stage[Battles]:
        path = Path(self.config.battles or "")
        if path.exists() and not path.is_file():
            raise UsageError(f"the battles {path} are not a file.", hint="Name a file of battles.")
        if path.is_file() and path.stat().st_size == 0:
            raise UsageError(f"the battles {path} are an empty file.", hint="Name another.")
        importers = {
            name: Built(self.context.choice("battle_importer", name))
            for name in self.context.registry.names("battle_importer")
        }
        return self.context.stage(
            "battle",
            import_battles,
            title=f"import {path.name}",
            gives=Battles,
            settings={"format": self.config.battle_format},
            tools={"path": InputFile(path, "the battles "), "importers": importers},
        )

    def _rank(self) -> Stage[PreferenceDeltas]:
        context = self.context
        return context.stage(
            "rank",
            rank,
            title=f"{context.candidate} against {context.baseline}",
            gives=PreferenceDeltas,
            inputs={"battles": self.battles},
            settings={
                "baseline": context.baseline,
                "candidate": context.candidate,
                "smoke": self.config.max_prompts is not None,
            },
            tools={"feature_set": Built(context.choice("feature_set", self.config.feature_set))},
        )
