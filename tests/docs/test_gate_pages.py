"""What the pages about gates say: policies, the workflow, and every simulated number."""

from __future__ import annotations

import itertools
import re
import shlex

import pytest
import yaml
from click.testing import CliRunner
from pages import DOCS, blocks, blocks_of

from modeldiff_harness.cli import cli
from modeldiff_harness.gate.policy_file import parse_policy

MARGINS = DOCS / "how-to" / "choose-margins.md"


def simulated() -> list[tuple[str, str]]:
    """Pairs of a `mdh gate simulate` with sizes and the output shown below it."""
    found = blocks(MARGINS)
    return [
        (block.text.strip(), after.text)
        for block, after in itertools.pairwise(found)
        if "simulate --" in block.text and after.info == "text"
    ]


def test_every_simulation_is_shown():
    assert len(simulated()) == 4


@pytest.mark.parametrize(("command", "shown"), simulated(), ids=lambda v: v[:60])
def test_the_numbers_are_what_the_command_prints(command: str, shown: str):
    said = CliRunner(env={"COLUMNS": None}).invoke(cli, shlex.split(command)[1:])
    assert said.exit_code == 0, said.output
    printed = [re.sub(r" +", " ", line).strip() for line in said.output.splitlines()]
    assert [re.sub(r" +", " ", line) for line in shown.splitlines()] == printed


def test_the_words_about_the_numbers_follow_from_them():
    text = re.sub(r"\s+", " ", MARGINS.read_text(encoding="utf-8"))
    (row,) = (line for line in simulated()[0][1].splitlines() if line.startswith("1,319"))
    rates = re.findall(r"([<>]?\d+ %) / ([<>]?\d+ %)", row)
    equal, _half, margin, double = rates[:4]
    assert f"passes a margin of 2 points in {equal[0]} of runs" in text
    assert f"blocked in {equal[1]}; one that lost 2 points passes in {margin[0]}" in text
    assert f"lost 4 is blocked in {double[1]}" in text
    whole = [line.split("  ")[-1].strip() for line in simulated()[3][1].splitlines()[2:4]]
    assert f"passes in {whole[0].split(' /')[0]} of runs. At 3 points it is" in text
    assert f"At 3 points it is {whole[1].split(' /')[0]}." in text


def test_policies_in_the_pages_are_policies():
    found = blocks_of("yaml gate")
    assert found
    for block in found:
        assert parse_policy(block.text).criteria


def test_the_workflow_handles_every_exit_code_and_calls_commands_that_exist():
    (block,) = blocks_of("yaml workflow")
    workflow = yaml.safe_load(block.text)
    steps = workflow["jobs"]["gate"]["steps"]
    runs = "\n".join(step.get("run", "") for step in steps)
    lines = [line.strip() for line in runs.splitlines() if line.strip().startswith("mdh ")]
    assert [line.split()[1] for line in lines] == ["evaluate", "gate"]
    for line in lines:
        words = [re.sub(r"\$(\w+)", "a,b", word) for word in shlex.split(line)[1:]]
        name, command, rest = cli.resolve_command(cli.make_context("mdh", list(words)), words)
        command.make_context(name, rest)
    conditions = [step["if"] for step in steps if "outputs.code" in step.get("if", "")]
    assert [re.search(r"'(\d)'", text)[1] for text in conditions] == ["1", "3"]
    assert "0|1|3) exit 0" in runs
    used = {step["uses"].partition("@")[0] for step in steps if "uses" in step}
    assert {"actions/cache", "actions/upload-artifact"} <= used
